"""What the hooks of the chart decide without a cluster: what they remove, and how they explain a failure."""

from __future__ import annotations

from typing import Any

import pytest

from looparr.errors import SettingsError
from looparr.hooks.release import Deployment, removal
from looparr.hooks.selftest import explain
from looparr.hooks.steps import Steps


def loop(*conditions: tuple[str, str, str, str]) -> dict[str, Any]:
    keys = ("type", "status", "reason", "message")
    said = [dict(zip(keys, one, strict=True)) for one in conditions]
    return {"metadata": {"namespace": "media"}, "status": {"conditions": said} if said else {}}


def test_a_finalizer_is_removed_only_from_where_it_was_seen() -> None:
    assert removal(2) == [
        {"op": "test", "path": "/metadata/finalizers/2", "value": "looparr.dev/cleanup"},
        {"op": "remove", "path": "/metadata/finalizers/2"},
    ]


@pytest.mark.parametrize("text", ["looparr", "/looparr", "looparr/", "a/b/c", ""])
def test_a_deployment_without_its_namespace_is_a_sentence(text: str) -> None:
    with pytest.raises(SettingsError, match="such as looparr/looparr"):
        Deployment.parse(text)


def test_names_stay_one_part_of_a_path() -> None:
    assert Deployment("a?b", "c d").path == "/apis/apps/v1/namespaces/a%3Fb/deployments/c%20d"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (loop(), "No operator has looked at the loop within 60 s. Is its pod ready, and does it look after namespace"),
        (loop(("Ready", "False", "EgressDenied", "no.")), "put the network of 10.1.2.3 into egress.allowCIDRs"),
        (loop(("Ready", "False", "Unreachable", "no.")), "Does a NetworkPolicy keep the operator from 10.1.2.3?"),
        (
            loop(("Ready", "False", "ServerError", "500."), ("Reconciling", "True", "ProgressingWithRetry", "again.")),
            "It says: Ready=False ServerError: 500.; Reconciling=True ProgressingWithRetry: again.",
        ),
    ],
    ids=["nobody", "egress", "unreachable", "other"],
)
def test_a_loop_that_did_not_run_is_explained(found: dict[str, Any], told: str) -> None:
    assert told in explain(found, "10.1.2.3", 60)


def test_a_step_that_lasts_is_told_once_and_remembered() -> None:
    told: list[str] = []
    steps = Steps(told.append)
    for step in ("waiting", "waiting", "done", "waiting"):
        steps(step)
    assert told == ["waiting", "done", "waiting"]
    assert steps.last == "waiting"
