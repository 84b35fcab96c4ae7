"""Which files are generated, and whether those that are there are still what the models say."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from looparr.api.meta import GROUP
from looparr.manifests.chart import values_schema_json, values_yaml
from looparr.manifests.crd import crds
from looparr.manifests.rbac import chart_rules

_HEADER = "# Generated from the models by `make generate`: do not edit.\n"
_CHART = "charts/looparr"
_DEPLOYMENT = '{{ include "looparr.fullname" . }}'
"""The chart's own word for the name of the operator's Deployment."""


class _Dumper(yaml.SafeDumper):
    """Plain YAML: no anchors, lists indented as Kubernetes documents have them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class wants it
        return True


def to_yaml(document: Any) -> str:
    """Give one YAML document, keys in their own order."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def crds_yaml() -> str:
    """Give both definitions as one stream for `kubectl apply -f -`."""
    return "---\n".join(to_yaml(one) for one in crds())


def files() -> dict[str, str]:
    """Give the text of every generated file by its path below the repository's root."""
    definitions = {f"crds/{GROUP}_{one['spec']['names']['plural']}.yaml": to_yaml(one) for one in crds()}
    texts = definitions | {f"{_CHART}/files/{path}": text for path, text in definitions.items()}
    for purpose, rules in chart_rules(_DEPLOYMENT).items():
        name = "rules" if purpose == "operator" else f"rules-{purpose}"
        texts[f"{_CHART}/files/{name}.yaml"] = to_yaml(rules)
    texts[f"{_CHART}/values.yaml"] = "\n" + values_yaml()
    commented = {path: _HEADER + text for path, text in texts.items()}
    return {**commented, f"{_CHART}/values.schema.json": values_schema_json()}


def write(root: Path) -> list[str]:
    """Write what differs below `root`; give the paths that were written."""
    stale = [path for path, text in files().items() if _read(root / path) != text]
    for path in stale:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files()[path], encoding="utf-8")
    return stale


def differences(root: Path) -> str:
    """Give a unified diff from the files below `root` to what they should be; empty when nothing differs."""
    parts: list[str] = []
    for path, text in files().items():
        found = _read(root / path)
        parts += difflib.unified_diff(found.splitlines(True), text.splitlines(True), path, f"{path} (generated)")  # noqa: FBT003 - stdlib
    return "".join(parts)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
