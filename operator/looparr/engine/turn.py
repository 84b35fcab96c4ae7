"""One turn of one loop: wait until due, take a slot, run, finalize, write. The delicate heart of the product.

`turn` returns True when it wants to be called again and False when the loop has left; it never raises but for
cancellation and `StateError` (the process must end). It is the only writer of the object's status.
"""

from __future__ import annotations

import logging

from looparr.engine.due import Due, Why, due, requested
from looparr.engine.finalize import Ending, edges, finalize, interrupted
from looparr.engine.loop import Leaving, Loop
from looparr.engine.renewal import give_up, note, watch
from looparr.engine.run import Ran, close_body, run_body
from looparr.engine.save import absorb, last_words, tend, written
from looparr.engine.services import Services

LOG = logging.getLogger(__name__)

LONGEST_NAP = 300.0
"""Seconds after which a waiting loop looks at the clock again (it may have been set)."""


async def turn(loop: Loop, services: Services) -> bool:
    """Wait until due, run once, write. False: the loop has left, call no more."""
    if await _until_due(loop, services):
        assert loop.subject.spec is not None
        ticket = services.slots.ask(loop.subject.spec.priority, loop.ref.namespace, loop.wake.set)
        try:
            at_once = ticket.granted
            while not ticket.granted and loop.leaving is None and _is_due(loop, services):
                await _rest(loop, services, LONGEST_NAP)
            if ticket.granted and loop.leaving is None and (at_once or _is_due(loop, services)):
                loop.busy = True
                await _once(loop, services)
        finally:
            loop.busy = False
            services.slots.give_back(ticket)
    if loop.leaving is None:
        return True
    await farewell(loop, services)
    return False


async def farewell(loop: Loop, services: Services) -> None:
    """Leave: write what is not written, let go of the body. Harmless when called again."""
    if loop.closed:
        return
    loop.closed = True
    give_up(loop)
    if loop.leaving is not Leaving.RELEASED:
        await last_words(loop, services)
    await close_body(loop, services, deleted=loop.leaving is Leaving.DELETED)


async def _until_due(loop: Loop, services: Services) -> bool:
    while loop.leaving is None:
        found = _look(loop, services)
        wait = LONGEST_NAP if found.at is None else _seconds_until(loop, services, found)
        if wait <= 0:
            return True
        loop.write_at = loop.write_at if wait < 1 or not loop.unwritten else min(loop.write_at, _soon(loop, services))
        await _rest(loop, services, min(wait, watch(loop, services)) if found.why is Why.STALLED else wait)
    return False


def _soon(loop: Loop, services: Services) -> float:
    """No turn is due that would carry the answer: write it now, unless an earlier try failed."""
    return services.clock.monotonic() if not loop.failures else loop.write_at


async def _rest(loop: Loop, services: Services, wait: float) -> None:
    """Write what has to be written, then sleep until poked or `wait` is over."""
    loop.wake.clear()
    absorb(loop, services)
    await loop.nap(min(wait, LONGEST_NAP, tend(loop, services)))


def _look(loop: Loop, services: Services) -> Due:
    loop.wake.clear()
    absorb(loop, services)
    return due(
        loop.subject,
        loop.status,
        now=services.clock.wall(),
        boot=loop.boot,
        spread=loop.spread,
        renewed=loop.secrets.changed,
    )


def _seconds_until(loop: Loop, services: Services, found: Due) -> float:
    assert found.at is not None
    wait = (found.at - services.clock.wall()).total_seconds()
    return max(wait, loop.not_before - services.clock.monotonic())


def _is_due(loop: Loop, services: Services) -> bool:
    found = _look(loop, services)
    return found.at is not None and _seconds_until(loop, services, found) <= 0


async def _once(loop: Loop, services: Services) -> None:
    """Run the body once and write what came of it."""
    subject = loop.subject
    assert subject.spec is not None
    token = requested(subject, loop.status)
    started, began = services.clock.wall(), services.clock.monotonic()
    ran = await run_body(loop, services, triggered=token is not None)
    now, spent = services.clock.wall(), services.clock.monotonic() - began
    if ran.counts:
        note(loop, services, ran.secrets)
        ending = Ending(
            generation=subject.generation,
            spec=subject.spec,
            started=started,
            duration=spent,
            outcome=ran.outcome,
            error=ran.error,
            token=token,
            luck=services.random(),
        )
        _conclude(loop, services, ending)
    else:
        _break_off(loop, services, ran)
        if not loop.unwritten:
            return
    if loop.leaving is not Leaving.RELEASED:
        await written(loop, services)
    LOG.debug("turn ended, loop=%s result=%s ms=%d at=%s", loop.ref, loop.status.phase, spent * 1000, now)


def _conclude(loop: Loop, services: Services, ending: Ending) -> None:
    absorb(loop, services)
    before = loop.status
    loop.status = finalize(loop.status, loop.subject, ending, now=services.clock.wall())
    loop.tell(edges(before, loop.status, ending.error))
    if ending.outcome is not None:
        loop.tell(ending.outcome.events)
    loop.write_at = services.clock.monotonic()
    reason = ending.error.reason if ending.error else ""
    services.measured(loop.ref, loop.status.history[-1].result, reason, ending.duration)


def _break_off(loop: Loop, services: Services, ran: Ran) -> None:
    """Keep what really happened in a turn that a stop or a lost right cut short; it counts as nothing."""
    before = loop.status
    loop.status = interrupted(loop.status, loop.subject, ran.outcome, now=services.clock.wall())
    loop.not_before = services.clock.monotonic() + 1
    if ran.outcome is not None:
        loop.tell(ran.outcome.events)
    if loop.status != before:
        loop.write_at = services.clock.monotonic()
