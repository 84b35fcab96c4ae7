"""The operator as one service: waits for the API server, runs Kopf's tasks, and stops without losing a turn.

`kopf.spawn_tasks` and not `kopf.operator`: the latter cancels, at stop, every task that is younger than itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast

import aiohttp
import kopf

from looparr.api.meta import Kind
from looparr.clients.kube import KubeApi
from looparr.clients.kube_access import KubeAccess
from looparr.engine.services import Services
from looparr.errors import StateError
from looparr.handlers.book import Book
from looparr.handlers.subjects import Domain
from looparr.handlers.timer import register
from looparr.handlers.tuning import kopf_settings

LOG = logging.getLogger(__name__)

LOOK_AGAIN = 2.0
"""Seconds between two looks whether the API server serves our kinds."""
KOPF_SLICE = 0.3
"""Seconds of a stop's budget that are left for Kopf's tasks after the last loop."""


class Process(Protocol):
    """What the operator needs of the process; `runtime.Runtime` is one."""

    def fail(self, error: BaseException, *, where: str) -> None: ...  # noqa: D102
    def claim_signals(self) -> None: ...  # noqa: D102
    def remaining(self) -> float: ...  # noqa: D102
    def spawn(self, name: str, work: Any) -> Any: ...  # noqa: D102


class Operator:
    """Watches our kinds and carries their loops. namespaces: where; empty is everywhere."""

    name = "operator"

    def __init__(
        self,
        process: Process,
        access: KubeAccess,
        api: KubeApi,
        services: Services,
        domains: Mapping[Kind, Domain],
        namespaces: Collection[str] = (),
    ) -> None:
        self.book = Book(domains, services.clock)
        self._process = process
        self._access = access
        self._api = api
        self._services = services
        self._domains = domains
        self._namespaces = tuple(namespaces)
        self._kopf: Collection[asyncio.Task[Any]] = ()
        self._listed = False
        self._sessions: list[aiohttp.ClientSession] = []

    async def start(self) -> None:
        """Begin; the API server may still be away, and its CRDs may come later."""
        self._process.spawn("operator", self._run())

    async def ready(self) -> bool:
        """Tell whether a LIST of every kind succeeded and Kopf's tasks are alive."""
        return self._listed and bool(self._kopf) and not any(task.done() for task in self._kopf)

    async def stop(self) -> None:
        """Let turns in flight end and write, then end Kopf."""
        now, budget = self._services.clock.monotonic(), self._process.remaining()
        self.book.leave_all(now, max(0.5, min(budget, 3600.0) - KOPF_SLICE))
        kopf_tasks, self._kopf = self._kopf, ()
        for task in kopf_tasks:
            task.cancel()
        while (rest := {task for task in {*kopf_tasks, *_timers()} if not task.done()}) and self._time_left() > 0:
            await asyncio.wait(rest, timeout=self._time_left())
        for session in self._sessions:
            await session.close()
        left = [task.get_name() for task in {*kopf_tasks, *_timers()} if not task.done()]
        if left:
            LOG.error("tasks were left over, count=%d first=%s", len(left), left[0])

    def _time_left(self) -> float:
        return self._process.remaining() - KOPF_SLICE / 2

    async def _run(self) -> None:
        await self._until_listed()
        registry = self._registry()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=kopf_settings(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
            identity=cast("Any", "looparr"),  # or Kopf asks for the user's name, and a pod's user has none
        )
        self._process.claim_signals()  # Kopf has just taken them
        self._kopf = tasks
        LOG.info("watching, kinds=%s namespaces=%s", len(self._domains), ",".join(self._namespaces) or "all")
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if self._kopf:
            ended = next(task for task in tasks if task.done())
            cause = None if ended.cancelled() else ended.exception()
            what = f"Kopf's task {ended.get_name()!r} ended ({str(cause or 'cancelled')[:200]})"
            raise StateError(f"{what}; the process must start anew") from cause

    async def _until_listed(self) -> None:
        """Wait until every kind can be listed and changed everywhere.

        Kopf looks for them only once: it dies when it cannot look, and leaves out for ever what it cannot patch then.
        """
        told: list[str] = []
        while missing := await self._missing():
            if missing != told:
                LOG.warning(
                    "waiting for %s: are CRDs and roles applied, do the namespaces exist, is the API server up?",
                    ", ".join(missing),
                )
            told = missing
            await asyncio.sleep(LOOK_AGAIN)
        self._listed = True

    async def _missing(self) -> list[str]:
        """Name what cannot be listed or changed yet: kinds, or kinds in namespaces."""
        patchable, scopes = await self._api.patchable(), self._namespaces or (None,)
        return [
            f"{kind.plural} in {scope}" if scope else kind.plural
            for kind in self._domains
            for scope in scopes
            if kind.plural not in patchable or not await self._api.can_list(kind, scope)
        ]

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for kind in self._domains:
            register(registry, kind, self.book, self._services, lambda error: self._process.fail(error, where="turn"))

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            """Give a new session at each log-in: Kopf closes the one that met a 401."""
            if self._sessions:
                await asyncio.sleep(1)  # a ServiceAccount made anew: its token comes when it comes
                await self._access.reload()
                await self._sessions.pop().close()
            self._sessions.append(self._access.session(connections=64))
            return kopf.AiohttpSession(server=self._access.server, aiohttp_session=self._sessions[-1])

        return registry


def _timers() -> set[asyncio.Task[Any]]:
    """Give Kopf's tasks that carry our timers; it gives no other handle on them."""
    return {task for task in asyncio.all_tasks() if task.get_name().startswith("runner of")}
