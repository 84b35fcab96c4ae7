"""Bounded threads for blocking libraries: one small executor per use, so that a dead host fills only its own.

Python's own ThreadPoolExecutor joins its threads when the interpreter ends, for ever if one hangs in a socket. The
threads here are daemons: a stuck one is reported and left behind, and the process still ends in time.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
T = TypeVar("T")
Job = tuple["Future[object]", Callable[[], object]]

log = structlog.stdlib.get_logger(__name__)


class Executor:
    """At most `threads` daemon threads that run blocking calls, first come first served."""

    def __init__(self, name: str, threads: int) -> None:
        if threads < 1:
            raise ValueError(f"executor {name} needs at least one thread")
        self.name = name
        self.threads = threads
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._started = 0
        self._running: set[Future[object]] = set()
        self._closed = False

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one call in a thread and give its result.

        A cancelled caller drops a call that still waits; one that already runs goes on to its end unheard.
        Raises RuntimeError after `close`.
        """
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue one call; it sees the context variables (log fields) of whoever queued it."""
        context = contextvars.copy_context()
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError(f"executor {self.name} is closed")
            self._jobs.put((future, lambda: context.run(function, *args, **kwargs)))  # type: ignore[arg-type]
            if not self._idle.acquire(blocking=False) and self._started < self.threads:
                self._started += 1
                threading.Thread(target=self._work, name=f"{self.name}-{self._started}", daemon=True).start()
        return future

    def close(self) -> None:
        """Take no more calls and drop those that still wait; running ones go on."""
        with self._lock:
            self._closed = True
            while not self._jobs.empty():
                job = self._jobs.get()
                if job is not None:
                    job[0].cancel()
            for _ in range(self._started):
                self._jobs.put(None)

    async def stop(self, timeout: float) -> bool:  # noqa: ASYNC109 - a stuck thread is an answer, not an exception
        """Close, and wait at most `timeout` seconds for running calls. False when a thread is stuck."""
        self.close()
        with self._lock:
            running = [asyncio.wrap_future(future) for future in self._running]
        if not running:
            return True
        _, stuck = await asyncio.wait(running, timeout=max(0.0, timeout))
        return not stuck

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            with self._lock:
                wanted = not (self._closed and future.cancel()) and future.set_running_or_notify_cancel()
                if wanted:
                    self._running.add(future)
            if wanted:
                self._settle(future, call)
            del job, future, call
            self._idle.release()

    def _settle(self, future: Future[object], call: Callable[[], object]) -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            with self._lock:
                self._running.discard(future)


class Executors:
    """All executors of the process: made by name, listed, stopped together."""

    def __init__(self, cpus: float | None = None) -> None:
        self.cpus = cpu_limit() if cpus is None else cpus
        self._made: dict[str, Executor] = {}

    def make(self, name: str, threads: int | None = None) -> Executor:
        """Make the executor of one use. Without `threads`: two per CPU of the cgroup, at least 2, at most 16.

        Raises ValueError when the name is taken.
        """
        if name in self._made:
            raise ValueError(f"there is already an executor named {name}")
        if threads is None:
            threads = min(16, max(2, 2 * math.ceil(self.cpus)))
        executor = self._made[name] = Executor(name, threads)
        return executor

    async def stop(self, timeout: float) -> tuple[str, ...]:  # noqa: ASYNC109 - the names of the stuck ones are the answer
        """Stop all at once within `timeout` seconds; give the names of those with a stuck thread."""
        made = tuple(self._made.values())
        self._made.clear()
        ended = await asyncio.gather(*(executor.stop(timeout) for executor in made))
        stuck = tuple(executor.name for executor, good in zip(made, ended, strict=True) if not good)
        if stuck:
            log.error("threads were stuck and left behind", executors=stuck)
        return stuck


def cpu_limit(mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """CPUs that this process may use: the tightest of its affinity and its cgroup's quota (v1 or v2).

    A limit of a parent group counts too. Anything unreadable counts as no limit.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limits = [float(affinity)]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            limits += [_quota_v2(folder) for folder in _ancestors(mounted, path)]
        elif "cpu" in controllers.split(","):
            for root in (mounted / controllers, mounted / "cpu"):
                limits += [_quota_v1(folder) for folder in _ancestors(root, path)]
    return min(limits)


def _ancestors(root: Path, path: str) -> list[Path]:
    """List the group's folder and all above it, up to where the hierarchy is mounted."""
    parts = [part for part in path.split("/") if part not in {"", ".."}]
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _quota_v2(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
