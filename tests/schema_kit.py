"""What tests of documents and examples share: holding a value against a schema of the CRDs."""

from __future__ import annotations

from typing import Any


def unknown(schema: dict[str, Any], value: Any, path: str = "spec") -> list[str]:
    """Paths that the schema does not know: the API server would refuse or drop them."""
    if isinstance(value, list):
        return [found for one in value for found in unknown(schema["items"], one, f"{path}[]")]
    if not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    return [f"{path}.{key}" for key in value if key not in known] + [
        found for key, one in value.items() if key in known for found in unknown(known[key], one, f"{path}.{key}")
    ]
