"""Monitored downloads: what the Arr tracks, and how that turns into the queue.

Radarr's way, step by step: every torrent of the category becomes a tracked download; its movie comes from its name,
else from the grab; a row stays as long as the torrent is there and nothing final has happened to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from looparr.sandbox.servarr.decisions import is_in_queue, item_of
from looparr.sandbox.servarr.qbittorrent import ClientUnavailable, QBittorrentClient
from looparr.sandbox.servarr.state import Book, Item, Pending, Tracked

CLIENT_ID = 1


def stable_id(text: str) -> int:
    """Make the number Radarr makes of a row: the same download always has the same id, also after it came back."""
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the queue. tracked is None for a pending release, movie_id for a torrent nobody knows."""

    id: int
    movie_id: int | None
    tracked: Tracked | None
    pending: Pending | None
    seen: datetime


class Monitor:
    """Reads the client, keeps `book.tracked`, and publishes the queue as of the last refresh."""

    def __init__(self, book: Book, client: QBittorrentClient) -> None:
        self._book = book
        self._client = client
        self._visible: list[Tracked] = []
        self._categories_made = False
        self.client_is_out = False

    async def refresh(self) -> None:
        """Look at the client once. With the client out there is nothing to see, so all rows vanish."""
        try:
            items = await self._items()
            self.client_is_out = False
        except ClientUnavailable:
            items = []
            self.client_is_out = True
        seen = [self._track(item) for item in items]
        seen_ids = {t.item.download_id for t in seen if self._is_in_queue(t)}
        for download_id, tracked in self._book.tracked.items():
            tracked.trackable = download_id in seen_ids
        self.publish()

    async def _items(self) -> list[Item]:
        config = self._book.config
        if not self._categories_made:
            for category in {config.category, config.imported_category} - {""}:
                await self._client.create_category(category)
            self._categories_made = True
        preferences = await self._client.preferences()
        return [item_of(t, preferences) for t in await self._client.torrents(config.category)]

    def categories_changed(self) -> None:
        """Make the categories anew at the next refresh."""
        self._categories_made = False

    def publish(self) -> None:
        """Make the queue of what is tracked now, those that end first in front."""
        rows = [t for t in self._book.tracked.values() if t.trackable and self._is_in_queue(t)]
        self._visible = sorted(rows, key=lambda t: (t.item.time_left is None, t.item.time_left or 0))

    def _is_in_queue(self, tracked: Tracked) -> bool:
        handling = self._book.config.enable_completed_download_handling
        return is_in_queue(tracked, completed_handling=handling)

    def _track(self, item: Item) -> Tracked:
        existing = self._book.tracked.get(item.download_id)
        if existing is not None and existing.state != "downloading":
            existing.item = item
            tracked = existing
        else:
            tracked = self._new(item)
            self._book.tracked[item.download_id] = tracked
        tracked.trackable = True
        if tracked.state in {"downloading", "importBlocked"} and item.status == "completed":
            self._check_completed(tracked)
        return tracked

    def _new(self, item: Item) -> Tracked:
        book = self._book
        grabs = book.grabs(item.download_id)
        named = book.movie_by_name(item.title)
        grabbed = tuple(g.movie_id for g in grabs if g.movie_id in book.movies)
        movie_ids = grabbed if len(grabbed) > 1 or named is None else (named.id,)
        return Tracked(
            item=item,
            movie_ids=movie_ids,
            state=book.download_states.get(item.download_id, "downloading"),
            indexer=grabs[0].data["indexer"] if grabs else None,
            added=grabs[0].date if grabs else None,
        )

    def _check_completed(self, tracked: Tracked) -> None:
        if not tracked.movie_ids:
            tracked.warn("Movie title mismatch, automatic import is not possible. Manual Import required.")
            tracked.state = "importBlocked"
        elif tracked.state == "downloading" or not tracked.warnings:
            tracked.state = "importPending"

    def stop_tracking(self, download_ids: list[str]) -> None:
        """Forget downloads; their rows go at once and come back at the next refresh if the torrents are still there."""
        for download_id in download_ids:
            self._book.tracked.pop(download_id, None)
        self.publish()

    def rows(self) -> list[Row]:
        """List the queue as of the last refresh, unknown torrents and pending releases included."""
        now = self._book.now()
        rows = [row for tracked in self._visible for row in self._rows_of(tracked, now)]
        seen: set[int] = set()
        for pending in self._book.pending.values():
            if pending.movie_id not in seen:
                seen.add(pending.movie_id)
                row_id = stable_id(f"pending-{pending.id}-movie{pending.movie_id}")
                rows.append(Row(row_id, pending.movie_id, None, pending, now))
        return rows

    def _rows_of(self, tracked: Tracked, now: datetime) -> list[Row]:
        name = f"trackedDownload-{CLIENT_ID}-{tracked.item.download_id}"
        if len(tracked.movie_ids) <= 1:
            movie_id = tracked.movie_ids[0] if tracked.movie_ids else None
            return [Row(stable_id(name), movie_id, tracked, None, now)]
        return [Row(stable_id(f"{name}-movie{m}"), m, tracked, None, now) for m in tracked.movie_ids]
