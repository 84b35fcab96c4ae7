"""A stored status of any shape: it is read, its readable parts are kept, and the next write fits the schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_kit import START
from looparr.api.meta import ARR_INSTANCE, BACKGROUND_LOOP, Kind
from looparr.api.model import Model
from looparr.arr.status import ArrStatus
from looparr.domains import BLOCKS
from looparr.engine.adopt import adopt
from looparr.manifests import crds

MODELS: dict[Kind, type[Model]] = {ARR_INSTANCE: ArrStatus, BACKGROUND_LOOP: BLOCKS}
SCHEMAS: dict[str, Any] = {
    one["spec"]["names"]["kind"]: one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    for one in crds()
}
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(10**30)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from(["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "2026-01-01", "2026-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def shaped(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """JSON that looks like the schema, with rubbish anywhere in it."""
    match schema.get("type"):
        case "object" if "properties" in schema:
            fields = {name: shaped(child) for name, child in schema["properties"].items()}
            right: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=fields)
        case "object" if "additionalProperties" in schema:
            right = st.dictionaries(st.text(max_size=5), shaped(schema["additionalProperties"]), max_size=2)
        case "array":
            right = st.lists(shaped(schema["items"]), max_size=2)
        case _:
            return JUNK
    return right | JUNK


STORED = st.one_of([st.tuples(st.just(kind), shaped(SCHEMAS[kind.kind])) for kind in MODELS])
OWN = {kind: set(model.model_json_schema(by_alias=True)["properties"]) for kind, model in MODELS.items()}
VALIDATORS = {name: jsonschema.Draft7Validator(schema) for name, schema in SCHEMAS.items()}


def written(kind: Kind, status: Any) -> dict[str, Any]:
    dumped = adopt(status, now=START, block=MODELS[kind]).dump()
    found: dict[str, Any] = json.loads(json.dumps(dumped, allow_nan=False))
    VALIDATORS[kind.kind].validate(found)
    return found


@settings(max_examples=100, deadline=None)
@given(STORED)
def test_whatever_is_stored_what_is_written_fits_the_schema(case: tuple[Kind, Any]) -> None:
    kind, status = case
    once = written(kind, status)
    twice = written(kind, once)
    assert {name: twice[name] for name in OWN[kind] & twice.keys()} == {
        name: once[name] for name in OWN[kind] & once.keys()
    }


@pytest.mark.parametrize(
    ("block", "kept"),
    [
        ({"http": {"memo": "abc", "lastStatus": 200}}, {"http": {"lastStatus": 200}}),
        (
            {"http": {"memo": {"cursor": 42, "deep": [None]}, "lastStatus": "200"}},
            {"http": {"memo": {"cursor": 42, "deep": [None]}, "lastStatus": 200}},
        ),
        ({"http": "abc"}, {}),
        ({"http": {"lastStatus": 2**64}}, {"http": {}}),
        ({"removed": 1}, {}),
    ],
)
def test_of_a_damaged_block_the_readable_part_is_kept(block: Any, kept: Any) -> None:
    assert adopt(block, now=START, block=BLOCKS).block == kept


def test_a_damaged_row_or_count_does_not_cost_the_others() -> None:
    block = {
        "torrents": "abc",
        "totals": {"imported": 3, "deleted": "many"},
        "attention": [{"name": "one", "since": 7}, "junk", {"name": 5, "state": "Held"}],
        "attentionCount": 2,
        "storeEpoch": "a:1",
    }
    assert adopt(block, now=START, block=ArrStatus).block == {
        "totals": {"imported": 3},
        "attention": [{"name": "one", "since": "1970-01-01T00:00:07Z"}, {"state": "Held"}],
        "attentionCount": 2,
        "storeEpoch": "a:1",
    }
