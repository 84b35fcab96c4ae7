"""What import-linter cannot say of the rooms: who makes event loops, and that no contract forgets a room."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import looparr

PACKAGE = Path(looparr.__file__).parent
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
CONTRACTS: dict[str, Any] = {one["name"]: one for one in PROJECT["tool"]["importlinter"]["contracts"]}

ROOMS = {path.stem for path in PACKAGE.iterdir() if (path.is_dir() or path.suffix == ".py") and path.stem[0] != "_"}
MAY = {
    "Kopf is glue: only handlers and main may touch it": {"handlers", "main"},
    "Only clients touch an outside system's driver": {"clients", "sandbox"},
    "Only the store knows SQL": {"store"},
    "Only runtime makes event loops and touches signals": {"runtime", "sandbox"},
}

LOOP_MAKERS = {
    "Runner",
    "add_signal_handler",
    "new_event_loop",
    "remove_signal_handler",
    "run_forever",
    "run_until_complete",
    "set_event_loop",
    "set_event_loop_policy",
}
"""Names of asyncio by which loops are made, run or given signals; `asyncio.run` is looked for whole."""
OWN_PROCESSES = ("runtime/", "sandbox/", "cli/sandbox.py")
"""The one owner, and the sandbox, whose programs are processes of their own."""


def loops_made(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="asyncio"), attr="run"):
                yield "asyncio.run"
            case ast.Attribute(attr=name) if name in LOOP_MAKERS:
                yield name
            case ast.ImportFrom(module="asyncio", names=names):
                yield from (one.name for one in names if one.name in LOOP_MAKERS | {"run"})


def test_only_runtime_makes_event_loops() -> None:
    found = {
        (where, name)
        for path in PACKAGE.rglob("*.py")
        if not (where := path.relative_to(PACKAGE).as_posix()).startswith(OWN_PROCESSES)
        for name in loops_made(ast.parse(path.read_text()))
    }
    assert found == set()


@pytest.mark.parametrize(
    "text",
    [
        "asyncio.run(main())",
        "with asyncio.Runner() as runner: ...",
        "from asyncio import run",
        "loop.add_signal_handler(15, stop)",
        "asyncio.new_event_loop()",
    ],
)
def test_every_way_to_make_one_is_seen(text: str) -> None:
    assert list(loops_made(ast.parse(text)))


@pytest.mark.parametrize("name", MAY)
def test_a_contract_names_every_room_but_those_that_may(name: str) -> None:
    named = {one.removeprefix("looparr.") for one in CONTRACTS[name]["source_modules"]}
    assert named == ROOMS - MAY[name]


def test_every_room_has_its_layer() -> None:
    layers = CONTRACTS["Layers: each room knows only the rooms below it"]["layers"]
    placed = {room.strip().removeprefix("looparr.") for layer in layers for room in layer.split("|")}
    assert ROOMS - placed == {"testing"}  # for the tests of others; nothing of ours may depend on it
