"""The last resort of a stop: end the process from a thread when a service, the loop or the interpreter hangs.

A process that does not end in time is killed in the middle of a write; here it says at least why, and with which code.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import structlog

log = structlog.stdlib.get_logger(__name__)


class Watchdog:
    """Ends the process from a thread when its stop hangs: in a service, the loop or the interpreter's own end."""

    def __init__(self, leave_by: Callable[[int], object] | None = None) -> None:
        self.code = 1
        self._leave = leave_by or leave
        self._timer: threading.Timer | None = None

    def arm(self, seconds: float) -> None:
        """Start the countdown, once."""
        if self._timer is None and seconds != float("inf"):
            self._timer = threading.Timer(seconds, self._bark)
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """Stop the countdown."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _bark(self) -> None:
        lingering = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
        log.error("process did not stop in time and was ended", exit_code=self.code, threads=lingering)
        self._leave(self.code)


def lingering() -> bool:
    """Tell whether the interpreter would wait at its end for a thread that does not end by itself."""
    others = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    for thread in others:
        thread.join(0.05)
    return any(thread.is_alive() for thread in others)


def leave(code: int) -> None:
    """Leave now: no cleaning up, only what was written so far."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
