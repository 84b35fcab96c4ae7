"""The qBittorrent client and the mirror against the real qbittorrent-nox, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from client_kit import OPEN, SECRET, make_certificate, raw, serving
from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Endpoint, TlsFiles
from looparr.clients.qbittorrent.client import LOGIN_REFUSED, Credentials, QBittorrent
from looparr.clients.qbittorrent.mirror import Mirror, MirrorKey, MirrorPool, Snapshot
from looparr.errors import Blocked, LoopError, Transient
from looparr.sandbox import torrents
from looparr.sandbox.qbittorrent import QBittorrent as Program
from servarr_kit import until

real = pytest.mark.real
PASSWORD = "correct horse"
GOOD = Credentials("admin", PASSWORD)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    instance = Program.start(tmp_path_factory.mktemp("qbittorrent"), password=PASSWORD)
    yield instance
    instance.stop()


@asynccontextmanager
async def calling(url: str, credentials: Credentials | None = GOOD, **options: Any) -> AsyncIterator[QBittorrent]:
    client = QBittorrent(Endpoint(url), credentials, **{"egress": OPEN} | options)
    yield client
    await client.close()


def torrent(folder: Path, name: str, **options: Any) -> torrents.Torrent:
    source = folder / name
    source.write_bytes(name.encode() * 20_000)
    return torrents.make(source, **options)


@real
async def test_versions_torrents_privacy_trackers_and_deletion(program: Program, tmp_path: Path) -> None:
    name = "Фильм 映画 'q' & x.mkv"
    made = torrent(tmp_path, name, private=True)
    torrents.add(program, made, category="films")
    async with calling(program.url) as client:
        versions = await client.versions()
        assert versions.web_api_tuple > (2, 8)
        [found] = await client.info([made.infohash])
        assert (found.hash, found.name, found.category, found.state) == (made.infohash, name, "films", "stalledDL")
        assert (found.progress, found.tags, found.infohash_v1) == (0, frozenset(), made.infohash)
        assert found.added_on > 1_700_000_000
        assert await client.is_private(made.infohash) is True
        assert all(not one.is_real for one in await client.trackers(made.infohash))

        await client.delete([made.infohash, "b" * 40], delete_files=True)

        async def gone() -> bool:
            return not await client.info([made.infohash])

        await until(gone, "the torrent is gone")
        assert await client.is_private(made.infohash) is None
        assert await client.trackers(made.infohash) == []


@real
async def test_privacy_without_metadata_is_not_known(program: Program) -> None:
    infohash = "c" * 40
    with program.client() as other:
        other.torrents_add(urls=f"magnet:?xt=urn:btih:{infohash}")
    async with calling(program.url) as client:

        async def listed() -> bool:
            return bool(await client.info([infohash]))

        await until(listed, "the magnet is listed")
        assert await client.is_private(infohash) is None
        await client.delete([infohash], delete_files=True)


@real
async def test_a_wrong_password_is_tried_once_and_nobody_is_banned(program: Program) -> None:
    async with calling(program.url, Credentials("admin", SECRET)) as client:
        for _ in range(8):
            errors = await asyncio.gather(*(client.info(["a" * 40]) for _ in range(4)), return_exceptions=True)
            assert {one.reason for one in errors if isinstance(one, Blocked)} == {LOGIN_REFUSED}
            assert not any(SECRET in str(one) for one in errors)
        client.forget_refusal()
        with pytest.raises(Blocked, match="refused username or password"):
            await client.versions()
    async with calling(program.url, None) as client:
        with pytest.raises(Blocked, match="wants a log-in"):
            await client.versions()
    async with calling(program.url) as client:
        assert (await client.versions()).app, "the right password still works: no ban"


@real
async def test_a_ban_is_told_from_a_wrong_password(tmp_path: Path) -> None:
    instance = Program.start(tmp_path / "banning", password=PASSWORD)
    try:
        async with calling(instance.url, Credentials("admin", "wrong")) as client:
            for _ in range(8):
                client.forget_refusal()
                with pytest.raises(Blocked) as caught:
                    await client.versions()
            assert caught.value.reason == LOGIN_REFUSED
            assert "banned" in caught.value.message
    finally:
        instance.stop()


async def test_a_refusal_lapses_after_an_hour() -> None:
    logins, now, right = 0, 100.0, False

    async def answer(request: web.Request) -> web.Response:
        nonlocal logins
        if request.path.endswith("auth/login"):
            logins += 1
            return web.Response(text="Ok." if right else "Fails.", headers={"Set-Cookie": "SID=1"} if right else {})
        return web.Response(status=200 if "SID" in request.cookies else 403, text="2.8.19")

    async with serving(answer) as url, calling(url, monotonic=lambda: now) as client:
        for now in (100.0, 3699.9):  # noqa: B007 - the client's clock reads it
            with pytest.raises(Blocked, match="refused username or password"):
                await client.versions()
        assert logins == 1
        now = 3700.0
        with pytest.raises(Blocked, match="refused username or password"):
            await client.versions()
        assert logins == 2
        now, right = 7300.0, True
        assert (await client.versions()).web_api == "2.8.19"
        assert logins == 3


async def test_odd_values_of_a_tracker_do_not_cost_the_others() -> None:
    rows = [
        {"url": "http://one/", "status": 2, "msg": None, "tier": ""},
        {"url": "http://two/", "status": 4.0, "msg": "down"},
        {"url": "http://three/", "status": "2", "msg": 7},
        {"url": None, "status": None},
    ]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(rows)

    async with serving(answer) as url, calling(url) as client:
        found = await client.trackers("a" * 40)
    assert [(one.url, one.status, one.msg) for one in found] == [
        ("http://one/", 2, ""),
        ("http://two/", 4, "down"),
        ("http://three/", 2, ""),
        ("", 0, ""),
    ]


@real
async def test_the_mirror_follows_and_a_restart_is_a_full_list(tmp_path: Path) -> None:
    instance = Program.start(tmp_path / "restarting", password=PASSWORD)
    made = torrent(tmp_path, "mirrored.mkv")
    mirror = Mirror(QBittorrent(Endpoint(instance.url), GOOD, egress=OPEN))
    try:
        first = await mirror.refresh(0)
        assert (first.full, dict(first.torrents), first.connection_status) == (True, {}, "firewalled")
        assert first.skew_seconds is not None
        assert abs(first.skew_seconds) < 5
        cursor, _, _ = mirror.changed_since(None)
        torrents.add(instance, made)

        seen: set[str] = set()

        async def told() -> bool:
            nonlocal cursor
            snapshot = await mirror.refresh(0)
            assert not snapshot.full
            cursor, changed, _ = mirror.changed_since(cursor)
            seen.update(changed)
            return snapshot.torrents.get(made.infohash) is not None

        await until(told, "the mirror shows it")
        assert seen == {made.infohash}
        assert await mirror.client.info([made.infohash]) != []
        instance.stop()
        with pytest.raises(Transient):
            await mirror.refresh(0)
        instance.start_again()
        again = await mirror.refresh(0)
        assert again.full
        await mirror.client.delete([made.infohash], delete_files=True)

        async def gone() -> bool:
            return made.infohash not in (await mirror.refresh(0)).torrents

        await until(gone, "the torrent is gone")
        assert made.infohash in mirror.changed_since(cursor)[2]
    finally:
        await mirror.close()
        instance.stop()


def answering(calls: list[str], reply: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    async def handle(request: web.Request) -> web.StreamResponse:
        calls.append(f"{request.method} {request.path}")
        return await reply(request)

    return handle


async def maindata(request: web.Request) -> web.Response:
    rid = int((await request.post())["rid"])  # type: ignore[arg-type]
    return web.json_response({"rid": rid + 1, "full_update": not rid, "torrents": {}})


async def test_callers_at_the_same_time_share_one_call_and_young_results_are_reused() -> None:
    calls: list[str] = []
    now = 100.0
    async with serving(answering(calls, maindata)) as url:
        mirror = Mirror(QBittorrent(Endpoint(url), egress=OPEN), monotonic=lambda: now)
        snapshots: list[Snapshot] = await asyncio.gather(*(mirror.refresh(0) for _ in range(20)))
        assert len({id(one) for one in snapshots}) == len(calls) == 1
        now = 109.0
        assert await mirror.refresh(10) is snapshots[0]
        assert (await mirror.refresh(9)).at == 109.0
        assert calls == ["POST /api/v2/sync/maindata"] * 2
        await mirror.close()


async def test_a_cancelled_caller_does_not_cost_the_others_their_answer() -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await release.wait()
        return await maindata(request)

    async with serving(answering([], slow)) as url:
        mirror = Mirror(QBittorrent(Endpoint(url), egress=OPEN))
        one, other = (asyncio.create_task(mirror.refresh(0)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        release.set()
        assert (await other).full
        with pytest.raises(asyncio.CancelledError):
            await one
        await mirror.close()


async def test_closing_ends_calls_that_wait_for_their_turn() -> None:
    started = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        started.set()
        await asyncio.sleep(60)
        return web.Response()

    async with serving(never) as url:
        client = QBittorrent(Endpoint(url), egress=OPEN)
        waiting = [asyncio.create_task(client.versions()) for _ in range(3)]
        await started.wait()
        await client.close()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in errors] == [Transient] * 3


async def test_closing_ends_a_call_in_flight_at_once() -> None:
    started = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        started.set()
        await asyncio.sleep(60)
        return web.Response()

    async with serving(answering([], never)) as url:
        mirror = Mirror(QBittorrent(Endpoint(url), egress=OPEN))
        asked = asyncio.create_task(mirror.refresh(0))
        await started.wait()
        await mirror.close()
        with pytest.raises(Transient):
            await asked

        async def ended() -> bool:
            return not any("qbittorrent-" in thread.name and url[7:] in thread.name for thread in threading.enumerate())

        await until(ended, "its thread has ended", 5)


@pytest.mark.parametrize(
    ("status", "text", "headers", "kind", "reason"),
    [
        (200, "<html>Log in", {}, Blocked, "NotJSON"),
        (200, "Fails.", {}, Blocked, "NotJSON"),
        (401, "Unauthorized", {}, Blocked, "Unauthorized"),
        (404, "", {}, Blocked, "NotFound"),
        (500, "boom", {}, Transient, "ServerError"),
        (503, "", {"Retry-After": "3"}, Transient, "RateLimited"),
        (302, "", {"Location": "http://login.example/?next=x"}, Blocked, "Redirected"),
    ],
)
async def test_each_answer_has_its_class_and_reason_and_is_asked_for_once(
    status: int, text: str, headers: dict[str, str], kind: type[LoopError], reason: str
) -> None:
    calls: list[str] = []

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    async with serving(answering(calls, answer)) as url, calling(url) as client:
        with pytest.raises(LoopError) as caught:
            await client.maindata(0)
    assert (type(caught.value), caught.value.reason) == (kind, reason)
    assert calls == ["POST /api/v2/sync/maindata"], "no HEAD, no second try"


async def test_a_redirected_log_in_is_no_success() -> None:
    async def answer(request: web.Request) -> web.Response:
        is_login = request.path.endswith("auth/login")
        return web.Response(status=302 if is_login else 403, headers={"Location": "/sso"} if is_login else {})

    async with serving(answer) as url, calling(url) as client:
        with pytest.raises(Blocked) as caught:
            await client.maindata(0)
    assert caught.value.reason == "Redirected"


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"SSH-2.0-hello\r\n"])
async def test_a_cut_delete_is_unreachable_and_was_sent_once(reply: bytes) -> None:
    async with raw(reply) as (url, seen), calling(url) as client:
        with pytest.raises(Transient) as caught:
            await client.delete(["a" * 40], delete_files=True)
        assert (caught.value.reason, len(seen)) == ("Unreachable", 1)


async def test_silence_is_unreachable_within_its_limit() -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with serving(never) as url, calling(url, list_timeout=0.2) as client:
        with pytest.raises(Transient) as caught:
            await client.maindata(0)
    assert "within 0.2 s" in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_denied_address_is_refused_before_a_connection_is_made(host: str) -> None:
    async with raw(b"") as (url, seen):
        async with calling(url.replace("127.0.0.1", host), egress=EgressPolicy()) as client:
            with pytest.raises(Blocked) as caught:
                await client.versions()
        assert (caught.value.reason, seen) == ("EgressDenied", [])


async def test_only_hashes_may_be_named() -> None:
    async with calling("http://127.0.0.1:9") as client:
        for wrong in ("all", "", "a" * 39, "a" * 40 + "|all"):
            with pytest.raises(ValueError, match="no torrent hash"):
                await client.delete([wrong], delete_files=True)
        await client.delete([], delete_files=True)
        assert await client.info([]) == []


async def test_tls_is_trusted_by_ca_or_on_demand_and_by_nothing_else(tmp_path: Path) -> None:
    context, pem = make_certificate(tmp_path)
    async with serving(maindata, context) as url:
        for trusted in (TlsFiles(ca_pem=pem), TlsFiles(insecure_skip_verify=True)):
            client = QBittorrent(Endpoint(url, trusted), egress=OPEN)
            assert (await client.maindata(0)).full_update
            await client.close()
        localhost = url.replace("127.0.0.1", "localhost")
        for endpoint in (Endpoint(url), Endpoint(localhost, TlsFiles(ca_pem=pem))):
            client = QBittorrent(endpoint, egress=OPEN)
            with pytest.raises(Blocked) as caught:
                await client.maindata(0)
            await client.close()
            assert caught.value.reason == "TLSFailed"


async def test_an_unreadable_ca_is_an_error_of_the_call_not_of_the_making() -> None:
    client = QBittorrent(Endpoint("https://127.0.0.1:9", TlsFiles(ca_pem=b"rubbish")), GOOD, egress=OPEN)
    with pytest.raises(Blocked) as caught:
        await client.versions()
    await client.close()
    assert caught.value.reason == "TLSFailed"


async def test_the_environment_gives_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "USERNAME", "PASSWORD", "API_KEY", "DO_NOT_VERIFY_WEBUI_CERTIFICATE"):
        monkeypatch.setenv(f"QBITTORRENTAPI_{name}", SECRET)
    calls: list[str] = []

    async def forbid(request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        return web.Response(status=403)

    async with serving(answering(calls, forbid)) as url, calling(url, None) as client:
        with pytest.raises(Blocked, match="wants a log-in"):
            await client.versions()
    assert calls == ["POST /api/v2/app/version"]


async def test_a_pool_shares_a_mirror_and_closes_it_with_the_last_user() -> None:
    pool, key = MirrorPool(), MirrorKey("media", "http://127.0.0.1:9", "uid", "1")

    def make() -> Mirror:
        return Mirror(QBittorrent(Endpoint(key.url), egress=OPEN))

    first = pool.acquire(key, make)
    assert pool.acquire(key, make) is first
    other = pool.acquire(MirrorKey("media", key.url, "uid", "2"), make)
    assert other is not first, "another Secret version reads its own mirror"
    await pool.release(key)
    with pytest.raises(Transient):
        await first.refresh(0)
    await pool.release(key)
    with pytest.raises(Transient, match="closed"):
        await first.refresh(0)
    await pool.release(key)
    assert pool.acquire(key, make) is not first
    await pool.close()
