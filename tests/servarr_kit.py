"""What the stand-in's tests share: a real qBittorrent, real torrents, a client that holds answers to the contract."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema

from looparr.errors import SandboxError
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.sandbox.servarr import ServarrServer
from looparr.sandbox.torrents import bencode
from parts import unavailable

DOCUMENT = json.loads((Path(__file__).parent / "contract" / "openapi" / "radarr.json").read_text("utf-8"))


async def until(probe: Callable[[], Awaitable[Any]], what: str, limit: float = 20.0) -> Any:
    """Wait until a probe says something true, and return that."""
    end = time.monotonic() + limit
    while True:
        if found := await probe():
            return found
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        await asyncio.sleep(0.05)


def make_torrent(name: str, files: dict[str, bytes]) -> tuple[bytes, str]:
    """Make a .torrent of several files; return its bytes and its hash, upper case."""
    data, piece = b"".join(files.values()), 16384
    pieces = b"".join(hashlib.sha1(data[i : i + piece]).digest() for i in range(0, len(data), piece))
    entries = [{"length": len(body), "path": path.split("/")} for path, body in files.items()]
    info = {"name": name, "piece length": piece, "pieces": pieces, "files": entries}
    return bencode({"info": info}), hashlib.sha1(bencode(info)).hexdigest().upper()


@dataclass
class RealQBittorrent:
    """A qbittorrent-nox of our own; `data` is where it saves."""

    instance: QBittorrent

    @property
    def url(self) -> str:
        return self.instance.url

    @property
    def data(self) -> Path:
        return self.instance.data

    async def start(self) -> None:
        """Start it again and wait until it answers."""
        await asyncio.to_thread(self.instance.start_again)

    async def stop(self) -> None:
        """Stop it and wait."""
        await asyncio.to_thread(self.instance.stop)

    async def call(self, method: str, path: str, **options: Any) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"{self.url}/api/v2/{path}", **options) as reply,
        ):
            reply.raise_for_status()
            text = await reply.text()
        return json.loads(text) if text[:1] in {"[", "{"} else text

    async def add(self, torrent: bytes, category: str) -> None:
        """Add a torrent as a person would, past the Arr."""
        form = aiohttp.FormData()
        form.add_field("category", category)
        form.add_field("torrents", torrent, filename="x.torrent")
        await self.call("POST", "torrents/add", data=form)

    async def torrent(self, infohash: str) -> dict[str, Any] | None:
        """One torrent of torrents/info, or None."""
        found = await self.call("GET", "torrents/info", params={"hashes": infohash.lower()})
        return found[0] if found else None

    async def state(self, infohash: str, *states: str) -> dict[str, Any]:
        """Wait until a torrent is in one of these states."""

        async def look() -> dict[str, Any] | None:
            torrent = await self.torrent(infohash)
            return torrent if torrent and torrent["state"] in states else None

        found: dict[str, Any] = await until(look, f"{infohash} in {states}")
        return found

    async def gone(self, infohash: str) -> None:
        """Wait until a torrent is not there any more."""

        async def look() -> bool:
            return await self.torrent(infohash) is None

        await until(look, f"{infohash} gone")

    def release(self, name: str, *, complete: bool, files: tuple[str, ...] = ()) -> tuple[bytes, str]:
        """Make a release of 64 KiB files; a complete one has its data in place, so that the client need not load it."""
        source = random.Random(name)
        bodies = {path: source.randbytes(65536) for path in files or (f"{name}.mkv", "info.nfo")}
        if complete:
            for path, body in bodies.items():
                target = self.data / name / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(body)
        return make_torrent(name, bodies)


@contextmanager
def real_qbittorrent(folder: Path, *, password: str | None = None) -> Iterator[RealQBittorrent]:
    """Run a qbittorrent-nox, or skip where there is none."""
    try:
        instance = QBittorrent.start(folder, password=password)
    except SandboxError as error:
        unavailable(error)
    try:
        yield RealQBittorrent(instance)
    finally:
        instance.kill()


def _as_json_schema(node: Any) -> Any:
    """Turn OpenAPI 3.0 into JSON Schema: nullable becomes a second type, references stay."""
    if isinstance(node, list):
        return [_as_json_schema(n) for n in node]
    if not isinstance(node, dict):
        return node
    found = {k: _as_json_schema(v) for k, v in node.items() if k not in {"nullable", "deprecated", "readOnly"}}
    if node.get("nullable") is True and "type" in found:
        found["type"] = [found["type"], "null"]
    return found


SCHEMAS = _as_json_schema(DOCUMENT["components"]["schemas"])
# Radarr writes the concrete command into `body`, with its own fields; its document knows the base class only.
SCHEMAS["Command"]["additionalProperties"] = True
_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or (value.endswith("Z") and bool(datetime.fromisoformat(value)))


@_FORMATS.checks("int32")
def _is_int32(value: object) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


def operation(method: str, path: str) -> dict[str, Any] | None:
    """Find the document's operation of a request; literal paths win over templates."""
    parts = path.split("/")
    for template, methods in sorted(DOCUMENT["paths"].items(), key=lambda pair: "{" in pair[0]):
        names = template.split("/")
        same = len(names) == len(parts) and all(n == p or n.startswith("{") for n, p in zip(names, parts, strict=True))
        if same and method.lower() in methods:
            found: dict[str, Any] = methods[method.lower()]
            return found
    return None


def check(method: str, path: str, query: dict[str, Any], status: int, body: Any) -> None:
    """Hold one exchange against the document: path, query names, and the body of a success."""
    found = operation(method, path)
    assert found is not None, f"{method} {path} is not in the document"
    known = {p["name"].lower() for p in found.get("parameters", []) if p["in"] == "query"}
    unknown = {name for name in query if name.lower() not in known}
    assert not unknown, f"{method} {path} has no query parameters {unknown}"
    content = found["responses"]["200"].get("content", {}).get("application/json")
    if status >= 300 or content is None:
        return
    schema = _as_json_schema(content["schema"]) | {"components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(schema, format_checker=_FORMATS).validate(body)


class ArrClient:
    """Talks to a stand-in as a tool does; every answer is held to the contract and kept in `seen`."""

    def __init__(self, server: ServarrServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session
        self.seen: list[tuple[str, str, int]] = []

    async def ask(self, method: str, path: str, *, json: Any = None, **query: Any) -> tuple[int, Any]:
        """Send one request below /api/v3; return status and body."""
        params = [
            (name, str(value).lower() if isinstance(value, bool) else str(value))
            for name, values in query.items()
            for value in (values if isinstance(values, list) else [values])
        ]
        full = f"/api/v3/{path}"
        headers = {"X-Api-Key": self.server.api_key}
        url = f"{self.server.url}{full}"
        async with self.session.request(method, url, params=params, json=json, headers=headers) as reply:
            is_json = reply.content_type.endswith("json")
            body = await reply.json(content_type=None) if is_json else await reply.text()
            check(method, full, query, reply.status, body)
            self.seen.append((method, path, reply.status))
            return reply.status, body

    async def get(self, path: str, **query: Any) -> Any:
        status, body = await self.ask("GET", path, **query)
        assert status == 200, (status, body)
        return body

    async def rows(self, **query: Any) -> list[dict[str, Any]]:
        """The whole queue, unknown ones too."""
        body = await self.get("queue", pageSize=1000, includeUnknownMovieItems=True, **query)
        records: list[dict[str, Any]] = body["records"]
        return records

    async def row(self, download_id: str) -> dict[str, Any] | None:
        return next((r for r in await self.rows() if r.get("downloadId") == download_id), None)

    async def events(self, **query: Any) -> list[dict[str, Any]]:
        body = await self.get("history", pageSize=1000, **query)
        records: list[dict[str, Any]] = body["records"]
        return records

    async def command(self, name: str, **body: Any) -> dict[str, Any]:
        """Send a command and wait for its end."""
        status, sent = await self.ask("POST", "command", json={"name": name, **body})
        assert status == 201, sent

        async def ended() -> dict[str, Any] | None:
            found = await self.get(f"command/{sent['id']}")
            return found if found["status"] in {"completed", "failed"} else None

        found: dict[str, Any] = await until(ended, f"{name} ended")
        return found


@asynccontextmanager
async def stand_in(client: RealQBittorrent | None, **options: Any) -> AsyncIterator[tuple[ServarrServer, ArrClient]]:
    """Start a stand-in with a category of its own, and a client for it."""
    url = client.url if client else "http://127.0.0.1:9"
    options.setdefault("refresh_seconds", 600.0)
    options.setdefault("category", f"radarr-{random.randrange(16**8):08x}")
    async with ServarrServer(url, **options) as server, aiohttp.ClientSession() as session:
        session._retry_connection = False  # else aiohttp sends a GET or DELETE that was cut once more, unasked
        yield server, ArrClient(server, session)
