"""The values of the chart: one source for defaults, limits, schema and the page that explains them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import looparr
from looparr.manifests.chart import values_schema, values_yaml
from looparr.manifests.files import files
from looparr.manifests.values import Part, Values
from looparr.settings import Settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "looparr"
PAGE = (ROOT / "docs" / "install.md").read_text()
DEFAULTS = Values().model_dump(mode="json", by_alias=True)
REACHED = {
    "slots": "slots",
    "logLevel": "log_level",
    "logFormat": "log_format",
    "secretRereadSeconds": "secret_reread_seconds",
    "graceSeconds": "grace_seconds",
}
"""Values that are a setting as it is."""


def rows(model: type[Part], values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """A row of the page's table for each value."""
    for field in model.model_fields.values():
        name, text = str(field.alias), " ".join((field.description or "").split())
        if name not in values:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            yield from rows(field.annotation, values[name], f"{above}{name}.")
            continue
        default = f"{values[name]:g}" if isinstance(values[name], float) else shown(values[name])
        yield f"| `{above}{name}` | `{default}` | {text} |"


def shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=9999, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def levels(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object of a schema whose properties are ours."""
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("type") == "object":
            yield schema
        for child in schema.values():
            yield from levels(child)


def test_the_table_of_the_page_is_what_the_models_say() -> None:
    stated = [line for line in PAGE.partition("## Values")[2].splitlines() if line.startswith("| `")]
    assert stated == list(rows(Values, DEFAULTS))


def test_every_value_is_described() -> None:
    assert all(re.search(r"\| \S.+\. \|$", row) for row in rows(Values, DEFAULTS))


def test_the_values_file_holds_every_default_and_fits_the_schema() -> None:
    written = yaml.safe_load(values_yaml())
    assert written == DEFAULTS
    assert list(Draft7Validator(values_schema()).iter_errors(written)) == []


def test_nothing_unknown_is_allowed_at_any_level_of_ours() -> None:
    found = list(levels(values_schema()))
    assert len(found) > 10
    assert all(level["additionalProperties"] is False for level in found)


def test_the_schema_needs_nothing_from_elsewhere() -> None:
    assert "$ref" not in json.dumps(values_schema())


@pytest.mark.parametrize(("value", "setting"), REACHED.items())
def test_a_value_that_is_a_setting_has_its_default_and_its_limits(value: str, setting: str) -> None:
    described = {"description", "title", "default"}
    limits = {
        key: one for key, one in Settings.model_json_schema()["properties"][setting].items() if key not in described
    }
    stated = values_schema()["properties"][value]
    assert {key: one for key, one in stated.items() if key not in described} == limits
    assert DEFAULTS[value] == Settings.model_fields[setting].default


def test_the_chart_installs_the_version_that_it_lies_beside() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == looparr.__version__


def test_the_chart_has_the_definitions_of_the_repository() -> None:
    texts = files()
    ours = {path: text for path, text in texts.items() if path.startswith("crds/")}
    assert len(ours) == 2
    assert {path: texts[f"charts/looparr/files/{path}"] for path in ours} == ours


def test_the_examples_of_the_page_are_values() -> None:
    examples = re.findall(r"^```yml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert examples
    for text in examples:
        assert list(Draft7Validator(values_schema()).iter_errors(yaml.safe_load(text))) == []


def test_what_the_page_sets_by_flags_exists() -> None:
    known = re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE)
    for name in re.findall(r"--set ([\w.]+)=", PAGE):
        assert name in known
