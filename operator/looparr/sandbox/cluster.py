"""A throw-away cluster as its users see it: started at a level, read, asked, hurt on purpose, and stopped.

Level `controlplane` is an API server without nodes on loopback, up in about 3 seconds, for anybody. Level `node` adds a
kubelet and real pods, in namespaces of their own, for root on Linux.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import msgspec

from looparr.errors import SandboxError
from looparr.sandbox import binaries, controlplane, files, pki, processes
from looparr.sandbox.controlplane import API, DATA, KEYS, KUBECONFIG, PLUGINS, READY_WITHIN, Keys, Place
from looparr.sandbox.node import node, system
from looparr.sandbox.processes import Plan, Process
from looparr.sandbox.progress import Progress, Silent

_LOOPBACK, _TOKENS = "127.0.0.1", "serviceaccounts"
_SLACK, _JOIN_LIMIT = 10.0, 10 * READY_WITHIN


class ApiError(SandboxError):
    """The API server refused a request; `status` is the HTTP status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs, or ran, in a folder.

    server: https URL. kubeconfig: the admin's. ca: PEM. kubectl: the program that fits. level: of binaries.LEVELS.
    host: the address at which its pods reach this machine. number: of the node's block of addresses.
    """

    folder: Path
    server: str
    kubeconfig: Path
    ca: Path
    kubectl: Path
    level: str = "controlplane"
    host: str = _LOOPBACK
    number: int | None = None

    @property
    def pids(self) -> Mapping[str, int]:
        """Program -> pid at present, `supervisor` among them; a restart changes them."""
        state = processes.read_state(self.folder)
        return {**state.pids, "supervisor": state.supervisor} if state else {}

    def request(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """Send one request as the admin and give the decoded reply (text where it is none of JSON's).

        ApiError where the API server refuses, OSError where it does not answer.
        """
        context = ssl.create_default_context(cafile=self.ca)
        admin = self.folder / KEYS
        context.load_cert_chain(admin / "admin.crt", admin / "admin.key")
        address = urllib.parse.urlsplit(self.server)
        connection = HTTPSConnection(address.hostname or _LOOPBACK, address.port, timeout=30, context=context)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": content_type, "Accept": "application/json"})
            reply = connection.getresponse()
            text = reply.read().decode()
        finally:
            connection.close()
        if reply.status >= HTTPStatus.BAD_REQUEST:
            raise ApiError(reply.status, f"{method} {path} answered {reply.status}: {_message(text)}")
        return json.loads(text) if text.startswith(("{", "[")) else text

    def ensure(self, path: str, body: Any) -> None:
        """Create an object; one of that name that is there already stays as it is. Raises as `request` does."""
        try:
            self.request("POST", path, body)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise

    def is_ready(self) -> bool:
        """Say whether the API server answers `ok` on /readyz now."""
        try:
            return bool(self.request("GET", "/readyz") == "ok")
        except (OSError, SandboxError):
            return False

    def wait_ready(self, limit: float = 30.0) -> None:
        """Wait until /readyz says ok, for example after a restart."""
        files.wait_until(self.is_ready, limit, f"The API server at {self.server} is not ready")

    def serviceaccount_token(self, namespace: str, name: str, *, seconds: int = 3600) -> str:
        """Have the API server issue a token for a ServiceAccount, as a pod would get it."""
        spec = {"expirationSeconds": seconds}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.request("POST", path, body)["status"]["token"])

    def serviceaccount_kubeconfig(self, namespace: str, name: str, *, into: Path | None = None) -> Path:
        """Write a kubeconfig that acts as a ServiceAccount (which has to exist); by default into the folder."""
        path = into or self.folder / _TOKENS / f"{namespace}.{name}.kubeconfig"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        user = {"token": self.serviceaccount_token(namespace, name)}
        return pki.write_kubeconfig(path, server=self.server, ca=self.ca, user=user, namespace=namespace)

    def signal_apiserver(self, number: int) -> None:
        """Send the API server a signal: SIGSTOP freezes it, SIGCONT lets it go on, SIGKILL makes it start again."""
        os.kill(self.pids[API], number)

    @contextmanager
    def apiserver_down(self) -> Iterator[None]:
        """Have no API server inside the `with`; it is back on the same port, and ready, after it."""
        hold = self.folder / f"hold-{API}"
        before = processes.identity(self.pids[API])
        hold.touch()
        try:
            self.signal_apiserver(signal.SIGKILL)
            files.wait_until(lambda: before is None or processes.identity(before.pid) != before, 10, "It does not die")
            yield
        finally:
            hold.unlink(missing_ok=True)
        self.wait_ready()


def start(
    folder: Path,
    *,
    level: str = "controlplane",
    bind_to_parent: bool = False,
    parent: int | None = None,
    progress: Progress | None = None,
    env: Mapping[str, str] | None = None,
) -> Cluster:
    """Bring a cluster up in the folder and give it once it is ready; one that is up already is given as it is.

    bind_to_parent: it ends when this process does (or process `parent`, where given); otherwise it stays until `stop`.
    env: where to look for programs (PATH, HOME and the variables of the ladder); this process's own by default.
    SandboxError where a program cannot be had, the folder is somebody else's, or something does not come up.
    """
    binaries.require_level(level)
    progress, env = progress or Silent(), os.environ if env is None else env
    folder = folder.expanduser().absolute()
    paths = programs(level, env=env, progress=progress)
    descriptor = files.lock_folder(folder)
    if descriptor is None:
        progress.note(f"A sandbox is up in {folder} already")
        return _joined(folder, level)
    try:
        owner = _owner(parent or os.getpid()) if bind_to_parent or parent else None
        plan, claims = _drafted(folder, level, paths)
        plan = msgspec.structs.replace(plan, bound_to=owner, remove=_made())
    except BaseException:
        os.close(descriptor)
        raise
    with progress.working(f"Starting {', '.join(program.name for program in plan.programs)}"):
        return _launched(folder, plan, descriptor, *claims)


def _drafted(folder: Path, level: str, paths: Mapping[str, Path]) -> tuple[Plan, tuple[int, ...]]:
    """Clean the locked folder, write all that a level needs into it; gives the plan and the claims that go with it."""
    ports = _clean(folder)
    return node.plan(folder, paths) if level == "node" else (_plan(folder, paths, ports), ())


def _launched(folder: Path, plan: Plan, *held: int) -> Cluster:
    """Start the plan; of one that fails only the logs stay."""
    limit = sum(program.ready_within for program in plan.programs) + _SLACK
    try:
        return _settled(_from_state(folder, processes.launch(folder, plan, *held, limit=limit)))
    except BaseException as error:
        processes.shut_down(folder)
        if not isinstance(error, SandboxError):
            stop(folder)  # nobody wants to read its logs
        raise


def programs(level: str, *, env: Mapping[str, str], progress: Progress) -> dict[str, Path]:
    """Find every program of a level: name -> path; SandboxError with the cure for the first that cannot be had."""
    found = system.find(env) if level == "node" else []
    found += binaries.resolve(binaries.LEVELS[level], env=env, progress=progress).values()
    return {one.name: one.path for one in found}


def _settled(cluster: Cluster) -> Cluster:
    """Give the cluster once a pod could run on it."""
    if cluster.level == "node":
        node.settle(cluster)
    return cluster


def _joined(folder: Path, level: str) -> Cluster:
    """Give the cluster that somebody else starts, or has started, in the folder."""
    cluster = _from_state(folder, processes.await_ready(folder, limit=_JOIN_LIMIT))
    if cluster.level != level:
        raise SandboxError(
            f"The sandbox in {folder} is of level {cluster.level}: end it with `looparr sandbox down`, or name another "
            "--dir."
        )
    return _settled(cluster)


def _owner(pid: int) -> Process:
    owner = processes.identity(pid)
    if owner is None:
        raise SandboxError(f"Process {pid}, which the sandbox should end with, has ended already.")
    return owner


def read(folder: Path) -> Cluster:
    """Give the cluster that is up in the folder; SandboxError where none is."""
    folder = folder.expanduser().absolute()
    state = processes.read_state(folder)
    if state is None or not files.is_locked(folder):
        raise SandboxError(f"No sandbox is up in {folder}: start one with `looparr sandbox up`.")
    return _from_state(folder, state)


def stop(folder: Path) -> bool:
    """Stop everything that runs in the folder and remove what was made; False where nothing ran.

    What a killed supervisor could not remove is removed here too; other people's files stay.
    """
    folder = folder.expanduser().absolute()
    ran = processes.shut_down(folder)
    if folder.exists() and (descriptor := files.lock_folder(folder)) is not None:
        _clean(folder)
        os.close(descriptor)
        if not any(folder.iterdir()):
            folder.rmdir()
    return ran


def _clean(folder: Path) -> tuple[int, ...]:
    """Remove what an earlier sandbox left in a folder that is locked by us; gives the ports that it had."""
    state = processes.read_state(folder)
    if state is None and (foreign := sorted(path.name for path in folder.iterdir())):
        some = ", ".join(foreign[:3])
        raise SandboxError(f"{folder} is not a sandbox's folder (it holds {some}): name an empty one with --dir.")
    processes.remove(folder, _made())
    return tuple(state.facts.get("ports", ())) if state else ()


def _made() -> tuple[str, ...]:
    own = (processes.PLAN, processes.STATE, processes.LOGS, f"hold-{API}", _TOKENS)
    return (KEYS, DATA, KUBECONFIG, PLUGINS, *node.MADE, *own)


def _from_state(folder: Path, state: processes.State) -> Cluster:
    facts = state.facts
    ca, kubectl = folder / KEYS / "ca.crt", Path(facts["kubectl"])
    return Cluster(
        folder,
        facts["server"],
        folder / KUBECONFIG,
        ca,
        kubectl,
        level=facts["level"],
        host=facts["host"],
        number=facts.get("network"),
    )


def _plan(folder: Path, paths: Mapping[str, Path], wanted: tuple[int, ...]) -> Plan:
    ports = files.free_ports(4, wanted=wanted)
    processes.claim(folder, {"ports": ports})
    client, peer, api, controllers = ports
    place = Place(_LOOPBACK, client, peer, api, controllers)
    facts = {"level": "controlplane", "server": place.server, "host": _LOOPBACK, "ports": ports}
    facts |= {"kubectl": str(paths["kubectl"])}
    return Plan(controlplane.programs(folder, paths, place, Keys.make(folder, place)), facts)


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text[:300]))
    except (json.JSONDecodeError, AttributeError):
        return text[:300]
