"""An idle turn costs the same at any size: one delta of the client, at most one look at the Arr's counters."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contract.arr_kit import live
from contract.arr_parts import counting
from looparr.sandbox import torrents
from looparr.sandbox.files import wait_until
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real
MANY = 300
TURNS = 20


def fill(qbittorrent: QBittorrent, folder: Path) -> None:
    """Let the client seed many tiny files."""
    folder.mkdir(parents=True)
    with qbittorrent.client() as client:
        made = []
        for number in range(MANY):
            file = folder / f"tiny {number}"
            file.write_text(str(number))
            made.append(torrents.make(file).content)
        client.torrents_add(torrent_files=made, category="radarr", save_path=str(folder), is_skip_checking=True)

        def seeding() -> bool:
            return len([one for one in client.torrents_info() if one["state"] == "stalledUP"]) >= MANY

        wait_until(seeding, 60, "they do not seed", every=0.2)


async def test_an_idle_turn_makes_two_calls_whatever_there_is(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url, interval="60s") as life,
    ):
        await asyncio.to_thread(fill, shared_qbittorrent, tmp_path / "tiny")
        await life.arr.world.refresh()
        await life.turn()
        assert life.block["torrents"]["total"] == MANY
        proxy.asked.clear()
        idle = 0

        def quiet_for_long() -> bool:
            """The client goes on telling small things of new torrents for a while."""
            nonlocal idle
            asked = (dict(proxy.asked), dict(life.arr.requests.counts))
            idle = idle + 1 if asked == ({"sync/maindata": 1}, {"GET /api/v3/queue/status": 1}) else 0
            assert set(proxy.asked) == {"sync/maindata"}, "no call for a torrent, ever"
            proxy.asked.clear()
            life.arr.requests.clear()
            return idle == TURNS

        await life.until(quiet_for_long, jump=2.0)
        life.clock.ahead += 300
        await life.turn()
        assert life.arr.requests.counts["GET /api/v3/queue"] == 1, "the whole queue at least every five minutes"
