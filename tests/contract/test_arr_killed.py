"""`kill -9` anywhere in a removal: one removal, one blocklist entry, one search, and the strikes are kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from contract import arr_driver
from contract.arr_kit import Life, live
from looparr.sandbox.qbittorrent import QBittorrent

pytestmark = pytest.mark.real
WRITES = frozenset({"put_intent", "charge", "set_intent_phase", "commit"})


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Guillotine:
    """Lets the process end just before or just after its n-th effect. n 0: only counts."""

    number: int = 0
    after: bool = False
    seen: list[str] = field(default_factory=list)

    async def pass_by(self, what: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        self.seen.append(what)
        mine = len(self.seen) == self.number
        if mine and not self.after:
            raise Killed(what)
        result = await effect()
        if mine:
            raise Killed(what)
        return result


@dataclass
class Mortal:
    """A store or an HTTP pool whose effects pass by the guillotine."""

    inner: Any
    guillotine: Guillotine

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name not in WRITES:
            return found
        return lambda *args, **kwargs: self.guillotine.pass_by(name, lambda: found(*args, **kwargs))

    async def request(self, method: str, endpoint: Any, path: str, **options: Any) -> Any:
        call = lambda: self.inner.request(method, endpoint, path, **options)  # noqa: E731 - the effect itself
        return await (call() if method == "GET" else self.guillotine.pass_by(f"{method} {path}", call))


async def mortal_life(life: Life, guillotine: Guillotine, *, dies: bool) -> None:
    """Drive until everything is done. What happens in mid-turn ends the process (dies), or only that turn."""
    await life.grab_seen()
    honest = life.around
    life.around = replace(honest, store=Mortal(honest.store, guillotine), http=Mortal(honest.http, guillotine))  # type: ignore[arg-type]
    with contextlib.suppress(Killed):
        await life.until(lambda: life.totals.get("searched"), jump=11.0)
    if dies:
        life.around = honest
        await life.restart()
    await life.until(lambda: life.totals.get("searched"), jump=11.0)


async def die(qbittorrent: QBittorrent, folder: Path, guillotine: Guillotine, *, dies: bool = True) -> None:
    """One life with one death in it, and what must be true in the end."""
    title = f"Killed {guillotine.number} {guillotine.after} {dies}"
    async with live(qbittorrent, folder / title) as life:
        movie, infohash = await life.grab(title)
        await mortal_life(life, guillotine, dies=dies)
        await life.replaced_once(title, movie, infohash)
        assert life.removals() == 1


async def effects(qbittorrent: QBittorrent, folder: Path) -> int:
    """Count the effects of one removal."""
    counted = Guillotine()
    await die(qbittorrent, folder, counted)
    assert {*WRITES, "POST api/v3/command"} <= set(counted.seen)
    assert sum(one.startswith("DELETE") for one in counted.seen) == 1
    return len(counted.seen)


async def test_a_process_that_dies_at_any_effect_of_a_removal_does_it_once(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    count = await effects(shared_qbittorrent, tmp_path)
    deaths = [Guillotine(number, after) for number in range(1, count + 1) for after in (False, True)]
    for some in (deaths[at : at + 10] for at in range(0, len(deaths), 10)):
        await asyncio.gather(*(die(shared_qbittorrent, tmp_path, one) for one in some))
    assert all(len(one.seen) >= one.number for one in deaths), "each died where it should"


async def test_a_turn_that_is_cut_short_after_any_effect_repeats_nothing(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    count = await effects(shared_qbittorrent, tmp_path)
    cuts = [Guillotine(number, after=True) for number in range(1, count + 1)]
    for some in (cuts[at : at + 10] for at in range(0, len(cuts), 10)):
        await asyncio.gather(*(die(shared_qbittorrent, tmp_path, one, dies=False) for one in some))
    assert all(len(one.seen) >= one.number for one in cuts), "each was cut where it should"


async def test_strikes_outlive_the_process(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    rule = {"name": "slow", "condition": "Stalled", "when": {"for": "2s"}, "strikes": 4, "action": "Replace"}
    async with live(shared_qbittorrent, tmp_path, rules=[rule]) as life:
        _, infohash = await life.grab("Striking")
        await life.until(lambda: life.block["attention"][0]["strikes"] == 3)
        await life.restart()
        life.clock.ahead += 3600.0
        await life.turn()
        assert life.attention("Striking")["strikes"] == 3, "downtime is no bad time"
        life.untouched(infohash)
        await life.until(lambda: life.totals.get("searched"))


async def test_a_real_process_killed_in_any_phase_leaves_one_removal_behind(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async def killed_in(phase: str) -> None:
        title = f"Phase {phase}"
        async with live(shared_qbittorrent, tmp_path / phase) as life:
            movie, infohash = await life.grab(title)
            await life.around.store.close()  # the child is its only user
            await kill_in(phase, life)
            await life.reopen()
            await life.until(lambda: life.totals.get("searched"), jump=11.0)
            await life.replaced_once(title, movie, infohash)
            assert life.removals() == 1

    await asyncio.gather(*(killed_in(phase) for phase in ("Planned", "Sent", "Removed", "Search")))


async def kill_in(phase: str, life: Life) -> None:
    """Run a process of its own until an intent is in that phase, then SIGKILL."""
    order = {"spec": life.spec, "secrets": life.secrets.texts(), "store": str(life.around.store.path), "phase": phase}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        arr_driver.__file__,
        json.dumps(order),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert child.stdout is not None
        async with asyncio.timeout(60):
            said = b"the log comes first"
            while said and said.decode().strip() != phase:
                said = await child.stdout.readline()
        assert said, "it reached the phase"
    finally:
        child.kill()
        await child.wait()
