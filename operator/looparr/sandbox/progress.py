"""How long steps tell that they are alive: notes and spinners on stderr, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn


class Progress(Protocol):
    """Where steps are reported to."""

    def note(self, text: str) -> None:
        """Say one finished thing."""

    def working(self, label: str) -> AbstractContextManager[None]:
        """Show that this goes on as long as the `with` lasts."""


class Silent:
    """Says nothing; for tests and libraries."""

    def note(self, text: str) -> None:
        """Say nothing."""

    @contextmanager
    def working(self, label: str) -> Iterator[None]:  # noqa: ARG002 - the protocol has it
        """Show nothing."""
        yield


class Terminal:
    """Writes to stderr: a spinner with the seconds on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """Write one line."""
        self.console.print(f"[green]✓[/] {text}", soft_wrap=True)

    @contextmanager
    def working(self, label: str) -> Iterator[None]:
        """Spin beside the label; a plain line before it where nobody could see that."""
        if not self.console.is_terminal:
            self.console.print(f"… {label}", soft_wrap=True)
            yield
            return
        with Bars(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=self.console, transient=True
        ) as bars:
            bars.add_task(label, total=None)
            yield
