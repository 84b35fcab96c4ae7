"""/livez, /readyz and /metrics, answered by a small server in a thread of its own.

Why not in the event loop: there a handler that answers at all proves that the loop lives, and one that is late (a loop
that chews on a long list for two seconds) fails the kubelet's time-out and has a healthy pod killed. A thread can say
what is true: the loop last beat so many seconds ago. It also serves metrics while the loop is blocked.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from looparr.errors import SettingsError
from looparr.runtime.executor import Executor
from looparr.runtime.telemetry import METRICS_TYPE

BEAT_SECONDS = 1.0
"""How often the event loop says that it is there."""
STALE_SECONDS = 30.0
"""Age of the last beat from which on the loop counts as dead: longer than the longest honest piece of work."""
ANSWER_SECONDS = 2.0
"""How long /readyz waits for the checks, which run in the event loop."""
CONNECTIONS = 16
"""Connections answered at one time; more are closed at once, so that nobody can pile up threads."""
TEXT = "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]

log = structlog.stdlib.get_logger(__name__)


class Check(Protocol):
    """Something that can tell whether it is ready; every `Service` is one."""

    @property
    def name(self) -> str:
        """Its unique name, shown while it is not ready."""

    async def ready(self) -> bool:
        """Tell whether it does its work now."""


class Probes:
    """The probe server as a service. Add it first: it then answers while the others start and stop.

    checks: read at every request, so the live list of services may be given.
    render: gives the text of /metrics; called in a thread.
    port: 0 takes any free one; `address` then tells which.
    """

    name = "probes"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        checks: Sequence[Check],
        render: Callable[[], bytes],
        stale_seconds: float = STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address: tuple[str, int] = (host, port)
        self._checks = checks
        self._render = render
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._beat = clock()
        self._next: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Server | None = None
        self._threads = Executor(self.name, 2)  # one serves, one asks it to end

    async def start(self) -> None:
        """Bind the port and begin to beat. Raises SettingsError when the port cannot be had."""
        host, port = self.address
        try:
            self._server = _Server(self.address, self._answer)
        except OSError as error:
            raise SettingsError(
                f"probes cannot listen on {host}:{port} ({error.strerror}): "
                "set --probes-host / --probes-port or LOOPARR_PROBES_HOST / LOOPARR_PROBES_PORT to a free address",
            ) from error
        self.address = (host, self._server.server_address[1])
        self._loop = asyncio.get_running_loop()
        self._pulse()
        self._threads.submit(self._server.serve_forever, 0.1)
        log.info("probes listened", host=host, port=self.address[1])

    async def ready(self) -> bool:
        """Tell whether the server answers."""
        return self._server is not None

    async def stop(self) -> None:
        """Stop to beat and to answer, and free the port."""
        if self._next is not None:
            self._next.cancel()
        if (server := self._server) is not None:
            self._server = None
            await self._threads.run(server.shutdown)
            server.server_close()
            self._threads.close()

    def _pulse(self) -> None:
        self._beat = self._clock()
        if self._loop is not None:
            self._next = self._loop.call_later(BEAT_SECONDS, self._pulse)

    def _answer(self, path: str) -> Answer:
        match path:
            case "/livez":
                return self._livez()
            case "/readyz":
                return self._readyz()
            case "/metrics":
                return HTTPStatus.OK, METRICS_TYPE, self._render()
            case _:
                return HTTPStatus.NOT_FOUND, TEXT, b"there are /livez, /readyz and /metrics\n"

    def _livez(self) -> Answer:
        age = max(0.0, self._clock() - self._beat)
        if age > self._stale_seconds:
            text = f"the event loop did not beat for {age:.1f} s (limit {self._stale_seconds:g} s)\n"
            return HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, text.encode()
        return HTTPStatus.OK, TEXT, b"ok\n"

    def _readyz(self) -> Answer:
        missing = self._ask_loop()
        status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
        return status, "application/json", json.dumps({"ready": not missing, "notReady": missing}).encode()

    def _ask_loop(self) -> list[str]:
        loop = self._loop
        if loop is None or loop.is_closed():
            return ["event loop"]
        asked = asyncio.run_coroutine_threadsafe(_not_ready(self._checks), loop)
        try:
            return asked.result(timeout=ANSWER_SECONDS)
        except (TimeoutError, concurrent.futures.CancelledError):
            asked.cancel()
            return ["event loop"]


async def _not_ready(checks: Sequence[Check]) -> list[str]:
    """Names of what is not ready; a check that raises is not ready."""
    return [check.name for check in tuple(checks) if not await _holds(check.ready, check.name)]


async def _holds(ready: Callable[[], Awaitable[bool]], name: str) -> bool:
    try:
        return await ready()
    except Exception as error:  # noqa: BLE001 - an unready part must not take the whole answer away
        log.warning("readiness check failed", check=name, error=str(error))
        return False


class _Server(ThreadingHTTPServer):
    """Answers GET and HEAD by calling one function with the path."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answer: Callable[[str], Answer]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a caller hangs up; probes do that."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5.0
    server_version = "looparr"
    sys_version = ""

    def do_GET(self) -> None:
        status, kind, body = self.server.answer(urlsplit(self.path).path)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the base class looks for this name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Write no access log: probes come every few seconds."""
