"""1,000 BackgroundLoops of type HTTP on a real API server, beside the peer: `python -m bench.loops_cold`.

Everything shares the machine's cores: etcd, API server, the HTTP server (in this process), and the operator or the
peer, one after the other in the order A B A B. What is measured is seen from outside: a watch on the objects, the
calls that the HTTP server got, and what the kernel says of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from bench.parts import (
    OPERATOR_NAMESPACE,
    Kube,
    Program,
    folder,
    load,
    machine,
    operator,
    prepared,
    ratio,
    say,
    server_cpu_ms,
    spread,
    table,
    until,
)

from looparr.sandbox.cluster import Cluster

OURS, PEER = "looparr", "peer"
HOUR = 3600


@dataclass(slots=True)
class Work:
    """The HTTP server that every loop calls. first: monotonic seconds of the first call since `reset`."""

    url: str = ""
    calls: int = 0
    first: float | None = None

    def reset(self) -> None:
        """Count anew."""
        self.calls, self.first = 0, None

    async def answer(self, request: web.Request) -> web.Response:
        """Do nothing, quickly."""
        await request.read()
        self.calls += 1
        self.first = self.first or time.monotonic()
        return web.json_response({"message": "done"})


@asynccontextmanager
async def working() -> AsyncIterator[Work]:
    """Serve on a loopback port."""
    work, app = Work(), web.Application()
    app.router.add_post("/run", work.answer)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    work.url = f"http://127.0.0.1:{runner.addresses[0][1]}/run"
    try:
        yield work
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Figures:
    """What one contestant showed, one value a round. Seconds, unless the name says otherwise."""

    cold: list[float] = field(default_factory=list)
    cold_from_watching: list[float] = field(default_factory=list)
    cold_cpu_ms: list[float] = field(default_factory=list)
    cold_server_ms: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    warm_from_watching: list[float] = field(default_factory=list)
    warm_cpu_ms: list[float] = field(default_factory=list)
    warm_server_ms: list[float] = field(default_factory=list)
    rest_mib: list[float] = field(default_factory=list)
    rest_cpu_percent: list[float] = field(default_factory=list)
    rest_stop: list[float] = field(default_factory=list)
    runs_a_second: list[float] = field(default_factory=list)
    cpu_ms_a_run: list[float] = field(default_factory=list)
    server_ms_a_run: list[float] = field(default_factory=list)
    busy_percent: list[float] = field(default_factory=list)
    busy_mib: list[float] = field(default_factory=list)
    busy_stop: list[float] = field(default_factory=list)
    unwritten: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Bench:
    """One benchmark. seconds: length of a saturated measurement. profile: folder for the operator's samples."""

    plane: Cluster
    kube: Kube
    work: Work
    at: Path
    count: int
    seconds: float
    profile: Path | None
    found: dict[str, Figures] = field(default_factory=lambda: {OURS: Figures(), PEER: Figures()})

    def start(self, who: str, interval: float, what: str) -> Program:
        """Start the operator or the peer, with the same rights."""
        self.work.reset()
        if who == OURS:
            out = None if self.profile is None else self.profile / f"loops-{what}.txt"
            return operator(self.plane, self.at, profile=out)
        kubeconfig = self.plane.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, "looparr")
        command = ["-m", "bench.peer_turn", "--kubeconfig", str(kubeconfig), "--interval", str(interval)]
        return Program.start([sys.executable, *command], self.at / f"peer-{time.monotonic_ns()}.log")

    async def first_turns(self, who: str, *, finalizer: bool) -> None:
        """Start with objects that have never run, until each has run once and its status is stored."""
        found, what = self.found[who], "warm" if finalizer else "cold"
        await self.kube.make_loops(self.count, self.work.url, interval="1h", finalizer=finalizer)
        watch = asyncio.create_task(self.kube.all_ran(self.count))
        await asyncio.sleep(0.5)
        program, server = self.start(who, HOUR, what), server_cpu_ms(self.plane)
        try:
            await until(lambda: program.said("watching") > 0, 30, "watching")
            watching = time.monotonic()
            done = await watch
            (found.warm_cpu_ms if finalizer else found.cold_cpu_ms).append(program.cpu_ms())
            (found.warm_server_ms if finalizer else found.cold_server_ms).append(server_cpu_ms(self.plane) - server)
            (found.warm if finalizer else found.cold).append(done - program.started)
            (found.warm_from_watching if finalizer else found.cold_from_watching).append(done - watching)
            say(
                f"  {who} {what}: {done - program.started:.2f} s, since watching {done - watching:.2f} s, load {load()}"
            )
            if not finalizer:
                await self._rest(program, found)
        finally:
            watch.cancel()
            found.rest_stop.append(program.stop())
        await self.kube.remove_loops()

    async def _rest(self, program: Program, found: Figures) -> None:
        await asyncio.sleep(5)
        before, began = program.cpu_ms(), time.monotonic()
        await asyncio.sleep(5)
        found.rest_cpu_percent.append((program.cpu_ms() - before) / (time.monotonic() - began) / 10)
        found.rest_mib.append(program.rss_mib())

    async def saturated(self, who: str) -> None:
        """Run loops of one second's interval, more than can be run, then stop in the midst of it."""
        found = self.found[who]
        await self.kube.make_loops(self.count, self.work.url, interval="1s", finalizer=True)
        watch = asyncio.create_task(self.kube.all_ran(self.count))
        await asyncio.sleep(0.5)
        program = self.start(who, 1, "saturated")
        try:
            await watch
            await asyncio.sleep(3)
            runs, cpu, began = await self.kube.runs(), program.cpu_ms(), time.monotonic()
            server = server_cpu_ms(self.plane)
            await asyncio.sleep(self.seconds)
            server = server_cpu_ms(self.plane) - server
            after, spent, wall = await self.kube.runs(), program.cpu_ms() - cpu, time.monotonic() - began
            found.busy_mib.append(program.rss_mib())
        finally:
            watch.cancel()
            found.busy_stop.append(program.stop())
        done = max(1, after - runs)
        found.runs_a_second.append(done / wall)
        found.cpu_ms_a_run.append(spent / done)
        found.server_ms_a_run.append(server / done)
        found.busy_percent.append(spent / wall / 10)
        found.unwritten.append(self.work.calls - await self.kube.runs())
        say(f"  {who} saturated: {done / wall:.0f} runs/s, {spent / done:.2f} ms CPU a run, load {load()}")
        await self.kube.remove_loops()

    def tell(self) -> None:
        """Print the table."""
        ours, peer = self.found[OURS], self.found[PEER]
        rows = (
            ("cold: process start to last status, s", "cold", "{:.2f}", "1.3 x peer"),
            ("cold: watching to last status, s", "cold_from_watching", "{:.2f}", "1.3 x peer"),
            ("cold: CPU of the process, ms", "cold_cpu_ms", "{:.0f}", ""),
            ("cold: CPU of API server and etcd, ms", "cold_server_ms", "{:.0f}", ""),
            ("warm (finalizers exist): process start to last status, s", "warm", "{:.2f}", "5 s"),
            ("warm: watching to last status, s", "warm_from_watching", "{:.2f}", ""),
            ("warm: CPU of the process, ms", "warm_cpu_ms", "{:.0f}", ""),
            ("warm: CPU of API server and etcd, ms", "warm_server_ms", "{:.0f}", ""),
            ("at rest (interval 1h): resident, MiB", "rest_mib", "{:.0f}", "150 MiB"),
            ("at rest: CPU, % of a core", "rest_cpu_percent", "{:.2f}", ""),
            ("at rest: SIGTERM to exit, s", "rest_stop", "{:.2f}", "10 s"),
            ("saturated (interval 1s): status-writing runs a second", "runs_a_second", "{:.0f}", "300"),
            ("saturated: CPU of the process a run, ms", "cpu_ms_a_run", "{:.2f}", "1.5 ms"),
            ("saturated: CPU of API server and etcd a run, ms", "server_ms_a_run", "{:.2f}", ""),
            ("saturated: CPU, % of a core", "busy_percent", "{:.0f}", ""),
            ("saturated: resident, MiB", "busy_mib", "{:.0f}", ""),
            ("saturated: SIGTERM to exit, s", "busy_stop", "{:.2f}", "10 s"),
            ("saturated: calls whose run is in no status after the stop", "unwritten", "{:.0f}", "0"),
        )
        table(
            (f"{self.count} HTTP loops", "Looparr", "peer", "ratio", "budget"),
            (
                (
                    title,
                    spread(mine := getattr(ours, name), form),
                    spread(theirs := getattr(peer, name), form),
                    "-" if name == "unwritten" else ratio(mine, theirs),
                    budget,
                )
                for title, name, form, budget in rows
            ),
        )


async def measure(options: argparse.Namespace, plane: Cluster, at: Path) -> None:
    """Run all rounds."""
    order = (OURS,) if options.alone else (OURS, PEER)
    async with working() as work, Kube.reach(plane) as kube:
        bench = Bench(plane, kube, work, at, options.loops, options.seconds, options.profile)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for part in options.parts:
                for who in order:
                    if part == "saturated":
                        await bench.saturated(who)
                    else:
                        await bench.first_turns(who, finalizer=part == "warm")
        say(f"\n{machine()}; medians of {options.rounds} rounds (smallest..largest)\n")
        bench.tell()


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of a saturated measurement")
    parser.add_argument("--parts", nargs="+", default=["cold", "warm", "saturated"])
    parser.add_argument("--alone", action="store_true", help="without the peer")
    parser.add_argument("--profile", type=Path, help="folder for samples of the operator's CPU; it is slower then")
    options = parser.parse_args()
    with folder() as at, prepared(at) as plane:
        asyncio.run(measure(options, plane, at))


if __name__ == "__main__":
    main()
