"""One Radarr life end to end, on a real qBittorrent: what a stalled and what a completed download go through."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contract.arr_kit import live
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real


async def test_a_stalled_download_is_removed_blocklisted_and_searched_once(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        acted: list[tuple[str, str]] = []
        life.around = replace(life.around, acted=lambda action, result: acted.append((action, result)))
        movie, infohash = await life.grab("Stalled")
        await life.until(lambda: life.totals.get("searched"))
        assert acted == [("Replace", "Sent"), ("Replace", "Verified"), ("Search", "Sent"), ("Replace", "Done")]
        await life.replaced_once("Stalled", movie, infohash)
        assert life.totals == {"imported": 0, "blocklisted": 1, "searched": 1, "deleted": 0, "heldBack": 0}
        assert life.writes() == ["DELETE /api/v3/queue/{id}", "POST /api/v3/command"]
        assert len(life.events_of("Replaced")) == 1


async def test_the_release_that_comes_in_its_place_starts_clean(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Second Try")
        better = life.torrent("Second Try Again")
        life.arr.world.offer(movie, better.content, title="Second.Try.2020.720p.Better")
        await life.until(lambda: life.totals.get("searched"))
        await life.arr.world.idle()
        await life.settled(better.infohash)
        await life.until(lambda: life.block["torrents"].get("stalled"), jump=0.0)
        assert life.there(infohash) is None
        assert life.block["torrents"] == {"total": 1, "owned": 1, "stalled": 1}
        assert life.attention("Second Try Again")["strikes"] == 0
        assert life.blocklist() == ["Second Try.2020.1080p"]


async def test_a_completed_download_is_told_to_the_arr_once_and_seen_imported(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        movie, infohash = await life.grab("Completed")
        await life.turn()
        assert life.block["torrents"]["stalled"] == 1
        life.torrent("Completed", complete=True)
        await life.client("torrents_recheck", torrent_hashes=infohash)
        await life.until(life.writes, jump=0.1)
        assert life.block["torrents"].get("importing") == 1 or life.totals["imported"] == 1
        await life.until(lambda: life.totals.get("imported"))
        await life.pass_time(5)
        assert life.block["torrents"] == {"total": 1, "owned": 1, "seeding": 1}
        assert life.writes() == ["POST /api/v3/command"]
        assert movie.file is not None
        assert life.totals["imported"] == 1
        assert life.there(infohash) is not None


async def test_a_download_that_was_complete_before_the_first_turn_is_told_too(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie = life.arr.world.add_movie("Before")
        release = life.arr.world.offer(movie, life.torrent("Before", complete=True).content)
        await life.arr.world.grab(movie, release=release)
        life.hush()
        await life.until(lambda: life.block and life.block["torrents"].get("seeding"))
        assert life.writes() == ["POST /api/v3/command"]
        assert movie.file is not None


async def test_a_refused_nudge_is_repeated_until_the_arr_takes_it(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie = life.arr.world.add_movie("Again")
        release = life.arr.world.offer(movie, life.torrent("Again", complete=True).content)
        await life.arr.world.grab(movie, release=release)
        life.hush()
        life.arr.faults.switch_on("ServerError", method="POST", path="*/command", times=3)
        await life.until(lambda: life.totals.get("imported"), tolerate=True)
        assert life.writes() == ["POST /api/v3/command"] * 4
        assert movie.file is not None
