"""HTTP: POST {loop, status, memo} to an endpoint; the reply may set the next delay, a message and a new memo.

The request: `{"loop": {...}, "status": {...}, "memo": {...}}`. The reply, every part optional:

    {"message": "12 items left", "nextInterval": "10m", "memo": {"cursor": 42}}

`message` is shown in the MESSAGE column, `nextInterval` replaces the pause once, `memo` comes back with the next call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Field

from looparr.api.durations import RequestLimit, parse_duration
from looparr.api.model import Model
from looparr.api.refs import SecretKeyRef, SecretRef, Tls, Url
from looparr.api.schema import PRESERVE
from looparr.clients import http as transport
from looparr.clients.kube_tls import tls_files
from looparr.engine.types import Fenced, Outcome, Subject, Turn
from looparr.errors import Blocked, LoopError
from looparr.loops.tools import Tools

MESSAGE_LIMIT = 300
SHORTEST, LONGEST = 1.0, 86400.0


DEFAULT_TIMEOUT = 30.0
MEMO_LIMIT = 4096
"""Bytes of a memo as compact JSON."""


class Endpoint(Model):
    """An HTTP server and how to be let in. Redirects are not followed."""

    url: Url
    """Where the request goes, for example http://janitor.media:8000/run."""
    tls: Tls | None = None
    """How the server's certificate is checked; only for https."""
    auth_secret_ref: SecretKeyRef | None = None
    """Key of a Secret whose value is sent as `Authorization: Bearer ...`."""
    headers_secret_ref: SecretRef | None = None
    """Secret of which each key is the name of a header and its value the header's value."""
    timeout: RequestLimit | None = None
    """Limit of one request, at most 1h. Default 30s; spec.timeout limits the whole turn."""

    @property
    def timeout_seconds(self) -> float:
        """Effective limit of one request, seconds."""
        return parse_duration(self.timeout) if self.timeout else DEFAULT_TIMEOUT


class HTTPSpec(Model):
    """Calls a server once a turn; the server does the work and says how it went."""

    endpoint: Endpoint
    """The server. It gets a POST with JSON {loop, status, memo}; any 2xx is a success."""


Memo = Annotated[dict[str, Any], Field(json_schema_extra={PRESERVE: True})]


class HTTPStatus(Model):
    """What the last call left behind."""

    memo: Memo | None = None
    """What the server wants to find in the next request: an object of its own, at most 4 KiB as JSON."""
    last_status: int | None = None
    """HTTP status of the last reply; absent while none ever came."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reply means: texts and numbers already within their limits. next_delay: seconds or None."""

    message: str
    next_delay: float | None
    memo: Mapping[str, Any] | None


def decide(reply: Any, memo: Mapping[str, Any] | None) -> Decision:
    """Read a reply. memo: the last one, kept when the reply has none. Pure.

    Raises Blocked (BadReply) that says which part is wrong; nothing of a wrong reply is used.
    """
    if reply is None:
        return Decision("", None, memo)
    if not isinstance(reply, Mapping):
        raise _bad("it has to be a JSON object")
    message, interval, new = reply.get("message"), reply.get("nextInterval"), reply.get("memo", memo)
    if message is not None and not isinstance(message, str):
        raise _bad("message has to be a text")
    delay = None
    if interval is not None:
        try:
            delay = min(max(parse_duration(interval), SHORTEST), LONGEST)
        except (TypeError, ValueError):
            raise _bad("nextInterval has to be a duration such as 10m") from None
    if new is not None and not isinstance(new, Mapping):
        raise _bad("memo has to be a JSON object")
    if new is not None and len(json.dumps(new, separators=(",", ":")).encode()) > MEMO_LIMIT:
        raise _bad(f"memo is larger than {MEMO_LIMIT} bytes")
    return Decision((message or "")[:MESSAGE_LIMIT], delay, new)


def _bad(what: str) -> Blocked:
    return Blocked("BadReply", f"The reply of the endpoint cannot be used: {what}. Correct the server.")


class HTTPBody:
    """The body of one loop of type HTTP."""

    def __init__(self, subject: Subject, block: Model, tools: Tools) -> None:
        self._endpoint = cast("HTTPSpec", block).endpoint
        self._namespace = subject.ref.namespace
        self._tools = tools
        self._stale = False

    async def run(self, turn: Turn) -> Outcome:
        """Call the endpoint once. The call itself is the act: what is known of the object counts."""
        known = turn.block.get("http")
        memo = known.get("memo") if isinstance(known, Mapping) else None
        memo = memo if isinstance(memo, Mapping) else None
        endpoint, headers = await self._connection()
        if why := turn.lost():
            raise Fenced(why)
        try:
            reply = await self._tools.http.post(
                endpoint, "POST", _request(turn, memo), headers, self._endpoint.timeout_seconds
            )
        except LoopError as error:
            self._stale = error.reason == "Unauthorized"
            raise
        decision = decide(reply.json, memo)
        block: dict[str, Any] = {"lastStatus": reply.status}
        if decision.memo is not None:
            block["memo"] = dict(decision.memo)
        return Outcome(message=decision.message, block={"http": block}, next_delay=decision.next_delay)

    async def close(self, *, deleted: bool) -> None:
        """Nothing is held: the pool belongs to the process."""

    async def _connection(self) -> tuple[transport.Endpoint, dict[str, str]]:
        """Read what the endpoint's Secrets say; at most a minute old, and anew after a 401."""
        fresh, self._stale = self._stale, False
        wanted, namespace, secrets = self._endpoint, self._namespace, self._tools.secrets
        headers: dict[str, str] = {}
        if wanted.headers_secret_ref is not None:
            secret = await secrets.read(namespace, wanted.headers_secret_ref.name, fresh=fresh)
            headers = {name: secret.text(name) for name in secret.data}
        if wanted.auth_secret_ref is not None:
            secret = await secrets.read(namespace, wanted.auth_secret_ref.name, fresh=fresh)
            headers["Authorization"] = f"Bearer {secret.text(wanted.auth_secret_ref.key)}"
        return transport.Endpoint(wanted.url, await tls_files(secrets, namespace, wanted.tls, fresh=fresh)), headers


def _request(turn: Turn, memo: Mapping[str, Any] | None) -> dict[str, Any]:
    ref = turn.subject.ref
    return {
        "loop": {"namespace": ref.namespace, "name": ref.name, "uid": ref.uid, "generation": turn.subject.generation},
        "status": {"runCount": turn.number, "triggered": turn.triggered},
        "memo": dict(memo or {}),
    }
