"""Another operator's tag appears while a removal is under way: nothing is touched, and nothing is left half told."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.arr_kit import Life, live
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real
TAG = "looparr-owner-elsewhere"


async def sent(life: Life, fault: str) -> None:
    """Run turns until a removal was sent, which this fault struck."""
    hit = life.arr.faults.switch_on(fault, method="DELETE", times=1)
    await life.until(lambda: hit.hits, tolerate=True)
    life.arr.requests.clear()


async def test_what_we_removed_is_blocklisted_although_a_conflict_lasts(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, protect={"names": ["Claimed"]}) as life:
        movie, infohash = await life.grab("Half Removed")
        _, claimed = await life.grab("Claimed")
        await sent(life, "ThrowMidway")
        await life.client("torrents_add_tags", tags=TAG, torrent_hashes=claimed)
        await life.pass_time(6, 900.0)
        assert life.note("OwnershipConflict")
        assert life.there(infohash) is None
        assert life.blocklist() == ["Half Removed.2020.1080p"]
        assert [one.partition("failed/")[0] for one in life.writes()] == ["POST /api/v3/history/"]
        await life.client("torrents_remove_tags", tags=TAG, torrent_hashes=claimed)
        await life.until(lambda: life.events_of("Replaced") and not life.body.memory.intents)  # type: ignore[union-attr]
        await life.replaced_once("Half Removed", movie, infohash)


async def test_what_is_gone_with_its_tag_holds_nothing_any_more(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.grab("Claimed And Gone")
        await sent(life, "NoOp")
        [infohash] = [key.hash for key in life.body.memory.intents]  # type: ignore[union-attr]
        await life.client("torrents_add_tags", tags=TAG, torrent_hashes=infohash)
        await life.pass_time(1)
        assert life.note("OwnershipConflict")
        assert life.writes() == []
        await life.client("torrents_delete", delete_files=True, torrent_hashes=infohash)
        await life.until(lambda: life.events_of("Replaced"), jump=11.0)
        await life.until(lambda: not life.body.memory.intents, jump=11.0)  # type: ignore[union-attr]
        assert life.note("OwnershipConflict") == ""
        assert life.blocklist() == ["Claimed And Gone.2020.1080p"]
        assert len(await life.searches()) == 1


async def test_what_may_not_be_told_ends_with_an_event_and_no_blocklist_entry(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.grab("Only Watched")
        await sent(life, "ThrowMidway")
        await life.edit(mode="Observe")
        await life.pass_time(6, 900.0)
        assert life.writes() == []
        [event] = life.events_of("NotRemoved")
        assert "GoneByOther" in event.message
        assert (await life.around.store.load(life.uid)).intents == ()
