"""`looparr selftest`: does a loop really run? One is made that calls this very process, watched, and removed again.

`helm test` runs it in a pod. It proves CRDs, rights, watches, the way from the operator to a pod, and the status.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from looparr.api.meta import API_VERSION, BACKGROUND_LOOP
from looparr.clients.failures import HttpReason
from looparr.errors import SettingsError
from looparr.hooks.calls import ApiCalls, ErrandFailed
from looparr.hooks.steps import Steps

LOOK = 0.25
"""Seconds between two looks at the loop."""
GONE_LIMIT = 15.0
"""Seconds that a deleted loop may take to go."""
TIDY_LIMIT = 5.0
"""Seconds for deleting it after a failure: less than a process has that was told to stop."""
BODY_LIMIT = 65536
"""Bytes of a request that are read."""
MESSAGE = "the self-test was called"


async def selftest(calls: ApiCalls, steps: Steps, *, namespace: str, address: str, limit: float) -> None:
    """See one loop through its life.

    namespace: where it is made; the operator has to look after it. address: of this machine, as the operator reaches
    it. limit: seconds until it must have run. Raises ErrandFailed that says what was seen, and SettingsError.
    """
    name = f"looparr-selftest-{secrets.token_hex(4)}"
    loops = f"/apis/{API_VERSION}/namespaces/{quote(namespace, safe='')}/{BACKGROUND_LOOP.plural}"
    path = f"{loops}/{name}"
    server = await _Server.start(address)
    try:
        steps(f"Making BackgroundLoop {namespace}/{name}, which calls {server.url}.")
        await _make(calls, loops, _body(name, server.url))
        await _until_it_ran(calls, steps, path, server, limit)
    except BaseException:
        await _discard(calls, steps, path)
        raise
    finally:
        server.close()
    await _removed(calls, steps, path)
    steps("The operator works.")


async def _make(calls: ApiCalls, loops: str, body: Mapping[str, Any]) -> None:
    made = await calls.ask("POST", loops, body)
    if made.missing:
        raise ErrandFailed(f"There are no BackgroundLoops here ({made.complaint}): install the CRDs (crds.enabled).")
    if not made.ok and made.code != HTTPStatus.CONFLICT:  # a second try after a cut connection finds its own
        raise ErrandFailed(f"The BackgroundLoop was refused: {made.complaint}.")


async def _until_it_ran(calls: ApiCalls, steps: Steps, path: str, server: _Server, limit: float) -> None:
    now = asyncio.get_running_loop().time
    begun = now()
    while True:
        found = (await calls.ask("GET", path, must=True)).body
        status = found.get("status", {})
        ready = _ready(status)
        if ready.get("status") == "True" and status.get("runCount", 0) >= 1 and server.calls:
            steps(f"It is Ready after {now() - begun:.1f} s and {server.calls} calls: {status.get('message', '')}.")
            return
        if now() - begun > limit or ready.get("reason") == HttpReason.EGRESS_DENIED:
            raise ErrandFailed(explain(found, server.address, now() - begun))
        await asyncio.sleep(LOOK)


async def _discard(calls: ApiCalls, steps: Steps, path: str) -> None:
    """Delete the loop, whatever else went wrong, and do not hide that."""
    try:
        async with asyncio.timeout(TIDY_LIMIT):
            await calls.ask("DELETE", path)
    except (ErrandFailed, TimeoutError) as error:
        steps(f"{path.rpartition('/')[2]} could not be deleted and may be left over. {error}".strip())


async def _removed(calls: ApiCalls, steps: Steps, path: str) -> None:
    steps("Deleting it.")
    now = asyncio.get_running_loop().time
    begun = now()
    await calls.ask("DELETE", path)
    while not (await calls.ask("GET", path)).missing:
        if now() - begun > GONE_LIMIT:
            raise ErrandFailed(
                f"{path.rpartition('/')[2]} was deleted, but is still there after {GONE_LIMIT:g} s: its finalizer "
                "waits for an operator. If none runs any more, `looparr release` frees it."
            )
        await asyncio.sleep(LOOK)


def explain(found: Mapping[str, Any], address: str, seconds: float) -> str:
    """Say of a loop that did not run what was seen of it, and what to do."""
    namespace = found["metadata"]["namespace"]
    conditions = found.get("status", {}).get("conditions", ())
    if not conditions:
        return (
            f"No operator has looked at the loop within {seconds:.0f} s. Is its pod ready, and does it look after "
            f"namespace {namespace} (watchNamespaces)?"
        )
    seen = "; ".join(f"{one['type']}={one['status']} {one['reason']}: {one.get('message', '')}" for one in conditions)
    told = f"The loop has not succeeded after {seconds:.0f} s. It says: {seen.rstrip('.')}."
    match _ready(found.get("status", {})).get("reason"):
        case HttpReason.EGRESS_DENIED:
            return (
                f"{told} So the egress settings keep the operator from the pods' network: if that is meant, the test "
                f"cannot pass; else put the network of {address} into egress.allowCIDRs."
            )
        case HttpReason.UNREACHABLE:
            return f"{told} Does a NetworkPolicy keep the operator from {address}?"
        case _:
            return told


def _ready(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((one for one in status.get("conditions", ()) if one["type"] == "Ready"), {})


def _body(name: str, url: str) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": BACKGROUND_LOOP.kind,
        "metadata": {"name": name},
        "spec": {"type": "HTTP", "interval": "1m", "http": {"endpoint": {"url": url, "timeout": "5s"}}},
    }


class _Server:
    """Answers every request and counts those to its own secret path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.calls = 0
        self.url = ""
        self._path = f"/{secrets.token_hex(8)}"
        self._listening: asyncio.Server | None = None

    @classmethod
    async def start(cls, address: str) -> _Server:
        """Listen on a free port. Raises SettingsError."""
        made = cls(address)
        try:
            made._listening = await asyncio.start_server(made._serve, address, 0)
        except OSError as error:
            raise SettingsError(
                f"--address: cannot listen on {address} ({error.strerror}): give an address of this machine that the "
                "operator can call"
            ) from error
        port = made._listening.sockets[0].getsockname()[1]
        host = f"[{address}]" if ":" in address else address
        made.url = f"http://{host}:{port}{made._path}"
        return made

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,9})", head)
            await reader.readexactly(min(int(length[1]), BODY_LIMIT) if length else 0)
            self.calls += head.split(b" ", 2)[1] == self._path.encode()
            body = json.dumps({"message": MESSAGE}).encode()
            fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
            writer.write(f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()
