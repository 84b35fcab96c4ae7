"""What one status write costs the API server and etcd, by shape of the status: `python -m bench.status_write`.

`loops_cold` is bound by the API server before it is bound by the operator; this tells which part of a status it pays
for. The shapes take turns in small portions, so that what else runs on the machine meets all of them alike. Nothing
watches, so the price of watch events comes on top.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from bench.parts import LOOPS, Kube, folder, load, machine, prepared, say, server_cpu_ms, spread, table

from looparr.sandbox.cluster import Cluster

OBJECTS = 50
WORKERS = 16
JSON_PATCH = "application/json-patch+json"


def statuses(number: int) -> dict[str, dict[str, Any]]:
    """Give the shapes; every value that a turn changes depends on `number`."""
    moment = f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    run = {"startTime": moment, "durationMs": number % 50, "result": "Succeeded", "message": "done"}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "done",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    whole: dict[str, Any] = {
        "observedGeneration": 1,
        "phase": "Idle",
        "effectiveInterval": "1s",
        "effectiveTimeout": "5m",
        "runCount": number,
        "successCount": number,
        "errorCount": 0,
        "consecutiveErrors": 0,
        "timeoutCount": 0,
        "consecutiveTimeouts": 0,
        "successRatePercent": 100,
        "averageDurationMs": 12,
        "lastDurationMs": number % 50,
        "maxDurationMs": 50,
        "lastRunTime": moment,
        "lastSuccessTime": moment,
        "nextRunTime": moment,
        "backoff": {"active": False, "attempt": 0, "delaySeconds": 0},
        "message": "done",
        "history": [run] * 5,
        "conditions": [ready],
        "http": {"lastStatus": 200, "memo": {}},
    }
    return {
        "two fields (the peer's)": {"observedGeneration": 1, "runCount": number},
        "as Looparr writes it": whole,
        "without history": {name: value for name, value in whole.items() if name != "history"},
        "without conditions": {name: value for name, value in whole.items() if name != "conditions"},
        "without either": {name: value for name, value in whole.items() if name not in {"history", "conditions"}},
    }


async def portion(kube: Kube, shape: str, first: int, count: int) -> None:
    """Write `count` statuses of one shape."""
    numbers = iter(range(first, first + count))

    async def work() -> None:
        for number in numbers:
            patch = [{"op": "add", "path": "/status", "value": statuses(number)[shape]}]
            await kube.call("PATCH", f"{LOOPS}/loop-{number % OBJECTS:05}/status", patch, JSON_PATCH)

    await asyncio.gather(*(work() for _ in range(WORKERS)))


async def measure(plane: Cluster, rounds: int, count: int) -> None:
    """Run all rounds and print the table."""
    async with Kube.reach(plane) as kube:
        await kube.make_loops(OBJECTS, "http://127.0.0.1:1/run", interval="1h", finalizer=False)
        shapes = list(statuses(0))
        cpu: dict[str, list[float]] = {shape: [] for shape in shapes}
        rate: dict[str, list[float]] = {shape: [] for shape in shapes}
        first = 0
        for _ in range(rounds):
            for shape in shapes:
                await portion(kube, shape, first, OBJECTS)  # the first write of a shape changes more than later ones
                first += OBJECTS
                before, began = server_cpu_ms(plane), time.monotonic()
                await portion(kube, shape, first, count)
                first += count
                cpu[shape].append((server_cpu_ms(plane) - before) / count)
                rate[shape].append(count / (time.monotonic() - began))
    say(f"{machine()}, load {load()}; medians of {rounds} portions of {count} writes (smallest..largest)\n")
    rows = [(shape, spread(cpu[shape]), spread(rate[shape], "{:.0f}")) for shape in shapes]
    table(("status", "CPU of API server and etcd a write, ms", "writes a second"), rows)


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--writes", type=int, default=300, help="writes in one portion")
    options = parser.parse_args()
    with folder() as at, prepared(Path(at)) as plane:
        asyncio.run(measure(plane, options.rounds, options.writes))


if __name__ == "__main__":
    main()
