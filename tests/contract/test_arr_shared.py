"""Several objects on one client or one Arr keep one limit together, whoever of them begins, dies or gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contract.arr_kit import Life, live
from looparr.arr.intents import Phase
from looparr.engine.types import Fenced
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.sandbox.servarr import ServarrServer

pytestmark = pytest.mark.real
ONE = {"perTurn": 1, "perHour": 1, "perDay": 9}
MANY = {"perTurn": 50, "perHour": 50, "perDay": 50}


@asynccontextmanager
async def beside(life: Life, **spec: Any) -> AsyncIterator[Life]:
    """Another Arr on the same client, whose URL it writes in another way, with an instance in the same process."""
    client = {"url": f"{life.qbittorrent.url}/", "credentialsSecretRef": {"name": "qbit"}}
    login = {"username": life.qbittorrent.username, "password": life.qbittorrent.password or ""}
    folder = life.folder / "beside"
    async with ServarrServer(life.qbittorrent.url, root=folder, refresh_seconds=600.0, **login) as arr:
        life.secrets.put("beside", apiKey=arr.api_key)
        own = {
            "url": arr.url,
            "apiKeySecretRef": {"name": "beside", "key": "apiKey"},
            "downloadClients": [{"name": "shared", "type": "QBittorrent", "qbittorrent": client}],
        }
        other = Life(
            life.qbittorrent,
            arr,
            life.around,
            life.clock,
            life.secrets,
            folder,
            life.executor,
            {**life.spec, **own, **spec},
            name="beside",
            uid="uid-beside",
        )
        try:
            yield other
        finally:
            await other.forget_body()


async def ripe(life: Life, title: str) -> str:
    """Give the hash of a torrent that the next turn in mode Enforce asks to remove."""
    _, infohash = await life.grab(title)
    await life.edit(mode="Observe")
    await life.until(lambda: life.attention(title).get("reason", "").startswith("Observe"))
    await life.edit(mode="Enforce")
    return infohash


async def stop_before_sending(life: Life) -> None:
    """Run a turn that loses its right between beginning a removal and sending it; the process forgets the rest."""
    life.lost = lambda: "suspended" if life.body and life.body.memory and life.body.memory.intents else ""
    with pytest.raises(Fenced, match="suspended"):
        await life.turn()
    life.lost = lambda: ""
    await life.forget_body()
    assert {one.phase for one in (await life.around.store.load(life.uid)).intents} == {Phase.PLANNED}
    assert life.removals() == 0


async def test_two_objects_that_plan_in_the_same_moment_keep_their_clients_limit(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, limits=ONE) as life, beside(life) as other:
        hashes = [await ripe(life, "Shared One"), await ripe(other, "Shared Two")]
        planned = asyncio.Barrier(2)

        async def both_have_planned() -> None:
            async with asyncio.timeout(20):
                await planned.wait()

        life.at_fence = other.at_fence = both_have_planned
        await asyncio.gather(life.turn(), other.turn())
        life.at_fence = other.at_fence = None
        for _ in range(6):
            await asyncio.gather(life.pass_time(1, 11.0), other.pass_time(1, 11.0))
        assert life.removals() + other.removals() == 1
        assert [life.there(one) is None for one in hashes].count(True) == 1
        late, title = (life, "Shared One") if life.there(hashes[0]) else (other, "Shared Two")
        assert late.attention(title)["reason"].startswith("Limits")
        life.clock.ahead += 3600.0
        await late.until(lambda: late.totals.get("searched"), jump=5.0)
        assert life.removals() + other.removals() == 2


async def test_what_a_dead_process_began_counts_for_the_other_object_for_an_hour(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, limits=ONE) as life, beside(life) as other:
        begun, waiting = await ripe(life, "Begun"), await ripe(other, "Waiting")
        await stop_before_sending(life)
        await other.pass_time(6, 11.0)
        assert other.attention("Waiting")["reason"].startswith("Limits")
        other.untouched(waiting)
        life.clock.ahead += 3600.0
        await other.until(lambda: other.totals.get("searched"), jump=5.0)
        await life.pass_time(6, 11.0)
        assert life.there(begun) is not None
        assert life.attention("Begun")["reason"].startswith("Limits"), "too late, and judged anew"


async def test_what_was_begun_and_given_up_gives_its_room_back(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path, limits=ONE) as life, beside(life) as other:
        begun = await ripe(life, "Given Up")
        await ripe(other, "Takes It")
        await stop_before_sending(life)
        await other.pass_time(2)
        assert other.attention("Takes It")["reason"].startswith("Limits")
        await life.client("torrents_add_tags", tags="looparr-ignore", torrent_hashes=begun)
        await life.pass_time(2)
        await other.until(lambda: other.totals.get("searched"), jump=5.0)
        assert life.there(begun) is not None
        assert life.removals() == 0


async def test_what_was_begun_under_a_higher_limit_is_not_sent_under_a_lower_one(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, limits={**ONE, "perTurn": 2, "perHour": 2}) as life:
        await life.grab("Lowered 1")
        await ripe(life, "Lowered 2")
        await stop_before_sending(life)
        assert len((await life.around.store.load(life.uid)).intents) == 2
        await life.edit(limits=ONE)
        await life.pass_time(6, 11.0)
        assert len(life.failures()) == 1
        assert life.attention("Lowered")["reason"].startswith("Limits")
        assert (await life.around.store.load(life.uid)).intents == ()


async def test_an_object_made_anew_keeps_the_search_limit_of_its_arr(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, limits=MANY) as life:
        world = life.arr.world
        movies = [world.add_movie(f"Packed {number}") for number in range(5)]
        pack = life.torrent("Pack")
        await world.grab(movies, release=world.offer(movies, pack.content, title="Pack.2020.1080p"))
        await life.settled(pack.infohash)
        await life.until(lambda: life.totals.get("searched") == 5)
        assert life.body is not None
        await life.body.close(deleted=True)
        life.body, life.block, life.uid, life.events = None, {}, "uid-anew", []
        movie, infohash = await life.grab("Sixth")
        await life.until(lambda: life.totals.get("blocklisted"))
        await life.pass_time(6, 30.0)
        await life.restart()
        await life.pass_time(6, 30.0)
        assert [movie.id] not in await life.searches()
        life.clock.ahead += 3600.0
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Sixth", movie, infohash)
