"""Where the Servarr programs differ from each other: one table, no calls. Names are their own."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one Servarr differs from the others."""

    app_name: str
    """What system/status calls itself."""
    prefix: str
    """Path of the API below the base."""
    item_fields: tuple[str, ...]
    """Fields of a queue or history record (snake_case) that name the item; the first is the one of a search."""
    include_unknown: str
    """Query parameter that adds queue rows without an item."""
    item_path: str
    """Path of one item."""
    history_items: str
    """Query parameter of history for item ids."""
    search_command: str
    search_ids: str
    """Name of the search command and of its list of item ids."""
    scan_command: str
    """Imports from a path; dangerous, see Copy."""
    category_field: str
    imported_category_field: str
    """Fields of a download client's settings: the category while downloading and after the import."""
    event_types: Mapping[str, int]
    """History event names and the numbers that the query wants."""
    import_event: str
    """The event of one imported file."""


SERVARR: dict[str, Dialect] = {
    "Radarr": Dialect(
        app_name="Radarr",
        prefix="api/v3",
        item_fields=("movie_id",),
        include_unknown="includeUnknownMovieItems",
        item_path="movie",
        history_items="movieIds",
        search_command="MoviesSearch",
        search_ids="movieIds",
        scan_command="DownloadedMoviesScan",
        category_field="movieCategory",
        imported_category_field="movieImportedCategory",
        event_types={
            "grabbed": 1,
            "downloadFolderImported": 3,
            "downloadFailed": 4,
            "movieFileDeleted": 6,
            "movieFolderImported": 7,
            "movieFileRenamed": 8,
            "downloadIgnored": 9,
        },
        import_event="downloadFolderImported",
    ),
}
"""spec.type -> its dialect."""
