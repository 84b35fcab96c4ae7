"""The type HTTP, against a server over a real socket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from client_kit import OPEN, serving
from engine_kit import subject
from looparr.clients.http import Http
from looparr.clients.loophttp import LoopHttp
from looparr.engine.types import Fenced, Turn
from looparr.loops.http import HTTPBody, HTTPSpec
from looparr.loops.tools import Tools


async def no_fence() -> None:
    pytest.fail("the call itself is the act")


@pytest.mark.parametrize(
    ("block", "memo"),
    [
        ({}, {}),
        ({"http": {"memo": {"cursor": 7}}}, {"cursor": 7}),
        ({"http": {"memo": "abc"}}, {}),
        ({"http": {"memo": [1]}}, {}),
        ({"http": 5}, {}),
    ],
)
async def test_the_memo_comes_back_and_a_damaged_one_is_none(block: dict[str, Any], memo: dict[str, Any]) -> None:
    seen: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((await request.json())["memo"])
        return web.json_response({"message": "fine"})

    http, who = Http(OPEN), replace(subject(), spec=None)
    async with serving(answer) as url:
        spec = HTTPSpec.model_validate({"endpoint": {"url": url}})
        body = HTTPBody(who, spec, Tools(LoopHttp(http), None))  # type: ignore[arg-type] # no Secret is named
        outcome = await body.run(Turn(who, 1, triggered=False, block=block, fence=no_fence, report=lambda _: None))
    await http.close()
    assert seen == [memo]
    kept = {"lastStatus": 200} | ({"memo": memo} if memo else {})
    assert (outcome.message, outcome.block) == ("fine", {"http": kept})


async def test_a_turn_that_lost_its_right_while_it_read_secrets_calls_nobody() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.json_response({})

    http, who = Http(OPEN), replace(subject(), spec=None)
    async with serving(answer) as url:
        spec = HTTPSpec.model_validate({"endpoint": {"url": url}})
        body = HTTPBody(who, spec, Tools(LoopHttp(http), None))  # type: ignore[arg-type] # no Secret is named
        turn = Turn(who, 1, triggered=False, block={}, fence=no_fence, report=lambda _: None, lost=lambda: "suspended")
        with pytest.raises(Fenced, match="suspended"):
            await body.run(turn)
    await http.close()
    assert seen == []
