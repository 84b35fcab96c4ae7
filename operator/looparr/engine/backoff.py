"""How long a failing loop waits. Pure, so that the curve can be read and tested as a table."""

from __future__ import annotations

from looparr.api.durations import parse_duration
from looparr.api.spec import Backoff

INITIAL_DELAY = 5.0
MAX_DELAY = 300.0
MULTIPLIER_PERCENT = 200
JITTER_PERCENT = 10
RETRY_AFTER_LIMIT = 3600.0
"""Seconds: no outside system may hold a loop longer than this by its Retry-After."""


def max_delay(spec: Backoff | None) -> float:
    """Give the longest backoff of this spec, seconds."""
    return parse_duration(spec.max_delay) if spec and spec.max_delay else MAX_DELAY


def backoff_delay(
    attempt: int, spec: Backoff | None = None, *, luck: float = 0.5, retry_after: float | None = None
) -> float:
    """Give the seconds to wait after the `attempt`-th error in a row (1 is the first).

    min(initialDelay x multiplier^(attempt-1), maxDelay), give or take the jitter, never above maxDelay. `luck` is the
    random share: 0 takes the whole jitter away, 1 adds it. A longer `retry_after` (seconds) of the other side wins.
    """
    initial = parse_duration(spec.initial_delay) if spec and spec.initial_delay else INITIAL_DELAY
    percent = MULTIPLIER_PERCENT if spec is None or spec.multiplier_percent is None else spec.multiplier_percent
    jitter = JITTER_PERCENT if spec is None or spec.jitter_percent is None else spec.jitter_percent
    longest = max_delay(spec)
    try:
        base = min(initial * (percent / 100) ** (max(1, attempt) - 1), longest)
    except OverflowError:
        base = longest
    delay = min(base * (1 + jitter / 100 * (2 * luck - 1)), longest)
    return max(delay, min(retry_after or 0.0, RETRY_AFTER_LIMIT))
