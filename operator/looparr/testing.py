"""A checker for tests: does a stored status keep what `kubectl wait`, Flux and Argo CD rely on.

Ships with the package, so that authors of loops may use it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from looparr.api.conditions import ConditionType, Reason

ERROR_AFTER = 5
_TRUE_REASONS = frozenset({Reason.SUCCEEDED, Reason.RETRYING, Reason.SUSPENDED})


def check_conditions(
    status: Mapping[str, Any], *, generation: int | None = None, suspended: bool | None = None
) -> None:
    """Assert the table of conditions on one stored status.

    generation: metadata.generation, where the status should have answered it. suspended: spec.suspend of that
    generation. Raises AssertionError that says which promise is broken.
    """
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    assert len(conditions) == len(status.get("conditions", ())), "a type of condition is there twice"
    ready = conditions.get(ConditionType.READY)
    assert ready is not None, "Ready is missing"
    assert next(iter(conditions)) == ConditionType.READY, "Ready is not the first condition"
    for one in conditions.values():
        _check_form(one)
    reconciling, stalled = conditions.get(ConditionType.RECONCILING), conditions.get(ConditionType.STALLED)
    assert reconciling is None or stalled is None, "Reconciling and Stalled at one time"
    for one in (reconciling, stalled):
        assert one is None or one["status"] == "True", f"{one and one['type']} is there without being True"
    _check_ready(ready, reconciling, stalled)
    _check_counters(status, ready)
    if generation is not None:
        assert status["observedGeneration"] == generation, f"generation {generation} is not answered: {status}"
    if suspended is not None:
        assert (ready["reason"] == Reason.SUSPENDED) == suspended, f"suspended is {suspended}, but Ready is {ready}"
    assert ready["observedGeneration"] == status["observedGeneration"], "Ready speaks of another generation"


def _check_form(one: Mapping[str, Any]) -> None:
    assert one["status"] in {"True", "False", "Unknown"}, f"odd status in {one}"
    assert one["reason"].isalnum(), f"the reason is no CamelCase word: {one}"
    datetime.fromisoformat(one["lastTransitionTime"])


def _check_ready(
    ready: Mapping[str, Any], reconciling: Mapping[str, Any] | None, stalled: Mapping[str, Any] | None
) -> None:
    match ready["status"]:
        case "True":
            assert ready["reason"] in _TRUE_REASONS, f"no reason to be ready: {ready}"
            assert reconciling is None, "ready, but still reconciling"
            assert stalled is None, "ready, but stalled"
        case "Unknown":
            assert ready["reason"] == Reason.PROGRESSING, f"unknown for no known reason: {ready}"
            assert reconciling is not None, "progressing without Reconciling"
        case _:
            assert reconciling is not None or stalled is not None, "not ready, and nothing is done about it"
            if stalled is not None:
                assert stalled["reason"] == ready["reason"], "Ready and Stalled disagree"
            else:
                assert reconciling is not None
                assert reconciling["reason"] == Reason.PROGRESSING_WITH_RETRY, f"odd reason: {reconciling}"


def _check_counters(status: Mapping[str, Any], ready: Mapping[str, Any]) -> None:
    runs, good, bad = (status.get(name, 0) for name in ("runCount", "successCount", "errorCount"))
    assert runs == good + bad, f"{runs} runs are not {good} successes and {bad} errors"
    in_a_row = status.get("consecutiveErrors", 0)
    assert 0 <= in_a_row <= bad, f"{in_a_row} errors in a row of {bad}"
    if ready["reason"] == Reason.SUCCEEDED:
        assert in_a_row == 0, "Succeeded after an error"
    if ready["reason"] == Reason.RETRYING:
        assert 0 < in_a_row < ERROR_AFTER, f"Retrying with {in_a_row} errors in a row"
    backoff = status.get("backoff", {})
    assert not backoff.get("active") or "until" in backoff, "a backoff without an end"
