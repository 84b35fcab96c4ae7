"""Searches and grabs: what the Arr takes from what the world's indexers offer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from looparr.errors import SandboxError
from looparr.sandbox.servarr.failures import CLIENT_TYPE
from looparr.sandbox.servarr.metainfo import has_tracker
from looparr.sandbox.servarr.monitor import Monitor
from looparr.sandbox.servarr.qbittorrent import ClientUnavailable, GrabRefused, QBittorrentClient
from looparr.sandbox.servarr.state import Book, Pending, Release
from looparr.sandbox.servarr.titles import parse_title

SOURCES = ("Rss", "Search", "UserInvokedSearch", "InteractiveSearch", "ReleasePush")
"""Radarr's words for where a grab came from (history data.releaseSource)."""


class Grabber:
    """Grabs releases: into the client's category, and into the history."""

    def __init__(self, book: Book, client: QBittorrentClient, monitor: Monitor) -> None:
        self._book = book
        self._client = client
        self._monitor = monitor

    async def search(self, movie_id: int, *, user_invoked: bool) -> bool:
        """Search one movie and grab the best release, if any; tell whether it did. Sets lastSearchTime either way."""
        movie = self._book.movies.get(movie_id)
        if movie is None or not (user_invoked or (movie.monitored and movie.available)):
            return False
        movie.last_search_time = self._book.now()
        source = "UserInvokedSearch" if user_invoked else "Search"
        for release in self.candidates(movie_id):
            try:
                await self.grab(release, source)
            except GrabRefused:
                continue
            except ClientUnavailable:
                self._wait(release, movie_id, source)
                return False
            return True
        return False

    def candidates(self, movie_id: int) -> list[Release]:
        """List the releases an automatic search would accept, best first: not blocklisted, not had, not on the way."""
        book = self._book
        queued = [r.tracked for r in self._monitor.rows() if r.movie_id == movie_id and r.tracked]
        ranks = [quality for t in queued if (quality := _rank(t.item.title)) is not None]
        file = book.movies[movie_id].file
        if file is not None:
            ranks.append(file.quality.rank)
        floor = max(ranks, default=-1)
        wanted = [
            release
            for release in book.releases.values()
            if movie_id in release.movie_ids
            and not book.is_blocklisted(movie_id, release.infohash)
            and release.quality.rank > floor
            and not any(t.item.download_id == release.infohash for t in queued)
        ]
        return sorted(wanted, key=lambda r: -r.quality.rank)

    async def grab(self, release: Release, source: str) -> str:
        """Grab one release for all its movies; return the download id. Raises GrabRefused, ClientUnavailable."""
        if source not in SOURCES:
            raise SandboxError(f"No release source {source!r}: one of {', '.join(SOURCES)}.")
        config = self._book.config
        if isinstance(release.content, str) and not has_tracker(release.content):
            preferences = await self._client.preferences()
            if not preferences.get("dht"):
                raise GrabRefused("Magnet Links without trackers not supported if DHT is disabled")
        await self._client.add(release.content, category=config.category, name=f"release-{release.id}")
        await self._client.is_loaded(release.infohash)
        self.record_grab(release, source)
        return release.infohash

    def record_grab(self, release: Release, source: str) -> None:
        """Write the history of a grab, one line a movie."""
        book = self._book
        known = [m for m in release.movie_ids if m in book.movies]
        for movie_id in known:
            book.record(
                "grabbed",
                movie_id,
                title=release.title,
                quality=release.quality,
                download_id=release.infohash,
                data=_grab_data(release, source, book.movies[movie_id].tmdb_id, book.now()),
            )
        book.download_states[release.infohash] = "downloading"
        book.pending = {k: p for k, p in book.pending.items() if p.movie_id not in known}

    def _wait(self, release: Release, movie_id: int, source: str) -> None:
        book = self._book
        if not any(p.release.id == release.id and p.movie_id == movie_id for p in book.pending.values()):
            pending = Pending(book.next_id("pending"), release, movie_id, book.now(), source)
            book.pending[pending.id] = pending

    async def retry_pending(self) -> None:
        """Grab what waited for the client, once it is back."""
        for pending in list(self._book.pending.values()):
            try:
                await self.grab(pending.release, pending.source)
            except GrabRefused:
                self._book.pending.pop(pending.id, None)
            except ClientUnavailable:
                return

    def drop_pending(self, movie_ids: Sequence[int]) -> None:
        """Forget what waits for these movies."""
        self._book.pending = {k: p for k, p in self._book.pending.items() if p.movie_id not in movie_ids}


def _rank(title: str) -> int | None:
    parsed = parse_title(title)
    return parsed.quality.rank if parsed else None


def _grab_data(release: Release, source: str, tmdb_id: int, now: datetime) -> dict[str, str | None]:
    """Build what Radarr keeps of a grab; every value is text."""
    parsed = parse_title(release.title)
    age = now - release.published
    return {
        "indexer": release.indexer,
        "nzbInfoUrl": None,
        "releaseGroup": parsed.group if parsed else None,
        "age": str(age.days),
        "ageHours": str(age.total_seconds() / 3600),
        "ageMinutes": str(age.total_seconds() / 60),
        "publishedDate": release.published.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "downloadClient": CLIENT_TYPE,
        "downloadClientName": CLIENT_TYPE,
        "size": str(release.size),
        "downloadUrl": None,
        "guid": f"release-{release.id}",
        "tmdbId": str(tmdb_id),
        "imdbId": "0",
        "protocol": "2",
        "customFormatScore": "0",
        "movieMatchType": "Title",
        "releaseSource": source,
        "indexerFlags": "0",
        "indexerId": "1",
        "torrentInfoHash": release.infohash,
    }
