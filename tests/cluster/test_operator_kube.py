"""What the operator's own calls mean on a real API server: the uid guard, refusals, Secrets, Events."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cluster.contract import FULL, install, made
from looparr.api.meta import BACKGROUND_LOOP, KINDS, ObjectRef
from looparr.clients.kube import KubeApi
from looparr.clients.kube_access import KubeAccess
from looparr.clients.kube_events import KubeEvents
from looparr.clients.kube_secrets import SecretReader
from looparr.clients.kube_status import KubeStatusWriter
from looparr.engine.types import Event
from looparr.errors import Blocked, WriteFailed
from looparr.sandbox.cluster import Cluster
from operator_kit import NAME, grant
from parts import Kubectl

KIND = "BackgroundLoop"


@dataclass
class Bench:
    """The clients under the operator's own ServiceAccount, and one object to use them on."""

    plane: Cluster
    namespace: str
    api: KubeApi
    writer: KubeStatusWriter
    ref: ObjectRef

    def stored(self) -> dict[str, Any]:
        path = f"/apis/looparr.dev/v1alpha1/namespaces/{self.namespace}/backgroundloops/one"
        found: dict[str, Any] = self.plane.request("GET", path)
        return found

    def secret(self, name: str, *, offered: bool = True, **data: str) -> None:
        labels = {"looparr.dev/credentials": "true"} if offered else {}
        body = {"metadata": {"name": name, "labels": labels}, "stringData": data}
        self.plane.request("POST", f"/api/v1/namespaces/{self.namespace}/secrets", body)


@pytest.fixture
async def bench(control_plane: Cluster, namespace: str, tmp_path: Path) -> AsyncIterator[Bench]:
    install(control_plane)
    grant(control_plane, namespace)
    path = f"/apis/looparr.dev/v1alpha1/namespaces/{namespace}/backgroundloops"
    one = control_plane.request("POST", path, made(KIND, FULL[KIND]))
    kubeconfig = control_plane.serviceaccount_kubeconfig(namespace, NAME, into=tmp_path / "kubeconfig")
    access = KubeAccess.from_kubeconfig(kubeconfig)
    api, writer = KubeApi(access), KubeStatusWriter(access)
    ref = ObjectRef(BACKGROUND_LOOP, namespace, "one", one["metadata"]["uid"])
    yield Bench(control_plane, namespace, api, writer, ref)
    await writer.close()
    await api.close()


async def test_a_status_is_written_whole_and_replaces_what_was_there(bench: Bench) -> None:
    await bench.writer.write(bench.ref, {"observedGeneration": 1, "message": "first", "phase": "Idle"})
    await bench.writer.write(bench.ref, {"observedGeneration": 1, "runCount": 2})
    assert bench.stored()["status"] == {"observedGeneration": 1, "runCount": 2}


async def test_another_object_of_the_same_name_is_left_alone(bench: Bench) -> None:
    with pytest.raises(WriteFailed) as failed:
        await bench.writer.write(replace(bench.ref, uid="another"), {"observedGeneration": 1, "runCount": 5})
    assert failed.value.gone
    assert "runCount" not in bench.stored()["status"]


async def test_an_object_that_is_not_there_is_gone(bench: Bench) -> None:
    with pytest.raises(WriteFailed) as failed:
        await bench.writer.write(replace(bench.ref, name="two"), {"observedGeneration": 1})
    assert failed.value.gone


async def test_a_status_that_the_schema_refuses_is_not_gone_and_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for value in ("nonsense", "other nonsense"):
        with pytest.raises(WriteFailed, match="runCount") as failed:
            await bench.writer.write(bench.ref, {"observedGeneration": 1, "runCount": value})
        assert not failed.value.gone
    assert caplog.text.count("status was refused") == 1
    assert "nonsense" not in caplog.text


async def test_objects_are_read_and_kinds_listed(bench: Bench) -> None:
    found = await bench.api.read_object(bench.ref)
    assert found is not None
    assert found["metadata"]["uid"] == bench.ref.uid
    assert await bench.api.read_object(replace(bench.ref, name="two")) is None
    for kind in KINDS:
        assert await bench.api.can_list(kind, bench.namespace)
        assert not await bench.api.can_list(kind, None)


async def test_only_an_offered_secret_is_read(bench: Bench) -> None:
    reader = SecretReader(bench.api)
    bench.secret("good", apiKey="k3y", binary="x")
    bench.secret("hidden", offered=False, apiKey="k3y")
    good = await reader.read(bench.namespace, "good")
    assert good.text("apiKey") == "k3y"
    assert (good.uid != "", good.version != "") == (True, True)
    assert "k3y" not in repr(good)
    for name, reason in (("hidden", "SecretNotOffered"), ("missing", "SecretMissing")):
        with pytest.raises(Blocked) as blocked:
            await reader.read(bench.namespace, name)
        assert blocked.value.reason == reason
    with pytest.raises(Blocked) as blocked:
        good.value("password")
    assert blocked.value.reason == "SecretKeyMissing"
    with pytest.raises(Blocked) as blocked:
        await reader.read("default", "good")
    assert blocked.value.reason == "Forbidden"


async def test_a_changed_secret_is_seen_after_a_minute_or_when_asked_freshly(bench: Bench) -> None:
    now = 0.0
    reader = SecretReader(bench.api, monotonic=lambda: now)
    bench.secret("good", apiKey="old")
    assert (await reader.read(bench.namespace, "good")).text("apiKey") == "old"
    data = {"apiKey": base64.b64encode(b"new").decode()}
    path = f"/api/v1/namespaces/{bench.namespace}/secrets/good"
    bench.plane.request("PATCH", path, {"data": data}, content_type="application/merge-patch+json")
    now = 59.0
    assert (await reader.read(bench.namespace, "good")).text("apiKey") == "old"
    assert (await reader.read(bench.namespace, "good", fresh=True)).text("apiKey") == "new"
    now = 120.0
    assert (await reader.read(bench.namespace, "good")).text("apiKey") == "new"


async def test_events_are_posted_before_the_stop(bench: Bench, kubectl: Kubectl) -> None:
    events = KubeEvents(bench.api)
    await events.start()
    await events.post(bench.ref, Event("Triggered", "Ran by request."))
    await events.stop()
    assert "Triggered" in kubectl("events", "-n", bench.namespace, "--for", "backgroundloop/one")
