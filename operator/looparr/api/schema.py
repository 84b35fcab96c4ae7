"""How a model says what the API server shall check beyond types: CEL rules with messages for people.

A model carries its own rules in `RULES`, a kind of text (`Text`) carries its pattern. Both only add
`x-kubernetes-validations` and limits to the JSON schema; `looparr.manifests` turns that into a CRD.
CEL with a message, not `pattern`: the API server prints a bare regular expression when a pattern fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

VALIDATIONS = "x-kubernetes-validations"
PRESERVE = "x-kubernetes-preserve-unknown-fields"


@dataclass(frozen=True, slots=True)
class Cel:
    """One rule of the API server. rule: CEL over `self`; message: fault and cure; field_path: where it is shown."""

    rule: str
    message: str
    field_path: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give the rule as a CRD holds it."""
        rule = {"rule": self.rule, "message": self.message}
        return {**rule, "fieldPath": self.field_path} if self.field_path else rule


def validations(*rules: Cel) -> dict[str, Any]:
    """Give the schema keyword for these rules, for a Field's json_schema_extra."""
    return {VALIDATIONS: [rule.as_json() for rule in rules]}


def collect(schema: dict[str, Any], model: type[Any]) -> None:
    """Put the RULES of a model and of its bases into its JSON schema (pydantic's json_schema_extra)."""
    rules = [rule for base in reversed(model.__mro__) for rule in base.__dict__.get("RULES", ())]
    if rules:
        schema.update(validations(*rules))


def map_by_name() -> dict[str, Any]:
    """Give the keywords of a list whose items are known by `name`; the API server refuses the same name twice."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


@dataclass(frozen=True, slots=True)
class Text:
    """A string of a certain form, for `Annotated[str, Text(...)]`.

    pattern: RE2, anchored; message: what the right form looks like; also: a further CEL condition on `self`, checked
    by the API server only.
    """

    pattern: str
    message: str
    max_length: int
    also: str = ""

    def check(self, text: str) -> str:
        """Give the text back. Raises ValueError with the message."""
        pattern = re.sub(r"\$$", r"\\Z", self.pattern).replace("[:space:]", r"\s")  # Python's `$` lets a line end pass
        if len(text) > self.max_length or not re.search(pattern, text):
            raise ValueError(self.message)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = f"self.matches(r'{self.pattern}')" + (f" && {self.also}" if self.also else "")
        return {**handler(schema), "maxLength": self.max_length, **validations(Cel(rule, self.message))}
