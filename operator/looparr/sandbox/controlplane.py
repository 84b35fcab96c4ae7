"""The control plane's programs and their flags: etcd, kube-apiserver and kube-controller-manager.

Everybody authenticates by certificate or ServiceAccount token, RBAC decides. Objects live as long as the sandbox.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from looparr.sandbox import pki
from looparr.sandbox.processes import Probe, Program

API, CONTROLLERS = "kube-apiserver", "kube-controller-manager"
DATA, KEYS, KUBECONFIG, PLUGINS = "etcd", "pki", "kubeconfig", "volume-plugins"
READY_WITHIN = 60.0
_SERVICES = IPv4Network("10.96.0.0/24")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster's programs listen, all on one address.

    client, peer: etcd's ports. services: addresses of Services. nodes: kubelets join, so the API server has to be able
    to call them, and pods the API server.
    """

    address: str
    client: int
    peer: int
    api: int
    controllers: int
    services: IPv4Network = _SERVICES
    nodes: bool = False

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.api}"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a cluster's certificates are made from. serving: of every server. admin: of who may do anything."""

    authority: pki.Authority
    serving: pki.Certificate
    admin: pki.Certificate
    server: str

    @classmethod
    def make(cls, folder: Path, place: Place) -> Keys:
        """Make the CA, the certificate that all servers of this place share, and the admin's, with its kubeconfig."""
        authority = pki.Authority(folder / KEYS)
        serving = authority.server("server", sorted({place.address, "127.0.0.1", "::1", str(place.services[1])}))
        keys = cls(authority, serving, authority.client("admin", "system:masters"), place.server)
        pki.write_kubeconfig(folder / KUBECONFIG, server=place.server, ca=authority.ca, user=keys.admin.embedded())
        return keys

    def kubeconfig(self, name: str, *groups: str) -> Path:
        """Write the kubeconfig of one of Kubernetes' own users, like system:kube-scheduler."""
        user = self.authority.client(name, *groups).embedded()
        path = self.authority.folder / f"{name.rpartition(':')[2]}.kubeconfig"
        return pki.write_kubeconfig(path, server=self.server, ca=self.authority.ca, user=user)

    def probe(self, url: str) -> Probe:
        """Give a probe that asks as the admin."""
        return Probe(url, ca=str(self.authority.ca), certificate=str(self.admin.certificate), key=str(self.admin.key))


def programs(folder: Path, paths: Mapping[str, Path], place: Place, keys: Keys) -> tuple[Program, ...]:
    """Give the three programs in the order in which they start. paths: name -> where the program is."""
    environment = {"PATH": os.defpath, "HOME": str(folder)}  # ETCD_* and proxies of the user do not count
    accounts = keys.authority.service_account_key()
    return (
        Program("etcd", (str(paths["etcd"]), *_etcd(folder, place, keys)), environment),
        Program(
            API,
            (str(paths[API]), *_apiserver(place, keys, accounts)),
            environment,
            probe=keys.probe(f"{place.server}/readyz"),
            ready_within=READY_WITHIN,
        ),
        Program(
            CONTROLLERS,
            (str(paths[CONTROLLERS]), *_controllers(folder, place, keys, accounts)),
            environment,
            probe=keys.probe(f"https://{place.address}:{place.controllers}/healthz"),
            ready_within=READY_WITHIN,
        ),
    )


def component(keys: Keys, address: str, port: int, kubeconfig: Path) -> list[str]:
    """Give the flags that the controller manager and the scheduler share."""
    flags = [f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")]
    flags += [f"--tls-cert-file={keys.serving.certificate}", f"--tls-private-key-file={keys.serving.key}"]
    return [*flags, f"--bind-address={address}", f"--secure-port={port}", "--leader-elect=false", "--profiling=false"]


def _etcd(folder: Path, place: Place, keys: Keys) -> list[str]:
    """Etcd that only certificates of our CA may talk to; it does not fsync: what it holds dies with the sandbox."""
    at, peers = f"https://{place.address}:{place.client}", f"https://{place.address}:{place.peer}"
    flags = [f"--data-dir={folder / DATA}", "--unsafe-no-fsync", "--log-level=warn", "--name=sandbox"]
    flags += [f"--listen-client-urls={at}", f"--advertise-client-urls={at}"]
    flags += ["--client-cert-auth", "--peer-client-cert-auth"]
    flags += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
    flags += [f"--initial-cluster=sandbox={peers}"]
    for side in ("", "peer-"):
        flags += [
            f"--{side}cert-file={keys.serving.certificate}",
            f"--{side}key-file={keys.serving.key}",
            f"--{side}trusted-ca-file={keys.authority.ca}",
        ]
    return flags


def _apiserver(place: Place, keys: Keys, accounts: Path) -> list[str]:
    ca, client = keys.authority.ca, keys.authority.client("etcd-client")
    flags = [f"--etcd-servers=https://{place.address}:{place.client}", f"--etcd-cafile={ca}"]
    flags += [f"--etcd-certfile={client.certificate}", f"--etcd-keyfile={client.key}"]
    flags += [f"--bind-address={place.address}", f"--secure-port={place.api}", f"--advertise-address={place.address}"]
    flags += [f"--tls-cert-file={keys.serving.certificate}", f"--tls-private-key-file={keys.serving.key}"]
    flags += [f"--client-ca-file={ca}", f"--service-account-key-file={accounts}"]
    flags += [f"--service-account-signing-key-file={accounts}"]
    flags += ["--service-account-issuer=https://kubernetes.default.svc"]
    flags += [f"--service-cluster-ip-range={place.services}", "--profiling=false"]
    if not place.nodes:  # a loopback address may not be an endpoint of the `kubernetes` Service
        return [*flags, "--endpoint-reconciler-type=none", "--authorization-mode=RBAC"]
    to_kubelets = keys.authority.client("apiserver-kubelet-client", "system:masters")
    flags += [f"--kubelet-client-certificate={to_kubelets.certificate}", f"--kubelet-client-key={to_kubelets.key}"]
    flags += [f"--kubelet-certificate-authority={ca}", "--kubelet-preferred-address-types=InternalIP"]
    return [
        *flags,
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
    ]


def _controllers(folder: Path, place: Place, keys: Keys, accounts: Path) -> list[str]:
    flags = component(keys, place.address, place.controllers, keys.kubeconfig(f"system:{CONTROLLERS}"))
    flags += [f"--service-account-private-key-file={accounts}", f"--root-ca-file={keys.authority.ca}"]
    flags += [f"--flex-volume-plugin-dir={folder / PLUGINS}"]  # it makes that folder
    # Namespaces of tests go away quickly.
    return [*flags, "--use-service-account-credentials", "--kube-api-qps=200", "--kube-api-burst=400"]
