"""What the benchmarks share: a control plane with Looparr's contract and roles, processes with what they cost, tables.

A benchmark prints counts and ratios; nothing here passes or fails.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from looparr.api.meta import FINALIZER
from looparr.clients.kube_access import KubeAccess
from looparr.manifests.files import crds_yaml, to_yaml
from looparr.manifests.rbac import rbac
from looparr.sandbox import cluster
from looparr.sandbox.cluster import Cluster

NAMESPACE = "bench"
OPERATOR_NAMESPACE = "looparr"
LOOPS = f"/apis/looparr.dev/v1alpha1/namespaces/{NAMESPACE}/backgroundloops"
_TICKS = os.sysconf("SC_CLK_TCK")
_AT_ONCE = 24
"""Requests of our own that are under way at one time while objects are made or removed."""


@contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that goes away with the benchmark."""
    with tempfile.TemporaryDirectory(prefix="looparr-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def prepared(at: Path) -> Iterator[Cluster]:
    """Start a control plane with our CRDs, roles and two namespaces; it ends with this process at the latest."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends us ends what we started
    plane = cluster.start(at / "kubernetes", bind_to_parent=True)
    try:
        spaces: list[Any] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in (NAMESPACE, OPERATOR_NAMESPACE)
        ]
        documents = [*spaces, *rbac(OPERATOR_NAMESPACE, watch_namespaces=None)]
        kubectl(plane, "apply", "-f", "-", stdin=crds_yaml())
        kubectl(plane, "apply", "-f", "-", stdin="---\n".join(to_yaml(one) for one in documents))
        kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield plane
    finally:
        cluster.stop(at / "kubernetes")


def kubectl(plane: Cluster, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl as the admin."""
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=True).stdout


@dataclass(slots=True)
class Program:
    """One process under measurement. started: monotonic seconds."""

    process: subprocess.Popen[bytes]
    log: Path
    started: float

    @classmethod
    def start(cls, command: Sequence[str], log: Path) -> Program:
        """Start it, its words going to `log`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOOPARR_")}
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        return cls(process, log, time.monotonic())

    def cpu_ms(self) -> float:
        """CPU of all its threads so far, user and system, milliseconds."""
        return cpu_ms(self.process.pid)

    def rss_mib(self) -> float:
        """Resident memory, MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))

    def stop(self, within: float = 60.0) -> float:
        """Send SIGTERM and give the seconds until it has ended."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - asked

    def said(self, words: str) -> int:
        """Count the lines of its log that hold these words."""
        return sum(words in line for line in self.log.read_text("utf-8", "replace").splitlines())


def cpu_ms(*pids: int) -> float:
    """Sum up the CPU of processes so far, user and system, milliseconds."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * 1000 / _TICKS


def server_cpu_ms(plane: Cluster) -> float:
    """Sum up the CPU of API server and etcd so far, milliseconds."""
    return cpu_ms(plane.pids["kube-apiserver"], plane.pids["etcd"])


def operator(plane: Cluster, at: Path, *, profile: Path | None = None, flags: Iterable[str] = ()) -> Program:
    """Start the operator as the demo does: a process with a ServiceAccount's token and nothing else."""
    kubeconfig = plane.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, "looparr")
    runner = ["-m", "looparr.cli"] if profile is None else ["-m", "bench.sampled", str(profile)]
    command = [
        *(sys.executable, *runner, "operator", "--kubeconfig", str(kubeconfig)),
        *("--egress-allow-cidr", "127.0.0.0/8", "--probes-port", "0", *flags),
    ]
    return Program.start(command, at / f"operator-{time.monotonic_ns()}.log")


# --- objects --------------------------------------------------------------------------------------------------------


class _Meta(msgspec.Struct):
    name: str = ""


class _Status(msgspec.Struct):
    runCount: int = 0  # noqa: N815 - the wire's name


class _Object(msgspec.Struct):
    metadata: _Meta = msgspec.field(default_factory=_Meta)
    status: _Status = msgspec.field(default_factory=_Status)


class _ListMeta(msgspec.Struct):
    resourceVersion: str  # noqa: N815 - the wire's name


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[_Object]


class _WatchEvent(msgspec.Struct):
    object: _Object


@dataclass(frozen=True, slots=True)
class Kube:
    """The API server as the admin sees it, for objects by the thousand."""

    server: str
    session: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def reach(cls, plane: Cluster) -> AsyncIterator[Kube]:
        """Connect as the admin."""
        access = KubeAccess.from_kubeconfig(plane.kubeconfig)
        async with access.session(connections=_AT_ONCE + 2) as session:
            yield cls(access.server, session)

    async def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> bytes:
        """Send one request; an error status raises."""
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": content_type}
        async with self.session.request(method, self.server + path, data=content, headers=headers) as reply:
            answer = await reply.read()
            if reply.status >= 400:
                raise RuntimeError(f"{method} {path}: {reply.status} {answer[:300]!r}")
            return answer

    async def make_loops(self, count: int, url: str, *, interval: str, finalizer: bool) -> None:
        """Make that many BackgroundLoops of type HTTP, all calling `url`."""
        finalizers = {"finalizers": [FINALIZER]} if finalizer else {}
        spec = {"type": "HTTP", "interval": interval, "jitterPercent": 0, "http": {"endpoint": {"url": url}}}
        await _many(
            self.call(
                "POST",
                LOOPS,
                {
                    "apiVersion": "looparr.dev/v1alpha1",
                    "kind": "BackgroundLoop",
                    "metadata": {"name": f"loop-{number:05}", **finalizers},
                    "spec": spec,
                },
            )
            for number in range(count)
        )

    async def remove_loops(self) -> None:
        """Remove all of them while no operator runs."""
        found = msgspec.json.decode(await self.call("GET", LOOPS), type=_List)
        let_go = {"metadata": {"finalizers": None}}
        await _many(
            self.call("PATCH", f"{LOOPS}/{one.metadata.name}", let_go, "application/merge-patch+json")
            for one in found.items
        )
        await self.call("DELETE", LOOPS)

    async def runs(self) -> int:
        """Sum up runCount of all loops."""
        found = msgspec.json.decode(await self.call("GET", LOOPS), type=_List)
        return sum(one.status.runCount for one in found.items)

    async def all_ran(self, count: int, limit: float = 240.0) -> float:
        """Watch until each of `count` loops has a status with a run; give that moment, monotonic seconds.

        The watch asks for the encoding that Kopf asks for, so the API server encodes every event only once.
        """
        decoder, done = msgspec.json.Decoder(_WatchEvent), set[str]()
        async with asyncio.timeout(limit):
            while True:  # the API server drops a watch that cannot keep up: list, and watch again
                found = msgspec.json.decode(await self.call("GET", LOOPS), type=_List)
                done |= {one.metadata.name for one in found.items if one.status.runCount}
                rest, query = b"", f"?watch=1&resourceVersion={found.metadata.resourceVersion}"
                if len(done) >= count:
                    return time.monotonic()
                async with self.session.get(self.server + LOOPS + query) as stream:
                    async for part in stream.content.iter_any():
                        *lines, rest = (rest + part).split(b"\n")
                        for event in map(decoder.decode, lines):
                            if event.object.status.runCount:
                                done.add(event.object.metadata.name)
                        if len(done) >= count:
                            return time.monotonic()


async def _many(calls: Iterable[Any]) -> None:
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


# --- words ----------------------------------------------------------------------------------------------------------


def machine() -> str:
    """Say what this ran on, for the record."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {system}, Python {platform.python_version()}"


def load() -> str:
    """Load of the machine in the last minute: what else ran beside."""
    return f"{os.getloadavg()[0]:.1f}"


def say(*words: object) -> None:
    """Print a line at once."""
    print(*words, flush=True)


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Give median and, in brackets, smallest and largest."""
    if not values:
        return "-"
    low, middle, high = (form.format(one) for one in (min(values), statistics.median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low}..{high})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Give the ratio of two medians."""
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs else "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        say("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")


async def until(what: Callable[[], bool], limit: float, complaint: str) -> None:
    """Wait for a condition."""
    end = time.monotonic() + limit
    while not what():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {limit:g} s: {complaint}")
        await asyncio.sleep(0.05)
