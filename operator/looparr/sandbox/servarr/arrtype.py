"""What differs between the Arrs, as data: one entry per type, no branches in the code.

Only Radarr is filled in; Sonarr and Lidarr are further entries of `TYPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ArrType:
    """The names one Arr uses on its wire.

    item: the word for one library item, in paths and as the embedded object. events: history event type -> number, as
    its API takes them in `history?eventType=`. strings that Radarr's users know stay in the modules that say them.
    """

    name: str
    prefix: str
    version: str
    item: str
    item_id: str
    item_ids: str
    include_item: str
    include_unknown: str
    search_command: str
    scan_command: str
    category_field: str
    imported_category_field: str
    events: Mapping[str, int] = field(default_factory=dict)


RADARR = ArrType(
    name="Radarr",
    prefix="/api/v3",
    version="6.0.4.10291",
    item="movie",
    item_id="movieId",
    item_ids="movieIds",
    include_item="includeMovie",
    include_unknown="includeUnknownMovieItems",
    search_command="MoviesSearch",
    scan_command="DownloadedMoviesScan",
    category_field="movieCategory",
    imported_category_field="movieImportedCategory",
    events=MappingProxyType(
        {
            "unknown": 0,
            "grabbed": 1,
            "downloadFolderImported": 3,
            "downloadFailed": 4,
            "movieFileDeleted": 6,
            "movieFolderImported": 7,
            "movieFileRenamed": 8,
            "downloadIgnored": 9,
        },
    ),
)

TYPES: Mapping[str, ArrType] = MappingProxyType({"Radarr": RADARR})
