"""Lists all objects now and then, so that the memory of those that are gone for good is forgotten.

Kopf tells of an object's deletion only while it watches; what was deleted at another time is found by its absence. Only
a complete list counts: all kinds, all that this operator looks after, from the first page to the last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from looparr.api.meta import API_VERSION, Kind
from looparr.clients.kube import KubeApi
from looparr.engine.loop import Loop
from looparr.errors import LoopError, Transient

LOG = logging.getLogger(__name__)

FIRST_AFTER = 60.0
"""Seconds after the start: a cold start has other things to do."""
EVERY, FAILED_AGAIN = 6 * 3600.0, 600.0
"""Seconds between two looks; after one that failed."""
PAGE = 100
"""Objects in one answer."""


class Rememberer(Protocol):
    """Who remembers objects by uid; `Store` is one."""

    async def census(self, present: Mapping[str, str], scope: Collection[str]) -> tuple[str, ...]: ...  # noqa: D102


class Census:
    """The service that looks. loops: those this process carries, which are there whatever a list says.

    spawn: starts a task whose fault ends the process. namespaces: where to look, empty is everywhere.
    """

    name = "census"

    def __init__(
        self,
        spawn: Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[Any]],
        api: KubeApi,
        store: Rememberer,
        kinds: Collection[Kind],
        namespaces: Collection[str],
        loops: Iterable[Loop],
    ) -> None:
        self._spawn = spawn
        self._api = api
        self._store = store
        self._kinds = tuple(kinds)
        self._namespaces = tuple(namespaces)
        self._loops = loops
        self._task: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        """Begin; the first look comes later."""
        self._task = self._spawn(self.name, self._keep())

    async def ready(self) -> bool:
        """Tell that nothing waits for it."""
        return True

    async def stop(self) -> None:
        """End; a look that is under way is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def look(self) -> tuple[str, ...]:
        """Look once; give the uids that were forgotten. Raises LoopError when not everything could be seen."""
        present: dict[str, str] = {}
        for kind in self._kinds:
            for namespace in self._namespaces or (None,):
                present |= await self._listed(kind, namespace)
        present |= {loop.ref.uid: loop.ref.namespace for loop in self._loops}
        forgotten = await self._store.census(present, self._namespaces)
        for uid in forgotten:
            LOG.warning("memory of an object that is gone was forgotten, uid=%s", uid)
        return forgotten

    async def _keep(self) -> None:
        await asyncio.sleep(FIRST_AFTER)
        while True:
            pause = EVERY
            try:
                await self.look()
            except LoopError as error:
                LOG.info("objects could not be counted, nothing is forgotten, reason=%s", error.reason)
                pause = FAILED_AGAIN
            await asyncio.sleep(pause)

    async def _listed(self, kind: Kind, namespace: str | None) -> dict[str, str]:
        """Give the namespace by uid of all objects of a kind, page by page."""
        scope = f"/namespaces/{namespace}" if namespace else ""
        path = f"/apis/{API_VERSION}{scope}/{kind.plural}?limit={PAGE}"
        found: dict[str, str] = {}
        more = ""
        while True:
            uids, more = _page(kind, await self._api.get(path + more))
            found |= uids
            if not more:
                return found


def _page(kind: Kind, answer: Mapping[str, Any] | None) -> tuple[dict[str, str], str]:
    """Read one page: namespace by uid, and what to ask for the next one with ("" after the last).

    Raises Transient for anything but a list of that kind whose objects all have a uid.
    """
    try:
        if answer is None or answer["kind"] != f"{kind.kind}List":
            raise TypeError  # noqa: TRY301 - the same fault as all other shapes
        token = answer["metadata"].get("continue")
        uids = {str(one["metadata"]["uid"]): str(one["metadata"]["namespace"]) for one in answer["items"]}
    except (AttributeError, KeyError, TypeError) as error:
        raise Transient(
            "ApiServerError", f"The API server gave no list of {kind.plural}; it is tried again."
        ) from error
    return uids, f"&continue={quote(token)}" if token else ""
