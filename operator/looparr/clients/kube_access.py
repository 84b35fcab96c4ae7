"""How the API server is reached: address, certificate authority and credentials, from a kubeconfig or the pod.

Credentials rotate: a token file is read again for every request, everything after a 401 or a failure of TLS. Each
session is new, because Kopf closes the session that met a 401, and one that is shared would take everybody's requests
with it. A session keeps the certificate that it was made with; `KubeCalls` makes a new one when that has changed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import tempfile
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from looparr.clients.egress import AddressAndPort, as_api_server
from looparr.clients.kube_config import ACCOUNT, Credentials, read_kubeconfig, read_pod
from looparr.errors import SettingsError
from looparr.runtime.executor import Executor

Handler = Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
LOG = logging.getLogger(__name__)

PLUGIN_PAUSE = 10.0
"""Seconds between two runs of a credential plugin: what it gave last is refused, and it gives the same again."""
RESOLVE_AGAIN, RESOLVE_SOON = 60.0, 1.0
"""Seconds until the API server's name is resolved again; soon: while its address is not known."""


class Shown(NamedTuple):
    """What a request shows to the API server: a token, and which of the credentials a connection was made with."""

    token: str | None
    version: int

    def __repr__(self) -> str:
        return f"Shown(version={self.version})"


class KubeAccess:
    """The way to one API server. `read` gives the credentials afresh; it is asked again after a 401.

    version: counts the changes of the credentials. Raises SettingsError, at once, when they cannot be read.
    """

    def __init__(self, read: Callable[[], Credentials]) -> None:
        self._read = read
        self._now = read()
        self._contexts: weakref.WeakSet[ssl.SSLContext] = weakref.WeakSet()
        self._addresses: frozenset[AddressAndPort] = frozenset()
        self._unresolved = False
        self._reading = asyncio.Lock()
        self._thread = Executor("credentials", 1)
        self._read_at = -math.inf
        self._complained = False
        self.version = 0

    @classmethod
    def from_kubeconfig(cls, path: Path) -> KubeAccess:
        """Use the current context of a kubeconfig file."""
        return cls(lambda: read_kubeconfig(path))

    @classmethod
    def from_pod(cls, environ: Mapping[str, str], account: Path = ACCOUNT) -> KubeAccess:
        """Use the pod's own ServiceAccount."""
        return cls(lambda: read_pod(environ, account))

    @property
    def server(self) -> str:
        """URL of the API server, without a slash at its end."""
        return self._now.server

    def addresses(self) -> frozenset[AddressAndPort]:
        """Give the API server's addresses as they were last resolved; none before `resolve` has succeeded."""
        return self._addresses

    async def resolve(self) -> bool:
        """Resolve the API server's name; tell whether that worked. What is known is kept when it did not."""
        url = urlsplit(self.server)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            if not self._addresses and not self._unresolved:
                LOG.error(  # noqa: TRY400 - the error says it all
                    "name of the API server did not resolve, loops could call it until it does, host=%s error=%s",
                    url.hostname,
                    error,
                )
            self._unresolved = True
            return False
        self._addresses = frozenset(as_api_server(str(address[0]), port) for *_, address in found)
        if self._unresolved:
            LOG.info("name of the API server resolves again, host=%s", url.hostname)
        self._unresolved = False
        return True

    async def keep_resolved(self) -> None:
        """Resolve the API server's name again and again; for ever."""
        while True:
            await asyncio.sleep(RESOLVE_AGAIN if self._addresses else RESOLVE_SOON)
            await self.resolve()

    def token(self) -> str | None:
        """Give the bearer token as it is now; None where a client certificate lets us in."""
        if self._now.token_file is None:
            return self._now.token
        try:
            return self._now.token_file.read_text().strip()
        except OSError:
            return None

    async def reload(self) -> None:
        """Read the credentials again; keeps the old ones when that fails, or when what was read is of no use.

        A new authority is trusted by the sessions that exist, too: Kopf asks for a new one only after a 401. Many ask
        at once; a plugin is run for all of them together, and not again for PLUGIN_PAUSE seconds.
        """
        async with self._reading:
            if self._now.from_plugin and time.monotonic() < self._read_at + PLUGIN_PAUSE:
                return
            try:
                fresh = await self._thread.run(self._read) if self._now.from_plugin else self._read()
                _context(fresh)
            except (SettingsError, ValueError, OSError) as error:
                self._complain(error)
                return
            finally:
                self._read_at = time.monotonic()
            self._complained = False
            self._take(fresh)

    def _take(self, fresh: Credentials) -> None:
        before, self._now = self._now, fresh
        if fresh.connection == before.connection:
            return
        self.version += 1
        if fresh.ca and fresh.server.startswith("https:"):
            for context in self._contexts:
                context.load_verify_locations(cadata=fresh.ca.decode())

    def _complain(self, error: Exception) -> None:
        """Say once that the old credentials stay, without what a plugin said."""
        if not self._complained:
            LOG.warning(
                "credentials could not be read again, the old ones are kept, error=%s",
                str(error).partition(" failed: ")[0] if isinstance(error, SettingsError) else type(error).__name__,
            )
        self._complained = True

    def shown(self) -> Shown:
        """Give what a request shows now."""
        return Shown(self.token(), self.version)

    async def renewed(self, refused: Shown) -> bool:
        """Read the credentials again, after a 401; tell whether they are others than those that were refused."""
        if self.shown() == refused:
            await self.reload()
        return self.shown() != refused

    def tls(self) -> ssl.SSLContext | None:
        """Make the TLS context of a new session; None for plain HTTP."""
        context = _context(self._now)
        if context is not None:
            self._contexts.add(context)
        return context

    def session(
        self, *, connections: int = 32, total: float | None = None, authorized: bool = True
    ) -> aiohttp.ClientSession:
        """Open a session. connections: limit of the pool; total: seconds per request, None for watches.

        authorized: it puts the token on every request by itself, and renews it, as somebody else's client needs it.
        """
        tls = self.tls()
        connector = aiohttp.TCPConnector(limit=connections, ssl=tls if tls is not None else True)
        limits = aiohttp.ClientTimeout(total=total, sock_connect=5)
        middlewares = (self.authorize,) if authorized else ()
        return aiohttp.ClientSession(connector=connector, timeout=limits, middlewares=middlewares)

    async def authorize(self, request: aiohttp.ClientRequest, handler: Handler) -> aiohttp.ClientResponse:
        """Put the token on a request; after a 401 read the credentials again and try once more (aiohttp middleware).

        A request that was redirected to another origin goes without it.
        """
        shown = self.shown()
        self._put_token(request)
        try:
            response = await handler(request)
        except aiohttp.ClientSSLError:
            await self.reload()  # for the next request: the authority may be a new one
            raise
        if response.status != 401:  # noqa: PLR2004 - Unauthorized
            return response
        if not await self.renewed(shown) or self.token() == shown.token:
            return response
        response.close()
        self._put_token(request)
        return await handler(request)

    def _put_token(self, request: aiohttp.ClientRequest) -> None:
        request.headers.pop("Authorization", None)
        if request.url.origin() == URL(self.server).origin() and (token := self.token()):
            request.headers["Authorization"] = f"Bearer {token}"


def _context(credentials: Credentials) -> ssl.SSLContext | None:
    """Make a TLS context; None for plain HTTP. Raises OSError (ssl.SSLError is one) and ValueError."""
    if not credentials.server.startswith("https:"):
        return None
    context = ssl.create_default_context(cadata=credentials.ca.decode() if credentials.ca else None)
    if credentials.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credentials.certificate and credentials.key:
        with tempfile.NamedTemporaryFile() as pem:  # Python takes a client certificate only from a file
            pem.write(credentials.certificate + b"\n" + credentials.key)
            pem.flush()
            context.load_cert_chain(pem.name)
    return context
