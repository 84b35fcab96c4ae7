"""The books: room is taken and given back in the store itself, and nothing that was sent ends without a word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from arr_models import NOW, spec
from looparr.arr.fetch import Observation
from looparr.arr.intents import Act, Intent, Phase
from looparr.arr.ledger import Ledger
from looparr.arr.memory import Memory
from looparr.arr.tracked import Key
from looparr.runtime.executor import Executor
from looparr.store.rows import Memory as Stored
from looparr.store.store import Store

HASH = "a" * 40
KEY = Key("main", HASH, 1)
TWO = {"perTurn": 1, "perHour": 2, "perDay": 2}


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    executor = Executor("store", 1)
    opened = await Store.open(None, executor)
    yield opened
    await opened.close()
    assert await executor.stop(10)


def ledger(store: Store, instance: str = "u", client: str = "http://qb:8080", **fields: Any) -> Ledger:
    view = SimpleNamespace(link=SimpleNamespace(endpoint=client))
    seen = cast("Observation", SimpleNamespace(views={"main": view}))
    of = spec(limits=TWO, **fields)
    return Ledger(instance, of, store, Memory(Stored()), seen, lambda: NOW, lambda action, result: None)


def intent(books: Ledger, id_: str, phase: Phase = Phase.PLANNED, **fields: Any) -> Intent:
    made = Intent(id_, Act.REPLACE, "main", HASH, 1, "A Film", HASH, (1,), "r", "why", NOW, phase=phase)
    return replace(made, endpoint=books.endpoint("main"), **fields)


async def test_of_many_objects_that_begin_at_once_as_many_do_as_the_limit_says(store: Store) -> None:
    books = [ledger(store, f"u{number}", f"http://QB:8080{'/' * (number % 2)}") for number in range(6)]
    answers = await asyncio.gather(*(one.begin(intent(one, str(number))) for number, one in enumerate(books)))
    assert answers == [True, True, False, False, False, False]


async def test_what_is_given_up_leaves_its_room_and_what_is_sent_does_not(store: Store) -> None:
    mine, other = ledger(store), ledger(store, "other")
    given_up, sent = intent(mine, "given up"), intent(mine, "sent")
    assert [await mine.begin(one) for one in (given_up, sent)] == [True, True]
    assert await mine.charge(sent)
    assert not await other.begin(intent(other, "a"))
    for one in (given_up, sent):
        mine.memory.intents[KEY] = one
        mine.dropped(KEY, one, "NotRemoved: whatever")
    assert not await other.begin(intent(other, "b")), "until it is on record"
    await store.commit("u", mine.memory.changes())
    assert await other.begin(intent(other, "c"))
    assert not await other.begin(intent(other, "d"))


async def test_what_is_sent_again_is_charged_once(store: Store) -> None:
    books = ledger(store)
    one, two = intent(books, "one"), intent(books, "two")
    for _ in range(3):
        assert await books.charge(one)
    assert await books.charge(two)
    assert not await books.charge(intent(books, "three"))


async def test_searches_are_charged_to_the_arr_whoever_asks_and_once_for_each_intent(store: Store) -> None:
    books, anew = ledger(store), ledger(store, "made anew", client="http://another-client")
    for _ in range(3):
        assert await books.charge_search(intent(books, "one"), [1, 2, 3, 4])
    assert not await anew.charge_search(intent(anew, "two"), [5, 6])
    assert await anew.charge_search(intent(anew, "two"), [5])
    assert not await anew.charge_search(intent(anew, "three"), [6])
    elsewhere = ledger(store, "elsewhere", url="http://other-radarr")
    assert await elsewhere.charge_search(intent(elsewhere, "four"), [6])
    assert await books.begin(intent(books, "five")), "removals have windows of their own"


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.PLANNED])
def test_what_was_sent_never_ends_without_a_word_even_when_its_torrent_is_forgotten(phase: Phase) -> None:
    books = ledger(cast("Store", None))
    books.memory.intents[KEY] = one = intent(books, "i", phase)
    books.dropped(KEY, one, "NotBlocklisted: the Arr did not take it")
    [event] = books.events
    assert event.reason == ("NotSearched" if phase in {Phase.REMOVED, Phase.SEARCH} else "NotRemoved")
    assert "NotBlocklisted: the Arr did not take it" in event.message
    assert [row.result for row in books.memory.new_actions] == ["Dropped"]
    assert books.memory.closed_intents == ["i"]
