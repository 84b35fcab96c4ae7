"""What every HTTP client here shares: one pool, one way to send.

Nothing follows a redirect (a redirect on a write may do the write elsewhere, and one on a read may carry the key to
another host), nothing is sent twice, nothing answers with more than a limit, and no message holds a query, a
credential or a body.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

import aiohttp
import msgspec

from looparr.clients.egress import EgressPolicy
from looparr.clients.failures import (
    HttpReason,
    describe,
    is_page,
    is_success,
    not_json,
    parse_date,
    parse_url,
    status_error,
    transport_error,
)
from looparr.errors import Blocked

T = TypeVar("T")

CONNECT_SECONDS = 5.0
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """How to trust an https endpoint. ca_pem: PEM certificates that replace the system's; empty = the system's."""

    ca_pem: bytes = b""
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an outside system is: http(s)://host[:port][/base]; tls None = the system's certificates."""

    url: str
    tls: TlsFiles | None = None

    def at(self, path: str) -> str:
        """Give the full URL of `path` below the base, which is kept: http://h/radarr and api/x make http://h/radarr/api/x."""
        return f"{self.url.rstrip('/')}/{path.lstrip('/')}" if path else self.url

    @property
    def host(self) -> str:
        """Host or host:port as written, without user and password; for messages."""
        return re.split("[/?#]", self.url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]

    @property
    def is_https(self) -> bool:
        """Whether TLS is spoken."""
        return self.url.lower().startswith("https:")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. what: "GET host/path" for messages; headers are case-insensitive."""

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def date(self) -> datetime | None:
        """The Date header as aware UTC, whole seconds; None when absent or unreadable."""
        return parse_date(self.headers.get("Date"))

    @property
    def is_json(self) -> bool:
        """Whether the other side says that this is JSON."""
        return "json" in self.headers.get("Content-Type", "").lower()

    def decode(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Read the body as JSON of the decoder's type. Raises Blocked (NotJSON, UnexpectedReply)."""
        try:
            return decoder.decode(self.body)
        except msgspec.ValidationError as exc:
            raise Blocked(
                HttpReason.UNEXPECTED_REPLY,
                f"{self.what} answered with JSON of another kind ({exc}): is it the URL of the right program?",
            ) from exc
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise not_json(self.what, self.body, self.headers.get("Content-Type", "")) from exc

    @property
    def is_page(self) -> bool:
        """Whether this is HTML."""
        return is_page(self.body, self.headers.get("Content-Type", ""))


class Http:
    """One pool of connections for all aiohttp clients of a process. Make it once; close() at stop.

    egress: checked for every new connection. limit_per_host: connections to one host and port, 0 = no limit.
    """

    def __init__(self, egress: EgressPolicy, *, limit_per_host: int = 100) -> None:
        self._egress = egress
        self._limit_per_host = limit_per_host
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        endpoint: Endpoint,
        path: str = "",
        *,
        params: Mapping[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,  # noqa: ASYNC109 - a limit of the call as a whole, kept by aiohttp
        max_bytes: int = 64 * MEBIBYTE,
        tolerate: Collection[int] = (),
    ) -> Reply:
        """Send once and read the whole answer. timeout: seconds for all of it; connecting at most 5.

        Raises LoopError for every failure and for every status outside 2xx that is not in `tolerate`.
        A GET may be resent by aiohttp on a kept connection that was closed meanwhile; a write never is.
        """
        url = parse_url(endpoint.at(path))
        what = describe(method, url)
        session = self._session or self._open()
        try:
            async with session.request(
                method,
                url,
                params=params,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=_timeout(timeout),
                ssl=ssl_context(endpoint.tls) if endpoint.tls is not None and url.scheme == "https" else True,
            ) as response:
                content = await _read(response, max_bytes, what)
                reply = Reply(what, response.status, response.headers, content)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as exc:
            raise transport_error(what, exc, timeout=timeout) from exc
        if not is_success(reply.status) and reply.status not in tolerate:
            raise status_error(what, reply.status, reply.headers)
        return reply

    async def close(self) -> None:
        """Close all connections; the object may be used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                limit_per_host=self._limit_per_host,
                socket_factory=self._egress.socket_factory(),
                ttl_dns_cache=10,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),  # one object's cookie is no business of another's
            headers={"User-Agent": "looparr"},
            middlewares=(_send_writes_once,),
        )
        return self._session


@lru_cache(maxsize=64)
def ssl_context(tls: TlsFiles) -> ssl.SSLContext:
    """Make (once per content) the context for an https endpoint. Raises Blocked (TLSFailed) for an unreadable CA."""
    try:
        context = ssl.create_default_context(cadata=tls.ca_pem.decode("ascii") if tls.ca_pem else None)
    except (ssl.SSLError, ValueError) as exc:
        raise Blocked(HttpReason.TLS_FAILED, "the CA is no PEM certificate: check tls.caSecretRef") from exc
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=min(CONNECT_SECONDS, seconds))


async def _read(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    parts = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            response.close()
            raise Blocked(HttpReason.TOO_LARGE, f"{what} answered with more than {limit} bytes: is the URL right?")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send_writes_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from resending a DELETE or PUT whose connection was cut: the first one may have worked."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        if request.method == "GET":
            raise
        raise transport_error(describe(request.method, request.url), exc) from exc
