"""The stand-in's resources as Radarr's API shows them. Fields that are None are left out on the wire."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from looparr.sandbox.servarr import wire
from looparr.sandbox.servarr.arr import Arr
from looparr.sandbox.servarr.commands import Command
from looparr.sandbox.servarr.failures import CLIENT_TYPE
from looparr.sandbox.servarr.monitor import CLIENT_ID, Row
from looparr.sandbox.servarr.state import BlocklistEntry, HistoryEvent, Movie, MovieFile, Pending, Tracked
from looparr.sandbox.servarr.titles import Quality, clean_title, quality_of

Resource = dict[str, Any]
_LANGUAGES = ({"id": 1, "name": "English"},)
_MASK = "********"


def quality(value: Quality) -> Resource:
    """Show a QualityModel."""
    found = {"id": value.id, "name": value.name, "source": value.source, "resolution": value.resolution}
    return {"quality": {**found, "modifier": "none"}, "revision": {"version": 1, "real": 0, "isRepack": False}}


def _judged(value: Quality) -> Resource:
    return {"languages": list(_LANGUAGES), "quality": quality(value), "customFormats": []}


def _warnings(tracked: Tracked) -> list[Resource]:
    return [{"title": title, "messages": messages} for title, messages in tracked.warnings]


class Resources:
    """Builds resources; item_id and the like follow the Arr's type."""

    def __init__(self, arr: Arr, url_base: str) -> None:
        self._arr = arr
        self._type = arr.type
        self._url_base = url_base

    def row(self, row: Row, *, with_item: bool) -> Resource:
        """Show one row of the queue."""
        movie = self._arr.book.movies.get(row.movie_id or 0)
        found: Resource = {"id": row.id, self._type.item_id: row.movie_id}
        if with_item and movie is not None:
            found[self._type.item] = self.embedded(movie)
        if row.tracked is not None:
            found["downloadClientHasPostImportCategory"] = bool(self._arr.config.imported_category)
            return found | self._tracked(row.tracked, row.seen, known=row.movie_id is not None)
        assert row.pending is not None
        return found | self._pending(row.pending)

    @staticmethod
    def _tracked(tracked: Tracked, seen: datetime, *, known: bool) -> Resource:
        item = tracked.item
        left = item.time_left
        return _judged(quality_of(item.title)) | {
            "customFormats": [] if known else None,
            "customFormatScore": 0,
            "size": item.size,
            "title": item.title,
            "estimatedCompletionTime": None if left is None else wire.date(seen + left),
            "added": wire.date(tracked.added),
            "status": item.status,
            "trackedDownloadStatus": "warning" if tracked.warnings else "ok",
            "trackedDownloadState": tracked.state,
            "statusMessages": _warnings(tracked),
            "errorMessage": item.message,
            "downloadId": item.download_id,
            "protocol": "torrent",
            "downloadClient": CLIENT_TYPE,
            "indexer": tracked.indexer,
            "outputPath": item.output_path or None,
            "sizeleft": item.remaining,
            "timeleft": wire.span(left),
        }

    @staticmethod
    def _pending(pending: Pending) -> Resource:
        release = pending.release
        return _judged(release.quality) | {
            "customFormatScore": 0,
            "size": release.size,
            "title": release.title,
            "estimatedCompletionTime": wire.date(pending.added),
            "added": wire.date(pending.added),
            "status": "downloadClientUnavailable",
            "protocol": "torrent",
            "downloadClientHasPostImportCategory": False,
            "indexer": release.indexer,
            "sizeleft": release.size,
            "timeleft": "00:00:00",
        }

    def event(self, event: HistoryEvent, *, with_item: bool) -> Resource:
        """Show one line of the history."""
        movie = self._arr.book.movies.get(event.movie_id)
        found = {"id": event.id, self._type.item_id: event.movie_id, "sourceTitle": event.title}
        found |= _judged(event.quality)
        found |= {"customFormatScore": 0, "qualityCutoffNotMet": False, "date": wire.date(event.date)}
        found |= {"downloadId": event.download_id, "eventType": event.event_type, "data": event.data}
        if with_item and movie is not None:
            found[self._type.item] = self.embedded(movie)
        return found

    def blocked(self, entry: BlocklistEntry) -> Resource:
        """Show one blocklist entry."""
        movie = self._arr.book.movies.get(entry.movie_id)
        found = {"id": entry.id, self._type.item_id: entry.movie_id, "sourceTitle": entry.title}
        found |= _judged(entry.quality)
        found |= {"date": wire.date(entry.date), "protocol": "torrent", "indexer": entry.indexer}
        found |= {"message": entry.message, self._type.item: self.embedded(movie) if movie else None}
        return found

    def embedded(self, movie: Movie) -> Resource:
        """Show a movie inside another resource: there it has no hasFile, only movieFileId."""
        released = wire.date(movie.added.replace(year=movie.year, month=1, day=1))
        titles = [
            {"sourceType": "tmdb", "movieMetadataId": movie.id, "title": t, "cleanTitle": clean_title(t)}
            for t in movie.alternate_titles
        ]
        return {
            "id": movie.id,
            "title": movie.title,
            "originalTitle": movie.title,
            "originalLanguage": _LANGUAGES[0],
            "alternateTitles": titles,
            "secondaryYearSourceId": 0,
            "sortTitle": movie.title.casefold(),
            "status": "released" if movie.available else "announced",
            "digitalRelease": released if movie.available else None,
            "images": [],
            "year": movie.year,
            "path": str(movie.path),
            "qualityProfileId": 1,
            "movieFileId": movie.file.id if movie.file else 0,
            "monitored": movie.monitored,
            "minimumAvailability": "released",
            "isAvailable": movie.available,
            "folderName": str(movie.path),
            "runtime": 90,
            "cleanTitle": clean_title(movie.title),
            "tmdbId": movie.tmdb_id,
            "titleSlug": str(movie.tmdb_id),
            "rootFolderPath": str(self._arr.book.root),
            "genres": [],
            "keywords": [],
            "tags": [],
            "added": wire.date(movie.added),
            "ratings": {},
            "popularity": 0.0,
            "lastSearchTime": wire.date(movie.last_search_time),
        }

    def movie(self, movie: Movie) -> Resource:
        """Show a movie as movie/{id} does."""
        file = movie.file
        size = file.size if file else 0
        groups: list[str] = []
        return self.embedded(movie) | {
            "hasFile": file is not None,
            "sizeOnDisk": size,
            "movieFile": self._file(movie, file) if file else None,
            "statistics": {"movieFileCount": int(file is not None), "sizeOnDisk": size, "releaseGroups": groups},
        }

    @staticmethod
    def _file(movie: Movie, file: MovieFile) -> Resource:
        found: Resource = {"id": file.id, "movieId": movie.id, "relativePath": file.path.name, "path": str(file.path)}
        found |= {"size": file.size, "dateAdded": wire.date(file.added), "sceneName": file.scene_name}
        found |= _judged(file.quality)
        return found | {"customFormatScore": 0, "indexerFlags": 0, "qualityCutoffNotMet": False}

    def command(self, command: Command) -> Resource:
        """Show a command; `body` is the concrete command with its own fields."""
        duration = command.ended - command.started if command.ended and command.started else None
        shared = {"sendUpdatesToClient": command.trigger == "manual", "updateScheduledTask": True}
        body = shared | {
            "requiresDiskAccess": command.name == self._type.scan_command,
            "isExclusive": False,
            "isTypeExclusive": False,
            "isLongRunning": command.name == self._type.scan_command,
            "name": command.name,
            "trigger": command.trigger,
            "suppressMessages": False,
            "clientUserAgent": command.user_agent,
        }
        spaced = "".join(f" {c}" if c.isupper() and i else c for i, c in enumerate(command.name))
        return shared | {
            "id": command.id,
            "name": command.name,
            "commandName": spaced,
            "message": command.message,
            "body": command.body | body,
            "priority": command.priority,
            "status": command.status,
            "result": command.result,
            "queued": wire.date(command.queued),
            "started": wire.date(command.started),
            "ended": wire.date(command.ended),
            "duration": wire.span(duration),
            "exception": command.exception,
            "trigger": command.trigger,
            "clientUserAgent": command.user_agent,
            "stateChangeTime": wire.date(command.started or command.ended),
        }

    def status(self) -> Resource:
        """Show system/status."""
        arr = self._arr
        return {
            "appName": self._type.name,
            "instanceName": self._type.name,
            "version": self._type.version,
            "buildTime": "2025-11-01T00:00:00Z",
            "isDebug": False,
            "isProduction": True,
            "isAdmin": False,
            "isUserInteractive": False,
            "startupPath": "/app",
            "appData": "/config",
            "osName": os.uname().sysname.lower(),
            "osVersion": os.uname().release,
            "isNetCore": True,
            "isLinux": True,
            "isOsx": False,
            "isWindows": False,
            "isDocker": False,
            "mode": "console",
            "branch": "master",
            "databaseType": "sqLite",
            "databaseVersion": "3.46.1",
            "authentication": "forms",
            "migrationVersion": 242,
            "urlBase": self._url_base,
            "runtimeVersion": "8.0.12",
            "runtimeName": "netcore",
            "startTime": wire.date(arr.started),
            "packageUpdateMechanism": "builtIn",
        }

    def download_client(self) -> Resource:
        """Show the one download client; its password is masked, as always."""
        arr, url = self._arr, urlsplit(self._arr.client.url)
        values: Mapping[str, Any] = {
            "host": url.hostname,
            "port": url.port or (443 if url.scheme == "https" else 80),
            "useSsl": url.scheme == "https",
            "urlBase": url.path.strip("/"),
            "username": arr.client.username,
            "password": _MASK,
            self._type.category_field: arr.config.category,
            self._type.imported_category_field: arr.config.imported_category,
            "initialState": 0,
        }
        fields = [self._field(order, name, value) for order, (name, value) in enumerate(values.items())]
        return {
            "id": CLIENT_ID,
            "name": CLIENT_TYPE,
            "fields": fields,
            "implementationName": "qBittorrent",
            "implementation": "QBittorrent",
            "configContract": "QBittorrentSettings",
            "infoLink": "https://wiki.servarr.com/radarr/supported#qbittorrent",
            "tags": [],
            "enable": True,
            "protocol": "torrent",
            "priority": 1,
            "removeCompletedDownloads": arr.config.remove_completed_downloads,
            "removeFailedDownloads": True,
        }

    @staticmethod
    def _field(order: int, name: str, value: Any) -> Resource:
        kinds = {bool: "checkbox", int: "textbox"}
        privacy = {"username": "userName", "password": "password"}.get(name, "normal")
        kind = "password" if name == "password" else kinds.get(type(value), "textbox")
        found = {"order": order, "name": name, "label": name, "type": kind, "advanced": False}
        return found | {"value": value, "privacy": privacy, "isFloat": False}

    def client_config(self) -> Resource:
        """Show config/downloadclient."""
        config = self._arr.config
        return {
            "id": 1,
            "downloadClientWorkingFolders": "_UNPACK_|_FAILED_",
            "enableCompletedDownloadHandling": config.enable_completed_download_handling,
            "checkForFinishedDownloadInterval": max(1, round(self._arr.refresh_seconds / 60)),
            "autoRedownloadFailed": config.auto_redownload_failed,
            "autoRedownloadFailedFromInteractiveSearch": config.auto_redownload_failed_from_interactive_search,
        }

    def root_folder(self) -> Resource:
        """Show the one root folder."""
        root = self._arr.book.root
        there = root.is_dir()
        free = shutil.disk_usage(root).free if there else None
        return {"id": 1, "path": str(root), "accessible": there, "freeSpace": free, "unmappedFolders": []}
