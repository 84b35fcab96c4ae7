from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from looparr.errors import SettingsError, StateError
from looparr.runtime.app import OnStop, Runtime

QUICK = 10.0


class Part:
    """A service that writes down what happens to it, and does what it is told at start and stop."""

    def __init__(
        self,
        name: str,
        diary: list[str],
        *,
        at_start: Callable[[], Awaitable[object]] | None = None,
        at_stop: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.name = name
        self.diary = diary
        self.at_start = at_start
        self.at_stop = at_stop

    async def start(self) -> None:
        self.diary.append(f"start {self.name}")
        if self.at_start is not None:
            await self.at_start()

    async def ready(self) -> bool:
        return True

    async def stop(self) -> None:
        self.diary.append(f"stop {self.name}")
        if self.at_stop is not None:
            await self.at_stop()


async def for_ever() -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(QUICK):
        while not condition():  # noqa: ASYNC110 - the condition is not made by this loop's tasks alone
            await asyncio.sleep(0.001)


async def stop_when(runtime: Runtime, condition: Callable[[], bool]) -> None:
    await until(condition)
    runtime.request_stop("test")


async def test_services_start_in_order_and_stop_in_reverse() -> None:
    runtime = Runtime()
    diary: list[str] = []
    for name in ("first", "second", "third"):
        runtime.add(Part(name, diary))
    runtime.spawn("stopper", stop_when(runtime, lambda: len(diary) == 3))
    assert await runtime.serve() == 0
    assert diary == ["start first", "start second", "start third", "stop third", "stop second", "stop first"]


async def test_a_service_that_fails_to_start_ends_the_process_and_only_what_began_is_stopped() -> None:
    runtime = Runtime()
    diary: list[str] = []

    async def refuse() -> None:
        raise StateError("damaged")

    runtime.add(Part("good", diary))
    runtime.add(Part("bad", diary, at_start=refuse))
    runtime.add(Part("never", diary))
    assert await runtime.serve() == 1
    assert diary == ["start good", "start bad", "stop bad", "stop good"]


async def test_a_service_that_starts_for_ever_meets_its_limit() -> None:
    runtime = Runtime()
    diary: list[str] = []
    runtime.add(Part("slow", diary, at_start=for_ever), start_limit=0.02)
    assert await runtime.serve() == 1
    assert isinstance(runtime.failure, StateError)
    assert "slow did not start within" in str(runtime.failure)


async def test_a_stop_in_the_middle_of_a_start_does_not_wait_for_it() -> None:
    runtime = Runtime()
    diary: list[str] = []
    runtime.add(Part("slow", diary, at_start=for_ever))
    runtime.add(Part("never", diary))
    runtime.spawn("stopper", stop_when(runtime, lambda: diary == ["start slow"]))
    assert await runtime.serve() == 0
    assert diary == ["start slow", "stop slow"]


async def test_a_wrong_setting_found_at_start_gives_exit_code_2() -> None:
    runtime = Runtime()

    async def refuse() -> None:
        raise SettingsError("port in use")

    runtime.add(Part("probes", [], at_start=refuse))
    assert await runtime.serve() == 2


@pytest.mark.parametrize("error", [StateError("second writer"), ValueError("a defect")])
async def test_a_crashed_owned_task_ends_the_process_with_1(error: Exception) -> None:
    runtime = Runtime()
    diary: list[str] = []

    async def crash() -> None:
        raise error

    runtime.add(Part("part", diary))
    runtime.spawn("crasher", crash())
    assert await runtime.serve() == 1
    assert runtime.failure is error
    assert diary[-1] == "stop part"


async def test_an_owned_task_that_ends_well_or_is_cancelled_ends_nothing() -> None:
    runtime = Runtime()
    cancelled = runtime.spawn("cancelled", for_ever())
    runtime.spawn("done", asyncio.sleep(0))
    cancelled.cancel()
    runtime.spawn("stopper", stop_when(runtime, lambda: runtime.tasks == ("stopper",)))
    assert await runtime.serve() == 0


async def test_owned_tasks_are_cancelled_after_the_services_have_stopped() -> None:
    runtime = Runtime()
    diary: list[str] = []

    async def owned() -> None:
        try:
            await for_ever()
        finally:
            diary.append("task cancelled")

    runtime.add(Part("part", diary))
    runtime.spawn("owned", owned())
    runtime.spawn("stopper", stop_when(runtime, lambda: "start part" in diary))
    assert await runtime.serve() == 0
    assert diary == ["start part", "stop part", "task cancelled"]


async def test_a_stop_that_hangs_is_cut_at_the_deadline_and_the_others_still_stop() -> None:
    runtime = Runtime(grace=0.05)
    diary: list[str] = []
    left: list[float] = []

    async def hang() -> None:
        left.append(runtime.remaining())
        await for_ever()

    runtime.add(Part("first", diary))
    runtime.add(Part("hanging", diary, at_stop=hang))
    assert runtime.remaining() == float("inf")
    runtime.spawn("stopper", stop_when(runtime, lambda: len(diary) == 2))
    began = time.monotonic()
    assert await runtime.serve() == 0
    assert time.monotonic() - began < QUICK
    assert diary[-1] == "stop first"
    assert 0 < left[0] <= 0.05


async def test_a_stop_that_raises_is_a_failure_but_stops_the_others() -> None:
    runtime = Runtime()
    diary: list[str] = []

    async def refuse() -> None:
        raise OSError("disk full")

    runtime.add(Part("first", diary))
    runtime.add(Part("bad", diary, at_stop=refuse))
    runtime.spawn("stopper", stop_when(runtime, lambda: len(diary) == 2))
    assert await runtime.serve() == 1
    assert diary[-1] == "stop first"


async def test_a_cancelled_serve_stops_everything_and_stays_cancelled() -> None:
    runtime = Runtime()
    diary: list[str] = []
    runtime.add(Part("part", diary))
    serving = asyncio.create_task(runtime.serve())
    await until(lambda: diary)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert diary == ["start part", "stop part"]


async def test_only_the_first_request_sets_the_deadline() -> None:
    runtime = Runtime(grace=5)
    runtime.request_stop("one")
    deadline = runtime.deadline
    runtime.request_stop("two")
    assert runtime.deadline == deadline
    assert await runtime.serve() == 0


async def test_names_of_services_are_unique() -> None:
    runtime = Runtime()
    runtime.add(Part("twin", []))
    with pytest.raises(ValueError, match="twin"):
        runtime.add(Part("twin", []))


async def test_on_stop_closes_what_build_has_opened() -> None:
    runtime = Runtime()
    diary: list[str] = []

    async def close() -> None:
        diary.append("closed")

    runtime.add(OnStop("session", close))
    runtime.request_stop("before the start")
    assert await runtime.serve() == 0
    assert diary == [], "what never started is not stopped"
    runtime = Runtime()
    runtime.add(OnStop("session", close))
    runtime.add(Part("last", diary))
    runtime.spawn("stopper", stop_when(runtime, lambda: diary == ["start last"]))
    assert await runtime.serve() == 0
    assert diary == ["start last", "stop last", "closed"]


# --- whole processes, with real signals ---

PROGRAM = """
import asyncio, signal, sys, threading
from looparr.runtime.app import Runtime, run

class Part:
    name = "part"
    def __init__(self, runtime): self.runtime = runtime
    async def start(self):
        {start}
        print("started", flush=True)
    async def ready(self): return True
    async def stop(self):
        print("stopping", flush=True)
        {stop}

async def build(runtime):
    {build}
    runtime.add(Part(runtime))

code = run(build, grace={grace}, loop={loop!r})
print("code", code, flush=True)
sys.exit(code)
"""


def started(
    start: str = "pass", stop: str = "pass", grace: float = 5, loop: str = "auto", build: str = "pass"
) -> subprocess.Popen[str]:
    program = textwrap.dedent(PROGRAM).format(start=start, stop=stop, grace=grace, loop=loop, build=build)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    expect(process, "started")
    return process


def expect(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    watchdog = threading.Timer(QUICK, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if line.strip() == text:
                return
        raise AssertionError(f"the process ended without saying {text!r}")
    finally:
        watchdog.cancel()


def ended(process: subprocess.Popen[str]) -> int:
    try:
        process.communicate(timeout=QUICK)
    finally:
        process.kill()
    return process.returncode


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_process_with_0(loop: str, number: signal.Signals) -> None:
    process = started(loop=loop)
    process.send_signal(number)
    expect(process, "stopping")
    expect(process, "code 0")
    assert ended(process) == 0


def test_a_signal_ends_a_build_that_waits_for_something() -> None:
    process = started(build="print('started', flush=True); await asyncio.sleep(60)", grace=60)
    process.send_signal(signal.SIGTERM)
    expect(process, "code 0")
    assert ended(process) == 0


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_second_signal_ends_the_process_at_once_with_1(loop: str) -> None:
    process = started(stop="await asyncio.sleep(60)", grace=60, loop=loop)
    process.send_signal(signal.SIGTERM)
    expect(process, "stopping")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 1


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_signals_can_be_claimed_back_from_somebody_who_took_them(loop: str) -> None:
    taken = (
        "asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print, 'stolen');"
        "asyncio.get_running_loop().add_signal_handler(signal.SIGINT, print, 'stolen');"
        "self.runtime.claim_signals()"
    )
    process = started(start=taken, loop=loop)
    process.send_signal(signal.SIGTERM)
    expect(process, "code 0")
    assert ended(process) == 0


def test_a_stop_that_blocks_the_loop_is_ended_by_the_watchdog() -> None:
    process = started(stop="threading.Event().wait()", grace=0.1)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 1


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    stuck = "threading.Thread(target=threading.Event().wait, name='stuck').start()"
    process = started(start=stuck, grace=0.1)
    process.send_signal(signal.SIGTERM)
    expect(process, "code 0")
    assert ended(process) == 0


def test_a_stuck_executor_does_not_keep_the_process() -> None:
    stuck = "self.runtime.executors.make('dead-host', 1).submit(threading.Event().wait)"
    process = started(start=stuck, grace=0.3)
    process.send_signal(signal.SIGTERM)
    expect(process, "code 0")
    assert ended(process) == 0


def test_a_fault_of_the_wiring_gives_1_and_a_wrong_setting_2() -> None:
    program = (
        "import sys\nfrom looparr.errors import SettingsError, StateError\nfrom looparr.runtime.app import run\n"
        "async def build(runtime): raise {error}('no')\nsys.exit(run(build))"
    )
    for error, code in (("StateError", 1), ("SettingsError", 2), ("OSError", 1)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(error=error)],
            capture_output=True,
            text=True,
            timeout=QUICK,
            check=False,
        )
        assert done.returncode == code
        assert "no" in done.stdout + done.stderr


def test_signals_are_left_alone_outside_of_the_main_thread() -> None:
    before = signal.getsignal(signal.SIGTERM)
    codes: list[int] = []

    def other() -> None:
        async def serve() -> int:
            runtime = Runtime()
            runtime.request_stop("test")
            return await runtime.serve()

        codes.append(asyncio.run(serve()))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(QUICK)
    assert codes == [0]
    assert signal.getsignal(signal.SIGTERM) is before
