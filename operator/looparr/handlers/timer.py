"""What Kopf calls: one event handler that pokes, one timer that carries turns. Neither ever raises.

An exception that leaves a timer would end it for ever without a word.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import kopf

from looparr.api.meta import GROUP, VERSION, Kind
from looparr.engine.services import Services
from looparr.engine.turn import turn
from looparr.errors import StateError
from looparr.handlers.book import Book

LOG = logging.getLogger(__name__)

AT_ONCE = 0
"""Seconds between two invocations of a timer: the engine itself waits until its loop is due. 0 spares Kopf a task."""
SHIFT = 60.0
"""Seconds for which one invocation carries turns: what Kopf does between two costs a tenth of a small turn."""
PATIENCE = 30.0
"""Seconds that a loop which has left waits for Kopf to stop its timer, before it ends the timer itself."""
PATIENCE_AT_EXIT = 0.5
"""The same at the stop of the process: Kopf never stops a timer that it began after it had stopped all others."""


def register(
    registry: kopf.OperatorRegistry, kind: Kind, book: Book, services: Services, fail: Callable[[BaseException], None]
) -> None:
    """Register event handler and timer of one kind."""

    def is_news(event: Any, **_: Any) -> bool:
        return book.is_news(event["object"]) or event["type"] == "DELETED"

    @kopf.on.event(GROUP, VERSION, kind.plural, when=is_news, registry=registry)
    async def poke(event: Any, **_: Any) -> None:
        try:
            book.see(kind, event["object"], gone=event["type"] == "DELETED")
        except Exception:
            LOG.exception("event could not be read, kind=%s", kind.kind)

    @kopf.timer(GROUP, VERSION, kind.plural, interval=AT_ONCE, id="loop", registry=registry)  # type: ignore[arg-type]
    async def timer(uid: str, stopped: kopf.DaemonStopped, **_: Any) -> None:
        again, ends = True, services.clock.monotonic() + SHIFT
        while again and not stopped and services.clock.monotonic() < ends:
            await asyncio.sleep(0)  # whatever happens below, others get their turn
            again = await carried(uid, stopped)
        if not again and not stopped:
            await stopped.wait(PATIENCE_AT_EXIT if book.exiting else PATIENCE)
            _end_timer(stopped)

    async def carried(uid: str, stopped: kopf.DaemonStopped) -> bool:
        """Carry one turn; False when the loop wants no more of them."""
        loop = book.get(uid)
        try:
            return False if loop is None else await turn(loop, services)
        except StateError as error:
            fail(error)
            return False
        except Exception:
            LOG.exception("turn raised, which it must not, uid=%s", uid)
            await stopped.wait(5)
            return True


def _end_timer(stopped: kopf.DaemonStopped) -> None:
    """End the timer of an object that left our watch without being deleted: Kopf forgot it and would call for ever."""
    task = asyncio.current_task()
    if not stopped and task is not None:
        task.cancel()
