"""The clients' half of phase 1: a view of each client that answers, and why there is none of the others.

Of several clients one that cannot be asked is *down*: without a view nothing can be concluded about its torrents, while
those of the others are looked after. The turn counts as failed all the same. So Ready, ERRORS, Events and the backoff
show the trouble as they do where there is one client, and what is seen only in part is looked at less often, which is
the safer of the two. Without any client there is nothing to look after: the turn fails before it has begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from looparr.arr.links import ClientLink, Links
from looparr.arr.spec import ArrSpec, DownloadClient
from looparr.clients.failures import HttpReason
from looparr.clients.qbittorrent.client import LOGIN_REFUSED, Versions
from looparr.clients.qbittorrent.mirror import Cursor, Snapshot
from looparr.clients.qbittorrent.wire import Torrent
from looparr.errors import Blocked, LoopError, Transient

REFUSALS = frozenset({HttpReason.UNAUTHORIZED, LOGIN_REFUSED})
"""Reasons after which the Secrets are read anew."""


@dataclass(frozen=True, slots=True)
class View:
    """What one client says. changed, removed: hashes since our last look. categories: our scope in it."""

    link: ClientLink
    snapshot: Snapshot
    cursor: Cursor
    changed: frozenset[str]
    removed: frozenset[str]
    categories: frozenset[str]
    tags: frozenset[str]

    @property
    def server_time(self) -> float | None:
        """The client's own clock, epoch seconds."""
        return self.snapshot.server_date.timestamp() if self.snapshot.server_date else None


@dataclass(frozen=True, slots=True)
class Down:
    """A client that cannot be asked now. error: why, and the cure. shown: hashes that it had when it was last seen.

    last: its list when this process last saw it, None: never.
    """

    error: LoopError
    shown: frozenset[str] = frozenset()
    last: Mapping[str, Torrent] | None = None


@dataclass(slots=True)
class ClientReader:
    """Asks the clients of one instance. versions: of those that are not down."""

    links: Links
    spec: ArrSpec
    versions: dict[str, Versions] = field(default_factory=dict)

    async def read(
        self, categories: frozenset[str], remembered: Collection[tuple[str, str]]
    ) -> tuple[dict[str, View], dict[str, Down]]:
        """Ask all clients at once, so that a slow one costs no more than its own time; give those seen, those down.

        categories: those of the Arr. remembered: (client, hash) of what is known to be there, for a client that this
        process has not seen yet. Raises LoopError when all of them are down.
        """
        wanted = self.spec.download_clients
        answers = await asyncio.gather(*(self._ask(one, categories) for one in wanted))
        views: dict[str, View] = {}
        down: dict[str, Down] = {}
        for one, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, View):
                views[one.name] = answer
            else:
                down[one.name] = self._down(one.name, answer, remembered)
        if down and not views:
            raise failure(views, down)
        return views, down

    async def _ask(self, wanted: DownloadClient, categories: frozenset[str]) -> View | LoopError:
        """Ask one client, and first of all what it is."""
        name = wanted.name
        if name in self.links.unopened:
            return self.links.unopened[name]
        link = self.links.clients[name]
        try:
            if name not in self.versions:
                self.versions[name] = await link.client.versions()
            snapshot = await link.mirror.refresh(max_age=0.5)
        except LoopError as error:
            self.versions.pop(name, None)  # it may come back as another version
            if error.reason in REFUSALS:
                self.links.distrust()
            return error
        cursor, changed, removed = link.mirror.changed_since(link.cursor)
        return View(
            link=link,
            snapshot=snapshot,
            cursor=cursor,
            changed=changed,
            removed=removed,
            categories=frozenset(wanted.categories or ()) or categories,
            tags=frozenset(wanted.tags or ()),
        )

    def _down(self, name: str, error: LoopError, remembered: Iterable[tuple[str, str]]) -> Down:
        link = self.links.clients.get(name)
        snapshot = link.mirror.snapshot if link is not None else None
        last = snapshot.torrents if snapshot is not None else None
        shown = frozenset(hash_ for client, hash_ in remembered if client == name) | frozenset(last or ())
        return Down(error, shown, last)


def failure(views: Iterable[str], down: Mapping[str, Down]) -> LoopError:
    """Give what the turn fails with because clients are down: of the first one's kind and reason, and naming all."""
    first = next(iter(down.values())).error
    told = "; ".join(f"download client {name}: {one.error.message}" for name, one in down.items())
    others = ", ".join(views)
    message = f"{told}; torrents of {others} are looked after, the others left as they are" if others else told
    if isinstance(first, Transient):
        return _caused(Transient(first.reason, message, retry_after=first.retry_after), first)
    return _caused(Blocked(first.reason, message), first)


def _caused(error: LoopError, cause: LoopError) -> LoopError:
    error.__cause__ = cause
    return error
