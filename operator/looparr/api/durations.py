"""Durations as people write them in a spec: Go style (`1h30m`, `45s`, `250ms`), never days."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from looparr.api.schema import Text

# Digits are bounded: CEL's duration() overflows beyond int64 nanoseconds, and nobody waits 292 years.
DURATION_PATTERN = r"^([0-9]{1,7}(\.[0-9]{1,6})?(ms|s|m)|[0-9]{1,5}(\.[0-9]{1,6})?h){1,4}$"
DURATION_MAX_LENGTH = 32
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> float:
    """Give the seconds of a Go-style duration.

    Raises ValueError that says what a duration looks like.
    """
    if len(text) > DURATION_MAX_LENGTH or not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration: write it like 30s, 5m or 1h30m (days are 24h)")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def format_duration(seconds: float) -> str:
    """Write seconds the way `kubectl` users read them: 90 -> 1m30s, 0.25 -> 250ms, 0 -> 0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds > 0 else "0s"
    rest = round(seconds)
    parts = []
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


_FORM = "a duration is written like 30s, 5m or 1h30m (a day is 24h)"

Duration = Annotated[str, Text(DURATION_PATTERN, _FORM, DURATION_MAX_LENGTH)]
"""A duration in a spec; stays the user's own text, `parse_duration` gives seconds."""

LongDuration = Annotated[
    str, Text(DURATION_PATTERN, f"{_FORM}; at least 1s here", DURATION_MAX_LENGTH, "duration(self) >= duration('1s')")
]
"""A duration that the API server wants to be at least 1s."""


def _limit_of(longest: str) -> Text:
    """The text of a time limit: 1s to `longest`."""
    also = f"duration(self) >= duration('1s') && duration(self) <= duration('{longest}')"
    return Text(DURATION_PATTERN, f"{_FORM}; 1s to {longest} here", DURATION_MAX_LENGTH, also)


TurnLimit = Annotated[str, _limit_of("24h")]
"""How long a turn may take: a turn that hangs longer would hold its slot for ever."""

RequestLimit = Annotated[str, _limit_of("1h")]
"""How long a request may take."""
