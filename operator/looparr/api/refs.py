"""What a spec points at: URLs, Secrets of the same namespace, names of list items. Secrets are never inlined."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from looparr.api.model import Model
from looparr.api.schema import Cel, Text

_HOST = r"([^]/?#@:[[:space:]]+|\[[0-9A-Fa-f:.]+\])"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
Url = Annotated[
    str,
    Text(
        rf"^https?://{_HOST}(:{_PORT})?(/[^[:space:]]*)?$",
        "a URL is written like http://host:7878 or https://host/path, without user name, password or blanks; "
        "the highest port is 65535",
        2048,
        "isURL(self)",
    ),
]
"""http or https, host, perhaps a port and a path. Credentials come from Secrets."""

ItemName = Annotated[
    str,
    Text(
        r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        "a name is made of letters, digits, dots, dashes and underscores, at most 63 of them",
        63,
    ),
]
"""The name of an item of a list."""

SecretName = Annotated[
    str,
    Text(
        r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        "the name of a Secret is made of small letters, digits, dots and dashes",
        253,
    ),
]
SecretKey = Annotated[
    str,
    Text(
        r"^[A-Za-z0-9._-]{1,253}$", "the key of a Secret is made of letters, digits, dots, dashes and underscores", 253
    ),
]

Words = Annotated[
    str,
    Text(r"[^[:space:]]", "the text must not be empty", 255),
]
"""A text that is not blank, at most 255 characters."""

Category = Annotated[
    str, Text(r"[^[:space:]]", "a category must not be empty: that would mean every torrent without a category", 255)
]
"""A category of the download client."""


class SecretRef(Model):
    """A Secret of the same namespace, labelled looparr.dev/credentials: "true"."""

    name: SecretName
    """Name of the Secret. It must bear the label looparr.dev/credentials: "true", else it is not read."""


class SecretKeyRef(SecretRef):
    """One key of a Secret of the same namespace, labelled looparr.dev/credentials: "true"."""

    key: SecretKey
    """Key of the Secret whose value is taken; blanks and line ends around the value are ignored."""


class Tls(Model):
    """How the other side's certificate is checked. Only needed where the system's own authorities do not know it."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!(has(self.caSecretRef) && has(self.insecureSkipVerify) && self.insecureSkipVerify)",
            "caSecretRef and insecureSkipVerify exclude each other: check the certificate or do not",
        ),
    )

    ca_secret_ref: SecretKeyRef | None = None
    """Certificate authority (PEM) that signed the other side's certificate. Default: the system's authorities."""
    insecure_skip_verify: bool | None = Field(default=None)
    """true takes any certificate: whoever sits in between reads the credentials. Default false."""


def secret_names(part: object) -> frozenset[str]:
    """Find the names of all Secrets that a spec, or a part of one, refers to."""
    match part:
        case SecretRef():
            return frozenset({part.name})
        case Model():
            inner = [getattr(part, name) for name in type(part).model_fields]
        case list() | tuple():
            inner = list(part)
        case _:
            return frozenset()
    return frozenset().union(*map(secret_names, inner))
