"""Whose torrent it is must not depend on the order in which the Arr's history is read."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from arr_models import HASH, NOW, T0, after, event
from looparr.arr.history import AUTOMATIC, KEPT, Download, History, download_ids
from looparr.clients.servarr_wire import HistoryRecord

TYPES = ["grabbed", "downloadFolderImported", "downloadFailed", "downloadIgnored", "movieFileRenamed"]
EVENTS = st.lists(
    st.builds(
        event,
        st.integers(1, 60),
        st.sampled_from(TYPES),
        st.sampled_from([0.0, 10.0, 299.0, 300.0, 301.0, 900.0]),
        st.integers(1, 3),
        name=st.sampled_from([HASH, "b" * 40]),
        releaseSource=st.sampled_from(["Rss", "InteractiveSearch"]),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)


def told(*events: HistoryRecord) -> Download:
    history = History()
    history.merge(events)
    download = history.of((HASH,))
    assert download is not None
    return download


@given(EVENTS, st.randoms(use_true_random=False), st.lists(st.integers(0, 12)))
def test_order_and_repetition_of_events_do_not_matter(
    events: list[HistoryRecord], random: Random, cuts: list[int]
) -> None:
    at_once = History()
    at_once.merge(events)
    piecemeal = History()
    shuffled = [*events, *events]
    random.shuffle(shuffled)
    for start, end in pairwise([0, *sorted(cuts), len(shuffled)]):
        piecemeal.merge(shuffled[start:end])
    piecemeal.merge(shuffled)
    assert piecemeal.downloads == at_once.downloads
    assert piecemeal.newest == at_once.newest


def test_merge_names_only_what_is_new() -> None:
    history = History()
    assert history.merge([event(1, "grabbed")]) == {HASH}
    assert history.merge([event(1, "grabbed")]) == frozenset()
    assert history.merge([event(2, "grabbed", 1, name="")]) == frozenset()
    assert history.newest == after(1)


def test_a_history_that_lost_its_newest_event_is_another_one() -> None:
    history = History()
    assert history.is_continued_by([])
    history.merge([event(7, "grabbed", 1), event(8, "grabbed", 1)])
    assert history.is_continued_by([event(8, "grabbed", 1), event(9, "grabbed", 2)])
    assert not history.is_continued_by([]), "all is gone"
    assert not history.is_continued_by([event(7, "grabbed", 1)])
    assert not history.is_continued_by([event(8, "grabbed", 60)]), "its id was given to another event"


def test_an_event_is_of_another_only_where_that_is_known() -> None:
    history = History()
    history.merge([event(7, "grabbed"), event(8, "grabbed", name="b" * 40)])
    assert history.is_of_another(8, (HASH,))
    assert not history.is_of_another(7, ("b" * 40, HASH))
    assert not history.is_of_another(9, (HASH,)), "older than what was read"


def test_several_items_of_one_grab_are_one_grab() -> None:
    download = told(event(1, "grabbed", 0, 1), event(2, "grabbed", 3, 2), event(3, "grabbed", 4, 3))
    assert download.grab is not None
    assert download.grab.items == {1, 2, 3}
    assert download.grab.history_id == 3
    assert download.missing_imports() == {1, 2, 3}


def test_a_later_grab_forgets_the_items_and_imports_of_the_earlier() -> None:
    download = told(event(1, "grabbed", 0, 1), event(2, "downloadFolderImported", 60, 1), event(3, "grabbed", 3600, 2))
    assert download.grab is not None
    assert download.grab.items == {2}
    assert download.missing_imports() == {2}


def test_an_import_older_than_the_grab_is_none_of_this_grab() -> None:
    first = [event(1, "grabbed", 0, 1), event(2, "downloadFolderImported", 60, 1)]
    assert told(*first).missing_imports() == frozenset()
    assert told(*first, event(3, "grabbed", 3600, 1)).missing_imports() == {1}


def test_within_one_second_the_higher_id_came_later() -> None:
    """The Arr writes whole seconds, and data that is there already is imported in the second of its grab."""
    grabbed, imported = event(1, "grabbed", 60, 1), event(2, "downloadFolderImported", 60, 1)
    assert told(imported, grabbed).missing_imports() == frozenset()
    assert told(event(1, "downloadFolderImported", 60, 1), event(2, "grabbed", 60, 1)).missing_imports() == {1}


def test_a_pack_with_one_missing_says_which() -> None:
    pack = [event(1, "grabbed", 0, 1), event(2, "grabbed", 0, 2)]
    assert told(*pack, event(3, "downloadFolderImported", 60, 2)).missing_imports() == {1}


def test_without_a_grab_nothing_is_missing_and_nothing_owned() -> None:
    download = told(event(1, "downloadFolderImported", 0, 1))
    assert download.grab is None
    assert download.missing_imports() == frozenset()


def test_a_renamed_file_is_no_import() -> None:
    assert told(event(1, "grabbed", 0, 1), event(2, "movieFileRenamed", 60, 1)).missing_imports() == {1}


def test_ignored_counts_from_the_grab_on() -> None:
    assert not told(event(1, "downloadIgnored", 0), event(2, "grabbed", 60)).is_ignored()
    assert told(event(1, "grabbed", 60), event(2, "downloadIgnored", 60)).is_ignored()
    assert told(event(1, "downloadIgnored", 0)).is_ignored()


def test_who_chose_the_release_is_believed_only_where_the_arr_says_so() -> None:
    sources = {"Rss": (True, False), "InteractiveSearch": (False, True), "Unknown": (False, False), "": (False, False)}
    for source, expected in sources.items():
        grab = told(event(1, "grabbed", releaseSource=source)).grab
        assert grab is not None
        assert (grab.automatic, grab.interactive) == expected
    assert all(source == source.casefold() for source in AUTOMATIC)


def test_an_event_without_a_date_or_a_torrent_proves_nothing() -> None:
    undated = HistoryRecord(
        id=1,
        item_ids=(1,),
        event_type="grabbed",
        download_id=HASH,
        date=datetime.min.replace(tzinfo=UTC),
        source_title="",
        data={},
    )
    history = History()
    assert history.merge([undated]) == frozenset()
    assert history.of((HASH,)) is None
    assert history.newest is None


def test_a_hybrid_torrent_is_told_of_under_both_of_its_ids() -> None:
    v1, v2 = "1" * 40, "2" * 64
    names = download_ids(v2[:40], v1.upper(), v2)
    assert names == (v2[:40], v1)
    history = History()
    history.merge([event(1, "grabbed", name=v1), event(2, "downloadIgnored", 60, name=v2[:40])])
    download = history.of(names)
    assert download is not None
    assert download.grab is not None
    assert download.grab.download_id == v1
    assert download.is_ignored()


def test_of_two_ids_with_grabs_the_newer_one_counts() -> None:
    history = History()
    history.merge([event(1, "grabbed", 0, 1, name="b" * 40), event(2, "grabbed", 3600, 2)])
    for names in [(HASH, "b" * 40), ("b" * 40, HASH)]:
        download = history.of(names)
        assert download is not None
        assert download.grab is not None
        assert download.grab.items == {2}


def test_an_unknown_torrent_is_nobodys() -> None:
    assert History().of(("c" * 40,)) is None
    assert told(event(1, "grabbed")).failed is None
    assert told(event(1, "downloadFailed", 5), event(2, "downloadFailed", 3)).failed == after(5)
    assert after(0) == T0


def test_what_nobody_asks_for_any_more_is_forgotten_after_a_week() -> None:
    history, week = History(), KEPT.total_seconds()
    other, late = "b" * 40, "c" * 40
    history.merge([event(1, "grabbed"), event(2, "grabbed", name=other), event(3, "grabbed", name=late)])
    history.merge([event(4, "downloadFolderImported", 60, name=late)])
    history.sweep({HASH}, NOW + week)
    assert history.downloads.keys() == {HASH, other, late}
    history.sweep({HASH}, NOW + week + 1)
    assert history.downloads.keys() == {HASH, late}
    assert history.newest == after(60)
    assert history.merge([event(2, "grabbed", name=other)]) == {other}, "read again, it is known again"


def test_it_is_swept_once_an_hour() -> None:
    history = History()
    assert not history.sweep_is_due(NOW)
    assert not history.sweep_is_due(NOW + 3599)
    assert history.sweep_is_due(NOW + 3600)
    history.sweep((), NOW + 3600)
    assert not history.sweep_is_due(NOW + 7199)
    assert not history.sweep_is_due(NOW), "the clock was set back"


@given(EVENTS, st.integers(0, 61))
def test_what_was_grabbed_since_is_what_a_scan_of_all_grabs_finds(events: list[HistoryRecord], since: int) -> None:
    history = History()
    history.merge(events)
    scanned = {item for one in events if one.event_type == "grabbed" and one.id > since for item in one.item_ids}
    assert history.grabbed_since([1, 2, 3, 4], since) == scanned
