"""The columns of `kubectl get`: what a person wants to see of a loop at one glance, and with `-o wide`."""

from __future__ import annotations

from typing import Any

from looparr.api.meta import ARR_INSTANCE, Kind

_READY = '.status.conditions[?(@.type=="Ready")]'


def columns(kind: Kind) -> list[dict[str, Any]]:
    """Give the additionalPrinterColumns of a kind; kubectl prints the names in capitals."""
    own = _ARR if kind is ARR_INSTANCE else []
    return [*_FIRST, *own, *_LAST, *_WIDE]


def _column(name: str, path: str, description: str, *, type_: str = "string", wide: bool = False) -> dict[str, Any]:
    column = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return {**column, "priority": 1} if wide else column


_FIRST = [
    _column("Type", ".spec.type", "What the loop is."),
    _column("Ready", f"{_READY}.status", "True: it works or is held on purpose."),
    _column("Status", f"{_READY}.reason", "Why it is ready or not, in one word."),
]
_ARR = [
    _column("Torrents", ".status.torrents.total", "Torrents that are looked at.", type_="integer"),
    _column("Trouble", ".status.attentionCount", "Torrents in trouble; status.attention names them.", type_="integer"),
]
_LAST = [
    _column("Runs", ".status.runCount", "Turns that ended.", type_="integer"),
    _column("Errors", ".status.errorCount", "Turns that failed.", type_="integer"),
    _column("Last Run", ".status.lastRunTime", "How long ago the last turn began.", type_="date"),
    _column("Age", ".metadata.creationTimestamp", "How long ago the object was made.", type_="date"),
]
_WIDE = [
    _column("Phase", ".status.phase", "What the loop is doing.", wide=True),
    _column("Interval", ".status.effectiveInterval", "Pause between turns in force.", wide=True),
    _column("Next Run", ".status.nextRunTime", "When the next turn is due.", wide=True),
    _column("Failures", ".status.consecutiveErrors", "Failed turns in a row.", type_="integer", wide=True),
    _column("Backoff Until", ".status.backoff.until", "When a failed loop is tried again.", wide=True),
    _column("Avg Ms", ".status.averageDurationMs", "Average duration of successful turns.", type_="integer", wide=True),
    _column("Message", ".status.message", "What the last turn had to say.", wide=True),
]
