"""What qBittorrent says about torrents: types and decoding, no calls.

Names are qBittorrent's own. Reading never fails because of one odd value: an unknown field is skipped, a null is the
field's default, and a value of the wrong type (found in the wild after client upgrades) is treated as not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

ETA_UNKNOWN = 8_640_000
"""The `eta` that means "no idea"."""


class Torrent(msgspec.Struct, frozen=True, kw_only=True):
    """One torrent, in qBittorrent's own words. Values it did not send are the defaults below.

    hash: the client's id, lower case (of a hybrid torrent the first 40 characters of infohash_v2). state: one of the
    client's texts; an unknown one is passed on as it is. progress 0..1. Sizes are bytes (size: of the wanted files,
    total_size: of all), speeds bytes a second, times seconds since 1970 (completion_on may be negative or huge when
    not complete), seeding_time and eta seconds (eta 8640000: unknown), ratio -1 when infinite, availability -1 when
    unknown. private None: not known (no metadata, or a client before 5.0).
    """

    hash: str
    infohash_v1: str = ""
    infohash_v2: str = ""
    name: str = ""
    category: str = ""
    tags: frozenset[str] = frozenset()
    state: str = "unknown"
    progress: float = 0.0
    completed: int = 0
    size: int = 0
    total_size: int = 0
    amount_left: int = 0
    downloaded: int = 0
    uploaded: int = 0
    ratio: float = 0.0
    eta: int = ETA_UNKNOWN
    added_on: int = 0
    completion_on: int = 0
    seeding_time: int = 0
    last_activity: int = 0
    save_path: str = ""
    content_path: str = ""
    tracker: str = ""
    dlspeed: int = 0
    num_seeds: int = 0
    availability: float = -1.0
    force_start: bool = False
    private: bool | None = None


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of a torrent that an answer holds; UNSET: not sent, so not changed."""

    hash: str | UnsetType | None = UNSET
    infohash_v1: str | UnsetType | None = UNSET
    infohash_v2: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    category: str | UnsetType | None = UNSET
    tags: str | UnsetType | None = UNSET
    state: str | UnsetType | None = UNSET
    progress: float | UnsetType | None = UNSET
    completed: int | UnsetType | None = UNSET
    size: int | UnsetType | None = UNSET
    total_size: int | UnsetType | None = UNSET
    amount_left: int | UnsetType | None = UNSET
    downloaded: int | UnsetType | None = UNSET
    uploaded: int | UnsetType | None = UNSET
    ratio: float | UnsetType | None = UNSET
    eta: int | UnsetType | None = UNSET
    added_on: int | UnsetType | None = UNSET
    completion_on: int | UnsetType | None = UNSET
    seeding_time: int | UnsetType | None = UNSET
    last_activity: int | UnsetType | None = UNSET
    save_path: str | UnsetType | None = UNSET
    content_path: str | UnsetType | None = UNSET
    tracker: str | UnsetType | None = UNSET
    dlspeed: int | UnsetType | None = UNSET
    num_seeds: int | UnsetType | None = UNSET
    availability: float | UnsetType | None = UNSET
    force_start: bool | UnsetType | None = UNSET
    private: bool | UnsetType | None = UNSET

    def changes(self) -> dict[str, Any]:
        """Give what was sent, as fields of Torrent; null becomes the default. Without `hash`, which is no change."""
        found: dict[str, Any] = {}
        for name in _FIELDS:
            value = getattr(self, name)
            if value is not UNSET:
                found[name] = _DEFAULTS[name] if value is None else value
        if (tags := found.get("tags")) is not None and isinstance(tags, str):
            found["tags"] = split_tags(tags)
        return found


_DEFAULTS: dict[str, Any] = {
    one.name: one.default for one in msgspec.structs.fields(Torrent) if one.default is not msgspec.NODEFAULT
}
_FIELDS = tuple(_DEFAULTS)
_TYPES: dict[str, Any] = {one.name: one.type for one in msgspec.structs.fields(Delta)}


class Tracker(msgspec.Struct, frozen=True, kw_only=True):
    """One tracker of a torrent. status: 0 disabled, 1 not contacted, 2 working, 3 updating, 4 not working.

    The rows of DHT, PeX and LSD have a url such as `** [DHT] **` and are no trackers: see `is_real`.
    """

    url: str = ""
    status: int = 0
    msg: str = ""
    tier: Any = None

    @property
    def is_real(self) -> bool:
        """Whether this is a tracker and not DHT, PeX or LSD."""
        return not self.url.startswith("** [")


_TRACKER_TYPES: dict[str, Any] = {one.name: one.type for one in msgspec.structs.fields(Tracker)}


class MainData(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of sync/maindata, ready to be merged.

    full_update: `torrents` is the whole list; else only what changed. server_state: only what changed.
    server_date: the answer's Date header, aware UTC, whole seconds.
    """

    rid: int
    full_update: bool
    torrents: Mapping[str, Mapping[str, Any]]
    torrents_removed: tuple[str, ...] = ()
    server_state: Mapping[str, Any] = {}
    server_date: datetime | None = None


class _RawMainData(msgspec.Struct):
    rid: int
    full_update: bool = False
    torrents: dict[str, Delta] | None = None
    torrents_removed: list[str] | None = None
    server_state: dict[str, Any] | None = None


class _LooseMainData(msgspec.Struct):
    rid: int
    full_update: bool = False
    torrents: dict[str, dict[str, Any]] | None = None
    torrents_removed: list[str] | None = None
    server_state: dict[str, Any] | None = None


_MAINDATA = msgspec.json.Decoder(_RawMainData)
_LOOSE_MAINDATA = msgspec.json.Decoder(_LooseMainData)
_INFO = msgspec.json.Decoder(list[Delta])
_ROWS = msgspec.json.Decoder(list[dict[str, Any]])


def decode_maindata(body: bytes, server_date: datetime | None = None) -> MainData:
    """Read an answer of sync/maindata. Raises msgspec.MsgspecError when it is no such answer at all."""
    raw: _RawMainData | _LooseMainData
    try:
        raw = _MAINDATA.decode(body)
        torrents = {hash_: delta.changes() for hash_, delta in (raw.torrents or {}).items()}
    except (msgspec.ValidationError, UnicodeDecodeError):
        raw = _LOOSE_MAINDATA.decode(_utf8(body))
        torrents = {hash_: _loose(delta).changes() for hash_, delta in (raw.torrents or {}).items()}
    return MainData(
        rid=raw.rid,
        full_update=raw.full_update,
        torrents=torrents,
        torrents_removed=tuple(raw.torrents_removed or ()),
        server_state=raw.server_state or {},
        server_date=server_date,
    )


def decode_info(body: bytes) -> list[Torrent]:
    """Read an answer of torrents/info; a torrent without a hash is left out. Raises msgspec.MsgspecError."""
    try:
        deltas: Iterable[Delta] = _INFO.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError):
        deltas = [_loose(one) for one in _ROWS.decode(_utf8(body))]
    return [Torrent(hash=one.hash, **one.changes()) for one in deltas if one.hash]


def decode_trackers(body: bytes) -> list[Tracker]:
    """Read an answer of torrents/trackers. Raises msgspec.MsgspecError when it is no list of objects."""
    rows = _ROWS.decode(_utf8(body))
    return [Tracker(**_readable(row, _TRACKER_TYPES)) for row in rows]


def tracker_host(url: str) -> str:
    """Host name of a tracker's URL; "" when it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def split_tags(text: str) -> frozenset[str]:
    """Read "a, b" as {a, b}; a tag cannot hold a comma."""
    return frozenset(tag for part in text.split(",") if (tag := part.strip())) if text else frozenset()


def _loose(fields: Mapping[str, Any]) -> Delta:
    """Read a torrent field by field, leaving out what cannot be read."""
    return Delta(**_readable(fields, _TYPES))


def _readable(fields: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of the named fields that are of their type, or can be made so ("2" and 2.0 are 2)."""
    found = {}
    for name, type_ in types.items():
        if name in fields:
            try:
                found[name] = msgspec.convert(fields[name], type_, strict=False)
            except msgspec.ValidationError:
                continue
    return found


def _utf8(body: bytes) -> bytes:
    return body.decode("utf-8", "replace").encode()
