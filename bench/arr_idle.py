"""What an ArrInstance costs while nothing happens, by number of torrents: `python -m bench.arr_idle`.

Twice: the turn alone (the body driven by hand, a clock that jumps a second a turn), and the real operator process with
an interval of one second on a real API server, its own status writes included. The torrents are real, in a real
qBittorrent; what the client is asked is counted by a proxy before it, what the Arr is asked by the stand-in itself.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import pstats
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
from bench.household import Household, household
from bench.parts import NAMESPACE, cpu_ms, folder, kubectl, load, machine, operator, prepared, say, table, until

from looparr.api.meta import ARR_INSTANCE, ObjectRef
from looparr.arr.instance import Instance
from looparr.arr.spec import ArrSpec
from looparr.arr.surroundings import Surroundings
from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Http
from looparr.clients.kube_secrets import Secret, SecretReader
from looparr.clients.qbittorrent.mirror import MirrorPool
from looparr.engine.types import Outcome, Subject, Turn
from looparr.runtime.executor import Executor
from looparr.sandbox.cluster import Cluster
from looparr.store.store import Store

CHANGED = 10
QUIET = 8
FIVE_MINUTES = 301.0


@dataclass(slots=True)
class Clock:
    """The machine's clock plus what was skipped."""

    ahead: float = 0.0

    def wall(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic() + self.ahead


@dataclass(frozen=True, slots=True)
class Offered:
    """Stands where the cluster would give Secrets."""

    home: Household

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Secret:
        """Give one of the two."""
        del fresh
        return Secret(
            namespace, name, f"uid-{name}", "1", {key: one.encode() for key, one in secrets(self.home)[name].items()}
        )


def secrets(home: Household) -> dict[str, dict[str, str]]:
    """Both Secrets of a household."""
    login = {"username": home.qbittorrent.username, "password": home.qbittorrent.password or ""}
    return {"radarr-api": {"apiKey": home.arr.api_key}, "qbittorrent": login}


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one turn: own CPU and wall time, milliseconds, and calls by path."""

    cpu: float
    wall: float
    calls: Mapping[str, int]


@dataclass(slots=True)
class Driver:
    """Drives the body of one instance as the engine would."""

    home: Household
    clock: Clock
    subject: Subject
    body: Instance
    block: Mapping[str, Any] = field(default_factory=dict)
    turns: int = 0

    async def turn(self, step: float = 1.0) -> Cost:
        """Let `step` seconds pass, then run one turn."""
        self.clock.ahead += step
        self.turns += 1
        self.home.forget_calls()
        turn = Turn(self.subject, self.turns, triggered=False, block=self.block, fence=_nothing, report=_ignore)
        wall, cpu, aside = time.perf_counter(), time.process_time(), self.home.aside.cpu_seconds()
        outcome = await self.body.run(turn)
        used = time.process_time() - cpu - (self.home.aside.cpu_seconds() - aside)
        wall = time.perf_counter() - wall
        self.block = outcome.block or self.block
        return Cost(used * 1000, wall * 1000, calls(self.home))


def calls(home: Household) -> dict[str, int]:
    """All calls since they were last forgotten."""
    client = {f"client {path}": count for path, count in home.proxy.calls.items()}
    return client | {f"Arr {name}": count for name, count in home.arr.requests.counts.items()}


def _subject(home: Household) -> Subject:
    ref = ObjectRef(ARR_INSTANCE, NAMESPACE, "radarr", "uid-1")
    return Subject(ref, 1, datetime.now(UTC) - timedelta(minutes=1), ArrSpec.model_validate(home.spec(interval="1s")))


async def _nothing() -> None:
    """Stand where the fence is."""


def _ignore(_: Outcome) -> None:
    """Stand where reports go."""


@asynccontextmanager
async def driving(home: Household, at: Path) -> AsyncIterator[Driver]:
    """Build a body with a store on disk, as the operator does."""
    executor, egress, clock = Executor("store", 1), EgressPolicy.parse(allow=["127.0.0.0/8"]), Clock()
    store = await Store.open(at / "turn.db", executor)
    http, pool = Http(egress), MirrorPool()
    around = Surroundings(cast("SecretReader", Offered(home)), http, pool, egress, store, clock)
    subject = _subject(home)
    body = Instance(subject, around)
    try:
        yield Driver(home, clock, subject, body)
    finally:
        await body.close(deleted=False)
        await pool.close()
        await http.close()
        await store.close()
        executor.close()


async def alone(home: Household, at: Path, turns: int, profile: Path | None) -> dict[str, str]:
    """Measure the turn alone; give cells by title."""
    cells: dict[str, str] = {}
    async with driving(home, at) as driver:
        first = await driver.turn()
        cells["first turn: CPU ms / wall ms"] = f"{first.cpu:.0f} / {first.wall:.0f}"
        lists = home.proxy.full_lists
        settling = 1
        quiet = 0
        while quiet < QUIET and settling < 100:
            cost = await driver.turn()
            lists += home.proxy.full_lists
            settling += 1
            quiet = quiet + 1 if sum(cost.calls.values()) <= 2 else 0
        cells["turns until idle"] = str(settling - quiet)
        idle, client = [], cpu_ms(home.qbittorrent.pid)
        for _ in range(turns):
            idle.append(await driver.turn())
            lists += home.proxy.full_lists
        cells |= _idle_cells(idle)
        cells["idle turn: CPU of qBittorrent itself, ms"] = f"{(cpu_ms(home.qbittorrent.pid) - client) / turns:.1f}"
        if profile is not None:
            await _profile(driver, turns, profile)
        late = [await driver.turn(FIVE_MINUTES) for _ in range(5)]
        cells["turn after five minutes: CPU ms"] = f"{statistics.median(cost.cpu for cost in late):.1f}"
        cells["turn after five minutes: calls"] = _words(late[-1].calls)
        cells[f"turn with {CHANGED} changed torrents: CPU ms"] = f"{statistics.median(await _changed(driver, 15)):.1f}"
        cells["full lists since the start"] = str(lists)
        cells["torrents by state"] = " ".join(f"{k}={v}" for k, v in driver.block.get("torrents", {}).items())
    return cells


def _idle_cells(idle: list[Cost]) -> dict[str, str]:
    total = Counter[str]()
    for cost in idle:
        total.update(cost.calls)
    cpu = [cost.cpu for cost in idle]
    return {
        "idle turn: CPU ms, median (mean, largest)": (
            f"{statistics.median(cpu):.2f} ({statistics.mean(cpu):.2f}, {max(cpu):.1f})"
        ),
        "idle turn: wall ms, median": f"{statistics.median(cost.wall for cost in idle):.1f}",
        "idle turn: calls": f"{sum(total.values()) / len(idle):.2f}",
        "idle turn: by path": ", ".join(f"{name} {count / len(idle):.2f}" for name, count in sorted(total.items())),
    }


def _words(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items()))


async def _changed(driver: Driver, times: int) -> list[float]:
    """Tag some torrents between turns, and take the tag away again."""
    found = []
    with driver.home.qbittorrent.client() as client:
        for number in range(times):
            hashes = driver.home.hashes[number * CHANGED : (number + 1) * CHANGED]
            await asyncio.to_thread(client.torrents_add_tags, tags=f"bench-{number}", torrent_hashes=hashes)
            await asyncio.sleep(0.2)
            found.append((await driver.turn()).cpu)
    return found


async def _profile(driver: Driver, turns: int, path: Path) -> None:
    """Profile the event loop's thread over idle turns."""
    profiler = cProfile.Profile()
    for _ in range(turns):
        profiler.enable()
        await driver.turn()
        profiler.disable()
    with path.open("w") as out:
        stats = pstats.Stats(profiler, stream=out)
        stats.sort_stats("tottime").print_stats(45)
        stats.sort_stats("cumtime").print_stats(70)


class _Status(msgspec.Struct):
    runCount: int = 0  # noqa: N815 - the wire's name
    message: str = ""


class _Object(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


def _status(plane: Cluster) -> _Status:
    path = f"/apis/looparr.dev/v1alpha1/namespaces/{NAMESPACE}/arrinstances/radarr"
    return msgspec.convert(plane.request("GET", path), _Object).status


async def in_process(home: Household, plane: Cluster, at: Path, seconds: float, profile: Path | None) -> dict[str, str]:
    """Measure the real operator with this one object; give cells by title."""
    apply(plane, home, interval="1s")
    program = operator(plane, at, profile=profile, flags=("--store", str(at / "operator.db")))
    try:
        await until(lambda: _status(plane).runCount >= 10, 120, "ten turns")
        await asyncio.sleep(5)
        home.forget_calls()
        runs, cpu = _status(plane).runCount, program.cpu_ms()
        await asyncio.sleep(seconds)
        spent, done, made = program.cpu_ms() - cpu, _status(plane).runCount - runs, calls(home)
        busy = program.rss_mib()
        apply(plane, home, interval="1h", suspend=True)
        await asyncio.sleep(4)
        cpu, began = program.cpu_ms(), time.monotonic()
        await asyncio.sleep(8)
        floor = (program.cpu_ms() - cpu) / (time.monotonic() - began)
    finally:
        stopped = program.stop()
        kubectl(
            plane, "patch", "-n", NAMESPACE, "arr", "radarr", "--type=merge", "-p", '{"metadata":{"finalizers":null}}'
        )
        kubectl(plane, "delete", "-n", NAMESPACE, "arr", "radarr")
    done = max(1, done)
    return {
        "operator: turns measured": str(done),
        "operator: CPU ms a turn, status write and events included": f"{spent / done:.2f}",
        "operator: CPU ms a second with the object suspended": f"{floor:.2f}",
        "operator: calls a turn": ", ".join(f"{name} {count / done:.2f}" for name, count in sorted(made.items())),
        "operator: resident MiB": f"{busy:.0f}",
        "operator: SIGTERM to exit, s": f"{stopped:.2f}",
    }


def apply(plane: Cluster, home: Household, **spec: Any) -> None:
    """Apply both Secrets and the object."""
    meta = {"namespace": NAMESPACE, "labels": {"looparr.dev/credentials": "true"}}
    documents: list[Mapping[str, Any]] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {**meta, "name": name}, "stringData": data}
        for name, data in secrets(home).items()
    ]
    documents.append(
        {
            "apiVersion": "looparr.dev/v1alpha1",
            "kind": "ArrInstance",
            "metadata": {"namespace": NAMESPACE, "name": "radarr"},
            "spec": home.spec(**spec),
        }
    )
    everything = {"apiVersion": "v1", "kind": "List", "items": documents}
    kubectl(plane, "apply", "-f", "-", stdin=msgspec.json.encode(everything).decode())


def measure(options: argparse.Namespace, at: Path, plane: Cluster | None) -> None:
    """Measure each size."""
    columns: dict[int, dict[str, str]] = {}
    for count in options.torrents:
        here = at / str(count)
        here.mkdir()
        began = time.monotonic()
        with household(here, count, options.stalled) as home:
            say(f"{count} torrents are ready after {time.monotonic() - began:.0f} s, load {load()}")
            out = options.profile
            cells = asyncio.run(alone(home, here, options.turns, out and out / f"arr-turn-{count}.txt"))
            if plane is not None:
                sampled = out and out / f"arr-operator-{count}.txt"
                cells |= asyncio.run(in_process(home, plane, here, options.seconds, sampled))
        columns[count] = cells
        for title, cell in cells.items():
            say(f"  {title}: {cell}")
    say(f"\n{machine()}\n")
    titles = list(next(iter(columns.values())))
    rows = [(title, *(cells.get(title, "-") for cells in columns.values())) for title in titles]
    table(("torrents", *map(str, columns)), rows)


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torrents", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--stalled", type=int, default=0, help="percent of the torrents that are stalled, not seeding")
    parser.add_argument("--turns", type=int, default=150, help="idle turns to measure")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the operator's measurement")
    parser.add_argument("--turn-only", action="store_true", help="without API server and operator process")
    parser.add_argument("--profile", type=Path, help="folder for profiles; everything is slower then")
    options = parser.parse_args()
    logging.getLogger().setLevel(logging.WARNING)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with folder() as at:
        if options.turn_only:
            measure(options, at, None)
        else:
            with prepared(at) as plane:
                measure(options, at, plane)


if __name__ == "__main__":
    main()
