"""Requests to the API server over connections of one's own: what everything that we ask of it goes through.

The official client and aiohttp's middlewares would do the same for a tenth of the operator's CPU and 20 MiB more. Kopf
and each writer have connections apart, because Kopf closes those that met a 401, with everybody's requests on them.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import aiohttp
from yarl import URL

from looparr.clients.kube_access import KubeAccess

LIMIT = 8.0
"""Seconds that one call may take."""
JSON = "application/json"


class Unreachable(Exception):
    """No answer came from the API server; its text is the kind of failure."""


class KubeCalls:
    """One pool of connections, made anew when the credentials have changed since it was made.

    The one before is closed at the next change, or at the end, so that its calls in flight come to theirs.
    """

    def __init__(self, access: KubeAccess, *, connections: int, accept: str = JSON) -> None:
        self._access = access
        self._connections = connections
        self._accept = accept
        self._sessions: list[aiohttp.ClientSession] = []
        self._version = -1
        self._closed = False

    async def send(
        self, method: str, path: str, data: bytes | None = None, *, content_type: str = JSON
    ) -> tuple[int, bytes]:
        """Send, and give status and body; after a 401 once more if other credentials are found. Raises Unreachable."""
        shown = self._access.shown()
        code, answer = await self._once(method, path, data, content_type)
        if code == HTTPStatus.UNAUTHORIZED and await self._access.renewed(shown):
            code, answer = await self._once(method, path, data, content_type)
        return code, answer

    async def _once(self, method: str, path: str, data: bytes | None, content_type: str) -> tuple[int, bytes]:
        headers = {"Accept": self._accept, "Content-Type": content_type}
        if token := self._access.token():
            headers["Authorization"] = f"Bearer {token}"
        url = URL(self._access.server + path, encoded=True)
        try:
            session = await self._session()
            # Redirects are not followed: what answers there is a log-in page, not the API server.
            async with session.request(method, url, data=data, headers=headers, allow_redirects=False) as reply:
                return reply.status, await reply.read()
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            if isinstance(error, aiohttp.ClientSSLError):
                await self._access.reload()  # for the next request: the authority may be a new one
            raise Unreachable(type(error).__name__) from error

    async def _session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Unreachable("the process stops")
        if not self._sessions or self._version != self._access.version:
            version = self._access.version
            self._sessions.append(self._access.session(connections=self._connections, total=LIMIT, authorized=False))
            self._version = version
            for old in self._sessions[:-2]:
                self._sessions.remove(old)
                await old.close()
        return self._sessions[-1]

    async def close(self) -> None:
        """Close the connections; calls in flight fail."""
        self._closed = True
        sessions, self._sessions = self._sessions, []
        for session in sessions:
            await session.close()
