"""The chart as the real Helm renders, checks and installs it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from looparr.errors import SandboxError
from looparr.sandbox import binaries
from parts import unavailable

CHART = Path(__file__).parents[1] / "charts" / "looparr"

Document = dict[str, Any]
Values = Mapping[str, Any]


@cache
def _program() -> Path:
    try:
        return binaries.resolve(("helm",), env=os.environ)["helm"].path
    except SandboxError as error:
        unavailable(error)


def helm(*arguments: str, values: Values | None = None, kubeconfig: Path | None = None) -> subprocess.Popen[str]:
    """Start Helm with values of one's own; `finished` waits for it."""
    env = {**os.environ, "KUBECONFIG": str(kubeconfig or os.devnull)}
    given = ["--values", "-"] if values is not None else []
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [_program(), *arguments, *given], env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(values or {}))
    process.stdin.close()
    process.stdin = None
    return process


def finished(process: subprocess.Popen[str], limit: float = 60) -> str:
    """What it printed; AssertionError with its complaint where it failed."""
    out, complaint = process.communicate(timeout=limit)
    assert process.returncode == 0, complaint or out
    return out


def render(
    values: Values | None = None, *flags: str, release: str = "looparr", namespace: str = "media"
) -> list[Document]:
    """All that an install would make, hooks included, in Helm's order."""
    done = helm("template", release, str(CHART), "--namespace", namespace, *flags, values=values or {})
    return [document for document in yaml.safe_load_all(finished(done)) if document]


def refused(values: Values) -> str:
    """What Helm says against values."""
    process = helm("template", "looparr", str(CHART), values=values)
    out, complaint = process.communicate(timeout=60)
    assert process.returncode, f"not refused: {out[:200]}"
    return complaint


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def the(documents: Iterable[Document], kind: str, name: str | None = None) -> Document:
    """The only one of a kind, or that of a name."""
    (found,) = (one for one in of_kind(documents, kind) if name in {None, one["metadata"]["name"]})
    return found


def hook_of(document: Document) -> str:
    """The event that a document is for; "" for what is installed."""
    return str(document["metadata"].get("annotations", {}).get("helm.sh/hook", ""))


def hooks(documents: Iterable[Document], event: str) -> list[Document]:
    return [document for document in documents if hook_of(document) == event]


def pod_specs(documents: Iterable[Document]) -> list[Document]:
    """The pods of Deployment, Job and Pod."""
    found = of_kind(documents, "Deployment", "Job", "Pod")
    return [one["spec"]["template"]["spec"] if "template" in one["spec"] else one["spec"] for one in found]


def environment(documents: Iterable[Document]) -> dict[str, str]:
    """The operator's variables."""
    (container,) = the(documents, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}
