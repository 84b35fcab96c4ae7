"""Credentials of an API server as they are written down: a kubeconfig, or what the kubelet puts into a pod.

Credential plugins (`exec`: most managed clusters) are run by a process of their own, see `kube_plugin`.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from looparr.errors import SettingsError
from looparr.runtime.telemetry import redact_text

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its ServiceAccount."""
PLUGIN_LIMIT = 30.0
"""Seconds that a credential plugin may take."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One way in, as it was read. At most one of token and token_file; certificate and key are PEM bytes.

    from_plugin: a program gave them, which takes time.
    """

    server: str
    ca: bytes | None = None
    insecure: bool = False
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    from_plugin: bool = False

    @property
    def connection(self) -> tuple[object, ...]:
        """What a connection is made with; a new token needs no new one."""
        return self.server, self.ca, self.insecure, self.certificate, self.key


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

    Its plugin, if it names one, is run: up to PLUGIN_LIMIT seconds. Raises SettingsError that names the file and what
    is wrong in it.
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
    except OSError as error:
        raise SettingsError(f"kubeconfig {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, StopIteration, ValueError) as error:
        raise SettingsError(
            f"kubeconfig {path} is damaged or has no current context ({type(error).__name__})"
        ) from None
    if user.get("exec"):
        found = _logged_in(path, {"exec": user["exec"], "cluster": cluster, "folder": str(path.parent)}, found)
    if not (found.token or found.token_file or found.certificate):
        raise SettingsError(
            f"kubeconfig {path} holds neither token nor client certificate nor plugin for its current context"
        )
    return found


def _logged_in(path: Path, question: Mapping[str, Any], found: Credentials) -> Credentials:
    """Have the credential plugin of a kubeconfig run. Raises SettingsError with the end of what it complained of."""
    command = [sys.executable, "-m", "looparr.clients.kube_plugin"]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, input=json.dumps(question), capture_output=True, text=True, timeout=PLUGIN_LIMIT, check=True
        )
        told = json.loads(done.stdout)
        token, certificate, key = (told.get(name) for name in ("token", "clientCertificateData", "clientKeyData"))
    except (subprocess.SubprocessError, OSError, ValueError, TypeError, AttributeError) as error:
        words = " ".join(str(getattr(error, "stderr", None) or type(error).__name__).split())[-200:]
        raise SettingsError(f"the credential plugin of kubeconfig {path} failed: {redact_text(words)}") from None
    if certificate and key:
        found = replace(found, certificate=str(certificate).encode(), key=str(key).encode())
    return replace(found, token=None if token is None else str(token), token_file=None, from_plugin=True)


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
