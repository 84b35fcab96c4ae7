"""The loops of this process, by uid: what watch events poke and timers carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from looparr.api.meta import Kind
from looparr.engine.adopt import adopt
from looparr.engine.loop import Leaving, Loop
from looparr.engine.types import Clock
from looparr.handlers.subjects import Domain, parse_subject


class Book:
    """All loops. An object's `.status` is read when it is seen first; later events bring only spec and metadata."""

    def __init__(self, domains: Mapping[Kind, Domain], clock: Clock) -> None:
        self._domains = domains
        self._clock = clock
        self._loops: dict[str, Loop] = {}
        self._exit: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self._loops)

    def __iter__(self) -> Iterator[Loop]:
        return iter(list(self._loops.values()))

    @property
    def exiting(self) -> bool:
        """Whether the process stops."""
        return self._exit is not None

    def get(self, uid: str) -> Loop | None:
        """Give the loop of that uid, or None."""
        return self._loops.get(uid)

    def is_news(self, raw: Mapping[str, Any]) -> bool:
        """Tell whether an event brings more than the echo of our own status write, as most do."""
        meta = raw.get("metadata")
        if not isinstance(meta, Mapping):
            return False
        loop = self._loops.get(str(meta.get("uid")))
        return loop is None or not _is_echo(loop, meta)

    def see(self, kind: Kind, raw: Mapping[str, Any], *, gone: bool = False) -> Loop | None:
        """Take an object as a watch event brings it. None when it is gone, or has no uid."""
        meta = raw.get("metadata")
        uid = meta.get("uid") if isinstance(meta, Mapping) else None
        if not isinstance(uid, str) or not isinstance(meta, Mapping):
            return None
        loop = self._loops.get(uid)
        if gone:
            if loop is not None:
                why = Leaving.DELETED if meta.get("deletionTimestamp") else Leaving.RELEASED
                loop.leave(why, self._clock.monotonic())
                self._loops.pop(uid, None)
            return None
        if loop is None:
            return self._open(uid, kind, raw)
        loop.offer(parse_subject(self._domains[kind], raw, loop.subject))
        return loop

    def leave_all(self, now: float, budget: float) -> None:
        """Ask every loop, also those that are seen later, to leave: the process stops."""
        self._exit = (now, budget)
        for loop in self:
            loop.leave(Leaving.EXITING, now, budget)

    def _open(self, uid: str, kind: Kind, raw: Mapping[str, Any]) -> Loop:
        subject, boot = parse_subject(self._domains[kind], raw), self._clock.wall()
        status = adopt(raw.get("status"), now=boot, block=self._domains[kind].status)
        loop = Loop(subject.ref, subject, status, boot)
        self._loops[uid] = loop
        if self._exit is not None:
            loop.leave(Leaving.EXITING, *self._exit)
        return loop


def _is_echo(loop: Loop, meta: Mapping[str, Any]) -> bool:
    """Compare what a turn sees of the metadata."""
    subject = loop.subject
    return (
        meta.get("generation") == subject.generation
        and bool(meta.get("deletionTimestamp")) == subject.deleting
        and (meta.get("annotations") or {}) == subject.annotations
        and (meta.get("labels") or {}) == subject.labels
    )
