"""The contract as people meet it: kubectl, examples, columns, a status that nothing refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.contract import FULL, changed, install, made
from looparr.manifests import crds_yaml
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

Kubectl = Any
Apply = Callable[..., str]


@pytest.fixture(scope="session")
def api(control_plane: Cluster) -> Cluster:
    return install(control_plane)


@pytest.fixture
def apply(api: Cluster, kubectl: Kubectl, namespace: str) -> Apply:
    """`apply(document, ...)`: what kubectl says to it."""

    def run(*documents: dict[str, Any]) -> str:
        return str(kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(documents)))

    return run


def header(text: str) -> list[str]:
    return [column.strip() for column in text.splitlines()[0].split("  ") if column.strip()]


def test_the_definitions_apply_as_files_and_as_printed(api: Cluster, kubectl: Kubectl) -> None:
    for said in (
        kubectl("apply", "--dry-run=server", "-f", str(ROOT / "crds")),
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=crds_yaml()),
    ):
        assert "arrinstances.looparr.dev" in said
        assert "backgroundloops.looparr.dev" in said


def test_the_api_server_finds_nothing_wrong_with_the_schemas(api: Cluster, kubectl: Kubectl) -> None:
    for name in ("arrinstances.looparr.dev", "backgroundloops.looparr.dev"):
        conditions = json.loads(kubectl("get", "crd", name, "-o", "json"))["status"]["conditions"]
        found = {one["type"]: one["status"] for one in conditions}
        assert (found["Established"], found["NamesAccepted"]) == ("True", "True")
        assert "NonStructuralSchema" not in found


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_an_example_applies_as_it_is(api: Cluster, kubectl: Kubectl, namespace: str, file: Path) -> None:
    assert "created" in kubectl("apply", "-n", namespace, "-f", str(file))


def test_get_loops_lists_both_kinds_with_their_columns(apply: Apply, kubectl: Kubectl, namespace: str) -> None:
    apply(made("ArrInstance", FULL["ArrInstance"]), made("BackgroundLoop", FULL["BackgroundLoop"]))
    assert "arrinstance.looparr.dev/one" in (both := kubectl("get", "loops", "-A"))
    assert "backgroundloop.looparr.dev/one" in both
    common = ["TYPE", "READY", "STATUS", "RUNS", "ERRORS", "LAST RUN", "AGE"]
    wide = ["PHASE", "INTERVAL", "NEXT RUN", "FAILURES", "BACKOFF UNTIL", "AVG MS", "MESSAGE"]
    assert header(kubectl("get", "loop", "one", "-n", namespace)) == ["NAME", *common]
    assert header(kubectl("get", "bgl", "one", "-n", namespace, "-o", "wide")) == ["NAME", *common, *wide]
    arr = ["NAME", "TYPE", "READY", "STATUS", "TORRENTS", "TROUBLE", "RUNS", "ERRORS", "LAST RUN", "AGE"]
    assert header(kubectl("get", "arr", "-n", namespace)) == arr


def test_columns_show_what_the_status_says(apply: Apply, api: Cluster, kubectl: Kubectl, namespace: str) -> None:
    apply(made("ArrInstance", FULL["ArrInstance"]))
    ready = {"type": "Ready", "status": "False", "reason": "Unauthorized"}
    status = {
        "conditions": [ready],
        "runCount": 7,
        "errorCount": 2,
        "torrents": {"total": 41, "stalled": 3},
        "attentionCount": 3,
        "phase": "Backoff",
        "effectiveInterval": "1m",
        "nextRunTime": "2031-01-01T00:00:00Z",
        "consecutiveErrors": 2,
        "backoff": {"active": True, "until": "2031-01-01T00:00:10Z"},
        "averageDurationMs": 12,
        "message": "one line",
    }
    write_status(api, namespace, "arrinstances", status)
    row = kubectl("get", "arr", "one", "-n", namespace, "--no-headers", "-o", "wide").split()
    assert row[:8] == ["one", "Radarr", "False", "Unauthorized", "41", "3", "7", "2"]
    wide = ["Backoff", "1m", "2031-01-01T00:00:00Z", "2", "2031-01-01T00:00:10Z", "12", "one", "line"]
    assert row[-8:] == wide


def write_status(api: Cluster, namespace: str, plural: str, status: dict[str, Any]) -> Any:
    """Write a whole status the way the operator does, and give what is stored."""
    path = f"/apis/looparr.dev/v1alpha1/namespaces/{namespace}/{plural}/one/status"
    patch = [{"op": "add", "path": "/status", "value": status}]
    return api.request("PATCH", path, patch, content_type="application/json-patch+json")["status"]


def test_a_new_object_has_a_status_that_nobody_takes_for_done(apply: Apply, kubectl: Kubectl, namespace: str) -> None:
    apply(made("ArrInstance", FULL["ArrInstance"]), made("BackgroundLoop", FULL["BackgroundLoop"]))
    for kind in ("arr", "loop"):
        assert json.loads(kubectl("get", kind, "one", "-n", namespace, "-o", "json"))["status"] == {
            "observedGeneration": -1
        }


def test_nothing_is_stored_that_was_not_said_but_priority_and_mode(
    apply: Apply, kubectl: Kubectl, namespace: str
) -> None:
    minimal = {key: FULL["ArrInstance"][key] for key in ("type", "url", "apiKeySecretRef", "downloadClients")}
    apply(made("ArrInstance", minimal))
    stored = json.loads(kubectl("get", "arr", "one", "-n", namespace, "-o", "json"))["spec"]
    assert stored == {**minimal, "priority": "Normal", "mode": "Enforce"}


def test_a_status_of_unknown_words_and_any_length_is_not_refused(apply: Apply, api: Cluster, namespace: str) -> None:
    apply(made("BackgroundLoop", FULL["BackgroundLoop"]))
    run = {"startTime": "2026-01-01T00:00:00Z", "result": "Invented", "message": "m" * 5000}
    status = {
        "observedGeneration": 1,
        "phase": "PhaseOfTheFuture",
        "runCount": -3,
        "lastError": "e" * 5000,
        "history": [run] * 50,
        "conditions": [{"type": "New", "status": "Perhaps"}, {"type": "New", "status": "True"}],
        "http": {"memo": {"any": {"thing": [1, "two", None]}}, "lastStatus": 999},
    }
    stored = write_status(api, namespace, "backgroundloops", status)
    assert (stored["phase"], len(stored["history"]), len(stored["conditions"])) == ("PhaseOfTheFuture", 50, 2)
    assert stored["http"]["memo"]["any"] == {"thing": [1, "two", None]}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("arr.spec.rules", "Own rules, in order"),
        ("arr.spec.rules.when.for", "Bad time until the first strike"),
        ("arr.spec.downloadClients.qbittorrent.credentialsSecretRef", "Secret with the keys username and password"),
        ("arr.status.attention.nextAction", "What happens next"),
        ("loop.spec.http.endpoint.authSecretRef", "Authorization: Bearer"),
        ("bgl.status.http.memo", "at most 4 KiB"),
    ],
)
def test_explain_says_what_a_field_is_for(api: Cluster, kubectl: Kubectl, path: str, words: str) -> None:
    def explained() -> bool:
        return words in " ".join(kubectl.run("explain", path).stdout.split())

    wait_until(explained, 20, f"kubectl explain {path} does not say {words!r}")


def test_objects_are_found_by_type_and_suspend(apply: Apply, kubectl: Kubectl, namespace: str) -> None:
    free = changed("BackgroundLoop", {"suspend": None})
    held = changed("BackgroundLoop", {"suspend": True})
    apply(made("BackgroundLoop", free, "free"), made("BackgroundLoop", held, "held"))

    def found(selector: str) -> str:
        return str(kubectl("get", "loop", "-n", namespace, "-o", "name", "--field-selector", selector))

    assert found("spec.suspend=true").split() == ["backgroundloop.looparr.dev/held"]
    assert found("spec.suspend!=true").split() == ["backgroundloop.looparr.dev/free"]
    assert len(found("spec.type=HTTP").split()) == 2


def test_apply_refuses_fields_that_nobody_knows_and_others_drop_them(
    apply: Apply, api: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    document = made("BackgroundLoop", {**FULL["BackgroundLoop"], "schedule": "* * * * *"})
    refused = kubectl.refused("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))
    assert 'unknown field "spec.schedule"' in refused
    kubectl("apply", "--validate=ignore", "-n", namespace, "-f", "-", stdin=json.dumps(document))
    assert "schedule" not in json.loads(kubectl("get", "loop", "one", "-n", namespace, "-o", "json"))["spec"]


@pytest.mark.parametrize("kind", list(FULL))
def test_the_type_of_an_object_never_changes(api: Cluster, kubectl: Kubectl, namespace: str, kind: str) -> None:
    """There is one type of each kind as yet: a copy of the definition is given a second one."""
    definition = next(one for one in yaml.safe_load_all(crds_yaml()) if one["spec"]["names"]["kind"] == kind)
    copy = {"kind": f"{kind}Copy", "listKind": f"{kind}CopyList", "plural": f"{kind}copies", "singular": f"{kind}copy"}
    copy |= {name: copy[name].lower() for name in ("plural", "singular")}
    definition["metadata"]["name"] = f"{copy['plural']}.looparr.dev"
    definition["spec"]["names"] = copy
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["type"]["enum"].append("Other")
    rules = spec["x-kubernetes-validations"]
    spec["x-kubernetes-validations"] = [one for one in rules if "self.http" not in one["rule"]]
    kubectl("apply", "-f", "-", stdin=json.dumps(definition))
    document = made(copy["kind"], FULL[kind])
    text = json.dumps(document)
    wait_until(
        lambda: kubectl.run("apply", "-n", namespace, "-f", "-", stdin=text).returncode == 0, 15, "It is not served"
    )
    document["spec"] = {**FULL[kind], "type": "Other"}
    said = kubectl.refused("apply", "-n", namespace, "-f", "-", stdin=json.dumps(document))
    assert "spec.type: Invalid value: " in said
    assert "type is immutable: delete the object and make a new one" in said
    kubectl("delete", "crd", definition["metadata"]["name"], "--wait=false")
