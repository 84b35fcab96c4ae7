"""Credentials of an API server as they are written down: a kubeconfig, or what the kubelet puts into a pod.

Credential plugins (`exec`: most managed clusters) are the official client's business. It is imported only for a
kubeconfig that names one, because it costs 45 MiB and a second.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from looparr.errors import SettingsError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its ServiceAccount."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One way in, as it was read. At most one of token and token_file; certificate and key are PEM bytes."""

    server: str
    ca: bytes | None = None
    insecure: bool = False
    token: str | None = None
    token_file: Path | None = None
    certificate: bytes | None = None
    key: bytes | None = None


def read_pod(environ: Mapping[str, str], account: Path = ACCOUNT) -> Credentials:
    """Read what the kubelet puts into a pod. Raises SettingsError when this is no pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    token_file, ca = account / "token", account / "ca.crt"
    if not host or not token_file.is_file():
        raise SettingsError("this is no pod with a ServiceAccount: name a cluster with --kubeconfig FILE")
    address = f"[{host}]" if ":" in host else host
    return Credentials(f"https://{address}:{port}", ca=_file(ca), token_file=token_file)


def read_kubeconfig(path: Path) -> Credentials:
    """Read the current context of a kubeconfig with a token, a client certificate or a credential plugin.

    Its credential plugin, if it names one, is run. Raises SettingsError that names the file and what is wrong in it.
    """
    try:
        document = yaml.safe_load(path.read_text())
        context = _named(document, "contexts", "context", document["current-context"])
        cluster = _named(document, "clusters", "cluster", context["cluster"])
        user = _named(document, "users", "user", context["user"])
        token_file = path.parent / user["tokenFile"] if user.get("tokenFile") else None
        found = Credentials(
            server=str(cluster["server"]).rstrip("/"),
            ca=_data(path, cluster, "certificate-authority"),
            insecure=bool(cluster.get("insecure-skip-tls-verify")),
            token=None if token_file else user.get("token"),
            token_file=token_file,
            certificate=_data(path, user, "client-certificate"),
            key=_data(path, user, "client-key"),
        )
        if user.get("exec"):
            found = _logged_in(path, user["exec"], found)
    except OSError as error:
        raise SettingsError(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration, binascii.Error) as error:
        raise SettingsError(f"kubeconfig {path} is damaged or has no current context ({error!r})") from None
    if not (found.token or found.token_file or found.certificate):
        raise SettingsError(
            f"kubeconfig {path} holds neither token nor client certificate nor plugin for its current context"
        )
    return found


def _logged_in(path: Path, plugin: Mapping[str, Any], found: Credentials) -> Credentials:
    """Let the official client run the credential plugin of a kubeconfig. Raises SettingsError."""
    from kubernetes.config import ConfigException  # noqa: PLC0415 - see the module
    from kubernetes.config.exec_provider import ExecProvider  # noqa: PLC0415
    from kubernetes.config.kube_config import ConfigNode  # noqa: PLC0415

    try:
        node = ConfigNode(str(path), dict(plugin))  # type: ignore[no-untyped-call]
        told = ExecProvider(node, str(path.parent)).run()  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        raise SettingsError(f"the credential plugin of kubeconfig {path} failed: {str(error)[:200]}") from None
    certificate, key = told.get("clientCertificateData"), told.get("clientKeyData")
    if certificate and key:
        found = replace(found, certificate=str(certificate).encode(), key=str(key).encode())
    return replace(found, token=told.get("token"), token_file=None)


def _named(document: Any, table: str, field: str, name: str) -> dict[str, Any]:
    row = next(row for row in document[table] if row["name"] == name)
    return dict(row[field] or {})


def _data(path: Path, source: Mapping[str, Any], field: str) -> bytes | None:
    if text := source.get(f"{field}-data"):
        return base64.b64decode(text, validate=True)
    return _file(path.parent / source[field]) if source.get(field) else None


def _file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
