"""The web application: counting, faults, key, errors, and then the API. Anew for every start of the server."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from looparr.errors import SandboxError
from looparr.sandbox.servarr.api import EMPTY_QUEUE, FAIL_AFTER, THROWS_MIDWAY, Api
from looparr.sandbox.servarr.arr import Arr, RowNotFound, ThrownMidway
from looparr.sandbox.servarr.control import PREFIX, Control
from looparr.sandbox.servarr.counters import Requests
from looparr.sandbox.servarr.faults import Fault, Faults, FaultType
from looparr.sandbox.servarr.qbittorrent import ClientUnavailable, GrabRefused
from looparr.sandbox.servarr.resources import Resources
from looparr.sandbox.servarr.wire import BadValue, date, reply
from looparr.sandbox.servarr.world import World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PAGE = "<!doctype html><html><head><title>{name}</title></head><body>{name}</body></html>"


class App:
    """Makes the application."""

    def __init__(
        self, arr: Arr, world: World, faults: Faults, requests: Requests, *, api_key: str, url_base: str
    ) -> None:
        self._arr = arr
        self._faults = faults
        self._requests = requests
        self._api_key = api_key
        self._base = f"/{url_base.strip('/')}" if url_base.strip("/") else ""
        self._api = Api(arr, Resources(arr, self._base))
        self._control = Control(arr, world, faults, requests)

    def make(self) -> web.Application:
        """Build it; the UrlBase becomes a sub-application, everything outside it redirects into it."""
        inner = web.Application(middlewares=[self._count, self._fault, self._errors, self._auth])
        inner.add_routes(self._api.routes())
        inner.add_routes(self._control.routes())
        inner.add_routes([web.get("/", self._index)])
        if not self._base:
            return inner
        outer = web.Application()
        outer.add_subapp(self._base, inner)
        outer.router.add_route("*", "/{tail:.*}", self._redirect)
        return outer

    async def _redirect(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect(f"{self._base}{request.rel_url}")

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return self._html()

    def _html(self) -> web.Response:
        return web.Response(text=_PAGE.format(name=self._arr.type.name), content_type="text/html")

    def _path(self, request: web.Request) -> str:
        return request.path.removeprefix(self._base)

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = self._path(request)
        if path.startswith(PREFIX):
            return await handler(request)
        resource = request.match_info.route.resource
        template = (resource.canonical if resource else path).removeprefix(self._base)
        template = template.replace(r":\d+}", "}")
        self._requests.counts[f"{request.method} {template}"] += 1
        line: dict[str, Any] = {"at": date(self._arr.book.now()), "method": request.method, "path": path}
        line |= {"template": template, "query": dict(request.query), "status": None}
        self._requests.recent.append(line)
        try:
            response = await handler(request)
        except web.HTTPException as error:
            line["status"] = error.status
            raise
        line["status"] = response.status
        response.headers["X-Application-Version"] = self._arr.type.version
        return response

    @web.middleware
    async def _fault(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = self._path(request)
        taken = [] if path.startswith(PREFIX) else self._faults.take(request.method, path)
        for fault in taken:
            if fault.type is FaultType.SLOW:
                await asyncio.sleep(fault.milliseconds / 1000)
        other = next((f for f in taken if f.type is not FaultType.SLOW), None)
        return await handler(request) if other is None else await self._broken(other, request, handler)

    async def _broken(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        early = self._instead(fault, request)
        if early is not None:
            return early
        if fault.type is FaultType.PARTIAL:
            request[FAIL_AFTER] = fault.after
        elif fault.type is FaultType.THROW_MIDWAY:
            request[THROWS_MIDWAY] = True
        elif fault.type is FaultType.EMPTY_QUEUE:
            request[EMPTY_QUEUE] = True
        response = await handler(request)
        if fault.type is FaultType.THROW_AFTER:
            return reply({"message": "database is locked"}, 500)
        if fault.type is FaultType.CUT_AFTER:
            return _cut(request)
        if fault.type is FaultType.CUT_BODY:
            return await _half(request, response)
        return response

    def _instead(self, fault: Fault, request: web.Request) -> web.StreamResponse | None:
        """Answer without doing anything, for the faults that are so."""
        if fault.type is FaultType.CUT:
            return _cut(request)
        answers: dict[FaultType, Callable[[], web.Response]] = {
            FaultType.TOO_MANY_REQUESTS: lambda: web.Response(
                status=429, headers={"Retry-After": str(fault.retry_after)}
            ),
            FaultType.SERVER_ERROR: lambda: reply({"message": "database is locked"}, 500),
            FaultType.UNAVAILABLE: lambda: web.Response(status=503, text="Service Unavailable"),
            FaultType.UNAUTHORIZED: lambda: web.Response(status=401),
            FaultType.HTML: self._html,
            FaultType.REDIRECT: lambda: web.Response(status=307, headers={"Location": f"{self._base}/login"}),
            FaultType.NO_OP: lambda: reply({}),
        }
        make = answers.get(fault.type)
        return make() if make else None

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RowNotFound:
            return reply({"message": "NotFound"}, 404)
        except BadValue as error:
            title = "One or more validation errors occurred."
            return reply({"title": title, "status": 400, "errors": {error.name: [str(error)]}}, 400)
        except (ThrownMidway, ClientUnavailable, GrabRefused) as error:
            return reply({"message": str(error), "description": type(error).__name__}, 500)
        except SandboxError as error:
            return reply({"message": str(error)}, 400)
        except web.HTTPNotFound:
            return reply({"message": "NotFound"}, 404)

    @web.middleware
    async def _auth(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = self._path(request)
        if path in {"/", "/ping"}:
            return await handler(request)
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = request.query.get("apikey") or request.headers.get("X-Api-Key") or bearer
        if not hmac.compare_digest(key.encode(), self._api_key.encode()):
            return web.Response(status=401)
        return await handler(request)


def _cut(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _half(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Send the head and half of the body, then close the connection."""
    body = response.body if isinstance(response, web.Response) else None
    whole = bytes(body) if isinstance(body, (bytes, bytearray)) and body else b'{"records": []}'
    stream = web.StreamResponse(status=response.status, headers={"Content-Type": "application/json; charset=utf-8"})
    stream.content_length = len(whole)
    await stream.prepare(request)
    await stream.write(whole[: max(len(whole) // 2, 1)])
    return _cut(request)
