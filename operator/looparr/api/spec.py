"""The part of the spec that both kinds share. Effective values are worked out here, never stored as schema defaults."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from looparr.api.durations import DURATION_PATTERN, Duration, LongDuration, TurnLimit, parse_duration
from looparr.api.model import Model
from looparr.api.schema import Cel

MIN_INTERVAL = 1.0


class Priority(StrEnum):
    """In which order due loops get a slot; waiting ages, so Low never starves."""

    HIGH = "High"
    NORMAL = "Normal"
    LOW = "Low"


class Mode(StrEnum):
    """Enforce acts; Observe plans and reports, and touches nothing."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"


class Backoff(Model):
    """How long a failing loop waits: initialDelay x multiplier^(n-1), at most maxDelay, give or take the jitter."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            " || ".join(
                f"!has(self.{name}) || !self.{name}.matches(r'{DURATION_PATTERN}')"
                for name in ("initialDelay", "maxDelay")
            )
            + " || duration(self.initialDelay) <= duration(self.maxDelay)",
            "initialDelay must not be longer than maxDelay",
        ),
    )

    initial_delay: LongDuration | None = None
    """Delay after the first error. Default 5s."""
    max_delay: LongDuration | None = None
    """No delay is ever longer, jitter included. Default 5m."""
    multiplier_percent: int | None = Field(default=None, ge=100, le=1000)
    """Growth per further error; 200 doubles. Default 200."""
    jitter_percent: int | None = Field(default=None, ge=0, le=100)
    """Random share added or taken, so that loops that failed together do not return together. Default 10."""


class CommonSpec(Model):
    """What ArrInstance and BackgroundLoop have in common. Times are Go-style durations such as 30s or 1h30m."""

    DEFAULT_INTERVAL: ClassVar[float] = 60.0
    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "self.type == oldSelf.type",
            "type is immutable: delete the object and make a new one (no data is deleted with it)",
            ".type",
        ),
    )

    type: str
    """What this loop is; immutable."""
    interval: LongDuration | None = None
    """Pause between the end of a turn and the next, at least 1s. Default 60s; status.effectiveInterval shows it."""
    initial_delay: Duration | None = None
    """Grace before the very first turn of this object. Default 0s."""
    jitter_percent: int | None = Field(default=None, ge=0, le=100)
    """Random share added to the pause; also spreads overdue loops after a restart. Default 5."""
    timeout: TurnLimit | None = None
    """Limit of one turn, at most 24h; a longer one is cancelled. Default: ten intervals, at least 300s."""
    suspend: bool | None = None
    """true holds the loop: nothing runs, counters stay. Remove the field or set false to go on."""
    backoff: Backoff | None = None
    """How long the loop waits after errors; status.backoff shows what is in force."""
    priority: Priority = Priority.NORMAL
    """Order in which due loops get a slot: High, Normal, Low. Waiting ages, so Low never starves."""

    @property
    def interval_seconds(self) -> float:
        """Effective pause between turns, seconds."""
        return max(MIN_INTERVAL, parse_duration(self.interval)) if self.interval else self.DEFAULT_INTERVAL

    @property
    def timeout_seconds(self) -> float:
        """Effective limit of one turn, seconds."""
        return parse_duration(self.timeout) if self.timeout else max(10 * self.interval_seconds, 300.0)

    @property
    def initial_delay_seconds(self) -> float:
        """Effective grace before the first turn, seconds."""
        return parse_duration(self.initial_delay) if self.initial_delay else 0.0

    @property
    def jitter(self) -> float:
        """Effective share of jitter, 0..1."""
        return (5 if self.jitter_percent is None else self.jitter_percent) / 100
