"""How every HTTP client here fails: over real sockets, against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from client_kit import OPEN, SECRET, make_certificate, raw, serving
from looparr.clients.egress import AddressAndPort, EgressPolicy, as_api_server
from looparr.clients.failures import parse_date, parse_url, retry_after
from looparr.clients.http import Endpoint, Http, TlsFiles
from looparr.clients.loophttp import LoopHttp
from looparr.clients.qbittorrent.client import QBittorrent
from looparr.errors import Blocked, LoopError, SettingsError, Transient


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    client = Http(OPEN)
    yield client
    await client.close()


async def failure(
    http: Http, url: str, method: str = "GET", tls: TlsFiles | None = None, **options: object
) -> LoopError:
    with pytest.raises(LoopError) as caught:
        await http.request(method, Endpoint(url, tls), **options)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("status", "headers", "kind", "reason"),
    [
        (400, {}, Transient, "Rejected"),
        (401, {}, Blocked, "Unauthorized"),
        (403, {}, Blocked, "Unauthorized"),
        (404, {}, Blocked, "NotFound"),
        (429, {}, Transient, "RateLimited"),
        (500, {}, Transient, "ServerError"),
        (502, {}, Transient, "ServerError"),
        (503, {}, Transient, "ServerError"),
        (503, {"Retry-After": "7"}, Transient, "RateLimited"),
        (301, {"Location": "http://elsewhere.example/"}, Blocked, "Redirected"),
        (307, {"Location": "/login"}, Blocked, "Redirected"),
    ],
)
async def test_each_status_has_its_class_and_reason(
    http: Http, status: int, headers: dict[str, str], kind: type[LoopError], reason: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, text=SECRET)

    async with serving(answer) as url:
        for method in ("GET", "POST", "DELETE"):
            error = await failure(http, f"{url}/base/path?token={SECRET}", method)
            assert (type(error), error.reason) == (kind, reason)
            assert f"{method} {url[7:]}/base/path" in error.message


async def test_a_tolerated_status_is_an_answer(http: Http) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=404, text="x")

    async with serving(answer) as url:
        assert (await http.request("GET", Endpoint(url), tolerate=(404,))).status == 404


async def test_a_redirect_carries_no_key_anywhere(http: Http) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/other"})

    async with serving(answer) as url:
        error = await failure(http, f"{url}/first", "POST", headers={"X-Api-Key": SECRET})
    assert (error.reason, seen) == ("Redirected", ["/first"])


@pytest.mark.parametrize("now", [datetime(2026, 1, 1, tzinfo=UTC)])
def test_retry_after_is_read_in_both_styles(now: datetime) -> None:
    date = {"Date": format_datetime(now, usegmt=True)}
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after({"Retry-After": "12"}) == 12
    assert retry_after({**date, "Retry-After": later}) == 90
    assert retry_after({**date, "Retry-After": date["Date"]}) == 0
    assert retry_after({"Retry-After": "99999999999"}) == 86_400
    assert [retry_after({"Retry-After": text}) for text in ("", "soon", "nan")] == [None, None, None]
    assert retry_after({"Retry-After": "-5"}) == 0


@given(st.text())
@settings(max_examples=50)
def test_no_header_stops_reading_dates(text: str) -> None:
    assert parse_date(text) is None or parse_date(text).tzinfo is UTC  # type: ignore[union-attr]
    assert retry_after({"Retry-After": text}) is None or 0 <= retry_after({"Retry-After": text}) <= 86_400  # type: ignore[operator]


async def test_a_dead_port_is_unreachable(http: Http) -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    error = await failure(http, f"http://127.0.0.1:{port}/x")
    assert (type(error), error.reason) == (Transient, "Unreachable")


async def test_a_name_that_does_not_resolve_is_unreachable(http: Http) -> None:
    error = await failure(http, "http://radarr.invalid/x")
    assert (type(error), error.reason) == (Transient, "Unreachable")


async def test_silence_is_unreachable_and_names_the_limit(http: Http) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with serving(never) as url:
        error = await failure(http, url, timeout=0.1)
    assert (type(error), error.reason) == (Transient, "Unreachable")
    assert "within 0.1 s" in error.message


@pytest.mark.parametrize(
    "reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-hello\r\n"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_cut_write_is_unreachable_and_was_sent_once(http: Http, reply: bytes, method: str) -> None:
    async with raw(reply) as (url, seen):
        error = await failure(http, url, method, body=b"{}")
        assert (type(error), error.reason) == (Transient, "Unreachable")
        assert len(seen) == 1


async def test_an_endless_answer_is_cut_at_the_limit(http: Http) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        while True:
            await reply.write(b" " * 65536)

    async with serving(endless) as url:
        error = await failure(http, url, max_bytes=200_000)
    assert (type(error), error.reason) == (Blocked, "TooLarge")


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        ("<!doctype html><title>Log in</title>", "text/html", "NotJSON"),
        ("  <html>", "text/plain", "NotJSON"),
        ("Ok.", "text/plain", "NotJSON"),
        ("", "application/json", "NotJSON"),
        ('{"a": ', "application/json", "NotJSON"),
        ("[1]", "application/json", "UnexpectedReply"),
    ],
)
async def test_what_is_not_the_json_we_want_is_blocked(http: Http, content: str, kind: str, reason: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=content, content_type=kind)

    async with serving(answer) as url:
        reply = await http.request("GET", Endpoint(url))
        with pytest.raises(Blocked) as caught:
            reply.decode(msgspec.json.Decoder(dict[str, int]))
    assert caught.value.reason == reason


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, bytes]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def ok(_: web.Request) -> web.Response:
    return web.json_response({"a": 1})


async def test_tls_is_trusted_by_ca_or_on_demand_and_by_nothing_else(
    http: Http, certificate: tuple[ssl.SSLContext, bytes]
) -> None:
    context, pem = certificate
    async with serving(ok, context) as url:
        for trusted in (TlsFiles(ca_pem=pem), TlsFiles(insecure_skip_verify=True)):
            assert (await http.request("GET", Endpoint(url, trusted))).status == 200
        error = await failure(http, url)
        assert (type(error), error.reason) == (Blocked, "TLSFailed")
        localhost = url.replace("127.0.0.1", "localhost")
        assert (await failure(http, localhost, tls=TlsFiles(ca_pem=pem))).reason == "TLSFailed"
        assert (await failure(http, url, tls=TlsFiles(ca_pem=b"rubbish"))).reason == "TLSFailed"


async def test_https_to_a_port_without_tls_is_tls_failed(http: Http) -> None:
    async with serving(ok) as url:
        assert (await failure(http, url.replace("http:", "https:"))).reason == "TLSFailed"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_denied_address_is_refused_before_a_connection_is_made(host: str) -> None:
    http = Http(EgressPolicy())
    async with raw(b"") as (url, seen):
        error = await failure(http, url.replace("127.0.0.1", host))
    await http.close()
    assert (type(error), error.reason, seen) == (Blocked, "EgressDenied", [])
    assert "LOOPARR_EGRESS_ALLOW_CIDRS" in error.message


@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("10.1.2.3", True),
        ("8.8.8.8", True),
        ("fd12::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
    ],
)
def test_the_default_policy_denies_what_only_the_operator_can_reach(address: str, permitted: bool) -> None:
    assert EgressPolicy().permits(address, 80) is permitted


def test_the_most_specific_network_decides() -> None:
    policy = EgressPolicy.parse(allow=["10.0.0.0/8", "127.0.0.0/8"], deny=["0.0.0.0/0", "10.9.0.0/16", "127.0.0.0/8"])
    assert policy.permits("10.1.1.1", 80)
    assert not policy.permits("10.9.1.1", 80)
    assert not policy.permits("8.8.8.8", 80)
    assert not policy.permits("127.0.0.1", 80), "deny beats allow"
    assert not EgressPolicy.parse(allow=["0.0.0.0/0"]).permits("169.254.169.254", 80)


def test_the_api_server_is_denied_whatever_is_allowed() -> None:
    servers = frozenset[AddressAndPort]()
    policy = EgressPolicy(allow=OPEN.allow, api_servers=lambda: servers)
    assert policy.permits("127.0.0.1", 6443), "its address is not known yet"
    servers = frozenset({as_api_server("127.0.0.1", 6443)})
    assert not policy.permits("127.0.0.1", 6443)
    assert not policy.permits("::ffff:127.0.0.1", 6443)
    assert policy.permits("127.0.0.1", 6444)


def test_a_wrong_network_is_a_readable_setting_error() -> None:
    with pytest.raises(SettingsError, match=r"egress_allow_cidrs: '10.0.0.1/8'"):
        EgressPolicy.parse(allow=["10.0.0.1/8"])


def test_the_base_path_is_kept() -> None:
    assert Endpoint("http://h/radarr/").at("/api/x") == "http://h/radarr/api/x"
    assert Endpoint("http://h:1").at("api/x") == "http://h:1/api/x"
    assert Endpoint("http://u:p@h:1/x?q=1").host == "h:1"


@pytest.mark.parametrize(
    "url",
    [
        "http://host:99999",
        "http://host:0",
        "http://[::1",
        "http://a:b/",
        "http://ä..x/",
        "http:///x",
        f"http://{'a' * 70}/",
        f"http://user:{SECRET}@host:99999/?{SECRET}",
        f"http://user:{SECRET}/@host:99999/",
        f"http://host:99999/?{SECRET}",
    ],
)
async def test_a_url_that_cannot_be_called_waits_for_a_better_one(http: Http, url: str) -> None:
    error = await failure(http, url)
    assert (type(error), error.reason) == (Blocked, "InvalidURL")
    assert "write it as http://HOST:PORT" in error.message
    client = QBittorrent(Endpoint(url), egress=OPEN)
    with pytest.raises(Blocked) as caught:
        await client.versions()
    await client.close()
    assert caught.value.reason == "InvalidURL"


@given(st.text(), st.text())
def test_no_url_is_more_than_invalid(url: str, rest: str) -> None:
    for text in (url, f"http://{url}", f"http://{url}:{rest}"):
        assert isinstance(Endpoint(text).host, str)
        with contextlib.suppress(Blocked):
            assert parse_url(text).raw_host


async def test_a_loop_posts_json_and_reads_json(http: Http) -> None:
    async def echo(request: web.Request) -> web.Response:
        body = await request.json()
        return web.json_response({"got": body, "key": request.headers["Authorization"], "token": request.query["t"]})

    async with serving(echo) as url:
        endpoint = Endpoint(f"{url}/hook?t=1")
        reply = await LoopHttp(http).post(endpoint, "POST", {"loop": "ünïcode"}, {"Authorization": "Bearer x"}, 5)
    assert reply.status == 200
    assert reply.json == {"got": {"loop": "ünïcode"}, "key": "Bearer x", "token": "1"}


@pytest.mark.parametrize(("text", "kind"), [("", "application/json"), ("Ok.", "text/plain")])
async def test_a_loop_takes_any_2xx_without_json_for_success(http: Http, text: str, kind: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=202, text=text, content_type=kind)

    async with serving(answer) as url:
        reply = await LoopHttp(http).post(Endpoint(url), "PUT", {}, {}, 5)
    assert (reply.status, reply.json) == (202, None)


async def test_a_loop_does_not_take_a_log_in_page_for_success(http: Http) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Log in", content_type="text/html")

    async with serving(page) as url:
        with pytest.raises(Blocked) as caught:
            await LoopHttp(http).post(Endpoint(url), "POST", {}, {}, 5)
    assert caught.value.reason == "NotJSON"


async def test_a_cookie_of_one_call_is_not_sent_with_the_next(http: Http) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with serving(answer) as url:
        for _ in range(2):
            await http.request("GET", Endpoint(url))
    assert seen == [None, None]
