"""Look-ups of single torrents: a few a turn, and nobody is passed over for those that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contract.arr_kit import PASSWORD, live
from contract.arr_parts import counting
from contract.test_arr_clients import add_client, memory_of, move
from looparr.arr.lookups import LOOK_UPS
from looparr.sandbox.qbittorrent import QBittorrent
from parts import MakeQBittorrent

pytestmark = pytest.mark.real


async def test_a_client_that_is_deaf_to_look_ups_takes_none_of_those_of_another(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    second = await asyncio.to_thread(qbittorrent, password=PASSWORD)
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url) as life,
    ):
        await asyncio.gather(*(life.grab(f"Deaf {number}", size=1 << 15) for number in range(2 * LOOK_UPS)))
        _, heard = await life.grab("Heard")
        await move(life, heard, second, title="Heard")
        add_client(life, second.url)
        proxy.deaf = True
        await life.turn()
        for _ in range(2):
            await life.fails()
        memory = memory_of(life)
        assert memory.tracked[memory.current["second", heard]].facts.known
        assert not any(one.facts.known for one in memory.tracked.values() if one.key.client == "main")


async def test_torrents_that_cannot_be_looked_up_take_turns(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url) as life,
    ):
        found = await asyncio.gather(*(life.grab(f"Opaque {number}", size=1 << 15) for number in range(2 * LOOK_UPS)))
        proxy.broken |= {infohash for _, infohash in found}
        await life.turn()
        assert (await life.fails()).reason == "ServerError"
        first = set(proxy.refused)
        assert len(first) == LOOK_UPS
        await life.fails()
        assert proxy.refused.keys() == proxy.broken, "whoever was not asked yet comes first"
        assert set(proxy.refused.values()) == {1}
        await life.fails()
        await life.fails()
        assert set(proxy.refused.values()) == {2}
        (last, *_) = proxy.broken - first
        proxy.broken.discard(last)
        await life.until(lambda: life.there(last) is None, tolerate=True)
        assert len(life.blocklist()) == 1
