"""Whose memory goes when the cluster no longer has its object: only what two complete looks a day apart have missed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looparr.runtime.executor import Executor
from looparr.store import Changes, IntentRow, Memory, Store, TorrentRow
from looparr.store.instances import FORGET_AFTER

NOW = 1_700_000_000.0
TORRENT = TorrentRow("qb", "c0ffee", 7, "", "Stalled", NOW, {"name": "Nosferatu"})


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def intent(expires: float) -> IntentRow:
    return IntentRow("i-1", "gone", "qb", "c0ffee", 7, (1,), "Replace", "stalled", "why", "Stored", NOW, expires, {})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    executor = Executor("store", 1)
    opened = await Store.open(None, executor, clock=clock)
    for uid in ("here", "gone"):
        await opened.commit(uid, Changes(put_torrents=[TORRENT], put_values={"started": NOW}))
    yield opened
    await opened.close()
    assert await executor.stop(10)


async def remembers(store: Store, uid: str) -> bool:
    return await store.load(uid) != Memory()


async def test_what_was_missed_twice_a_day_apart_is_forgotten(store: Store, clock: Clock) -> None:
    assert await store.census({"here": "media"}) == ()
    clock.now += FORGET_AFTER - 1
    assert await store.census({"here": "media"}) == ()
    assert await remembers(store, "gone")
    clock.now += 1
    assert await store.census({"here": "media"}) == ("gone",)
    assert not await remembers(store, "gone")
    assert await remembers(store, "here")


async def test_the_first_look_forgets_nothing_however_old_the_memory_is(store: Store, clock: Clock) -> None:
    clock.now += 100 * FORGET_AFTER
    assert await store.census({}) == ()
    assert await remembers(store, "gone")


async def test_what_was_seen_again_in_between_starts_anew(store: Store, clock: Clock) -> None:
    await store.census({})
    clock.now += FORGET_AFTER / 2
    await store.census({"here": "media", "gone": "media"})
    clock.now += FORGET_AFTER / 2
    assert await store.census({"here": "media"}) == ()
    clock.now += FORGET_AFTER
    assert await store.census({"here": "media"}) == ("gone",)


async def test_a_clock_that_was_set_back_forgets_nothing_early(store: Store, clock: Clock) -> None:
    clock.now = NOW + 100 * FORGET_AFTER
    await store.census({"here": "media"})
    clock.now = NOW
    assert await store.census({"here": "media"}) == ()
    clock.now += FORGET_AFTER - 1
    assert await store.census({"here": "media"}) == ()
    clock.now += 1
    assert await store.census({"here": "media"}) == ("gone",)


async def test_an_intent_that_has_not_expired_keeps_its_instance(store: Store, clock: Clock) -> None:
    await store.put_intent(intent(expires=NOW + 2 * FORGET_AFTER))
    await store.census({"here": "media"})
    clock.now += FORGET_AFTER
    assert await store.census({"here": "media"}) == ()
    assert (await store.load("gone")).intents
    clock.now += FORGET_AFTER
    assert await store.census({"here": "media"}) == ("gone",)


async def test_only_what_was_in_a_namespace_that_was_looked_at_is_forgotten(store: Store, clock: Clock) -> None:
    await store.commit("stranger", Changes(put_torrents=[TORRENT]))
    await store.census({"here": "media", "gone": "films"})
    await store.census({"here": "media"}, ["media"])
    clock.now += FORGET_AFTER
    assert await store.census({"here": "media"}, ["media"]) == ()
    assert await store.census({"here": "media"}, ["media", "films"]) == ()
    clock.now += FORGET_AFTER
    assert await store.census({"here": "media"}, ["media", "films"]) == ("gone",)
    assert await remembers(store, "stranger"), "nobody knows where it was"


async def test_an_instance_that_is_forgotten_at_its_deletion_leaves_no_note(store: Store, clock: Clock) -> None:
    await store.census({"here": "media"})
    await store.forget("gone")
    await store.commit("gone", Changes(put_torrents=[TORRENT]))
    clock.now += FORGET_AFTER
    assert await store.census({"here": "media"}) == ()


PAUSES, SCOPES = st.integers(0, int(FORGET_AFTER)), st.sampled_from([(), ("media",)])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(PAUSES, st.sets(st.sampled_from("abc")), SCOPES), max_size=12))
async def test_nothing_that_was_seen_within_a_day_is_ever_forgotten(
    looks: list[tuple[int, set[str], tuple[str, ...]]],
) -> None:
    clock, executor = Clock(), Executor("store", 1)
    store = await Store.open(None, executor, clock=clock)
    seen = dict.fromkeys("abc", NOW)
    for uid in seen:
        await store.commit(uid, Changes(put_torrents=[TORRENT]))
    for pause, present, scope in looks:
        clock.now += pause
        seen |= dict.fromkeys(present, clock.now)
        forgotten = await store.census(dict.fromkeys(present, "media"), scope)
        assert all(clock.now - seen[uid] >= FORGET_AFTER for uid in forgotten)
        assert not present & set(forgotten)
    await store.close()
    assert await executor.stop(10)
