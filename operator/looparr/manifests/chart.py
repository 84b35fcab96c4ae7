"""`values.yaml` and `values.schema.json` of the Helm chart, from the models of its values."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from looparr.manifests.values import Values

WIDTH = 120


def values_schema() -> dict[str, Any]:
    """Give the schema that Helm holds values against: draft 7, without references, nothing unknown allowed."""
    source = Values.model_json_schema()
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_inlined(source, source.get("$defs", {}))}


def values_schema_json() -> str:
    """Give it as text."""
    return json.dumps(values_schema(), indent=2) + "\n"


def values_yaml() -> str:
    """Give all values with their defaults, each below its description."""
    return "\n".join(_lines(Values, Values().model_dump(mode="json", by_alias=True))).lstrip("\n") + "\n"


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Put what is referenced where it is used; leave titles and defaults out."""
    if isinstance(node, list):
        return [_inlined(one, definitions) for one in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        node = {**definitions[reference.rpartition("/")[2]], **node}
    result = {key: _inlined(one, definitions) for key, one in node.items() if key in _KEPT}
    if "description" in node:
        result["description"] = " ".join(node["description"].split())
    if "properties" in node:
        result["properties"] = {name: _inlined(one, definitions) for name, one in node["properties"].items()}
    return result


_KEPT = {
    *("type", "description", "anyOf", "items", "required", "additionalProperties", "enum", "const", "pattern"),
    *("minimum", "maximum", "minLength", "uniqueItems"),
}


def _lines(model: type[BaseModel], values: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    for field in model.model_fields.values():
        name = str(field.alias)
        if name not in values:
            continue
        if depth == 0:
            yield ""
        text = " ".join((field.description or "").split())
        yield from textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield f"{indent}{name}:"
            yield from _lines(field.annotation, values[name], depth + 1)
        else:
            yield textwrap.indent(yaml.safe_dump({name: _plain(values[name])}, sort_keys=False).rstrip("\n"), indent)


def _plain(value: Any) -> Any:
    """Write 60.0 as 60, as a person would."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
