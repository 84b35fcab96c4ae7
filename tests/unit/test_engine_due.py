from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_kit import START, newer, subject
from looparr.api.conditions import Condition
from looparr.api.spec import Backoff
from looparr.api.status import BackoffStatus, LoopStatus
from looparr.engine.adopt import adopt
from looparr.engine.backoff import backoff_delay
from looparr.engine.due import ASKED_LIMIT, Why, due

LATER = START + timedelta(seconds=1000)
STALLED = (Condition(type="Stalled", status="True", reason="WrongType"),)


def ran(**changes: Any) -> LoopStatus:
    """A status after one run that ended at START, next one ten seconds later."""
    known: dict[str, Any] = {
        "observed_generation": 1,
        "run_count": 1,
        "success_count": 1,
        "last_run_time": START,
        "last_duration_ms": 0,
        "next_run_time": START + timedelta(seconds=10),
        "effective_interval": "10s",
    }
    return LoopStatus(**(known | changes))


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("what", "status", "at", "why"),
    [
        (subject(), LoopStatus(), START, Why.FIRST),
        (subject(initialDelay="30s"), LoopStatus(), after(30), Why.FIRST),
        (subject(initialDelay="30s", requested="now"), LoopStatus(), after(5), Why.TRIGGER),
        (subject(), ran(), after(10), Why.INTERVAL),
        (subject(requested="now"), ran(), after(5), Why.TRIGGER),
        (subject(requested="now"), ran(last_handled_requested_at="now"), after(10), Why.INTERVAL),
        (subject(requested="now", suspend=True), ran(), None, Why.SUSPENDED),
        (subject(2), ran(), after(5), Why.GENERATION),
        (subject(), ran(conditions=STALLED, next_run_time=None), None, Why.STALLED),
        (subject(requested="now"), ran(conditions=STALLED, next_run_time=None), after(5), Why.TRIGGER),
        (subject(2), ran(conditions=STALLED, next_run_time=None), after(5), Why.GENERATION),
        (newer(subject(requested="now"), spec=None), ran(), None, Why.INVALID),
        (newer(subject(requested="now"), deleting=True), ran(), None, Why.DELETING),
        (subject(), ran(next_run_time=None), after(5), Why.GENERATION),
    ],
)
def test_the_table_of_what_makes_a_loop_due(what: Any, status: LoopStatus, at: datetime | None, why: Why) -> None:
    found = due(what, status, now=after(5), boot=START)
    assert (found.at, found.why) == (at, why)


def test_a_stalled_loop_is_due_when_a_secret_has_changed_and_no_other_is() -> None:
    stopped = ran(conditions=STALLED, next_run_time=None)
    assert due(subject(), stopped, now=after(5), boot=START, renewed=True).why is Why.RENEWED
    assert due(subject(suspend=True), stopped, now=after(5), boot=START, renewed=True).at is None
    assert due(subject(), ran(), now=after(5), boot=START, renewed=True).at == after(10)


def test_backoff_holds_until_its_end() -> None:
    backoff = BackoffStatus(active=True, attempt=3, delay_seconds=20, until=after(20))
    found = due(subject(), ran(backoff=backoff, next_run_time=after(20)), now=after(5), boot=START)
    assert (found.at, found.why) == (after(20), Why.BACKOFF)


@given(st.datetimes(min_value=datetime(2026, 1, 2), max_value=datetime(9980, 1, 1)), st.booleans())  # noqa: DTZ001
def test_no_stored_time_holds_a_loop_longer_than_the_longest_pause(moment: datetime, active: bool) -> None:
    far = moment.replace(tzinfo=START.tzinfo)
    backoff = BackoffStatus(active=active, attempt=1, delay_seconds=10**9 if active else 0, until=far)
    found = due(subject(), ran(next_run_time=far, backoff=backoff), now=START, boot=START)
    assert found.at is not None
    assert found.at - START <= timedelta(seconds=3601 if active else 11)


def test_a_pause_that_a_turn_asked_for_outlives_a_restart() -> None:
    asked = ran(next_run_time=after(7200), effective_interval="2h")
    assert due(subject(), asked, now=after(60), boot=after(60)).at == after(7200)


def test_a_damaged_effective_interval_holds_at_most_a_day() -> None:
    damaged = ran(next_run_time=after(10**9), effective_interval="99999h")
    assert due(subject(), damaged, now=START, boot=START).at == after(ASKED_LIMIT + 1)
    nonsense = ran(next_run_time=after(10**9), effective_interval="soon")
    assert due(subject(), nonsense, now=START, boot=START).at == after(11)


@given(st.floats(0, 1))
def test_overdue_loops_are_spread_over_their_jitter(spread: float) -> None:
    found = due(subject(interval="100s", jitterPercent=20), ran(), now=LATER, boot=LATER, spread=spread)
    assert found.why is Why.OVERDUE
    assert found.at is not None
    assert timedelta() <= found.at - LATER <= timedelta(seconds=20)


def test_a_run_of_the_future_means_that_the_clock_was_set_back() -> None:
    assert due(subject(), ran(last_run_time=after(900)), now=START, boot=START).why is Why.CLOCK


def test_times_stored_in_whole_seconds_make_no_run_early() -> None:
    exact = ran(next_run_time=after(10.7))
    read = adopt(exact.dump(), now=after(5))
    assert read.next_run_time is not None
    assert after(10.7) <= read.next_run_time <= after(11.7)


@given(st.integers(1, 10**9), st.floats(0, 1), st.integers(100, 1000), st.integers(0, 100))
def test_backoff_is_never_above_its_maximum(attempt: int, luck: float, multiplier: int, jitter: int) -> None:
    spec = Backoff(initial_delay="3s", max_delay="2m", multiplier_percent=multiplier, jitter_percent=jitter)
    assert 0 <= backoff_delay(attempt, spec, luck=luck) <= 120


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 300), (500, 300)])
def test_backoff_doubles_up_to_five_minutes_by_default(attempt: int, seconds: float) -> None:
    assert backoff_delay(attempt) == seconds
    assert backoff_delay(attempt, luck=0) == pytest.approx(seconds * 0.9)
    assert backoff_delay(attempt, luck=1) == pytest.approx(min(seconds * 1.1, 300))


def test_a_longer_retry_after_wins_but_not_beyond_an_hour() -> None:
    assert backoff_delay(1, retry_after=60) == 60
    assert backoff_delay(3, retry_after=1) == 20
    assert backoff_delay(1, retry_after=10**9) == 3600
