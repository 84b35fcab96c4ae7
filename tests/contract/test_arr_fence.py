"""Who has lost the right to act changes nothing any more, however far a removal got."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.arr_kit import live
from contract.arr_parts import counting
from looparr.arr.intents import Phase
from looparr.engine.types import Fenced
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real
GOALS = {"seeding": {"goals": [{"name": "enough", "ratio": "0", "deleteData": True}]}}


async def test_a_fenced_turn_removes_nothing_that_is_ripe(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Fenced")
        await life.pass_fenced()
        assert life.writes() == []
        assert life.there(infohash) is not None
        life.at_fence = None
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Fenced", movie, infohash)


async def test_a_fenced_turn_deletes_nothing_that_has_seeded_enough(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url, **GOALS) as life,
    ):
        _, infohash = await life.grab("Fenced Seeder", complete=True)
        await life.pass_fenced()
        assert life.writes() == []
        assert "torrents/delete" not in proxy.asked
        assert life.there(infohash) is not None


async def test_a_right_that_is_lost_in_mid_turn_leaves_a_planned_removal_that_no_fenced_turn_sends(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Planned")
        life.lost = lambda: "suspended" if life.body and life.body.memory and life.body.memory.intents else ""
        with pytest.raises(Fenced, match="suspended"):
            await life.pass_time(8)
        [intent] = (await life.around.store.load(life.uid)).intents
        assert intent.phase == Phase.PLANNED
        assert life.writes() == []
        life.lost = lambda: ""
        await life.pass_fenced()
        assert life.writes() == []
        assert life.there(infohash) is not None
        life.at_fence = None
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Planned", movie, infohash)


async def test_a_removal_that_was_sent_is_not_sent_again_by_a_fenced_turn(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Sent")
        fault = life.arr.faults.switch_on("NoOp", method="DELETE")
        await life.until(lambda: fault.hits)
        [intent] = (await life.around.store.load(life.uid)).intents
        assert intent.phase == Phase.SENT
        life.arr.requests.clear()
        await life.pass_fenced()
        assert life.writes() == []
        assert life.there(infohash) is not None
        life.arr.faults.clear()
        life.at_fence = None
        await life.until(lambda: life.totals.get("searched"), jump=11.0)
        await life.replaced_once("Sent", movie, infohash)


async def test_a_fenced_turn_tells_the_arr_nothing(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.complete_untold("Untold")
        await life.pass_fenced()
        assert life.writes() == []
        life.at_fence = None
        await life.until(lambda: life.totals.get("imported"))
        assert life.writes() == ["POST /api/v3/command"]
