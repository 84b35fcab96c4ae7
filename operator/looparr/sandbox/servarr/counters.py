"""What was asked of the stand-in: tests count removals, the benchmark counts calls."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Requests:
    """What was asked of the stand-in, its control paths apart: counts by "METHOD template", and the last 10,000."""

    counts: Counter[str] = field(default_factory=Counter)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=10_000))

    def clear(self) -> None:
        """Start counting anew."""
        self.counts.clear()
        self.recent.clear()
