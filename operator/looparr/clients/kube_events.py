"""Events for `kubectl describe`: queued, posted in the background, dropped rather than in anybody's way.

Kopf's own poster dies with Kopf's root tasks; the last Events of a stop need one that outlives them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from looparr.api.meta import API_VERSION, ObjectRef
from looparr.api.model import format_time
from looparr.clients.kube import KubeApi
from looparr.errors import LoopError

LOG = logging.getLogger(__name__)

QUEUE_LIMIT = 1000
"""Events that may wait; further ones are dropped."""
MESSAGE_LIMIT = 1000
FLUSH_LIMIT = 1.0
"""Seconds that a stop waits for the last Events."""
COMPONENT = "looparr"


class EventLike(Protocol):
    """What an Event says; `engine.types.Event` is one."""

    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102
    @property
    def type(self) -> str: ...  # noqa: D102


def _now() -> datetime:
    return datetime.now(UTC)


class KubeEvents:
    """A service that posts Events. post() never raises and never waits."""

    name = "events"

    def __init__(self, api: KubeApi, *, wall: Callable[[], datetime] = _now) -> None:
        self._api = api
        self._wall = wall
        self._queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(QUEUE_LIMIT)
        self._worker: asyncio.Task[None] | None = None
        self.dropped = 0

    async def post(self, ref: ObjectRef, event: EventLike) -> None:
        """Queue one Event about an object."""
        try:
            self._queue.put_nowait((ref.namespace, event_body(ref, event, now=self._wall())))
        except asyncio.QueueFull:
            self.dropped += 1
            if self.dropped == 1:
                LOG.warning("events were dropped, limit=%d", QUEUE_LIMIT)

    async def start(self) -> None:
        """Begin to post."""
        self._worker = asyncio.create_task(self._work(), name="events")

    async def ready(self) -> bool:
        """Tell that Events are never a reason not to be ready."""
        return True

    async def stop(self) -> None:
        """Post what is queued, for at most a second, then end."""
        if self._worker is None:
            return
        joining = asyncio.ensure_future(self._queue.join())
        await asyncio.wait({joining}, timeout=FLUSH_LIMIT)
        joining.cancel()
        self._worker.cancel()
        await asyncio.wait({self._worker})
        if self._queue.qsize():
            LOG.warning("events were lost at stop, count=%d", self._queue.qsize())

    async def _work(self) -> None:
        failing = False
        while True:
            namespace, body = await self._queue.get()
            try:
                await self._api.create(f"/api/v1/namespaces/{namespace}/events", body)
                failing = False
            except LoopError as error:
                if not failing:
                    LOG.warning("event was not posted, error=%s", error)
                failing = True
            except Exception:
                LOG.exception("event was not posted")
            finally:
                self._queue.task_done()


def event_body(ref: ObjectRef, event: EventLike, *, now: datetime) -> dict[str, Any]:
    """Give the core/v1 Event about an object."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{ref.name[:200]}.", "namespace": ref.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": ref.kind.kind,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": ref.uid,
        },
        "reason": event.reason[:128],
        "message": event.message[:MESSAGE_LIMIT],
        "type": str(event.type),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
    }
