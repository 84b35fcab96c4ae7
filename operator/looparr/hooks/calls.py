"""Calls to the API server for people who wait: trouble is told at once, and patience ends with the whole errand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from looparr.clients.kube_access import KubeAccess
from looparr.clients.kube_calls import JSON, KubeCalls, Unreachable
from looparr.errors import LooparrError
from looparr.hooks.steps import Steps

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
PAGE = 500
"""Objects per page of a list: a few megabytes at most."""
PAUSE = 1.0
"""Seconds until something is looked at, or tried, again."""
CONNECTIONS = 4


class ErrandFailed(LooparrError):
    """A hook could not do its work; the message says what was seen and what to do about it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered, whatever it thinks of the question. body: {} where it is no JSON object."""

    code: int
    body: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.code < HTTPStatus.MULTIPLE_CHOICES

    @property
    def missing(self) -> bool:
        """Whether there is no such thing."""
        return self.code == HTTPStatus.NOT_FOUND

    @property
    def complaint(self) -> str:
        """Its code and its own words."""
        return f"{self.code} {self.body.get('message', '')}".strip()


class ApiCalls:
    """The API server as one account sees it."""

    def __init__(self, access: KubeAccess, steps: Steps) -> None:
        self._calls = KubeCalls(access, connections=CONNECTIONS)
        self._steps = steps

    async def ask(
        self, method: str, path: str, body: object = None, *, content_type: str = JSON, must: bool = False
    ) -> Answer:
        """Send, again and again while the API server is away or overloaded; that may be for ever.

        must: it has to say yes. Raises ErrandFailed where it does not, or where the account may not do this.
        """
        data = None if body is None else json.dumps(body).encode()
        while True:
            try:
                code, raw = await self._calls.send(method, path, data, content_type=content_type)
            except Unreachable as error:
                self._steps(f"The API server cannot be reached ({error}); trying again.")
            else:
                answer = Answer(code, _object(raw))
                if code != HTTPStatus.TOO_MANY_REQUESTS and code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return _permitted(method, path, answer, must=must)
                self._steps(f"The API server answers {answer.complaint}; trying again.")
            await asyncio.sleep(PAUSE)

    async def items(self, path: str) -> AsyncIterator[Mapping[str, Any]]:
        """Give every object of a list; none where the API server does not know the kind."""
        more, separator = "", "&" if "?" in path else "?"
        while True:
            page = await self.ask("GET", f"{path}{separator}limit={PAGE}{more}")
            if page.missing:
                return
            for item in _permitted("GET", path, page, must=True).body["items"]:
                yield item
            token = page.body["metadata"].get("continue")
            if not token:
                return
            more = f"&continue={quote(token, safe='')}"

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()


def _permitted(method: str, path: str, answer: Answer, *, must: bool) -> Answer:
    if answer.code == HTTPStatus.UNAUTHORIZED:
        raise ErrandFailed("The API server does not take these credentials: renew the log-in of the kubeconfig.")
    if answer.code == HTTPStatus.FORBIDDEN:
        raise ErrandFailed(f"The API server refuses: {answer.complaint}. Grant that right, or use another account.")
    if must and not answer.ok:
        raise ErrandFailed(f"The API server answered {answer.complaint} to {method} {path.partition('?')[0]}.")
    return answer


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
