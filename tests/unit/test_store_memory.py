"""What the store gives back is what was put in: one instance, all instances, look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looparr.errors import StateError
from looparr.runtime.executor import Executor
from looparr.store import (
    Account,
    ActionRow,
    Changes,
    IntentRow,
    Memory,
    Store,
    StrikeKey,
    StrikeRow,
    TorrentKey,
    TorrentRow,
)

DAY = 86_400.0
NOW = 1_700_000_000.0
HASH = "c0ffee" + "0" * 34


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


def torrent(**more: object) -> TorrentRow:
    row = TorrentRow("qb", HASH, 7, "", "Downloading", NOW, {"name": "Night of the Living Dead", "mark": 5})
    return replace(row, **more)  # type: ignore[arg-type]


def strike(**more: object) -> StrikeRow:
    return replace(StrikeRow("qb", HASH, 7, "stalled", "d1", 900.0, 1, 900.0, NOW), **more)  # type: ignore[arg-type]


def intent(**more: object) -> IntentRow:
    row = IntentRow("i-1", "uid", "qb", HASH, 7, (1, 2), "Replace", "stalled", "3 strikes", "Stored", NOW, NOW + 3600)
    return replace(row, **more)  # type: ignore[arg-type]


def action(**more: object) -> ActionRow:
    row = ActionRow(
        NOW, "qb:8080", "qb", HASH, "Night", (1,), "Replace", "stalled", "3 strikes", "done", 1, {"rows": [3]}
    )
    return replace(row, **more)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    executor = Executor("store", 1)
    opened = await Store.open(None, executor, clock=clock)
    yield opened
    await opened.close()
    assert await executor.stop(10)


async def test_a_store_in_memory_says_that_it_is_not_durable(store: Store) -> None:
    assert not store.durable
    assert len(store.epoch) == 36
    assert await store.load("uid") == Memory()


async def test_a_turn_comes_back_as_it_was_committed(store: Store) -> None:
    await store.put_intent(intent())
    await store.commit(
        "uid",
        Changes(
            put_torrents=[torrent()], put_strikes=[strike()], add_actions=[action(), action(result="failed")],
            put_values={"cursor": 5, "nested": {"a": [1, None, "x"]}, "flag": False},
        ),
    )  # fmt: skip
    memory = await store.load("uid")
    assert memory == Memory(
        torrents=(torrent(),),
        strikes=(strike(),),
        intents=(intent(),),
        actions=(action(id=1), action(id=2, result="failed")),
        values={"cursor": 5, "nested": {"a": [1, None, "x"]}, "flag": False},
    )
    assert await store.load("other") == Memory()


async def test_the_same_torrent_added_again_has_a_memory_of_its_own(store: Store) -> None:
    await store.commit("uid", Changes(put_torrents=[torrent(), torrent(added_on=8)]))
    assert len((await store.load("uid")).torrents) == 2


async def test_a_put_replaces_and_another_digest_takes_the_place_of_the_old_clock(store: Store) -> None:
    await store.commit("uid", Changes(put_torrents=[torrent()], put_strikes=[strike(strikes=2)]))
    await store.commit("uid", Changes(put_torrents=[torrent(state="Stalled")], put_strikes=[strike(digest="d2")]))
    memory = await store.load("uid")
    assert memory.torrents == (torrent(state="Stalled"),)
    assert memory.strikes == (strike(digest="d2"),)


async def test_dropping_a_torrent_drops_its_strikes_and_nobody_elses(store: Store) -> None:
    other = strike(hash="f" * 40)
    both = Changes(put_torrents=[torrent(), torrent(hash="f" * 40)], put_strikes=[strike(), strike(rule="eta"), other])
    for uid in ("uid", "twin"):
        await store.commit(uid, both)
    await store.commit("uid", Changes(drop_torrents=[torrent().key]))
    memory = await store.load("uid")
    assert [row.hash for row in memory.torrents] == ["f" * 40]
    assert memory.strikes == (other,)
    assert len((await store.load("twin")).strikes) == 3


async def test_one_clock_can_be_dropped_alone(store: Store) -> None:
    await store.commit("uid", Changes(put_strikes=[strike(), strike(rule="eta")]))
    await store.commit("uid", Changes(drop_strikes=[strike().key]))
    assert (await store.load("uid")).strikes == (strike(rule="eta"),)


async def test_a_value_of_none_drops_the_key(store: Store) -> None:
    await store.commit("uid", Changes(put_values={"a": 1, "b": 2}))
    await store.commit("uid", Changes(put_values={"a": None, "c": 3}))
    assert (await store.load("uid")).values == {"b": 2, "c": 3}


async def test_an_intent_moves_through_its_phases_and_is_closed(store: Store) -> None:
    await store.put_intent(intent(detail={"rows": [3]}))
    await store.set_intent_phase("uid", "i-1", "Sent", {"at": 5})
    assert (await store.load("uid")).intents == (intent(phase="Sent", detail={"rows": [3], "at": 5}),)
    await store.commit("uid", Changes(close_intents=["i-1"]))
    assert (await store.load("uid")).intents == ()
    with pytest.raises(StateError, match="i-1 is not open"):
        await store.set_intent_phase("uid", "i-1", "Verified")


async def test_an_intent_belongs_to_one_instance(store: Store) -> None:
    await store.put_intent(intent())
    await store.commit("other", Changes(close_intents=["i-1"]))
    with pytest.raises(StateError):
        await store.set_intent_phase("other", "i-1", "Sent")
    assert (await store.load("uid")).intents == (intent(),)
    assert (await store.load("other")).intents == ()


async def test_the_same_intent_twice_is_refused_and_changes_nothing(store: Store) -> None:
    await store.put_intent(intent())
    with pytest.raises(StateError, match="refused a row"):
        await store.put_intent(intent(phase="Sent"))
    assert (await store.load("uid")).intents == (intent(),)


async def test_a_commit_that_fails_in_the_middle_changes_nothing(store: Store) -> None:
    bad = Changes(put_torrents=[torrent()], add_actions=[action(name=None)])
    with pytest.raises(StateError, match="refused a row"):
        await store.commit("uid", bad)
    assert await store.load("uid") == Memory()


async def test_limits_are_counted_across_instances_by_endpoint_and_time(store: Store) -> None:
    await store.commit("a", Changes(add_actions=[action(at=NOW - 10), action(at=NOW), action(at=NOW, cost=0)]))
    await store.commit("b", Changes(add_actions=[action(at=NOW), action(at=NOW, endpoint="other:8080")]))
    assert [row.id for row in (await store.account("qb:8080", NOW)).actions] == [2, 4]
    assert [row.id for row in (await store.account("qb:8080", 0)).actions] == [1, 2, 4]
    assert await store.account("nobody:8080", 0) == Account()


async def test_open_intents_of_all_instances_count_at_their_endpoint(store: Store) -> None:
    there, elsewhere = {"endpoint": "qb:8080"}, {"endpoint": "other:8080"}
    await store.put_intent(intent(id="i-2", created=NOW + 1, instance="twin", detail=there))
    await store.put_intent(intent(id="i-1", detail=there))
    await store.put_intent(intent(id="i-3", detail=elsewhere))
    await store.put_intent(intent(id="i-4", detail={}))
    await store.put_intent(intent(id="i-5", detail=there))
    await store.commit("uid", Changes(close_intents=["i-5"]))
    assert [one.id for one in (await store.account("qb:8080", 0)).intents] == ["i-1", "i-2"]
    await store.forget("twin")
    assert [one.id for one in (await store.account("qb:8080", 0)).intents] == ["i-1"]


@dataclass(frozen=True)
class AtMost:
    """A budget of so many intents and charges."""

    limit: int
    endpoint: str = "qb:8080"
    since: float = 0.0

    def allows(self, account: Account) -> bool:
        return len(account.actions) + len(account.intents) < self.limit


async def test_of_many_that_ask_at_once_only_those_that_have_room_write(store: Store) -> None:
    asked = [
        store.put_intent(intent(id=f"i-{number}", instance=f"uid-{number}", detail={"endpoint": "qb:8080"}), AtMost(3))
        for number in range(10)
    ]
    asked += [store.charge(f"uid-{number}", action(), AtMost(5)) for number in range(10)]
    answers = await asyncio.gather(*asked)
    assert answers == [number in {0, 1, 2, 10, 11} for number in range(20)]
    account = await store.account("qb:8080", 0)
    assert (len(account.intents), len(account.actions)) == (3, 2)


async def test_memory_holds_actions_of_eight_days_only(store: Store, clock: Clock) -> None:
    await store.commit("uid", Changes(add_actions=[action(at=NOW - 8 * DAY - 1), action(at=NOW - 7 * DAY)]))
    assert [row.at for row in (await store.load("uid")).actions] == [NOW - 7 * DAY]
    (found,) = await store.find(HASH)
    assert len(found.actions) == 2


async def test_old_actions_and_closed_intents_are_pruned_open_intents_never(store: Store, clock: Clock) -> None:
    await store.put_intent(intent())
    await store.put_intent(intent(id="i-2"))
    await store.commit("uid", Changes(add_actions=[action()], close_intents=["i-2"]))
    clock.now += 91 * DAY
    await store.commit("uid", Changes())
    assert await store.account("qb:8080", 0) == Account()
    (found,) = await store.find("c0ffee")
    assert found.intents == (intent(),)


async def test_forgetting_an_instance_keeps_what_its_clients_limits_count(store: Store) -> None:
    await store.put_intent(intent())
    everything = Changes(
        put_torrents=[torrent()], put_strikes=[strike()], put_values={"a": 1}, add_actions=[action()]
    )  # fmt: skip
    for uid in ("uid", "other"):
        await store.commit(uid, everything)
    await store.forget("uid")
    assert await store.load("uid") == Memory(actions=(action(id=1),))
    assert (await store.load("other")).torrents == (torrent(),)


@pytest.mark.parametrize("text", ["c0ffee", "C0FFEE00", HASH, "living dead", " NIGHT ", "of the"])
async def test_a_torrent_is_found_by_hash_or_name_in_any_case(store: Store, text: str) -> None:
    await store.put_intent(intent())
    await store.commit("uid", Changes(put_torrents=[torrent()], put_strikes=[strike()], add_actions=[action()]))
    await store.commit("uid", Changes(put_torrents=[torrent(hash="f" * 40, data={"name": "Nosferatu"})]))
    (found,) = await store.find(text)
    assert (found.instance, found.client, found.hash) == ("uid", "qb", HASH)
    assert found.torrents == (torrent(),)
    assert found.strikes == (strike(),)
    assert found.intents == (intent(),)
    assert found.actions == (action(id=1),)


async def test_a_torrent_that_is_gone_is_found_by_its_actions(store: Store) -> None:
    await store.commit("uid", Changes(add_actions=[action(name="Metropolis 1927")]))
    (found,) = await store.find("metropolis")
    assert (found.name, found.torrents) == ("Metropolis 1927", ())


@pytest.mark.parametrize("text", ["", "  ", "%", "_", "offee", "ffee0", "nothing"])
async def test_nothing_is_found_for_patterns_middles_of_hashes_and_nothing(store: Store, text: str) -> None:
    await store.commit("uid", Changes(put_torrents=[torrent()]))
    assert await store.find(text) == ()


async def test_names_in_any_script_are_found(store: Store) -> None:
    await store.commit("uid", Changes(put_torrents=[torrent(data={"name": "Броненосец «Потёмкин» 戦艦"})]))
    assert [found.hash for found in await store.find("戦艦")] == [HASH]


async def test_a_cancelled_commit_is_carried_out(store: Store) -> None:
    writing = asyncio.create_task(store.commit("uid", Changes(put_torrents=[torrent()])))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert (await store.load("uid")).torrents == (torrent(),)


async def test_many_at_once_do_not_disturb_each_other(store: Store) -> None:
    async def life(uid: str) -> None:
        await store.put_intent(intent(id=uid, instance=uid))
        await store.commit(uid, Changes(put_torrents=[torrent(added_on=n) for n in range(10)], add_actions=[action()]))
        await store.set_intent_phase(uid, uid, "Sent")

    uids = [f"uid-{number}" for number in range(20)]
    await asyncio.gather(*(life(uid) for uid in uids))
    for uid in uids:
        memory = await store.load(uid)
        assert len(memory.torrents) == 10
        assert memory.intents == (intent(id=uid, instance=uid, phase="Sent"),)
    assert len((await store.account("qb:8080", 0)).actions) == 20


async def test_a_closed_store_refuses_and_closing_twice_is_fine() -> None:
    executor = Executor("store", 1)
    store = await Store.open(None, executor)
    await store.close()
    await store.close()
    with pytest.raises(StateError, match="closed"):
        await store.load("uid")
    executor.close()


async def test_an_executor_of_several_threads_is_refused() -> None:
    with pytest.raises(ValueError, match="one thread"):
        await Store.open(None, Executor("store", 2))


# --- the property: a store is a dictionary that survives ---

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)
_data = st.dictionaries(_texts, _json, max_size=3)
_keys = st.builds(TorrentKey, st.sampled_from(["qb", "qb2"]), st.sampled_from(["a", "b"]), st.integers(0, 1))
_reals = st.floats(0, 1e12, allow_nan=False)
_torrents = st.builds(
    lambda key, state, since, data: TorrentRow(key.client, key.hash, key.added_on, "v1", state, since, data),
    _keys, _texts, _reals, _data,
)  # fmt: skip
_strike_keys = st.builds(
    StrikeKey, st.just("qb"), st.sampled_from(["a", "b"]), st.integers(0, 1), st.sampled_from("rs")
)
_strikes = st.builds(
    lambda key, digest, bad, count, since: StrikeRow(
        key.client, key.hash, key.added_on, key.rule, digest, bad, count, bad, since
    ),
    _strike_keys, _texts, _reals, st.integers(0, 99), _reals | st.just(-1.0),
)  # fmt: skip
_actions = st.builds(
    lambda ago, name, items, data: action(at=NOW - ago, name=name, items=tuple(items), detail=data),
    st.floats(0, 7 * DAY), _texts, st.lists(st.integers(0, 2**40), max_size=3), _data,
)  # fmt: skip
_changes = st.builds(
    Changes,
    put_torrents=st.lists(_torrents, max_size=4, unique_by=lambda row: row.key),
    drop_torrents=st.lists(_keys, max_size=2),
    put_strikes=st.lists(_strikes, max_size=4, unique_by=lambda row: row.key),
    drop_strikes=st.lists(_strike_keys, max_size=2),
    add_actions=st.lists(_actions, max_size=2),
    put_values=st.dictionaries(_texts, _json, max_size=3),
)


@settings(max_examples=30, deadline=None)
@given(turns=st.lists(st.tuples(st.sampled_from(["uid", "other"]), _changes), max_size=6))
def test_any_sequence_of_turns_is_remembered_exactly(turns: list[tuple[str, Changes]]) -> None:
    async def check() -> None:
        executor = Executor("store", 1)
        store = await Store.open(None, executor, clock=Clock())
        models = {"uid": Model(), "other": Model()}
        for uid, changes in turns:
            await store.commit(uid, changes)
            models[uid].commit(changes)
        for uid, model in models.items():
            memory = await store.load(uid)
            assert {row.key: row for row in memory.torrents} == model.torrents
            assert {row.key: row for row in memory.strikes} == model.strikes
            assert memory.values == model.values
            assert [replace(row, id=0) for row in memory.actions] == model.actions
        await store.close()
        executor.close()

    asyncio.run(check())


class Model:
    """What the store promises, as dictionaries."""

    def __init__(self) -> None:
        self.torrents: dict[TorrentKey, TorrentRow] = {}
        self.strikes: dict[StrikeKey, StrikeRow] = {}
        self.actions: list[ActionRow] = []
        self.values: dict[str, object] = {}

    def commit(self, changes: Changes) -> None:
        for key in changes.drop_torrents:
            self.torrents.pop(TorrentKey(*key), None)
        gone = set(changes.drop_strikes)
        self.strikes = {
            key: row for key, row in self.strikes.items() if key not in gone and key[:3] not in changes.drop_torrents
        }
        self.torrents |= {row.key: row for row in changes.put_torrents}
        self.strikes |= {row.key: row for row in changes.put_strikes}
        self.actions += changes.add_actions
        self.values |= changes.put_values
        self.values = {key: value for key, value in self.values.items() if value is not None}
