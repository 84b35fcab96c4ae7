"""Bad time and strikes: only what was observed counts, only progress resets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_models import PUBLIC, rule, torrent
from looparr.arr.health import Clock, Health, Reading, examine, progress
from looparr.arr.rules import Facts, Rule

RULE = rule(when={"for": "10m"}, strikes=3, strikeEvery="5m")
NOBODY_LOOKED = Facts()


def look(
    clocks: Mapping[str, Clock],
    now: float,
    before: float,
    *,
    state: str = "stalledDL",
    rules: tuple[Rule, ...] = (RULE,),
    facts: Facts = PUBLIC,
    edited: Mapping[str, float] | None = None,
    countable: bool = True,
) -> Health:
    return examine(
        torrent(state=state),
        clocks,
        rules,
        facts,
        Reading(now, before),
        age=86400.0,
        edited=edited or {},
        countable=countable,
    )


def watch(*steps: tuple[float, str], rules: tuple[Rule, ...] = (RULE,)) -> Health:
    """Look at a torrent at these readings, in these states."""
    health, before = Health({}, (), None, wants_facts=False), 0.0
    for now, state in steps:
        health = look(health.clocks, now, before, state=state, rules=rules)
        before = now
    return health


def test_strikes_come_at_for_and_then_every_strike_every() -> None:
    steps = [(float(now), "stalledDL") for now in range(0, 1201, 60)]
    struck = [len(steps[: n + 1]) for n in range(len(steps))]
    strikes = [watch(*steps[:n]).findings[0].strikes for n in struck]
    assert strikes == [0] * 10 + [1] * 5 + [2] * 5 + [3]
    ripe = watch(*steps).ripe
    assert ripe is not None
    assert (ripe.bad, ripe.strikes) == (1200.0, 3)
    assert watch(*steps[:-1]).ripe is None


def test_a_long_step_gives_one_strike_only() -> None:
    assert watch((0, "stalledDL"), (9000, "stalledDL")).findings[0].strikes == 1


def test_the_turn_in_which_it_stopped_matching_does_not_count() -> None:
    clock = watch((0, "stalledDL"), (300, "stalledDL"), (600, "downloading")).clocks[RULE.name]
    assert (clock.bad, clock.since) == (300.0, None)


@pytest.mark.parametrize("between", ["downloading", "queuedDL", "checkingDL", "pausedDL", "metaDL"])
def test_a_flicker_of_state_neither_counts_nor_resets(between: str) -> None:
    flicker = ((0, "stalledDL"), (600, "stalledDL"), (660, between), (2000, between), (2060, "stalledDL"))
    finding = watch(*flicker).findings[0]
    assert (finding.bad, finding.strikes) == (600.0, 1)
    assert watch(*flicker, (2360, "stalledDL")).findings[0].strikes == 2


def test_what_nothing_may_touch_has_no_findings_and_keeps_its_strikes() -> None:
    struck = watch((0, "stalledDL"), (600, "stalledDL"))
    held = look(struck.clocks, 660, 600, countable=False)
    assert (held.findings, held.due, held.ripe) == ((), None, None)
    assert held.clocks[RULE.name].strikes == 1


def test_a_frozen_clock_strikes_nobody() -> None:
    waiting = look({RULE.name: Clock(RULE.digest, bad=600.0)}, 1000, 1000)
    assert waiting.findings[0].strikes == 0
    assert look(waiting.clocks, 1001, 1000).findings[0].strikes == 1


def test_the_first_strike_waits_for_a_look_up() -> None:
    clocks = {RULE.name: Clock(RULE.digest, since=0.0)}
    asked = look(clocks, 600, 540, facts=NOBODY_LOOKED)
    assert asked.wants_facts
    assert asked.findings[0].strikes == 0
    assert look(asked.clocks, 600, 540).findings[0].strikes == 1
    assert not look(clocks, 540, 480, facts=NOBODY_LOOKED).wants_facts


def test_a_changed_rule_starts_at_nothing() -> None:
    struck = watch((0, "stalledDL"), (600, "stalledDL"), (900, "stalledDL"))
    edited = rule(when={"for": "1m"}, strikes=1)
    finding = look(struck.clocks, 960, 900, rules=(edited,)).findings[0]
    assert (finding.bad, finding.strikes, finding.ripe) == (0.0, 0, False)


def test_a_rule_that_is_gone_is_forgotten() -> None:
    struck = watch((0, "stalledDL"), (600, "stalledDL"))
    assert look(struck.clocks, 660, 600, rules=()).clocks == {}


def test_fewer_strikes_act_no_earlier_than_one_for_after_the_edit() -> None:
    fewer = replace(RULE, strikes=1)
    assert fewer.digest == RULE.digest
    clocks = {RULE.name: Clock(RULE.digest, since=0.0, strikes=2, last_strike=900.0)}
    edited = {RULE.name: 1000.0}
    early = look(clocks, 1060, 1000, rules=(fewer,), edited=edited)
    assert early.ripe is None
    assert early.due is not None
    assert early.due <= 1600.0
    assert look(clocks, 1599, 1540, rules=(fewer,), edited=edited).ripe is None
    assert look(clocks, 1600, 1540, rules=(fewer,), edited=edited).ripe is not None
    assert look(clocks, 1060, 1000, rules=(fewer,)).ripe is not None


def test_the_end_of_that_pause_is_a_deadline() -> None:
    rare = replace(rule(when={"for": "10m"}, strikeEvery="24h"), strikes=1)
    clocks = {rare.name: Clock(rare.digest, since=0.0, strikes=1, last_strike=600.0)}
    assert look(clocks, 1060, 1000, rules=(rare,), edited={rare.name: 1000.0}).due == 1600.0
    assert look(clocks, 1700, 1600, rules=(rare,), edited={rare.name: 1000.0}).due == 600.0 + 86400.0


def test_rules_accumulate_and_the_first_ripe_one_in_order_acts() -> None:
    slow = rule(name="slow", when={"for": "1h"}, strikes=1)
    quick = rule(name="quick", when={"for": "1m"}, strikes=1)
    other = rule(name="other", when={"for": "1m"}, strikes=1, action="Report")
    rules = (slow, quick, other)
    seen = watch((0, "stalledDL"), (60, "stalledDL"), rules=rules)
    assert [(one.rule.name, one.ripe) for one in seen.findings] == [("slow", False), ("quick", True), ("other", True)]
    assert seen.ripe is not None
    assert seen.ripe.rule.name == "quick"
    later = watch((0, "stalledDL"), (60, "stalledDL"), (3600, "stalledDL"), rules=rules).ripe
    assert later is not None
    assert later.rule.name == "slow"


def test_due_is_the_next_strike() -> None:
    assert watch((0, "stalledDL")).due == 600.0
    assert watch((0, "stalledDL"), (600, "stalledDL")).due == 900.0
    assert watch((0, "downloading")).due is None


STATES = st.sampled_from(["stalledDL", "downloading", "queuedDL", "pausedDL", "checkingDL"])
TURNS = st.lists(st.tuples(st.floats(0, 500), STATES, st.booleans()), min_size=1, max_size=40)


@given(TURNS)
def test_bad_time_is_never_more_than_what_was_observed_as_bad(turns: list[tuple[float, str, bool]]) -> None:
    """A turn is (seconds observed since the one before, state, whether anybody had looked it up)."""
    clocks: Mapping[str, Clock] = {}
    now = observed = stalled = 0.0
    was_stalled = False
    strikes = 0
    for seconds, state, looked_up in turns:
        before, now = now, now + seconds
        observed += seconds
        stalled += seconds if was_stalled and state == "stalledDL" else 0.0
        health = look(clocks, now, before, state=state, facts=PUBLIC if looked_up else NOBODY_LOOKED)
        clocks = health.clocks
        was_stalled = state == "stalledDL"
        total = clocks[RULE.name].total(now) if RULE.name in clocks else 0.0
        given = clocks[RULE.name].strikes if RULE.name in clocks else 0
        assert total <= observed + 1e-6
        assert total == pytest.approx(stalled, abs=1e-6)
        assert strikes <= given <= strikes + 1
        assert given == strikes or (looked_up and seconds > 0 and state == "stalledDL")
        assert given <= max(0.0, 1 + (total - RULE.matches_for + 1e-6) / RULE.strike_every)
        assert (health.ripe is not None) == (was_stalled and given >= RULE.strikes)
        strikes = given


@given(TURNS)
def test_looking_twice_in_a_turn_gives_no_second_strike_for_a_late_look_up(
    turns: list[tuple[float, str, bool]],
) -> None:
    """As a turn does it: look, look up whoever wants it, look again at the same readings."""
    clocks: Mapping[str, Clock] = {}
    now, strikes = 0.0, 0
    for seconds, state, _ in turns:
        before, now = now, now + seconds
        first = look(clocks, now, before, state=state, facts=NOBODY_LOOKED)
        second = look(first.clocks, now, before, state=state) if first.wants_facts else first
        clocks = second.clocks
        given = clocks[RULE.name].strikes if RULE.name in clocks else 0
        assert given <= strikes + 1
        strikes = given


@pytest.mark.parametrize(
    ("mark", "completed", "expected", "made"),
    [
        (0, 99, 0, False),
        (0, 100, 100, True),
        (500, 599, 500, False),
        (500, 600, 600, True),
        (500, 499, 499, False),
        (500, 0, 0, False),
        (500, 500, 500, False),
    ],
)
def test_progress_is_made_above_the_high_water_mark_and_a_fall_only_lowers_it(
    mark: int, completed: int, expected: int, made: bool
) -> None:
    seen = progress(mark, completed, 100)
    assert (seen.mark, seen.made) == (expected, made)


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), max_size=30), st.integers(1, 10**4))
def test_crumbs_of_progress_add_up_but_none_counts_twice(mark: int, seen: list[int], least: int) -> None:
    for completed in seen:
        result = progress(mark, completed, least)
        assert result.made == (completed - mark >= least)
        assert result.mark <= max(mark, completed)
        mark = result.mark
