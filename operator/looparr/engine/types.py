"""The few types that a domain and the engine talk in.

A domain is one object's `Body`: it is built from a `Subject`, runs turns, and is closed when spec or Secret changed
or the object is gone. It returns an `Outcome` or raises a LoopError; it never touches counters, backoff or conditions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from looparr.api.meta import ObjectRef
from looparr.api.spec import CommonSpec
from looparr.errors import WriteFailed as WriteFailed  # noqa: PLC0414 - the writer's one error is part of the contract


class Clock(Protocol):
    """Time, injected everywhere. wall: aware UTC datetime; monotonic: seconds that never jump."""

    def wall(self) -> datetime: ...  # noqa: D102
    def monotonic(self) -> float: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Subject:
    """One object as a turn sees it: a parsed spec and the metadata that matters.

    spec is None when the stored spec cannot be read; `invalid` then says why (field and cure).
    """

    ref: ObjectRef
    generation: int
    created: datetime
    spec: CommonSpec | None
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    invalid: str = ""


class EventType(StrEnum):
    """As in the Kubernetes Events API."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of `kubectl describe`: reason is CamelCase, message at most 1,000 characters, no secrets."""

    reason: str
    message: str
    type: EventType = EventType.NORMAL


@dataclass(frozen=True, slots=True)
class Note:
    """A condition of the domain's own (MassFailure, NotDurable, ...). One that is absent from an outcome goes away."""

    type: str
    reason: str
    message: str
    status: str = "True"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a successful turn has to say.

    message: one line for the MESSAGE column. block: the type's own top-level status fields (None keeps the last one).
    notes: conditions of the domain's own. events: one per destructive act or edge. next_delay: seconds until the next
    turn instead of the interval.
    """

    message: str = ""
    block: Mapping[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    events: tuple[Event, ...] = ()
    next_delay: float | None = None


class Fenced(Exception):
    """The object is gone, replaced, suspended or changed since the turn began: touch nothing more."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, handed to the body.

    fence: awaited before any non-empty plan; reads the object once and raises Fenced when this turn lost its right.
    triggered: somebody asked for this turn by annotation. block: the type's own fields of the last status.
    lost(): why this turn lost its right to act, "" while it has it; cheap, from what the watch knows; asked before
    every single act, because the fence is passed only once in a while.
    report(outcome): what is true so far (actions done, counters of the domain); used when the turn is cut short by a
    time-out, an error or a stop, so that nothing that really happened is lost from the status.
    """

    subject: Subject
    number: int
    triggered: bool
    block: Mapping[str, Any]
    fence: Callable[[], Awaitable[None]]
    report: Callable[[Outcome], None]
    lost: Callable[[], str] = lambda: ""


class Body(Protocol):
    """What one object does. Built by a `Build`, closed at the end of its life; never used by two turns at once."""

    async def run(self, turn: Turn) -> Outcome:
        """Do one turn. Raises LoopError, Fenced or CancelledError; anything else counts as a defect of Looparr."""
        ...

    async def close(self, *, deleted: bool) -> None:
        """Let go of clients and memory; deleted: the object itself is gone or going, its durable memory may go too."""
        ...


Build = Callable[[Subject], Body]
"""Makes the body for one generation of one object. Must not block and must not fail: trouble belongs into run()."""


class StatusWriter(Protocol):
    """Writes a whole status in one call. Raises `WriteFailed`; the caller keeps the status for the next turn."""

    async def write(self, ref: ObjectRef, status: Mapping[str, Any]) -> None: ...  # noqa: D102


class ObjectReader(Protocol):
    """Reads one object afresh for the fence; None when it is not there (404). Raises LoopError."""

    async def read(self, ref: ObjectRef) -> Subject | None: ...  # noqa: D102


class EventSink(Protocol):
    """Posts Events; must never raise and never block a turn for long."""

    async def post(self, ref: ObjectRef, event: Event) -> None: ...  # noqa: D102
