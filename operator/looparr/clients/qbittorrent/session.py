"""qbittorrent-api held to the rules of this house: what it sends, and when it logs in.

The library retries everything once (a delete, too), throws its session away when it does, follows redirects, logs in
again on every 403 from every thread, sends HEAD (which qBittorrent 4.5.2 answers with a body that spoils the next
answer), and reads passwords from the environment. Here one request is sent once (`transport`). A log-in that was
refused is not tried again for an hour: qBittorrent bans an address after five wrong passwords, and then the right one
is of no use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from qbittorrentapi import APINames, Client, Forbidden403Error, HTTPError, LoginFailed
from qbittorrentapi.exceptions import APIError
from requests import RequestException, Response
from urllib3.exceptions import HTTPError as Urllib3Error
from yarl import URL

from looparr.clients.egress import EgressPolicy
from looparr.clients.failures import describe, parse_url, status_error, transport_error
from looparr.clients.http import Endpoint
from looparr.clients.qbittorrent.transport import Answer, GuardedSession
from looparr.errors import Blocked

LOGIN_REFUSED = "LoginRefused"
"""Reason of a refused log-in; it stays until `forget_refusal`, or for REFUSED_FOR seconds."""
REFUSED_FOR = 3600.0
"""Seconds after which the same credentials are tried once more; qBittorrent's ban lasts as long."""


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
