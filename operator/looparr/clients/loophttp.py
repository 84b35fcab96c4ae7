"""The call of a BackgroundLoop of type HTTP: send JSON, read JSON. Any HTTP server will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from looparr.clients.http import MEBIBYTE, Endpoint, Http

MAX_BYTES = MEBIBYTE

_ANY = msgspec.json.Decoder(Any)


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A 2xx answer. json: None when the server sent nothing, or a text that it does not call JSON."""

    status: int
    json: Any


class LoopHttp:
    """Sends the calls of all HTTP loops of a process through one shared pool."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def post(
        self,
        endpoint: Endpoint,
        method: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        timeout: float,  # noqa: ASYNC109 - a limit of the call as a whole, kept by aiohttp
    ) -> HttpReply:
        """Send `body` as JSON once. headers: added to ours (authorization). timeout: seconds for the whole call.

        Raises LoopError for everything but 2xx, for a web page where JSON belongs, and for more than 1 MiB.
        """
        reply = await self._http.request(
            method,
            endpoint,
            body=msgspec.json.encode(body),
            headers={"Content-Type": "application/json", "Accept": "application/json", **headers},
            timeout=timeout,
            max_bytes=MAX_BYTES,
        )
        if not reply.body or not (reply.is_json or reply.is_page):
            return HttpReply(reply.status, None)
        return HttpReply(reply.status, reply.decode(_ANY))
