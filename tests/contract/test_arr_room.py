"""Limits hold although the process dies between planning and sending."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.arr_kit import live
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.store.rows import Budget, IntentRow

pytestmark = pytest.mark.real
ALLOWED, STALLED = 2, 5


class Killed(BaseException):
    """The process is no more."""


class DyingStore:
    """A real store that keeps so many intents; then the process ends."""

    def __init__(self, inner: Any, intents: int) -> None:
        self._inner = inner
        self._left = intents

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def put_intent(self, intent: IntentRow, budget: Budget) -> bool:
        written: bool = await self._inner.put_intent(intent, budget)
        self._left -= 1
        if not self._left:
            raise Killed
        return written


async def test_what_was_planned_before_the_process_died_is_counted_before_anything_more_is_planned(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    limits = {"perTurn": ALLOWED, "perHour": ALLOWED, "perDay": 9}
    async with live(shared_qbittorrent, tmp_path, limits=limits, mode="Observe") as life:
        for number in range(STALLED):
            await life.grab(f"Room {number}")
        await life.pass_time()
        await life.edit(mode="Enforce")
        honest = life.around
        life.around = replace(honest, store=DyingStore(honest.store, ALLOWED))  # type: ignore[arg-type]
        with pytest.raises(Killed):
            await life.pass_time()
        life.around = honest
        await life.restart()
        assert len((await life.around.store.load(life.uid)).intents) == ALLOWED
        await life.pass_time(12, jump=11.0)
        assert len(life.failures()) == ALLOWED
        assert life.totals["blocklisted"] == ALLOWED
