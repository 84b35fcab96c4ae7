"""One complete object of each kind, how to change it, and how the API server is asked about it (by a dry run)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from looparr.api.meta import API_VERSION, KINDS
from looparr.manifests import crds
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import wait_until

Path = tuple[str | int, ...]

PLURALS = {kind.kind: kind.plural for kind in KINDS}
SPECS: dict[str, Any] = {
    one["spec"]["names"]["kind"]: one["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for one in crds()
}

_TLS = {"caSecretRef": {"name": "ca", "key": "ca.crt"}, "insecureSkipVerify": False}
_COMMON = {
    "interval": "1m",
    "initialDelay": "5s",
    "jitterPercent": 10,
    "timeout": "10m",
    "suspend": False,
    "backoff": {"initialDelay": "5s", "maxDelay": "5m", "multiplierPercent": 200, "jitterPercent": 10},
    "priority": "High",
}
_WHEN = {
    "for": "15m",
    "minAge": "30m",
    "progressPercent": {"min": 0, "max": 50},
    "size": {"min": "700M", "max": "50Gi"},
    "privacy": "Private",
    "trackers": ["tracker.example.org"],
    "categories": ["radarr"],
    "tags": ["slow"],
    "grabbedBy": "Any",
    "includeForced": True,
    "maxEta": "72h",
}
FULL: dict[str, dict[str, Any]] = {
    "ArrInstance": {
        **_COMMON,
        "type": "Radarr",
        "url": "https://radarr.media:7878/radarr",
        "tls": _TLS,
        "apiKeySecretRef": {"name": "radarr-api", "key": "apiKey"},
        "downloadClients": [
            {
                "name": "main",
                "type": "QBittorrent",
                "categories": ["radarr"],
                "tags": ["films"],
                "qbittorrent": {
                    "url": "https://qbittorrent.media:8080",
                    "tls": _TLS,
                    "credentialsSecretRef": {"name": "qbittorrent"},
                },
            }
        ],
        "warmup": "24h",
        "cooldowns": {"afterImport": "60s", "afterSearch": "5m", "afterBlocklist": "2m"},
        "defaultRules": "Exclude",
        "ruleDefaults": {"strikes": 3, "strikeEvery": "15m", "minAge": "30m", "minProgress": "1Mi"},
        "rules": [
            {
                "name": "slow",
                "condition": "EtaExceeded",
                "when": _WHEN,
                "strikes": 3,
                "strikeEvery": "15m",
                "action": "Replace",
            }
        ],
        "protect": {
            "tags": ["keep"],
            "categories": ["archive"],
            "trackers": ["example.org"],
            "names": ["*remux*"],
            "hashes": ["0123456789abcdef0123456789ABCDEF01234567"],
        },
        "hitAndRun": [
            {
                "name": "strict",
                "trackers": ["example.org"],
                "minRatio": "1.0",
                "minSeedTime": "72h",
                "buffer": "24h",
                "match": "All",
            }
        ],
        "acknowledgeHitAndRun": True,
        "seeding": {
            "goals": [
                {
                    "name": "films",
                    "categories": ["radarr"],
                    "trackers": ["example.org"],
                    "ratio": "2.0",
                    "time": "336h",
                    "match": "Any",
                    "deleteData": True,
                }
            ]
        },
        "limits": {"perTurn": 3, "perHour": 5, "perDay": 20},
        "mode": "Observe",
    },
    "BackgroundLoop": {
        **_COMMON,
        "type": "HTTP",
        "http": {
            "endpoint": {
                "url": "https://janitor.media:8000/run",
                "tls": _TLS,
                "authSecretRef": {"name": "janitor", "key": "token"},
                "headersSecretRef": {"name": "janitor-headers"},
                "timeout": "20s",
            }
        },
    },
}


def made(kind: str, spec: Any, name: str = "one") -> dict[str, Any]:
    """A whole object."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


def changed(kind: str, changes: dict[str, Any]) -> Any:
    """The complete spec with the values at dotted paths (`rules.0.when.for`) replaced; None removes one."""
    spec = copy.deepcopy(FULL[kind])
    for dotted, value in changes.items():
        put(spec, tuple(int(part) if part.isdigit() else part for part in dotted.split(".")), value)
    return spec


def put(spec: Any, path: Path, value: Any) -> None:
    """Set or, with None, remove what stands at a path."""
    *parents, last = path
    for part in parents:
        spec = spec[part]
    if value is None:
        del spec[last]
    else:
        spec[last] = value


def shown(path: Path) -> str:
    """A path as the API server writes it: `spec.rules[0].when`."""
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def nodes(schema: dict[str, Any], value: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any], Any]]:
    """Every node of a schema that the value reaches, with its path and its value."""
    yield path, schema, value
    for name, child in schema.get("properties", {}).items():
        if name in value:
            yield from nodes(child, value[name], (*path, name))
    if "items" in schema:
        yield from nodes(schema["items"], value[0], (*path, 0))


def refusal(control_plane: Cluster, document: dict[str, Any], namespace: str = "default") -> str:
    """What the API server says against creating the object, strictly and as a dry run; empty when nothing."""
    where = f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURALS[document['kind']]}"
    try:
        control_plane.request("POST", f"{where}?dryRun=All&fieldValidation=Strict", document)
    except ApiError as error:
        return str(error)
    return ""


def install(control_plane: Cluster) -> Cluster:
    """Bring both definitions into the API server and wait until it serves them; a second time changes nothing."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for definition in crds():
        name = definition["metadata"]["name"]
        query = "fieldManager=tests&force=true"
        kind = "application/apply-patch+yaml"
        control_plane.request("PATCH", f"{path}/{name}?{query}", definition, content_type=kind)
    for kind in SPECS:
        wait_until(lambda kind=kind: not refusal(control_plane, made(kind, FULL[kind])), 15, f"{kind} is not served")
    return control_plane
