"""Look-ups of single torrents: a few a turn, and nobody is passed over for those that fail."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contract.arr_kit import live
from contract.arr_parts import counting
from looparr.arr.lookups import LOOK_UPS
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real


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
