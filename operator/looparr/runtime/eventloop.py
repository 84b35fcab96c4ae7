"""The one event loop of the process: chosen here, made here, closed here.

A second loop beside the first splits locks, sessions and timers between two worlds that cannot wait for each other;
`one_loop` therefore refuses to make one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import structlog

LoopName = Literal["auto", "uvloop", "asyncio"]

log = structlog.stdlib.get_logger(__name__)
_only_one = threading.Lock()


@dataclass(frozen=True, slots=True)
class LoopChoice:
    """Which event loop is taken, and why."""

    name: str
    reason: str
    make: Callable[[], asyncio.AbstractEventLoop]


def choose(wish: LoopName = "auto") -> LoopChoice:
    """Choose uvloop where it can be had, else asyncio's own loop."""
    if wish == "asyncio":
        return LoopChoice("asyncio", "asked for", asyncio.new_event_loop)
    if sys.platform == "win32" or importlib.util.find_spec("uvloop") is None:
        return LoopChoice("asyncio", "uvloop is not installed", asyncio.new_event_loop)
    import uvloop  # noqa: PLC0415 - only where it is taken

    return LoopChoice("uvloop", "installed" if wish == "auto" else "asked for", uvloop.new_event_loop)


@contextmanager
def one_loop(wish: LoopName = "auto") -> Iterator[asyncio.AbstractEventLoop]:
    """Make the event loop of the process, and close it at the end without waiting for stuck threads.

    Raises RuntimeError when this process already has one.
    """
    if not _only_one.acquire(blocking=False):
        raise RuntimeError("this process already has its event loop: start tasks in it instead of making a second one")
    try:
        choice = choose(wish)
        loop = choice.make()
        log.info("event loop chosen", event_loop=choice.name, reason=choice.reason)
        try:
            asyncio.set_event_loop(loop)
            yield loop
        finally:
            _close(loop)
    finally:
        _only_one.release()


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left and close the loop; a task that ignores its cancellation is reported, not waited for.

    The default executor is left alone on purpose: asyncio would wait for a stuck thread of it without any limit.
    """
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            _, stubborn = loop.run_until_complete(asyncio.wait(left, timeout=0.2))
            for task in stubborn:
                log.error("task ignored its cancellation", task=task.get_name())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
