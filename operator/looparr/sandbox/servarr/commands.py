"""The Arr's command queue: one at a time, the same one never twice, each with a state that can be read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

_LOG = logging.getLogger(__name__)
_KEEP_ENDED = timedelta(minutes=5)


@dataclass(slots=True)
class Command:
    """One command. status: queued, started, completed, failed; result: unknown, successful, unsuccessful."""

    id: int
    name: str
    body: dict[str, Any]
    trigger: str
    queued: datetime
    priority: str = "normal"
    status: str = "queued"
    result: str = "unknown"
    message: str | None = None
    exception: str | None = None
    started: datetime | None = None
    ended: datetime | None = None
    user_agent: str | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_open(self) -> bool:
        """Queued or started."""
        return self.status in {"queued", "started"}


Execute = Callable[[Command], Awaitable[None]]


class Commands:
    """executors: name -> what it does; an executor may set message and result, and raises when it failed."""

    def __init__(self, now: Callable[[], datetime], executors: Mapping[str, Execute]) -> None:
        self._now = now
        self._executors = {name.lower(): (name, execute) for name, execute in executors.items()}
        self._waiting: asyncio.Queue[Command] = asyncio.Queue()
        self._last_id = 0
        self.all: dict[int, Command] = {}

    def knows(self, name: str) -> bool:
        """Tell whether there is such a command; case does not matter."""
        return name.lower() in self._executors

    def push(
        self,
        name: str,
        body: Mapping[str, Any] | None = None,
        *,
        trigger: str = "unspecified",
        priority: str = "normal",
        user_agent: str | None = None,
    ) -> Command:
        """Queue a command, or return the open one of the same name and body."""
        known, _ = self._executors[name.lower()]
        wanted = dict(body or {})
        for command in self.all.values():
            if command.is_open and command.name == known and _same(command.body, wanted):
                return command
        self._tidy()
        self._last_id += 1
        command = Command(self._last_id, known, wanted, trigger, self._now(), priority, user_agent=user_agent)
        self.all[command.id] = command
        self._waiting.put_nowait(command)
        return command

    def _tidy(self) -> None:
        limit = self._now() - _KEEP_ENDED
        self.all = {k: c for k, c in self.all.items() if c.ended is None or c.ended > limit}

    async def run(self) -> None:
        """Execute commands one after the other until cancelled."""
        while True:
            command = await self._waiting.get()
            _, execute = self._executors[command.name.lower()]
            command.status, command.started = "started", self._now()
            await self._execute(command, execute)
            command.ended = self._now()
            command.done.set()

    @staticmethod
    async def _execute(command: Command, execute: Execute) -> None:
        try:
            await execute(command)
        except Exception as error:  # noqa: BLE001 - whatever it was, the command failed and the next one runs
            command.status, command.result = "failed", "unsuccessful"
            command.message, command.exception = "Failed", f"{type(error).__name__}: {error}"
            _LOG.warning("Command failed name=%s error=%s", command.name, type(error).__name__)
        else:
            command.status = "completed"
            command.result = "successful" if command.result == "unknown" else command.result


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    def plain(value: Any) -> Any:
        return frozenset(map(str, value)) if isinstance(value, (list, tuple)) else value

    return {k: plain(v) for k, v in left.items()} == {k: plain(v) for k, v in right.items()}
