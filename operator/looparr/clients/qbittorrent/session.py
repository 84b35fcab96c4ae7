"""The transport below qbittorrent-api, held to the rules of this house.

The library retries everything once (a delete, too), throws its session away when it does, follows redirects, logs in
again on every 403 from every thread, sends HEAD (which qBittorrent 4.5.2 answers with a body that spoils the next
answer), and reads proxies, passwords and certificates from the environment. Here: one request is sent once, to an
address that the egress policy permits, without redirects, within a time and a size; straight through urllib3, which
also halves the CPU of the call that every idle turn makes. A log-in that was refused is not
tried again for an hour: qBittorrent bans an address after five wrong passwords, and then the right one is of no use.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from qbittorrentapi import APINames, Client, Forbidden403Error, HTTPError, LoginFailed
from qbittorrentapi.exceptions import APIError
from requests import RequestException, Response
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError as Urllib3Error
from yarl import URL

from looparr.clients.egress import EgressPolicy
from looparr.clients.failures import HttpReason, describe, parse_url, status_error, transport_error
from looparr.clients.http import CONNECT_SECONDS, MEBIBYTE, Endpoint, TlsFiles, ssl_context
from looparr.errors import Blocked

LOGIN_REFUSED = "LoginRefused"
"""Reason of a refused log-in; it stays until `forget_refusal`, or for REFUSED_FOR seconds."""
REFUSED_FOR = 3600.0
"""Seconds after which the same credentials are tried once more; qBittorrent's ban lasts as long."""
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


@dataclass(frozen=True, slots=True)
class Credentials:
    """username and password. Both empty: none."""

    username: str = ""
    password: str = field(default="", repr=False)


class Caller(Client):
    """qbittorrent-api's client, sending once and logging in at most once per refusal. Blocking; any thread."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None,
        egress: EgressPolicy,
        monotonic: Callable[[], float],
    ) -> None:
        self._endpoint = endpoint
        self._egress = egress
        self._guarded: GuardedSession | None = None
        self._login_lock = threading.Lock()
        self._logins = 0
        self._monotonic = monotonic
        self._refusal = ""
        self._refused_at = 0.0
        super().__init__(host=endpoint.url, FORCE_SCHEME_FROM_HOST=True, SIMPLE_RESPONSES=True)
        # The library reads the environment where nothing is given; here only the Secret counts.
        self.host = endpoint.url
        self.username = credentials.username if credentials else ""
        self._password = credentials.password if credentials else ""
        self._api_key = ""

    @property
    def _session(self) -> GuardedSession:  # type: ignore[override] # all that the library calls is `request`
        if self._guarded is None:
            self._guarded = GuardedSession(self._endpoint, self._egress)
        return self._guarded

    def _trigger_session_initialization(self) -> None:
        """Keep the session: its cookie holds the state of sync/maindata, and a new log-in replaces the cookie."""

    def _is_endpoint_supported_for_version(self, *_: Any, **__: Any) -> bool:
        """Ask nothing: we branch on the version ourselves, and the library would fetch it for each call."""
        return True

    def _request_manager(self, *_: Any, **kwargs: Any) -> Any:
        """Send once. The library would send everything again after a failure, a delete, too."""
        kwargs.pop("version_introduced", None)
        kwargs.pop("version_removed", None)
        return self._request(**kwargs)

    def _auth_request(self, *_: Any, **kwargs: Any) -> Any:
        """Send; on 403 log in once, for all threads together, and send again (a 403 has done nothing)."""
        kwargs.pop("_retry_backoff_factor", None)
        seen = self._logins
        try:
            return self._request_manager(**kwargs)
        except Forbidden403Error:
            if kwargs["api_namespace"] == APINames.Authorization:
                raise
        with self._login_lock:
            if self._logins == seen:
                self._log_in()
        return self._request_manager(**kwargs)

    @staticmethod
    def _handle_error_responses(data: Mapping[str, Any], params: Mapping[str, Any], response: Any) -> None:
        """Take a redirect for the error it is; the library would take it for success."""
        if response.headers.get("Location"):
            raise status_error(describe("POST", URL(response.url)), response.status_code, response.headers)
        Client._handle_error_responses(data, params, response)  # noqa: SLF001 - the class it belongs to is ours

    def forget_refusal(self) -> None:
        """Log in again at the next 403."""
        self._refusal = ""

    def _log_in(self) -> None:
        """Try once; what was refused stays refused for an hour."""
        now = self._monotonic()
        if self._refusal and now - self._refused_at >= REFUSED_FOR:
            self._refusal = ""
        if not self._refusal:
            self._refusal, self._refused_at = self._ask_to_log_in(), now
        if self._refusal:
            raise Blocked(LOGIN_REFUSED, f"qBittorrent at {self._endpoint.host} {self._refusal}")
        self._logins += 1

    def _ask_to_log_in(self) -> str:
        """Give why it was refused, as the end of a sentence; "" when it was not."""
        if not self.username:
            return "wants a log-in: name a Secret with username and password in credentialsSecretRef"
        try:
            self.auth_log_in()
        except LoginFailed:
            return (
                "refused username or password: correct the Secret"
                " (Looparr does not try the same ones again for an hour, so as not to be banned)"
            )
        except Forbidden403Error:
            return (
                "has banned this address after too many wrong passwords: correct the Secret,"
                " then wait for the end of the ban (an hour) or restart qBittorrent"
            )
        return ""

    def send(self, namespace: str, method: str, data: Mapping[str, Any], timeout: float) -> Answer:
        """Send one call (POST, as the library does: lists of hashes are long). Raises LoopError."""
        what = f"qBittorrent {self._endpoint.host}/api/v2/{namespace}/{method}"
        parse_url(self._endpoint.url)  # the library would read a wrong one in a way of its own
        try:
            answer: Answer = self._post(
                _name=namespace,
                _method=method,
                data=data,
                response_class=Response,
                requests_args={"timeout": timeout},
            )
        except HTTPError as exc:
            reply = exc.response
            raise status_error(what, exc.http_status_code, reply.headers if reply is not None else {}) from exc
        except (RequestException, Urllib3Error, OSError, ValueError, APIError) as exc:
            raise transport_error(what, exc, timeout=timeout) from exc
        return answer

    def cut(self) -> None:
        """Cut what is in flight."""
        if self._guarded is not None:
            self._guarded.cut()

    def shut(self) -> None:
        """Cut what is in flight and close."""
        if self._guarded is not None:
            self._guarded.close()
