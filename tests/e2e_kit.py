"""A cluster with pods, Helm, and a household that runs beside the test, for stories told as people live them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from looparr.errors import SandboxError
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from looparr.sandbox.household import Household, household
from looparr.sandbox.progress import Silent
from looparr.testing import check_conditions
from parts import Kubectl

T = TypeVar("T")
CHART = Path(__file__).parents[1] / "charts" / "looparr"
KINDS = {"arr": "arrinstances.looparr.dev", "loop": "backgroundloops.looparr.dev"}
SELECTOR = "app.kubernetes.io/component=operator"


@dataclass(frozen=True, slots=True)
class Target:
    """Where pods run. host: address at which they reach this machine. image: Looparr's, which the nodes have.

    node: the sandbox's cluster, None where it is a cluster of the user's.
    """

    kubectl: Kubectl
    host: str
    image: str
    helm: Path
    node: Cluster | None

    def get(self, *arguments: str) -> dict[str, Any]:
        """One object or a list of objects, as kubectl gets it."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A new namespace under Pod Security `restricted`, gone afterwards with all that is in it."""
        name, label = f"looparr-e2e-{secrets.token_hex(3)}", "pod-security.kubernetes.io/enforce=restricted"
        self.kubectl("create", "namespace", name)
        self.kubectl("label", "namespace", name, label)
        try:
            yield name
        finally:
            self.kubectl.run("delete", "namespace", name, "--wait=false")
            with suppress(SandboxError):
                wait_until(lambda: self.is_gone("namespace", name), 60, f"namespace {name} does not go away", every=0.3)
        assert self.is_gone("namespace", name), self.leftovers(name)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Apply objects as a person would."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def is_gone(self, *what: str) -> bool:
        """Whether an object is not there."""
        return "NotFound" in self.kubectl.run("get", *what).stderr

    def leftovers(self, namespace: str) -> str:
        """What there is in a namespace, what happened there, and what its pods said."""
        kinds = f"all,pvc,jobs,events,{','.join(KINDS.values())}"
        said = [self.kubectl.run("get", kinds, "-n", namespace, "-o", "wide").stdout]
        said.append(self.kubectl.run("describe", "pods", "-n", namespace).stdout)
        said.append(self.kubectl.run("get", *KINDS.values(), "-n", namespace, "-o", "yaml").stdout)
        logs = ("logs", "-n", namespace, "-l", SELECTOR, "--tail=60")
        said += [self.kubectl.run(*logs).stdout, self.kubectl.run(*logs, "--previous").stdout]
        return "\n".join(said)


class Release:
    """Looparr as Helm installs it into one namespace; with the `with` it is uninstalled, if it still is there."""

    def __init__(self, target: Target, namespace: str, home: Path) -> None:
        self.target = target
        self.namespace = namespace
        self._env = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(target.kubectl.kubeconfig)}
        repository, _, tag = target.image.rpartition(":")
        self.values: dict[str, Any] = {"image": {"repository": repository, "tag": tag, "pullPolicy": "Never"}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            error.add_note(self.target.leftovers(self.namespace))
            with suppress(AssertionError):
                self.helm("uninstall", "looparr", "--ignore-not-found")

    def helm(self, *arguments: str, limit: float = 120) -> str:
        """Run Helm; AssertionError with its own words where it fails."""
        command = [str(self.target.helm), *arguments, "--namespace", self.namespace]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=limit, check=False)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def upgrade(self, values: Mapping[str, Any]) -> str:
        """Install or upgrade with these values, and wait until the operator is Ready."""
        self.values = {**self.values, **values}
        path = Path(self._env["HOME"]) / "values.yaml"
        path.write_text(yaml.safe_dump(self.values))
        flags = ("--install", "--wait", "--timeout", "90s", "--values", str(path))
        return self.helm("upgrade", "looparr", str(CHART), *flags)

    def uninstall(self) -> None:
        """Uninstall, and wait for what that deletes."""
        self.helm("uninstall", "looparr", "--wait", "--timeout", "90s")

    def pods(self) -> list[dict[str, Any]]:
        """The operator's pods, those that are going among them."""
        found: list[dict[str, Any]] = self.target.get("pods", "-n", self.namespace, "-l", SELECTOR)["items"]
        return found

    def pod(self) -> dict[str, Any]:
        """The operator's one pod, once it is Ready."""
        wait_until(lambda: [is_ready(pod) for pod in self.pods()] == [True], 60, "no pod is Ready", every=0.2)
        return self.pods()[0]

    def restarts(self) -> int:
        """How often the kubelet started the operator's container again in this pod."""
        return int(container(self.pod())["restartCount"])

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run something beside the operator, in its container."""
        pod = self.pod()["metadata"]["name"]
        return self.target.kubectl.run("exec", "-n", self.namespace, pod, "--", *command)


class Objects:
    """The objects of both kinds in one namespace, read again and again; each status keeps the table of conditions."""

    def __init__(self, target: Target, namespace: str) -> None:
        self.target = target
        self.namespace = namespace

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """An object's status; {} while it has none."""
        found: dict[str, Any] = self.target.get(KINDS[kind], name, "-n", self.namespace).get("status", {})
        if "conditions" in found:
            check_conditions(found)
        return found

    def until(
        self, kind: str, name: str, what: Callable[[dict[str, Any]], object], limit: float = 60
    ) -> dict[str, Any]:
        """Wait until the status says so, and give it."""
        seen: dict[str, Any] = {}

        def holds() -> object:
            seen.clear()
            seen.update(self.status(kind, name))
            return what(seen)

        try:
            wait_until(holds, limit, f"{name} never said so", every=0.3)
        except SandboxError as error:
            raise AssertionError(f"{name} after {limit} s: {json.dumps(seen, indent=1)}") from error
        return seen


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is Ready, and not on its way out."""
    conditions = pod["status"].get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def container(pod: Mapping[str, Any]) -> dict[str, Any]:
    """How the operator's container is."""
    found: dict[str, Any] = pod["status"]["containerStatuses"][0]
    return found


class Home:
    """A household in a thread with a loop of its own, so that a test may wait for kubectl."""

    def __init__(self, place: Household, loop: asyncio.AbstractEventLoop) -> None:
        self.place = place
        self._loop = loop

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Have the household do something, and give what came of it."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)


@contextmanager
def at_home(folder: Path, host: str) -> Iterator[Home]:
    """A household on an address that pods reach, its swarm fed, gone with the `with`."""
    started, done = threading.Event(), asyncio.Event()
    made: list[Home] = []
    failed: list[BaseException] = []

    async def live() -> None:
        async with household(folder, Silent(), host) as place:
            made.append(Home(place, asyncio.get_running_loop()))
            feeding = asyncio.create_task(place.feed(), name="swarm")
            started.set()
            await done.wait()
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding

    def thread() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)
        finally:
            started.set()

    living = threading.Thread(target=thread, name="household")
    living.start()
    started.wait()
    try:
        if made:
            yield made[0]
    finally:
        if made:
            made[0]._loop.call_soon_threadsafe(done.set)
        living.join()
    if failed:
        raise failed[0]
