"""The wrong moment: lists that empty and fill again, an Arr that is restored or gives up, people who act meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from qbittorrentapi import Conflict409Error

from contract.arr_kit import PASSWORD, Life, live
from contract.arr_parts import CountingProxy, serving
from contract.test_arr_clients import add_client
from looparr.sandbox import torrents
from looparr.sandbox.qbittorrent import QBittorrent
from parts import MakeQBittorrent

pytestmark = pytest.mark.real


async def ripe(life: Life, title: str) -> str:
    """Give the hash of a torrent that only mode Observe keeps from being removed."""
    _, infohash = await life.grab(title)
    await life.until(lambda: waits_for_mode(life, title))
    return infohash


def waits_for_mode(life: Life, title: str) -> bool:
    shown = life.block.get("attention") or ()
    return any(one["name"].startswith(title) and one.get("reason", "").startswith("Observe") for one in shown)


async def test_time_for_which_a_torrent_was_not_in_the_list_is_no_bad_time(
    qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    client = qbittorrent("own", password=PASSWORD)
    rule = {"name": "slow", "condition": "Stalled", "when": {"for": "10s"}, "strikes": 2, "action": "Replace"}
    async with live(client, tmp_path, rules=[rule]) as life:
        _, infohash = await life.grab("Comes Back")
        await life.until(lambda: life.attention("Comes Back").get("strikes") == 1, jump=1.0)
        kept = await asyncio.to_thread(restarted, client, None)
        await life.until(lambda: life.note("ClientShrunk"), tolerate=True, jump=1.0)
        life.clock.ahead += 301
        await life.until(lambda: life.block["torrents"]["total"] == 0)
        await life.pass_time(20)
        await asyncio.to_thread(restarted, client, kept)
        await asyncio.to_thread(torrents.wait_for_state, client, infohash, ["stalledDL"])
        await life.until(lambda: life.block["torrents"]["total"] == 1, jump=1.0, tolerate=True)
        assert life.attention("Comes Back")["strikes"] == 1
        life.untouched(infohash)
        await life.until(lambda: life.totals.get("searched"))


def restarted(client: QBittorrent, session: Path | None) -> Path:
    """Restart a client with that session, None: an empty one, as with a volume that is not mounted. Gives the old."""
    client.stop()
    place = next(client.folder.rglob("BT_backup"))
    kept = place.rename(client.folder / ("full" if session is None else "empty"))
    if session is not None:
        session.rename(place)
    client.start_again()
    return kept


async def test_what_a_restored_arr_does_not_know_any_more_is_not_ours(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, mode="Observe") as life:
        await ripe(life, "Before The Backup")
        newest = max(event.id for event in life.arr.world.history)
        lost = await ripe(life, "After The Backup")
        restore(life, newest)
        _, other = await life.grab("After The Restore")
        assert life.arr.world.history[-1].id == newest + 1, "the id of the grab that is forgotten"
        await life.client("torrents_add_tags", tags="looparr-ignore", torrent_hashes="all")
        await life.client("torrents_remove_tags", tags="looparr-ignore", torrent_hashes=lost)
        enforce(life)
        await life.pass_time(12, 11.0)
        assert life.attention("After The Backup")["state"] == "Unowned"
        assert life.writes() == []
        life.untouched(lost)
        life.untouched(other)


@pytest.mark.parametrize("dies", [True, False])
async def test_an_event_that_is_another_downloads_by_now_is_not_marked_as_failed(
    shared_qbittorrent: QBittorrent, tmp_path: Path, dies: bool
) -> None:
    async with live(shared_qbittorrent, tmp_path, mode="Observe") as life:
        await life.grab("Before The Backup")
        newest = max(event.id for event in life.arr.world.history)
        await life.client("torrents_add_tags", tags="looparr-ignore", torrent_hashes="all")
        await ripe(life, "After The Backup")
        enforce(life)
        fault = life.arr.faults.switch_on("ThrowMidway", method="DELETE")
        await life.until(lambda: fault.hits)
        life.arr.faults.clear()
        restore(life, newest)
        _, other = await life.grab("After The Restore")
        await life.client("torrents_add_tags", tags="looparr-ignore", torrent_hashes=other)
        if dies:
            await life.restart()
        await life.pass_time(8, 11.0)
        assert (await life.around.store.load(life.uid)).intents == ()
        assert life.blocklist() == []
        assert await life.searches() == []


def restore(life: Life, newest: int) -> None:
    """Put a backup of the Arr's database in place: events after that one are gone, and their ids free."""
    book = life.arr._arr.book
    book.history = {number: event for number, event in book.history.items() if number <= newest}
    book._ids["history"] = itertools.count(newest + 1)
    book._lines.clear()
    for event in book.history.values():
        book._lines[event.download_id].append(event)
    book.tracked.clear()
    book.download_states.clear()


def enforce(life: Life) -> None:
    """Let the body that runs act from now on; an edit would build a new one, which knows nothing of before."""
    assert life.body is not None
    life.spec["mode"] = "Enforce"
    life.body.spec = life.body.fetcher.spec = life.subject().spec  # type: ignore[assignment]


@dataclass
class Meddler(CountingProxy):
    """Lets a person act whenever the trackers of a torrent are looked up."""

    deed: Callable[[], Awaitable[None]] | None = None

    async def forward(self, request: web.Request) -> web.Response:
        reply = await super().forward(request)
        if request.path.endswith("/torrents/trackers") and self.deed is not None:
            await self.deed()
        return reply


@asynccontextmanager
async def meddling(qbittorrent: QBittorrent) -> AsyncIterator[Meddler]:
    proxy = Meddler(qbittorrent.url)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", proxy.forward)
    async with serving(app) as proxy.url:
        yield proxy


async def tag(life: Life, infohash: str) -> None:
    await life.client("torrents_add_tags", tags="looparr-ignore", torrent_hashes=infohash)


async def claim(life: Life, infohash: str) -> None:
    """Another cluster's operator marks it as its own."""
    await life.client("torrents_add_tags", tags="looparr-owner-elsewhere", torrent_hashes=infohash)


async def move_away(life: Life, infohash: str) -> None:
    with contextlib.suppress(Conflict409Error):  # it is there
        await life.client("torrents_create_category", name="mine")
    await life.client("torrents_set_category", category="mine", torrent_hashes=infohash)


async def stop(life: Life, infohash: str) -> None:
    await life.client("torrents_pause", torrent_hashes=infohash)
    await asyncio.to_thread(torrents.wait_for_state, life.qbittorrent, infohash, ["pausedDL"])


async def share(life: Life, infohash: str) -> None:
    """Add another torrent of the same data."""
    twin = life.torrent("Meddled With", piece_length=1 << 15)
    if life.there(twin.infohash) is None:
        await asyncio.to_thread(torrents.add, life.qbittorrent, twin, category="other")
        await asyncio.to_thread(torrents.wait_for_state, life.qbittorrent, twin.infohash, ["stalledDL"])


@pytest.mark.parametrize("deed", [tag, claim, move_away, stop])
async def test_what_a_person_does_between_the_look_and_the_deed_counts(
    shared_qbittorrent: QBittorrent, tmp_path: Path, deed: Callable[[Life, str], Awaitable[None]]
) -> None:
    async with (
        meddling(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url, mode="Observe") as life,
    ):
        infohash = await ripe(life, "Meddled With")
        await life.edit(mode="Enforce")
        proxy.deed = lambda: deed(life, infohash)
        await life.pass_time(4)
        assert life.writes() == []
        life.untouched(infohash)


async def test_data_that_another_torrent_shares_since_the_look_stays(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with (
        meddling(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url, mode="Observe") as life,
    ):
        infohash = await ripe(life, "Meddled With")
        data = shared_qbittorrent.data / "Meddled With.2020.1080p.mkv"
        data.write_bytes(b"what the other torrent has downloaded")
        await life.edit(mode="Enforce")
        proxy.deed = lambda: share(life, infohash)
        await life.until(lambda: life.totals.get("searched"), jump=11.0)
        assert life.there(infohash) is None
        assert data.exists()


async def test_what_lost_the_tag_that_its_client_is_limited_to_is_left_alone(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, mode="Observe") as life:
        life.spec["downloadClients"][0]["tags"] = ["loop"]
        _, infohash = await life.grab("Tagged")
        await life.client("torrents_add_tags", tags="loop", torrent_hashes=infohash)
        await life.until(lambda: waits_for_mode(life, "Tagged"))
        await life.client("torrents_remove_tags", tags="loop", torrent_hashes=infohash)
        await life.edit(mode="Enforce")
        await life.pass_time(6)
        life.untouched(infohash)
        assert life.attention("Tagged")["reason"].startswith("OtherTag")


async def test_torrents_of_a_client_that_was_renamed_count_once(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        await life.grab("Renamed")
        await life.pass_time(2)
        await life.edit(downloadClients=[{**life.spec["downloadClients"][0], "name": "anew"}])
        await life.pass_time(2)
        assert life.block["torrents"] == {"total": 1, "owned": 1, "stalled": 1}


async def test_a_removal_that_was_given_up_half_done_counts_for_the_loop_guard(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Half Done")
        life.arr.faults.switch_on("ThrowMidway", method="DELETE")
        life.arr.faults.switch_on("ServerError", method="POST", path="*history/failed*")
        await life.until(lambda: life.events_of("NotRemoved"), jump=11.0, tolerate=True)
        assert life.blocklist() == []
        life.arr.faults.clear()
        await life.arr.world.grab(movie)
        await life.settled(infohash)
        await life.pass_time(8, 11.0)
        assert life.attention("Half Done")["reason"].startswith("LoopGuard")
        assert life.there(infohash) is not None
        assert life.removals() == 0


async def test_data_that_a_torrent_of_another_client_shares_stays(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with live(shared_qbittorrent, tmp_path, mode="Observe") as life:
        add_client(life, other.url)
        infohash = await ripe(life, "On One Disk")
        data = shared_qbittorrent.data / "On One Disk.2020.1080p.mkv"
        data.write_bytes(b"what the other client has downloaded")
        twin, place = life.torrent("On One Disk", piece_length=1 << 15), str(shared_qbittorrent.data)
        await asyncio.to_thread(torrents.add, other, twin, category="another", save_path=place)
        await life.edit(mode="Enforce")
        await life.until(lambda: life.totals.get("searched"), jump=11.0)
        assert life.there(infohash) is None
        assert data.exists()
