"""A real Kubernetes API server without nodes: etcd, kube-apiserver and kube-controller-manager, in about 3 seconds.

Everything listens on loopback, everybody authenticates by certificate or ServiceAccount token, RBAC decides. Objects
live as long as the sandbox.
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
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from looparr.errors import SandboxError
from looparr.sandbox import binaries, files, pki, processes
from looparr.sandbox.processes import Plan, Probe, Program
from looparr.sandbox.progress import Progress, Silent

LEVELS = ("controlplane",)
_LOOPBACK = "127.0.0.1"
_PKI, _DATA, _KUBECONFIG, _TOKENS = "pki", "etcd", "kubeconfig", "serviceaccounts"
_API, _CONTROLLERS = "kube-apiserver", "kube-controller-manager"
_READY_WITHIN = 60.0
_CLIENT_ERROR = 400


class ApiError(SandboxError):
    """The API server refused a request; `status` is the HTTP status code."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that runs, or ran, in a folder.

    server: https URL. kubeconfig: the admin's. ca: PEM. kubectl: path of the program that fits.
    """

    folder: Path
    server: str
    kubeconfig: Path
    ca: Path
    kubectl: Path

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
        admin = self.folder / _PKI
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
        if reply.status >= _CLIENT_ERROR:
            raise ApiError(reply.status, f"{method} {path} answered {reply.status}: {_message(text)}")
        return json.loads(text) if text.startswith(("{", "[")) else text

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
        os.kill(self.pids[_API], number)

    @contextmanager
    def apiserver_down(self) -> Iterator[None]:
        """Have no API server inside the `with`; it is back on the same port, and ready, after it."""
        hold = self.folder / f"hold-{_API}"
        before = processes.identity(self.pids[_API])
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
) -> ControlPlane:
    """Bring a control plane up in the folder and give it once it is ready; one that is up already is given as it is.

    bind_to_parent: it ends when this process does (or process `parent`, where given); otherwise it stays until `stop`.
    env: where to look for programs (PATH, HOME and the variables of the ladder); this process's own by default.
    SandboxError where a program cannot be had, the folder is somebody else's, or something does not come up.
    """
    if level not in LEVELS:
        raise SandboxError(f"There is no sandbox level {level!r}: choose {' or '.join(LEVELS)}.")
    progress = progress or Silent()
    folder = folder.expanduser().absolute()
    programs = binaries.resolve(binaries.CONTROLPLANE, env=os.environ if env is None else env, progress=progress)
    descriptor = files.lock_folder(folder)
    if descriptor is None:
        progress.note(f"A sandbox is up in {folder} already")
        return _from_state(folder, processes.await_ready(folder, limit=_READY_WITHIN * 2))
    try:
        ports = _clean(folder)
        owner = _owner(parent or os.getpid()) if bind_to_parent or parent else None
        plan = _plan(folder, {name: found.path for name, found in programs.items()}, ports, owner)
    except BaseException:
        os.close(descriptor)
        raise
    try:
        with progress.working("Starting etcd, kube-apiserver and kube-controller-manager"):
            return _from_state(folder, processes.launch(folder, plan, descriptor, limit=_READY_WITHIN * 2))
    except KeyboardInterrupt:
        stop(folder)
        raise


def _owner(pid: int) -> processes.Process:
    owner = processes.identity(pid)
    if owner is None:
        raise SandboxError(f"Process {pid}, which the sandbox should end with, has ended already.")
    return owner


def read(folder: Path) -> ControlPlane:
    """Give the control plane that is up in the folder; SandboxError where none is."""
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
    return (_PKI, _DATA, _KUBECONFIG, _TOKENS, processes.PLAN, processes.STATE, processes.LOGS, f"hold-{_API}")


def _from_state(folder: Path, state: processes.State) -> ControlPlane:
    facts = state.facts
    return ControlPlane(folder, facts["server"], folder / _KUBECONFIG, folder / _PKI / "ca.crt", Path(facts["kubectl"]))


def _plan(folder: Path, paths: Mapping[str, Path], wanted: tuple[int, ...], owner: processes.Process | None) -> Plan:
    ports = files.free_ports(4, wanted=wanted)
    processes.claim(folder, {"ports": ports})
    client, peer, api, controllers = ports
    server = f"https://{_LOOPBACK}:{api}"
    authority = pki.Authority(folder / _PKI)
    serving = authority.server("server", (_LOOPBACK, "::1", "10.96.0.1"))
    admin, manager = authority.client("admin", "system:masters"), authority.client(f"system:{_CONTROLLERS}")
    etcd_client = authority.client("etcd-client")
    accounts = authority.service_account_key()
    pki.write_kubeconfig(folder / _KUBECONFIG, server=server, ca=authority.ca, user=admin.embedded())
    manager_config = authority.folder / f"{_CONTROLLERS}.kubeconfig"
    pki.write_kubeconfig(manager_config, server=server, ca=authority.ca, user=manager.embedded())
    environment = {"PATH": os.defpath, "HOME": str(folder)}  # ETCD_* and proxies of the user do not count
    probe = {"ca": str(authority.ca), "certificate": str(admin.certificate), "key": str(admin.key)}
    programs = (
        Program("etcd", (str(paths["etcd"]), *_etcd(folder, client, peer, serving, authority.ca)), environment),
        Program(
            _API,
            (str(paths[_API]), *_apiserver(api, client, serving, etcd_client, authority.ca, accounts)),
            environment,
            probe=Probe(f"{server}/readyz", **probe),
            ready_within=_READY_WITHIN,
        ),
        Program(
            _CONTROLLERS,
            (str(paths[_CONTROLLERS]), *_controllers(controllers, manager_config, serving, authority.ca, accounts)),
            environment,
            probe=Probe(f"https://{_LOOPBACK}:{controllers}/healthz", ca=str(authority.ca)),
            ready_within=_READY_WITHIN,
        ),
    )
    facts = {
        "server": server,
        "ports": ports,
        "kubectl": str(paths["kubectl"]),
        "kubeconfig": str(folder / _KUBECONFIG),
    }
    return Plan(programs, facts, remove=_made(), bound_to=owner)


def _etcd(folder: Path, client: int, peer: int, serving: pki.Certificate, ca: Path) -> list[str]:
    """Etcd that only certificates of our CA may talk to; it does not fsync: what it holds dies with the sandbox."""
    at, peers = f"https://{_LOOPBACK}:{client}", f"https://{_LOOPBACK}:{peer}"
    flags = [f"--data-dir={folder / _DATA}", "--unsafe-no-fsync", "--log-level=warn", "--name=sandbox"]
    flags += [
        f"--listen-client-urls={at}",
        f"--advertise-client-urls={at}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
    ]
    flags += [
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=sandbox={peers}",
    ]
    for side in ("", "peer-"):
        flags += [
            f"--{side}cert-file={serving.certificate}",
            f"--{side}key-file={serving.key}",
            f"--{side}trusted-ca-file={ca}",
        ]
    return flags


def _apiserver(
    port: int, etcd: int, serving: pki.Certificate, etcd_client: pki.Certificate, ca: Path, accounts: Path
) -> list[str]:
    flags = [f"--etcd-servers=https://{_LOOPBACK}:{etcd}", f"--etcd-cafile={ca}"]
    flags += [f"--etcd-certfile={etcd_client.certificate}", f"--etcd-keyfile={etcd_client.key}"]
    flags += [f"--bind-address={_LOOPBACK}", f"--secure-port={port}", f"--advertise-address={_LOOPBACK}"]
    flags += [
        "--endpoint-reconciler-type=none"
    ]  # a loopback address may not be an endpoint of the `kubernetes` Service
    flags += [
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={ca}",
    ]
    flags += [f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}"]
    flags += ["--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"]
    return [*flags, "--service-cluster-ip-range=10.96.0.0/24", "--profiling=false"]


def _controllers(port: int, kubeconfig: Path, serving: pki.Certificate, ca: Path, accounts: Path) -> list[str]:
    flags = [f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")]
    flags += [
        f"--service-account-private-key-file={accounts}",
        f"--root-ca-file={ca}",
        "--use-service-account-credentials",
    ]
    flags += [f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"]
    flags += [f"--bind-address={_LOOPBACK}", f"--secure-port={port}", "--leader-elect=false", "--profiling=false"]
    return [*flags, "--kube-api-qps=200", "--kube-api-burst=400"]  # namespaces of tests go away quickly


def _message(text: str) -> str:
    try:
        return str(json.loads(text).get("message", text[:300]))
    except (json.JSONDecodeError, AttributeError):
        return text[:300]
