"""The one hot call: a whole status, written in one JSON patch that refuses another object of the same name.

`test /metadata/uid` guards against a successor of the same name; `add /status` replaces the whole, which also repairs
what others damaged. The connections are our own, so that Kopf's stop and Kopf's 401s do not touch writes in flight.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from looparr.api.meta import API_VERSION, ObjectRef
from looparr.clients.kube_access import KubeAccess
from looparr.clients.kube_calls import KubeCalls, Unreachable
from looparr.errors import WriteFailed

LOG = logging.getLogger(__name__)

CONNECTIONS = 32
_PATCH = "application/json-patch+json"
_ACCEPT = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
"""Of the answer only the uid counts: ask for the metadata only."""
_HIDE_AFTER = 300


def object_path(ref: ObjectRef) -> str:
    """Give the path of an object below the API server's URL."""
    return f"/apis/{API_VERSION}/namespaces/{ref.namespace}/{ref.kind.plural}/{ref.name}"


def _unmeasured(result: str) -> None:
    """Measure nothing."""


class _Cause(msgspec.Struct):
    reason: str = ""
    field: str = ""


class _Details(msgspec.Struct):
    name: str = ""
    causes: list[_Cause] = []


class _Status(msgspec.Struct):
    """What the API server answers instead of an object."""

    kind: str = ""
    reason: str = ""
    code: int = 0
    message: str = ""
    details: _Details | None = None


class _Metadata(msgspec.Struct):
    name: str = ""
    uid: str = ""


class _Object(msgspec.Struct):
    metadata: _Metadata


def says_not_found(answer: bytes, name: str) -> bool:
    """Tell whether the body of a 404 is the API server's own word that the object of that name is not there.

    A proxy's page is not, nor is the Status of an API server that does not serve the kind (it names no object).
    """
    try:
        status = msgspec.json.decode(answer, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    if status.kind != "Status" or status.reason != "NotFound" or status.code != HTTPStatus.NOT_FOUND:
        return False
    return status.details is None or status.details.name == name


class KubeStatusWriter:
    """Writes statuses. measured(result): told of each try: written, gone, refused, unreachable."""

    def __init__(self, access: KubeAccess, *, measured: Callable[[str], None] = _unmeasured) -> None:
        self._calls = KubeCalls(access, connections=CONNECTIONS, accept=_ACCEPT)
        self._measured = measured
        self._refused: dict[str, str] = {}
        self._away = False

    async def write(self, ref: ObjectRef, status: Mapping[str, Any]) -> None:
        """Replace the object's status. Raises WriteFailed; gone=True when the object is not there any more."""
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": ref.uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        code, answer = await self._call("PATCH", f"{object_path(ref)}/status", msgspec.json.encode(patch))
        if code == HTTPStatus.OK and _uid(answer) == ref.uid:
            self._measured("written")
            self._refused.pop(ref.uid, None)
            return
        fields, message = _complaint(answer)
        is_gone = code == HTTPStatus.NOT_FOUND and says_not_found(answer, ref.name)
        if is_gone or (code == HTTPStatus.UNPROCESSABLE_ENTITY and not fields and await self._is_another(ref)):
            self._measured("gone")
            self._refused.pop(ref.uid, None)
            raise WriteFailed("The object is gone.", gone=True)
        self._measured("refused")
        complaint = f"{code} {fields or message}"[:_HIDE_AFTER]
        if self._refused.get(ref.uid) != complaint:  # once per change, or a broken schema floods the log
            self._refused[ref.uid] = complaint
            LOG.warning("status was refused, loop=%s answer=%s", ref, complaint)
        raise WriteFailed(f"The API server refused the status with {complaint}")

    async def _is_another(self, ref: ObjectRef) -> bool:
        """Read whose name it is now: a failed test of the uid and other faults of a patch look the same."""
        code, answer = await self._call("GET", object_path(ref))
        if code != HTTPStatus.OK:
            return code == HTTPStatus.NOT_FOUND and says_not_found(answer, ref.name)
        try:
            found = msgspec.json.decode(answer, type=_Object).metadata
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return found.name == ref.name and found.uid not in {"", ref.uid}

    async def _call(self, method: str, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        try:
            code, answer = await self._calls.send(method, path, data, content_type=_PATCH)
        except Unreachable as error:
            raise self._lost(str(error)) from error
        if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise self._lost(f"answer {code}")
        if self._away:
            LOG.info("API server answers again")
            self._away = False
        return code, answer

    def _lost(self, how: str) -> WriteFailed:
        """Make the error of an API server that is away or overloaded; logged once until it is back."""
        self._measured("unreachable")
        if not self._away:
            LOG.warning("API server could not be reached, statuses are kept, error=%s", how)
        self._away = True
        return WriteFailed(f"The API server could not be reached: {how}.")

    async def close(self) -> None:
        """Close the connections; writes in flight fail."""
        await self._calls.close()


def _uid(answer: bytes) -> str:
    """Read whose metadata the API server answered with; "" for anything else, such as a log-in page."""
    try:
        return msgspec.json.decode(answer, type=_Object).metadata.uid
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _complaint(answer: bytes) -> tuple[str, str]:
    """Read a Status object: the refused fields with reasons but without values (none: ""), and its message."""
    try:
        status = msgspec.json.decode(answer, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "", "an answer that is no Status"
    causes = {f"{cause.field}: {cause.reason}" for cause in status.details.causes} if status.details else set()
    return "; ".join(sorted(causes)), status.message
