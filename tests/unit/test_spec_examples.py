"""What the schema accepts, pydantic accepts: for the examples and for specs made up from the schema itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from looparr.api.meta import API_VERSION, CREDENTIALS_LABEL
from looparr.arr.spec import ArrSpec
from looparr.loops.spec import BackgroundLoopSpec
from looparr.manifests import crds
from schema_kit import unknown

MODELS: dict[str, Any] = {"ArrInstance": ArrSpec, "BackgroundLoop": BackgroundLoopSpec}
SCHEMAS: dict[str, Any] = {
    one["spec"]["names"]["kind"]: one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for one in crds()
}
FILES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
DOCUMENTS = [(file.stem, document) for file in FILES for document in yaml.safe_load_all(file.read_text())]
OBJECTS = [(name, document) for name, document in DOCUMENTS if document["kind"] in MODELS]


def test_there_is_an_example_of_each_kind() -> None:
    assert {document["kind"] for _, document in OBJECTS} == set(MODELS)


@pytest.mark.parametrize(("name", "document"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_an_example_fits_its_schema_and_its_model(name: str, document: dict[str, Any]) -> None:
    schema = SCHEMAS[document["kind"]]
    assert document["apiVersion"] == API_VERSION
    assert [error.message for error in Draft7Validator(schema).iter_errors(document["spec"])] == []
    assert unknown(schema, document["spec"]) == []
    MODELS[document["kind"]].model_validate(document["spec"])


def test_the_secrets_that_examples_name_are_there_and_offered() -> None:
    offered = {
        document["metadata"]["name"]
        for _, document in DOCUMENTS
        if document["kind"] == "Secret" and document["metadata"]["labels"] == {CREDENTIALS_LABEL: "true"}
    }
    named = {found for _, document in OBJECTS for found in _secret_names(document["spec"])}
    assert named
    assert named <= offered


def _secret_names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in _secret_names(one)]
    if not isinstance(value, dict):
        return []
    refs = [one["name"] for key, one in value.items() if key.endswith("SecretRef")]
    return refs + [name for one in value.values() for name in _secret_names(one)]


def made_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema; texts with a CEL pattern come from that pattern."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "array":
            items = made_of(schema["items"])
            return st.lists(items, min_size=schema.get("minItems", 0), max_size=max(2, schema.get("minItems", 0)))
        case "string":
            return _text(schema)
        case _:
            required = {name: made_of(schema["properties"][name]) for name in schema.get("required", ())}
            optional = {name: made_of(one) for name, one in schema["properties"].items() if name not in required}
            return st.fixed_dictionaries(required, optional=optional)


def _text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    rule = schema["x-kubernetes-validations"][0]["rule"]
    pattern = rule.removeprefix("self.matches(r'").partition("')")[0].replace("[:space:]", r"\s")
    return st.from_regex(pattern, fullmatch=pattern.startswith("^")).filter(
        lambda text: len(text) <= schema["maxLength"]
    )


@pytest.mark.parametrize("kind", list(MODELS))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_pydantic_reads_whatever_the_schema_lets_through(kind: str, data: st.DataObject) -> None:
    spec = data.draw(made_of(SCHEMAS[kind]))
    parsed = MODELS[kind].model_validate(spec)
    assert parsed.type == spec["type"]
    assert parsed.timeout_seconds >= 0
