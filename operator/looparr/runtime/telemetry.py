"""What the process tells about itself: one stream of structured logs and one registry of metrics.

Logs of Kopf, aiohttp and everybody else who uses the standard library go the same way as ours. Redaction here is the
second line of defence; the first is that nobody hands a secret to a log call.
"""

from __future__ import annotations

import collections
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TextIO

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from structlog.typing import EventDict, WrappedLogger

from looparr.api.meta import ObjectRef

HIDDEN = "***"
METRICS_TYPE = CONTENT_TYPE_LATEST
_SECRET_KEYS = ("password", "passwd", "apikey", "authorization", "token", "cookie")
_SECRET_TEXT = re.compile(
    # key=value and "key": "value"; HTTP headers; user:password@host
    r"""(?i)((?:api[-_]?key|passw(?:or)?d|token)["']?\s*[=:]\s*["']?)[^\s"'&,;}]+"""
    r"""|(authorization["']?\s*[=:]\s*["']?(?:[a-z]+\s+)?|\bbearer\s+(?=\S{16}))[^\s"',;}]+"""
    r"""|(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)""",
)

LogFormat = Literal["json", "console"]


# --- logs -----------------------------------------------------------------------------------------------------------


def configure_logging(level: str = "info", form: LogFormat = "json", stream: TextIO | None = None) -> None:
    """Send every log line of the process to one stream (stderr), as JSON or as text for a terminal.

    level: debug, info, warning or error. Kopf's line per object and turn is shown only from WARNING on.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    last: list[structlog.typing.Processor] = [structlog.processors.JSONRenderer(serializer=_to_json)]
    if form == "console":
        last = [structlog.dev.ConsoleRenderer(colors=bool(getattr(stream or sys.stderr, "isatty", bool)()))]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=["k8s_ref"]), _object_of_kopf],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                redact,
                *last,
            ],
        ),
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("kopf.objects").setLevel(max(logging.WARNING, root.level))
    logging.getLogger("aiohttp.access").setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)


@contextmanager
def bind_object(ref: ObjectRef) -> Iterator[None]:
    """Put kind, namespace, name, uid and loop into every log line written inside, in threads of executors too."""
    with structlog.contextvars.bound_contextvars(
        kind=ref.kind.kind,
        namespace=ref.namespace,
        name=ref.name,
        uid=ref.uid,
        loop=f"{ref.namespace}/{ref.name}",
    ):
        yield


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide values of keys that name a secret, and secrets in texts and exceptions (a structlog processor)."""
    return {key: HIDDEN if _names_secret(key) and value is not None else _clean(value) for key, value in event.items()}


def redact_text(text: str) -> str:
    """Hide what looks like a secret in a text: `apikey=...`, `Bearer ...`, `://user:password@`."""
    return _SECRET_TEXT.sub(lambda found: (found[1] or found[2] or found[3]) + HIDDEN, text)


def _names_secret(key: str) -> bool:
    return key.lower().replace("-", "").replace("_", "").endswith(_SECRET_KEYS)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if isinstance(key, str) and _names_secret(key) else _clean(item) for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return redact_text(str(value))


def _object_of_kopf(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Turn the object reference of Kopf's own lines into the fields that ours have."""
    ref = event.pop("k8s_ref", None)
    if isinstance(ref, Mapping):
        for field in ("kind", "namespace", "name", "uid"):
            if field in ref:
                event.setdefault(field, ref[field])
    return event


def _to_json(event: EventDict, **_unused: object) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


# --- metrics --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metrics:
    """All metrics of the process on a registry of its own; made once by `Metrics.make` and passed around."""

    registry: CollectorRegistry
    runs: Counter
    """Ended turns by kind and result."""
    run_duration: Histogram
    """Seconds a turn took, by kind."""
    errors: Counter
    """Failed turns by kind and reason."""
    status_writes: Counter
    """PATCHes of /status by result."""
    slots_in_use: Gauge
    slots_waiting: Gauge
    loops: Gauge
    """Known objects by kind and phase."""
    actions: Counter
    """What was done to torrents and library items, by action and result."""

    @classmethod
    def make(cls, slots: int | None = None) -> Metrics:
        """Make a fresh set, with the metrics of the process and its garbage collector.

        slots: size of the pool of slots, shown as looparr_slots_limit where given.
        """
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry=registry)
        if slots is not None:
            Gauge("looparr_slots_limit", "Slots that turns may take.", registry=registry).set(slots)

        def counter(name: str, text: str, labels: Iterable[str]) -> Counter:
            return Counter(name, text, labels, namespace="looparr", registry=registry)

        def gauge(name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
            return Gauge(name, text, labels, namespace="looparr", registry=registry)

        return cls(
            registry=registry,
            runs=counter("runs_total", "Ended turns.", ("kind", "result")),
            run_duration=Histogram(
                "run_duration_seconds",
                "Seconds that a turn took.",
                ("kind",),
                namespace="looparr",
                registry=registry,
                buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            ),
            errors=counter("errors_total", "Failed turns.", ("kind", "reason")),
            status_writes=counter("status_writes_total", "Writes of a status.", ("result",)),
            slots_in_use=gauge("slots_in_use", "Turns that run now."),
            slots_waiting=gauge("slots_waiting", "Turns that are due and wait for a slot."),
            loops=gauge("loops", "Known loops.", ("kind", "phase")),
            actions=counter("actions_total", "What was done to torrents and library items.", ("action", "result")),
        )

    def turn_ended(self, kind: str, result: str, reason: str, seconds: float) -> None:
        """Count one turn. reason: of its error, "" without one."""
        self.runs.labels(kind, result).inc()
        self.run_duration.labels(kind).observe(seconds)
        if reason:
            self.errors.labels(kind, reason).inc()

    def show_loops(self, loops: Iterable[tuple[str, str]]) -> None:
        """Show how many loops there are; loops: kind and phase of each."""
        self.loops.clear()
        for labels, count in collections.Counter(loops).items():
            self.loops.labels(*labels).set(count)

    def render(self) -> bytes:
        """Give the text that Prometheus reads; may be called from any thread."""
        return generate_latest(self.registry)
