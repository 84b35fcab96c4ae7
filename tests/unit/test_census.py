"""A look at the cluster that is not complete forgets nothing; one that is, forgets what is gone for good."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from engine_kit import REF, START, play, subject
from looparr.api.meta import KINDS
from looparr.api.status import LoopStatus
from looparr.clients.kube import KubeApi
from looparr.engine.loop import Loop
from looparr.errors import Blocked, Transient
from looparr.handlers.census import EVERY, FIRST_AFTER, Census
from looparr.runtime.executor import Executor
from looparr.store import Changes, Store
from looparr.store.instances import FORGET_AFTER

GONE = Transient("ApiServerError", "410")


def page(kind: str, *uids: str, more: str = "", namespace: str = "media") -> dict[str, Any]:
    items = [{"metadata": {"uid": uid, "namespace": namespace}} for uid in uids]
    return {"kind": f"{kind}List", "metadata": {"continue": more} if more else {}, "items": items}


class Pages:
    """An API server that knows only lists: what it answers, by path."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"arrinstances": page("ArrInstance"), "backgroundloops": page("BackgroundLoop")} | answers
        self.asked: list[str] = []

    async def get(self, path: str) -> Any:
        self.asked.append(path)
        what, _, query = path.rpartition("/")[2].partition("?")
        token = query.partition("continue=")[2]
        answer = self.answers[f"{what}_{token}" if token else what]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Noted:
    """Remembers what it was told of."""

    def __init__(self) -> None:
        self.told: list[tuple[dict[str, str], tuple[str, ...]]] = []

    async def census(self, present: Mapping[str, str], scope: Collection[str]) -> tuple[str, ...]:
        self.told.append((dict(present), tuple(scope)))
        return ()


def census(pages: Pages, store: Any, *, namespaces: Collection[str] = (), loops: Collection[Loop] = ()) -> Census:
    def spawn(name: str, work: Any) -> asyncio.Task[Any]:
        return asyncio.create_task(work, name=name)

    return Census(spawn, cast("KubeApi", pages), store, KINDS, namespaces, loops)


async def test_all_pages_of_all_kinds_make_one_look() -> None:
    pages = Pages()
    pages.answers = {
        "arrinstances": page("ArrInstance", "a", "b", more="t1"),
        "arrinstances_t1": page("ArrInstance", "c", namespace="films"),
        "backgroundloops": page("BackgroundLoop", "d"),
    }
    noted = Noted()
    await census(pages, noted).look()
    assert noted.told == [({"a": "media", "b": "media", "c": "films", "d": "media"}, ())]


async def test_with_namespaces_only_those_are_looked_at() -> None:
    pages, noted = Pages(), Noted()
    await census(pages, noted, namespaces=["media", "films"]).look()
    assert noted.told == [({}, ("media", "films"))]
    assert all("/namespaces/media/" in one or "/namespaces/films/" in one for one in pages.asked)
    assert len(pages.asked) == 4


async def test_a_loop_that_this_process_carries_is_there_whatever_the_list_says() -> None:
    noted = Noted()
    await census(Pages(), noted, loops=[Loop(REF, subject(), LoopStatus(), START)]).look()
    assert noted.told == [({"uid-1": "media"}, ())]


@pytest.mark.parametrize(
    "answers",
    [
        {"backgroundloops": Blocked("Forbidden", "no")},
        {"backgroundloops": Transient("Unreachable", "away")},
        {"backgroundloops": None},
        {"backgroundloops": {}},
        {"backgroundloops": page("ArrInstance", "a")},
        {"backgroundloops": {"kind": "BackgroundLoopList", "metadata": {}}},
        {"backgroundloops": {"kind": "BackgroundLoopList", "metadata": None, "items": []}},
        {"backgroundloops": {"kind": "BackgroundLoopList", "metadata": {}, "items": [{"metadata": {}}]}},
        {"arrinstances": page("ArrInstance", "a", more="t1"), "arrinstances_t1": GONE},
        {"arrinstances": page("ArrInstance", "a", more="t1"), "arrinstances_t1": {"kind": "Status"}},
    ],
)
async def test_a_look_that_is_not_complete_counts_for_nothing(answers: dict[str, Any]) -> None:
    noted = Noted()
    with pytest.raises((Blocked, Transient)):
        await census(Pages(**answers), noted).look()
    assert noted.told == []


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def test_an_object_that_was_deleted_unseen_is_forgotten_by_the_second_look(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, executor = Clock(), Executor("store", 1)
    store = await Store.open(None, executor, clock=clock)
    for uid in ("here", "gone"):
        await store.commit(uid, Changes(put_values={"started": 1.0}))
    one = census(Pages(arrinstances=page("ArrInstance", "here")), store)
    assert await one.look() == ()
    clock.now += FORGET_AFTER
    assert await one.look() == ("gone",)
    assert not (await store.load("gone")).values
    assert (await store.load("here")).values
    assert "uid=gone" in caplog.text
    await store.close()
    assert await executor.stop(10)


def test_it_looks_after_the_start_again_and_again_and_a_failure_is_no_end() -> None:
    async def story() -> None:
        pages, noted = Pages(arrinstances=GONE), Noted()
        service = census(pages, noted)
        await service.start()
        await asyncio.sleep(FIRST_AFTER - 1)
        assert pages.asked == []
        await asyncio.sleep(2)
        assert (len(pages.asked), noted.told) == (1, [])
        pages.answers["arrinstances"] = page("ArrInstance")
        await asyncio.sleep(EVERY)
        assert len(noted.told) == 1
        await asyncio.sleep(EVERY)
        assert len(noted.told) == 2
        await service.stop()
        assert await service.ready()

    play(story)
