"""`looparr release`: objects lose the operator's finalizer, so that none hangs in its deletion without an operator.

The chart runs it before it is uninstalled; people run it when the operator went without that. Only our own finalizer
goes, by a patch that tests what it removes. The objects stay; those that are being deleted go at last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from looparr.api.meta import API_VERSION, FINALIZER, KINDS
from looparr.errors import SettingsError
from looparr.hooks.calls import JSON_PATCH, MERGE_PATCH, PAUSE, ApiCalls, ErrandFailed
from looparr.hooks.steps import Steps

PASSES = 5
"""How often all objects are looked at; more than one is needed only for what changes in that moment."""
SHOWN = 3
ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Deployment:
    """The operator's Deployment."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Deployment:
        """Read NAMESPACE/NAME. Raises SettingsError."""
        namespace, _, name = text.partition("/")
        if not namespace or not name or "/" in name:
            raise SettingsError(f"--stop: {text!r} is no NAMESPACE/NAME of a Deployment, such as looparr/looparr")
        return cls(namespace, name)

    @property
    def path(self) -> str:
        """Its path below the API server's URL."""
        return f"/apis/apps/v1/namespaces/{_word(self.namespace)}/deployments/{_word(self.name)}"

    def __str__(self) -> str:
        return f"Deployment {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Bearer:
    """An object that bears our finalizer. index: where in its list."""

    path: str
    name: str
    index: int


async def release(
    calls: ApiCalls, steps: Steps, *, namespaces: Collection[str] = (), stop: Deployment | None = None
) -> None:
    """Free all objects of both kinds, after stopping the operator where `stop` names it.

    namespaces: where; empty is everywhere. Raises ErrandFailed.
    """
    if stop is not None:
        await _stop(calls, steps, stop)
    await _free(calls, steps, namespaces)


async def _stop(calls: ApiCalls, steps: Steps, deployment: Deployment) -> None:
    """Scale to 0 and wait until no pod is left: an operator that lives puts its finalizer back."""
    steps(f"Scaling {deployment} to 0.")
    body = {"spec": {"replicas": 0}}
    scale = await calls.ask("PATCH", f"{deployment.path}/scale", body, content_type=MERGE_PATCH)
    if scale.missing:
        steps(f"{deployment} is not there: nothing to stop.")
        return
    if not scale.ok:
        raise ErrandFailed(f"{deployment} could not be scaled to 0: {scale.complaint}.")
    while not await _is_observed(calls, deployment):
        steps(f"Waiting until the cluster has seen that {deployment} is to stop.")
        await asyncio.sleep(PAUSE)
    pods = f"/api/v1/namespaces/{_word(deployment.namespace)}/pods"
    selector = quote(scale.body["status"]["selector"], safe="")
    while left := await _alive(calls, f"{pods}?labelSelector={selector}"):
        steps(f"Waiting until the operator has ended: pod {', '.join(left)}.")
        await asyncio.sleep(PAUSE)
    steps("The operator has stopped.")


async def _is_observed(calls: ApiCalls, deployment: Deployment) -> bool:
    found = await calls.ask("GET", deployment.path)
    if found.missing:
        return True
    wanted = found.body["metadata"]["generation"]
    return bool(found.body.get("status", {}).get("observedGeneration", 0) >= wanted)


async def _alive(calls: ApiCalls, path: str) -> list[str]:
    """Names of the pods whose containers may still run."""
    pods = [pod async for pod in calls.items(path)]
    return [pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") not in ENDED]


async def _free(calls: ApiCalls, steps: Steps, namespaces: Collection[str]) -> None:
    """Take our finalizer off until a look finds it nowhere."""
    freed, refusal = 0, ""
    for _ in range(PASSES):
        bearers = [one async for one in _bearers(calls, namespaces)]
        if not bearers:
            where = f" in {', '.join(namespaces)}" if namespaces else ""
            what = "object was" if freed == 1 else "objects were"
            steps(f"{freed} {what} freed; none{where} bears {FINALIZER} now. An operator that runs would put it back.")
            return
        steps(f"Freeing {_some([one.name for one in bearers])}.")
        for one in bearers:
            try:
                answer = await calls.ask("PATCH", one.path, removal(one.index), content_type=JSON_PATCH)
            except ErrandFailed as error:  # an admission policy may hold one object, and not the others
                refusal = f" ({one.name}: {error})"
                continue
            freed += answer.ok
            if not answer.ok and answer.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                refusal = f" ({one.name}: {answer.complaint})"
    raise ErrandFailed(
        f"{_some([one.name for one in bearers])}: {FINALIZER} was there again after {PASSES} tries{refusal}. Does an "
        "operator still run? Stop it first: it puts its finalizer back."
    )


async def _bearers(calls: ApiCalls, namespaces: Collection[str]) -> AsyncIterator[Bearer]:
    scopes = [f"/namespaces/{_word(one)}" for one in namespaces] or [""]
    for kind in KINDS:
        for scope in scopes:
            async for item in calls.items(f"/apis/{API_VERSION}{scope}/{kind.plural}"):
                meta = item["metadata"]
                if FINALIZER in (finalizers := meta.get("finalizers", ())):
                    path = f"/apis/{API_VERSION}/namespaces/{meta['namespace']}/{kind.plural}/{meta['name']}"
                    name = f"{kind.kind} {meta['namespace']}/{meta['name']}"
                    yield Bearer(path, name, finalizers.index(FINALIZER))


def removal(index: int) -> list[dict[str, str]]:
    """Give the JSON patch that removes our finalizer from its place, and nothing else that came to stand there."""
    path = f"/metadata/finalizers/{index}"
    return [{"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path}]


def _some(names: list[str]) -> str:
    """Name a few of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _word(text: str) -> str:
    """Write a name so that it stays one part of a path."""
    return quote(text, safe="")
