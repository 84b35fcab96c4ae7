from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from looparr.api.meta import ARR_INSTANCE, ObjectRef
from looparr.runtime.executor import Executor
from looparr.runtime.telemetry import HIDDEN, LogFormat, Metrics, bind_object, configure_logging, redact, redact_text

REF = ObjectRef(ARR_INSTANCE, "media", "films", "uid-1")
FIELDS = {"kind": "ArrInstance", "namespace": "media", "name": "films", "uid": "uid-1", "loop": "media/films"}


class Lines:
    def __init__(self) -> None:
        self.stream = io.StringIO()

    def configure(self, level: str = "info", form: LogFormat = "json") -> Lines:
        configure_logging(level, form, self.stream)
        return self

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def last(self) -> dict[str, Any]:
        return self.all()[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Lines()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    for name in ("kopf.objects", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_line_is_json_with_time_level_logger_and_fields(lines: Lines) -> None:
    lines.configure()
    structlog.stdlib.get_logger("looparr.test").info("turn ended", seconds=1.5, items=(1, 2))
    line = lines.last()
    assert line.pop("time").endswith("Z")
    assert line == {"event": "turn ended", "level": "info", "logger": "looparr.test", "seconds": 1.5, "items": [1, 2]}


def test_loggers_made_before_the_configuration_follow_it(lines: Lines) -> None:
    early = structlog.stdlib.get_logger("early")
    lines.configure()
    early.warning("said")
    assert lines.last()["logger"] == "early"


def test_lines_of_the_standard_library_go_the_same_way(lines: Lines) -> None:
    lines.configure()
    logging.getLogger("aiohttp.client").warning("lost %s", "connection")
    assert lines.last() | {"time": ""} == {
        "event": "lost connection",
        "level": "warning",
        "logger": "aiohttp.client",
        "time": "",
    }


def test_object_fields_are_on_every_line_inside_and_on_none_outside(lines: Lines) -> None:
    lines.configure()
    log = structlog.stdlib.get_logger("test")
    with bind_object(REF):
        log.info("inside")
        logging.getLogger("other").info("inside too")
    log.info("outside")
    inside, too, outside = lines.all()
    assert inside.items() >= FIELDS.items()
    assert too.items() >= FIELDS.items()
    assert not outside.keys() & FIELDS.keys()


async def test_object_fields_follow_into_threads_and_not_into_other_tasks(lines: Lines) -> None:
    lines.configure()
    executor = Executor("threads", 1)
    elsewhere = asyncio.Event()

    async def other() -> None:
        await elsewhere.wait()
        logging.getLogger("other").info("other task")

    task = asyncio.create_task(other())
    with bind_object(REF):
        await executor.run(logging.getLogger("thread").info, "in a thread")
        elsewhere.set()
        await task
    executor.close()
    thread, foreign = lines.all()
    assert thread.items() >= FIELDS.items()
    assert not foreign.keys() & FIELDS.keys()


def test_kopfs_line_per_object_is_silent_below_warning_and_carries_the_object(lines: Lines) -> None:
    lines.configure("debug")
    kopf = logging.getLogger("kopf.objects")
    ref = {
        "k8s_ref": {"kind": "ArrInstance", "namespace": "media", "name": "films", "uid": "uid-1", "apiVersion": "v1"}
    }
    kopf.info("Timer succeeded", extra=ref)
    kopf.warning("odd", extra=ref)
    assert [line["event"] for line in lines.all()] == ["odd"]
    assert lines.last().items() >= {"kind": "ArrInstance", "namespace": "media", "name": "films"}.items()
    assert "k8s_ref" not in lines.last()


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_lines_of_the_level_and_above_are_written(lines: Lines, level: str, heard: int) -> None:
    lines.configure(level)
    log = structlog.stdlib.get_logger("test")
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("said")
    assert len(lines.all()) == heard


def test_a_traceback_is_one_line_and_redacted(lines: Lines) -> None:
    lines.configure()
    error = OSError("GET http://films/api?apikey=0123456789abcdef refused")
    structlog.stdlib.get_logger("test").error("call failed", exc_info=error)
    line = lines.last()
    assert "OSError" in line["exception"]
    assert "0123456789abcdef" not in lines.stream.getvalue()


def test_the_console_form_is_text(lines: Lines) -> None:
    lines.configure(form="console")
    structlog.stdlib.get_logger("test").info("turn ended", password="hunter2", loop="a/b")
    text = lines.stream.getvalue()
    assert "turn ended" in text
    assert "loop=a/b" in text
    assert "hunter2" not in text


def test_warnings_are_logged(lines: Lines) -> None:
    lines.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", UserWarning, stacklevel=1)
    assert lines.last()["logger"] == "py.warnings"


@pytest.mark.parametrize(
    "key", ["password", "apikey", "apiKey", "X-Api-Key", "api_key", "Authorization", "token", "access_token", "Cookie"]
)
def test_values_of_secret_keys_are_hidden_at_any_depth(key: str) -> None:
    event = {key: "s3cret", "headers": {key: "s3cret", "list": [{key: "s3cret"}]}, "event": "call"}
    assert "s3cret" not in str(redact(None, "info", event))
    assert str(redact(None, "info", event)).count(HIDDEN) == 3


@pytest.mark.parametrize("key", ["secret_name", "tokens_left", "name", "hash", "passwords_checked"])
def test_keys_that_only_sound_like_secrets_stay(key: str) -> None:
    assert redact(None, "info", {key: "films-key"}) == {key: "films-key"}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://h/api?apikey=abc123&page=1", "http://h/api?apikey=***&page=1"),
        ("X-Api-Key: abc123 sent", "X-Api-Key: *** sent"),
        ('{"password": "abc123", "user": "me"}', '{"password": "***", "user": "me"}'),
        ("Authorization: Bearer abc123", "Authorization: Bearer ***"),
        ("Authorization: Basic YWJj", "Authorization: Basic ***"),
        ("with Bearer eyJhbGciOiJSUzI1NiIsImtpZCI6 it failed", "with Bearer *** it failed"),
        ("postgres://me:abc123@host/db", "postgres://me:***@host/db"),
        ("a bearer of bad news, in basic words", "a bearer of bad news, in basic words"),
        ("http://host:8080/path?x=a@b", "http://host:8080/path?x=a@b"),
    ],
)
def test_secrets_in_texts_are_hidden_and_nothing_else(text: str, clean: str) -> None:
    assert redact_text(text) == clean


def test_numbers_and_nothing_stay_what_they_are() -> None:
    assert redact(None, "info", {"a": 1, "b": 2.5, "c": True, "d": None, "token": None}) == {
        "a": 1, "b": 2.5, "c": True, "d": None, "token": None,
    }  # fmt: skip


def test_metrics_have_their_names_on_a_registry_of_their_own() -> None:
    one, other = Metrics.make(slots=7), Metrics.make()
    one.runs.labels("ArrInstance", "Succeeded").inc()
    one.run_duration.labels("ArrInstance").observe(0.2)
    one.errors.labels("ArrInstance", "ApiUnavailable").inc()
    one.status_writes.labels("written").inc()
    one.slots_in_use.set(3)
    one.loops.labels("ArrInstance", "Idle").set(5)
    one.actions.labels("Replace", "done").inc()
    text = one.render().decode()
    for line in (
        'looparr_runs_total{kind="ArrInstance",result="Succeeded"} 1.0',
        'looparr_run_duration_seconds_count{kind="ArrInstance"} 1.0',
        'looparr_errors_total{kind="ArrInstance",reason="ApiUnavailable"} 1.0',
        'looparr_status_writes_total{result="written"} 1.0',
        "looparr_slots_in_use 3.0",
        "looparr_slots_waiting 0.0",
        "looparr_slots_limit 7.0",
        'looparr_loops{kind="ArrInstance",phase="Idle"} 5.0',
        'looparr_actions_total{action="Replace",result="done"} 1.0',
    ):
        assert line in text
    assert "process_resident_memory_bytes" in text
    assert "Succeeded" not in other.render().decode()
