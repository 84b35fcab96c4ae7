"""Small conversions between the stand-in and its wire: dates, time spans, JSON as Radarr writes it, query values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

JSON_TYPE = "application/json"


def date(value: datetime | None) -> str | None:
    """Write a time as Radarr does: UTC, whole seconds, Z."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(value: timedelta | None) -> str | None:
    """Write a time span as .NET does: [d.]hh:mm:ss."""
    if value is None:
        return None
    seconds = int(value.total_seconds())
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}.{clock}" if days else clock


def prune(value: Any) -> Any:
    """Leave out fields that are null, as Radarr does, except in a history line's `data`."""
    if isinstance(value, Mapping):
        return {k: v if k == "data" else prune(v) for k, v in value.items() if v is not None}
    return [prune(v) for v in value] if isinstance(value, list) else value


def reply(value: Any, status: int = 200) -> web.Response:
    """Make a JSON answer."""
    text = json.dumps(prune(value), ensure_ascii=False, indent=2)
    return web.Response(text=text, status=status, content_type=JSON_TYPE, charset="utf-8")


class BadValue(Exception):
    """A query value does not have its type."""

    def __init__(self, name: str, value: str) -> None:
        super().__init__(f"The value '{value}' is not valid for {name}.")
        self.name = name


class Query:
    """Typed access to a request's query, with ASP.NET's manners: names in any case, lists as repeated names."""

    def __init__(self, request: web.Request) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in request.query.items():
            self._values.setdefault(name.lower(), []).append(value)

    def text(self, name: str) -> str | None:
        """Get one value, None when absent or empty."""
        values = self._values.get(name.lower())
        return (values[0] or None) if values else None

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Get a boolean. Raises BadValue."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in {"true", "false"}:
            raise BadValue(name, value)
        return value.lower() == "true"

    def number(self, name: str) -> int | None:
        """Get a whole number. Raises BadValue."""
        value = self.text(name)
        return None if value is None else self._int(name, value)

    def numbers(self, name: str) -> set[int]:
        """Get a list of whole numbers. Raises BadValue."""
        return {self._int(name, value) for value in self._values.get(name.lower(), []) if value}

    def words(self, name: str) -> set[str]:
        """Get a list of words, lower case."""
        return {value.lower() for value in self._values.get(name.lower(), []) if value}

    def time(self, name: str) -> datetime | None:
        """Get a time; one without a zone is UTC. Raises BadValue."""
        value = self.text(name)
        if value is None:
            return None
        try:
            found = datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
        except ValueError as error:
            raise BadValue(name, value) from error
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    @staticmethod
    def _int(name: str, value: str) -> int:
        try:
            return int(value)
        except ValueError as error:
            raise BadValue(name, value) from error
