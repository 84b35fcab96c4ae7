"""What a hook tells while it works: one line for each step, and the last one again where time runs out."""

from __future__ import annotations

from collections.abc import Callable


class Steps:
    """Tells `say` of every step, but not of the same one twice in a row."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.last = "none was begun."
        self._say = say

    def __call__(self, step: str) -> None:
        """Tell of a step, one whole sentence."""
        if step != self.last:
            self._say(step)
        self.last = step
