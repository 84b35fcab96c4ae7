"""Conditions: what `kubectl wait`, Flux and Argo CD read. Only `engine.finalize` makes them.

Ready is always there. Reconciling and Stalled are there only when True, and never together (kstatus).
Reasons come from closed lists: the common ones stand here, each domain adds a StrEnum of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from looparr.api.model import Model, Time

MESSAGE_LIMIT = 300


class ConditionType(StrEnum):
    """The types that every loop may carry; domains add their own (MassFailure, NotDurable, ...)."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class Reason(StrEnum):
    """Reasons that every loop may show in Ready."""

    PROGRESSING = "Progressing"
    """The newest spec was accepted; its first turn has not ended yet."""
    SUCCEEDED = "Succeeded"
    """The last turn succeeded."""
    RETRYING = "Retrying"
    """The last turn failed, but fewer than five in a row after a success."""
    SUSPENDED = "Suspended"
    """spec.suspend holds the loop; counters stay."""
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
    """Reason of Reconciling while a failed loop is tried again."""
    TIMED_OUT = "TimedOut"
    """The turn took longer than spec.timeout and was cancelled."""
    INTERNAL_ERROR = "InternalError"
    """A defect of Looparr; the log holds the traceback."""
    INVALID_SPEC = "InvalidSpec"
    """The spec cannot be read; the message names field and cure. Only an edit helps."""


class Condition(Model):
    """One condition, as in the Kubernetes API conventions. status is "True", "False" or "Unknown"."""

    type: str
    """Ready, Reconciling, Stalled, or a type of the domain's own such as MassFailure."""
    status: str
    """True, False or Unknown."""
    reason: str = Field(default="", validate_default=False)
    """One CamelCase word from a closed, documented list."""
    message: str = ""
    """One sentence for a person, with the cure in it."""
    last_transition_time: Time | None = None
    """When status last changed."""
    observed_generation: int | None = None
    """The spec generation that this was said about."""


def put(
    conditions: Iterable[Condition], wanted: Iterable[Condition], *, now: datetime, generation: int
) -> tuple[Condition, ...]:
    """Replace all conditions by `wanted`, keeping lastTransitionTime where `status` did not change.

    Ready comes first, then the others by type. Messages are cut to MESSAGE_LIMIT characters.
    """
    before = {one.type: one for one in conditions}
    result = []
    for one in wanted:
        old = before.get(one.type)
        since = old.last_transition_time if old and old.status == one.status and old.last_transition_time else now
        result.append(
            one.model_copy(
                update={
                    "message": one.message[:MESSAGE_LIMIT],
                    "last_transition_time": since,
                    "observed_generation": generation,
                }
            )
        )
    return tuple(sorted(result, key=lambda one: (one.type != ConditionType.READY, one.type)))


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Give the condition of that type, or None."""
    return next((one for one in conditions if one.type == type_), None)
