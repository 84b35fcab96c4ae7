"""The part of the status that both kinds share, and how a damaged one is read.

What is stored may have been written by an older Looparr, by a person, or through a loosened schema. Reading never
fails: every field that cannot be read takes its default, and the next write repairs the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from pydantic import ConfigDict, Field, ValidationError

from looparr.api.conditions import Condition
from looparr.api.model import Model, Time

HISTORY_LIMIT = 5
_INT64 = 2**63
ERROR_LIMIT = 300


class BackoffStatus(Model):
    """The backoff in force. until is null while none is."""

    active: bool = False
    """Whether a failed loop is being held back."""
    attempt: int = Field(default=0, ge=0)
    """Errors in a row that the delay was worked out from."""
    delay_seconds: int = Field(default=0, ge=0)
    """The delay in force, seconds."""
    until: Time | None = None
    """When the next turn may begin. Annotate looparr.dev/requestedAt to run at once."""


class Run(Model):
    """One finished turn. result: Succeeded, Failed, TimedOut or Delayed."""

    start_time: Time
    """When the turn began."""
    duration_ms: int = Field(default=0, ge=0)
    """How long it took, milliseconds."""
    result: str = ""
    """Succeeded, Failed, TimedOut or Delayed."""
    message: str = ""
    """What it had to say, or why it failed."""


class LoopStatus(Model):
    """Counters, times, backoff and conditions of one loop; `block` holds the type's own top-level fields.

    Times are aware datetimes; written in whole seconds.
    """

    model_config = ConfigDict(extra="ignore")

    observed_generation: int = -1
    """The newest spec generation that was acknowledged; -1 before the first."""
    phase: str = "Pending"
    """For people: Suspended, Running, Error, Backoff, Waiting, Degraded, Pending or Idle. Scripts read conditions."""
    effective_interval: str | None = None
    """Pause between turns in force, defaults included."""
    effective_timeout: str | None = None
    """Limit of one turn in force, defaults included."""
    run_count: int = Field(default=0, ge=0)
    """Turns that ended, whatever their result. Annotate looparr.dev/resetStats to start anew."""
    success_count: int = Field(default=0, ge=0)
    """Turns that succeeded."""
    error_count: int = Field(default=0, ge=0)
    """Turns that failed, time-outs included."""
    consecutive_errors: int = Field(default=0, ge=0)
    """Failed turns since the last success."""
    timeout_count: int = Field(default=0, ge=0)
    """Turns that took longer than the timeout and were cancelled. Absent: 0."""
    consecutive_timeouts: int = Field(default=0, ge=0)
    """Time-outs in a row; raise spec.timeout if it keeps growing. Absent: 0."""
    success_rate_percent: int | None = Field(default=None, ge=0, le=100)
    """Share of turns that succeeded, percent."""
    average_duration_ms: int | None = Field(default=None, ge=0)
    """Average duration of successful turns, milliseconds."""
    last_duration_ms: int | None = Field(default=None, ge=0)
    """Duration of the last turn, milliseconds."""
    max_duration_ms: int | None = Field(default=None, ge=0)
    """Duration of the longest turn, milliseconds."""
    last_run_time: Time | None = None
    """When the last turn began."""
    last_success_time: Time | None = None
    """When a turn last succeeded."""
    last_error_time: Time | None = None
    """When a turn last failed."""
    last_error: str | None = None
    """Why the last failed turn failed, with the cure; stays after a success."""
    next_run_time: Time | None = None
    """When the next turn is due. Long overdue: the operator is not running."""
    backoff: BackoffStatus = BackoffStatus()
    """The extra pause after errors. Absent: there is none."""
    last_handled_requested_at: str | None = None
    """Token of the last annotation looparr.dev/requestedAt that was answered with a run."""
    last_handled_reset_stats: str | None = None
    """Token of the last annotation looparr.dev/resetStats that was answered."""
    message: str = ""
    """What the last turn has to say, in one line."""
    history: tuple[Run, ...] = ()
    """The last turns, oldest first, at most 5."""
    conditions: tuple[Condition, ...] = ()
    """Ready always; Reconciling or Stalled only while True. `kubectl wait --for=condition=Ready` reads them."""
    block: dict[str, Any] = Field(default_factory=dict, exclude=True)

    def dump(self) -> dict[str, Any]:
        """Give the JSON object that is stored: camelCase, the type's own fields beside the common ones.

        What is not there is left out: nulls, and zeros and texts of `_UNSAID`; the API server pays for every field.
        """
        fields = self.model_dump(by_alias=True, exclude_none=True, mode="json")
        return {**self.block, **{name: value for name, value in fields.items() if _UNSAID.get(name) != value}}


_UNSAID = {
    "timeoutCount": 0,
    "consecutiveTimeouts": 0,
    "backoff": BackoffStatus().model_dump(by_alias=True, exclude_none=True),
    "message": "",
}
"""Fields that are left out at these values. The counters in the columns of `kubectl get` are always there."""


_ALIASES: dict[str, str] = {
    (field.alias or name): name for name, field in LoopStatus.model_fields.items() if name != "block"
}


def read_status(stored: Any, *, now: datetime, block: type[Model] | None = None) -> LoopStatus:
    """Read a stored status, repairing what is damaged.

    stored: the object under `.status`, of any shape. Fields of a wrong type take their default; a nonsense counter
    (negative, or more successes and errors than runs) is mended; a time in the future, other than nextRunTime and
    backoff.until, becomes `now`. Other top-level fields are the kind's own block, read through its model `block`; what
    that cannot read is dropped. Without a model they stay as they are.
    """
    source: Mapping[str, Any] = stored if isinstance(stored, Mapping) else {}
    good: dict[str, Any] = {}
    for alias, name in _ALIASES.items():
        if alias not in source or source[alias] is None:
            continue
        value = _rows(source[alias]) if name in {"history", "conditions"} else source[alias]
        try:
            good[name] = getattr(LoopStatus.model_validate({alias: value}), name)
        except ValidationError:
            continue
    others = {key: value for key, value in source.items() if key not in _ALIASES}
    return _mend(LoopStatus(**good, block=others if block is None else read_block(block, others)), now)


def read_block(model: type[Model], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the model can read of a stored object, as it would be written: field by field, row by row.

    What is left fits the schema that is made from the model, so that the API server does not refuse the whole status.
    """
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        value = stored.get(alias)
        part = _model_in(field.annotation)
        if part is not None and isinstance(value, Mapping):
            value = read_block(part, value)
        elif part is not None and isinstance(value, (list, tuple)):
            value = [read_block(part, row) for row in value if isinstance(row, Mapping)]
        if value is None:
            continue
        try:
            written = model.model_validate({alias: value}).model_dump(
                by_alias=True, exclude_none=True, exclude_unset=True, mode="json"
            )
        except (ValueError, OverflowError):
            continue
        if _fits(written):
            found |= written
    return found


def _model_in(annotation: Any) -> type[Model] | None:
    """Find the model in X, X | None, tuple[X, ...] and tuple[X, ...] | None."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)


def _fits(value: Any) -> bool:
    """Whether every integer is one that the API server can store."""
    if isinstance(value, Mapping):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or abs(value) < _INT64


def _rows(value: Any) -> list[Any]:
    """Keep the rows of a list that can be read, each on its own."""
    kept = []
    for row in value if isinstance(value, (list, tuple)) else ():
        model = Run if isinstance(row, Mapping) and "startTime" in row else Condition
        try:
            model.model_validate(row)
        except ValidationError:
            continue
        kept.append(row)
    return kept


def _mend(status: LoopStatus, now: datetime) -> LoopStatus:
    changes: dict[str, Any] = {
        name: now
        for name in ("last_run_time", "last_success_time", "last_error_time")
        if (moment := getattr(status, name)) is not None and _later(moment, now)
    }
    if status.run_count < status.success_count + status.error_count:
        changes["run_count"] = status.success_count + status.error_count
    if status.consecutive_errors > status.error_count:
        changes["consecutive_errors"] = status.error_count
    return status.model_copy(update=changes) if changes else status


def _later(moment: datetime, now: datetime) -> bool:
    return moment.tzinfo is None or moment > now
