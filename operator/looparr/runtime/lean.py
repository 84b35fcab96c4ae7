"""Imports without what comes along uninvited: libraries import others wherever those are installed, needed or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let imports in this block find these packages missing, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say: not installed
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
