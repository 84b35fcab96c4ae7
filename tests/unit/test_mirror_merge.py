"""The mirror's pure half: merging answers, and telling each consumer what it has not seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looparr.clients.qbittorrent import mirror
from looparr.clients.qbittorrent.mirror import Cursor, Journal, merge
from looparr.clients.qbittorrent.wire import MainData, Torrent

HASHES = [f"{number:040x}" for number in range(8)]
FIELDS = st.fixed_dictionaries(
    {
        "added_on": st.integers(1, 3),
        "completed": st.integers(0, 3),
        "state": st.sampled_from(["stalledDL", "downloading"]),
    }
)
WORLDS = st.lists(st.dictionaries(st.sampled_from(HASHES), FIELDS, max_size=8), min_size=1, max_size=12)

World = dict[str, dict[str, Any]]


def full(world: World) -> MainData:
    return MainData(rid=1, full_update=True, torrents=world)


def delta(before: World, after: World) -> MainData:
    """What qBittorrent sends: a new torrent whole, of a known one the fields that differ (also when added again)."""
    changed = {
        hash_: fields
        for hash_, now in after.items()
        if (fields := {name: value for name, value in now.items() if before.get(hash_, {}).get(name) != value})
    }
    removed = tuple(hash_ for hash_ in before if hash_ not in after)
    return MainData(rid=1, full_update=False, torrents=changed, torrents_removed=removed)


def torrents(world: World) -> dict[str, Torrent]:
    return {hash_: Torrent(hash=hash_, **fields) for hash_, fields in world.items()}


@given(WORLDS, st.data())
@settings(max_examples=60)
def test_any_sequence_of_answers_merged_is_the_full_list(worlds: list[World], data: st.DataObject) -> None:
    known = merge({}, full(worlds[0])).torrents
    for before, after in pairwise(worlds):
        answer = full(after) if data.draw(st.booleans()) else delta(before, after)
        former, known = known, merge(known, answer).torrents
        assert known == torrents(after)
        assert former == torrents(before), "a snapshot of it may still be looked at"


class Consumer:
    """Keeps a list of its own from what the journal tells it."""

    def __init__(self) -> None:
        self.cursor: Cursor | None = None
        self.view: dict[str, Torrent] = {}
        self.due: set[str] = set()

    def look(self, journal: Journal, known: dict[str, Torrent]) -> None:
        is_first = self.cursor is None
        self.cursor, changed, removed = journal.since(self.cursor)
        assert is_first or changed | removed == self.due
        self.view = {one: torrent for one, torrent in self.view.items() if one not in removed}
        self.view |= {one: known[one] for one in changed}
        self.due = set()
        assert self.view == known
        assert journal.since(self.cursor)[1:] == (frozenset(), frozenset())


@given(WORLDS, st.data())
@settings(max_examples=60)
def test_two_consumers_at_different_paces_see_each_change_once(worlds: list[World], data: st.DataObject) -> None:
    journal, eager, lazy = Journal(), Consumer(), Consumer()
    known: dict[str, Torrent] = {}
    for before, after in pairwise([{}, *worlds]):
        is_full = data.draw(st.booleans())
        merged = merge(known, full(after) if is_full else delta(before, after))
        different = {one for one in known.keys() | after.keys() if known.get(one) != torrents(after).get(one)}
        known = dict(merged.torrents)
        journal.note(merged)
        for consumer in (eager, lazy):
            consumer.due |= different | (known.keys() if is_full else set())
        eager.look(journal, known)
        if data.draw(st.booleans()):
            lazy.look(journal, known)
    lazy.look(journal, known)


def test_a_torrent_added_again_counts_as_removed_and_changed() -> None:
    known = torrents({HASHES[0]: {"added_on": 1}})
    answer = MainData(rid=2, full_update=False, torrents={HASHES[0]: {"added_on": 2}})
    merged = merge(known, answer)
    assert merged.removed == merged.changed == {HASHES[0]}
    assert merge(known, full({HASHES[0]: {"added_on": 2}})).removed == {HASHES[0]}


def test_a_change_of_fields_that_nobody_reads_is_no_change() -> None:
    known = torrents({HASHES[0]: {"added_on": 1}})
    merged = merge(known, MainData(rid=2, full_update=False, torrents={HASHES[0]: {}}))
    assert merged.torrents is known
    assert not merged.changed


@pytest.mark.parametrize(("left", "shrunk"), [(10, False), (8, False), (7, True), (0, True)])
def test_a_full_list_that_lost_more_than_a_fifth_is_reported(left: int, shrunk: bool) -> None:
    names = [f"{number:040x}" for number in range(10)]
    known = torrents({one: {"added_on": 1} for one in names})
    merged = merge(known, full({one: {"added_on": 1} for one in names[:left]}))
    assert merged.shrunk is shrunk
    assert merged.removed == set(names[left:])


def test_another_client_with_as_many_torrents_is_reported_as_shrunk() -> None:
    known = torrents({HASHES[0]: {"added_on": 1}, HASHES[1]: {"added_on": 1}})
    assert merge(known, full({HASHES[2]: {"added_on": 1}, HASHES[3]: {"added_on": 1}})).shrunk


def test_the_first_list_is_not_shrunk() -> None:
    assert not merge({}, full({})).shrunk


def test_a_cursor_of_another_mirror_starts_anew() -> None:
    mine, other = Journal(), Journal()
    for journal in (mine, other):
        journal.note(merge({}, full({HASHES[0]: {"added_on": 1}})))
    foreign = other.since(None)[0]
    assert mine.since(foreign)[1] == {HASHES[0]}


def test_the_memory_of_removed_torrents_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_TOMBSTONES", 3)
    journal = Journal()
    known = torrents({one: {"added_on": 1} for one in HASHES})
    journal.note(merge({}, full({one: {"added_on": 1} for one in HASHES})))
    cursor = journal.since(None)[0]
    journal.note(merge(known, full({})))
    assert len(journal.since(cursor)[2]) == 3
