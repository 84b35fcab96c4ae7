"""How a loop's status reaches the cluster: one write at a time, failed ones kept, nothing lost at a stop."""

from __future__ import annotations

import asyncio
import json
import logging
import math

from looparr.api.status import LoopStatus
from looparr.engine.finalize import acknowledge, edges
from looparr.engine.loop import Leaving, Loop
from looparr.engine.services import Services
from looparr.errors import WriteFailed

LOG = logging.getLogger(__name__)

ACKNOWLEDGE_WITHIN = 4.0
"""Seconds until a new generation is answered although its turn has not ended."""
FIRST_ANSWER_WITHIN = 15.0
"""The same for an object that was never answered, while more loops wait than there are slots: at a mass start the
answer of the first turn comes soon, and a write of its own for each loop would double the load."""
RETRY_FIRST, RETRY_LONGEST = 5.0, 60.0
"""Seconds between tries of a failed write, when no turn carries it earlier."""


def absorb(loop: Loop, services: Services) -> None:
    """Bring the status up to the newest subject, in memory; a write follows at once, or with the turn that is due."""
    if loop.subject is loop.absorbed:
        return
    loop.absorbed = loop.subject
    if loop.subject.deleting and loop.leaving is None:
        loop.leave(Leaving.DELETED, services.clock.monotonic())
    before = loop.status
    after = acknowledge(before, loop.subject, now=services.clock.wall())
    if after is before:
        return
    loop.tell(edges(before, after))
    loop.status = after
    loop.write_at = min(loop.write_at, services.clock.monotonic() + _patience(loop, before, services))


def _patience(loop: Loop, before: LoopStatus, services: Services) -> float:
    if loop.subject.spec is None or loop.subject.spec.suspend:
        return 0.0
    crowded = services.slots.asked > services.slots.count
    return FIRST_ANSWER_WITHIN if crowded and before.observed_generation < 0 else ACKNOWLEDGE_WITHIN


def tend(loop: Loop, services: Services) -> float:
    """Start the write that is due, if any; give the seconds until the next one is (inf: none)."""
    if loop.writing is not None or loop.write_at == math.inf:
        return math.inf
    wait = loop.write_at - services.clock.monotonic()
    if wait > 0:
        return wait
    loop.writing = asyncio.create_task(_write(loop, services), name=f"write {loop.ref}")
    return math.inf


async def _write(loop: Loop, services: Services) -> None:
    """Write once. Never raises but for cancellation; what failed stays due."""
    status = loop.status
    try:
        await services.writer.write(loop.ref, status.dump())
    except WriteFailed as error:
        _failed(loop, services, str(error))
        if error.gone:
            loop.write_at = math.inf
            loop.leave(Leaving.GONE, services.clock.monotonic())
    except Exception:
        LOG.exception("status write raised, loop=%s", loop.ref)
        _failed(loop, services, "The writer raised an unexpected error.")
    else:
        loop.failures = 0
        if loop.status is status:
            loop.write_at = math.inf
    finally:
        loop.writing = None
        loop.wake.set()
    while loop.news and loop.leaving is not Leaving.RELEASED:
        await services.events.post(loop.ref, loop.news.popleft())


def _failed(loop: Loop, services: Services, message: str) -> None:
    loop.failures += 1
    LOG.debug("status not written, loop=%s failures=%d error=%s", loop.ref, loop.failures, message)
    pause = min(RETRY_LONGEST, RETRY_FIRST * 2 ** min(loop.failures - 1, 5)) * (0.75 + services.random() / 2)
    loop.write_at = services.clock.monotonic() + pause


async def written(loop: Loop, services: Services) -> None:
    """Write the status now and wait until that has succeeded or failed, or the stop's limit is reached."""
    while loop.writing is not None:
        loop.wake.clear()
        left = loop.until.write - services.clock.monotonic()
        if left <= 0:
            loop.writing.cancel()
            return
        await loop.nap(left)
    loop.write_at = min(loop.write_at, services.clock.monotonic())
    left = loop.until.write - services.clock.monotonic()
    if left == math.inf:
        await _write(loop, services)
        return
    try:
        async with asyncio.timeout(left):
            await _write(loop, services)
    except TimeoutError:
        LOG.debug("stop cut a write short, loop=%s", loop.ref)


async def last_words(loop: Loop, services: Services) -> None:
    """Write what is not written yet, at a stop again and again until the limit; log what cannot be."""
    limit = loop.until.write
    while loop.unwritten and services.clock.monotonic() < limit:
        await written(loop, services)
        if loop.leaving is not Leaving.EXITING or not loop.unwritten:
            break
        await asyncio.sleep(min(0.5, max(0.0, limit - services.clock.monotonic())))
    if loop.unwritten and loop.leaving not in {Leaving.DELETED, Leaving.GONE}:
        status = json.dumps(loop.status.dump())
        LOG.error("status could not be written, loop=%s uid=%s status=%s", loop.ref, loop.ref.uid, status)
