"""The table of conditions, and the phase for display: two pure functions that `finalize` alone calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from looparr.api.conditions import Condition, ConditionType, Reason, find, put
from looparr.api.status import LoopStatus
from looparr.engine.types import Note, Subject
from looparr.errors import Blocked, Delay, LoopError, Permanent

ERROR_AFTER = 5
"""Errors in a row from which a loop that has worked counts as not ready."""
DEGRADED_PERCENT = 50
"""Below this rate of success, or above this share of the interval, a loop counts as degraded."""
ENOUGH_RUNS = 5
"""Runs that must have been seen before a rate or an average says anything."""

_OWN = frozenset(ConditionType)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a turn ended. generation: the one it ran; error: None is success; notes: None keeps the domain's."""

    generation: int
    error: LoopError | None = None
    message: str = ""
    notes: tuple[Note, ...] | None = None


def conditions(status: LoopStatus, subject: Subject, ended: Ended | None, *, now: datetime) -> tuple[Condition, ...]:
    """Work out all conditions. status: counters already of this turn, conditions still the former ones."""
    notes = ended.notes if ended else None
    if notes is None:
        domain = [one for one in status.conditions if one.type not in _OWN]
    else:
        domain = [Condition(type=n.type, status=n.status, reason=n.reason, message=n.message) for n in notes]
        domain = list({one.type: one for one in domain if one.type not in _OWN}.values())
    return put(status.conditions, [*_common(status, subject, ended), *domain], now=now, generation=subject.generation)


def _common(status: LoopStatus, subject: Subject, ended: Ended | None) -> list[Condition]:
    if subject.spec is None:
        return _stalled(Reason.INVALID_SPEC, subject.invalid or "The spec cannot be read; apply it again.")
    if subject.spec.suspend:
        return [_ready("True", Reason.SUSPENDED, "Held by spec.suspend; remove it to go on.")]
    if ended is None or ended.generation != subject.generation:
        return _progressing("The newest spec was accepted; its first turn has not ended yet.")
    if ended.error is None:
        return [_ready("True", Reason.SUCCEEDED, ended.message)]
    return _failed(status, ended.error)


def _failed(status: LoopStatus, error: LoopError) -> list[Condition]:
    if isinstance(error, Permanent):
        return _stalled(error.reason, error.message)
    if isinstance(error, Delay):
        return _kept(status, error)
    ready = find(status.conditions, ConditionType.READY)
    worked = ready is not None and ready.status == "True" and ready.reason in {Reason.SUCCEEDED, Reason.RETRYING}
    if worked and not isinstance(error, Blocked) and status.consecutive_errors < ERROR_AFTER:
        return [_ready("True", Reason.RETRYING, error.message)]
    return _retried(_ready("False", error.reason, error.message))


def _kept(status: LoopStatus, delay: Delay) -> list[Condition]:
    """Keep what was true: a delay is no error."""
    ready = find(status.conditions, ConditionType.READY)
    if ready is None or ready.reason == Reason.SUSPENDED or find(status.conditions, ConditionType.STALLED):
        return _progressing(delay.message)
    if ready.status == "True":
        return [ready]
    return _retried(ready) if ready.status == "False" else _progressing(delay.message)


def _ready(status: str, reason: str, message: str) -> Condition:
    return Condition(type=ConditionType.READY, status=status, reason=reason, message=message)


def _progressing(message: str) -> list[Condition]:
    reconciling = Condition(type=ConditionType.RECONCILING, status="True", reason=Reason.PROGRESSING, message=message)
    return [_ready("Unknown", Reason.PROGRESSING, message), reconciling]


def _retried(ready: Condition) -> list[Condition]:
    reason, message = Reason.PROGRESSING_WITH_RETRY, ready.message
    return [ready, Condition(type=ConditionType.RECONCILING, status="True", reason=reason, message=message)]


def _stalled(reason: str, message: str) -> list[Condition]:
    return [
        _ready("False", reason, message),
        Condition(type=ConditionType.STALLED, status="True", reason=reason, message=message),
    ]


def phase(status: LoopStatus, subject: Subject, *, running: bool = False) -> str:
    """Give the phase: the first that holds of crds' list. status: counters, history and conditions already new."""
    spec = subject.spec
    stalled = find(status.conditions, ConditionType.STALLED) is not None
    table = (
        ("Suspended", spec is not None and bool(spec.suspend)),
        ("Running", running),
        ("Error", stalled or status.consecutive_errors >= ERROR_AFTER),
        ("Backoff", status.consecutive_errors > 0),
        ("Waiting", bool(status.history) and status.history[-1].result == "Delayed"),
        ("Degraded", spec is not None and _degraded(status, spec.interval_seconds)),
        ("Pending", status.last_run_time is None),
    )
    return next((name for name, holds in table if holds), "Idle")


def _degraded(status: LoopStatus, interval: float) -> bool:
    unlucky = status.run_count >= ENOUGH_RUNS and (
        status.success_rate_percent is not None and status.success_rate_percent < DEGRADED_PERCENT
    )
    slow = status.success_count >= ENOUGH_RUNS and (
        status.average_duration_ms is not None and status.average_duration_ms > interval * 10 * DEGRADED_PERCENT
    )
    return unlucky or slow
