"""What is deleted while nobody watches, on a real API server and in a real store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.contract import FULL, install, made
from looparr.api.meta import KINDS
from looparr.clients.kube import KubeApi
from looparr.clients.kube_access import KubeAccess
from looparr.handlers.census import PAGE, Census
from looparr.runtime.executor import Executor
from looparr.sandbox.cluster import Cluster
from looparr.store import Changes, Store
from looparr.store.instances import FORGET_AFTER
from operator_kit import NAME, grant


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def create(plane: Cluster, namespace: str, kind: str, name: str) -> str:
    path = f"/apis/looparr.dev/v1alpha1/namespaces/{namespace}/{kind.lower()}s"
    found: dict[str, Any] = plane.request("POST", path, made(kind, FULL[kind], name))
    return str(found["metadata"]["uid"])


async def test_an_object_deleted_while_nobody_watched_is_forgotten_and_every_other_one_is_kept(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    install(control_plane)
    grant(control_plane, namespace)
    uids = [create(control_plane, namespace, "ArrInstance", f"arr-{number}") for number in range(PAGE + 2)]
    gone, loop = uids[PAGE // 2], create(control_plane, namespace, "BackgroundLoop", "one")
    kubeconfig = control_plane.serviceaccount_kubeconfig(namespace, NAME, into=tmp_path / "kubeconfig")
    api, executor, clock = KubeApi(KubeAccess.from_kubeconfig(kubeconfig)), Executor("store", 1), Clock()
    store = await Store.open(tmp_path / "looparr.db", executor, clock=clock)
    for uid in (*uids, loop, "of-another-namespace"):
        await store.commit(uid, Changes(put_values={"started": 1.0}))
    census = Census(lambda name, work: asyncio.create_task(work, name=name), api, store, KINDS, [namespace], ())

    assert await census.look() == ()
    path = f"/apis/looparr.dev/v1alpha1/namespaces/{namespace}/arrinstances/arr-{PAGE // 2}"
    control_plane.request("DELETE", path)
    assert await census.look() == ()
    clock.now += FORGET_AFTER
    assert await census.look() == (gone,)
    clock.now += FORGET_AFTER
    assert await census.look() == ()
    for uid in (*uids, loop, "of-another-namespace"):
        assert bool((await store.load(uid)).values) == (uid != gone)

    await api.close()
    await store.close()
    assert await executor.stop(10)
