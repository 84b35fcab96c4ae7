"""What the Servarr programs say: types, no calls. Where they differ is servarr_dialect.py.

Field names are Radarr's own in snake_case. Null and absent are the same here: an empty text, an empty tuple or None.
Unknown fields are ignored and enumerations stay texts, because a newer version may add to both.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from looparr.clients.servarr_dialect import Dialect


class SystemStatus(msgspec.Struct, frozen=True, rename="camel"):
    """GET system/status: which program answers."""

    app_name: str | None = None
    version: str | None = None
    instance_name: str | None = None


class QueueStatus(msgspec.Struct, frozen=True, rename="camel"):
    """GET queue/status: cheap; two that are equal mean that the queue has most likely not changed."""

    total_count: int = 0
    count: int = 0
    unknown_count: int = 0
    errors: bool = False
    warnings: bool = False
    unknown_errors: bool = False
    unknown_warnings: bool = False


class StatusMessage(msgspec.Struct, frozen=True):
    """Why an import does not go on: title is the release or file, messages are for people."""

    title: str = ""
    messages: tuple[str, ...] = ()


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the queue. Several rows may belong to one download.

    id: valid until the download leaves the queue. item_ids: empty for an unknown item. download_id: as the Arr writes
    it (upper case for torrents), "" when the row has no download. added None: not grabbed by this Arr, only matched by
    title. size and sizeleft: bytes.
    """

    id: int
    item_ids: tuple[int, ...] = ()
    download_id: str = ""
    title: str = ""
    status: str = ""
    tracked_download_status: str = ""
    tracked_download_state: str = ""
    status_messages: tuple[StatusMessage, ...] = ()
    error_message: str = ""
    output_path: str = ""
    protocol: str = ""
    download_client: str = ""
    indexer: str = ""
    added: datetime | None = None
    size: int = 0
    sizeleft: int = 0

    @property
    def hash(self) -> str:
        """The download id as qBittorrent writes it, lower case; "" without a download."""
        return self.download_id.casefold()


class HistoryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the history. date: aware UTC. data: texts that depend on the event (releaseSource, indexer, ...)."""

    id: int
    item_ids: tuple[int, ...]
    event_type: str
    download_id: str
    date: datetime
    source_title: str
    data: Mapping[str, Any]

    @property
    def hash(self) -> str:
        """The download id as qBittorrent writes it, lower case; "" without a download."""
        return self.download_id.casefold()

    @property
    def movie_id(self) -> int | None:
        """The first item's id."""
        return self.item_ids[0] if self.item_ids else None


class Command(msgspec.Struct, frozen=True, rename="camel"):
    """A command of the Arr. status: queued, started, completed, failed, aborted, cancelled or orphaned."""

    id: int
    name: str = ""
    status: str = ""
    body: dict[str, Any] | None = None
    queued: datetime | None = None
    ended: datetime | None = None


class ItemFile(msgspec.Struct, frozen=True, rename="camel"):
    """The file of an item. quality_cutoff_not_met: a better one is still wanted."""

    id: int = 0
    quality_cutoff_not_met: bool | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One movie. Times are aware UTC. is_available: released by the Arr's own rule."""

    id: int
    title: str | None = None
    monitored: bool = False
    has_file: bool | None = None
    is_available: bool = False
    last_search_time: datetime | None = None
    in_cinemas: datetime | None = None
    digital_release: datetime | None = None
    physical_release: datetime | None = None
    path: str | None = None
    root_folder_path: str | None = None
    quality_profile_id: int = 0
    tags: tuple[int, ...] | None = None
    movie_file: ItemFile | None = None

    def __post_init__(self) -> None:
        for name in ("last_search_time", "in_cinemas", "digital_release", "physical_release"):
            msgspec.structs.force_setattr(self, name, aware(getattr(self, name)))

    @property
    def below_cutoff(self) -> bool:
        """Whether there is a file, and a better one is still wanted."""
        return bool(self.movie_file and self.movie_file.quality_cutoff_not_met)


class DownloadClient(msgspec.Struct, frozen=True, kw_only=True):
    """A download client as the Arr knows it. implementation: "QBittorrent", ...; categories "" when not set."""

    id: int
    name: str
    enable: bool
    implementation: str
    protocol: str
    host: str = ""
    port: int = 0
    category: str = ""
    imported_category: str = ""


class DownloadClientConfig(msgspec.Struct, frozen=True, rename="camel"):
    """What the Arr does by itself about finished and failed downloads."""

    enable_completed_download_handling: bool = False
    auto_redownload_failed: bool = False
    auto_redownload_failed_from_interactive_search: bool = False


class RawRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A queue or history record as it comes; `row` and `record` make the types above of it."""

    id: int
    movie_id: int | None = None
    download_id: str | None = None
    title: str | None = None
    status: str | None = None
    tracked_download_status: str | None = None
    tracked_download_state: str | None = None
    status_messages: list[dict[str, Any]] | None = None
    error_message: str | None = None
    output_path: str | None = None
    protocol: str | None = None
    download_client: str | None = None
    indexer: str | None = None
    added: datetime | None = None
    size: float | None = None
    sizeleft: float | None = None
    event_type: str | None = None
    date: datetime | None = None
    source_title: str | None = None
    data: dict[str, Any] | None = None

    def item_ids(self, dialect: Dialect) -> tuple[int, ...]:
        """Ids of the items that this record is about; 0 and null mean none."""
        return tuple(one for name in dialect.item_fields if (one := getattr(self, name)))

    def row(self, dialect: Dialect) -> QueueRow:
        """Read as a row of the queue."""
        return QueueRow(
            id=self.id,
            item_ids=self.item_ids(dialect),
            download_id=self.download_id or "",
            title=self.title or "",
            status=self.status or "",
            tracked_download_status=self.tracked_download_status or "",
            tracked_download_state=self.tracked_download_state or "",
            status_messages=tuple(
                StatusMessage(str(one.get("title") or ""), tuple(str(text) for text in one.get("messages") or ()))
                for one in self.status_messages or ()
            ),
            error_message=self.error_message or "",
            output_path=self.output_path or "",
            protocol=self.protocol or "",
            download_client=self.download_client or "",
            indexer=self.indexer or "",
            added=aware(self.added),
            size=int(self.size or 0),
            sizeleft=int(self.sizeleft or 0),
        )

    def record(self, dialect: Dialect) -> HistoryRecord:
        """Read as an event of the history; one without a date is older than everything."""
        return HistoryRecord(
            id=self.id,
            item_ids=self.item_ids(dialect),
            event_type=self.event_type or "",
            download_id=self.download_id or "",
            date=aware(self.date) or datetime.min.replace(tzinfo=UTC),
            source_title=self.source_title or "",
            data=self.data or {},
        )


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """One page of the queue or of the history."""

    total_records: int = 0
    records: list[RawRecord] | None = None


class RawDownloadClient(msgspec.Struct, frozen=True, rename="camel"):
    """A download client as it comes: its settings are a list of {name, value}."""

    id: int
    name: str | None = None
    enable: bool = False
    implementation: str | None = None
    protocol: str | None = None
    fields: list[dict[str, Any]] | None = None

    def client(self, dialect: Dialect) -> DownloadClient:
        """Read the settings that matter."""
        settings = {str(one.get("name")): one.get("value") for one in self.fields or ()}
        port = settings.get("port")
        return DownloadClient(
            id=self.id,
            name=self.name or "",
            enable=self.enable,
            implementation=self.implementation or "",
            protocol=self.protocol or "",
            host=str(settings.get("host") or ""),
            port=port if isinstance(port, int) else 0,
            category=str(settings.get(dialect.category_field) or ""),
            imported_category=str(settings.get(dialect.imported_category_field) or ""),
        )


def aware(moment: datetime | None) -> datetime | None:
    """Read a time without a zone as UTC, as everything is that a Servarr stores."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
