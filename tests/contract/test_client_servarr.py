"""The Servarr client against the Radarr stand-in; every exchange is held to Radarr's own API document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web

from client_kit import OPEN, serving
from looparr.clients.http import Endpoint, Http, Reply
from looparr.clients.servarr import Servarr, StaleQueue
from looparr.clients.servarr_dialect import SERVARR
from looparr.clients.servarr_wire import Item, RawRecord
from looparr.errors import Blocked, LoopError, Transient
from looparr.sandbox.servarr import FaultType, ServarrServer
from servarr_kit import RealQBittorrent, check, real_qbittorrent, stand_in, until

pytestmark = pytest.mark.real
RADARR = SERVARR["Radarr"]


class CheckedHttp(Http):
    """Holds every exchange against the OpenAPI document."""

    async def request(self, method: str, endpoint: Endpoint, path: str = "", **options: Any) -> Reply:
        reply = await super().request(method, endpoint, path, **options)
        body = msgspec.json.decode(reply.body) if reply.is_json and reply.body else None
        check(method, f"/{path}", dict(options.get("params") or ()), reply.status, body)
        return reply


@pytest.fixture(scope="module")
def qbittorrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealQBittorrent]:
    with real_qbittorrent(tmp_path_factory.mktemp("qbittorrent")) as client:
        yield client


@asynccontextmanager
async def radarr(client: RealQBittorrent | None, **options: Any) -> AsyncIterator[tuple[ServarrServer, Servarr]]:
    http = CheckedHttp(OPEN)
    async with stand_in(client, **options) as (server, _):
        yield server, Servarr(Endpoint(server.url), server.api_key, http=http)
        await http.close()


async def grabbed(server: ServarrServer, client: RealQBittorrent, *titles: str) -> list[tuple[int, str]]:
    """Grab releases that nobody seeds; give movie and download ids."""
    found = []
    for title in titles:
        movie = server.world.add_movie(title, 2020)
        torrent, infohash = client.release(f"{title.replace(' ', '.')}.2020.1080p.WEB-DL-GRP", complete=False)
        server.world.offer(movie, torrent, indexer="First")
        await server.world.grab(movie)
        await client.state(infohash, "stalledDL")
        found.append((movie.id, infohash))
    await server.world.refresh()
    return found


async def test_a_url_base_is_kept_and_the_program_names_itself() -> None:
    async with radarr(None, url_base="/films") as (server, arr):
        assert server.url.endswith("/films")
        status = await arr.status()
        assert (status.app_name, bool(status.version)) == ("Radarr", True)
        assert arr.skew_seconds is not None
        assert abs(arr.skew_seconds) < 5


async def test_the_queue_the_history_and_the_item_are_read(qbittorrent: RealQBittorrent) -> None:
    async with radarr(qbittorrent) as (server, arr):
        before = await arr.queue_status()
        [(movie, infohash)] = await grabbed(server, qbittorrent, "Read One")
        assert await arr.queue_status() != before
        [row] = [one for one in await arr.queue() if one.download_id == infohash]
        assert (row.item_ids, row.hash, row.status) == ((movie,), infohash.lower(), "warning")
        assert (row.tracked_download_state, row.tracked_download_status) == ("downloading", "ok")
        assert (row.protocol, row.indexer, row.size, row.sizeleft) == ("torrent", "First", 131072, 131072)
        assert row.added is not None
        assert row.added.tzinfo is not None
        [event] = await arr.history_since(recently())
        assert (event.event_type, event.hash, event.movie_id) == ("grabbed", infohash.lower(), movie)
        assert event.data["indexer"] == "First"
        item = await arr.movie(movie)
        assert item is not None
        assert (item.title, item.monitored, item.has_file, item.is_available) == ("Read One", True, False, True)
        assert await arr.movie(999_999) is None


def recently() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=5)


async def test_one_and_several_downloads_are_taken_out_and_a_stale_row_is_told(qbittorrent: RealQBittorrent) -> None:
    async with radarr(qbittorrent) as (server, arr):
        found = await grabbed(server, qbittorrent, "Out One", "Out Two", "Out Three")
        ids = {row.download_id: row.id for row in await arr.queue()}
        flags = {"remove_from_client": True, "blocklist": True, "skip_redownload": True}
        with pytest.raises(StaleQueue):
            await arr.delete_queue([*ids.values(), 424_242], **flags)
        assert len(await arr.queue()) == 3
        await arr.delete_queue([ids.pop(found[0][1])], **flags)
        await qbittorrent.gone(found[0][1])
        await arr.delete_queue(list(ids.values()), **flags)
        await qbittorrent.gone(found[2][1])
        assert len(server.world.blocklist) == 3
        with pytest.raises(StaleQueue):
            await arr.delete_queue([next(iter(ids.values()))], **flags)
        await arr.delete_queue([], **flags)


async def test_a_grab_is_marked_as_failed(qbittorrent: RealQBittorrent) -> None:
    async with radarr(qbittorrent) as (server, arr):
        [(_, infohash)] = await grabbed(server, qbittorrent, "Marked One")
        [grab] = await arr.history_since(recently())
        assert (grab.event_type, grab.hash) == ("grabbed", infohash.lower())
        await arr.mark_failed(grab.id)

        async def told() -> bool:
            return any(one.event_type == "downloadFailed" for one in await arr.history_since(recently()))

        await until(told, "the failure is in the history")


async def test_a_command_runs_and_is_remembered_with_its_body() -> None:
    async with radarr(None) as (server, arr):
        movie = server.world.add_movie("Searched", 2020)
        started = await arr.command(RADARR.search_command, **{RADARR.search_ids: [movie.id]})
        [seen] = [one for one in await arr.commands() if one.id == started.id]
        assert seen.name == "MoviesSearch"
        assert seen.body is not None
        assert seen.body[RADARR.search_ids] == [movie.id]


async def test_the_settings_that_matter_are_read(qbittorrent: RealQBittorrent) -> None:
    async with radarr(qbittorrent, category="films", imported_category="done") as (server, arr):
        [client] = await arr.download_clients()
        assert (client.implementation, client.protocol, client.enable) == ("QBittorrent", "torrent", True)
        assert (client.category, client.imported_category) == ("films", "done")
        assert isinstance((await arr.download_client_config()).auto_redownload_failed, bool)
        assert await arr.root_folders() == [str(server.world.root)]


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (FaultType.TOO_MANY_REQUESTS, Transient, "RateLimited"),
        (FaultType.SERVER_ERROR, Transient, "ServerError"),
        (FaultType.UNAVAILABLE, Transient, "ServerError"),
        (FaultType.UNAUTHORIZED, Blocked, "Unauthorized"),
        (FaultType.HTML, Blocked, "NotJSON"),
        (FaultType.REDIRECT, Blocked, "Redirected"),
        (FaultType.CUT, Transient, "Unreachable"),
        (FaultType.CUT_BODY, Transient, "Unreachable"),
    ],
)
async def test_each_fault_has_its_class_and_reason(fault: FaultType, kind: type[LoopError], reason: str) -> None:
    http = Http(OPEN)
    async with stand_in(None) as (server, _):
        arr = Servarr(Endpoint(server.url), server.api_key, http=http)
        await arr.status()
        server.faults.switch_on(fault)
        for call in (arr.queue_status(), arr.queue(), arr.commands(), arr.command("RefreshMonitoredDownloads")):
            with pytest.raises(LoopError) as caught:
                await call
            assert (type(caught.value), caught.value.reason) == (kind, reason)
            assert server.api_key not in str(caught.value)
    await http.close()


@pytest.mark.parametrize("fault", [FaultType.CUT, FaultType.CUT_AFTER, FaultType.THROW_AFTER])
async def test_a_delete_without_an_answer_is_sent_exactly_once(qbittorrent: RealQBittorrent, fault: FaultType) -> None:
    http = Http(OPEN)
    async with stand_in(qbittorrent) as (server, _):
        arr = Servarr(Endpoint(server.url), server.api_key, http=http)
        await grabbed(server, qbittorrent, f"Once {fault}")
        [row] = await arr.queue()
        switched = server.faults.switch_on(fault, method="DELETE")
        with pytest.raises(Transient):
            await arr.delete_queue([row.id], remove_from_client=True, blocklist=True, skip_redownload=True)
        assert switched.hits == 1
        assert len(server.world.blocklist) == (0 if fault is FaultType.CUT else 1)
    await http.close()


async def test_a_wrong_key_is_unauthorized_and_a_broken_one_is_not_sent() -> None:
    http = Http(OPEN)
    async with stand_in(None) as (server, _):
        for key in ("wrong", "with\nline", "ключ"):
            with pytest.raises(Blocked) as caught:
                await Servarr(Endpoint(server.url), key, http=http).status()
            assert caught.value.reason == "Unauthorized"
    await http.close()


def paged(total: int, sizes: list[int]) -> Any:
    """A queue of `total` rows that notes which page sizes it was asked for."""

    async def answer(request: web.Request) -> web.Response:
        size = int(request.query["pageSize"])
        sizes.append(size)
        rows = [{"id": one + 1} for one in range(min(total, size))]
        return web.json_response({"totalRecords": total, "records": rows})

    return answer


async def test_a_long_queue_is_read_as_one_page_of_one_moment() -> None:
    http, sizes = Http(OPEN), list[int]()
    async with serving(paged(2500, sizes)) as url:
        rows = await Servarr(Endpoint(url), "key", http=http).queue()
    await http.close()
    assert [row.id for row in rows] == list(range(1, 2501))
    assert sizes == [1000, 3500]


async def test_a_queue_that_never_comes_whole_is_no_short_queue() -> None:
    http = Http(OPEN)

    async def short(_: web.Request) -> web.Response:
        return web.json_response({"totalRecords": 3, "records": [{"id": 1}, {"id": 2}, {"id": 2}]})

    async with serving(short) as url:
        with pytest.raises(Transient) as caught:
            await Servarr(Endpoint(url), "key", http=http).queue()
    await http.close()
    assert caught.value.reason == "QueueChanging"


async def test_a_404_of_a_proxy_is_no_proof_that_an_item_is_gone() -> None:
    http = Http(OPEN)

    async def page(_: web.Request) -> web.Response:
        return web.Response(status=404, text="<html>nginx", content_type="text/html")

    async with serving(page) as url:
        with pytest.raises(Blocked) as caught:
            await Servarr(Endpoint(url), "key", http=http).movie(1)
    await http.close()
    assert caught.value.reason == "NotFound"


def test_odd_records_are_read() -> None:
    raw = msgspec.json.decode(
        b'{"id": 1, "downloadId": null, "movieId": 0, "added": null, "later": {}}', type=RawRecord
    )
    row = raw.row(RADARR)
    assert (row.item_ids, row.download_id, row.hash, row.added, row.status_messages) == ((), "", "", None, ())
    assert raw.record(RADARR).movie_id is None
    naive = msgspec.json.decode(b'{"id": 1, "lastSearchTime": "2026-01-01T00:00:00.1234560"}', type=Item)
    assert naive.last_search_time == datetime(2026, 1, 1, 0, 0, 0, 123456, UTC)
