"""How a stored status becomes the engine's own copy, once per object and process.

`read_status` already replaces what cannot be read; here goes what can be read but not lived with: times without a
zone or at the edge of the calendar, counters that would overflow the API server's integers.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from looparr.api.model import Model
from looparr.api.status import BackoffStatus, LoopStatus, read_status

_BIGGEST = 2**53
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
_LATEST = datetime(9990, 1, 1, tzinfo=UTC)
_COUNTERS = (
    "run_count",
    "success_count",
    "error_count",
    "consecutive_errors",
    "timeout_count",
    "consecutive_timeouts",
)
_DURATIONS = ("average_duration_ms", "last_duration_ms", "max_duration_ms")
_TIMES = ("last_run_time", "last_success_time", "last_error_time", "next_run_time")


def adopt(stored: Any, *, now: datetime, block: type[Model] | None = None) -> LoopStatus:
    """Read and mend a stored status of any shape; never fails. block: the model of the kind's own fields.

    nextRunTime was stored in whole seconds, rounded down: it is rounded up here, so that no run comes early.
    """
    status = read_status(stored, now=now, block=block)
    changes: dict[str, Any] = {name: 0 for name in _COUNTERS if getattr(status, name) > _BIGGEST}
    changes |= {name: None for name in _DURATIONS if (getattr(status, name) or 0) > _BIGGEST}
    changes |= {name: None for name in _TIMES if not _sane(getattr(status, name))}
    changes["history"] = tuple(run for run in status.history if _sane(run.start_time) and run.duration_ms < _BIGGEST)
    changes["conditions"] = tuple(
        one if _sane(one.last_transition_time) else one.model_copy(update={"last_transition_time": None})
        for one in status.conditions
    )
    if not _sane(status.backoff.until) or max(status.backoff.attempt, status.backoff.delay_seconds) > _BIGGEST:
        changes["backoff"] = BackoffStatus()
    if not -1 <= status.observed_generation <= _BIGGEST:
        changes["observed_generation"] = -1
    status = _consistent(status.model_copy(update=changes))
    if status.next_run_time is not None and status.next_run_time.microsecond == 0:
        status = status.model_copy(update={"next_run_time": status.next_run_time + timedelta(seconds=1)})
    return status


def _consistent(status: LoopStatus) -> LoopStatus:
    """Make counters agree with each other: errors are believed, successes are what is left of the runs."""
    errors = status.error_count
    runs = max(status.run_count, errors)
    in_a_row = min(status.consecutive_errors, errors)
    return status.model_copy(
        update={
            "run_count": runs,
            "success_count": runs - errors,
            "consecutive_errors": in_a_row,
            "timeout_count": min(status.timeout_count, errors),
            "consecutive_timeouts": min(status.consecutive_timeouts, in_a_row),
        }
    )


def _sane(moment: datetime | None) -> bool:
    return moment is None or (moment.tzinfo is not None and _in_calendar(moment))


def _in_calendar(moment: datetime) -> bool:
    try:
        return _EARLIEST < moment.astimezone(UTC) < _LATEST
    except OverflowError:
        return False
