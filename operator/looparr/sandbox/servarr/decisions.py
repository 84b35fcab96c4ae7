"""How a torrent's state in qBittorrent becomes a row of the Arr: pure, one table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from looparr.sandbox.servarr.state import Item, Tracked

_NO_ETA = 8_640_000
_LONGEST_ETA = 365 * 24 * 3600
_QUEUED, _PAUSED, _DOWNLOADING, _COMPLETED, _WARNING = "queued", "paused", "downloading", "completed", "warning"

STALLED = "The download is stalled with no connections"
"""The Arr's own words; tools match them."""

_PATH_ERROR = (
    "Unable to Import. Path matches client base download directory, it's possible 'Keep top-level folder' is disabled "
    "for this torrent or 'Torrent Content Layout' is NOT set to 'Original' or 'Create Subfolder'?"
)
_STATES: Mapping[str, tuple[str, str | None]] = {
    "error": (_WARNING, "qBittorrent is reporting an error"),
    "stoppedDL": (_PAUSED, None),
    "pausedDL": (_PAUSED, None),
    "queuedDL": (_QUEUED, None),
    "checkingDL": (_QUEUED, None),
    "checkingUP": (_QUEUED, None),
    "checkingResumeData": (_QUEUED, None),
    "pausedUP": (_COMPLETED, None),
    "stoppedUP": (_COMPLETED, None),
    "uploading": (_COMPLETED, None),
    "stalledUP": (_COMPLETED, None),
    "queuedUP": (_COMPLETED, None),
    "forcedUP": (_COMPLETED, None),
    "stalledDL": (_WARNING, STALLED),
    "missingFiles": (_WARNING, "qBittorrent is reporting missing files"),
    "forcedDL": (_DOWNLOADING, None),
    "moving": (_DOWNLOADING, None),
    "downloading": (_DOWNLOADING, None),
}
_METADATA = frozenset({"metaDL", "forcedMetaDL"})
_DONE = frozenset({"imported", "failed", "ignored"})


def status_of(state: str, *, dht: bool) -> tuple[str, str | None]:
    """Map a `state` of qBittorrent to the row's (status, errorMessage)."""
    if state in _METADATA:
        if dht:
            return _QUEUED, "qBittorrent is downloading metadata"
        return _WARNING, "qBittorrent cannot resolve magnet link with DHT disabled"
    return _STATES.get(state) or (_DOWNLOADING, f"Unknown download state: {state}")


def time_left(torrent: Mapping[str, Any]) -> timedelta | None:
    """Tell how long a download still takes; None where qBittorrent does not know."""
    eta = torrent.get("eta", _NO_ETA)
    return None if eta < 0 or eta > _LONGEST_ETA or eta == _NO_ETA else timedelta(seconds=int(eta))


def seed_limit_reached(torrent: Mapping[str, Any], preferences: Mapping[str, Any]) -> bool:
    """Tell whether the torrent met its ratio or its seeding time (own limit >= 0; -2: the client's; -1: none)."""
    ratio_limit = torrent.get("ratio_limit", -2)
    if ratio_limit == -2 and preferences.get("max_ratio_enabled"):  # noqa: PLR2004 - "the client's"
        ratio_limit = preferences.get("max_ratio", -1)
    if ratio_limit >= 0 and torrent.get("ratio", 0) >= ratio_limit:
        return True
    minutes = torrent.get("seeding_time_limit", -2)
    if minutes == -2 and preferences.get("max_seeding_time_enabled"):  # noqa: PLR2004 - "the client's"
        minutes = preferences.get("max_seeding_time", -1)
    return bool(minutes >= 0 and torrent.get("seeding_time", 0) >= minutes * 60)


def item_of(torrent: Mapping[str, Any], preferences: Mapping[str, Any]) -> Item:
    """See one torrent (of torrents/info) with the Arr's eyes."""
    state = torrent["state"]
    status, message = status_of(state, dht=bool(preferences.get("dht")))
    left = time_left(torrent)
    output_path = ""
    if status == _COMPLETED:
        left = timedelta()
        if torrent["content_path"] == torrent["save_path"]:
            status, message = _WARNING, _PATH_ERROR
        else:
            output_path = torrent["content_path"]
    stopped = state in {"pausedUP", "stoppedUP"}
    return Item(
        download_id=torrent["hash"].upper(),
        title=torrent["name"],
        category=torrent["category"],
        size=max(torrent["size"], 0),
        remaining=max(int(torrent["size"] * (1.0 - torrent["progress"])), 0),
        time_left=left,
        status=status,
        message=message,
        output_path=output_path,
        can_move=stopped and seed_limit_reached(torrent, preferences),
    )


def is_in_queue(tracked: Tracked, *, completed_handling: bool) -> bool:
    """Tell whether a download shows in the queue: imported, failed and ignored ones never do."""
    if tracked.state in _DONE:
        return False
    return completed_handling or tracked.item.status != _COMPLETED
