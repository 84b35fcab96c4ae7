"""The Arr itself: one lock around everything that changes, its commands, its schedule, and the queue's removals."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from looparr.sandbox.servarr.arrtype import ArrType
from looparr.sandbox.servarr.commands import Command, Commands
from looparr.sandbox.servarr.failures import Failures
from looparr.sandbox.servarr.imports import Importer
from looparr.sandbox.servarr.monitor import Monitor, Row
from looparr.sandbox.servarr.qbittorrent import QBittorrentClient
from looparr.sandbox.servarr.search import Grabber
from looparr.sandbox.servarr.state import Book, Config, Tracked

_REFRESH = "RefreshMonitoredDownloads"
_PROCESS = "ProcessMonitoredDownloads"
_LONGEST_DEBOUNCE = 5.0


class RowNotFound(Exception):
    """No such row in the queue any more."""


class ThrownMidway(Exception):
    """A switched-on fault struck in the middle of a removal."""


@dataclass(frozen=True, slots=True)
class Removal:
    """The switches of a queue delete, as on the wire; the defaults are the Arr's."""

    remove_from_client: bool = True
    blocklist: bool = False
    skip_redownload: bool = False
    change_category: bool = False
    throws_midway: bool = False


class Arr:
    """Everything but HTTP."""

    def __init__(self, arr_type: ArrType, book: Book, client: QBittorrentClient, refresh_seconds: float) -> None:
        self.type = arr_type
        self.book = book
        self.client = client
        self.refresh_seconds = refresh_seconds
        self.lock = asyncio.Lock()
        self.monitor = Monitor(book, client)
        self.importer = Importer(book, client)
        self.grabber = Grabber(book, client, self.monitor)
        self.failures = Failures(book, self._redownload)
        self.commands = Commands(
            book.now,
            {
                _REFRESH: self._refresh,
                _PROCESS: self._process,
                arr_type.search_command: self._search,
                arr_type.scan_command: self._scan,
            },
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._nudge: asyncio.TimerHandle | None = None
        self.started: datetime = book.now()

    @property
    def config(self) -> Config:
        """The Arr's settings."""
        return self.book.config

    def start(self) -> None:
        """Start the command worker and the schedule; the first refresh comes at once."""
        self._tasks = [
            asyncio.create_task(self.commands.run(), name="servarr-commands"),
            asyncio.create_task(self._schedule(), name="servarr-schedule"),
        ]

    async def close(self) -> None:
        """Stop both and close the client's connections."""
        if self._nudge is not None:
            self._nudge.cancel()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.client.close()

    async def _schedule(self) -> None:
        while True:
            self.commands.push(_REFRESH, trigger="scheduled", priority="high")
            await asyncio.sleep(self.refresh_seconds)

    def refresh_soon(self) -> None:
        """Refresh once things have settled, as after a grab or an import."""
        if self._nudge is not None:
            self._nudge.cancel()
        delay = min(_LONGEST_DEBOUNCE, self.refresh_seconds)
        self._nudge = asyncio.get_running_loop().call_later(delay, self._push_refresh)

    def _push_refresh(self) -> None:
        self.commands.push(_REFRESH, priority="high")

    async def refresh_now(self) -> None:
        """Refresh and import what is ready; returns when both are done."""
        await self.commands.push(_REFRESH, trigger="manual").done.wait()
        await self.commands.push(_PROCESS, priority="high").done.wait()

    def _redownload(self, movie_ids: Sequence[int]) -> None:
        self.commands.push(self.type.search_command, {self.type.item_ids: list(movie_ids)})

    # commands

    async def _refresh(self, _: Command) -> None:
        async with self.lock:
            await self.monitor.refresh()
            if self.book.pending and not self.monitor.client_is_out:
                await self.grabber.retry_pending()
                self.refresh_soon()
        self.commands.push(_PROCESS, priority="high")

    async def _process(self, _: Command) -> None:
        async with self.lock:
            for tracked in list(self.book.tracked.values()):
                ready = tracked.trackable and tracked.state == "importPending"
                if ready and self.config.enable_completed_download_handling:
                    await self.importer.import_download(tracked)
            for tracked in list(self.book.tracked.values()):
                await self.importer.remove_if_seeded(tracked)
            self.monitor.publish()

    async def _search(self, command: Command) -> None:
        movie_ids = [int(m) for m in command.body.get(self.type.item_ids) or []]
        grabbed = 0
        for movie_id in movie_ids:
            await asyncio.sleep(self.config.search_seconds)
            async with self.lock:
                if await self.grabber.search(movie_id, user_invoked=command.trigger == "manual"):
                    grabbed += 1
                    self.refresh_soon()
        command.message = f"Completed search for {len(movie_ids)} movies. {grabbed} reports downloaded."

    async def _scan(self, command: Command) -> None:
        path = command.body.get("path")
        if not path:
            raise ValueError("A path must be provided (Parameter 'path')")
        mode = _import_mode(command.body.get("importMode"))
        async with self.lock:
            tracked = self.book.tracked.get(command.body.get("downloadClientId") or "")
            if tracked is not None:
                results = await self.importer.process_path(
                    Path(path), mode, movie_ids=tracked.movie_ids, item=tracked.item
                )
                await self.importer.verify(tracked, results)
            else:
                results = await self.importer.process_path(Path(path), mode)
            self.monitor.publish()
        if any(r.imported for r in results):
            self.refresh_soon()
        else:
            command.message, command.result = "Failed to import", "unsuccessful"

    # the queue

    def find_row(self, row_id: int) -> Row:
        """Find a row of the last refresh. Raises RowNotFound."""
        for row in self.monitor.rows():
            if row.id != row_id:
                continue
            if row.pending is not None or (row.tracked and row.tracked.item.download_id in self.book.tracked):
                return row
        raise RowNotFound

    async def remove(self, row_ids: Sequence[int], removal: Removal, *, fail_after: int | None = None) -> None:
        """Remove downloads by their rows: all ids are resolved first, then one download after the other.

        Not atomic, as in the Arr: what was done before a failure stays done, and those rows stay until the next
        refresh. fail_after: a switched-on fault strikes after so many downloads. Raises RowNotFound, ThrownMidway,
        ClientUnavailable.
        """
        rows = [self.find_row(row_id) for row_id in row_ids]
        for row in rows:
            if row.pending is not None:
                self._remove_pending(row, blocklist=removal.blocklist)
        downloads = {r.tracked.item.download_id: r.tracked for r in rows if r.tracked is not None}
        for number, tracked in enumerate(downloads.values()):
            if number == fail_after:
                raise ThrownMidway("The download client failed")
            await self._remove_download(tracked, removal)
        self.monitor.stop_tracking(list(downloads))

    async def _remove_download(self, tracked: Tracked, removal: Removal) -> None:
        if removal.remove_from_client:
            await self.client.delete(tracked.item.download_id)
        elif removal.change_category:
            await self.importer.mark_as_imported(tracked.item)
        if removal.throws_midway:
            raise ThrownMidway("database is locked")
        if removal.blocklist:
            self.failures.mark_download_failed(tracked, skip_redownload=removal.skip_redownload)
        if not (removal.remove_from_client or removal.blocklist or removal.change_category):
            self.failures.ignore(tracked)

    def _remove_pending(self, row: Row, *, blocklist: bool) -> None:
        assert row.pending is not None
        release = row.pending.release
        if blocklist:
            self.failures.block(
                row.pending.movie_id,
                title=release.title,
                indexer=release.indexer,
                infohash=release.infohash,
                message="Pending release manually blocklisted",
            )
        self.grabber.drop_pending([row.pending.movie_id])


def _import_mode(value: Any) -> str:
    """Read an importMode: its name in any case, or its number. Raises ValueError."""
    modes = ("auto", "move", "copy")
    if value is None:
        return modes[0]
    if isinstance(value, int):
        return modes[value]
    if str(value).lower() in modes:
        return str(value).lower()
    raise ValueError(f"importMode {value!r} is unknown")
