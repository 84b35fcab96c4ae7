"""One request to qBittorrent, sent once: what takes the place of the session below qbittorrent-api.

It goes to an address that the egress policy permits, without redirects, within a time and a size, and without proxies
or certificates of the environment; straight through urllib3, which also halves the CPU of the call that every idle
turn makes.
"""

from __future__ import annotations

import contextlib
import socket
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

from looparr.clients.egress import EgressPolicy
from looparr.clients.failures import HttpReason, parse_url
from looparr.clients.http import CONNECT_SECONDS, MEBIBYTE, Endpoint, TlsFiles, ssl_context
from looparr.errors import Blocked

MAX_BYTES = 512 * MEBIBYTE
CHUNK = MEBIBYTE


class _Guard:
    """What the connections of one session share. is_closed: no new ones."""

    def __init__(self, egress: EgressPolicy) -> None:
        self.egress = egress
        self.is_closed = False
        self.connections: weakref.WeakSet[HTTPConnection] = weakref.WeakSet()

    def cut(self) -> None:
        """Cut every connection, those that a thread waits on, too: its call ends at once with an error."""
        for connection in list(self.connections):
            sock = connection.sock
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class _Guarded(HTTPConnection):
    """A connection to an address that the policy permits."""

    def __init__(self, *args: Any, guard: _Guard, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = guard
        guard.connections.add(self)

    def _new_conn(self) -> socket.socket:
        """Resolve, check, and connect to what was checked: the name is not resolved a second time."""
        port = self.port or self.default_port
        trouble: OSError = OSError("no address")
        for address in self._guard.egress.resolve(self.host, port):
            if self._guard.is_closed:
                break
            try:
                sock = socket.create_connection((address, port), CONNECT_SECONDS)
            except OSError as exc:
                trouble = exc
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        raise trouble


class _GuardedTls(_Guarded, HTTPSConnection):
    """The same with TLS; the certificate is still checked against the name."""


class _Plain(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _Tls(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls

    def _validate_conn(self, conn: Any) -> None:
        """Connect, without a warning for each connection when the user asked for insecureSkipVerify."""
        if conn.is_closed:
            conn.connect()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, with the attributes that the library reads of `requests.Response`. headers: case-insensitive."""

    url: str
    status_code: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    request: None = None

    @property
    def text(self) -> str:
        """The body as text."""
        return self.content.decode("utf-8", "replace")


class GuardedSession:
    """What the library takes for its `requests.Session`: connections and cookies of one endpoint.

    Raises Blocked when made with an unreadable CA (TLSFailed) or URL (InvalidURL).
    """

    def __init__(self, endpoint: Endpoint, egress: EgressPolicy) -> None:
        self._headers = {"User-Agent": "looparr", "Accept-Encoding": "gzip"}
        self._cookies: dict[str, str] = {}
        self._guard = _Guard(egress)
        url = parse_url(endpoint.url)
        options: dict[str, Any] = {"maxsize": 4, "guard": self._guard}
        self._pool = (
            _Tls(url.raw_host or "", url.port, ssl_context=ssl_context(endpoint.tls or TlsFiles()), **options)
            if endpoint.is_https
            else _Plain(url.raw_host or "", url.port, **options)
        )

    def request(self, method: str, url: str, *, data: Mapping[str, Any], timeout: float = 30.0, **_: Any) -> Answer:
        """Send a form once. timeout: seconds to wait for the next byte. Raises urllib3's errors and LoopError."""
        headers = self._headers | {"Content-Type": "application/x-www-form-urlencoded"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        reply = self._pool.urlopen(
            method.upper(),
            urlsplit(url).path,
            body=urlencode(data).encode(),
            headers=headers,
            retries=False,
            redirect=False,
            preload_content=False,
            timeout=Timeout(connect=CONNECT_SECONDS, read=timeout),
        )
        try:
            content = _read(reply)
        finally:
            reply.release_conn()
        for cookie in reply.headers.getlist("Set-Cookie"):
            name, __, value = cookie.partition(";")[0].partition("=")
            self._cookies[name.strip()] = value.strip()
        return Answer(url, reply.status, reply.headers, content)

    def cut(self) -> None:
        """Cut what is in flight."""
        self._guard.cut()

    def close(self) -> None:
        """Cut everything, for good."""
        self._guard.is_closed = True
        self._guard.cut()
        self._pool.close()


def _read(reply: BaseHTTPResponse) -> bytes:
    parts = []
    size = 0
    for part in reply.stream(CHUNK, decode_content=True):
        size += len(part)
        if size > MAX_BYTES:
            reply.close()
            raise Blocked(HttpReason.TOO_LARGE, f"qBittorrent answered with more than {MAX_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
