"""Certificates and kubeconfigs of one throw-away cluster: one CA that dies with it, all keys private to the user."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from looparr.sandbox.files import write_whole

_LIFE = dt.timedelta(days=365)
_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Certificate:
    """Paths of a certificate and its key, both PEM."""

    certificate: Path
    key: Path

    def embedded(self) -> dict[str, str]:
        """Give the two as a kubeconfig's user holds them."""
        return {"client-certificate-data": _base64(self.certificate), "client-key-data": _base64(self.key)}


class Authority:
    """Makes one CA in a folder and signs what the cluster needs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("looparr-sandbox-ca", ())
        builder = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        usage = {"digital_signature": True, "key_cert_sign": True, "crl_sign": True}
        builder = builder.add_extension(_key_usage(**usage), critical=True)
        self.ca = self._write("ca", builder, self._key).certificate

    def server(self, name: str, addresses: Sequence[str]) -> Certificate:
        """Sign a certificate for a server on these IP addresses; it may act as a client too, as etcd's does."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(host) for host in _SERVER_NAMES]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        return self._sign(name, _name(name, ()), (x509.SubjectAlternativeName(alternatives),), server=True)

    def client(self, name: str, *groups: str) -> Certificate:
        """Sign a client certificate: Kubernetes reads the common name as the user and organizations as groups."""
        return self._sign(name.rpartition(":")[2], _name(name, groups), (), server=False)

    def service_account_key(self) -> Path:
        """Make the key that signs and verifies ServiceAccount tokens."""
        return write_whole(self.folder / "service-accounts.key", _pem(ec.generate_private_key(ec.SECP256R1())))

    def _sign(
        self, file: str, name: x509.Name, extensions: tuple[x509.SubjectAlternativeName, ...], *, server: bool
    ) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])]
        builder = self._builder(name, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(digital_signature=True), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return self._write(file, builder, key)

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=name, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + _LIFE)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
        )

    def _write(self, file: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> Certificate:
        signed = builder.sign(self._key, hashes.SHA256())
        certificate = write_whole(self.folder / f"{file}.crt", signed.public_bytes(serialization.Encoding.PEM))
        return Certificate(certificate, write_whole(self.folder / f"{file}.key", _pem(key)))


def write_kubeconfig(path: Path, *, server: str, ca: Path, user: dict[str, Any], namespace: str = "default") -> Path:
    """Write a kubeconfig that stands alone (everything embedded), readable by its owner only."""
    name = "looparr-sandbox"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": _base64(ca)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    return write_whole(path, yaml.safe_dump(document, sort_keys=False))


def _name(common: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(**on: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: on.get(usage, False) for usage in _USAGES})


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # "EC PRIVATE KEY": the form that every part of Kubernetes reads, also for ServiceAccount keys.
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(encoding, form, serialization.NoEncryption())


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
