"""Running a body: as a task of its own, so that the engine can write, time out, acknowledge and stop meanwhile."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from looparr.api.conditions import Reason
from looparr.engine.finalize import TurnTimedOut, running
from looparr.engine.loop import Leaving, Loop
from looparr.engine.save import absorb, tend
from looparr.engine.services import Services
from looparr.engine.types import Body, Fenced, Outcome, Subject, Turn
from looparr.errors import LoopError, StateError, Transient
from looparr.runtime.telemetry import bind_object

LOG = logging.getLogger(__name__)

SHOW_AFTER = 5.0
"""Seconds after which a turn is shown as Running."""
SHOW_ALONG_AFTER = 3.0
"""The same when the status is written anyway, to answer a new spec: one write less."""
IGNORED_LIMIT = 10.0
"""Seconds that a body may take to react to the cancellation of a time-out."""
CLOSE_LIMIT = 5.0
"""Seconds that a body gets to close."""

_abandoned: set[asyncio.Task[Outcome]] = set()
"""Tasks that ignored their cancellation: kept referenced until they end, so that Python does not drop them."""


class _Cut(Enum):
    """Why the engine cut a turn short."""

    STOP = "stop"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Ran:
    """How a body's run ended. counts: whether it is a finished turn (else it was fenced or stopped).

    secrets: versions by name of the Secrets that it used.
    """

    counts: bool
    outcome: Outcome | None = None
    error: LoopError | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)


class _Right:
    """Whether a turn may still act, by what the watch knows: no call, so a body can ask before each act."""

    __slots__ = ("_loop", "_subject", "ended")

    def __init__(self, loop: Loop, subject: Subject) -> None:
        self._loop, self._subject, self.ended = loop, subject, False

    def __call__(self) -> str:
        """Say why it may not, or ""."""
        newest = self._loop.subject
        if self.ended:
            return "this turn was given up"
        if self._loop.leaving is not None:
            return f"the loop is leaving ({self._loop.leaving})"
        if newest.deleting or newest.spec is None or newest.spec.suspend:
            return "the object is being deleted, suspended or unreadable"
        if newest.generation != self._subject.generation:
            return "the object has a new spec"
        return ""


class _Report:
    """Keeps what the body said to be true so far."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: Outcome | None = None

    def __call__(self, outcome: Outcome) -> None:
        self.outcome = outcome


async def run_body(loop: Loop, services: Services, *, triggered: bool) -> Ran:
    """Build or rebuild the body where the generation changed, run it once, catch everything.

    Raises StateError (the process must end) and CancelledError (of the caller).
    """
    subject, report, right = loop.subject, _Report(), _Right(loop, loop.subject)
    assert subject.spec is not None
    limit = subject.spec.timeout_seconds
    turn = Turn(
        subject=subject,
        number=loop.status.run_count + 1,
        triggered=triggered,
        block=loop.status.block,
        fence=lambda: _fence(loop, services, right),
        report=report,
        lost=right,
    )
    try:
        body = await _body(loop, services, subject)
        with bind_object(loop.ref), services.secrets.noting() as secrets:  # the task inherits both
            task = asyncio.create_task(body.run(turn), name=f"turn {loop.ref}")
    except StateError:
        raise
    except Exception as error:  # noqa: BLE001 - a defect of one body must not end the loop
        return Ran(counts=True, error=_trouble(error, loop))
    try:
        cut = await _attend(loop, services, task, limit)
    finally:
        right.ended = True
        if not task.done():
            _abandon(loop, task)
    return replace(_judge(loop, task, cut, report.outcome, limit), secrets=secrets)


async def _attend(loop: Loop, services: Services, task: asyncio.Task[Outcome], limit: float) -> _Cut | None:
    """Wait for the body; meanwhile acknowledge, show, time out, stop. Gives why it was cut short, if it was."""
    clock = services.clock
    began, give_up, shown = clock.monotonic(), math.inf, False
    cut: _Cut | None = None
    task.add_done_callback(lambda _: loop.wake.set())
    while True:
        loop.wake.clear()
        if task.done():
            return cut
        now = clock.monotonic()
        absorb(loop, services)
        if not shown and now >= began + (SHOW_AFTER if loop.write_at > now else SHOW_ALONG_AFTER):
            shown, loop.status, loop.write_at = True, running(loop.status, loop.subject), now
        cut_at = min(loop.until.finish, began + limit)
        if cut is None and now >= cut_at:
            cut = _Cut.STOP if now >= loop.until.finish else _Cut.TIMEOUT
            give_up = now + IGNORED_LIMIT
            task.cancel()
        if cut and now >= min(give_up, loop.until.abandon):
            return cut
        next_cut = min(give_up, loop.until.abandon) if cut else cut_at
        show_at = math.inf if shown else began + SHOW_AFTER
        await loop.nap(min(next_cut, show_at, now + tend(loop, services)) - now)


def _judge(loop: Loop, task: asyncio.Task[Outcome], cut: _Cut | None, reported: Outcome | None, limit: float) -> Ran:
    """Say what the engine counts; StateError goes through."""
    finished = task.done() and not task.cancelled()
    error = task.exception() if finished else None
    if isinstance(error, StateError):
        raise error
    if isinstance(error, Fenced) or (cut is _Cut.STOP and not finished):
        return Ran(counts=False, outcome=reported)
    returned: Any = task.result() if finished and error is None else None
    outcome = returned if isinstance(returned, Outcome) else reported
    if cut is _Cut.TIMEOUT:
        return Ran(counts=True, outcome=outcome, error=TurnTimedOut(limit))
    if not finished:
        error = RuntimeError("the body cancelled itself")
    elif error is None and outcome is not returned:
        error = TypeError(f"the body returned {type(returned).__name__}, not an Outcome")
    return Ran(counts=True, outcome=outcome, error=None if error is None else _trouble(error, loop))


def _trouble(error: BaseException, loop: Loop) -> LoopError:
    """Let errors of the tree stand for themselves; anything else is a defect: logged whole, shown by its type."""
    if isinstance(error, LoopError):
        return error
    LOG.error("turn raised an unexpected error, loop=%s", loop.ref, exc_info=error)
    return Transient(
        Reason.INTERNAL_ERROR,
        f"{type(error).__name__} inside Looparr: a defect, please report it with the operator's log.",
    )


async def _body(loop: Loop, services: Services, subject: Subject) -> Body:
    if loop.body is not None and loop.built == subject.generation:
        return loop.body
    await close_body(loop, services, deleted=False)
    loop.body = services.builds[loop.ref.kind](subject)
    loop.built = subject.generation
    return loop.body


async def close_body(loop: Loop, services: Services, *, deleted: bool) -> None:
    """Let go of the body, in at most CLOSE_LIMIT seconds; its errors are logged only."""
    body, loop.body, loop.built = loop.body, None, None
    if body is None:
        return
    limit = max(0.2, min(CLOSE_LIMIT, loop.until.close - services.clock.monotonic()))
    try:
        async with asyncio.timeout(limit):
            await body.close(deleted=deleted)
    except Exception:
        LOG.exception("body did not close, loop=%s", loop.ref)


def _abandon(loop: Loop, task: asyncio.Task[Outcome]) -> None:
    """Leave a body behind that did not end; it is never used again."""
    task.cancel()
    loop.body, loop.built = None, None
    _abandoned.add(task)
    task.add_done_callback(_abandoned.discard)
    LOG.warning("turn was left behind, its body did not end, loop=%s", loop.ref)


async def _fence(loop: Loop, services: Services, right: _Right) -> None:
    """Read the object once; raise Fenced when this turn has lost its right to act."""
    if reason := right():
        raise Fenced(f"{loop.ref}: {reason}")
    fresh = await services.reader.read(loop.ref)
    if fresh is None or fresh.ref.uid != loop.ref.uid:
        loop.leave(Leaving.GONE, services.clock.monotonic())
        raise Fenced(f"{loop.ref} is gone")
    loop.offer(fresh)
    if reason := right():
        raise Fenced(f"{loop.ref}: {reason}")
