"""The generated files are what the models say, and the command tells when they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from looparr.manifests import crds, crds_yaml, rbac, rules
from looparr.manifests.__main__ import main
from looparr.manifests.files import differences, files, write

ROOT = Path(__file__).parents[2]


def test_the_files_of_the_repository_are_what_the_models_say() -> None:
    assert differences(ROOT) == ""


def test_check_shows_a_diff_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0
    stale = tmp_path / "crds" / "looparr.dev_backgroundloops.yaml"
    stale.write_text(stale.read_text().replace("- bgl", "- wrong"))
    capsys.readouterr()
    assert main(["--check", "--root", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "-    - wrong\n+    - bgl\n" in shown.out
    assert "make generate" in shown.err
    assert "- wrong" in stale.read_text()


def test_writing_touches_only_what_differs(tmp_path: Path) -> None:
    assert sorted(write(tmp_path)) == sorted(files())
    assert write(tmp_path) == []


def test_crds_are_printed_as_one_stream() -> None:
    assert list(yaml.safe_load_all(crds_yaml())) == crds()


def test_the_operator_may_do_exactly_this() -> None:
    granted = {
        (group, resource, verb)
        for rule in rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    ours = {
        (plural, verb) for plural in ("arrinstances", "backgroundloops") for verb in ("get", "list", "watch", "patch")
    }
    assert granted == {
        *(("looparr.dev", plural, verb) for plural, verb in ours),
        ("looparr.dev", "arrinstances/status", "patch"),
        ("looparr.dev", "backgroundloops/status", "patch"),
        ("", "events", "create"),
        ("", "secrets", "get"),
    }


def test_the_chart_and_the_function_grant_the_same_rules() -> None:
    chart = yaml.safe_load((ROOT / "charts/looparr/files/rules.yaml").read_text())
    roles = [one for one in rbac("loops", watch_namespaces=None) if one["kind"] == "ClusterRole"]
    assert [role["rules"] for role in roles] == [chart]
    template = (ROOT / "charts/looparr/templates/rbac.yaml").read_text()
    assert "apiGroups" not in template
    assert template.count("{{ $rules }}") == 2


def test_watched_namespaces_get_a_role_each_and_nothing_cluster_wide() -> None:
    found = [
        (one["kind"], one["metadata"].get("namespace")) for one in rbac("home", watch_namespaces=("media", "films"))
    ]
    assert found == [
        ("ServiceAccount", "home"),
        ("Role", "media"),
        ("RoleBinding", "media"),
        ("Role", "films"),
        ("RoleBinding", "films"),
    ]


def test_without_watched_namespaces_there_is_one_cluster_role_bound_to_the_account() -> None:
    account, role, binding = rbac("home", watch_namespaces=None)
    assert (account["kind"], role["kind"], binding["kind"]) == ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == "home-looparr"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "looparr", "namespace": "home"}]
