"""What the engine needs from outside, handed in once: clock, writer, reader, events, Secrets, slots, bodies, chance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from time import monotonic
from typing import Protocol

from looparr.api.meta import Kind, ObjectRef
from looparr.engine.slots import Slots
from looparr.engine.types import Build, Clock, EventSink, ObjectReader, StatusWriter


class SystemClock:
    """The machine's own time."""

    def wall(self) -> datetime:
        """Give the time of day, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Give seconds that never jump."""
        return monotonic()


class SecretVersions(Protocol):
    """Tells contents of Secrets apart; `SecretReader` does. Versions are texts by the Secret's name."""

    @property
    def reread(self) -> float:
        """Seconds after which a Secret is read again."""

    def noting(self) -> AbstractContextManager[Mapping[str, str]]:
        """Note the versions of all Secrets that are read inside, and in tasks that are begun inside."""

    async def versions(self, namespace: str, names: Collection[str]) -> Mapping[str, str]:
        """Read the versions that these Secrets have now. Raises LoopError."""


def _unmeasured(ref: ObjectRef, result: str, reason: str, seconds: float) -> None:
    """Measure nothing."""


@dataclass(frozen=True, slots=True)
class Services:
    """The engine's surroundings, the same for all loops.

    builds: how each kind makes its body. random: 0..1, for jitter. measured(ref, result, reason, seconds): told of
    each finished turn (result as in status.history, reason of its error or ""); must not raise.
    """

    clock: Clock
    writer: StatusWriter
    reader: ObjectReader
    events: EventSink
    secrets: SecretVersions
    slots: Slots
    builds: Mapping[Kind, Build]
    random: Callable[[], float] = field(default_factory=lambda: Random().random)  # noqa: S311 - jitter, no secret
    measured: Callable[[ObjectRef, str, str, float], None] = _unmeasured
