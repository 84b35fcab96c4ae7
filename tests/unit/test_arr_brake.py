"""The brake: when many torrents go bad at once, it is not the torrents."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from arr_models import NOW, spec
from looparr.api.meta import RELEASE_BRAKE
from looparr.arr.brake import WINDOW, Entries, Entry, Identity, lasting, pull, update
from looparr.arr.health import Clock
from looparr.arr.memory import Memory
from looparr.arr.rules import Facts, effective_rules
from looparr.arr.standing import Standing, begun, learn_rules, note_bad, offline, read_brakes, update_brake
from looparr.arr.states import State
from looparr.arr.tracked import Key
from looparr.store.rows import Memory as Stored

HOST = "tracker.example.org"


def who(number: int) -> Identity:
    return ("main", f"{number:040x}", 1)


def entries(count: int, *, at: float = NOW, state: str = "Stalled", host: str = "", start: int = 0) -> list[Entry]:
    return [Entry(at, state, who(number), host) for number in range(start, start + count)]


def noted(*found: Entry) -> Entries:
    return {(entry.condition, entry.torrent): entry for entry in found}


def bad(*numbers: int) -> Callable[[Identity, str], bool]:
    return lambda torrent, condition: torrent in {who(number) for number in numbers}


@pytest.mark.parametrize(
    ("count", "owned", "hosts", "pulled"),
    [
        (5, 20, {}, False),
        (6, 20, {}, True),
        (6, 59, {}, True),
        (6, 60, {}, False),
        (100, 1000, {}, False),
        (101, 1000, {}, True),
        (6, 1000, {HOST: 10}, True),
        (5, 1000, {HOST: 10}, False),
        (10, 1000, {HOST: 50}, False),
        (11, 1000, {HOST: 50}, True),
    ],
)
def test_it_is_pulled_above_ten_percent_of_all_or_twenty_of_a_host_but_never_by_five(
    count: int, owned: int, hosts: Mapping[str, int], pulled: bool
) -> None:
    found = pull(entries(count, host=HOST if hosts else ""), owned, hosts, NOW)
    assert bool(found) is pulled
    if hosts and pulled:
        assert HOST in found[0].reason


def test_only_one_hour_one_condition_and_different_torrents_count() -> None:
    assert not pull(entries(6, at=NOW - WINDOW), 20, {}, NOW)
    assert pull(entries(6, at=NOW - WINDOW + 1), 20, {}, NOW)
    assert not pull([*entries(5), *entries(5, state="Errored", start=5)], 20, {}, NOW)
    assert not pull(entries(3) * 4, 20, {}, NOW)


def test_it_lets_go_when_so_few_are_left_that_it_would_not_be_pulled() -> None:
    pulled = update((), entries(7), 20, {}, bad(*range(7)), NOW)
    assert len(pulled) == 1
    assert update(pulled, [], 20, {}, bad(*range(6)), NOW + 9999) == pulled
    assert update(pulled, [], 20, {}, bad(*range(5)), NOW + 9999) == ()


def test_those_that_go_bad_while_it_holds_have_to_recover_too() -> None:
    pulled = update((), entries(6), 20, {}, bad(*range(6)), NOW)
    later = entries(30, at=NOW + 600, start=6)
    grown = update(pulled, [*entries(6), *later], 20, {}, bad(*range(36)), NOW + 600)
    assert len(grown[0].torrents) == 36
    still = update(grown, [], 20, {}, bad(*range(6, 36)), NOW + 3 * WINDOW)
    assert still, "the first six are well again, the thirty of later are not"
    assert update(still, [], 20, {}, bad(), NOW + 3 * WINDOW) == ()


def test_two_troubles_are_two_brakes() -> None:
    both = [*entries(6), *entries(6, state="Errored", start=6)]
    pulled = update((), both, 20, {}, bad(*range(12)), NOW)
    assert {one.condition for one in pulled} == {"Stalled", "Errored"}
    left = update(pulled, [], 20, {}, bad(*range(6, 12)), NOW + 2 * WINDOW)
    assert {one.condition for one in left} == {"Errored"}


def test_only_who_is_still_bad_and_became_so_within_the_hour_is_kept() -> None:
    kept = lasting(noted(*entries(9)), bad(0, 1, 2, 3, 4), NOW + 1)
    assert kept == noted(*entries(5))
    assert update((), kept.values(), 20, {}, bad(0, 1, 2, 3, 4), NOW) == ()
    assert lasting(kept, bad(0, 1), NOW + WINDOW) == {}


# --- in the memory of an instance -----------------------------------------------------------------------------------


def stalled_memory(count: int) -> Memory:
    memory = Memory(Stored())
    for number in range(count):
        one = memory.track(Key(*who(number)), "", NOW)
        memory.own(one, owned=True)
        memory.learn(one, Facts(private=False, hosts=(HOST,)))
        memory.move(one, State.STALLED, NOW)
    memory.entries = noted(*entries(count, host=HOST))
    return memory


def test_a_pulled_brake_outlives_the_process_and_is_released_by_recovery() -> None:
    memory = stalled_memory(8)
    update_brake(memory, {}, NOW)
    again = Memory(Stored(torrents=tuple(memory.changes().put_torrents), values=memory.values))
    assert {one.reason for one in read_brakes(again)} == {
        "8 of 8 torrents became Stalled within an hour",
        f"8 of 8 torrents of {HOST} became Stalled within an hour",
    }
    assert again.entries == memory.entries
    update_brake(again, {}, NOW + 9999)
    assert read_brakes(again)
    for number in range(3):
        again.move(again.tracked[Key(*who(number))], State.DOWNLOADING, NOW)
    update_brake(again, {}, NOW + 9999)
    assert read_brakes(again) == ()


def test_a_person_releases_it_once_with_a_new_token() -> None:
    memory = stalled_memory(8)
    update_brake(memory, {RELEASE_BRAKE: "1"}, NOW)
    assert read_brakes(memory) == ()
    memory.entries = noted(*entries(8))
    update_brake(memory, {RELEASE_BRAKE: "1"}, NOW)
    assert read_brakes(memory), "the old token is used up"
    update_brake(memory, {RELEASE_BRAKE: "2"}, NOW)
    assert read_brakes(memory) == ()


def test_torrents_that_left_do_not_keep_it_pulled() -> None:
    memory = stalled_memory(8)
    update_brake(memory, {}, NOW)
    for number in range(8):
        memory.leave(memory.tracked[Key(*who(number))], State.GONE_BY_OTHER, NOW)
    update_brake(memory, {}, NOW)
    assert read_brakes(memory) == ()


def test_two_hundred_torrents_that_flicker_for_a_day_fill_nothing() -> None:
    memory = stalled_memory(200)
    changed = []
    for minute in range(1440):
        now = NOW + 60 * minute
        for one in memory.tracked.values():
            memory.move(one, State.DOWNLOADING if minute % 2 else State.STALLED, now)
            if not minute % 2:
                note_bad(memory, one, ["Stalled"], HOST, now)
        update_brake(memory, {}, now)
        changed.append(len(memory.changes().put_values.get("entries") or ()))
    assert max(changed) == 200
    assert not memory.entries, "all are well again"


def test_entries_that_stay_as_they_are_are_not_stored_again() -> None:
    memory = stalled_memory(3)
    update_brake(memory, {}, NOW)
    assert len(memory.changes().put_values["entries"]) == 3
    again = Memory(Stored(torrents=tuple(one.row() for one in memory.tracked.values()), values=memory.values))
    update_brake(again, {}, NOW + 60)
    assert "entries" not in again.changes().put_values


# --- conditions of rules, which no state shows ----------------------------------------------------------------------

SLOW = {"name": "slow", "condition": "EtaExceeded", "when": {"maxEta": "72h"}, "action": "Report"}
RULES = effective_rules(spec(rules=[SLOW, {"name": "meta", "condition": "MetadataStuck", "action": "Report"}]))
MATCHES, RESTS = Clock("d", since=5.0), Clock("d", bad=9.0)


def test_a_rule_begins_to_match_once_and_progress_does_not_make_it_begin_again() -> None:
    assert begun({}, {"slow": MATCHES, "meta": RESTS}) == {"slow"}
    assert begun({"slow": RESTS}, {"slow": MATCHES}) == {"slow"}
    assert begun({"slow": MATCHES}, {"slow": Clock("d", since=7.0)}) == frozenset()


def test_a_rule_that_is_new_or_changed_says_nothing_of_the_torrents() -> None:
    memory = Memory(Stored())
    assert learn_rules(memory, RULES) == frozenset()
    assert learn_rules(memory, RULES) == {rule.name for rule in RULES}
    edited = effective_rules(spec(rules=[{**SLOW, "when": {"maxEta": "71h"}}]))
    assert learn_rules(memory, edited) == {"stalled", "metadata-stuck"}


@pytest.mark.parametrize(("rule", "condition"), [("slow", "EtaExceeded"), ("meta", "MetadataStuck")])
def test_many_that_begin_to_match_a_rule_pull_it_and_recover_with_their_clocks(rule: str, condition: str) -> None:
    memory = stalled_memory(8)
    memory.entries = {}
    learn_rules(memory, RULES)
    for one in memory.tracked.values():
        memory.move(one, State.DOWNLOADING, NOW)
        one.clocks = {rule: MATCHES}
        note_bad(memory, one, [condition], "", NOW)
    update_brake(memory, {}, NOW)
    assert [one.condition for one in read_brakes(memory)] == [condition]
    for one in list(memory.tracked.values())[:3]:
        one.clocks = {rule: RESTS}
    update_brake(memory, {}, NOW)
    assert read_brakes(memory) == ()


def test_holds_name_the_gravest_first() -> None:
    standing = Standing(0.0, brake="a", store_lost="b", shrunk="c", offline="d", conflict="e")
    assert standing.holds == ("MassFailure: a", "StoreLost: b", "ClientShrunk: c", "Offline: d", "OwnershipConflict: e")
    assert Standing(0.0).holds == ()
    assert spec().warmup_seconds == 0.0


@pytest.mark.parametrize(
    ("said", "out"), [("connected", False), ("firewalled", False), ("disconnected", True), ("", True), ("new", True)]
)
def test_a_client_that_does_not_say_that_it_is_online_is_offline(said: str, out: bool) -> None:
    assert offline(said) is out
