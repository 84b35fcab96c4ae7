"""One up-to-date copy of a client's torrents, shared by everybody who looks at that client.

qBittorrent gives each change once per session, to whoever asks; so there must be one asker, who keeps the list and
remembers for each consumer what it has not seen yet. `merge` is the pure half, `Mirror` the half with a connection,
`MirrorPool` finds the mirror of a client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from looparr.clients.failures import HttpReason
from looparr.clients.http import TlsFiles
from looparr.clients.qbittorrent.client import QBittorrent
from looparr.clients.qbittorrent.wire import MainData, Torrent
from looparr.errors import Transient

SHRINK_SHARE = 0.2
MAX_TOMBSTONES = 50_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a consumer has seen. Opaque: get it from `changed_since`, hand it back there. None = nothing yet."""

    life: object
    seen: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The client at one moment. Immutable, cheap to keep and to compare.

    torrents: by hash. server_state: merged. full: this refresh was a full list. shrunk: this refresh was a full list
    that had lost more than 20 % of what was known (a restarted or a wrong client). shrunk_at: `at` of the last such
    refresh, on every later snapshot too, since another consumer may have seen that refresh. at: monotonic seconds when
    the call was sent. server_date: the answer's Date header. skew_seconds: how far the client's clock is ahead of ours.
    """

    torrents: Mapping[str, Torrent]
    server_state: Mapping[str, Any]
    full: bool
    shrunk: bool
    shrunk_at: float | None
    at: float
    server_date: datetime | None
    skew_seconds: float | None

    @property
    def connection_status(self) -> str:
        """connected, firewalled or disconnected, as the client says; "" when it does not."""
        return str(self.server_state.get("connection_status") or "")


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of one merge. torrents: a new dict, or the old one itself when nothing changed.

    changed: hashes that are there now and are new or different (all of them after a full list). removed: hashes that
    are gone, or that stand for another torrent now (other added_on; then they are in `changed`, too).
    """

    torrents: dict[str, Torrent]
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    shrunk: bool = False


def merge(old: dict[str, Torrent], data: MainData) -> Merged:
    """Apply one answer to the list, of which snapshots are views: it is copied, once, and never changed. Pure."""
    if data.full_update:
        torrents = {hash_: Torrent(hash=hash_, **changes) for hash_, changes in data.torrents.items()}
        gone = old.keys() - torrents.keys()
        return Merged(
            torrents=torrents,
            changed=frozenset(torrents),
            removed=frozenset(gone | {one for one in old.keys() - gone if _is_other(old[one], torrents[one])}),
            shrunk=len(gone) > SHRINK_SHARE * len(old),
        )
    gone = {one for one in data.torrents_removed if one in old and one not in data.torrents}
    updated = {}
    for hash_, changes in data.torrents.items():
        before = old.get(hash_)
        after = Torrent(hash=hash_, **changes) if before is None else replace(before, **changes)
        if after != before:
            updated[hash_] = after
    if not gone and not updated:
        return Merged(torrents=old)
    other = {one for one, torrent in updated.items() if one in old and _is_other(old[one], torrent)}
    torrents = old | updated
    for hash_ in gone:
        del torrents[hash_]
    return Merged(torrents=torrents, changed=frozenset(updated), removed=frozenset(gone | other))


def _is_other(before: Torrent, after: Torrent) -> bool:
    """Whether one hash stands for a torrent that was added again: identity is hash and added_on."""
    return before.added_on != after.added_on


class Journal:
    """Who has seen what: per hash the number of the merge that changed or removed it, newest last.

    A look costs what has changed since the last one, not what there is.
    """

    def __init__(self) -> None:
        self._life = object()
        self._merges = 0
        self._changed: dict[str, int] = {}
        self._removed: dict[str, int] = {}

    def note(self, merged: Merged) -> None:
        """Remember what a merge did."""
        if not (merged.changed or merged.removed):
            return
        self._merges += 1
        for hash_ in merged.removed:
            self._changed.pop(hash_, None)
            self._removed.pop(hash_, None)
            self._removed[hash_] = self._merges
        for hash_ in merged.changed:
            self._changed.pop(hash_, None)
            self._changed[hash_] = self._merges
        while len(self._removed) > MAX_TOMBSTONES:
            del self._removed[next(iter(self._removed))]

    def since(self, cursor: Cursor | None) -> tuple[Cursor, frozenset[str], frozenset[str]]:
        """Give (new cursor, changed, removed) since `cursor`; one of another mirror counts as None."""
        now = Cursor(self._life, self._merges)
        if cursor is None or cursor.life is not self._life:
            return now, frozenset(self._changed), frozenset()
        return now, _newer(self._changed, cursor.seen), _newer(self._removed, cursor.seen)


def _newer(log: dict[str, int], seen: int) -> frozenset[str]:
    found = []
    for hash_, number in reversed(log.items()):
        if number <= seen:
            break
        found.append(hash_)
    return frozenset(found)


class Mirror:
    """The list of one client program, over one session of it.

    client: owned from now on, closed by close(). monotonic: seconds; wall: aware UTC.
    """

    def __init__(
        self,
        client: QBittorrent,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.client = client
        """For everything but the list: look at single torrents, act on them."""
        self._monotonic = monotonic
        self._wall = wall
        self._rid = 0
        self._torrents: dict[str, Torrent] = {}
        self._journal = Journal()
        self._snapshot: Snapshot | None = None
        self._flight: asyncio.Task[Snapshot] | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot there is, without a call; None before the first refresh."""
        return self._snapshot

    async def refresh(self, max_age: float) -> Snapshot:
        """Give a snapshot younger than `max_age` seconds, at the price of at most one call; callers share it.

        A caller may join a call that was sent before it asked: to check one's own act use `client.info`.
        Raises LoopError; the last snapshot is kept then, and the next call goes on where this one began.
        """
        known = self._snapshot
        if known is not None and self._monotonic() - known.at < max_age:
            return known
        flight = self._flight
        if flight is None:
            flight = self._flight = asyncio.create_task(self._pull(), name=f"mirror {self.client.host}")
            flight.add_done_callback(self._landed)
        try:
            return await asyncio.shield(flight)
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if flight.cancelled() and not (asking and asking.cancelling()):
                raise Transient(
                    HttpReason.UNREACHABLE, f"{self.client.host}: its connection was closed meanwhile"
                ) from None
            raise

    def changed_since(self, cursor: Cursor | None) -> tuple[Cursor, frozenset[str], frozenset[str]]:
        """Give (new cursor, changed, removed) for one consumer; every change is told it exactly once.

        changed: hashes in the newest snapshot that are new or different; all of them with cursor None, after a full
        list, or with the cursor of another mirror (then drop what you knew). removed: hashes that left the list or
        were added again meanwhile (then in `changed`, too); may hold some you never saw.
        """
        return self._journal.since(cursor)

    async def close(self) -> None:
        """End a call in flight (its askers get Transient) and close the client."""
        flight = self._flight
        if flight is not None:
            flight.cancel()
            await asyncio.wait([flight])
        await self.client.close()

    async def _pull(self) -> Snapshot:
        at = self._monotonic()
        data = await self.client.maindata(self._rid)
        known = self._snapshot
        merged = merge(self._torrents, data)
        self._torrents = merged.torrents
        self._journal.note(merged)
        self._rid = data.rid
        before = {} if known is None or data.full_update else known.server_state
        self._snapshot = Snapshot(
            torrents=MappingProxyType(merged.torrents),
            server_state=MappingProxyType({**before, **data.server_state}),
            full=data.full_update,
            shrunk=merged.shrunk,
            shrunk_at=at if merged.shrunk else known.shrunk_at if known else None,
            at=at,
            server_date=data.server_date,
            skew_seconds=(data.server_date - self._wall()).total_seconds() if data.server_date else None,
        )
        return self._snapshot

    def _landed(self, flight: asyncio.Task[Snapshot]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # told to every asker; when all of them have gone, nobody has to hear it


@dataclass(frozen=True, slots=True)
class MirrorKey:
    """Whose mirror it is. Nobody with another Secret, or another version of it, may read this one."""

    namespace: str
    url: str
    secret_uid: str = ""
    secret_version: str = ""
    tls: TlsFiles | None = None


class MirrorPool:
    """The mirrors of a process, one per key, closed when the last user has gone."""

    def __init__(self) -> None:
        self._users: dict[MirrorKey, tuple[Mirror, int]] = {}

    def acquire(self, key: MirrorKey, factory: Callable[[], Mirror]) -> Mirror:
        """Give the mirror of `key`, made by `factory` for the first user. Each call needs its `release`."""
        mirror, users = self._users.get(key) or (factory(), 0)
        self._users[key] = (mirror, users + 1)
        return mirror

    async def release(self, key: MirrorKey) -> None:
        """Give it back; the last user's release closes it. An unknown key is nothing to do."""
        mirror, users = self._users.pop(key, (None, 0))
        if mirror is None:
            return
        if users > 1:
            self._users[key] = (mirror, users - 1)
        else:
            await mirror.close()

    async def close(self) -> None:
        """Close all of them, users or not: the process stops."""
        mirrors = [mirror for mirror, _ in self._users.values()]
        self._users.clear()
        await asyncio.gather(*(mirror.close() for mirror in mirrors))
