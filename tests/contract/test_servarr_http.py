"""The Radarr stand-in's HTTP side: key, paging, commands, faults, counters, world, all held to Radarr's document."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from looparr.errors import SandboxError
from looparr.sandbox.servarr import FaultType, ServarrServer, serve
from servarr_kit import DOCUMENT, ArrClient, make_torrent, stand_in, until


@pytest.fixture
async def pair() -> AsyncIterator[tuple[ServarrServer, ArrClient]]:
    """A stand-in whose download client is out: enough for everything that is not about torrents."""
    async with stand_in(None) as found:
        yield found


def history_of(server: ServarrServer, lines: int) -> None:
    """Grab and fail so often that the history has pages."""
    movie = server.world.add_movie("Long Story", 2020)
    for number in range(lines):
        content, _ = make_torrent(f"Long.Story.2020.{number}", {"a.mkv": bytes([number])})
        server._arr.grabber.record_grab(server.world.offer(movie, content), "Rss")


async def test_every_path_of_the_reduced_document_is_served_and_fits_it(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    movie = server.world.add_movie("Contract One", 2020, alternate_titles=("Contract Uno",))
    content, _ = make_torrent("Contract.One.2020.1080p.WEB-DL-GRP", {"a.mkv": b"x"})
    server._arr.grabber.record_grab(server.world.offer(movie, content), "Rss")
    line = server.world.history[0]
    await arr.ask("POST", f"history/failed/{line.id}")
    command = await arr.command("MoviesSearch", movieIds=[movie.id])
    ids = {"/queue/{id}": "1", "/movie/{id}": movie.id, "/command/{id}": command["id"], "/failed/{id}": line.id}
    for path, methods in DOCUMENT["paths"].items():
        for method in methods:
            if path == "/ping":
                continue
            short = path.removeprefix("/api/v3/")
            for template, value in ids.items():
                if path.endswith(template):
                    short = short.replace("{id}", str(value))
            body = {"ids": []} if path.endswith("bulk") else {"name": "MoviesSearch", "movieIds": [movie.id]}
            query = {"movieId": movie.id} if path.endswith("/history/movie") else {}
            query |= {"includeMovie": True} if path.endswith(("/history", "/since", "/queue")) else {}
            status, found = await arr.ask(method.upper(), short, json=None if method == "get" else body, **query)
            assert status in ({404} if path.endswith("queue/{id}") else {200, 201}), (path, found)
    assert len(arr.seen) > len(DOCUMENT["paths"])


async def test_a_missing_or_wrong_key_is_401_and_ping_needs_none(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    for headers in ({}, {"X-Api-Key": "wrong"}, {"X-Api-Key": ""}, {"X-Api-Key": "ключ".encode().decode("latin-1")}):
        async with arr.session.get(f"{server.url}/api/v3/queue", headers=headers) as reply:
            assert (reply.status, await reply.text()) == (401, "")
    async with arr.session.get(f"{server.url}/__world") as reply:
        assert reply.status == 401
    async with arr.session.get(f"{server.url}/api/v3/queue", params={"apikey": server.api_key}) as reply:
        assert reply.status == 200
    async with arr.session.get(f"{server.url}/ping") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "OK"})


async def test_it_says_what_it_is_and_what_its_client_is(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    assert (await arr.get("system/status"))["appName"] == "Radarr"
    (client,) = await arr.get("downloadclient")
    fields = {f["name"]: f.get("value") for f in client["fields"]}
    assert client["implementation"] == "QBittorrent"
    assert (fields["host"], fields["port"], fields["useSsl"], fields["urlBase"]) == ("127.0.0.1", 9, False, "")
    assert (fields["movieCategory"], fields["movieImportedCategory"]) == (server.world.configure().category, "")
    assert fields["password"] == "********"
    config = await arr.get("config/downloadclient")
    assert config["autoRedownloadFailed"] is True
    assert config["autoRedownloadFailedFromInteractiveSearch"] is True
    assert (await arr.get("rootfolder"))[0]["path"] == str(server.world.root)


async def test_pages_have_ten_records_unless_asked_otherwise(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    history_of(server, 13)
    first = await arr.get("history")
    assert (first["page"], first["pageSize"], first["totalRecords"], len(first["records"])) == (1, 10, 13, 10)
    assert (first["sortKey"], first["sortDirection"]) == ("date", "descending")
    second = await arr.get("history", page=2)
    ids = [r["id"] for r in first["records"] + second["records"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 13
    assert (await arr.get("history", page=3))["records"] == []
    ascending = await arr.get("history", pageSize=100, sortDirection="ascending", sortKey="date")
    assert [r["id"] for r in ascending["records"]] == sorted(ids)


async def test_history_is_filtered_by_number_movie_and_exact_download_id(
    pair: tuple[ServarrServer, ArrClient],
) -> None:
    server, arr = pair
    history_of(server, 2)
    line = server.world.history[0]
    await arr.ask("POST", f"history/failed/{line.id}")
    assert [e["eventType"] for e in await arr.events(eventType=[4])] == ["downloadFailed"]
    assert len(await arr.events(eventType=[1, 4])) == 3
    assert len(await arr.events(movieIds=[line.movie_id])) == 3
    assert await arr.events(movieIds=[999]) == []
    assert len(await arr.events(downloadId=line.download_id)) == 2
    assert await arr.events(downloadId=(line.download_id or "").lower()) == []
    assert (await arr.ask("GET", "history", eventType="grabbed"))[0] == 400
    assert (await arr.events(includeMovie=True))[0]["movie"]["title"] == "Long Story"
    since = await arr.get("history/since", date=line.date.isoformat(), eventType="downloadFailed")
    assert [e["downloadId"] for e in since] == [line.download_id]
    assert await arr.get("history/since", date="2999-01-01T00:00:00Z") == []
    assert len(await arr.get("history/movie", movieId=line.movie_id, eventType="grabbed")) == 2


async def test_the_same_command_is_not_queued_twice(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    movies = [server.world.add_movie(f"Search {n}", 2020).id for n in range(2)]
    server.world.configure(search_seconds=0.5)
    sent = [
        (await arr.ask("POST", "command", json={"name": "MoviesSearch", "movieIds": ids}))[1]
        for ids in (movies, movies[::-1], movies[:1])
    ]
    assert sent[0]["id"] == sent[1]["id"] != sent[2]["id"]
    assert sent[0]["body"]["movieIds"] == movies

    async def started() -> bool:
        return {c["status"] for c in await arr.get("command") if c["name"] == "MoviesSearch"} == {"started", "queued"}

    await until(started, "one started, one queued")
    await server.world.idle()
    found = await arr.get(f"command/{sent[0]['id']}")
    assert (found["status"], found["result"], found["trigger"]) == ("completed", "successful", "manual")
    assert all("lastSearchTime" in m for m in await arr.get("movie"))
    again = (await arr.ask("POST", "command", json={"name": "moviessearch", "movieIds": movies}))[1]
    assert again["id"] > sent[2]["id"], "an ended command does not stand in the way"


async def test_a_command_nobody_knows_is_an_error(pair: tuple[ServarrServer, ArrClient]) -> None:
    _, arr = pair
    assert (await arr.ask("POST", "command", json={"name": "MakeCoffee"}))[0] == 500
    assert (await arr.ask("POST", "command", json={}))[0] == 400
    assert (await arr.ask("POST", "command", json=[1]))[0] == 400
    assert (await arr.ask("GET", "command/999"))[0] == 404
    assert (await arr.ask("GET", "movie/999"))[0] == 404
    assert (await arr.ask("DELETE", "queue/bulk", json={"ids": "all"}))[0] == 400
    assert (await arr.ask("GET", "queue", page="x"))[0] == 400


async def test_a_removed_movie_takes_its_history_with_it(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    history_of(server, 2)
    movie = server.world.movies[0].id
    server.world.remove_movie(movie)
    assert (await arr.ask("GET", f"movie/{movie}"))[0] == 404
    assert await arr.events() == []


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (FaultType.TOO_MANY_REQUESTS, 429),
        (FaultType.SERVER_ERROR, 500),
        (FaultType.UNAVAILABLE, 503),
        (FaultType.UNAUTHORIZED, 401),
    ],
)
async def test_a_fault_strikes_so_often_and_only_where_it_should(
    pair: tuple[ServarrServer, ArrClient], fault: FaultType, status: int
) -> None:
    server, arr = pair
    switched = server.faults.switch_on(fault, method="GET", path="/api/v3/queue*", times=2, retry_after=7)
    assert (await arr.ask("GET", "history"))[0] == 200
    async with arr.session.get(f"{server.url}/api/v3/queue", headers={"X-Api-Key": server.api_key}) as reply:
        assert reply.status == status
        assert reply.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert (await arr.ask("GET", "queue/status"))[0] == status
    assert (await arr.ask("GET", "queue"))[0] == 200
    assert (switched.hits, switched.times) == (2, 0)


async def test_answers_can_be_late_html_redirects_cut_or_cut_in_half(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    headers = {"X-Api-Key": server.api_key}
    url = f"{server.url}/api/v3/system/status"
    server.faults.switch_on(FaultType.SLOW, times=1, milliseconds=300)
    began = time.monotonic()
    assert (await arr.ask("GET", "queue"))[0] == 200
    assert time.monotonic() - began >= 0.3
    server.faults.switch_on(FaultType.HTML, times=1)
    async with arr.session.get(url, headers=headers) as reply:
        assert (reply.status, reply.content_type) == (200, "text/html")
    server.faults.switch_on(FaultType.REDIRECT, times=1)
    async with arr.session.get(url, headers=headers, allow_redirects=False) as reply:
        assert (reply.status, reply.headers["Location"]) == (307, "/login")
    server.faults.switch_on(FaultType.CUT, times=1)
    with pytest.raises(aiohttp.ClientConnectionError):
        await arr.ask("GET", "queue")
    server.faults.switch_on(FaultType.CUT_BODY, times=1)
    with pytest.raises(aiohttp.ClientError):
        await arr.ask("GET", "system/status")
    assert (await arr.ask("GET", "system/status"))[0] == 200


async def test_the_queue_can_look_empty(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    movie = server.world.add_movie("Waiting One", 2020)
    content, _ = make_torrent("Waiting.One.2020.1080p.WEB-DL-GRP", {"a.mkv": b"x"})
    server.world.offer(movie, content)
    await arr.command("MoviesSearch", movieIds=[movie.id])
    assert len(await arr.rows()) == 1, "a release that waits for the client"
    server.faults.switch_on(FaultType.EMPTY_QUEUE, path="/api/v3/queue*", times=2)
    assert await arr.rows() == []
    assert (await arr.get("queue/status"))["totalCount"] == 0
    assert len(await arr.get("queue/details", movieId=movie.id)) == 1


async def test_every_request_is_counted_by_method_and_template(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    for number in (7, 8):
        await arr.ask("DELETE", f"queue/{number}", blocklist=True)
    await arr.ask("DELETE", "queue/bulk", json={"ids": []})
    await arr.get("queue")
    expected = {"DELETE /api/v3/queue/{id}": 2, "DELETE /api/v3/queue/bulk": 1, "GET /api/v3/queue": 1}
    assert dict(server.requests.counts) == expected
    found = await world(server, arr, "GET", "/requests")
    assert found["counts"] == expected
    first = found["recent"][0]
    assert (first["path"], first["status"]) == ("/api/v3/queue/7", 404)
    assert first["query"] == {"blocklist": "true"}
    await world(server, arr, "DELETE", "/requests")
    assert (await world(server, arr, "GET", "/requests"))["counts"] == {}


async def world(server: ServarrServer, arr: ArrClient, verb: str, where: str = "", **body: Any) -> Any:
    """Ask the control side."""
    headers = {"X-Api-Key": server.api_key}
    async with arr.session.request(verb, f"{server.url}/__world{where}", json=body or None, headers=headers) as reply:
        found = await reply.json()
        assert reply.status < 300, found
        return found


async def test_the_world_can_be_changed_over_http(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    movie = await world(server, arr, "POST", "/movies", title="Über Æther", year=2021, monitored=False)
    assert (await arr.get(f"movie/{movie['id']}"))["monitored"] is False
    await world(server, arr, "PATCH", f"/movies/{movie['id']}", monitored=True, available=False)
    assert (await arr.get(f"movie/{movie['id']}"))["isAvailable"] is False
    content, infohash = make_torrent("Uber.2021.1080p.WEB-DL-GRP", {"a.mkv": b"x"})
    encoded = base64.b64encode(content).decode()
    release = await world(server, arr, "POST", "/releases", movieIds=[movie["id"]], torrent=encoded, indexer="I")
    assert (release["infoHash"], release["title"]) == (infohash, "Uber.2021.1080p.WEB-DL-GRP")
    await world(server, arr, "DELETE", f"/releases/{release['id']}")
    await world(server, arr, "PATCH", "/config", autoRedownloadFailed=False)
    assert (await arr.get("config/downloadclient"))["autoRedownloadFailed"] is False
    fault = await world(server, arr, "POST", "/faults", type="ServerError", method="GET", path="*/queue", times=1)
    assert (await arr.ask("GET", "queue"))[0] == 500
    assert (await world(server, arr, "GET", "/faults"))[0]["hits"] == 1
    await world(server, arr, "DELETE", f"/faults/{fault['id']}")
    shown = await world(server, arr, "GET")
    assert ([m["title"] for m in shown["movies"]], shown["releases"], shown["faults"]) == (["Über Æther"], [], [])
    await world(server, arr, "POST", "/refresh")
    await world(server, arr, "DELETE", f"/movies/{movie['id']}")
    assert await arr.get("movie") == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/movies", {"titel": "x"}),
        ("/releases", {"movieIds": [1]}),
        ("/releases", {"movieIds": [], "magnet": "magnet:?dn=x"}),
        ("/releases", {"movieIds": [], "torrent": "bm90IGEgdG9ycmVudA=="}),
        ("/grab", {"movieIds": [99]}),
        ("/faults", {"type": "Earthquake"}),
    ],
)
async def test_a_wrong_wish_to_the_world_is_refused_with_words(
    pair: tuple[ServarrServer, ArrClient], path: str, body: dict[str, Any]
) -> None:
    server, arr = pair
    headers = {"X-Api-Key": server.api_key}
    async with arr.session.post(f"{server.url}/__world{path}", json=body, headers=headers) as reply:
        assert reply.status == 400
        assert (await reply.json())["message"]


async def test_a_url_base_is_redirected_into(tmp_path: Path) -> None:
    async with stand_in(None, url_base="/radarr/", root=tmp_path / "library") as (server, arr):
        assert server.url.endswith("/radarr")
        assert (await arr.get("system/status"))["urlBase"] == "/radarr"
        root = server.url.removesuffix("/radarr")
        async with arr.session.delete(f"{root}/api/v3/queue/1", allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"]) == (307, "/radarr/api/v3/queue/1")
        assert server.requests.counts["GET /api/v3/system/status"] == 1


async def test_it_can_go_away_and_come_back_on_the_same_port(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    movie = server.world.add_movie("Restart One", 2020)
    port = server.port
    await server.go_away()
    with pytest.raises(aiohttp.ClientConnectionError):
        await arr.get("movie")
    await server.listen()
    assert server.port == port
    assert (await arr.get(f"movie/{movie.id}"))["title"] == "Restart One"


async def test_serve_says_where_it_is_and_runs_until_cancelled(tmp_path: Path) -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        serving = asyncio.create_task(
            serve("Radarr", 0, "http://127.0.0.1:9", api_key="k" * 32, root=tmp_path, refresh_seconds=600, as_json=True)
        )

        async def ready() -> bool:
            return "\n" in out.getvalue()

        await until(ready, "the line on stdout")
    line = json.loads(out.getvalue())
    assert (line["type"], line["apiKey"]) == ("Radarr", "k" * 32)
    async with aiohttp.ClientSession() as session, session.get(f"{line['url']}/ping") as reply:
        assert reply.status == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="one of Radarr"):
        ServarrServer("http://127.0.0.1:9", type="Winamp")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SandboxError, match="--root"):
        async with ServarrServer("http://127.0.0.1:9", root=tmp_path / "file" / "library"):
            pass
    async with ServarrServer("http://127.0.0.1:9", root=tmp_path) as first:
        with pytest.raises(SandboxError, match="--port"):
            async with ServarrServer("http://127.0.0.1:9", port=first.port, root=tmp_path):
                pass


async def test_only_a_users_own_search_looks_for_an_unmonitored_movie(pair: tuple[ServarrServer, ArrClient]) -> None:
    server, arr = pair
    history_of(server, 1)
    line = server.world.history[0]
    server.world.update_movie(line.movie_id, monitored=False)
    await arr.ask("POST", f"history/failed/{line.id}")
    await server.world.idle()
    assert "lastSearchTime" not in await arr.get(f"movie/{line.movie_id}")
    await arr.command("MoviesSearch", movieIds=[line.movie_id])
    assert (await arr.get(f"movie/{line.movie_id}"))["lastSearchTime"]
