"""How much may happen at all: sliding windows and cooldowns. Pure.

A window counts what was *sent*, never what succeeded, and gives nothing back. What exceeds it waits, and is judged
again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True, slots=True)
class Charge:
    """One act that was sent: when (epoch seconds) and what it cost. intent: id of what it was sent for, "" for none."""

    at: float
    cost: int = 1
    intent: str = ""


@dataclass(frozen=True, slots=True)
class Windows:
    """Limits of one kind of act. None = no limit of that length."""

    per_turn: int | None = None
    per_hour: int | None = None
    per_day: int | None = None

    def room(self, charges: Iterable[Charge], now: float) -> int:
        """Say how much may still be sent in this turn. A charge from the future counts: clocks may be wrong."""
        hour = day = 0
        for charge in _once(charges):
            if charge.at > now - DAY:
                day += charge.cost
            if charge.at > now - HOUR:
                hour += charge.cost
        rooms = [
            limit - used
            for limit, used in ((self.per_turn, 0), (self.per_hour, hour), (self.per_day, day))
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


SEARCHES = Windows(per_hour=5)
"""Replacement searches: one token an item, five an hour."""


def cooled_down(last: float | None, seconds: float, now: float) -> bool:
    """Whether a cooldown of that many seconds since the last act of its kind (epoch) is over."""
    return last is None or now - last >= seconds or last > now + seconds
