"""A Stalled loop waits for a new spec, a trigger, or another Secret; it never tries the same one twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster.contract import FULL
from engine_kit import REF, Cluster, keep_turning, live, newer, play, subject
from looparr.api.meta import REQUESTED_AT
from looparr.api.refs import SecretRef, secret_names
from looparr.api.spec import CommonSpec
from looparr.arr.spec import ArrSpec
from looparr.engine.loop import Leaving
from looparr.engine.types import Outcome, Turn
from looparr.errors import Blocked, Permanent, Transient
from looparr.loops.spec import BackgroundLoopSpec
from looparr.testing import check_conditions


class Named(CommonSpec):
    """A spec that names two Secrets."""

    door: SecretRef = SecretRef(name="door")
    spare: SecretRef = SecretRef(name="spare")


@dataclass
class House(Cluster):
    """Lets in only who comes with the password `right`; remembers what was tried, and when."""

    tried: list[tuple[int, str]] = field(default_factory=list)
    lasts: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        spec = Named.model_validate({"type": "Test", "interval": "10s", "jitterPercent": 0})
        self.now = newer(subject(), spec=spec)
        self.act = self.knock

    async def knock(self, turn_: Turn) -> Outcome:
        password = (await self.secrets.read(REF.namespace, "door")).text("password")
        self.tried.append((round(self.clock.monotonic()), password))
        await asyncio.sleep(self.lasts)
        if password != "right":
            raise Permanent("WrongPassword", "correct it")
        return Outcome(message="let in")

    def looks(self, name: str = "door") -> list[int]:
        return [round(at) for at, path in self.gets if path.endswith(name)]


def stalled(status: dict[str, Any]) -> bool:
    check_conditions(status)
    return any(one["type"] == "Stalled" for one in status["conditions"])


def test_a_changed_secret_wakes_a_stalled_loop_within_a_minute_and_an_unchanged_one_never() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        task = asyncio.create_task(live(house.open(), house.services(), 1000))
        await asyncio.sleep(590)
        assert house.tried == [(0, "wrong")]
        assert stalled(house.status)
        assert house.looks() == list(range(0, 590, 60)), "once a minute"
        house.keep_secret("door", password="wrong too")
        await asyncio.sleep(200)
        assert house.tried == [(0, "wrong"), (600, "wrong too")]
        house.keep_secret("door", password="right")
        await asyncio.sleep(61)
        assert house.tried[2] == (840, "right")
        assert not stalled(house.status)
        await task

    play(story)


def test_a_write_that_does_not_change_its_content_wakes_nobody() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        task = asyncio.create_task(live(house.open(), house.services(), 300))
        await asyncio.sleep(10)
        house.keep_secret("door", password="wrong")
        await task
        assert house.tried == [(0, "wrong")]

    play(story)


def test_a_secret_that_comes_or_goes_has_changed() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        task = asyncio.create_task(live(house.open(), house.services(), 400))
        await asyncio.sleep(100)
        house.keep_secret("spare", password="x")
        await asyncio.sleep(100)
        assert house.tried == [(0, "wrong"), (120, "wrong")], "any of the Secrets that the spec names"
        house.stored.clear()
        await asyncio.sleep(70)
        assert not stalled(house.status)
        assert house.status["conditions"][0]["reason"] == "SecretMissing"
        await task

    play(story)


def test_what_the_turn_really_used_counts_not_what_others_have_read_meanwhile() -> None:
    async def story() -> None:
        house = House(lasts=30)
        house.keep_secret("door", password="wrong")
        task = asyncio.create_task(live(house.open(), house.services(), 300))
        await asyncio.sleep(10)
        house.keep_secret("door", password="right")
        await house.secrets.read(REF.namespace, "door", fresh=True)  # another loop
        await asyncio.sleep(60 + 30)
        assert house.tried == [(0, "wrong"), (90, "right")]
        await task

    play(story)


def test_a_secret_that_changes_just_before_a_turn_is_not_tried_twice() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="right")
        task = asyncio.create_task(live(house.open(), house.services(), 300))
        await asyncio.sleep(65)  # the turn at 60 s reads the Secret anew
        house.keep_secret("door", password="wrong")
        await task
        assert [password for _, password in house.tried].count("wrong") == 1

    play(story)


@pytest.mark.parametrize(
    "fault", [Transient("Unreachable", "away"), Blocked("Forbidden", "no"), RuntimeError("defect")]
)
def test_what_cannot_be_read_is_not_changed_and_is_looked_at_again(fault: Exception) -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        task = asyncio.create_task(live(house.open(), house.services(), 400))
        await asyncio.sleep(10)
        house.away = fault
        house.keep_secret("door", password="right")
        await asyncio.sleep(200)
        assert house.tried == [(0, "wrong")]
        house.away = None
        await asyncio.sleep(60)
        assert house.tried[1][1] == "right"
        await task

    play(story)


def test_after_a_restart_the_same_secret_is_not_tried_and_another_one_is() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        await live(house.open(), house.services(), 100)
        task = asyncio.create_task(live(house.open(house.status), house.services(), 300))
        await asyncio.sleep(150)
        assert house.tried == [(0, "wrong")]
        house.keep_secret("door", password="right")
        await asyncio.sleep(61)
        assert house.tried[1][1] == "right"
        await task

    play(story)


def test_a_new_spec_and_a_trigger_still_wake_it_and_start_the_minute_anew() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        loop = house.open()
        task = asyncio.create_task(live(loop, house.services(), 300))
        await asyncio.sleep(50)
        assert house.now is not None
        house.change(loop, newer(house.now, annotations={REQUESTED_AT: "now"}))
        await asyncio.sleep(55)
        assert house.looks() == [0], "the turn at 50 s used what was read a minute ago"
        await task
        assert house.tried == [(0, "wrong"), (50, "wrong")]

    play(story)


def test_a_look_that_hangs_does_not_hold_a_stop() -> None:
    async def story() -> None:
        house = House()
        house.keep_secret("door", password="wrong")
        loop, services = house.open(), house.services()
        task = asyncio.create_task(keep_turning(loop, services))
        await asyncio.sleep(50)
        before, house.hangs = asyncio.all_tasks(), True
        await asyncio.sleep(20)
        assert len(asyncio.all_tasks()) == len(before) + 1
        loop.leave(Leaving.EXITING, services.clock.monotonic(), 9.0)
        await task
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == len(before) - 1

    play(story)


def test_the_secrets_of_every_spec_are_found() -> None:
    assert secret_names(ArrSpec.model_validate(FULL["ArrInstance"])) == {"radarr-api", "qbittorrent", "ca"}
    names = {"janitor", "janitor-headers", "ca"}
    assert secret_names(BackgroundLoopSpec.model_validate(FULL["BackgroundLoop"])) == names
    assert secret_names(CommonSpec(type="Test")) == secret_names(None) == frozenset()
