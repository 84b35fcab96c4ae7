"""Seeding goals: a torrent goes only after its import, with its data only when the goal says so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from contract.arr_kit import Life, live
from looparr.sandbox import torrents
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real


def goals(**goal: Any) -> dict[str, Any]:
    return {"seeding": {"goals": [{"name": "enough", "ratio": "0", **goal}]}}


def data(life: Life, title: str) -> Path:
    return life.qbittorrent.data / f"{title}.2020.1080p.mkv"


@pytest.mark.parametrize("delete_data", [True, False])
async def test_an_imported_torrent_that_met_its_goal_goes_and_its_data_only_when_the_goal_says_so(
    shared_qbittorrent: QBittorrent, tmp_path: Path, delete_data: bool
) -> None:
    title = f"Enough {delete_data}"
    async with live(shared_qbittorrent, tmp_path, **goals(deleteData=delete_data)) as life:
        movie, infohash = await life.grab(title, complete=True)
        await life.until(lambda: life.totals.get("deleted"), jump=3.0)
        await life.pass_time(4, 30.0)
        assert life.there(infohash) is None
        assert data(life, title).exists() is not delete_data
        assert movie.file is not None
        assert movie.file.path.exists()
        assert life.totals == {"imported": 0, "blocklisted": 0, "searched": 0, "deleted": 1, "heldBack": 0}
        assert life.blocklist() == []
        assert await life.searches() == []
        assert len(life.events_of("Deleted")) == 1


async def test_a_goal_in_time_is_read_anew_before_anything_is_deleted(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, **goals(ratio="100", time="1h")) as life:
        _, infohash = await life.grab("Not Yet", complete=True)
        await life.pass_time(3)
        life.clock.ahead += 7200
        await life.pass_time(3)
        life.untouched(infohash)
        assert life.block["torrents"]["total"] == 1


async def test_without_an_import_no_goal_deletes(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path, **goals(deleteData=True)) as life:
        life.arr.world.configure(enable_completed_download_handling=False)
        _, infohash = await life.grab("Not Imported", complete=True)
        await life.pass_time(6)
        life.untouched(infohash)
        assert life.block["torrents"].get("importing") == 1
        assert life.writes() == ["POST /api/v3/command"]


async def test_a_pack_with_one_import_missing_is_never_deleted_as_done(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, **goals(deleteData=True)) as life:
        world = life.arr.world
        one, two = world.add_movie("Pack One"), world.add_movie("Pack Two")
        folder = life.qbittorrent.data / "Pack.One.And.Two"
        folder.mkdir()
        (folder / "Pack One.2020.1080p.mkv").write_bytes(b"1" * 100_000)
        (folder / "Something Else.2020.1080p.mkv").write_bytes(b"2" * 100_000)
        pack = await asyncio.to_thread(torrents.make, folder)
        await world.grab([one, two], release=world.offer([one, two], pack.content, title="Pack.2020.1080p"))
        await life.settled(pack.infohash)
        await life.pass_time(8)
        assert one.file is not None
        assert two.file is None
        life.untouched(pack.infohash)
        assert life.block["torrents"] == {"total": 1, "owned": 1, "partlyImported": 1}


async def test_hit_and_run_and_a_sharing_torrent_come_before_the_goal(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    owed = [{"name": "everybody", "minSeedTime": "72h"}]
    async with live(shared_qbittorrent, tmp_path, hitAndRun=owed, **goals(deleteData=True)) as life:
        _, infohash = await life.grab("Seeder", complete=True)
        twin = life.torrent("Seeder", complete=True, piece_length=1 << 15)
        await asyncio.to_thread(torrents.add, life.qbittorrent, twin, category="another")
        await life.pass_time(6)
        life.untouched(infohash)
        assert life.attention("Seeder")["reason"].startswith("HitAndRun")
        assert life.totals["heldBack"] == 1, "one act that waits is counted once"
        await life.edit(hitAndRun=[])
        await life.until(lambda: life.totals.get("deleted"), jump=3.0)
        assert life.there(infohash) is None
        assert life.there(twin.infohash) is not None
        assert data(life, "Seeder").exists()


async def test_a_tracker_that_comes_at_the_last_moment_brings_its_own_goal(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    strict = {"name": "strict", "ratio": "100", "trackers": ["example.org"]}
    lax = {"name": "lax", "ratio": "0", "deleteData": True}
    async with live(shared_qbittorrent, tmp_path, seeding={"goals": [strict, lax]}) as life:
        _, infohash = await life.grab("Moved Goal", complete=True)

        async def tracker_added() -> None:
            await life.client(
                "torrents_add_trackers", torrent_hash=infohash, urls="http://tracker.example.org/announce"
            )

        life.at_fence = tracker_added
        await life.until(lambda: life.fences, jump=3.0)
        await life.pass_time(6)
        life.untouched(infohash)
        assert data(life, "Moved Goal").exists()
        assert life.block["torrents"] == {"total": 1, "owned": 1, "seeding": 1}
