"""The operator's own rights, and nothing beyond them: its objects and their status, Events, `get` on Secrets.

One source for the chart, the demo and the tests. Kopf runs with scanning disabled and without peering, so it needs
no namespaces and no CustomResourceDefinitions; Secrets are never listed or watched. The chart's hooks have rights, and
accounts, of their own; people get roles to see and to change objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from looparr.api.meta import BACKGROUND_LOOP, GROUP, KINDS
from looparr.api.rbac import PolicyRule
from looparr.loops import TYPES

NAME = "looparr"
_API = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/name": NAME}
_PLURALS = tuple(kind.plural for kind in KINDS)

_STATUSES = tuple(f"{plural}/status" for plural in _PLURALS)

_COMMON = (
    # patch: the finalizer, and nothing else of the object itself.
    PolicyRule((GROUP,), _PLURALS, ("get", "list", "watch", "patch")),
    PolicyRule((GROUP,), _STATUSES, ("patch",)),
    PolicyRule(("",), ("events",), ("create",)),
    PolicyRule(("",), ("secrets",), ("get",)),
)


_VIEW = (PolicyRule((GROUP,), (*_PLURALS, *_STATUSES), ("get", "list", "watch")),)
_EDIT = (*_VIEW, PolicyRule((GROUP,), _PLURALS, ("create", "update", "patch", "delete", "deletecollection")))
# `looparr release` and, in the namespace of the release, what it stops the operator with.
_RELEASE = (PolicyRule((GROUP,), _PLURALS, ("list", "patch")),)
_STOP_OPERATOR = (
    PolicyRule(("apps",), ("deployments",), ("get",)),
    PolicyRule(("apps",), ("deployments/scale",), ("patch",)),
)
_SEE_PODS = (PolicyRule(("",), ("pods",), ("list",)),)
_SELFTEST = (PolicyRule((GROUP,), (BACKGROUND_LOOP.plural,), ("create", "get", "delete")),)


def rules() -> list[dict[str, Any]]:
    """Give the rules of the operator's role: what every loop needs, then what single types need."""
    wanted = [*_COMMON, *(rule for one in TYPES for rule in one.rules)]
    return [rule.as_json() for rule in dict.fromkeys(wanted)]


def chart_rules(deployment: str) -> dict[str, list[dict[str, Any]]]:
    """Give the rules of every role of the chart by the role's purpose; `operator` are those of `rules`.

    deployment: name of the operator's Deployment, the only one that may be stopped.
    """
    stop = [{**rule.as_json(), "resourceNames": [deployment]} for rule in _STOP_OPERATOR]
    return {
        "operator": rules(),
        "view": [rule.as_json() for rule in _VIEW],
        "edit": [rule.as_json() for rule in _EDIT],
        "release": [rule.as_json() for rule in _RELEASE],
        "stop": [*stop, *(rule.as_json() for rule in _SEE_PODS)],
        "selftest": [rule.as_json() for rule in _SELFTEST],
    }


def rbac(namespace: str, *, watch_namespaces: tuple[str, ...] | None, name: str = NAME) -> list[dict[str, Any]]:
    """Give ServiceAccount, roles and bindings of an operator that runs in `namespace`.

    watch_namespaces: where it looks after objects (a Role each); None: everywhere (one ClusterRole).
    """
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace, "labels": _LABELS},
    }
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    if watch_namespaces is None:
        cluster_name = name if name == namespace else f"{namespace}-{name}"
        return [account, *_pair("Cluster", {"name": cluster_name}, subject)]
    return [
        account,
        *(one for watched in watch_namespaces for one in _pair("", {"name": name, "namespace": watched}, subject)),
    ]


def _pair(scope: str, metadata: dict[str, str], subject: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Give a role and its binding. scope: "Cluster" or ""."""
    meta = {**metadata, "labels": _LABELS}
    yield {"apiVersion": f"{_API}/v1", "kind": f"{scope}Role", "metadata": meta, "rules": rules()}
    yield {
        "apiVersion": f"{_API}/v1",
        "kind": f"{scope}RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": _API, "kind": f"{scope}Role", "name": metadata["name"]},
        "subjects": [subject],
    }
