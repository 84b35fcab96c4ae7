"""The chart: what Helm makes of it, seen as objects, in the ways that people set it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from chart_kit import (
    CHART,
    Document,
    environment,
    finished,
    helm,
    hook_of,
    hooks,
    of_kind,
    pod_specs,
    refused,
    render,
    the,
)
from looparr.manifests import crds, rules
from looparr.manifests.rbac import chart_rules
from looparr.settings import Settings, unknown_variables

SOME = {"watchNamespaces": ["films", "series"]}
SCOPED = ("Role", "RoleBinding")
CLUSTER_WIDE = ("ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")
UNUSUAL: dict[str, Any] = {
    "watchNamespaces": ["films", "series"],
    "slots": 7,
    "logLevel": "debug",
    "logFormat": "console",
    "clusterId": "home",
    "secretRereadSeconds": 30.5,
    "graceSeconds": 20,
    "egress": {"allowCIDRs": ["10.0.0.0/8", "fd00::/8"], "denyCIDRs": ["0.0.0.0/0"]},
    "probes": {"host": "::", "port": 9000},
}


def granted(documents: list[Document], account: str) -> dict[str, list[Document]]:
    """The rules that an account has: namespace, or "" for all of them -> rules."""
    roles = {
        (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one["rules"]
        for one in of_kind(documents, "Role", "ClusterRole")
    }
    found: dict[str, list[Document]] = {}
    for binding in of_kind(documents, "RoleBinding", "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        if subject["name"] == account:
            where = binding["metadata"].get("namespace", "")
            found.setdefault(where, []).extend(roles[binding["roleRef"]["kind"], where, binding["roleRef"]["name"]])
    return found


def names(documents: list[Document]) -> set[tuple[str, str, str]]:
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in documents}


# --- as a whole -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, UNUSUAL, {"metrics": {"serviceMonitor": {"enabled": True}}}])
def test_helm_finds_nothing_to_complain_about(values: dict[str, Any]) -> None:
    assert "0 chart(s) failed" in finished(helm("lint", "--strict", str(CHART), values=values))


def test_no_name_is_there_twice_and_every_namespaced_thing_says_where_it_lives() -> None:
    documents = render(SOME)
    assert len(names(documents)) == len(documents)
    assert all(("namespace" in one["metadata"]) == (one["kind"] not in CLUSTER_WIDE) for one in documents)


def test_two_releases_share_no_name() -> None:
    mine = {"crds": {"enabled": True}, **SOME}
    others = {"crds": {"enabled": False}, "watchNamespaces": ["films", "books"]}
    for values, other in ((mine, others), ({}, {"crds": {"enabled": False}})):
        first = names(render(values, release="looparr", namespace="media"))
        assert not first & names(render(other, release="looparr", namespace="home"))
        assert not first & names(render(other, release="second", namespace="media"))


def test_names_follow_the_release_and_can_be_replaced() -> None:
    assert the(render(release="looparr"), "Deployment")["metadata"]["name"] == "looparr"
    assert the(render(release="films"), "Deployment")["metadata"]["name"] == "films-looparr"
    assert the(render({"fullnameOverride": "other"}), "Deployment")["metadata"]["name"] == "other"
    longest = render(release="a" * 53)
    assert all(len(one["metadata"]["name"]) <= 63 for one in of_kind(longest, "Deployment", "Job", "Pod", "Service"))


def test_with_namespaces_and_without_definitions_and_user_roles_nothing_is_cluster_wide() -> None:
    assert not of_kind(render({**SOME, "crds": {"enabled": False}, "userRoles": {"create": False}}), *CLUSTER_WIDE)


# --- definitions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
def test_the_definitions_are_those_that_are_generated_and_stay_unless_told(keep: bool) -> None:
    documents = of_kind(render({"crds": {"keep": keep}}), "CustomResourceDefinition")
    assert [one["metadata"].pop("annotations", {}) for one in documents] == 2 * [
        {"helm.sh/resource-policy": "keep"} if keep else {}
    ]
    assert all(one["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm" for one in documents)
    assert documents == crds()


def test_the_definitions_can_be_left_out() -> None:
    assert not of_kind(render({"crds": {"enabled": False}}), "CustomResourceDefinition")


# --- rights ---------------------------------------------------------------------------------------------------------


def test_everywhere_the_operator_has_the_generated_rules_and_hooks_have_theirs() -> None:
    documents, wanted = render(), chart_rules("looparr")
    assert granted(documents, "looparr") == {"": rules()}
    assert granted(documents, "looparr-release") == {"": wanted["release"], "media": wanted["stop"]}
    assert granted(documents, "looparr-selftest") == {"media": wanted["selftest"]}


def test_in_some_namespaces_they_have_them_there_only() -> None:
    documents, wanted = render(SOME), chart_rules("looparr")
    assert granted(documents, "looparr") == {"films": rules(), "series": rules()}
    assert granted(documents, "looparr-release") == {
        "films": wanted["release"],
        "series": wanted["release"],
        "media": wanted["stop"],
    }
    assert granted(documents, "looparr-selftest") == {"films": wanted["selftest"]}


def test_only_the_operators_own_deployment_may_be_stopped() -> None:
    (stop,) = (one for one in of_kind(render(release="films"), "Role") if "-stop:" in one["metadata"]["name"])
    stopping = [rule for rule in stop["rules"] if rule["apiGroups"] == ["apps"]]
    assert [rule["resourceNames"] for rule in stopping] == 2 * [["films-looparr"]]


def test_people_may_look_by_default_and_change_only_when_that_is_asked_for() -> None:
    wanted = chart_rules("looparr")
    label = "rbac.authorization.k8s.io/aggregate-to-"
    for into, expected in (({}, {"view"}), ({"aggregateToEdit": True, "aggregateToView": False}, {"edit"})):
        roles = {one["metadata"]["name"]: one for one in of_kind(render({"userRoles": into}), "ClusterRole")}
        assert roles["looparr-view:media"]["rules"] == wanted["view"]
        assert roles["looparr-edit:media"]["rules"] == wanted["edit"]
        aggregated = {key.removeprefix(label) for one in roles.values() for key in one["metadata"]["labels"]}
        assert {key for key in aggregated if "/" not in key} == expected


def test_an_account_of_ones_own_gets_the_rights() -> None:
    documents = render({"serviceAccount": {"create": False, "name": "mine"}})
    assert granted(documents, "mine") == {"": rules()}
    assert "mine" not in {one["metadata"]["name"] for one in of_kind(documents, "ServiceAccount")}
    assert the(documents, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_a_token_is_mounted_only_where_a_pod_asks_for_it() -> None:
    documents = render()
    assert [one["automountServiceAccountToken"] for one in of_kind(documents, "ServiceAccount")] == 3 * [False]
    assert [one["automountServiceAccountToken"] for one in pod_specs(documents)] == 3 * [True]


# --- pods -----------------------------------------------------------------------------------------------------------


def test_one_operator_at_a_time() -> None:
    spec = the(render(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_selectors_find_the_operators_pod_and_no_other() -> None:
    documents = render(
        {"podLabels": {"team": "media", "app.kubernetes.io/component": "mine"}},
    )
    deployment = the(documents, "Deployment")
    wanted = deployment["spec"]["selector"]["matchLabels"].items()
    assert the(documents, "Service")["spec"]["selector"].items() == wanted
    assert wanted <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "media"
    assert not wanted <= the(documents, "Job")["spec"]["template"]["metadata"]["labels"].items()
    assert not wanted <= the(documents, "Pod")["metadata"]["labels"].items()
    other = the(render(release="second"), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not wanted <= other.items()


def test_every_setting_can_be_reached() -> None:
    variables = environment(render(UNUSUAL))
    settings = Settings.load({}, variables)
    assert unknown_variables(variables) == ()
    untouched = {name for name in Settings.model_fields if getattr(settings, name) == getattr(Settings(), name)}
    assert untouched == {"kubeconfig"}  # a pod has its account
    assert (settings.slots, settings.cluster_id, settings.namespaces) == (7, "home", ("films", "series"))
    assert [str(one) for one in settings.egress_allow_cidrs] == ["10.0.0.0/8", "fd00::/8"]


def test_without_values_the_settings_are_those_of_the_code() -> None:
    settings = Settings.load({}, environment(render({"store": {"persistence": {"enabled": False}}})))
    assert settings == Settings(probes_host="0.0.0.0")


def test_no_service_can_become_a_setting_by_its_name() -> None:
    """A Service named looparr would be LOOPARR_PORT, one named looparr-probes the setting LOOPARR_PROBES_PORT."""
    assert [one["enableServiceLinks"] for one in pod_specs(render())] == 3 * [False]


def test_the_kubelet_waits_longer_than_the_operator_takes() -> None:
    for grace, kubelet in ((9, 15), (20.5, 27)):
        documents = render({"graceSeconds": grace})
        assert the(documents, "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == kubelet
        assert float(environment(documents)["LOOPARR_GRACE_SECONDS"]) == grace


def test_the_probes_ask_where_the_operator_answers() -> None:
    (container,) = the(render({"probes": {"port": 9000}}), "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9000}]
    asked = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {name: one["httpGet"]["path"] for name, one in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    assert {one["httpGet"]["port"] for one in asked.values()} == {"metrics"}
    assert asked["readiness"]["periodSeconds"] == 1


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({}, "looparr:{app}"),
        ({"tag": "9.9"}, "looparr:9.9"),
        (
            {"registry": "registry.example.org:5000", "repository": "team/looparr"},
            "registry.example.org:5000/team/looparr:{app}",
        ),
        ({"tag": "9.9", "digest": f"sha256:{'0' * 64}"}, f"looparr@sha256:{'0' * 64}"),
    ],
)
def test_all_pods_run_one_image(image: dict[str, str], expected: str) -> None:
    app = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    documents = render({"image": {**image, "pullPolicy": "Never"}, "imagePullSecrets": [{"name": "login"}]})
    containers = [one for spec in pod_specs(documents) for one in spec["containers"]]
    assert [one["image"] for one in containers] == 3 * [expected.format(app=app)]
    assert [one["imagePullPolicy"] for one in containers] == 3 * ["Never"]
    assert [one["imagePullSecrets"] for one in pod_specs(documents)] == 3 * [[{"name": "login"}]]


def test_what_pods_may_be_told_reaches_them() -> None:
    told: dict[str, Any] = {
        "nodeSelector": {"disk": "local"},
        "tolerations": [{"key": "media", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    }
    own = {"podAnnotations": {"note": "this"}, "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}
    documents = render({**told, **own, "resources": {"limits": {"cpu": 1}}})
    for spec in pod_specs(documents):
        assert {key: spec[key] for key in told} == told
        (container,) = spec["containers"]
        assert container["resources"]["limits"] == {"memory": "256Mi", "cpu": 1}
    assert the(documents, "Deployment")["spec"]["template"]["metadata"]["annotations"] == {"note": "this"}
    assert environment(documents)["HTTPS_PROXY"] == "http://proxy:3128"


# --- store ----------------------------------------------------------------------------------------------------------


def test_the_store_is_on_a_volume_that_outlives_the_release() -> None:
    documents = render()
    claim, spec = the(documents, "PersistentVolumeClaim"), the(documents, "Deployment")["spec"]["template"]["spec"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    (mount,) = (one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "store")
    assert environment(documents)["LOOPARR_STORE"].startswith(mount["mountPath"] + "/")
    (volume,) = (one for one in spec["volumes"] if one["name"] == "store")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_volume_can_be_told() -> None:
    told = {"size": "5Gi", "storageClass": "fast", "annotations": {"a": "b"}, "keep": False}
    claim = the(render({"store": {"persistence": told}}), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"a": "b"}
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    static = the(render({"store": {"persistence": {"storageClass": "-"}}}), "PersistentVolumeClaim")
    assert static["spec"]["storageClassName"] == ""


def test_a_claim_of_ones_own_is_used_and_none_is_made() -> None:
    documents = render({"store": {"persistence": {"existingClaim": "mine"}}})
    assert not of_kind(documents, "PersistentVolumeClaim")
    volumes = the(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "store", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_without_a_volume_the_store_is_in_memory() -> None:
    documents = render({"store": {"persistence": {"enabled": False}}})
    assert not of_kind(documents, "PersistentVolumeClaim")
    assert "LOOPARR_STORE" not in environment(documents)


# --- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_have_a_service_and_a_monitor_where_that_is_asked_for() -> None:
    assert not of_kind(render(), "ServiceMonitor")
    told = {"serviceMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}}}
    documents = render({"metrics": told, "probes": {"port": 9000}})
    service, monitor = the(documents, "Service"), the(documents, "ServiceMonitor")
    assert service["spec"]["ports"] == [{"name": "metrics", "port": 8081, "targetPort": "metrics"}]
    assert monitor["spec"]["endpoints"] == [{"port": "metrics", "interval": "10s"}]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert not of_kind(render({"metrics": {"service": {"enabled": False}}}), "Service")


def test_a_monitor_of_nothing_is_refused() -> None:
    told = {"serviceMonitor": {"enabled": True}, "service": {"enabled": False}}
    assert "set metrics.service.enabled to true, too" in refused({"metrics": told})


# --- hooks ----------------------------------------------------------------------------------------------------------


def test_a_hook_has_its_rights_before_it_runs_and_leaves_nothing_behind() -> None:
    documents = render(SOME)
    for event, last in (("pre-delete", "Job"), ("test", "Pod")):
        found = hooks(documents, event)
        weights = {one["kind"]: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in found}
        assert weights.pop(last) > max(weights.values())
        assert {"ServiceAccount", *SCOPED} <= set(weights)
        policies = {one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for one in found}
        assert policies == {"before-hook-creation,hook-succeeded"}


def test_the_release_hook_stops_this_operator_and_frees_what_it_watched() -> None:
    job = the(render(SOME, release="films"), "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == [
        "release",
        "--stop=media/films-looparr",
        "--timeout=240",
        "--namespace=films",
        "--namespace=series",
    ]
    assert job["spec"]["activeDeadlineSeconds"] == 270
    everywhere = the(render(), "Job")["spec"]["template"]["spec"]
    assert everywhere["containers"][0]["args"] == ["release", "--stop=media/looparr", "--timeout=240"]


def test_the_release_hook_can_be_switched_off() -> None:
    documents = render({"uninstall": {"freeFinalizers": False}})
    assert not hooks(documents, "pre-delete")
    assert {hook_of(one) for one in documents} == {"", "test"}


@pytest.mark.parametrize(("values", "where"), [({}, "media"), (SOME, "films")])
def test_the_self_test_makes_its_loop_where_the_operator_looks(values: dict[str, Any], where: str) -> None:
    pod = the(render(values), "Pod")
    assert pod["spec"]["containers"][0]["args"] == ["selftest", f"--namespace={where}", "--address=$(POD_IP)"]
    assert pod["spec"]["containers"][0]["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}


# --- words for people -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"slots": "many"}, "at '/slots': got string, want integer"),
        ({"slots": 0}, "at '/slots': minimum: got 0, want 1"),
        ({"graceSeconds": 4000}, "at '/graceSeconds': maximum: got 4,000, want 3,600"),
        ({"logLevel": "loud"}, "at '/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
        ({"replicas": 2}, "at '': additional properties 'replicas' not allowed"),
        ({"image": {"pullpolicy": "Always"}}, "at '/image': additional properties 'pullpolicy' not allowed"),
        ({"image": {"digest": "abc"}}, "at '/image/digest': 'abc' does not match pattern '^(sha256:"),
        ({"clusterId": "My Home"}, "at '/clusterId': 'My Home' does not match pattern"),
        ({"watchNamespaces": "films"}, "at '/watchNamespaces': got string, want array"),
        ({"watchNamespaces": ["films", "films"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
        ({"egress": {"allowCIDRs": ["everything"]}}, "at '/egress/allowCIDRs/0': 'everything' does not match pattern"),
        ({"store": {"persistence": {"size": "much"}}}, "at '/store/persistence/size': 'much' does not match pattern"),
        ({"extraEnv": [{"value": "x"}]}, "at '/extraEnv/0': missing property 'name'"),
        ({"serviceAccount": {"create": False}}, "would give the operator's rights to every pod that runs as default"),
        ({"fullnameOverride": "looparr-release"}, "ends in -release, which another release's parts are called"),
        (
            {"crds": {"keep": False}, "uninstall": {"freeFinalizers": False}},
            "would leave definitions and objects in deletion for ever",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_is_right(values: dict[str, Any], complaint: str) -> None:
    assert complaint in refused(values)


def test_names_that_yaml_takes_for_something_else_stay_names() -> None:
    values = {"watchNamespaces": ["no", "1e3"], "fullnameOverride": "123", "priorityClassName": "007"}
    documents = render(values, release="on", namespace="null")
    texts = [one["metadata"].get(key) for one in documents for key in ("name", "namespace")]
    assert all(isinstance(text, str | None) for text in texts)
    assert {"no", "1e3", "null"} <= set(texts)
    pod = the(documents, "Deployment")["spec"]["template"]["spec"]
    assert (pod["serviceAccountName"], pod["priorityClassName"]) == ("123", "007")


def test_null_takes_a_default_back_to_nothing_and_never_to_a_loss() -> None:
    documents = render({"watchNamespaces": None, "crds": {"keep": None}, "store": {"persistence": {"keep": None}}})
    kept = [one["metadata"]["name"] for one in documents if "keep" in str(one["metadata"].get("annotations"))]
    assert kept == ["looparr-store", "arrinstances.looparr.dev", "backgroundloops.looparr.dev"]


def test_a_parent_chart_may_hand_down_what_it_shares() -> None:
    assert render({"global": {"team": "media"}}) == render()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ["looks after all namespaces", "PersistentVolumeClaim looparr-store", "CRDs and all objects stay"]),
        (SOME, ["the namespaces films, series"]),
        ({"store": {"persistence": {"enabled": False}}}, ["memory; a restart forgets them (condition NotDurable)"]),
        ({"crds": {"keep": False}}, ["all objects are gone (crds.keep=false)"]),
    ],
)
def test_the_notes_say_what_to_do_next(values: dict[str, Any], told: list[str]) -> None:
    out = finished(
        helm("install", "looparr", str(CHART), "--namespace", "media", "--dry-run=client", values=values)
    ).partition("NOTES:")[2]
    assert all(part in out for part in [*told, "kubectl get loops -A", "helm test looparr -n media"])
    assert len([line for line in out.splitlines() if line]) <= 10
