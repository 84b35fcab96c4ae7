"""Stand-ins around the engine: a loop of virtual time, an API server in memory, bodies that do as told."""

from __future__ import annotations

import asyncio
import base64
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from looparr.api.meta import BACKGROUND_LOOP, CREDENTIALS_LABEL, REQUESTED_AT, ObjectRef
from looparr.api.spec import CommonSpec
from looparr.clients.kube import KubeApi
from looparr.clients.kube_secrets import SecretReader
from looparr.engine.adopt import adopt
from looparr.engine.loop import Leaving, Loop
from looparr.engine.services import Services
from looparr.engine.slots import Slots
from looparr.engine.turn import turn
from looparr.engine.types import Event, Outcome, Subject, Turn
from looparr.errors import WriteFailed
from looparr.testing import check_conditions

T = TypeVar("T")
START = datetime(2026, 1, 1, tzinfo=UTC)
REF = ObjectRef(BACKGROUND_LOOP, "media", "one", "uid-1")


class _Skipping(selectors.SelectSelector):
    """Never waits: what would be waited for is added to the virtual time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("everything waits for ever")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer, so that minutes cost nothing."""

    def __init__(self) -> None:
        self.skipping = _Skipping()
        super().__init__(self.skipping)

    def time(self) -> float:
        return self.skipping.now


def play(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a story in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(story())


class VirtualClock:
    """wall() runs with the virtual time; `shift` sets the wall clock."""

    def __init__(self) -> None:
        self.shift = timedelta()

    def wall(self) -> datetime:
        return START + self.shift + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def subject(generation: int = 1, *, requested: str | None = None, **spec: Any) -> Subject:
    """An object with interval 10s unless told otherwise."""
    wanted = {"type": "Test", "interval": "10s", "jitterPercent": 0, **spec}
    notes = {REQUESTED_AT: requested} if requested else {}
    return Subject(REF, generation, START, CommonSpec.model_validate(wanted), annotations=notes)


Act = Callable[[Turn], Awaitable[Outcome]]


@dataclass
class Cluster:
    """What the engine talks to, in memory; checks the table of conditions at every write."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    now: Subject | None = field(default_factory=subject)
    statuses: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    faults: list[Exception | float] = field(default_factory=list)
    built: list[int] = field(default_factory=list)
    closed: list[bool] = field(default_factory=list)
    turns: list[tuple[float, Turn]] = field(default_factory=list)
    act: Act | None = None
    stored: dict[str, dict[str, Any]] = field(default_factory=dict)
    gets: list[tuple[float, str]] = field(default_factory=list)
    away: Exception | None = None
    hangs: bool = False

    def __post_init__(self) -> None:
        self.secrets = SecretReader(cast("KubeApi", self), monotonic=self.clock.monotonic)

    async def get(self, path: str) -> dict[str, Any] | None:
        """Read one thing, as KubeApi does."""
        self.gets.append((self.clock.monotonic(), path))
        if self.hangs:
            await asyncio.sleep(3600)
        if self.away is not None:
            raise self.away
        return self.stored.get(path)

    def keep_secret(self, name: str, **data: str) -> None:
        """Create a Secret, or change it."""
        path = f"/api/v1/namespaces/{REF.namespace}/secrets/{name}"
        version = str(int(self.stored.get(path, {}).get("metadata", {}).get("resourceVersion", "0")) + 1)
        meta = {"labels": {CREDENTIALS_LABEL: "true"}, "uid": f"uid of {name}", "resourceVersion": version}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.stored[path] = {"metadata": meta, "data": encoded}

    @property
    def status(self) -> dict[str, Any]:
        return self.statuses[-1][1]

    async def write(self, ref: ObjectRef, status: Mapping[str, Any]) -> None:
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, float):
            await asyncio.sleep(fault)
            raise WriteFailed("too slow")
        if fault is not None:
            raise fault
        check_conditions(status)
        self.statuses.append((self.clock.monotonic(), dict(status)))

    async def read(self, ref: ObjectRef) -> Subject | None:
        return self.now

    async def post(self, ref: ObjectRef, event: Event) -> None:
        self.events.append(event)

    def build(self, made_from: Subject) -> Body:
        self.built.append(made_from.generation)
        return Body(self)

    def services(self, slots: Slots | None = None) -> Services:
        return Services(
            clock=self.clock,
            writer=self,
            reader=self,
            events=self,
            secrets=self.secrets,
            slots=slots or Slots(10, self.clock.monotonic),
            builds={BACKGROUND_LOOP: self.build},
            random=lambda: 0.5,
        )

    def open(self, stored: Any = None) -> Loop:
        """See the object for the first time."""
        assert self.now is not None
        return Loop(REF, self.now, adopt(stored, now=self.clock.wall()), self.clock.wall())

    def change(self, loop: Loop, newer: Subject) -> None:
        """Change the object; the watch brings it at once."""
        self.now = newer
        loop.offer(newer)


@dataclass
class Body:
    """Does what the cluster's `act` says; without one it succeeds at once."""

    cluster: Cluster

    async def run(self, turn_: Turn) -> Outcome:
        self.cluster.turns.append((self.cluster.clock.monotonic(), turn_))
        return await self.cluster.act(turn_) if self.cluster.act else Outcome(message="fine")

    async def close(self, *, deleted: bool) -> None:
        self.cluster.closed.append(deleted)


async def keep_turning(loop: Loop, services: Services) -> None:
    """Do what a timer does: one turn after the other until the loop has left."""
    while await turn(loop, services):
        pass


async def live(loop: Loop, services: Services, seconds: float) -> None:
    """Let a loop live for some virtual seconds, then let the process stop."""
    task = asyncio.create_task(keep_turning(loop, services))
    await asyncio.sleep(seconds)
    assert not task.done() or loop.leaving, task
    loop.leave(Leaving.EXITING, services.clock.monotonic(), 9.0)
    await task


def failing(error: Exception) -> Act:
    """An act that always raises."""

    async def act(_: Turn) -> Outcome:
        raise error

    return act


def lasting(seconds: float, outcome: Outcome | None = None) -> Act:
    """An act that takes its time."""

    async def act(_: Turn) -> Outcome:
        await asyncio.sleep(seconds)
        return outcome or Outcome(message="done")

    return act


def newer(old: Subject, **changes: Any) -> Subject:
    """The same object, changed."""
    return replace(old, **changes)
