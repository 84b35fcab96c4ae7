"""Release names: what the Arr reads out of a torrent's name. Pure, any script."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_NAME = re.compile(r"^(?P<title>.+)[\s._(\[-]+(?P<year>(?:19|20)\d\d)(?![0-9A-Za-z])(?P<rest>.*)$")
_GROUP = re.compile(r"-([A-Za-z0-9]+)$")
_RESOLUTION = re.compile(r"(?<!\d)(480|720|1080|2160)p", re.IGNORECASE)
_SOURCES = (
    ("webrip", re.compile(r"web-?rip", re.IGNORECASE)),
    ("webdl", re.compile(r"web(?:-?dl)?(?![a-z])", re.IGNORECASE)),
    ("bluray", re.compile(r"blu-?ray|bd-?rip", re.IGNORECASE)),
    ("tv", re.compile(r"hdtv", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class Quality:
    """One of the Arr's quality definitions; a higher rank replaces a lower one at import."""

    id: int
    name: str
    source: str
    resolution: int
    rank: int


UNKNOWN = Quality(0, "Unknown", "unknown", 0, 0)
_QUALITIES = {
    (q.source, q.resolution): q
    for q in (
        Quality(1, "SDTV", "tv", 480, 1),
        Quality(12, "WEBRip-480p", "webrip", 480, 2),
        Quality(8, "WEBDL-480p", "webdl", 480, 2),
        Quality(20, "Bluray-480p", "bluray", 480, 3),
        Quality(4, "HDTV-720p", "tv", 720, 4),
        Quality(14, "WEBRip-720p", "webrip", 720, 5),
        Quality(5, "WEBDL-720p", "webdl", 720, 5),
        Quality(6, "Bluray-720p", "bluray", 720, 6),
        Quality(9, "HDTV-1080p", "tv", 1080, 7),
        Quality(15, "WEBRip-1080p", "webrip", 1080, 8),
        Quality(3, "WEBDL-1080p", "webdl", 1080, 8),
        Quality(7, "Bluray-1080p", "bluray", 1080, 9),
        Quality(16, "HDTV-2160p", "tv", 2160, 10),
        Quality(17, "WEBRip-2160p", "webrip", 2160, 11),
        Quality(18, "WEBDL-2160p", "webdl", 2160, 11),
        Quality(19, "Bluray-2160p", "bluray", 2160, 12),
    )
}


@dataclass(frozen=True, slots=True)
class ParsedTitle:
    """A release name taken apart: `clean` compares with `clean_title` of a movie's titles."""

    clean: str
    year: int
    quality: Quality
    group: str | None


def clean_title(title: str) -> str:
    """Reduce a title to its letters and digits, case folded, in any script."""
    folded = unicodedata.normalize("NFKC", title).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")


@lru_cache(maxsize=65_536)
def quality_of(name: str) -> Quality:
    """Read the quality out of a release name; `UNKNOWN` where nothing says it."""
    resolution = _RESOLUTION.search(name)
    source = next((s for s, pattern in _SOURCES if pattern.search(name)), None)
    if resolution is None or source is None:
        return UNKNOWN
    return _QUALITIES.get((source, int(resolution.group(1))), UNKNOWN)


@lru_cache(maxsize=65_536)
def parse_title(name: str) -> ParsedTitle | None:
    """Take a release name apart; None where it has no year, as most Arrs then give up, too."""
    match = _NAME.match(name.strip())
    if match is None or not (clean := clean_title(match["title"])):
        return None
    group = _GROUP.search(name)
    return ParsedTitle(clean, int(match["year"]), quality_of(match["rest"]), group.group(1) if group else None)
