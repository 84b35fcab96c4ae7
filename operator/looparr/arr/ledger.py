"""The books of phase 4: what each step of a removal costs, and leaves in memory, totals, action log and Events.

What counts for limits is in the store before anything is sent: the store decides about it and writes it in one step,
for all instances at once. All else is noted in memory and becomes durable with the next commit. A step that is taken
again after a crash is noted once: its line in the action log, which bears the intent's id, is in the same commit as
what it counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from looparr.arr.fetch import Observation
from looparr.arr.intents import Act, Intent, Phase
from looparr.arr.limits import SEARCHES, Budget, Windows, address
from looparr.arr.memory import Memory
from looparr.arr.spec import ArrSpec
from looparr.arr.states import State
from looparr.arr.surroundings import Acted
from looparr.arr.tracked import Key
from looparr.engine.types import Event, EventType
from looparr.store.rows import ActionRow
from looparr.store.store import Store

LOG = logging.getLogger(__name__)

HOLD_AFTER_DROP = 3600.0


@dataclass(slots=True)
class Ledger:
    """Keeps the books of one instance in one turn. events: what people are told, in order.

    acted(action, result): told of each line, for the metrics.
    """

    instance: str
    spec: ArrSpec
    store: Store
    memory: Memory
    observation: Observation
    now: Callable[[], float]
    acted: Acted
    events: list[Event] = field(default_factory=list)

    async def begin(self, intent: Intent) -> bool:
        """Make an intent durable; its room is its own until it is sent or given up. False: there is none."""
        return await self.store.put_intent(intent.row(self.instance), self._removal(intent))

    async def charge(self, intent: Intent) -> bool:
        """It is about to be sent: limits and cooldown count it from now on, whatever comes of it. False: no room."""
        charged = await self._charge(self._row(intent, "Sent", cost=1), self._removal(intent))
        if charged and intent.act is Act.REPLACE:
            self.memory.put_value("last_blocklist", self.now())
        return charged

    async def charge_search(self, intent: Intent, items: Sequence[int]) -> bool:
        """Its items are about to be searched: the Arr's limit counts them from now on. False: no room."""
        row = self._row(replace(intent, items=tuple(items)), "Sent", cost=len(items), action="Search")
        row = replace(row, endpoint=address(self.spec.url))
        return await self._charge(row, Budget(row.endpoint, SEARCHES, self.now(), intent.id, row.cost))

    def _removal(self, intent: Intent) -> Budget:
        limits = self.spec.limits_effective
        windows = Windows(per_hour=limits.per_hour, per_day=limits.per_day)
        return Budget(self.endpoint(intent.client), windows, self.now(), intent.id)

    async def _charge(self, row: ActionRow, budget: Budget) -> bool:
        """Write a line that counts for limits; it is durable already when the memory learns of it."""
        charged = await self.store.charge(self.instance, row, budget)
        if charged:
            self.acted(row.action, row.result)
            self.memory.actions.append(row)
        return charged

    def settled(self, key: Key, intent: Intent) -> None:
        """Gone from the client and failed in the history: the removal is done."""
        one = self.memory.tracked.get(key)
        if one is not None:
            one.why = intent.reason
            self.memory.move(one, State.BLOCKLISTED, self.now())
        if self._has(intent, "Verified"):
            return
        self._log(intent, "Verified")
        self.memory.add_total("blocklisted")
        self._tell("Replaced", f"Removed and blocklisted {intent.name}: {intent.reason}.", EventType.WARNING)

    def finished(self, key: Key, intent: Intent, why: str) -> None:
        """Nothing is left to do."""
        self._log(intent, "Done", reason=why)
        if intent.act is Act.DELETE:
            self.memory.add_total("deleted")
            self._tell("Deleted", f"Deleted {intent.name}: {intent.reason}.")
        elif intent.phase is Phase.SEARCH:
            self.memory.add_total("searched", max(1, len(intent.items)))
        self._close(key, intent)
        self._leave(key)

    def dropped(self, key: Key, intent: Intent, why: str, *, gone: bool = False) -> None:
        """Given up; the torrent, if it is still there and something was sent for it, is judged anew after an hour.

        gone: it is not there. If something was sent and nothing verified, it counts as a removal of ours, on doubt.
        """
        removed = gone and intent.phase in {Phase.SENT, Phase.CLIENT_DELETE, Phase.MARK_FAILED}
        self._log(intent, "Dropped", reason=why, removed=removed)
        LOG.warning("gave a removal up, torrent=%s phase=%s why=%s", intent.name, intent.phase, why)
        self._close(key, intent)
        one = self.memory.tracked.get(key)
        if intent.phase in {Phase.REMOVED, Phase.SEARCH}:
            self._tell("NotSearched", f"Replaced {intent.name} without a search: {why}.", EventType.WARNING)
            self._leave(key)
            return
        if intent.phase is not Phase.PLANNED:
            self._tell("NotRemoved", f"Gave the removal of {intent.name} up: {why}.", EventType.WARNING)
        if one is not None:
            one.why = why
            self.memory.unsettled.add(key)
            self.memory.dirty.add(key)
            if intent.phase is not Phase.PLANNED:
                one.hold_until = self.now() + HOLD_AFTER_DROP

    def _log(self, intent: Intent, result: str, *, reason: str = "", removed: bool = False) -> None:
        """Add a line to the action log."""
        self.acted(str(intent.act), result)
        row = self._row(intent, result, reason=reason)
        self.memory.log(replace(row, detail={**row.detail, "removed": True}) if removed else row)

    def _row(self, intent: Intent, result: str, *, cost: int = 0, reason: str = "", action: str = "") -> ActionRow:
        return ActionRow(
            at=self.now(),
            endpoint=self.endpoint(intent.client),
            client=intent.client,
            hash=intent.hash,
            name=intent.name,
            items=intent.items,
            action=action or str(intent.act),
            rule=intent.rule,
            reason=reason or intent.reason,
            result=result,
            cost=cost,
            detail={"title": intent.title, "indexer": intent.indexer, "intent": intent.id},
        )

    def endpoint(self, client: str) -> str:
        """Give the address of a client, which limits are counted for; "" when it is not there any more."""
        view = self.observation.views.get(client)
        return address(view.link.endpoint) if view else ""

    def _has(self, intent: Intent, result: str) -> bool:
        return any(row.result == result and row.detail.get("intent") == intent.id for row in self.memory.actions)

    def _close(self, key: Key, intent: Intent) -> None:
        del self.memory.intents[key]
        self.memory.closed_intents.append(intent.id)

    def _leave(self, key: Key) -> None:
        one = self.memory.tracked.get(key)
        if one is not None:
            self.memory.leave(one, State.DELETED, self.now())

    def _tell(self, reason: str, text: str, type_: EventType = EventType.NORMAL) -> None:
        self.events.append(Event(reason, text[:1000], type_))
