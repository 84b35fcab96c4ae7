"""The official client (`kubernetes.aio`) for all calls but the hot one: objects, lists, Secrets, Events.

Only its ApiClient is used, with paths of our own: its generated classes and models cost 25 MiB and a second at import,
and objects of our kinds are plain JSON anyway.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from looparr.api.meta import API_VERSION, Kind, ObjectRef
from looparr.clients.kube_access import KubeAccess, Renewed
from looparr.clients.kube_status import object_path, says_not_found
from looparr.errors import Blocked, LoopError, Transient

LOG = logging.getLogger(__name__)

LIMIT = 8.0
"""Seconds that one call may take."""
CONNECTIONS = 16


class KubeApi:
    """Calls to the API server with the operator's own rights; answers are plain JSON."""

    def __init__(self, access: KubeAccess) -> None:
        self._access = access
        self._client = Renewed(access, self._open, _close)

    async def get(self, path: str) -> dict[str, Any] | None:
        """Read one thing; None when the API server itself says that it is not there. Raises LoopError."""
        code, answer = await self._call("GET", path)
        if code == HTTPStatus.NOT_FOUND and says_not_found(answer, path.partition("?")[0].rpartition("/")[2]):
            return None
        return self._good("GET", path, code, answer)

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create one thing. Raises LoopError."""
        code, answer = await self._call("POST", path, body)
        return self._good("POST", path, code, answer)

    async def read_object(self, ref: ObjectRef) -> dict[str, Any] | None:
        """Read one of our objects, whatever uid it has now; None when it is not there. Raises LoopError."""
        return await self.get(object_path(ref))

    async def can_list(self, kind: Kind, namespace: str | None) -> bool:
        """Tell whether a LIST of that kind succeeds (of one object at most); namespace None is all."""
        scope = f"/namespaces/{namespace}" if namespace else ""
        try:
            found = await self.get(f"/apis/{API_VERSION}{scope}/{kind.plural}?limit=1")
        except LoopError:
            return False
        return found is not None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Send; a second time, over new connections, when a 401 has shown that the credentials were changed."""
        version = self._access.version
        code, answer = await self._send(method, path, body)
        if code == HTTPStatus.UNAUTHORIZED and self._access.version != version:
            code, answer = await self._send(method, path, body)
        return code, answer

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, bytes]:
        client = await self._client.current()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        url = self._access.server + path
        timeout = aiohttp.ClientTimeout(total=LIMIT, sock_connect=5)
        try:
            reply = await client.call_api(method, url, headers, body, _request_timeout=timeout)
            return reply.status, await reply.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError) as error:
            raise Transient(
                "Unreachable", f"The API server could not be reached: {type(error).__name__}; it is tried again."
            ) from error

    def _open(self) -> ApiClient:
        settings = Configuration(
            host=self._access.server,
            client_session_kwargs={
                "connector": aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._access.tls() or True),
                "middlewares": (self._access.authorize,),
                "trust_env": False,
            },
        )
        return ApiClient(settings)

    @staticmethod
    def _good(method: str, path: str, code: int, answer: bytes) -> dict[str, Any]:
        what = f"{method} {path.partition('?')[0]}"
        if code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise Blocked("Forbidden", f"The operator may not {what}; grant it in the operator's role.")
        if code >= HTTPStatus.BAD_REQUEST:
            raise Transient("ApiServerError", f"The API server answered {code} to {what}; it is tried again.")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None  # a page of something before the API server
        if not isinstance(found, dict):
            raise Transient("ApiServerError", f"The API server answered {what} with something that is no object.")
        return found


async def _close(client: ApiClient) -> None:
    await client.close()  # type: ignore[no-untyped-call]
    await client.configuration.client_session_kwargs["connector"].close()  # the client does not own the one it is given
