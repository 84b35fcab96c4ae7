"""How much may happen at all: sliding windows and cooldowns. Pure.

A window counts what was *sent*, never what succeeded, and gives none of it back. What was begun has its room until it
is sent or given up, so that no two instances of one client take the same. What exceeds a window waits, and is judged
again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile

from looparr.arr.intents import Phase
from looparr.store.rows import Account

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Charge:
    """One act that was sent or begun: when (epoch seconds) and what it cost. intent: id of what it is for, "" none."""

    at: float
    cost: int = 1
    intent: str = ""


@dataclass(frozen=True, slots=True)
class Windows:
    """Limits of one kind of act. None = no limit of that length."""

    per_turn: int | None = None
    per_hour: int | None = None
    per_day: int | None = None

    def room(self, charges: Iterable[Charge], now: float, *, in_turn: int = 0) -> int:
        """Say how much may still be sent in this turn. A charge from the future counts: clocks may be wrong.

        in_turn: how much of this turn's share is taken already.
        """
        hour = day = 0
        for charge in _once(charges):
            if charge.at > now - DAY:
                day += charge.cost
            if charge.at > now - HOUR:
                hour += charge.cost
        rooms = [
            limit - used
            for limit, used in ((self.per_turn, in_turn), (self.per_hour, hour), (self.per_day, day))
            if limit is not None
        ]
        return max(0, min(rooms, default=10**9))


def _once(charges: Iterable[Charge]) -> Iterable[Charge]:
    """Give one charge for each intent, that of its last sending: what had to be sent again is still one act."""
    found: dict[str | int, Charge] = {}
    for number, charge in enumerate(charges):
        mark = charge.intent or number
        if charge.cost and (mark not in found or found[mark].at < charge.at):
            found[mark] = charge
    return found.values()


def booked(account: Account, now: float, *, before: str = "") -> list[Charge]:
    """Give what counts at an endpoint: what was sent, and what was begun and may still be sent.

    before: the intent that asks; what was begun after it comes after it. An intent that has expired is sent no more.
    """
    sent = [Charge(row.at, row.cost, str(row.detail.get("intent") or "")) for row in account.actions]
    begun = takewhile(lambda one: one.id != before, account.intents)
    return sent + [Charge(one.created, 1, one.id) for one in begun if one.phase == Phase.PLANNED and now <= one.expires]


@dataclass(frozen=True, slots=True)
class Budget:
    """What an intent may cost at an endpoint now. It never stands in its own way: what is sent again is one act."""

    endpoint: str
    windows: Windows
    now: float
    intent: str
    cost: int = 1

    @property
    def since(self) -> float:
        """The beginning of the longest window, epoch seconds."""
        return self.now - DAY

    def allows(self, account: Account) -> bool:
        """Whether there is room for it beside everything that comes before it."""
        others = [one for one in booked(account, self.now, before=self.intent) if one.intent != self.intent]
        return self.cost <= self.windows.room(others, self.now)


def address(url: str) -> str:
    """Give the endpoint that limits are counted for: one program, in whatever way its URL is written."""
    return url.rstrip("/").casefold()


NO_ROOM = "Limits: spec.limits allows no more removals for now; it waits and is judged again"
SEARCHES = Windows(per_hour=5)
"""Replacement searches: one token an item, five an hour."""


def cooled_down(last: float | None, seconds: float, now: float) -> bool:
    """Whether a cooldown of that many seconds since the last act of its kind (epoch) is over."""
    return last is None or now - last >= seconds or last > now + seconds
