"""The life of the process: services start in order, stop in reverse, and a fault ends it honestly.

One `Runtime` owns the services, the named tasks, the executors, the signals and the exit code. SIGTERM or SIGINT asks
for a stop; a second signal ends the process at once with exit code 1. From the request to the exit all of it shares one
budget, `grace` seconds: services read what is left of it. A watchdog thread ends the process a little later whatever
hangs, because a process that does not end in time is killed in the middle of a write.

Exit codes: 0 stopped on request; 1 a service, a task or the process state failed; 2 a setting is wrong (a port in use).
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from looparr.errors import LooparrError, SettingsError, StateError
from looparr.runtime.eventloop import LoopName, one_loop
from looparr.runtime.executor import Executors
from looparr.runtime.watchdog import Watchdog, leave, lingering

GRACE = 9.0
"""Seconds from the request to stop until the process must be gone; Kubernetes users expect less than 10."""
START_LIMIT = 30.0
"""Seconds that a service may take to start, unless it asks for another limit."""
LAST_SLICE = 0.05
"""Seconds that every service still gets for its stop when an earlier one has eaten the whole budget."""
WATCHDOG_SLACK = 0.7
"""Seconds after the grace at which the watchdog ends a process that hangs."""

log = structlog.stdlib.get_logger(__name__)


class Service(Protocol):
    """A part of the process with a life of its own. `name` is unique and appears in logs and in /readyz."""

    @property
    def name(self) -> str:
        """Its unique name."""

    async def start(self) -> None:
        """Begin; return when it works. An exception ends the process with exit code 1."""

    async def ready(self) -> bool:
        """Tell whether it does its work now; asked by /readyz at any time after the start."""

    async def stop(self) -> None:
        """End. What is left of the budget is `Runtime.remaining()`; it is cancelled after that."""


@dataclass(frozen=True, slots=True)
class OnStop:
    """A service that only ends something which `build` has opened: a store, a session."""

    name: str
    close: Callable[[], Awaitable[object]]

    async def start(self) -> None:
        """Do nothing: it is open."""

    async def ready(self) -> bool:
        """Tell that it is open."""
        return True

    async def stop(self) -> None:
        """Close it."""
        await self.close()


@dataclass(frozen=True, slots=True)
class _Entry:
    service: Service
    start_limit: float


class Runtime:
    """Owner of everything that lives as long as the process. Made and used in one event loop."""

    def __init__(
        self, *, grace: float = GRACE, executors: Executors | None = None, watchdog: Watchdog | None = None
    ) -> None:
        self.grace = grace
        self.executors = executors or Executors()
        self.services: list[Service] = []
        self.deadline: float | None = None
        """Loop time at which the process must be gone; None until a stop was requested."""
        self.failure: BaseException | None = None
        self._watchdog = watchdog
        self._entries: list[_Entry] = []
        self._tasks: set[asyncio.Task[object]] = set()
        self._stop = asyncio.Event()
        self._serving = False
        self._signals = 0

    def add(self, service: Service, *, start_limit: float = START_LIMIT) -> None:
        """Add a service; they start in the order of their adding. Raises ValueError when the name is taken."""
        if self._serving:
            raise RuntimeError(f"service {service.name} came too late: add it in `build`")
        if any(known.name == service.name for known in self.services):
            raise ValueError(f"there is already a service named {service.name}")
        self.services.append(service)
        self._entries.append(_Entry(service, start_limit))

    def spawn(self, name: str, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Start a named task that the Runtime owns. If it raises, the process stops with exit code 1."""
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the owned tasks that still run, sorted."""
        return tuple(sorted(task.get_name() for task in self._tasks))

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._stop.is_set()

    def remaining(self) -> float:
        """Seconds left until the process must be gone; infinite while nobody asked for a stop, never below 0."""
        if self.deadline is None:
            return float("inf")
        return max(0.0, self.deadline - asyncio.get_running_loop().time())

    def request_stop(self, reason: str) -> None:
        """Begin the stop; the first request sets the deadline, later ones change nothing."""
        if self._stop.is_set():
            return
        self.deadline = asyncio.get_running_loop().time() + self.grace
        log.info("stop was requested", reason=reason, grace_seconds=self.grace)
        self._stop.set()

    def fail(self, error: BaseException, *, where: str) -> None:
        """Stop with exit code 1 (2 for a SettingsError): it cannot go on like this. The first failure counts."""
        log.error(
            "process failed", where=where, error=str(error), error_type=type(error).__name__, exc_info=_trace(error)
        )
        self.failure = self.failure or error
        self.request_stop(f"failure in {where}")

    def claim_signals(self) -> None:
        """Take SIGTERM and SIGINT. Call it again after Kopf's tasks were spawned: Kopf takes them at its start.

        Outside of the main thread nothing is taken, because Python gives signals to no other.
        """
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def release_signals(self) -> None:
        """Give the signals back to Python's defaults."""
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def build(self, build: Build) -> None:
        """Have the services made. A signal counts already: a stop that is asked for meanwhile cancels what is left."""
        self.claim_signals()
        building, asked = asyncio.ensure_future(build(self)), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({building, asked}, return_when=asyncio.FIRST_COMPLETED)
            if building.done():
                building.result()
        except Exception as error:  # noqa: BLE001 - any fault of the wiring ends the process
            self.fail(error, where="build")
        finally:
            await _end({building, asked}, LAST_SLICE)

    async def serve(self) -> int:
        """Start everything, wait for a request to stop, stop everything; give the exit code."""
        self._serving = True
        self.claim_signals()
        started: list[Service] = []
        try:
            await self._start_all(started)
            await self._stop.wait()
        except asyncio.CancelledError:
            self.request_stop("cancelled")
            raise
        finally:
            self._arm_watchdog()
            await self._stop_all(started)
            self.release_signals()
            code = self._code()
            if self._watchdog is not None:
                self._watchdog.code = code
            log.info("process stopped", exit_code=code, seconds=round(self.grace - self.remaining(), 3))
        return code

    def _code(self) -> int:
        match self.failure:
            case None:
                return 0
            case SettingsError():
                return 2
            case _:
                return 1

    async def _start_all(self, started: list[Service]) -> None:
        for entry in self._entries:
            if self.stopping:
                return
            name = entry.service.name
            started.append(entry.service)  # before it starts: a half-started one is stopped, too
            starting = asyncio.ensure_future(entry.service.start())
            asked = asyncio.ensure_future(self._stop.wait())
            try:
                await asyncio.wait({starting, asked}, timeout=entry.start_limit, return_when=asyncio.FIRST_COMPLETED)
                if starting.cancelled():
                    raise StateError(f"service {name} was cancelled while it started")  # noqa: TRY301
                if starting.done():
                    starting.result()
                    log.info("service started", service=name)
                elif not self.stopping:
                    raise StateError(f"service {name} did not start within {entry.start_limit:g} s")  # noqa: TRY301
            except Exception as error:  # noqa: BLE001 - any fault of a start ends the process
                self.fail(error, where=f"start of {name}")
            finally:
                await _end({starting, asked}, LAST_SLICE)

    async def _stop_all(self, started: Sequence[Service]) -> None:
        for service in reversed(started):
            stopping = asyncio.ensure_future(self._stop_one(service))
            await asyncio.wait({stopping}, timeout=max(LAST_SLICE, self.remaining()))
            if not stopping.done():
                log.error("service did not stop in time", service=service.name)
                await _end({stopping}, LAST_SLICE)
        left = await _end(self._tasks, max(LAST_SLICE, self.remaining()))
        if left:
            log.error("tasks were left over", tasks=sorted(task.get_name() for task in left))
        await self.executors.stop(self.remaining())

    async def _stop_one(self, service: Service) -> None:
        try:
            await service.stop()
        except Exception as error:  # noqa: BLE001 - the others must still be stopped
            self.fail(error, where=f"stop of {service.name}")
        else:
            log.info("service stopped", service=service.name)

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error, where=f"task {task.get_name()}")

    def _signalled(self, number: signal.Signals) -> None:
        self._signals += 1
        if self._signals > 1:
            log.error("process ended at once by a second signal", signal=signal.Signals(number).name, exit_code=1)
            leave(1)
        self.request_stop(signal.Signals(number).name)
        self._arm_watchdog()

    def _arm_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.arm(self.remaining() + WATCHDOG_SLACK)


Build = Callable[[Runtime], Awaitable[None]]
"""Adds services to the Runtime it is given; runs inside the event loop."""


def run(build: Build, *, grace: float = GRACE, loop: LoopName = "auto") -> int:
    """Make the event loop, build and serve; give the exit code of the process.

    The watchdog stays armed when a thread lingers that the interpreter would wait for.
    """
    watchdog = Watchdog()
    with one_loop(loop) as event_loop:
        code = event_loop.run_until_complete(_build_and_serve(build, grace, watchdog))
    if not lingering():
        watchdog.disarm()
    return code


async def _build_and_serve(build: Build, grace: float, watchdog: Watchdog) -> int:
    runtime = Runtime(grace=grace, watchdog=watchdog)
    await runtime.build(build)
    return await runtime.serve()


async def _end(tasks: set[asyncio.Task[object]], limit: float) -> set[asyncio.Task[object]]:
    """Cancel tasks, wait at most `limit` seconds, and give those that are still there."""
    current = {task for task in tasks if not task.done()}
    for task in current:
        task.cancel()
    if not current:
        return set()
    ended, left = await asyncio.wait(current, timeout=limit)
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("task failed while it was cancelled", task=task.get_name(), error=str(error))
    return left


def _trace(error: BaseException) -> BaseException | None:
    """Give a traceback only where a defect is likely: our own errors say enough by themselves."""
    return None if isinstance(error, LooparrError) else error
