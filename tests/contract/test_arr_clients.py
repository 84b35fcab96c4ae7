"""Several clients, of which one is down: the others' torrents are looked after, and of its own nothing is concluded."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contract.arr_kit import PASSWORD, Life, live
from contract.arr_parts import counting, eventually
from looparr.arr.memory import Memory
from looparr.errors import Blocked, Transient
from looparr.sandbox import torrents
from looparr.sandbox.qbittorrent import QBittorrent
from parts import MakeQBittorrent

pytestmark = pytest.mark.real


def add_client(life: Life, url: str, **secret: str) -> None:
    """A second client in the spec, after the one that the Arr uses."""
    life.secrets.put("other", **secret or {"username": "admin", "password": PASSWORD})
    block = {"url": url, "credentialsSecretRef": {"name": "other"}}
    second = {"name": "second", "type": "QBittorrent", "qbittorrent": block}
    life.spec["downloadClients"] = [*life.spec["downloadClients"], second]


def dead_url() -> str:
    """Where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def move(life: Life, infohash: str, client: QBittorrent, **torrent: Any) -> None:
    """Move what the Arr grabbed into another client, its data stays where it is."""
    await life.client("torrents_delete", delete_files=False, torrent_hashes=infohash)
    await eventually(lambda: life.there(infohash) is None)
    place = str(life.qbittorrent.data)
    await asyncio.to_thread(torrents.add, client, life.torrent(**torrent), category="radarr", save_path=place)
    await asyncio.to_thread(torrents.wait_for_state, client, infohash, ["stalledDL", "stalledUP"])
    await life.arr.world.refresh()


async def ignore_all(life: Life) -> None:
    """A person tells the Arr to ignore what it has in its queue."""
    queue = f"{life.arr.url}/api/v3/queue"
    async with aiohttp.ClientSession(headers={"X-Api-Key": life.arr.api_key}) as session:
        async with session.get(queue) as reply:
            rows = (await reply.json())["records"]
        for row in rows:
            wanted = {"removeFromClient": "false", "blocklist": "false"}
            async with session.delete(f"{queue}/{row['id']}", params=wanted) as reply:
                reply.raise_for_status()


def memory_of(life: Life) -> Memory:
    assert life.body is not None
    assert life.body.memory is not None
    return life.body.memory


def remembered(life: Life, client: str, infohash: str) -> tuple[Any, ...]:
    """What must stay as it is while the client is down, clocks and all."""
    memory = memory_of(life)
    one = memory.tracked[memory.current[client, infohash]]
    return one.state, one.since, one.absent, one.gone_at, one.owned, dict(one.clocks), memory.reading(client)


async def test_of_two_clients_one_is_down_and_the_torrents_of_the_other_are_looked_after(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with live(shared_qbittorrent, tmp_path) as life:
        add_client(life, other.url)
        _, elsewhere = await life.grab("Elsewhere")
        await move(life, elsewhere, other, title="Elsewhere")
        await life.pass_time(3)
        before = remembered(life, "second", elsewhere)
        assert before[-1] > 0
        await asyncio.to_thread(other.stop)
        movie, infohash = await life.grab("Looked After")
        await life.until(lambda: life.totals.get("searched"), tolerate=True)
        await life.until(lambda: not memory_of(life).intents, tolerate=True)
        assert life.there(infohash) is None
        assert life.blocklist() == ["Looked After.2020.1080p"]
        assert await life.searches() == [[movie.id]]
        error = await life.fails()
        assert (type(error), error.reason) == (Transient, "Unreachable")
        assert error.message.startswith("download client second: qBittorrent 127.0.0.1")
        assert "is it up, is the URL right?" in error.message
        assert error.message.endswith("torrents of main are looked after, the others left as they are")
        assert life.block["connectivity"] == "Frozen: second is down (Unreachable)"
        assert life.block["torrents"] == {"total": 1, "owned": 1, "stalled": 1}
        assert remembered(life, "second", elsewhere) == before
        await asyncio.to_thread(other.start_again)
        await asyncio.to_thread(torrents.wait_for_state, other, elsewhere, ["stalledDL"])
        await life.pass_time(3)
        assert life.block["connectivity"] == "Connected"
        after = remembered(life, "second", elsewhere)
        assert after[:5] == before[:5]
        assert after[-1] > before[-1]
        assert after[5]["stalled"].since == before[5]["stalled"].since, "its clock has gone on, not begun anew"
        assert torrents.state(other, elsewhere) == "stalledDL"


async def test_a_client_that_comes_late_brings_what_it_has_and_nothing_counts_as_done_by_us(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with live(shared_qbittorrent, tmp_path) as life:
        add_client(life, other.url)
        movie, done = await life.grab("Done Before", complete=True)
        await eventually(lambda: movie.file is not None)
        await move(life, done, other, title="Done Before", complete=True)
        await asyncio.to_thread(other.stop)
        await life.grab("Stalls Meanwhile")
        await life.until(lambda: life.totals.get("searched"), tolerate=True)
        assert life.blocklist() == ["Stalls Meanwhile.2020.1080p"]
        await asyncio.to_thread(other.start_again)
        await life.until(lambda: life.block["torrents"].get("seeding"), tolerate=True)
        await life.pass_time(2)
        assert life.block["torrents"] == {"total": 1, "owned": 1, "seeding": 1}
        assert life.totals["imported"] == 0


async def test_what_happened_in_the_arr_while_a_client_was_down_is_seen_when_it_is_back(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, rules=[], client_url=proxy.url) as life,
    ):
        add_client(life, other.url)
        await life.grab("Ignored Meanwhile")
        await life.pass_time(3)
        assert life.block["torrents"] == {"total": 1, "owned": 1, "stalled": 1}
        proxy.cut = True
        assert (await life.fails()).reason == "Unreachable"
        await ignore_all(life)
        await life.fails()
        assert life.block["torrents"] == {"total": 1, "owned": 1, "stalled": 1}
        proxy.cut = False
        await life.turn()
        assert life.block["torrents"] == {"total": 1, "owned": 1, "held": 1}


async def test_an_open_removal_waits_for_its_client(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url) as life,
    ):
        add_client(life, other.url)
        movie, infohash = await life.grab("Begun")
        fault = life.arr.faults.switch_on("NoOp", method="DELETE")
        await life.until(lambda: fault.hits)
        (intent,) = memory_of(life).intents.values()
        proxy.cut = True
        life.arr.faults.clear()
        for _ in range(5):
            life.clock.ahead += 60.0
            error = await life.fails()
            assert (type(error), error.reason) == (Transient, "Unreachable")
            assert error.message.startswith("download client main: ")
        await life.forget_body()
        await life.fails()
        assert [one.id for one in memory_of(life).intents.values()] == [intent.id], "not even by a new process"
        proxy.cut = False
        await life.until(lambda: life.totals.get("searched"), jump=11.0)
        await life.replaced_once("Begun", movie, infohash)


async def test_a_torrent_that_is_in_a_client_that_is_down_as_well_is_left_alone(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with live(shared_qbittorrent, tmp_path, mode="Observe") as life:
        add_client(life, other.url)
        _, infohash = await life.grab("In Both")
        await asyncio.to_thread(torrents.add, other, life.torrent("In Both"), category="radarr")
        await life.pass_time(2)
        await asyncio.to_thread(other.stop)
        await life.edit(mode="Enforce")
        for _ in range(6):
            await life.fails()
        life.untouched(infohash)
        assert life.attention("In Both")["reason"].startswith("OtherClient: second holds the same torrent")


async def test_with_all_clients_down_the_turn_fails_and_names_them(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, client_url=dead_url()) as life:
        add_client(life, dead_url())
        error = await life.fails()
        assert (type(error), error.reason) == (Transient, "Unreachable")
        assert "download client main: " in error.message
        assert "; download client second: " in error.message
        assert life.block == {}, "nothing was seen, so nothing is said"


async def test_a_client_whose_secret_lacks_a_key_keeps_nobody_from_looking_after_the_others(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        add_client(life, dead_url(), username="admin")
        movie, infohash = await life.grab("Looked After")
        await life.until(lambda: life.totals.get("searched"), tolerate=True)
        assert life.there(infohash) is None
        assert await life.searches() == [[movie.id]]
        error = await life.fails()
        assert (type(error), error.reason) == (Blocked, "SecretKeyMissing")
        assert error.message.startswith("download client second: ")
