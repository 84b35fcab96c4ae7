"""Failed and ignored downloads: history, blocklist, and the Arr's own new search."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from looparr.sandbox.servarr.state import BlocklistEntry, Book, HistoryEvent, Tracked
from looparr.sandbox.servarr.titles import parse_title, quality_of

CLIENT_TYPE = "qBittorrent"
_MANUALLY = "Manually marked as failed"


class Failures:
    """redownload(movie_ids) queues the Arr's own search."""

    def __init__(self, book: Book, redownload: Callable[[Sequence[int]], None]) -> None:
        self._book = book
        self._redownload = redownload

    def mark_download_failed(self, tracked: Tracked, *, skip_redownload: bool) -> None:
        """Fail a tracked download. Without a grab in the history NOTHING is written: no failure, no blocklist."""
        grabs = self._book.grabs(tracked.item.download_id)
        if grabs:
            self._fail(grabs, tracked, skip_redownload=skip_redownload)

    def mark_history_failed(self, event: HistoryEvent) -> None:
        """Fail by a line of the history; knows no skipRedownload, and the download stays tracked if it is there."""
        self._fail([event], None, skip_redownload=False)

    def _fail(self, grabs: Sequence[HistoryEvent], tracked: Tracked | None, *, skip_redownload: bool) -> None:
        for grab in grabs:
            data = {
                "downloadClient": grab.data.get("downloadClient"),
                "downloadClientName": CLIENT_TYPE if tracked else None,
                "message": _MANUALLY,
                "releaseGroup": grab.data.get("releaseGroup"),
                "size": str(tracked.item.size) if tracked else grab.data.get("size"),
                "indexer": grab.data.get("indexer"),
            }
            self._book.record(
                "downloadFailed",
                grab.movie_id,
                title=grab.title,
                quality=grab.quality,
                download_id=grab.download_id,
                data=data,
            )
            self._block(grab, tracked.item.download_id if tracked else grab.data.get("torrentInfoHash"))
        if tracked is not None:
            self._book.download_states[tracked.item.download_id] = "failed"
        if not skip_redownload and self._wants_redownload(grabs[0]):
            self._redownload([g.movie_id for g in grabs])

    def _wants_redownload(self, grab: HistoryEvent) -> bool:
        config = self._book.config
        if not config.auto_redownload_failed:
            return False
        interactive = grab.data.get("releaseSource") == "InteractiveSearch"
        return not interactive or config.auto_redownload_failed_from_interactive_search

    def _block(self, grab: HistoryEvent, infohash: str | None) -> None:
        self.block(
            grab.movie_id,
            title=grab.title,
            indexer=grab.data.get("indexer"),
            infohash=infohash,
            message=_MANUALLY,
        )

    def block(
        self, movie_id: int, *, title: str, indexer: str | None, infohash: str | None, message: str
    ) -> BlocklistEntry:
        """Write one blocklist entry."""
        book = self._book
        entry = BlocklistEntry(
            book.next_id("blocklist"), movie_id, title, quality_of(title), book.now(), indexer, message, infohash
        )
        book.blocklist[entry.id] = entry
        return entry

    def ignore(self, tracked: Tracked) -> bool:
        """Ignore a download for ever; False (and nothing done) for one whose movie nobody knows."""
        parsed = parse_title(tracked.item.title)
        for movie_id in tracked.movie_ids:
            data = {
                "downloadClient": CLIENT_TYPE,
                "downloadClientName": CLIENT_TYPE,
                "message": "Manually ignored",
                "releaseGroup": parsed.group if parsed else None,
                "size": str(tracked.item.size),
                "indexer": tracked.indexer,
            }
            self._book.record(
                "downloadIgnored",
                movie_id,
                title=tracked.item.title,
                quality=quality_of(tracked.item.title),
                download_id=tracked.item.download_id,
                data=data,
            )
        if tracked.movie_ids:
            self._book.download_states[tracked.item.download_id] = "ignored"
        return bool(tracked.movie_ids)
