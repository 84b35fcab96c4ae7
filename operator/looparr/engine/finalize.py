"""What a turn leaves behind: the only place where counters, backoff, conditions, phase and history are computed.

Everything is pure: (status before, what happened, now) -> status after. `finalize` ends a turn, `acknowledge` answers
a new generation, suspend or trigger in between, `running` shows a long turn, `interrupted` keeps what a turn that was
cut short really did, `edges` says which Events the difference of two statuses is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from looparr.api.conditions import ConditionType, Reason, find
from looparr.api.durations import format_duration
from looparr.api.meta import RESET_STATS
from looparr.api.spec import CommonSpec
from looparr.api.status import ERROR_LIMIT, HISTORY_LIMIT, BackoffStatus, LoopStatus, Run
from looparr.engine.backoff import backoff_delay
from looparr.engine.due import ASKED_LIMIT, BLOCKED_DELAY, requested
from looparr.engine.types import Event, EventType, Outcome, Subject
from looparr.engine.verdict import Ended, conditions, phase
from looparr.errors import Blocked, Delay, LoopError, Permanent, Transient

MESSAGE_LIMIT = 300
SHORTEST_DELAY = 0.1
"""Seconds: a turn may ask for no shorter pause."""


class TurnTimedOut(Transient):
    """The turn took longer than spec.timeout."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            Reason.TIMED_OUT,
            f"The turn took longer than {format_duration(seconds)} and was cancelled; raise spec.timeout if it must.",
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """One finished turn.

    generation and spec: what it ran. started: wall clock; duration: seconds. outcome: what it returned, or reported
    until it was cut short (None: nothing). error: why it failed, None is success. token: the trigger it answers.
    luck: 0..1, the random share of every pause.
    """

    generation: int
    spec: CommonSpec
    started: datetime
    duration: float
    outcome: Outcome | None = None
    error: LoopError | None = None
    token: str | None = None
    luck: float = 0.5


def finalize(status: LoopStatus, subject: Subject, ending: Ending, *, now: datetime) -> LoopStatus:
    """End a turn. subject: the newest known, maybe of a newer generation or suspended since; now: end of the turn."""
    error, outcome = ending.error, ending.outcome
    changes: dict[str, Any] = {
        "observed_generation": subject.generation,
        "last_run_time": ending.started,
        "last_duration_ms": _milliseconds(ending),
        "message": (error.message if error else outcome.message if outcome else "")[:MESSAGE_LIMIT],
        "history": (*status.history, _row(ending))[-HISTORY_LIMIT:],
        "block": _block(status, outcome),
    }
    if ending.token:
        changes["last_handled_requested_at"] = ending.token
    if not isinstance(error, Delay):
        changes |= _counters(status, ending, now)
    changes |= _pause(status, subject, ending, changes, now)
    after = status.model_copy(update=changes)
    notes = None if outcome is None else outcome.notes
    ended = Ended(ending.generation, error, changes["message"], notes)
    after = after.model_copy(update={"conditions": conditions(after, subject, ended, now=now)})
    return after.model_copy(update={"phase": phase(after, subject)})


def acknowledge(status: LoopStatus, subject: Subject, *, now: datetime) -> LoopStatus:
    """Answer what the object asks for in between turns: a new generation, suspend, an unreadable spec, resetStats.

    Gives back `status` itself when there is nothing to say. A new generation starts anew: due at once, Ready Unknown,
    no backoff, no Stalled; a trigger while suspended (or unreadable) is consumed without a run.
    """
    spec = subject.spec
    held = spec is None or bool(spec.suspend)
    changes: dict[str, Any] = {}
    if held and (token := requested(subject, status)):
        changes["last_handled_requested_at"] = token
    if (reset := subject.annotations.get(RESET_STATS)) and reset != status.last_handled_reset_stats:
        changes |= _reset(status) | {"last_handled_reset_stats": reset}
    if _unanswered(status, subject):
        changes |= {
            "observed_generation": subject.generation,
            "next_run_time": _first_run(status, subject),
            "backoff": BackoffStatus(),
        }
        if spec is not None:
            changes |= _effective(spec)
        after = status.model_copy(update=changes)
        changes["conditions"] = conditions(after, subject, None, now=now)
    if not changes:
        return status
    after = status.model_copy(update=changes)
    return after.model_copy(update={"phase": phase(after, subject)})


def running(status: LoopStatus, subject: Subject) -> LoopStatus:
    """Show that a turn lasts longer than usual."""
    return status.model_copy(update={"phase": phase(status, subject, running=True)})


def interrupted(status: LoopStatus, subject: Subject, outcome: Outcome | None, *, now: datetime) -> LoopStatus:
    """Keep what a turn reported that a stop cut short: it counts as nothing and is due again at once."""
    changes: dict[str, Any] = {"phase": phase(status, subject)}
    if outcome is not None:
        changes |= {"block": _block(status, outcome), "next_run_time": now}
    return status.model_copy(update=changes)


def edges(before: LoopStatus, after: LoopStatus, error: LoopError | None = None) -> tuple[Event, ...]:
    """Say which changes are worth an Event: only edges, never a state."""
    events = []
    old, new = find(before.conditions, ConditionType.READY), find(after.conditions, ConditionType.READY)
    was, now_ = (one.reason if one else "" for one in (old, new))
    if now_ == Reason.SUSPENDED and was != now_:
        events.append(Event("Suspended", "Held by spec.suspend; counters stay."))
    elif was == Reason.SUSPENDED and now_ != was:
        events.append(Event("Resumed", "No longer held by spec.suspend."))
    ran = after.last_run_time != before.last_run_time
    if ran and after.last_handled_requested_at != before.last_handled_requested_at:
        events.append(Event("Triggered", f"Ran by request {(after.last_handled_requested_at or '')[:64]}."))
    if after.consecutive_timeouts == 1 and before.consecutive_timeouts == 0:
        events.append(Event("TimedOut", error.message if error else after.message, EventType.WARNING))
    elif error and after.consecutive_errors == 1 and before.consecutive_errors == 0:
        events.append(Event(error.reason, error.message, EventType.WARNING))
    stalled, was_stalled = (find(one.conditions, ConditionType.STALLED) for one in (after, before))
    if stalled and not was_stalled and not any(event.reason == stalled.reason for event in events):
        events.append(Event(stalled.reason, stalled.message, EventType.WARNING))
    if before.consecutive_errors and not after.consecutive_errors and after.success_count > before.success_count:
        events.append(Event("Recovered", f"Succeeded after {before.consecutive_errors} errors."))
    return tuple(events)


def _reset(status: LoopStatus) -> dict[str, Any]:
    """Start the statistics anew; what is wrong just now stays counted."""
    return {
        "run_count": status.consecutive_errors,
        "success_count": 0,
        "error_count": status.consecutive_errors,
        "timeout_count": status.consecutive_timeouts,
        "success_rate_percent": None,
        "average_duration_ms": None,
        "max_duration_ms": None,
    }


def _unanswered(status: LoopStatus, subject: Subject) -> bool:
    """Tell whether conditions do not speak of this generation yet, or are not there at all."""
    if status.observed_generation != subject.generation:
        return True
    ready = find(status.conditions, ConditionType.READY)
    if ready is None:
        return True
    if subject.spec is None:
        return ready.reason != Reason.INVALID_SPEC or find(status.conditions, ConditionType.STALLED) is None
    held = bool(subject.spec.suspend)
    return held != (ready.reason == Reason.SUSPENDED) or ready.reason == Reason.INVALID_SPEC


def _first_run(status: LoopStatus, subject: Subject) -> datetime | None:
    """When the very first turn is due, for the NEXT RUN column; None is at once, or never while held."""
    spec = subject.spec
    if spec is None or spec.suspend or status.last_run_time is not None or not spec.initial_delay_seconds:
        return None
    return subject.created + timedelta(seconds=spec.initial_delay_seconds)


def _effective(spec: CommonSpec) -> dict[str, Any]:
    return {
        "effective_interval": format_duration(spec.interval_seconds),
        "effective_timeout": format_duration(spec.timeout_seconds),
    }


def _counters(status: LoopStatus, ending: Ending, now: datetime) -> dict[str, Any]:
    """Count one turn, good or bad."""
    error, spent = ending.error, _milliseconds(ending)
    runs = status.run_count + 1
    changes: dict[str, Any] = {"run_count": runs, "max_duration_ms": max(spent, status.max_duration_ms or 0)}
    if error is None:
        count = status.success_count + 1
        average = status.average_duration_ms if status.average_duration_ms is not None else spent
        changes |= {
            "success_count": count,
            "consecutive_errors": 0,
            "consecutive_timeouts": 0,
            "last_success_time": now,
            "average_duration_ms": round(average + (spent - average) / count),
        }
    else:
        timed_out = isinstance(error, TurnTimedOut)
        changes |= {
            "error_count": status.error_count + 1,
            "consecutive_errors": status.consecutive_errors + 1,
            "timeout_count": status.timeout_count + timed_out,
            "consecutive_timeouts": status.consecutive_timeouts + 1 if timed_out else 0,
            "last_error_time": now,
            "last_error": error.message[:ERROR_LIMIT],
        }
    changes["success_rate_percent"] = round(100 * changes.get("success_count", status.success_count) / runs)
    return changes


def _pause(
    status: LoopStatus, subject: Subject, ending: Ending, counted: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Work out backoff, effective values and the next run."""
    error, spec = ending.error, subject.spec
    none: dict[str, Any] = {"backoff": BackoffStatus(), "next_run_time": None}
    if spec is None:
        return none
    changes = none | _effective(spec)
    if spec.suspend or ending.generation != subject.generation:
        return changes
    if error is None or isinstance(error, Delay):
        asked = error.seconds if error else ending.outcome.next_delay if ending.outcome else None
        if asked is not None and math.isfinite(asked):
            seconds = min(max(asked, SHORTEST_DELAY), ASKED_LIMIT)
            changes["effective_interval"] = format_duration(seconds)
        else:
            seconds = spec.interval_seconds * (1 + spec.jitter * ending.luck)
        if error is not None:
            changes["backoff"] = status.backoff
        return changes | {"next_run_time": now + timedelta(seconds=seconds)}
    if isinstance(error, Permanent):
        return changes
    attempt = counted["consecutive_errors"]
    if isinstance(error, Blocked):
        seconds = BLOCKED_DELAY
    else:
        retry_after = error.retry_after if isinstance(error, Transient) else None
        seconds = backoff_delay(attempt, spec.backoff, luck=ending.luck, retry_after=retry_after)
    until = now + timedelta(seconds=seconds)
    backoff = BackoffStatus(active=True, attempt=attempt, delay_seconds=math.ceil(seconds), until=until)
    return changes | {"backoff": backoff, "next_run_time": until}


def _block(status: LoopStatus, outcome: Outcome | None) -> dict[str, Any]:
    return status.block if outcome is None or outcome.block is None else dict(outcome.block)


def _milliseconds(ending: Ending) -> int:
    return max(0, round(ending.duration * 1000))


def _row(ending: Ending) -> Run:
    error = ending.error
    result = (
        "Succeeded"
        if error is None
        else "Delayed"
        if isinstance(error, Delay)
        else "TimedOut"
        if isinstance(error, TurnTimedOut)
        else "Failed"
    )
    message = error.message if error else ending.outcome.message if ending.outcome else ""
    return Run(
        start_time=ending.started,
        duration_ms=_milliseconds(ending),
        result=result,
        message=message[:MESSAGE_LIMIT],
    )
