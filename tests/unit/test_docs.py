"""The pages under docs/ say what the code does: every word that it can show is explained, every example is valid."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from jsonschema import Draft7Validator

import looparr
from looparr.api.conditions import ConditionType
from looparr.arr.record import notes
from looparr.arr.spec import ArrSpec
from looparr.arr.standing import Standing
from looparr.cli import app
from looparr.loops.spec import BackgroundLoopSpec
from looparr.manifests import crds
from looparr.manifests.rbac import rbac
from looparr.runtime.telemetry import Metrics
from looparr.settings import Settings, flag_of, variable_of
from schema_kit import unknown

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
PACKAGE = Path(looparr.__file__).parent
ERRORS = frozenset({"Transient", "Blocked", "Permanent", "Delay"})
EVENTS = frozenset({"Event", "_tell"})
WORD = re.compile(r"([A-Z][A-Za-z]+): ")
MODELS: dict[str, Any] = {"ArrInstance": ArrSpec, "BackgroundLoop": BackgroundLoopSpec}
SCHEMAS: dict[str, Any] = {
    one["spec"]["names"]["kind"]: one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for one in crds()
}

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


# --- what the code can say ------------------------------------------------------------------------------------------


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the product (the sandbox is none), parsed, by its path below the package."""
    found = (path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.relative_to(PACKAGE).parts)
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in found}


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names that a module or class gives to plain strings."""
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, node.value.value


@cache
def enums() -> dict[str, dict[str, str]]:
    """The values of every StrEnum, by class and member."""
    return {
        node.name: dict(assigned(node.body))
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "StrEnum" for b in node.bases)
    }


@cache
def constants() -> dict[str, str]:
    return {name: text for tree in modules().values() for name, text in assigned(tree.body)}


def first_arguments(names: frozenset[str]) -> Iterator[ast.expr]:
    """The first argument of every call of a function or method of one of these names."""
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if called in names:
                    yield node.args[0]


def text_of(argument: ast.expr) -> str | None:
    """The string that an argument is; None when it only hands on what somebody else said."""
    match argument:
        case ast.Constant(value=str(text)):
            return text
        case ast.Attribute(value=ast.Name(id=owner), attr=member) if owner in enums():
            return enums()[owner][member]
        case ast.Name(id=name) if name in constants():
            return constants()[name]
        case _:
            return None


def error_reasons() -> set[str]:
    raised = {text for argument in first_arguments(ERRORS) if (text := text_of(argument))}
    return raised | {
        value for name, members in enums().items() if name.endswith("Reason") for value in members.values()
    }


def everything_wrong() -> Standing:
    values: dict[str, Any] = {one.name: "x" for one in fields(Standing)}
    return Standing(**values | {"warmup_until": 0.0, "skew": 99.0})


def spoken(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes but docstrings."""
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return (node for node in ast.walk(tree) if id(node) not in silent)


def hold_words() -> set[str]:
    """The first words of the sentences that say why nothing is done, and those that hold the whole object."""
    texts = [
        node.value
        for name, tree in modules().items()
        if name.startswith("arr/") and name not in {"arr/record.py", "arr/states.py"}
        for node in spoken(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    texts += everything_wrong().holds
    return {found[1] for text in texts if (found := WORD.match(text))}


def event_reasons() -> set[str]:
    """Reasons of Events that are no reason of an error."""
    return {text for argument in first_arguments(EVENTS) if (text := text_of(argument)) and text.isidentifier()} | {
        "ReplaceHeldBack",
        "DeleteHeldBack",
    }


# --- what the pages say ---------------------------------------------------------------------------------------------


def section(name: str, title: str) -> str:
    """The text below a heading, with the headings below it."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"{name} has no heading {title!r}"
    return found[2]


def first_column(text: str) -> set[str]:
    """The words in backticks of the first cells of all tables."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row.split(" | ")[0])}


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One object of a page; a fragment is merged into the page's first object of a kind of ours."""

    page: str
    kind: str
    spec: dict[str, Any]


def examples(path: Path) -> list[Example]:
    found: list[Example] = []
    for text in blocks(path, "yaml"):
        for document in yaml.safe_load_all(text):
            if document.get("kind") in MODELS:
                found.append(Example(path.stem, document["kind"], document["spec"]))
            elif "kind" not in document:
                first = found[0]
                found.append(Example(path.stem, first.kind, first.spec | document))
    return found


EXAMPLES = [example for path in PAGES for example in examples(path)]


# --- tests ----------------------------------------------------------------------------------------------------------


def test_every_condition_type_is_explained_and_exists() -> None:
    own = {note.type for note in notes(everything_wrong(), durable=False)}
    assert first_column(section("conditions.md", "Condition types")) == own | set(ConditionType)


def test_every_reason_is_explained_and_exists() -> None:
    titles = ("Reasons of every loop", "What an error does")
    explained = set().union(*(first_column(section("conditions.md", title)) for title in titles))
    assert explained == error_reasons()


def test_every_reason_of_an_arr_instances_own_conditions_is_explained_and_exists() -> None:
    said = {note.reason for note in notes(everything_wrong(), durable=False)}
    assert first_column(section("conditions.md", "Reasons of an ArrInstance's own conditions")) == said


def test_every_event_is_explained_and_exists() -> None:
    assert first_column(section("conditions.md", "Events")) == event_reasons()


def test_every_word_that_holds_a_removal_back_is_explained_and_exists() -> None:
    explained = first_column(section("why-was-it-removed.md", "Why it was not removed"))
    assert explained | {"Search"} == hold_words()


def test_every_setting_is_in_the_table_with_its_flag_variable_and_default() -> None:
    rows = [row.split(" | ") for row in section("operations.md", "Settings").splitlines() if row.startswith("| `")]
    stated = {re.findall(r"`([^`]+)`", row[1])[0]: row for row in rows}
    assert set(stated) == {variable_of(name) for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        row = stated[variable_of(name)]
        assert f"`{flag_of(name)}`" in row[0]
        if isinstance(field.default, (int, float, str)):
            assert row[2] == f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"


def test_every_metric_is_in_the_table_with_its_labels() -> None:
    table = first_column(section("operations.md", "Probes and metrics")) - {"/livez", "/readyz", "/metrics"}
    metrics = Metrics.make(slots=1)
    ours = {}
    for one in metrics.registry._collector_to_names:
        labels = ",".join(getattr(one, "_labelnames", ()))
        name = getattr(one, "_name", "")
        if name.startswith("looparr_"):
            suffix = "_total" if type(one).__name__ == "Counter" else ""
            ours[name + suffix] = f"{{{labels}}}" if labels else ""
    assert table == {name + labels for name, labels in ours.items()}


def test_the_rights_are_those_that_are_generated() -> None:
    stated = [one for text in blocks(DOCS / "operations.md", "yaml") for one in yaml.safe_load_all(text)]
    assert stated == rbac("looparr", watch_namespaces=None)


@pytest.mark.parametrize("example", EXAMPLES, ids=[f"{one.page}-{number}" for number, one in enumerate(EXAMPLES)])
def test_an_example_fits_its_schema_and_its_model(example: Example) -> None:
    schema = SCHEMAS[example.kind]
    assert [error.message for error in Draft7Validator(schema).iter_errors(example.spec)] == []
    assert unknown(schema, example.spec) == []
    MODELS[example.kind].model_validate(example.spec)


def test_both_kinds_have_examples() -> None:
    assert {example.kind for example in EXAMPLES} == set(MODELS)


@page
def test_a_page_links_to_all_others_and_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    assert {other.name for other in PAGES} - {page.name} <= {link.partition("#")[0] for link in links}
    for link in links:
        name, _, anchor = link.partition("#")
        assert "://" not in link
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@page
def test_every_looparr_command_on_a_page_exists_with_its_options(page: Path) -> None:
    text = page.read_text()
    lines = [line.removeprefix("$ ") for block in blocks(page, "console") for line in block.splitlines()]
    spans = re.findall(r"`(looparr [^`]+)`", text)
    calls = [line.partition(" | ")[0] for line in [*lines, *spans] if line.startswith("looparr ")]
    for call in calls:
        check_command(call)


def check_command(call: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(call)[1:]
    while words and hasattr(command, "get_command"):
        inner = command.get_command(None, words[0])
        assert inner is not None, f"{call}: there is no command {words[0]}"
        command, words = inner, words[1:]
    options = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in words if word.startswith("-") and word not in options] == [], call
