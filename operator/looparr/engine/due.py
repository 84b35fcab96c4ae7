"""When a loop runs next, and why: the sleep phase, as one pure function.

Everything it knows is stored in the status (nextRunTime), so a restart changes nothing. A stored time is never
trusted further than the longest pause that could have been meant: a damaged or far-future value cannot hold a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from looparr.api.conditions import ConditionType, Reason, find
from looparr.api.durations import parse_duration
from looparr.api.meta import REQUESTED_AT
from looparr.api.spec import CommonSpec
from looparr.api.status import LoopStatus
from looparr.engine.backoff import RETRY_AFTER_LIMIT, max_delay
from looparr.engine.types import Subject

BLOCKED_DELAY = 30.0
"""Seconds until a blocked loop is looked at again."""
ASKED_LIMIT = 86400.0
"""Seconds: the longest pause that a turn may ask for."""
TOLERANCE = timedelta(seconds=2)
"""How far the last run may lie ahead of the clock before the clock counts as set back."""


class Why(StrEnum):
    """What makes a loop due, or holds it."""

    TRIGGER = "Trigger"
    GENERATION = "Generation"
    RENEWED = "Renewed"
    FIRST = "First"
    INTERVAL = "Interval"
    BACKOFF = "Backoff"
    OVERDUE = "Overdue"
    CLOCK = "Clock"
    SUSPENDED = "Suspended"
    STALLED = "Stalled"
    INVALID = "Invalid"
    DELETING = "Deleting"


@dataclass(frozen=True, slots=True)
class Due:
    """at: when the next turn may start (aware UTC); None is never, until something changes."""

    at: datetime | None
    why: Why


def requested(subject: Subject, status: LoopStatus) -> str | None:
    """Give the trigger's token when it was not handled yet."""
    token = subject.annotations.get(REQUESTED_AT)
    return token if token and token != status.last_handled_requested_at else None


def due(
    subject: Subject, status: LoopStatus, *, now: datetime, boot: datetime, spread: float = 0.0, renewed: bool = False
) -> Due:
    """Say when the next turn may start.

    boot: when this process first saw the object. spread: 0..1, this object's place among those that are overdue after
    a restart (share of its jitter). renewed: a Secret that it names has changed since the last turn.
    """
    spec = subject.spec
    if subject.deleting or spec is None or spec.suspend:
        return Due(None, Why.DELETING if subject.deleting else Why.INVALID if spec is None else Why.SUSPENDED)
    if requested(subject, status):
        return Due(now, Why.TRIGGER)
    if status.last_run_time is None and status.run_count == 0:
        return Due(min(subject.created, boot) + timedelta(seconds=spec.initial_delay_seconds), Why.FIRST)
    if subject.generation != status.observed_generation:
        return Due(now, Why.GENERATION)
    if (stalled := find(status.conditions, ConditionType.STALLED)) is not None:
        if stalled.reason == Reason.INVALID_SPEC:
            return Due(now, Why.GENERATION)
        return Due(now, Why.RENEWED) if renewed else Due(None, Why.STALLED)
    return _again(spec, status, now=now, boot=boot, spread=spread)


def _again(spec: CommonSpec, status: LoopStatus, *, now: datetime, boot: datetime, spread: float) -> Due:
    if status.next_run_time is None:
        return Due(now, Why.GENERATION)
    ended = last_end(status)
    if ended is not None and ended > now + TOLERANCE:
        return Due(now, Why.CLOCK)
    anchor = max(min(boot, now), ended or boot.min.replace(tzinfo=boot.tzinfo))
    at = min(status.next_run_time, anchor + timedelta(seconds=longest_pause(spec, status)))
    if at < boot <= now:
        return Due(boot + timedelta(seconds=spread * spec.jitter * spec.interval_seconds), Why.OVERDUE)
    return Due(at, Why.BACKOFF if status.backoff.active else Why.INTERVAL)


def last_end(status: LoopStatus) -> datetime | None:
    """Give the end of the last run, or None."""
    if status.last_run_time is None:
        return None
    return status.last_run_time + timedelta(milliseconds=min(status.last_duration_ms or 0, 1000 * int(ASKED_LIMIT)))


def longest_pause(spec: CommonSpec, status: LoopStatus) -> float:
    """Give the longest pause, seconds, that stored times can have meant: interval, backoff, or what a turn asked."""
    pause = max(spec.interval_seconds, _shown(status))
    if status.backoff.active:
        asked = min(float(status.backoff.delay_seconds), RETRY_AFTER_LIMIT)
        pause = max(pause, max_delay(spec.backoff), BLOCKED_DELAY, asked)
    return pause * (1 + spec.jitter) + 1


def _shown(status: LoopStatus) -> float:
    """Read status.effectiveInterval, which shows a pause that a turn asked for; 0 when it is nonsense."""
    try:
        return min(parse_duration(status.effective_interval or "0s"), ASKED_LIMIT)
    except ValueError:
        return 0.0
