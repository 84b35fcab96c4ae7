"""What the engine remembers of one object: newest subject, own copy of the status, body, and why it has to leave."""

from __future__ import annotations

import asyncio
import logging
import math
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from looparr.api.meta import ObjectRef
from looparr.api.status import LoopStatus
from looparr.engine.types import Body, Event, EventType, Subject

LOG = logging.getLogger(__name__)

RELEASE_WITHIN = 11.0
"""Seconds after which a deleted object is let go: 5 for the turn to end by itself, the rest to cancel and close."""


class Leaving(StrEnum):
    """Why a loop runs no more turns in this process."""

    DELETED = "Deleted"
    """The object is being deleted, or the watch said that it was: its durable memory may go, too."""
    GONE = "Gone"
    """The API server says that it is not there, or another one bears its name; nobody saw it deleted."""
    RELEASED = "Released"
    """The object lives, but is not ours any more (relabelled); somebody else may run it already."""
    EXITING = "Exiting"
    """The process stops."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Monotonic seconds by which a leaving loop has done each step; inf while it does not leave.

    finish: a turn may end by itself; abandon: a cancelled body is waited for; write: statuses are tried; close: bodies
    may close.
    """

    finish: float = math.inf
    abandon: float = math.inf
    write: float = math.inf
    close: float = math.inf

    @classmethod
    def within(cls, budget: float, now: float) -> Deadlines:
        """Split a budget in seconds: 9 gives 4 s to finish, 6.3 to abandon, 7.8 to write, 8.1 to close."""
        return cls(now + budget * 0.45, now + budget * 0.7, now + budget * 0.87, now + budget * 0.9)


@dataclass(slots=True)
class SecretWatch:
    """What is known of the Secrets that the spec names, so that a Stalled loop runs again when one of them has changed.

    versions: by name, as the last turn used them, else as first seen. look_at: monotonic seconds of the next look.
    """

    versions: dict[str, str] = field(default_factory=dict)
    look_at: float = -math.inf
    looking: asyncio.Task[None] | None = None
    changed: bool = False


@dataclass(slots=True, eq=False)
class Loop:
    """One object. `status` is read from the cluster once; from then on this copy is the truth and writes replace it.

    write_at: monotonic seconds at which the status must be written although no turn ended; inf when all is written.
    """

    ref: ObjectRef
    subject: Subject
    status: LoopStatus
    boot: datetime
    body: Body | None = None
    built: int | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    news: deque[Event] = field(default_factory=deque)
    secrets: SecretWatch = field(default_factory=SecretWatch)
    leaving: Leaving | None = None
    until: Deadlines = Deadlines()
    write_at: float = math.inf
    writing: asyncio.Task[None] | None = None
    failures: int = 0
    not_before: float = -math.inf
    closed: bool = False
    absorbed: Subject | None = None
    busy: bool = False

    @property
    def spread(self) -> float:
        """This object's place, 0..1, among those that are overdue after a restart."""
        return zlib.crc32(self.ref.uid.encode()) / 2**32

    @property
    def unwritten(self) -> bool:
        """Whether the cluster does not hold our status yet."""
        return self.write_at != math.inf

    def offer(self, subject: Subject) -> None:
        """Take a newer view of the object; an older generation (a late watch event) is ignored."""
        if subject.generation < self.subject.generation:
            return
        self.subject = subject
        self.not_before = -math.inf
        self.wake.set()

    def leave(self, why: Leaving, now: float, budget: float = RELEASE_WITHIN) -> None:
        """Ask the loop to end its turn and leave within `budget` seconds from `now` (monotonic).

        The process's stop may shorten what a deletion was given; a deletion beats a release.
        """
        until = Deadlines.within(budget, now)
        if self.leaving is None or until.close < self.until.close:
            self.until = until
        if self.leaving is None or (self.leaving is Leaving.RELEASED and why is Leaving.DELETED):
            self.leaving = why
        self.wake.set()

    def tell(self, events: Iterable[Event]) -> None:
        """Have events posted with the next write, and log them at once: who reads only the log misses no edge."""
        for event in events:
            self.news.append(event)
            level = logging.WARNING if event.type is EventType.WARNING else logging.INFO
            LOG.log(level, "%s, loop=%s message=%s", event.reason, self.ref, event.message)

    async def nap(self, seconds: float) -> None:
        """Sleep until woken, at most `seconds` (inf: until woken)."""
        if seconds == math.inf:
            await self.wake.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self.wake.wait()
        except TimeoutError:
            pass
