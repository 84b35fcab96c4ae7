"""Paged answers, with Radarr's manners: ten records unless asked otherwise, descending unless asked otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from looparr.sandbox.servarr.monitor import Row
from looparr.sandbox.servarr.wire import BadValue, Query

Record = TypeVar("Record")
_DIRECTIONS = ("default", "ascending", "descending")


def page(
    query: Query,
    records: Sequence[Record],
    keys: Mapping[str, Callable[[Record], Any]],
    show: Callable[[Record], Any],
    *,
    default_key: str,
    wraps: bool = False,
) -> dict[str, Any]:
    """Sort, cut and show one page. Raises BadValue.

    wraps: a page behind the end shows an earlier one again (Radarr's queue does so), with that page's number.
    """
    number = query.number("page") or 1
    size = query.number("pageSize") or 10
    direction = (query.text("sortDirection") or "descending").lower()
    if direction not in _DIRECTIONS:
        raise BadValue("sortDirection", direction)
    asked = query.text("sortKey") or ""
    key = next((k for k in keys if k.lower() == asked.lower()), default_key)
    ordered = sorted(records, key=keys[key], reverse=direction == "descending")
    found = ordered[(number - 1) * size : number * size]
    if wraps and not found and number > 1:
        number = max(len(ordered) // size, 1)
        found = ordered[(number - 1) * size : number * size]
    return {
        "page": number,
        "pageSize": size,
        "sortKey": key,
        "sortDirection": "ascending" if direction == "ascending" else "descending",
        "totalRecords": len(ordered),
        "records": [show(r) for r in found],
    }


def _left(row: Row) -> tuple[bool, timedelta]:
    left = row.tracked.item.time_left if row.tracked else None
    return left is None, left or timedelta()


def _text(row: Row) -> str:
    return row.tracked.item.title if row.tracked else row.pending.release.title if row.pending else ""


def _size(row: Row) -> int:
    return row.tracked.item.size if row.tracked else 0


def _added(row: Row) -> float:
    added = row.tracked.added if row.tracked else row.pending.added if row.pending else None
    return added.timestamp() if added else 0.0


def row_status(row: Row) -> str:
    """Tell a row's `status`."""
    return row.tracked.item.status if row.tracked else "downloadClientUnavailable"


def _progress(row: Row) -> float:
    size = _size(row)
    return 100.0 - row.tracked.item.remaining / size * 100 if row.tracked and size else 0.0


QUEUE_KEYS: Mapping[str, Callable[[Row], Any]] = {
    "timeleft": _left,
    "estimatedCompletionTime": _left,
    "added": _added,
    "title": _text,
    "movies.sortTitle": _text,
    "size": _size,
    "status": row_status,
    "progress": _progress,
}
