from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_kit import START, newer, subject
from looparr.api.meta import REQUESTED_AT, RESET_STATS
from looparr.api.status import LoopStatus
from looparr.engine.adopt import adopt
from looparr.engine.due import due
from looparr.engine.finalize import Ending, TurnTimedOut, acknowledge, edges, finalize
from looparr.engine.types import Note, Outcome, Subject
from looparr.errors import Blocked, Delay, LoopError, Permanent, Transient
from looparr.testing import check_conditions

ERRORS: list[LoopError | None] = [
    None,
    None,
    Transient("Unreachable", "is it up?"),
    Transient("RateLimited", "wait", retry_after=70),
    Blocked("SecretMissing", "create it"),
    Permanent("WrongType", "correct the URL"),
    Delay("NoConnection", "later", seconds=30),
    TurnTimedOut(300),
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TIMES = st.sampled_from(
    ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", "2026-01-01", "soon", "2026-01-01T00:00:00"]
)
FIELDS = sorted(field.alias or name for name, field in LoopStatus.model_fields.items() if name != "block")


def ending(who: Subject, error: LoopError | None = None, **changes: Any) -> Ending:
    assert who.spec is not None
    return replace(
        Ending(who.generation, who.spec, START, 1.5, None if error else Outcome(message="fine"), error), **changes
    )


def end(status: LoopStatus, who: Subject, error: LoopError | None = None, **changes: Any) -> LoopStatus:
    return finalize(status, who, ending(who, error, **changes), now=START + timedelta(seconds=1.5))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ERRORS), st.integers(0, 9), st.floats(0, 1)), max_size=25))
def test_counters_grow_and_conditions_hold_through_any_life(life: list[tuple[LoopError | None, int, float]]) -> None:
    who, status = subject(), LoopStatus()
    for step, (error, chance, luck) in enumerate(life):
        now = START + timedelta(seconds=60 * step)
        before = status
        if chance == 0:
            who = subject(who.generation + 1, suspend=who.spec is not None and not who.spec.suspend)
        elif chance == 1:
            who = newer(subject(who.generation + 1), spec=None, invalid="spec.url: write it anew")
        elif who.spec is None:
            who = subject(who.generation + 1)
        status = acknowledge(status, who, now=now)
        assert acknowledge(status, who, now=now) is status
        check_conditions(status.dump(), generation=who.generation)
        if who.spec is not None and not who.spec.suspend:
            status = finalize(status, who, ending(who, error, started=now, luck=luck), now=now)
            check_conditions(status.dump(), generation=who.generation, suspended=False)
        for name in ("observed_generation", "run_count", "success_count", "error_count", "timeout_count"):
            assert getattr(status, name) >= getattr(before, name), name
        assert len(status.history) <= 5
        assert status.backoff.delay_seconds <= 300
        assert adopt(status.dump(), now=now).run_count == status.run_count


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JUNK | TIMES) | JUNK, st.sampled_from(ERRORS))
def test_a_damaged_status_is_repaired_by_the_next_write(stored: Any, error: LoopError | None) -> None:
    who = subject()
    status = adopt(stored, now=START)
    due(who, status, now=START, boot=START)
    status = acknowledge(status, who, now=START)
    due(who, status, now=START, boot=START)
    after = end(status, who, error)
    check_conditions(after.dump(), generation=1)
    found = due(who, after, now=START, boot=START)
    assert found.at is None or found.at - START < timedelta(hours=25)
    edges(status, after, error)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", ["junk", -5, 10**30, [], {}, "9999-12-31T23:59:59-12:00", [{"type": 1}], True])
def test_each_field_may_be_damaged_alone(name: str, value: Any) -> None:
    who = subject()
    good = end(acknowledge(LoopStatus(), who, now=START), who).dump()
    status = acknowledge(adopt(good | {name: value}, now=START), who, now=START)
    check_conditions(end(status, who).dump(), generation=1, suspended=False)


def test_what_kubectl_shows_is_there_although_it_is_zero_and_the_rest_only_when_it_says_something() -> None:
    """The API server pays for every field of every write."""
    fresh = LoopStatus().dump()
    assert {"runCount", "successCount", "errorCount", "consecutiveErrors", "phase"} <= fresh.keys()
    assert fresh.keys().isdisjoint({"timeoutCount", "consecutiveTimeouts", "backoff", "message"})
    who = subject()
    late = end(acknowledge(LoopStatus(), who, now=START), who, TurnTimedOut(1.0)).dump()
    assert (late["timeoutCount"], late["consecutiveTimeouts"], late["backoff"]["active"]) == (1, 1, True)
    assert adopt(fresh, now=START) == LoopStatus(), "what is left out is what a reader takes it for"


def test_a_turn_writes_down_what_happened() -> None:
    who = subject()
    status = end(acknowledge(LoopStatus(), who, now=START), who, duration=2.0, token="t1").dump()
    status.pop("conditions")
    assert status == {
        "observedGeneration": 1,
        "phase": "Idle",
        "effectiveInterval": "10s",
        "effectiveTimeout": "5m",
        "runCount": 1,
        "successCount": 1,
        "errorCount": 0,
        "consecutiveErrors": 0,
        "successRatePercent": 100,
        "averageDurationMs": 2000,
        "lastDurationMs": 2000,
        "maxDurationMs": 2000,
        "lastRunTime": "2026-01-01T00:00:00Z",
        "lastSuccessTime": "2026-01-01T00:00:01Z",
        "nextRunTime": "2026-01-01T00:00:11Z",
        "lastHandledRequestedAt": "t1",
        "message": "fine",
        "history": [
            {"startTime": "2026-01-01T00:00:00Z", "durationMs": 2000, "result": "Succeeded", "message": "fine"}
        ],
    }


def test_a_success_of_an_older_generation_does_not_keep_a_newer_one_ready() -> None:
    old, new = subject(1), subject(2)
    status = end(acknowledge(LoopStatus(), old, now=START), old)
    status = end(acknowledge(status, new, now=START), new, Transient("Unreachable", "up?"))
    assert (status.conditions[0].status, status.conditions[0].reason) == ("False", "Unreachable")


def test_a_permanent_error_has_no_next_run_and_no_backoff() -> None:
    status = end(acknowledge(LoopStatus(), subject(), now=START), subject(), Permanent("WrongType", "no Radarr"))
    assert status.next_run_time is None
    assert not status.backoff.active
    assert [one.type for one in status.conditions] == ["Ready", "Stalled"]


def test_a_longer_retry_after_is_kept_as_backoff() -> None:
    status = end(LoopStatus(), subject(), Transient("RateLimited", "wait", retry_after=70))
    assert status.backoff.delay_seconds == 70


def test_notes_become_conditions_and_go_when_they_are_not_repeated() -> None:
    status = end(LoopStatus(), subject(), outcome=Outcome(notes=(Note("MassFailure", "Brake", "held"),)))
    assert [one.type for one in status.conditions] == ["Ready", "MassFailure"]
    kept = end(status, subject(), Transient("Unreachable", "up?"))
    assert "MassFailure" in [one.type for one in kept.conditions]
    assert [one.type for one in end(kept, subject()).conditions] == ["Ready"]


def test_a_domain_cannot_speak_for_the_engine() -> None:
    status = end(LoopStatus(), subject(), outcome=Outcome(notes=(Note("Ready", "Forged", "no", "False"),)))
    check_conditions(status.dump(), generation=1)
    assert status.conditions[0].reason == "Succeeded"


def test_lasttransitiontime_moves_only_when_the_status_of_a_condition_changes() -> None:
    first = end(LoopStatus(), subject())
    second = finalize(first, subject(), ending(subject()), now=START + timedelta(hours=1))
    assert second.conditions[0].last_transition_time == first.conditions[0].last_transition_time
    third = finalize(second, subject(), ending(subject(), Blocked("NotFound", "x")), now=START + timedelta(hours=2))
    assert third.conditions[0].last_transition_time == START + timedelta(hours=2)


def test_the_block_of_the_type_is_kept_when_a_turn_says_nothing_of_it() -> None:
    status = end(LoopStatus(), subject(), outcome=Outcome(block={"torrents": {"total": 3}}))
    assert end(status, subject(), Transient("Unreachable", "up?")).dump()["torrents"] == {"total": 3}


def test_reset_stats_starts_anew_once_and_is_answered() -> None:
    status = LoopStatus()
    for error in (None, Transient("Unreachable", "up?")):
        status = end(status, subject(), error)
    asked = newer(subject(), annotations={RESET_STATS: "r1"})
    reset = acknowledge(status, asked, now=START)
    assert (reset.run_count, reset.error_count, reset.success_count) == (1, 1, 0)
    assert reset.last_handled_reset_stats == "r1"
    assert acknowledge(reset, asked, now=START) is reset


def test_degraded_needs_five_runs() -> None:
    status = LoopStatus()
    for error in (*[Transient("Unreachable", "up?")] * 3, None):
        status = end(status, subject(), error)
    assert status.phase == "Idle"
    assert end(status, subject()).phase == "Degraded"
    slow = LoopStatus()
    for _ in range(5):
        slow = end(slow, subject(), duration=6.0)
    assert slow.phase == "Degraded"


@pytest.mark.parametrize(
    ("life", "reasons"),
    [
        ([None, None], []),
        ([Transient("Unreachable", "x"), Transient("Unreachable", "x"), None], ["Unreachable", "Recovered"]),
        ([TurnTimedOut(5), TurnTimedOut(5)], ["TimedOut"]),
        ([Permanent("WrongType", "x")], ["WrongType"]),
        ([Blocked("NotFound", "x"), Permanent("WrongType", "x")], ["NotFound", "WrongType"]),
        ([Delay("NoConnection", "x", seconds=9)], []),
    ],
)
def test_events_come_on_edges_only(life: list[LoopError | None], reasons: list[str]) -> None:
    status, seen = acknowledge(LoopStatus(), subject(), now=START), []
    for error in life:
        after = end(status, subject(), error)
        seen += [event.reason for event in edges(status, after, error)]
        status = after
    assert seen == reasons


def test_a_trigger_is_an_edge_only_when_it_ran() -> None:
    status = end(LoopStatus(), subject())
    ran = finalize(status, subject(), ending(subject(), started=START + timedelta(seconds=5), token="t"), now=START)
    assert [event.reason for event in edges(status, ran)] == ["Triggered"]
    held = acknowledge(status, newer(subject(2, suspend=True), annotations={REQUESTED_AT: "t"}), now=START)
    assert [event.reason for event in edges(status, held)] == ["Suspended"]
