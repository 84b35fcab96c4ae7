"""The probe server over real sockets, asked from outside the event loop as the kubelet does."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from looparr.errors import SettingsError
from looparr.runtime.executor import Executor
from looparr.runtime.telemetry import Metrics
from looparr.web.probes import CONNECTIONS, Check, Probes

QUICK = 10.0


@dataclass
class Part:
    name: str
    answer: bool | Exception = True

    async def ready(self) -> bool:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def serving(checks: Sequence[Check] = (), **more: object) -> AsyncIterator[Probes]:
    probes = Probes("127.0.0.1", 0, checks=checks, render=Metrics.make().render, **more)  # type: ignore[arg-type]
    await probes.start()
    try:
        yield probes
    finally:
        await probes.stop()


def ask(probes: Probes, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection(*probes.address, timeout=QUICK)
    try:
        connection.request(method, path)
        reply = connection.getresponse()
        return reply.status, reply.headers["Content-Type"], reply.read()
    finally:
        connection.close()


async def get(probes: Probes, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    outside = Executor("kubelet", 1)
    try:
        return await outside.run(ask, probes, path, method)
    finally:
        outside.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(QUICK):
        while not condition():  # noqa: ASYNC110 - another thread makes it true
            await asyncio.sleep(0.005)


async def test_livez_is_ok_while_the_loop_beats() -> None:
    async with serving() as probes:
        assert await get(probes, "/livez") == (200, "text/plain; charset=utf-8", b"ok\n")


async def test_livez_tells_the_age_of_the_last_beat_when_the_loop_is_blocked() -> None:
    clock = Clock()
    async with serving(clock=clock, stale_seconds=30) as probes:
        clock.now = 30.0
        assert ask(probes, "/livez")[0] == 200, "asked from the blocked loop's own thread"
        clock.now = 42.0
        status, _, text = ask(probes, "/livez")
        assert status == 500
        assert text == b"the event loop did not beat for 42.0 s (limit 30 s)\n"


async def test_livez_recovers_with_the_next_beat() -> None:
    clock = Clock()
    async with serving(clock=clock) as probes:
        clock.now = 100.0
        assert ask(probes, "/livez")[0] == 500
        async with asyncio.timeout(QUICK):
            while (await get(probes, "/livez"))[0] != 200:  # noqa: ASYNC110 - seen from outside
                await asyncio.sleep(0.02)


async def test_readyz_lists_what_is_not_ready_by_name() -> None:
    checks: list[Check] = [Part("store"), Part("arrinstances", answer=False), Part("odd", answer=OSError("no"))]
    async with serving(checks) as probes:
        status, kind, body = await get(probes, "/readyz")
        assert (status, kind) == (503, "application/json")
        assert json.loads(body) == {"ready": False, "notReady": ["arrinstances", "odd"]}
        del checks[1:]
        status, _, body = await get(probes, "/readyz")
        assert (status, json.loads(body)) == (200, {"ready": True, "notReady": []})


async def test_readyz_with_a_blocked_loop_says_so_instead_of_hanging() -> None:
    async with serving([Part("store")]) as probes:
        status, _, body = ask(probes, "/readyz")
        assert (status, json.loads(body)["notReady"]) == (503, ["event loop"])


async def test_metrics_are_served_even_while_the_loop_is_blocked() -> None:
    async with serving() as probes:
        status, kind, body = ask(probes, "/metrics")
        assert status == 200
        assert kind.startswith("text/plain; version=")
        assert b"looparr_slots_in_use 0.0" in body


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/livez/", 404), ("/livez?verbose", 200), ("//x", 404)])
async def test_other_paths_are_not_found_and_queries_are_ignored(path: str, status: int) -> None:
    async with serving() as probes:
        assert (await get(probes, path))[0] == status


async def test_head_has_no_body_and_other_methods_are_refused() -> None:
    async with serving() as probes:
        assert await get(probes, "/livez", "HEAD") == (200, "text/plain; charset=utf-8", b"")
        assert (await get(probes, "/livez", "POST"))[0] == 501


async def test_a_port_in_use_is_an_error_that_names_the_settings() -> None:
    async with serving() as first:
        second = Probes(*first.address, checks=(), render=bytes)
        with pytest.raises(SettingsError, match="--probes-port or LOOPARR_PROBES_HOST"):
            await second.start()
        assert not await second.ready()


async def test_after_stop_the_port_is_free_and_the_thread_gone() -> None:
    async with serving() as probes:
        address = probes.address
        assert await probes.ready()
    assert not await probes.ready()
    with socket.create_server(address):
        pass
    await until(lambda: not any(thread.name.startswith("probes-") for thread in threading.enumerate()))


async def test_callers_that_say_nothing_cannot_pile_up_threads_or_hold_the_stop() -> None:
    async with serving() as probes:
        silent = [socket.create_connection(probes.address, timeout=QUICK) for _ in range(CONNECTIONS)]
        refused = socket.create_connection(probes.address, timeout=QUICK)
        assert await Executor("caller", 1).run(refused.recv, 1) == b""
        for one in (*silent, refused):
            one.close()
        async with asyncio.timeout(QUICK):
            while True:
                try:
                    if (await get(probes, "/livez"))[0] == 200:
                        break
                except OSError:
                    await asyncio.sleep(0.005)
