"""What the API server asks of a schema, checked without one: structural, small, explained, few defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from looparr.api.meta import KINDS
from looparr.api.model import Model
from looparr.api.schema import Cel
from looparr.manifests import crds
from looparr.manifests.files import to_yaml
from looparr.manifests.schema import UnstructuralError, spec_schema, status_schema

ALLOWED = {
    "type",
    "description",
    "format",
    "default",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
}
TYPES = {"object", "array", "string", "integer", "boolean"}
YAML_11_WORDS = {"on", "off", "yes", "no", "y", "n", "true", "false", "null"}
LIMITS = {"enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "required", "format"}

Node = tuple[str, dict[str, Any]]


def walk(node: dict[str, Any], path: str) -> Iterator[Node]:
    """Every node of a schema with its path; `[]` for items, `*` for values of a map."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if "items" in node:
        yield from walk(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from walk(node["additionalProperties"], f"{path}.*")


def part(definition: dict[str, Any], name: str) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][name]
    return schema


DEFINITIONS = crds()
SPEC = [node for one in DEFINITIONS for node in walk(part(one, "spec"), f"{one['spec']['names']['kind']}.spec")]
STATUS = [node for one in DEFINITIONS for node in walk(part(one, "status"), f"{one['spec']['names']['kind']}.status")]
ALL = SPEC + STATUS


def test_no_node_holds_a_key_that_a_structural_schema_does_not_know() -> None:
    assert {path: node.keys() - ALLOWED for path, node in ALL if node.keys() - ALLOWED} == {}


def test_every_node_has_one_known_type_and_no_number_is_a_float() -> None:
    assert {path: node.get("type") for path, node in ALL if node.get("type") not in TYPES} == {}


def test_objects_list_their_properties_or_say_what_their_values_are() -> None:
    ways = ("properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields")
    wrong = [path for path, node in ALL if node["type"] == "object" and sum(way in node for way in ways) != 1]
    assert wrong == []
    assert [path for path, node in ALL if node["type"] == "array" and "items" not in node] == []


def test_every_field_of_spec_and_status_is_explained() -> None:
    fields = [(path, node) for path, node in ALL if not path.endswith(("[]", "*"))]
    bare = [path for path, node in fields if len(node.get("description", "")) < 12]
    assert bare == []
    assert [path for path, node in fields if not node["description"].rstrip().endswith(".")] == []


def test_only_priority_and_mode_have_a_stored_default_and_status_one_on_itself() -> None:
    assert {path: node["default"] for path, node in ALL if "default" in node} == {
        "ArrInstance.spec.priority": "Normal",
        "ArrInstance.spec.mode": "Enforce",
        "ArrInstance.status": {"observedGeneration": -1},
        "BackgroundLoop.spec.priority": "Normal",
        "BackgroundLoop.status": {"observedGeneration": -1},
    }


def test_every_list_and_every_text_of_a_spec_is_bounded() -> None:
    lists = [path for path, node in SPEC if node["type"] == "array" and "maxItems" not in node]
    texts = [path for path, node in SPEC if node["type"] == "string" and not node.keys() & {"maxLength", "enum"}]
    numbers = [path for path, node in SPEC if node["type"] == "integer" and not {"minimum", "maximum"} <= node.keys()]
    assert (lists, texts, numbers) == ([], [], [])


def test_a_status_is_never_refused_for_more_than_a_wrong_type() -> None:
    forbidden = LIMITS | {"x-kubernetes-validations", "x-kubernetes-list-type"}
    assert [path for path, node in STATUS if node.keys() & forbidden] == []


def test_words_that_yaml_takes_for_booleans_are_neither_fields_nor_values() -> None:
    names = {name.casefold() for _, node in ALL for name in node.get("properties", {})}
    values = {str(value).casefold() for _, node in ALL for value in node.get("enum", ())}
    assert (names | values) & YAML_11_WORDS == set()


def test_every_rule_has_a_message_that_is_not_its_own_text() -> None:
    rules = [(path, rule) for path, node in SPEC for rule in node.get("x-kubernetes-validations", ())]
    assert len(rules) > 50
    assert [path for path, rule in rules if not rule.get("message") or rule["message"] == rule["rule"]] == []


def test_both_unions_name_their_blocks_and_are_immutable() -> None:
    for definition in DEFINITIONS:
        rules = [one["rule"] for one in part(definition, "spec")["x-kubernetes-validations"]]
        assert "self.type == oldSelf.type" in rules
    loop = part(DEFINITIONS[1], "spec")
    assert "(self.type == 'HTTP') == has(self.http)" in [one["rule"] for one in loop["x-kubernetes-validations"]]
    assert loop["properties"]["type"]["enum"] == ["HTTP"]


@pytest.mark.parametrize("definition", DEFINITIONS, ids=[kind.kind for kind in KINDS])
def test_a_definition_is_small_enough_for_kubectl_apply_and_survives_yaml(definition: dict[str, Any]) -> None:
    text = to_yaml(definition)
    assert len(text.encode()) < 100_000
    assert yaml.safe_load(text) == definition


def test_names_columns_and_selectors_are_those_of_the_contract() -> None:
    arr, loop = (one["spec"] for one in DEFINITIONS)
    assert (arr["names"]["shortNames"], loop["names"]["shortNames"]) == (["arr"], ["loop", "bgl"])
    for spec in (arr, loop):
        assert spec["names"]["categories"] == ["loops", "looparr"]
        version = spec["versions"][0]
        assert version["selectableFields"] == [{"jsonPath": ".spec.type"}, {"jsonPath": ".spec.suspend"}]
        assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in arr["versions"][0]["additionalPrinterColumns"] if "priority" not in column]
    assert columns == ["Type", "Ready", "Status", "Torrents", "Trouble", "Runs", "Errors", "Last Run", "Age"]


class _Inner(Model):
    """An inner part."""

    RULES = (Cel("self.a == 'x'", "a has to be x"),)

    a: Annotated[str, Field(max_length=3)]
    """A text."""


class _Outer(_Inner):
    """An outer part."""

    RULES = (Cel("has(self.b)", "b is needed"),)

    b: _Inner | None = None
    """What stands at the field wins over the class."""
    c: Literal["One"] = "One"
    """One word."""


def test_the_rewriter_inlines_references_drops_nulls_and_keeps_rules_of_bases() -> None:
    schema = spec_schema(_Outer)
    inner = [{"rule": "self.a == 'x'", "message": "a has to be x"}]
    assert schema["x-kubernetes-validations"] == [*inner, {"rule": "has(self.b)", "message": "b is needed"}]
    assert schema["properties"]["b"] == {
        "type": "object",
        "description": "What stands at the field wins over the class.",
        "properties": {"a": {"type": "string", "description": "A text.", "maxLength": 3}},
        "required": ["a"],
        "x-kubernetes-validations": inner,
    }
    assert schema["properties"]["c"] == {"type": "string", "description": "One word.", "enum": ["One"]}
    assert schema["required"] == ["a"]


def test_a_lenient_schema_keeps_types_and_texts_only() -> None:
    assert status_schema(blocks={"outer": _Outer})["properties"]["outer"]["properties"] == {
        "a": {"type": "string", "description": "A text."},
        "b": {
            "type": "object",
            "description": "What stands at the field wins over the class.",
            "properties": {"a": {"type": "string", "description": "A text."}},
        },
        "c": {"type": "string", "description": "One word."},
    }


class _Union(Model):
    """A part."""

    both: int | str
    """Two types."""


class _Anything(Model):
    """A part."""

    free: dict[str, Any]
    """An object of anything."""


class _Pair(Model):
    """A part."""

    pair: tuple[int, str]
    """A fixed tuple."""


@pytest.mark.parametrize("model", [_Union, _Anything, _Pair], ids=lambda model: model.__name__)
def test_what_no_structural_schema_can_say_fails_the_generator_and_names_the_field(model: type[Model]) -> None:
    with pytest.raises(UnstructuralError, match=rf"{model.__name__}\.(both|free|pair)"):
        spec_schema(model)
