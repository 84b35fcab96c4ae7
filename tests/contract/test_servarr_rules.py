"""The Radarr stand-in's pure parts: names, torrent files, states, seed limits."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from looparr.errors import SandboxError
from looparr.sandbox.servarr.decisions import item_of, seed_limit_reached, status_of
from looparr.sandbox.servarr.metainfo import read_magnet, read_torrent
from looparr.sandbox.servarr.monitor import stable_id
from looparr.sandbox.servarr.paging import page
from looparr.sandbox.servarr.titles import clean_title, parse_title
from looparr.sandbox.servarr.wire import Query, span
from looparr.sandbox.torrents import bencode
from servarr_kit import make_torrent

TORRENT: dict[str, Any] = {
    "hash": "ab" * 20,
    "name": "A.Film.2020.1080p.WEB-DL-GRP",
    "category": "radarr",
    "state": "stalledDL",
    "size": 1000,
    "progress": 0.25,
    "eta": 8640000,
    "content_path": "/data/A",
    "save_path": "/data",
    "ratio": 0.0,
    "ratio_limit": -2,
    "seeding_time": 0,
    "seeding_time_limit": -2,
}


@pytest.mark.parametrize(
    ("name", "clean", "year", "quality"),
    [
        ("The.Film.2020.1080p.WEB-DL-GRP", "thefilm", 2020, "WEBDL-1080p"),
        ("2012.2009.720p.BluRay.x264-GRP", "2012", 2009, "Bluray-720p"),
        ("Blade.Runner.2049.2017.2160p.WEBRip", "bladerunner2049", 2017, "WEBRip-2160p"),
        ("Some Film (1999) [HDTV-1080p]", "somefilm", 1999, "HDTV-1080p"),
        ("千と千尋の神隠し.2001.1080p.BluRay", "千と千尋の神隠し", 2001, "Bluray-1080p"),
        ("Plain.2020", "plain", 2020, "Unknown"),
    ],
)
def test_a_release_name_gives_title_year_and_quality(name: str, clean: str, year: int, quality: str) -> None:
    parsed = parse_title(name)
    assert parsed is not None
    assert (parsed.clean, parsed.year, parsed.quality.name) == (clean, year, quality)


@pytest.mark.parametrize("name", ["", "no year here", "2020", "...2020", "Film.1080p", "12345"])
def test_a_name_without_title_and_year_means_nothing(name: str) -> None:
    assert parse_title(name) is None


@given(st.text(min_size=1).filter(clean_title))
def test_a_title_in_any_script_is_found_again_in_its_release_name(title: str) -> None:
    parsed = parse_title(f"{' '.join(title.split())}.2020.1080p.WEB-DL-GRP")
    assert parsed is None or parsed.clean == clean_title(title)


@given(st.text())
def test_no_name_breaks_the_parser(name: str) -> None:
    parsed = parse_title(name)
    assert parsed is None or parsed.clean


@given(st.binary())
def test_no_bytes_break_the_torrent_reader(content: bytes) -> None:
    with pytest.raises(SandboxError):
        read_torrent(content)


def test_a_torrent_file_gives_hash_name_and_size() -> None:
    content, infohash = make_torrent("Ä Film", {"a/b.mkv": b"x" * 20000, "c.nfo": b"y"})
    meta = read_torrent(content)
    assert (meta.infohash, meta.name, meta.size) == (infohash, "Ä Film", 20001)


def test_a_torrent_of_version_2_only_has_the_shortened_hash_the_client_shows() -> None:
    info = {"name": "v2", "meta version": 2, "length": 5}
    meta = read_torrent(bencode({"info": info}))
    assert meta.infohash == hashlib.sha256(bencode(info)).hexdigest()[:40].upper()


def test_a_magnet_gives_its_hash_in_hex_or_base32() -> None:
    plain = read_magnet(f"magnet:?xt=urn:btih:{'ab' * 20}&dn=A%20Film")
    assert (plain.infohash, plain.name) == ("AB" * 20, "A Film")
    assert read_magnet(f"magnet:?xt=urn:btih:{'A' * 32}").infohash == "00" * 20
    for wrong in ("magnet:?dn=x", "http://example.invalid", "magnet:?xt=urn:btih:!!"):
        with pytest.raises(SandboxError):
            read_magnet(wrong)


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (("error", "stalledDL", "missingFiles", "metaDL", "forcedMetaDL"), "warning"),
        (("stoppedDL", "pausedDL"), "paused"),
        (("queuedDL", "checkingDL", "checkingUP", "checkingResumeData"), "queued"),
        (("uploading", "stalledUP", "queuedUP", "forcedUP", "pausedUP", "stoppedUP"), "completed"),
        (("downloading", "forcedDL", "moving", "unknown", "allocating", "brandNew"), "downloading"),
    ],
)
def test_every_state_of_qbittorrent_has_its_row_status(states: tuple[str, ...], status: str) -> None:
    assert {status_of(state, dht=False)[0] for state in states} == {status}
    assert status_of("metaDL", dht=True) == ("queued", "qBittorrent is downloading metadata")


def test_a_torrent_is_seen_with_the_arrs_eyes() -> None:
    item = item_of(TORRENT, {})
    assert (item.download_id, item.remaining, item.time_left, item.output_path) == ("AB" * 20, 750, None, "")
    done = item_of(TORRENT | {"state": "stalledUP", "progress": 1}, {})
    assert (done.status, done.remaining, done.output_path, done.can_move) == ("completed", 0, "/data/A", False)
    bare = item_of(TORRENT | {"state": "stalledUP", "content_path": "/data"}, {})
    assert (bare.status, bare.output_path) == ("warning", "")


@pytest.mark.parametrize(
    ("torrent", "preferences", "reached"),
    [
        ({}, {}, False),
        ({"ratio_limit": 1.0, "ratio": 1.0}, {}, True),
        ({"ratio_limit": -1, "ratio": 9.0}, {"max_ratio_enabled": True, "max_ratio": 1}, False),
        ({"ratio": 1.5}, {"max_ratio_enabled": True, "max_ratio": 1}, True),
        ({"ratio": 1.5}, {"max_ratio_enabled": False, "max_ratio": 1}, False),
        ({"seeding_time_limit": 2, "seeding_time": 119}, {}, False),
        ({"seeding_time_limit": 2, "seeding_time": 120}, {}, True),
        ({"seeding_time": 600}, {"max_seeding_time_enabled": True, "max_seeding_time": 10}, True),
    ],
)
def test_the_seed_limit_is_the_torrents_own_or_the_clients(
    torrent: dict[str, Any], preferences: dict[str, Any], *, reached: bool
) -> None:
    assert seed_limit_reached(TORRENT | torrent, preferences) is reached
    assert item_of(TORRENT | torrent | {"state": "stalledUP"}, preferences).can_move is False
    assert item_of(TORRENT | torrent | {"state": "pausedUP"}, preferences).can_move is reached


def test_a_row_keeps_its_id_for_ever() -> None:
    first = stable_id("trackedDownload-1-ABC")
    assert first == stable_id("trackedDownload-1-ABC") != stable_id("trackedDownload-1-ABD")
    assert 0 <= first < 2**31


@pytest.mark.parametrize(("page_number", "shown"), [(1, 1), (2, 2), (3, 1), (9, 1)])
def test_a_page_behind_the_end_of_the_queue_shows_an_earlier_one_again(page_number: int, shown: int) -> None:
    query = Query(make_mocked_request("GET", f"/queue?page={page_number}&pageSize=10&sortDirection=ascending"))
    found = page(query, range(15), {"n": lambda n: n}, str, default_key="n", wraps=True)
    assert (found["page"], found["records"][0]) == (shown, str((shown - 1) * 10))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00:00"), (3661, "01:01:01"), (90061, "1.01:01:01"), (None, None)]
)
def test_a_time_span_is_written_as_dotnet_does(seconds: int | None, text: str | None) -> None:
    assert span(None if seconds is None else timedelta(seconds=seconds)) == text
