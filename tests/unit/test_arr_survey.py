"""The look at what changed or is due: what it notes for the brake, what it gives up, and what it may forget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest

from arr_models import HASH, NOW, PUBLIC, event, link, spec, torrent, view
from looparr.arr.absence import GONE_AFTER, forget_history, note_absent
from looparr.arr.fetch import Observation
from looparr.arr.history import KEPT, History
from looparr.arr.intents import Act, Intent
from looparr.arr.links import ClientLink
from looparr.arr.memory import Memory
from looparr.arr.rules import effective_rules
from looparr.arr.spec import ArrSpec
from looparr.arr.standing import read_brakes, update_brake
from looparr.arr.states import State
from looparr.arr.survey import PAUSE_EVERY, Surveyor
from looparr.arr.tracked import Key
from looparr.arr.views import Down, View
from looparr.clients.qbittorrent.mirror import Cursor
from looparr.clients.qbittorrent.wire import Torrent
from looparr.errors import Transient
from looparr.store.rows import Memory as Stored

SLOW = {"name": "slow", "condition": "EtaExceeded", "when": {"maxEta": "72h"}, "action": "Report"}
STUCK = {"name": "stuck", "condition": "MetadataStuck", "action": "Report"}
WATCHING = spec(rules=[SLOW, STUCK], defaultRules="Exclude")
FINE: dict[str, Any] = {"state": "downloading", "eta": 600}
BAD: dict[str, dict[str, Any]] = {"EtaExceeded": {"eta": 73 * 3600}, "MetadataStuck": {"state": "metaDL"}}
COUNT = 8


def hashes(count: int) -> list[str]:
    return [f"{number:040x}" for number in range(1, count + 1)]


@dataclass
class Place:
    """One client and one Arr whose answers the tests set; everything that looks at them is real."""

    memory: Memory = field(default_factory=lambda: Memory(Stored()))
    history: History = field(default_factory=History)
    link: ClientLink = field(default_factory=link)
    torrents: dict[str, Torrent] = field(default_factory=dict)
    now: float = NOW

    def view(self, removed: Iterable[str] = ()) -> View:
        return view(self.torrents, self.link, at=self.now, removed=removed)

    def observation(self, view: View) -> Observation:
        return Observation(
            views={"main": view},
            history=self.history,
            queue={},
            touched=frozenset(),
            roots=(),
            auto_redownload=(True, True),
            arr_version="",
            versions={},
            skew=None,
        )

    def surveyor(self, of: ArrSpec = WATCHING, *, first: bool = False, everything: bool = False) -> Surveyor:
        """Who looks in a turn a minute after the last one."""
        self.now += 60
        before = {"main": self.memory.reading("main")}
        self.memory.observe("main", 60)
        return Surveyor(
            spec=of,
            rules=effective_rules(of),
            memory=self.memory,
            observation=self.observation(self.view()),
            now=self.now,
            before=before,
            edited={},
            everything=everything,
            newcomers=frozenset({"main"} if first else ()),
        )

    def look(self, of: ArrSpec = WATCHING, *, first: bool = False, everything: bool = False) -> None:
        """One turn."""
        for _ in self.surveyor(of, first=first, everything=everything).look():
            pass
        for one in self.memory.tracked.values():
            self.memory.learn(one, PUBLIC)
        update_brake(self.memory, {}, self.now)

    def show(self, count: int = COUNT, **fields: Any) -> None:
        """Let the client show these torrents, all grabbed by this Arr."""
        for number, hash_ in enumerate(hashes(count)):
            known = self.torrents.get(hash_)
            self.torrents[hash_] = msgspec.structs.replace(known or torrent(hash=hash_), **fields)
            self.history.merge([event(number + 1, "grabbed", 0, number + 1, name=hash_, releaseSource="Rss")])

    def pulled(self) -> set[str]:
        return {one.condition for one in read_brakes(self.memory)}


def running() -> Place:
    """A place that has looked at torrents that are all fine."""
    place = Place()
    place.show(**FINE)
    place.look(first=True)
    place.look()
    return place


@pytest.mark.parametrize("condition", BAD)
def test_many_that_begin_to_match_a_rule_at_once_pull_the_brake_until_they_recover(condition: str) -> None:
    place = running()
    place.show(**BAD[condition])
    place.look()
    assert place.pulled() == {condition}
    place.look()
    assert place.pulled() == {condition}
    place.show(**FINE)
    place.look()
    assert place.pulled() == set()


@pytest.mark.parametrize("condition", BAD)
def test_what_matched_when_we_came_or_since_the_rule_was_written_pulls_nothing(condition: str) -> None:
    place = Place()
    place.show(**FINE | BAD[condition])
    place.look(first=True)
    place.look()
    assert place.pulled() == set()
    unwatched = running()
    nothing = spec(rules=[], defaultRules="Exclude")
    unwatched.look(nothing)
    unwatched.show(**BAD[condition])
    unwatched.look(nothing)
    unwatched.look(everything=True)
    assert unwatched.pulled() == set(), "the rule is new, not the trouble"


def test_a_torrent_that_is_new_to_us_says_nothing() -> None:
    place = running()
    place.torrents = {}
    place.show(2 * COUNT, **FINE | BAD["MetadataStuck"])
    fresh = {one: place.torrents[one] for one in hashes(2 * COUNT)[COUNT:]}
    place.torrents = fresh
    place.look()
    place.look()
    assert place.pulled() == set()


def test_a_look_at_many_pauses_so_that_others_may_run() -> None:
    place = Place()
    place.show(2 * PAUSE_EVERY + 1, **FINE)
    surveyor = place.surveyor(everything=True)
    assert [len(place.memory.tracked) for _ in surveyor.look()] == [PAUSE_EVERY, 2 * PAUSE_EVERY]
    assert len(place.memory.tracked) == 2 * PAUSE_EVERY + 1


def test_what_was_imported_before_anybody_looked_at_a_client_is_not_counted() -> None:
    for first in (True, False):
        place = Place()
        place.show(1, state="stalledUP", progress=1.0)
        place.history.merge([event(9, "downloadFolderImported", 60, 1, name=hashes(1)[0])])
        surveyor = place.surveyor(first=first)
        for _ in surveyor.look():
            pass
        assert surveyor.survey.imported == (0 if first else 1)


def clock(place: Place, hash_: str) -> float:
    """Bad time so far of a torrent under its one rule."""
    memory = place.memory
    (found,) = memory.tracked[memory.current["main", hash_]].clocks.values()
    return found.total(memory.reading("main"))


@pytest.mark.parametrize("looks", [1, GONE_AFTER + 9])
def test_what_is_not_in_the_clients_list_is_not_seen_to_be_bad(looks: int) -> None:
    place = Place()
    place.show(**FINE | BAD["MetadataStuck"])
    place.look(first=True)
    place.look()
    (one, *_), shown = hashes(COUNT), dict(place.torrents)
    assert clock(place, one) == 60
    del place.torrents[one]
    for _ in range(looks):
        place.look()
    place.torrents = shown
    place.look()
    assert clock(place, one) == 60, "it counts from the look that sees it again"
    place.look()
    assert clock(place, one) == 120
    assert clock(place, hashes(COUNT)[1]) == (looks + 3) * 60


@pytest.mark.parametrize("condition", BAD)
def test_a_list_that_is_empty_for_a_moment_neither_releases_the_brake_nor_pulls_it(condition: str) -> None:
    pulled, calm = running(), Place()
    pulled.show(**BAD[condition])
    pulled.look()
    calm.show(**FINE | BAD[condition])
    calm.look(first=True)
    calm.look()
    for place, expected in ((pulled, {condition}), (calm, set[str]())):
        shown, place.torrents = place.torrents, {}
        place.look()
        assert place.pulled() == expected
        place.torrents = shown
        place.look()
        assert place.pulled() == expected


def test_torrents_of_a_client_that_left_the_spec_count_no_longer() -> None:
    place = running()
    place.memory.track(Key("other", HASH, 1), "", NOW)
    place.look()
    assert place.memory.counts.total() == COUNT + 1
    place.look(everything=True)
    assert place.memory.counts.total() == COUNT
    assert place.memory.tracked[Key("other", HASH, 1)].state is State.GONE_BY_OTHER, "it may come back"


class Unwalked(dict[tuple[str, str], Key]):
    """What may be asked for a key, and must not be gone through."""

    def __iter__(self) -> Any:
        raise AssertionError("all known torrents were gone through")


def test_who_left_is_found_without_going_through_all_that_are_known() -> None:
    place = running()
    place.link.cursor = Cursor(place, 1)
    place.memory.current = Unwalked(place.memory.current)
    gone = hashes(1)
    del place.torrents[gone[0]]
    note_absent(place.memory, place.view(removed=gone), NOW, 0.0, everything=False)
    for _ in range(GONE_AFTER - 1):
        note_absent(place.memory, place.view(), NOW, 0.0, everything=False)
    left = [one.key.hash for one in place.memory.tracked.values() if one.state is State.GONE_BY_OTHER]
    assert left == gone


def test_history_is_kept_of_what_is_shown_remembered_or_being_removed_and_no_longer_of_the_rest() -> None:
    place = running()
    shown, *_ = hashes(COUNT)
    under_way, forgotten = "e" * 40, HASH
    place.history.merge([event(90, "grabbed", name=under_way), event(91, "grabbed", name=forgotten)])
    place.torrents = {shown: place.torrents[shown]}
    key = Key("main", "d" * 40, 1)
    place.memory.intents[key] = Intent("i", Act.REPLACE, *key, "A Film", under_way, (1,), "slow", "why", NOW)
    later = NOW + KEPT.total_seconds() + 1
    observation = place.observation(place.view())
    forget_history(place.memory, observation, place.now + 1)
    assert forgotten in place.history.downloads, "not before an hour has gone by"
    down = {"second": Down(Transient("Unreachable", "second could not be reached"))}
    forget_history(place.memory, replace(observation, down=down), later)
    assert forgotten in place.history.downloads, "the client that is down may have it"
    forget_history(place.memory, observation, later)
    assert place.history.downloads.keys() == {*hashes(COUNT), under_way}
