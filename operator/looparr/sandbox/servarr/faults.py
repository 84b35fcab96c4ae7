"""Faults that can be switched on while the stand-in runs, by method, path and count."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from looparr.errors import SandboxError


class FaultType(StrEnum):
    """What goes wrong.

    Slow: the answer comes `milliseconds` late. TooManyRequests: 429 with Retry-After `retryAfter` seconds.
    ServerError: 500. Unavailable: 503. Unauthorized: 401. Html: 200 with a web page. Redirect: 307 to another path.
    Cut: the connection is cut before anything is done. CutBody: the work is done, half of the answer comes.
    NoOp: 200, nothing done. ThrowAfter: the work is done, then 500. CutAfter: the work is done, then the cut.
    ThrowMidway: a queue delete removes the torrent, then fails before blocklist and history.
    Partial: a bulk delete fails after `after` downloads. EmptyQueue: the queue answers as if it had no rows.
    """

    SLOW = "Slow"
    TOO_MANY_REQUESTS = "TooManyRequests"
    SERVER_ERROR = "ServerError"
    UNAVAILABLE = "Unavailable"
    UNAUTHORIZED = "Unauthorized"
    HTML = "Html"
    REDIRECT = "Redirect"
    CUT = "Cut"
    CUT_BODY = "CutBody"
    NO_OP = "NoOp"
    THROW_AFTER = "ThrowAfter"
    CUT_AFTER = "CutAfter"
    THROW_MIDWAY = "ThrowMidway"
    PARTIAL = "Partial"
    EMPTY_QUEUE = "EmptyQueue"


@dataclass(slots=True)
class Fault:
    """One switched-on fault.

    method and path are globs; the path is matched without UrlBase and query. times: how many requests it still hits,
    None for all until it is cleared. hits: how many it has hit.
    """

    id: int
    type: FaultType
    method: str = "*"
    path: str = "*"
    times: int | None = None
    milliseconds: int = 1000
    retry_after: int = 1
    after: int = 1
    hits: int = 0

    def matches(self, method: str, path: str) -> bool:
        """Tell whether it hits this request."""
        return self.times != 0 and fnmatchcase(method, self.method.upper()) and fnmatchcase(path, self.path)

    def spend(self) -> None:
        """Count one hit."""
        self.hits += 1
        if self.times is not None:
            self.times -= 1


class Faults:
    """The switchboard. Of several that hit one request all Slow ones and the first other one act."""

    def __init__(self) -> None:
        self.active: dict[int, Fault] = {}
        self._ids: Iterator[int] = itertools.count(1)

    def switch_on(
        self,
        type_: FaultType | str,
        *,
        method: str = "*",
        path: str = "*",
        times: int | None = None,
        milliseconds: int = 1000,
        retry_after: int = 1,
        after: int = 1,
    ) -> Fault:
        """Switch one on. Raises SandboxError for a type that does not exist."""
        try:
            known = FaultType(type_)
        except ValueError as error:
            raise SandboxError(f"No fault {type_!r}: one of {', '.join(FaultType)}.") from error
        fault = Fault(next(self._ids), known, method, path, times, milliseconds, retry_after, after)
        self.active[fault.id] = fault
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        """Switch one off, or all."""
        if fault_id is None:
            self.active.clear()
        else:
            self.active.pop(fault_id, None)

    def take(self, method: str, path: str) -> list[Fault]:
        """Pick what hits this request and count the hits; ones that are used up stay listed with times 0."""
        taken: list[Fault] = []
        for fault in self.active.values():
            is_taken = any(f.type is not FaultType.SLOW for f in taken)
            if fault.matches(method, path) and (fault.type is FaultType.SLOW or not is_taken):
                fault.spend()
                taken.append(fault)
        return taken
