"""Every call but the hot one: objects, lists, Secrets, Events. What the answers mean, and what is no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from looparr.api.meta import API_VERSION, Kind, ObjectRef
from looparr.clients.kube_access import KubeAccess
from looparr.clients.kube_calls import KubeCalls, Unreachable
from looparr.clients.kube_status import object_path, says_not_found
from looparr.errors import Blocked, LoopError, Transient

CONNECTIONS = 16


class KubeApi:
    """Calls to the API server with the operator's own rights; answers are plain JSON."""

    def __init__(self, access: KubeAccess) -> None:
        self._calls = KubeCalls(access, connections=CONNECTIONS)

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

    async def patchable(self) -> frozenset[str]:
        """Give the plurals of our kinds that can be changed now; one whose definition is being deleted is not."""
        try:
            found = await self.get(f"/apis/{API_VERSION}")
        except LoopError:
            found = None
        resources = found["resources"] if found else ()
        return frozenset(one["name"] for one in resources if "patch" in one["verbs"])

    async def close(self) -> None:
        """Close the connections."""
        await self._calls.close()

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        try:
            return await self._calls.send(method, path, None if body is None else json.dumps(body).encode())
        except Unreachable as error:
            raise Transient(
                "Unreachable", f"The API server could not be reached: {error}; it is tried again."
            ) from error

    @staticmethod
    def _good(method: str, path: str, code: int, answer: bytes) -> dict[str, Any]:
        what = f"{method} {path.partition('?')[0]}"
        if code == HTTPStatus.UNAUTHORIZED:
            raise Transient(
                "ApiServerError", "The API server does not take the operator's credentials; renew its token or log-in."
            )
        if code == HTTPStatus.FORBIDDEN:
            raise Blocked("Forbidden", f"The operator may not {what}; grant it in the operator's role.")
        if code >= HTTPStatus.MULTIPLE_CHOICES:
            raise Transient("ApiServerError", f"The API server answered {code} to {what}; it is tried again.")
        try:
            found = json.loads(answer)
        except ValueError:
            found = None  # a page of something before the API server
        if not isinstance(found, dict):
            raise Transient("ApiServerError", f"The API server answered {what} with something that is no object.")
        return found
