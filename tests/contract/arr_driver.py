"""A process that drives one ArrInstance until an intent reaches a phase, says so, and hangs: for a real `kill -9`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from contract.arr_kit import drive, surroundings
from contract.arr_parts import JumpingClock, OfferedSecrets
from looparr.runtime.executor import Executor
from looparr.store.rows import Budget, IntentRow
from looparr.store.store import Store


class HangingStore(Store):
    """The real store; once a phase is durable, the process goes no further."""

    phase = ""

    async def put_intent(self, intent: IntentRow, budget: Budget | None = None) -> bool:
        written = await super().put_intent(intent, budget)
        await self._reached("Planned")
        return written

    async def set_intent_phase(self, instance: str, intent_id: str, phase: str, detail: Any = None) -> None:
        await super().set_intent_phase(instance, intent_id, phase, detail)
        await self._reached(phase)

    async def _reached(self, phase: str) -> None:
        if phase == self.phase:
            sys.stdout.write(f"{phase}\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


async def main() -> None:
    order = json.loads(sys.argv[1])
    secrets = OfferedSecrets()
    for name, texts in order["secrets"].items():
        secrets.put(name, **texts)
    store = await HangingStore.open(Path(order["store"]), Executor("store", 1))
    store.phase = order["phase"]
    await drive(surroundings(secrets, store, JumpingClock()), order["spec"])


if __name__ == "__main__":
    asyncio.run(main())
