from __future__ import annotations

import asyncio
import threading

import pytest

from looparr.runtime.eventloop import choose, one_loop


def test_uvloop_is_taken_where_it_is_installed() -> None:
    choice = choose()
    assert (choice.name, choice.reason) == ("uvloop", "installed")


def test_asyncio_can_be_asked_for_and_says_so() -> None:
    choice = choose("asyncio")
    assert (choice.name, choice.reason) == ("asyncio", "asked for")


def test_without_uvloop_asyncio_is_taken_and_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    choice = choose()
    assert (choice.name, choice.reason) == ("asyncio", "uvloop is not installed")


@pytest.mark.parametrize("wish", ["uvloop", "asyncio"])
def test_the_loop_runs_and_is_closed_at_the_end(wish: str) -> None:
    async def answer() -> int:
        return 42

    with one_loop(wish) as loop:  # type: ignore[arg-type]
        assert loop.run_until_complete(answer()) == 42
    assert loop.is_closed()


def test_a_second_loop_beside_the_first_is_an_error() -> None:
    with one_loop(), pytest.raises(RuntimeError, match="already has its event loop"), one_loop():
        pass
    with one_loop() as again:
        assert not again.is_closed()


def test_tasks_left_in_the_loop_are_cancelled_when_it_closes() -> None:
    seen: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def begin() -> None:
        tasks.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    with one_loop() as loop:
        loop.run_until_complete(begin())
    assert seen == ["cancelled"]
    assert tasks[0].cancelled()


def test_a_thread_stuck_in_the_default_executor_does_not_hold_the_loop() -> None:
    release = threading.Event()

    async def begin() -> None:
        waiting = asyncio.get_running_loop().run_in_executor(None, release.wait)
        waiting.cancel()
        await asyncio.sleep(0)

    with one_loop() as loop:
        loop.run_until_complete(begin())
    closed_while_stuck = loop.is_closed() and not release.is_set()
    release.set()
    assert closed_while_stuck
