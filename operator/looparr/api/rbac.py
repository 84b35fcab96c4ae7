"""One rule of a Kubernetes role, as data: domains say what they need, `looparr.manifests` writes the roles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """What may be done to which resources. groups: "" is the core group."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Give the rule as a Role holds it."""
        return {"apiGroups": list(self.groups), "resources": list(self.resources), "verbs": list(self.verbs)}
