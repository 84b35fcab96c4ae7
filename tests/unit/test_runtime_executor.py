from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looparr.runtime.executor import Executor, Executors, cpu_limit

QUICK = 10.0


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(QUICK):
        while not condition():  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.001)


async def test_a_call_gives_its_result_or_its_error() -> None:
    executor = Executor("calls", 2)
    assert await executor.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await executor.run(divmod, 7, 0)
    assert await executor.stop(QUICK)


async def test_a_call_runs_in_a_named_daemon_thread_with_the_callers_context() -> None:
    executor, colour = Executor("named", 1), contextvars.ContextVar("colour", default="none")
    colour.set("red")
    thread, seen = await executor.run(lambda: (threading.current_thread(), colour.get()))
    assert (thread.name, thread.daemon, seen) == ("named-1", True, "red")
    executor.close()


@given(threads=st.integers(1, 5), calls=st.integers(1, 30))
def test_never_more_threads_run_than_allowed(threads: int, calls: int) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1

    async def main() -> bool:
        executor = Executor("bounded", threads)
        await asyncio.gather(*(executor.run(call) for _ in range(calls)))
        return await executor.stop(QUICK)

    assert asyncio.run(main())
    assert 1 <= most <= threads


async def test_all_threads_are_used_when_calls_block() -> None:
    executor, barrier = Executor("wide", 3), threading.Barrier(3, timeout=QUICK)
    assert sorted(await asyncio.gather(*(executor.run(barrier.wait) for _ in range(3)))) == [0, 1, 2]
    assert await executor.stop(QUICK)


async def test_a_cancelled_caller_drops_a_call_that_still_waits() -> None:
    executor, gate = Executor("one", 1), threading.Event()
    ran: list[str] = []
    first = asyncio.create_task(executor.run(gate.wait, QUICK))
    second = asyncio.create_task(executor.run(ran.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    await executor.run(ran.append, "third")
    assert ran == ["third"]
    assert await executor.stop(QUICK)


async def test_stop_drops_waiting_calls_and_does_not_wait_for_a_stuck_thread() -> None:
    executor, gate, running = Executor("stuck", 1), threading.Event(), threading.Event()

    def hang() -> None:
        running.set()
        gate.wait()

    stuck = asyncio.create_task(executor.run(hang))
    waiting = asyncio.create_task(executor.run(int))
    await until(running.is_set)
    assert not await executor.stop(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="stuck is closed"):
        await executor.run(int)
    gate.set()
    await stuck


async def test_executors_are_made_by_name_and_name_the_stuck_ones_at_stop() -> None:
    executors, gate, running = Executors(cpus=1.5), threading.Event(), threading.Event()
    assert executors.make("store", 1).threads == 1
    assert executors.make("client").threads == 4
    with pytest.raises(ValueError, match="store"):
        executors.make("store")
    dead = executors.make("dead-host", 1)

    def hang() -> None:
        running.set()
        gate.wait()

    stuck = asyncio.create_task(dead.run(hang))
    await until(running.is_set)
    assert await executors.stop(0.01) == ("dead-host",)
    gate.set()
    await stuck
    assert await executors.stop(QUICK) == ()


# --- CPU limits of the cgroup --------------------------------------------------------------------------------------


def group(tmp_path: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    mounted, proc = tmp_path / "cgroup", tmp_path / "own"
    proc.write_text(own)
    for name, text in files.items():
        (mounted / name).parent.mkdir(parents=True, exist_ok=True)
        (mounted / name).write_text(text)
    return mounted, proc


def v1(folder: str, quota: str) -> dict[str, str]:
    return {f"{folder}/cpu.cfs_quota_us": quota, f"{folder}/cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/pod/box\n", {"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "25000 100000\n"}, 0.25),
        ("0::/../outside\n", {"cpu.max": "30000 100000\n"}, 0.3),
        ("4:cpu,cpuacct:/pod\n", v1("cpu,cpuacct/pod", "20000"), 0.2),
        ("4:cpu:/pod\n", v1("cpu", "10000"), 0.1),
    ],
)  # fmt: skip
def test_the_tightest_quota_of_the_group_and_its_parents_counts(
    tmp_path: Path, own: str, files: dict[str, str], limit: float
) -> None:
    assert cpu_limit(*group(tmp_path, own, files)) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}),
        ("0::/\n", {"cpu.max": "rubbish\n"}),
        ("0::/\n", {"cpu.max": "5 0\n"}),
        ("4:cpu:/\n", v1("cpu", "-1")),
        ("4:memory:/\n", v1("memory", "1")),
        ("", {}),
    ],
)
def test_without_a_readable_quota_the_affinity_counts(tmp_path: Path, own: str, files: dict[str, str]) -> None:
    assert cpu_limit(*group(tmp_path, own, files)) == cpu_limit(tmp_path, tmp_path / "missing")
    assert cpu_limit(*group(tmp_path, own, files)) >= 1
