"""The Radarr stand-in on a real qBittorrent: what its queue shows, and what removing from it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from looparr.sandbox.servarr import FaultType, ServarrServer
from servarr_kit import RealQBittorrent, real_qbittorrent, stand_in

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def qbittorrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealQBittorrent]:
    with real_qbittorrent(tmp_path_factory.mktemp("qbittorrent")) as client:
        yield client


async def stalled(server: ServarrServer, client: RealQBittorrent, title: str, **options: Any) -> tuple[int, str]:
    """Grab a release that nobody seeds; return movie id and download id."""
    movie = server.world.add_movie(title, 2020)
    torrent, infohash = client.release(f"{title.replace(' ', '.')}.2020.1080p.WEB-DL-GRP", complete=False)
    server.world.offer(movie, torrent, indexer="First")
    assert await server.world.grab(movie, **options) == infohash
    await client.state(infohash, "stalledDL")
    await server.world.refresh()
    return movie.id, infohash


def removed(server: ServarrServer) -> dict[str, int]:
    """Count what happened by event."""
    found: dict[str, int] = {"blocklist": len(server.world.blocklist)}
    for event in server.world.history:
        found[event.event_type] = found.get(event.event_type, 0) + 1
    return found


async def test_a_stalled_download_is_a_warning_in_radarrs_own_words(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie, infohash = await stalled(server, qbittorrent, "Stalled One")
        row = await arr.row(infohash)
        assert row is not None
        expected = {
            "movieId": movie,
            "title": "Stalled.One.2020.1080p.WEB-DL-GRP",
            "status": "warning",
            "trackedDownloadStatus": "ok",
            "trackedDownloadState": "downloading",
            "errorMessage": "The download is stalled with no connections",
            "protocol": "torrent",
            "downloadClient": "qBittorrent",
            "indexer": "First",
            "size": 131072,
            "sizeleft": 131072,
            "statusMessages": [],
        }
        assert {k: row.get(k) for k in expected} == expected
        assert row["added"].endswith("Z")
        assert row["quality"]["quality"]["name"] == "WEBDL-1080p"
        assert not {"outputPath", "timeleft", "movie"} & set(row)
        grabbed = (await arr.events(eventType=1))[0]
        assert (grabbed["eventType"], grabbed["downloadId"]) == ("grabbed", infohash)
        assert grabbed["data"]["releaseSource"] == "Search"
        assert grabbed["data"]["torrentInfoHash"] == infohash


async def test_a_paused_download_is_paused_and_a_row_vanishes_with_its_torrent(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        _, infohash = await stalled(server, qbittorrent, "Paused One")
        row = await arr.row(infohash)
        assert row is not None
        await qbittorrent.call("POST", "torrents/pause", data={"hashes": infohash.lower()})
        await qbittorrent.state(infohash, "pausedDL", "stoppedDL")
        await arr.command("RefreshMonitoredDownloads")
        paused = await arr.row(infohash)
        assert paused is not None
        assert (paused["id"], paused["status"]) == (row["id"], "paused")
        await qbittorrent.call("POST", "torrents/delete", data={"hashes": infohash.lower(), "deleteFiles": "true"})
        await qbittorrent.gone(infohash)
        assert await arr.row(infohash) is not None, "a row stays until the next refresh"
        await arr.command("RefreshMonitoredDownloads")
        assert await arr.rows() == []
        assert (await arr.ask("DELETE", f"queue/{row['id']}", blocklist=True))[0] == 404
        assert removed(server) == {"blocklist": 0, "grabbed": 1}


async def test_remove_and_blocklist_fails_the_download_and_searches_once(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie, infohash = await stalled(server, qbittorrent, "Replaced One")
        other, second = qbittorrent.release("Replaced.One.2020.1080p.WEB-DL-OTHER", complete=False)
        server.world.offer(movie, other, indexer="Second")
        row = await arr.row(infohash)
        assert row is not None
        status, body = await arr.ask("DELETE", f"queue/{row['id']}", removeFromClient=True, blocklist=True)
        assert (status, body) == (200, "")
        await qbittorrent.gone(infohash)
        await server.world.idle()
        await qbittorrent.state(second, "stalledDL")
        assert removed(server) == {"blocklist": 1, "grabbed": 2, "downloadFailed": 1}
        failed = (await arr.events(eventType=4, downloadId=infohash))[0]
        assert failed["data"]["message"] == "Manually marked as failed"
        assert (await arr.events(eventType=1))[0]["data"]["releaseSource"] == "Search"
        entry = (await arr.get("blocklist"))["records"][0]
        assert (entry["movieId"], entry["sourceTitle"]) == (movie, "Replaced.One.2020.1080p.WEB-DL-GRP")
        assert (await arr.get(f"movie/{movie}"))["lastSearchTime"]
        await server.world.refresh()
        assert [r["downloadId"] for r in await arr.rows()] == [second]


async def test_skip_redownload_leaves_the_search_to_the_caller(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie, infohash = await stalled(server, qbittorrent, "Quiet One")
        row = await arr.row(infohash)
        assert row is not None
        await arr.ask("DELETE", "queue/bulk", json={"ids": [row["id"]]}, blocklist=True, skipRedownload=True)
        await qbittorrent.gone(infohash)
        await server.world.idle()
        assert [c["name"] for c in await arr.get("command") if c["name"] == "MoviesSearch"] == []
        assert "lastSearchTime" not in await arr.get(f"movie/{movie}")
        assert removed(server) == {"blocklist": 1, "grabbed": 1, "downloadFailed": 1}


async def test_history_failed_ignores_the_torrent_and_searches_by_the_settings(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie, infohash = await stalled(server, qbittorrent, "Gone One", source="InteractiveSearch")
        grabbed = (await arr.events(eventType=1))[0]
        server.world.configure(auto_redownload_failed_from_interactive_search=False)
        assert (await arr.ask("POST", f"history/failed/{grabbed['id']}"))[0] == 200
        await server.world.idle()
        assert "lastSearchTime" not in await arr.get(f"movie/{movie}")
        server.world.configure(auto_redownload_failed_from_interactive_search=True)
        await arr.ask("POST", f"history/failed/{grabbed['id']}")
        await server.world.idle()
        assert (await arr.get(f"movie/{movie}"))["lastSearchTime"]
        assert removed(server) == {"blocklist": 2, "grabbed": 1, "downloadFailed": 2}
        assert await qbittorrent.torrent(infohash) is not None
        assert (await arr.ask("POST", "history/failed/999"))[0] == 404


async def test_change_category_keeps_the_torrent_and_drops_the_row(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent, imported_category="radarr-kept") as (server, arr):
        _, infohash = await stalled(server, qbittorrent, "Moved One")
        row = await arr.row(infohash)
        assert row is not None
        assert row["downloadClientHasPostImportCategory"] is True
        await arr.ask("DELETE", f"queue/{row['id']}", removeFromClient=False, changeCategory=True)
        torrent = await qbittorrent.torrent(infohash)
        assert torrent is not None
        assert torrent["category"] == "radarr-kept"
        await server.world.refresh()
        assert await arr.rows() == []
        assert removed(server) == {"blocklist": 0, "grabbed": 1}


async def test_all_switches_off_ignores_the_download_for_ever(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        _, infohash = await stalled(server, qbittorrent, "Ignored One")
        row = await arr.row(infohash)
        assert row is not None
        await arr.ask("DELETE", f"queue/{row['id']}", removeFromClient=False)
        await server.world.refresh()
        assert await arr.rows() == []
        assert await qbittorrent.torrent(infohash) is not None
        assert removed(server) == {"blocklist": 0, "grabbed": 1, "downloadIgnored": 1}


async def test_a_stale_id_in_a_bulk_delete_is_404_and_nothing_is_done(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        _, infohash = await stalled(server, qbittorrent, "Atomic One")
        row = await arr.row(infohash)
        assert row is not None
        status, body = await arr.ask("DELETE", "queue/bulk", json={"ids": [row["id"], 12345]}, blocklist=True)
        assert (status, body) == (404, {"message": "NotFound"})
        assert await qbittorrent.torrent(infohash) is not None
        assert removed(server) == {"blocklist": 0, "grabbed": 1}


async def test_a_bulk_delete_that_fails_later_leaves_the_first_ones_deleted(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        _, first = await stalled(server, qbittorrent, "Partial One")
        _, second = await stalled(server, qbittorrent, "Partial Two")
        ids = [r["id"] for h in (first, second) if (r := await arr.row(h))]
        server.faults.switch_on(FaultType.PARTIAL, method="DELETE", path="*/queue/bulk", times=1, after=1)
        status, _ = await arr.ask("DELETE", "queue/bulk", json={"ids": ids}, blocklist=True, skipRedownload=True)
        assert status == 500
        await qbittorrent.gone(first)
        assert await qbittorrent.torrent(second) is not None
        assert removed(server) == {"blocklist": 1, "grabbed": 2, "downloadFailed": 1}
        assert len(await arr.rows()) == 2, "the rows stay until the next refresh: sent again, it fails twice"
        await server.world.refresh()
        assert [r["downloadId"] for r in await arr.rows()] == [second]


async def test_throw_midway_removes_the_torrent_without_any_blocklist_entry(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        _, infohash = await stalled(server, qbittorrent, "Midway One")
        row = await arr.row(infohash)
        assert row is not None
        server.faults.switch_on(FaultType.THROW_MIDWAY, method="DELETE", times=1)
        assert (await arr.ask("DELETE", f"queue/{row['id']}", blocklist=True))[0] == 500
        await qbittorrent.gone(infohash)
        assert removed(server) == {"blocklist": 0, "grabbed": 1}
        grabbed = (await arr.events(eventType=1, downloadId=infohash))[0]
        assert (await arr.ask("POST", f"history/failed/{grabbed['id']}"))[0] == 200
        assert removed(server) == {"blocklist": 1, "grabbed": 1, "downloadFailed": 1}


async def test_throw_after_and_cut_after_do_the_work_and_nothing_says_so(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        for number, fault in enumerate((FaultType.THROW_AFTER, FaultType.CUT_AFTER), 1):
            _, infohash = await stalled(server, qbittorrent, f"After {number}")
            row = await arr.row(infohash)
            assert row is not None
            server.faults.switch_on(fault, method="DELETE", path="*/queue/*", times=1)
            answer = arr.ask("DELETE", f"queue/{row['id']}", blocklist=True, skipRedownload=True)
            if fault is FaultType.THROW_AFTER:
                assert (await answer)[0] == 500
            else:
                with pytest.raises(aiohttp.ClientConnectionError):
                    await answer
            await qbittorrent.gone(infohash)
            assert len(server.world.blocklist) == number
            assert await arr.row(infohash) is None


async def test_a_delete_that_does_nothing_answers_200(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        _, infohash = await stalled(server, qbittorrent, "Idle One")
        row = await arr.row(infohash)
        assert row is not None
        server.faults.switch_on(FaultType.NO_OP, method="DELETE", times=1)
        assert (await arr.ask("DELETE", f"queue/{row['id']}", blocklist=True))[0] == 200
        assert await qbittorrent.torrent(infohash) is not None
        assert removed(server) == {"blocklist": 0, "grabbed": 1}
        assert server.requests.counts["DELETE /api/v3/queue/{id}"] == 1


async def test_a_row_matched_by_title_was_not_grabbed_and_cannot_be_blocklisted(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie = server.world.add_movie("By Hand", 2020)
        torrent, infohash = qbittorrent.release("By.Hand.2020.720p.BluRay-ME", complete=False)
        category = server.world.configure().category
        await qbittorrent.add(torrent, category)
        await qbittorrent.state(infohash, "stalledDL")
        await server.world.refresh()
        row = await arr.row(infohash)
        assert row is not None
        assert row["movieId"] == movie.id
        assert not {"added", "indexer"} & set(row), "fields that are null are left out"
        await arr.ask("DELETE", f"queue/{row['id']}", blocklist=True)
        await qbittorrent.gone(infohash)
        assert removed(server) == {"blocklist": 0}


async def test_a_torrent_of_no_known_movie_shows_only_when_asked_for(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        torrent, infohash = qbittorrent.release("holiday videos", complete=False)
        await qbittorrent.add(torrent, server.world.configure().category)
        await qbittorrent.state(infohash, "stalledDL")
        await server.world.refresh()
        assert (await arr.get("queue"))["totalRecords"] == 0
        rows = (await arr.get("queue", includeUnknownMovieItems=True))["records"]
        assert [r["downloadId"] for r in rows] == [infohash]
        assert "movieId" not in rows[0]
        status = await arr.get("queue/status")
        assert (status["totalCount"], status["count"], status["unknownCount"]) == (1, 0, 1)
        await arr.ask("DELETE", f"queue/{rows[0]['id']}", removeFromClient=False)
        await server.world.refresh()
        assert await arr.row(infohash) is not None, "an unknown movie's download cannot be ignored: it comes back"


async def test_a_pack_has_several_rows_and_one_of_them_removes_it_all(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        first, second = server.world.add_movie("Pack One", 2020), server.world.add_movie("Pack Two", 2021)
        torrent, infohash = qbittorrent.release("Pack.Collection.1080p.BluRay-GRP", complete=False)
        server.world.offer([first, second], torrent)
        await server.world.grab([first, second])
        await qbittorrent.state(infohash, "stalledDL")
        await server.world.refresh()
        rows = await arr.rows()
        assert [(r["downloadId"], r["movieId"]) for r in rows] == [(infohash, first.id), (infohash, second.id)]
        assert len({r["id"] for r in rows}) == 2
        await arr.ask("DELETE", "queue/bulk", json={"ids": [r["id"] for r in rows]}, blocklist=True)
        await qbittorrent.gone(infohash)
        await server.world.idle()
        assert await arr.rows() == []
        assert removed(server) == {"blocklist": 2, "grabbed": 2, "downloadFailed": 2}
        searches = [c for c in await arr.get("command") if c["name"] == "MoviesSearch"]
        assert [c["body"]["movieIds"] for c in searches] == [[first.id, second.id]]


async def test_titles_in_any_script_find_their_movie(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        for title in ("千と千尋の神隠し", "Брат два", "ملك النحل", "Ünïcode Ærlig"):
            movie, infohash = await stalled(server, qbittorrent, title)
            row = await arr.row(infohash)
            assert row is not None
            assert (row["movieId"], row["title"]) == (movie, f"{title.replace(' ', '.')}.2020.1080p.WEB-DL-GRP")


async def test_a_magnet_without_metadata_waits_in_the_queue(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie = server.world.add_movie("Magnet One", 2020)
        infohash = "AB" * 20
        link = f"magnet:?xt=urn:btih:{infohash}&dn=Magnet.One.2020.1080p.WEB-DL-GRP&tr=http://127.0.0.1:9/announce"
        server.world.offer(movie, link)
        await server.world.grab(movie)
        await qbittorrent.state(infohash, "metaDL")
        await server.world.refresh()
        row = await arr.row(infohash)
        assert row is not None
        assert (row["status"], row["size"]) == ("warning", 0)
        assert row["errorMessage"] == "qBittorrent cannot resolve magnet link with DHT disabled"
