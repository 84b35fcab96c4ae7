"""How a spec's `tls` becomes something that a client can use: the authority comes from a Secret."""

from __future__ import annotations

from looparr.api.refs import Tls
from looparr.clients.http import TlsFiles
from looparr.clients.kube_secrets import SecretReader


async def tls_files(secrets: SecretReader, namespace: str, tls: Tls | None, *, fresh: bool = False) -> TlsFiles | None:
    """Read what a spec says about TLS; None: the system's authorities. Raises Blocked for an unusable Secret."""
    if tls is None:
        return None
    if tls.ca_secret_ref is None:
        return TlsFiles(insecure_skip_verify=bool(tls.insecure_skip_verify))
    secret = await secrets.read(namespace, tls.ca_secret_ref.name, fresh=fresh)
    return TlsFiles(ca_pem=secret.text(tls.ca_secret_ref.key).encode())
