"""From a pydantic model to a structural schema, as `apiextensions.k8s.io/v1` wants it.

pydantic writes JSON Schema 2020: `$ref`, `anyOf` with null, `const`, `exclusiveMinimum` as a number, titles, defaults.
The API server takes a part of OpenAPI 3.0 in which every node has its type, nothing is referenced, and nothing typed
hides in a union. What has no place there is an error here: better a failing generator than a refused CRD.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from looparr.api.schema import PRESERVE, VALIDATIONS

Schema = dict[str, Any]

LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"
_TYPED = ("type", "description", "format", PRESERVE)
_LIMITS = ("enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", LIST_TYPE, LIST_KEYS)
_DROPPED = {"title", "default", "discriminator", "$defs"}
_CHILDREN = {"properties", "items", "additionalProperties", "required"}
KNOWN = {*_TYPED, *_LIMITS, *_CHILDREN, *_DROPPED, VALIDATIONS, "const", "$ref", "anyOf"}


class UnstructuralError(ValueError):
    """A model says something that a structural schema cannot; the message names where."""


def spec_schema(model: type[BaseModel], *, defaults: tuple[str, ...] = ()) -> Schema:
    """Give the strict schema of a spec. defaults: the top-level fields whose default the API server shall store."""
    source = _json_schema(model, "validation")
    schema = _Rewriter(source.get("$defs", {}), strict=True).rewrite(source, model.__name__)
    for name in defaults:
        if name in schema["properties"]:
            schema["properties"][name]["default"] = source["properties"][name]["default"]
    return schema


def status_schema(*models: type[BaseModel], blocks: Mapping[str, type[BaseModel]] | None = None) -> Schema:
    """Give the lenient schema of a status: types and descriptions only, the fields of all models side by side.

    blocks: models that have a field of their own, by its name. It is atomic: one writer replaces the whole, and an
    owner noted for every single field would cost the API server a tenth of each write.
    """
    properties: Schema = {}
    for model in models:
        properties |= _lenient(model)["properties"]
    for name, model in (blocks or {}).items():
        properties[name] = _lenient(model)
    return {
        "type": "object",
        "description": "What the operator last saw and did. Written by the operator only; scripts read conditions.",
        "default": {"observedGeneration": -1},
        "x-kubernetes-map-type": "atomic",
        "properties": properties,
    }


def _lenient(model: type[BaseModel]) -> Schema:
    source = _json_schema(model, "validation")
    return _Rewriter(source.get("$defs", {}), strict=False).rewrite(source, model.__name__)


class _Generator(GenerateJsonSchema):
    """Leaves out what is not stored: fields that are excluded from the dump."""

    def model_schema(self, schema: Any) -> Any:
        model = schema["cls"]
        fields = schema["schema"]
        result = super().model_schema(schema)
        if fields.get("type") == "model-fields":
            for name, field in model.model_fields.items():
                if field.exclude:
                    result.get("properties", {}).pop(field.alias or name, None)
        return result


def _json_schema(model: type[BaseModel], mode: JsonSchemaMode) -> Schema:
    return model.model_json_schema(by_alias=True, mode=mode, schema_generator=_Generator)


class _Rewriter:
    """Walks a JSON schema and gives a structural one. strict: with limits and rules, else types only."""

    def __init__(self, definitions: Schema, *, strict: bool) -> None:
        self._definitions = definitions
        self._strict = strict

    def rewrite(self, source: Schema, where: str) -> Schema:
        """Give the structural schema of one node; `where` names it in errors."""
        node = self._resolve(source, where)
        if unknown := node.keys() - KNOWN:
            raise UnstructuralError(f"{where}: {', '.join(sorted(unknown))} has no place in a structural schema")
        if "type" not in node:
            raise UnstructuralError(f"{where}: no type")
        result = {key: node[key] for key in _TYPED if key in node}
        result["description"] = _one_line(node.get("description", ""))
        if not result["description"]:
            del result["description"]
        if self._strict:
            result |= {key: node[key] for key in _LIMITS if key in node}
        else:
            result.pop("format", None)
        self._children(node, result, where)
        if self._strict and VALIDATIONS in node:
            result[VALIDATIONS] = node[VALIDATIONS]
        return result

    def _resolve(self, source: Schema, where: str) -> Schema:
        """Follow references and drop null from unions; what stands beside them wins over their target."""
        node = dict(source)
        while "$ref" in node or "anyOf" in node:
            if "$ref" in node:
                target = self._definitions[node.pop("$ref").rsplit("/", 1)[-1]]
            else:
                choices = [one for one in node.pop("anyOf") if one.get("type") != "null"]
                if len(choices) != 1:
                    raise UnstructuralError(f"{where}: a union of types")
                target = choices[0]
            node = {**target, **node}
        if "const" in node:
            node["enum"] = [node.pop("const")]
        return node

    def _children(self, node: Schema, result: Schema, where: str) -> None:
        if "properties" in node:
            result["properties"] = {
                name: self.rewrite(child, f"{where}.{name}") for name, child in node["properties"].items()
            }
            if self._strict and node.get("required"):
                result["required"] = list(node["required"])
        elif node["type"] == "object" and PRESERVE not in node:
            values = node.get("additionalProperties")
            if not isinstance(values, Mapping):
                raise UnstructuralError(f"{where}: an object of anything needs {PRESERVE}")
            result["additionalProperties"] = self.rewrite(dict(values), f"{where}.*")
        if node["type"] == "array":
            result["items"] = self.rewrite(node["items"], f"{where}[]")


def _one_line(text: str) -> str:
    """Fold a docstring into paragraphs of one line each."""
    return "\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))
