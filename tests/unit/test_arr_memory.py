"""What outlives a turn: it comes back from the store as it was, and its counters are what a recount gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from arr_models import NOW
from looparr.arr.deadlines import SLACK, Deadlines
from looparr.arr.health import Clock
from looparr.arr.intents import Act, Intent, Phase
from looparr.arr.limits import DAY, HOUR
from looparr.arr.memory import GONE_KEPT, Memory, newest
from looparr.arr.rules import Facts
from looparr.arr.states import IN_TROUBLE, State
from looparr.arr.tracked import Key, Tracked, read_clock, strike_row
from looparr.store.rows import ActionRow, Changes, IntentRow, StrikeKey, StrikeRow, TorrentRow
from looparr.store.rows import Memory as Stored

V1, V2 = "1" * 40, "2" * 40
KEY = Key("main", V1, 5)


def action(at: float, result: str = "Done", **fields: Any) -> ActionRow:
    told: dict[str, Any] = {
        "endpoint": "http://q",
        "client": "main",
        "hash": V1,
        "name": "A Film",
        "items": (1,),
        "action": "Replace",
        "rule": "stalled",
        "reason": "Stalled",
    }
    return ActionRow(at=at, result=result, **told | fields)


def begun(key: Key = KEY, id_: str = "i") -> Intent:
    return Intent(
        id_, Act.REPLACE, key.client, key.hash, key.added_on, "A Film", key.hash, (1,), "stalled", "Stalled", NOW
    )


class Shelf:
    """What the store does with changes, in a few lines: dropped first, then put, and a dropped torrent's strikes go."""

    def __init__(self) -> None:
        self.torrents: dict[Key, TorrentRow] = {}
        self.strikes: dict[StrikeKey, StrikeRow] = {}
        self.values: dict[str, Any] = {}
        self.actions: list[ActionRow] = []
        self.intents: dict[str, IntentRow] = {}

    def commit(self, changes: Changes) -> None:
        for key in changes.drop_torrents:
            self.torrents.pop(Key(*key), None)
            self.strikes = {clock: row for clock, row in self.strikes.items() if clock[:3] != tuple(key)}
        for clock in changes.drop_strikes:
            self.strikes.pop(StrikeKey(*clock), None)
        self.torrents |= {row.key: row for row in changes.put_torrents}
        self.strikes |= {row.key: row for row in changes.put_strikes}
        self.actions += changes.add_actions
        for intent in changes.close_intents:
            self.intents.pop(intent, None)
        self.values = {
            name: value for name, value in {**self.values, **changes.put_values}.items() if value is not None
        }

    def load(self) -> Memory:
        return Memory(
            Stored(
                torrents=tuple(self.torrents.values()),
                strikes=tuple(self.strikes.values()),
                intents=tuple(self.intents.values()),
                actions=tuple(self.actions),
                values=self.values,
            )
        )


# --- rows ----------------------------------------------------------------------------------------------------------

CLOCKS = st.builds(
    Clock,
    digest=st.sampled_from(["d1", "d2"]),
    bad=st.floats(0, 1e6),
    since=st.none() | st.floats(0, 1e6),
    strikes=st.integers(0, 9),
    last_strike=st.floats(0, 1e6),
)
FACTS = st.builds(
    Facts,
    private=st.sampled_from([None, True, False]),
    hosts=st.none() | st.lists(st.sampled_from(["a.example", "b.example"]), unique=True).map(tuple),
)
TRACKED = st.builds(
    Tracked,
    key=st.just(KEY),
    name=st.text(max_size=20),
    infohash_v1=st.sampled_from(["", V1]),
    state=st.sampled_from(State),
    since=st.floats(0, 1e10),
    mark=st.integers(0, 10**15),
    facts=FACTS,
    owned=st.booleans(),
    nudged=st.booleans(),
    imported=st.booleans(),
    guarded=st.sampled_from(["", "LoopGuard: again"]),
    reported=st.frozensets(st.sampled_from(["a/Limits", "a/Private"])),
    hold_until=st.floats(0, 1e10),
    gone_at=st.floats(0, 1e10),
)


@given(TRACKED)
def test_a_torrent_comes_back_from_its_row_as_it_was(one: Tracked) -> None:
    assert Tracked.from_row(one.row()) == one


@given(CLOCKS)
def test_a_clock_comes_back_from_its_row_as_it_was(clock: Clock) -> None:
    assert read_clock(strike_row(KEY, "stalled", clock)) == clock


def test_a_row_of_another_version_is_read_as_far_as_it_goes() -> None:
    one = Tracked.from_row(TorrentRow("main", V1, 5, "", "Quarantined", 7.0, {"mark": None, "new": 1}))
    assert (one.state, one.since, one.mark, one.facts, one.owned) == (State.DETECTED, 7.0, 0, Facts(), False)


def test_an_intent_of_another_version_is_closed_and_the_rest_is_loaded() -> None:
    other = Key("main", V2, 5)
    odd = replace(begun(other, "odd").row("uid"), phase="Quarantined")
    memory = Memory(Stored(intents=(begun().row("uid"), odd)))
    assert set(memory.intents) == {KEY}
    assert memory.changes().close_intents == ("odd",)


# --- book-keeping --------------------------------------------------------------------------------------------------

KEYS = st.builds(Key, st.sampled_from(["main", "other"]), st.sampled_from([V1, V2, "3" * 40]), st.sampled_from([1, 2]))


def recount(memory: Memory) -> None:
    """What the counters must say, worked out from the torrents alone."""
    there = [one for one in memory.tracked.values() if not one.gone_at]
    ours = [one for one in there if one.owned]
    assert +memory.counts == Counter(one.state for one in there)
    assert memory.owned == len(ours)
    assert +memory.owned_by_host == Counter(host for one in ours for host in one.facts.hosts or ())
    assert {one.key for one in there} == set(memory.current.values())
    assert all((key.client, key.hash) == name for name, key in memory.current.items())
    assert all(key == one.key for key, one in memory.tracked.items())
    assert memory.trouble == {one.key for one in there if one.state in IN_TROUBLE}
    for keys in (memory.waiting, memory.unsettled, memory.absent, memory.conflicts):
        assert keys <= {one.key for one in there}
    assert min(memory.counts.values(), default=0) >= 0
    assert not memory.dirty & memory.dropped


class Books(RuleBasedStateMachine):
    """Any order of the memory's operations, with commits, restarts and sweeps between them."""

    torrents = Bundle("torrents")

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.memory = self.shelf.load()
        self.now = NOW

    def one(self, key: Key) -> Tracked | None:
        return self.memory.tracked.get(key)

    @rule(target=torrents, key=KEYS, v1=st.sampled_from(["", V1, V2]))
    def seen(self, key: Key, v1: str) -> Key:
        one = self.memory.track(key, v1, self.now)
        assert one is self.memory.tracked[key]
        assert one.key == key
        assert not one.gone_at
        return key

    @rule(key=torrents, state=st.sampled_from(State))
    def moves(self, key: Key, state: State) -> None:
        if (one := self.one(key)) and not one.gone_at:
            self.memory.move(one, state, self.now)

    @rule(key=torrents, owned=st.booleans(), facts=FACTS)
    def is_known(self, key: Key, owned: bool, facts: Facts) -> None:
        if (one := self.one(key)) and not one.gone_at:
            self.memory.own(one, owned=owned)
            self.memory.learn(one, facts)

    @rule(key=torrents, clocks=st.dictionaries(st.sampled_from(["a", "b"]), CLOCKS))
    def is_judged(self, key: Key, clocks: dict[str, Clock]) -> None:
        if (one := self.one(key)) and not one.gone_at:
            one.clocks = clocks
            self.memory.dirty.add(key)
            for keys in (self.memory.waiting, self.memory.unsettled, self.memory.conflicts, self.memory.absent):
                keys.add(key)
            self.memory.strikes_of(key.client).put(key, 10.0)
            self.memory.goals_due.put(key, 10.0)

    @rule(key=torrents)
    def leaves(self, key: Key) -> None:
        if one := self.one(key):
            self.memory.leave(one, State.GONE_BY_OTHER, self.now)

    @rule(key=consumes(torrents))
    def is_forgotten(self, key: Key) -> None:
        self.memory.forget(key)
        assert key not in self.memory.tracked

    @rule(days=st.sampled_from([0.1, 3.0, 8.0]))
    def time_passes(self, days: float) -> None:
        self.now += days * DAY
        self.memory.sweep(self.now)
        if days * DAY > HOUR:
            gone = [one for one in self.memory.tracked.values() if one.gone_at]
            assert all(self.now - one.gone_at <= GONE_KEPT for one in gone)

    @rule()
    def is_stored(self) -> None:
        self.shelf.commit(self.memory.changes())
        assert not self.memory.has_news
        again = self.shelf.load()
        assert {key: one.row() for key, one in again.tracked.items()} == {
            key: one.row() for key, one in self.memory.tracked.items()
        }
        assert {key: dict(one.clocks) for key, one in again.tracked.items()} == {
            key: dict(one.clocks) for key, one in self.memory.tracked.items()
        }
        recount(again)

    @rule()
    def the_process_starts_anew(self) -> None:
        self.shelf.commit(self.memory.changes())
        self.memory = self.shelf.load()

    @invariant()
    def the_counters_are_a_recount(self) -> None:
        recount(self.memory)


Books.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestBooks = Books.TestCase


def stalled(memory: Memory, key: Key, v1: str = "") -> Tracked:
    one = memory.track(key, v1, NOW)
    memory.own(one, owned=True)
    memory.move(one, State.STALLED, NOW)
    one.clocks = {"stalled": Clock("d", 60.0, None, 1, 60.0)}
    return one


def test_metadata_may_re_key_a_torrent_and_its_memory_goes_with_it() -> None:
    shelf = Shelf()
    memory = shelf.load()
    stalled(memory, Key("main", V1, 5), V1)
    shelf.commit(memory.changes())
    one = memory.track(Key("main", V2, 5), V1, NOW + 1)
    assert (one.state, one.since, one.owned, dict(one.clocks)["stalled"].strikes) == (State.STALLED, NOW, True, 1)
    assert set(memory.tracked) == {Key("main", V2, 5)}
    shelf.commit(memory.changes())
    assert {row.hash for row in shelf.strikes.values()} == {V2}
    assert set(shelf.torrents) == {Key("main", V2, 5)}


@pytest.mark.parametrize(
    ("key", "v1"),
    [(Key("main", V2, 6), V1), (Key("other", V2, 5), V1), (Key("main", V2, 5), ""), (Key("main", V1, 6), V1)],
)
def test_another_torrent_starts_clean(key: Key, v1: str) -> None:
    """Added at another time, in another client, or the same hash again: nothing is carried over."""
    memory = Memory(Stored())
    stalled(memory, KEY, V1)
    one = memory.track(key, v1, NOW + 1)
    assert (one.state, one.since, one.owned, one.clocks) == (State.DETECTED, NOW + 1, False, {})


def test_a_torrent_that_was_added_again_replaces_the_old_one() -> None:
    memory = Memory(Stored())
    stalled(memory, KEY)
    memory.track(Key("main", V1, 6), "", NOW)
    assert set(memory.tracked) == {Key("main", V1, 6)}


def test_one_that_comes_back_within_a_week_is_remembered() -> None:
    memory = Memory(Stored())
    memory.leave(stalled(memory, KEY), State.GONE_BY_OTHER, NOW)
    assert memory.counts.total() == 0
    memory.sweep(NOW + GONE_KEPT)
    one = memory.track(KEY, "", NOW + GONE_KEPT)
    assert (one.gone_at, one.clocks["stalled"].strikes) == (0.0, 1)


def test_who_has_an_open_intent_is_not_swept_away() -> None:
    memory = Memory(Stored())
    memory.leave(stalled(memory, KEY), State.GONE_BY_OTHER, NOW)
    memory.intents[KEY] = begun()
    memory.sweep(NOW + 2 * GONE_KEPT)
    assert KEY in memory.tracked
    memory.drop_intents()
    memory.sweep(NOW + 3 * GONE_KEPT)
    assert memory.tracked == {}
    assert memory.changes().close_intents == ("i",)


def test_the_sweep_drops_what_is_too_old_to_matter_once_an_hour() -> None:
    memory = Memory(Stored(actions=(action(NOW - GONE_KEPT - DAY - 1), action(NOW))))
    memory.sweep(NOW)
    assert [row.at for row in memory.actions] == [NOW]
    memory.actions.insert(0, action(NOW - GONE_KEPT - 2 * DAY))
    memory.sweep(NOW + HOUR - 1)
    assert len(memory.actions) == 2
    memory.sweep(NOW + HOUR)
    assert len(memory.actions) == 1


def test_news_is_what_has_to_be_stored_now() -> None:
    memory = Memory(Stored())
    assert not memory.has_news
    memory.observe("main", 60.0)
    memory.observe("main", -5.0)
    assert memory.reading("main") == 60.0
    assert not memory.has_news, "readings alone may wait"
    memory.add_total("imported", 2)
    memory.add_total("imported")
    assert memory.has_news
    changes = memory.changes()
    assert changes.put_values == {"readings": {"main": 60.0}, "totals": {"imported": 3}}
    assert not memory.has_news
    memory.put_value("totals", {"imported": 3})
    assert not memory.has_news
    memory.log(action(NOW))
    assert memory.has_news
    assert memory.changes().add_actions == (action(NOW),)


def test_in_flight_is_what_was_sent_and_not_verified() -> None:
    memory = Memory(Stored())
    for phase in Phase:
        memory.intents = {KEY: replace(begun(), phase=phase)}
        assert memory.in_flight is (phase is not Phase.REMOVED)
    memory.intents = {}
    assert not memory.in_flight


def test_people_see_trouble_waiting_and_what_is_being_removed() -> None:
    memory = Memory(Stored())
    waiting, removing, fine = (Key("main", digit * 40, 1) for digit in "345")
    stalled(memory, KEY)
    for key in (waiting, removing, fine):
        memory.track(key, "", NOW)
    memory.waiting.add(waiting)
    memory.intents[removing] = begun(removing)
    memory.intents[Key("main", "6" * 40, 1)] = begun()
    assert memory.in_trouble() == {KEY, waiting, removing}


def test_the_newest_come_first_and_of_two_at_once_the_later_noted() -> None:
    rows = [action(1, "a"), action(3, "b"), action(2, "c"), action(3, "d")]
    assert [row.result for row in newest(rows, 3)] == ["d", "b", "c"]


# --- deadlines -----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(KEYS, st.none() | st.floats(0, 100), st.booleans()), max_size=60))
def test_deadlines_are_a_dictionary_that_gives_what_is_due(steps: list[tuple[Key, float | None, bool]]) -> None:
    deadlines, expected = Deadlines(), dict[Key, float]()
    for key, at, pops in steps:
        deadlines.put(key, at)
        if at is None:
            expected.pop(key, None)
        else:
            expected[key] = at
        if pops and at is not None:
            due = list(deadlines.pop(at))
            assert len(due) == len(set(due))
            assert set(due) == {one for one, moment in expected.items() if moment <= at}
            expected = {one: moment for one, moment in expected.items() if moment > at}
    assert set(deadlines.pop(1000)) == set(expected)


def test_a_deadline_that_moves_for_ever_does_not_fill_the_heap() -> None:
    deadlines = Deadlines()
    for moment in range(10_000):
        deadlines.put(KEY, 1e6 + moment)
    assert len(deadlines._heap) <= SLACK + 3
    assert list(deadlines.pop(1e6 + 9_998)) == []
    assert list(deadlines.pop(1e6 + 9_999)) == [KEY]
