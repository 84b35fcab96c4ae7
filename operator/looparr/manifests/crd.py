"""The two CustomResourceDefinitions, put together from models, names and columns."""

from __future__ import annotations

from typing import Any

from looparr.api.meta import ARR_INSTANCE, BACKGROUND_LOOP, GROUP, VERSION, Kind
from looparr.api.status import LoopStatus
from looparr.arr.spec import ArrSpec
from looparr.arr.status import ArrStatus
from looparr.loops import TYPES
from looparr.loops.spec import BackgroundLoopSpec
from looparr.manifests.columns import columns
from looparr.manifests.schema import Schema, spec_schema, status_schema

STORED_DEFAULTS = ("priority", "mode")
"""The only fields whose default the API server writes into the object; all others may improve with an upgrade."""

_SELECTABLE = (".spec.type", ".spec.suspend")
_DESCRIPTIONS = {
    ARR_INSTANCE.kind: "Looks after the downloads of one Radarr: stalled ones are replaced, finished ones imported, "
    "seeded ones removed. Deleting the object never deletes data or torrents.",
    BACKGROUND_LOOP.kind: "Runs one piece of work again and again and shows how it goes. Deleting the object stops it.",
}


def crds() -> list[dict[str, Any]]:
    """Give both definitions as JSON objects, ArrInstance first."""
    return [
        _definition(ARR_INSTANCE, spec_schema(ArrSpec, defaults=STORED_DEFAULTS), status_schema(LoopStatus, ArrStatus)),
        _definition(
            BACKGROUND_LOOP,
            spec_schema(BackgroundLoopSpec, defaults=STORED_DEFAULTS),
            status_schema(LoopStatus, blocks={one.block: one.status for one in TYPES}),
        ),
    ]


def _definition(kind: Kind, spec: Schema, status: Schema) -> dict[str, Any]:
    schema = {
        "type": "object",
        "description": _DESCRIPTIONS[kind.kind],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "selectableFields": [{"jsonPath": path} for path in _SELECTABLE],
        "additionalPrinterColumns": columns(kind),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": list(kind.categories),
            },
            "versions": [version],
        },
    }
