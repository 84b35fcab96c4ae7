"""Looparr as its users run it: Helm, an image, a pod under `restricted`; whatever ends the pod, its loops go on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from e2e_kit import KINDS, Home, Objects, Release, Target, at_home, container
from looparr.api.meta import API_VERSION
from looparr.errors import SandboxError
from looparr.sandbox.files import wait_until
from looparr.sandbox.node.images import ctr

pytestmark = [pytest.mark.node, pytest.mark.real]
STRIKES = 100
"""More than a story has time for, and as many as the schema allows."""
MIB = 1 << 20
HOG = f"import time; held = b'x' * ({30 * MIB}); time.sleep(60)"
LOOPS = ("broken", "report", *(f"sweep-{number}" for number in range(8)))


@pytest.fixture(scope="module")
def home(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with at_home(tmp_path_factory.mktemp("home"), target.host) as place:
        yield place


@pytest.fixture
def contract(target: Target) -> Iterator[None]:
    """The cluster has no kinds of ours before, and none afterwards."""
    assert all(target.is_gone("crd", name) for name in KINDS.values()), "this cluster has Looparr already: use another"
    yield
    target.kubectl("delete", "crd", *KINDS.values(), "--ignore-not-found", "--timeout=60s")


def apply(target: Target, namespace: str, home: Home, *, strikes: int) -> None:
    place = home.place
    text = Template((Path(__file__).parent / "home.yaml").read_text()).substitute(
        radarr_key=place.radarr.api_key,
        radarr_url=place.radarr.url,
        qbittorrent_user=place.downloads.username,
        qbittorrent_password=place.downloads.password,
        qbittorrent_url=place.downloads.url,
        strikes=strikes,
    )
    objects: list[Any] = [*yaml.safe_load_all(text), *(loop(home, name) for name in LOOPS)]
    target.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump_all(objects))


def loop(home: Home, name: str) -> dict[str, Any]:
    path = name.partition("-")[0]
    return {
        "apiVersion": API_VERSION,
        "kind": "BackgroundLoop",
        "metadata": {"name": name},
        "spec": {
            "type": "HTTP",
            "interval": "1h" if name == "report" else "2s",
            "backoff": {"initialDelay": "1s", "maxDelay": "1h"},
            "http": {"endpoint": {"url": f"{home.place.work_url}/{path}"}},
        },
    }


@dataclass(frozen=True)
class Standing:
    """Everything that may only grow, whatever happens to the pod."""

    runs: int
    imported: int
    strikes: int
    swept: int
    errors: int
    delay: int

    @classmethod
    def of(cls, objects: Objects) -> Standing:
        arr, sweep, broken = (
            objects.status(*key) for key in (("arr", "radarr"), ("loop", "sweep-0"), ("loop", "broken"))
        )
        struck = [one.get("strikes", 0) for one in arr.get("attention", ())]
        return cls(
            arr.get("runCount", 0),
            arr.get("totals", {}).get("imported", 0),
            max(struck, default=0),
            sweep.get("http", {}).get("memo", {}).get("done", 0),
            broken.get("consecutiveErrors", 0),
            broken.get("backoff", {}).get("delaySeconds", 0),
        )

    def goes_on(self, before: Standing) -> bool:
        """Nothing was lost, and both the loop and the strikes have moved since."""
        kept = all(getattr(self, name) >= getattr(before, name) for name in self.__dataclass_fields__)
        return kept and self.runs > before.runs and self.strikes > before.strikes and self.swept > before.swept


def wait_for_more(objects: Objects, before: Standing) -> None:
    """Wait until everything has moved; what was lost shows in every look on the way, and is no matter of time."""

    def moved() -> bool:
        now = Standing.of(objects)
        assert now.runs >= before.runs, f"runs were forgotten: {before} {now}"
        assert now.errors >= before.errors, f"errors in a row were forgotten: {before} {now}"
        assert now.delay >= before.delay, f"the backoff was forgotten: {before} {now}"
        assert now.swept >= before.swept, f"the memo was forgotten: {before} {now}"
        assert now.strikes >= before.strikes, f"strikes were forgotten: {before} {now}"
        return now.goes_on(before)

    try:
        wait_until(moved, 60, "not everything went on", every=0.5)
    except SandboxError as error:
        raise AssertionError(f"not everything went on: {before} {Standing.of(objects)}") from error


def set_the_scene(home: Home, number: int) -> str:
    """Have Radarr grab a release that a peer has and one that nobody has; gives the hash of the second."""
    place, world = home.place, home.place.radarr.world
    good = place.offer(f"The.Good.{number}.2024.1080p", 2 * MIB, seeded=True)
    lost = place.offer(f"The.Lost.{number}.2023.1080p", 2 * MIB, seeded=False)
    for title, year, torrent in ((f"The Good {number}", 2024, good), (f"The Lost {number}", 2023, lost)):
        film = world.add_movie(title, year)
        home.run(world.grab(film, release=world.offer(film, torrent.content)))
    return lost.infohash


@pytest.mark.parametrize("number", [1, 2])
def test_a_release_lives_through_every_end_of_its_pod(
    target: Target, home: Home, contract: None, tmp_path: Path, number: int
) -> None:
    with target.namespace() as namespace, Release(target, namespace, tmp_path) as release:
        objects = Objects(target, namespace)
        release.upgrade({})
        apply(target, namespace, home, strikes=STRIKES)
        objects.until("arr", "radarr", lambda status: status.get("successCount"))
        set_the_scene(home, number)
        objects.until("arr", "radarr", lambda status: status.get("totals", {}).get("imported"))
        objects.until("arr", "radarr", lambda status: any(one.get("strikes") for one in status.get("attention", ())))
        for name in LOOPS[1:]:
            objects.until("loop", name, lambda status: status.get("successCount"))
        objects.until("loop", "broken", lambda status: status.get("consecutiveErrors", 0) >= 2)

        before = Standing.of(objects)
        kill(target, release)
        wait_for_more(objects, before)

        before = Standing.of(objects)
        run_out_of_memory(release)
        wait_for_more(objects, before)

        before = Standing.of(objects)
        evict(target, release)
        wait_for_more(objects, before)

        before = Standing.of(objects)
        release.upgrade({"logLevel": "debug"})
        wait_for_more(objects, before)
        environment = release.pod()["spec"]["containers"][0]["env"]
        assert {"name": "LOOPARR_LOG_LEVEL", "value": "debug"} in environment
        assert "Phase:          Succeeded" in release.helm("test", "looparr", "--timeout", "90s")

        release.uninstall()
        found = target.get(*[",".join(KINDS.values())], "-n", namespace)["items"]
        assert len(found) == 11
        assert not any(one["metadata"].get("finalizers") for one in found)


def kill(target: Target, release: Release) -> None:
    """End the pod as a failing machine would: its process on the sandbox's node, the pod by force elsewhere."""
    pod = release.pod()
    if target.node is None:
        name = pod["metadata"]["name"]
        target.kubectl("delete", "pod", "-n", release.namespace, name, "--grace-period=0", "--force")
        wait_until(lambda: [one["metadata"]["name"] for one in release.pods()] != [name], 30, "the pod stays")
        return
    identity = container(pod)["containerID"].rpartition("/")[2]
    subprocess.run([*ctr(target.node.folder), "tasks", "kill", "--signal", "SIGKILL", identity], check=True)
    wait_until(lambda: ended(release) == 137, 30, "the kubelet does not notice")


def ended(release: Release) -> int | None:
    """The exit code with which the container's predecessor ended; None where there was none."""
    code: int | None = container(release.pod()).get("lastState", {}).get("terminated", {}).get("exitCode")
    return code


def run_out_of_memory(release: Release) -> None:
    """Fill the container's memory by small processes, so that the kernel chooses the operator as the largest."""
    before = release.restarts()
    hogs = " ".join(['python3 -c "$0" &'] * 12)
    release.exec("sh", "-c", f"{hogs} wait", HOG)
    wait_until(lambda: release.restarts() > before, 60, "the operator was not killed", every=0.3)
    assert container(release.pod())["lastState"]["terminated"]["reason"] == "OOMKilled"


def evict(target: Target, release: Release) -> None:
    """Evict the pod, as `kubectl drain` does."""
    name = release.pod()["metadata"]["name"]
    path = f"/api/v1/namespaces/{release.namespace}/pods/{name}/eviction"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    target.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    wait_until(lambda: name not in {one["metadata"]["name"] for one in release.pods()}, 60, "the pod stays", every=0.3)
    assert release.restarts() == 0, "the successor did not wait until the store was free"


def test_without_a_volume_each_instance_says_that_strikes_do_not_last(
    target: Target, home: Home, contract: None, tmp_path: Path
) -> None:
    with target.namespace() as namespace, Release(target, namespace, tmp_path) as release:
        objects = Objects(target, namespace)
        release.upgrade({"store": {"persistence": {"enabled": False}}})
        apply(target, namespace, home, strikes=STRIKES)
        objects.until(
            "arr", "radarr", lambda status: "NotDurable" in {one["type"] for one in status.get("conditions", ())}
        )
        assert target.get("pvc", "-n", namespace)["items"] == []
        release.uninstall()


def test_an_uninstall_that_takes_the_definitions_along_takes_all_objects_along(
    target: Target, home: Home, contract: None, tmp_path: Path
) -> None:
    with target.namespace() as namespace, Release(target, namespace, tmp_path) as release:
        objects = Objects(target, namespace)
        release.upgrade({"crds": {"keep": False}, "watchNamespaces": [namespace]})
        apply(target, namespace, home, strikes=STRIKES)
        objects.until("loop", "sweep-0", lambda status: status.get("successCount"))
        release.uninstall()
        for name in KINDS.values():
            wait_until(lambda name=name: target.is_gone("crd", name), 30, f"{name} stays", every=0.3)


def test_jobs_logs_exec_tokens_and_services_work_between_pods(target: Target) -> None:
    with target.namespace() as namespace:
        serve = "python3 -m http.server --directory /proc/self 8000"
        server = pod_template(target, "serve", "sh", "-c", serve)
        labels = {"app": "serve"}
        target.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "serve", "namespace": namespace},
                "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, **server}},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "serve", "namespace": namespace},
                "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
            },
        )
        kubectl, at = target.kubectl, ("-n", namespace)
        kubectl("wait", *at, "--for=condition=Available", "deployment/serve", "--timeout=25s")
        job = pod_template(target, "ask", "python3", "-c", ASK, restart="Never")
        target.apply(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {"name": "ask", "namespace": namespace},
                "spec": {"backoffLimit": 0, "template": job},
            }
        )
        wait_until(lambda: target.get("job", "ask", *at)["status"].get("conditions"), 60, "the Job does not end")
        said = json.loads(kubectl("logs", *at, "job/ask"))
        assert said == {"service": 200, "user": f"system:serviceaccount:{namespace}:default"}
        assert kubectl("exec", *at, "deployment/serve", "--", "id", "-u").strip() == "65532"
        written = kubectl.run("exec", *at, "deployment/serve", "--", "touch", "/opt/looparr/new")
        assert "Read-only file system" in written.stderr


# What a Job prints: how a Service of another pod answered, and who the API server says that its token is.
ASK = """
import json, os, ssl, time, urllib.request
def get(url, body=None, headers={}, context=None):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10, context=context) as reply:
        return reply.status, reply.read()
account = "/var/run/secrets/kubernetes.io/serviceaccount/"
token = open(account + "token").read()
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
url = "https://" + os.environ["KUBERNETES_SERVICE_HOST"] + "/apis/authentication.k8s.io/v1/selfsubjectreviews"
context = ssl.create_default_context(cafile=account + "ca.crt")
said = json.loads(get(url, json.dumps(review).encode(), headers, context)[1])
served, end = None, time.monotonic() + 20
while served is None:  # a Service leads to a pod as soon as it runs, not when it listens
    try:
        served = get("http://" + os.environ["SERVE_SERVICE_HOST"] + "/status")[0]
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
print(json.dumps({"service": served, "user": said["status"]["userInfo"]["username"]}))
"""


def pod_template(target: Target, name: str, *command: str, restart: str = "Always") -> dict[str, Any]:
    """A pod that satisfies `restricted`, with Looparr's image and a command of the test's."""
    context = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    one = {
        "name": name,
        "image": target.image,
        "imagePullPolicy": "Never",
        "command": list(command),
        "securityContext": context,
    }
    everywhere = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"restartPolicy": restart, "terminationGracePeriodSeconds": 1, "securityContext": everywhere}
    return {"spec": {**spec, "containers": [one]}}


DOCKER = """#!/bin/sh
printf "docker %s\\n" "$*" >> {calls}
case "$1" in network) echo; echo fc00::1; echo {host};; esac
"""
KIND = """#!/bin/sh
printf "kind %s\\n" "$*" >> {calls}
case "$*" in --version) echo kind version 0.33.0;; "create cluster"*) cp {kubeconfig} "$6";; esac
"""
LOOPARR = """#!/bin/sh
printf "looparr %s\\n" "$*" >> {calls}
case "$2" in binaries) echo kind v0.33.0 here {programs}/kind;; esac
"""


def test_the_script_for_kind_makes_a_cluster_runs_the_stories_there_and_removes_it(
    target: Target, contract: None, tmp_path: Path
) -> None:
    """Docker and kind are stood in for, by scripts that lead to the sandbox's node; everything else is real."""
    if target.node is None:
        pytest.skip("it runs on the sandbox's node")
    programs, calls, folder = tmp_path / "programs", tmp_path / "calls", tmp_path / "temporary"
    for made in (programs, folder):
        made.mkdir()
    at = {"calls": calls, "host": target.host, "kubeconfig": target.node.kubeconfig, "programs": programs}
    for name, text in (("docker", DOCKER), ("kind", KIND), ("looparr", LOOPARR)):
        (programs / name).write_text(text.format_map(at))
        (programs / name).chmod(0o755)
    (programs / "pytest").symlink_to(Path(sys.executable).parent / "pytest")
    subprocess.run(
        [*ctr(target.node.folder), "images", "tag", target.image, "docker.io/library/looparr:e2e"], check=True
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "E2E"))}
    env = {**kept, "PATH": f"{programs}:{os.environ['PATH']}", "BIN": str(programs), "TMPDIR": str(folder)}
    command = [str(Path(__file__).parent / "kind.sh"), "-k", "without_a_volume"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    called = re.sub(r"looparr-e2e-\d+", "NAME", calls.read_text())
    assert re.sub(rf"{folder}/tmp\.\w+", "FOLDER", called).splitlines() == [
        "docker info",
        "looparr sandbox binaries kind --install",
        "looparr sandbox image --tag looparr:e2e --output FOLDER/image.tar",
        "kind create cluster --name NAME --kubeconfig FOLDER/kubeconfig --wait 180s",
        "kind load image-archive FOLDER/image.tar --name NAME",
        "docker network inspect kind --format {{range .IPAM.Config}}{{println .Gateway}}{{end}}",
        "kind delete cluster --name NAME --kubeconfig FOLDER/kubeconfig",
    ]
    assert not list(folder.glob("tmp.*"))
