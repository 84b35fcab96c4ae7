"""The books of phase 4: what each step of a removal leaves in memory, totals, action log and Events.

Everything here is noted in memory and becomes durable with the next commit. A step that is taken again after a crash
is noted once: its line in the action log, which bears the intent's id, is in the same commit as what it counts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from looparr.arr.fetch import Observation
from looparr.arr.intents import Act, Intent, Phase
from looparr.arr.memory import Memory
from looparr.arr.states import State
from looparr.arr.surroundings import Acted
from looparr.arr.tracked import Key
from looparr.engine.types import Event, EventType
from looparr.store.rows import ActionRow

LOG = logging.getLogger(__name__)

HOLD_AFTER_DROP = 3600.0


@dataclass(slots=True)
class Ledger:
    """Keeps the books of one instance in one turn. events: what people are told, in order.

    acted(action, result): told of each line, for the metrics.
    """

    memory: Memory
    observation: Observation
    now: Callable[[], float]
    acted: Acted
    events: list[Event] = field(default_factory=list)

    def charged(self, intent: Intent) -> None:
        """It is about to be sent: limits and cooldown count it from now on, whatever comes of it."""
        self.log(intent, "Sent", cost=1)
        if intent.act is Act.REPLACE:
            self.memory.put_value("last_blocklist", self.now())

    def settled(self, key: Key, intent: Intent) -> None:
        """Gone from the client and failed in the history: the removal is done."""
        one = self.memory.tracked.get(key)
        if one is not None:
            one.why = intent.reason
            self.memory.move(one, State.BLOCKLISTED, self.now())
        if self._has(intent, "Verified"):
            return
        self.log(intent, "Verified")
        self.memory.add_total("blocklisted")
        self._tell("Replaced", f"Removed and blocklisted {intent.name}: {intent.reason}.", EventType.WARNING)

    def finished(self, key: Key, intent: Intent, why: str) -> None:
        """Nothing is left to do."""
        self.log(intent, "Done", reason=why)
        if intent.act is Act.DELETE:
            self.memory.add_total("deleted")
            self._tell("Deleted", f"Deleted {intent.name}: {intent.reason}.")
        elif intent.phase is Phase.SEARCH:
            self.memory.add_total("searched", max(1, len(intent.items)))
        self._close(key, intent)
        self._leave(key)

    def dropped(self, key: Key, intent: Intent, why: str) -> None:
        """Given up; the torrent, if it is still there and something was sent for it, is judged anew after an hour."""
        self.log(intent, "Dropped", reason=why)
        LOG.warning("gave a removal up, torrent=%s phase=%s why=%s", intent.name, intent.phase, why)
        self._close(key, intent)
        one = self.memory.tracked.get(key)
        if intent.phase in {Phase.REMOVED, Phase.SEARCH}:
            self._tell("NotSearched", f"Replaced {intent.name} without a search: {why}.", EventType.WARNING)
            self._leave(key)
        elif one is not None:
            one.why = why
            self.memory.unsettled.add(key)
            self.memory.dirty.add(key)
            if intent.phase is not Phase.PLANNED:
                one.hold_until = self.now() + HOLD_AFTER_DROP
                self._tell("NotRemoved", f"Gave up removing {intent.name}: {why}.", EventType.WARNING)

    def log(self, intent: Intent, result: str, *, cost: int = 0, reason: str = "", action: str = "") -> None:
        """Add a line to the action log."""
        view = self.observation.views.get(intent.client)
        self.acted(action or str(intent.act), result)
        self.memory.log(
            ActionRow(
                at=self.now(),
                endpoint=view.link.endpoint if view else "",
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
        )

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
