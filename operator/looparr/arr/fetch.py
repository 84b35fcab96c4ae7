"""Phase 1: what do client and Arr say now? All reads of a turn, none of its judgements.

Idle, at any size: one maindata delta for each client and one queue/status. The whole queue and the new history are
read when a delta or the counters changed, before anything is done, and at least every five minutes.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from looparr.arr.history import History
from looparr.arr.links import Links
from looparr.arr.owners import QBITTORRENT, Owners, pair
from looparr.arr.spec import ArrSpec
from looparr.arr.views import ClientReader, Down, View
from looparr.clients.qbittorrent.client import Versions
from looparr.clients.servarr import Servarr
from looparr.clients.servarr_wire import QueueRow, QueueStatus
from looparr.errors import Permanent

LOG = logging.getLogger(__name__)
QUEUE_EVERY = 300.0
SETTINGS_EVERY = 3600.0
HISTORY_MARGIN = timedelta(days=1)
HISTORY_OVERLAP = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that a turn judges. touched: downloadIds about which queue or history said something new.

    owners: which of our clients each of the Arr's is. down: the clients that there is no view of, and why.
    """

    views: Mapping[str, View]
    history: History
    queue: Mapping[str, tuple[QueueRow, ...]]
    touched: frozenset[str]
    roots: tuple[str, ...]
    auto_redownload: tuple[bool, bool]
    arr_version: str
    versions: Mapping[str, Versions]
    skew: float | None
    owners: Owners = field(default_factory=Owners)
    down: Mapping[str, Down] = field(default_factory=dict)

    @property
    def clients(self) -> frozenset[str]:
        """Names of all clients of the spec, seen or down."""
        return frozenset({*self.views, *self.down})

    def holders(self, names: Collection[str]) -> tuple[str, ...]:
        """Give the clients that have a torrent of one of these hashes, or had it when they were last seen."""
        shown: dict[str, Container[str]] = {name: view.snapshot.torrents for name, view in self.views.items()}
        shown |= {name: one.shown for name, one in self.down.items()}
        return tuple(one for one, hashes in shown.items() if any(name in hashes for name in names))


@dataclass(slots=True)
class Fetcher:
    """Reads for one instance, and keeps what need not be read in every turn."""

    links: Links
    spec: ArrSpec
    history: History = field(default_factory=History)
    queue: dict[str, tuple[QueueRow, ...]] = field(default_factory=dict)
    _queue_status: QueueStatus | None = None
    _queue_at: float | None = None
    _settings_at: float | None = None
    _arr_version: str = ""
    _owners: Owners = field(default_factory=Owners)
    _categories: frozenset[str] = frozenset()
    _roots: tuple[str, ...] = ()
    _auto: tuple[bool, bool] = (True, True)
    _touched: frozenset[str] = frozenset()
    _history_since: datetime | None = None
    _clients: ClientReader = field(init=False)

    def __post_init__(self) -> None:
        self._clients = ClientReader(self.links, self.spec)

    @property
    def arr(self) -> Servarr:
        """The Arr; open() came first."""
        assert self.links.arr is not None
        return self.links.arr

    def forget_settings(self) -> None:
        """Read versions, categories and folders anew in the next turn."""
        self._settings_at = None

    async def prove(self) -> None:
        """Make sure that the right program answers, and to our key; asked again whenever the settings are due.

        Raises Permanent (WrongArrType) and what the call raises. The links are open.
        """
        if not self._settings_due():
            return
        status = await self.arr.status()
        if (status.app_name or "").casefold() != self.spec.type.casefold():
            raise Permanent(
                "WrongArrType",
                f"spec.type is {self.spec.type}, but {status.app_name or 'something else'} answers at spec.url: "
                "correct spec.url, or make a new object of the right type",
            )
        self._arr_version = status.version or ""

    def _settings_due(self) -> bool:
        now = self.links.around.clock.monotonic()
        return self._settings_at is None or now - self._settings_at > SETTINGS_EVERY

    async def fetch(self, *, eager: bool, remembered: Collection[tuple[str, str]] = ()) -> Observation:
        """Read what has to be read. eager: something is under way or waits, so the queue is read in any case.

        remembered: (client, hash) of the torrents that are known to be there. The links are open, and the Arr has
        proved to be the right one. Raises LoopError: the Arr cannot be read, or none of the clients can.
        """
        now = self.links.around.clock.monotonic()
        if self._settings_due():
            await self._read_settings()
            self._settings_at = now
        views, down = await self._clients.read(self._categories, remembered)
        status = await self.arr.queue_status()
        moved = any(view.changed or view.removed for view in views.values())
        stale = self._queue_at is None or now - self._queue_at > QUEUE_EVERY
        if eager or moved or stale or status != self._queue_status:
            await self.read_queue()
            await self._read_history(views.values())
            self._queue_status = status
        skews = [view.snapshot.skew_seconds for view in views.values()] + [self.arr.skew_seconds]
        return Observation(
            views=views,
            history=self.history,
            queue=self.queue,
            touched=self._touched,
            roots=self._roots,
            auto_redownload=self._auto,
            arr_version=self._arr_version,
            versions=dict(self._clients.versions),
            skew=max((one for one in skews if one is not None), key=abs, default=None),
            owners=self._owners,
            down=down,
        )

    def judged(self, observation: Observation) -> None:
        """Everything of this observation was looked at; a turn that failed before gets the same changes again.

        What was touched meanwhile in a client that is down, nobody saw: once it is back, all of it is looked at.
        """
        self._touched = frozenset()
        for name, link in self.links.clients.items():
            view = observation.views.get(name)
            link.cursor = view.cursor if view is not None else None

    async def read_queue(self) -> None:
        """Read the whole queue; what came, changed or went is touched."""
        rows: dict[str, list[QueueRow]] = defaultdict(list)
        for row in await self.arr.queue():
            if row.hash:
                rows[row.hash].append(row)
        fresh = {name: tuple(found) for name, found in rows.items()}
        before, self.queue = self.queue, fresh
        self._queue_at = self.links.around.clock.monotonic()
        named = before.keys() | fresh.keys()
        self._touched |= {name for name in named if _shape(before.get(name)) != _shape(fresh.get(name))}

    async def _read_history(self, views: Collection[View]) -> None:
        """Read the history that may say something new; what it names is touched. One that is another is read whole."""
        since = history_span(self.history.newest, self._history_since, views, self.links.around.clock.wall())
        whole = min(since, self._history_since or since)
        events = await self.arr.history_since(since)
        if not self.history.is_continued_by(events):
            LOG.warning("the Arr's history lost its newest event, all of it is read anew, known=%s", self.history.last)
            events = await self.arr.history_since(whole)
            self._touched |= self.history.downloads.keys()
            self.history = History()
        self._touched |= self.history.merge(events)
        self._history_since = whole

    async def _read_settings(self) -> None:
        clients = await self.arr.download_clients()
        self._owners = pair(clients, self.spec.download_clients)
        mine = [one for one in clients if one.implementation.casefold() == QBITTORRENT]
        self._categories = frozenset(name for one in mine for name in (one.category, one.imported_category) if name)
        self._roots = tuple(await self.arr.root_folders())
        config = await self.arr.download_client_config()
        self._auto = (config.auto_redownload_failed, config.auto_redownload_failed_from_interactive_search)
        self._clients.versions.clear()


def history_span(newest: datetime | None, known: datetime | None, views: Iterable[View], now: datetime) -> datetime:
    """Say since when the history has to be read: the last look, or before the oldest torrent that has come into sight.

    newest: the newest event there is. known: since when the history was read already. A client that was down may show
    older torrents than all others, and without their grabs they would be nobody's.
    """
    added = (view.snapshot.torrents[one].added_on for view in views for one in view.changed)
    oldest = min((one for one in added if one > 0), default=now.timestamp())
    wanted = datetime.fromtimestamp(oldest, UTC) - HISTORY_MARGIN
    if newest is None or known is None or wanted < known:
        return min(wanted, known or wanted)
    return newest - HISTORY_OVERLAP


def _shape(rows: tuple[QueueRow, ...] | None) -> tuple[tuple[int, str, str, str], ...]:
    """What of a download's rows makes it worth another look; sizes that move do not."""
    return tuple((row.id, row.status, row.tracked_download_state, row.error_message) for row in rows or ())
