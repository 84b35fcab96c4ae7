"""Secrets: read by name, only those that were offered, at most once a minute.

Whoever may create a loop picks both Secret and URL, and must not thereby read every Secret of the namespace: only a
Secret labelled `looparr.dev/credentials: "true"` is used.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from looparr.api.meta import CREDENTIALS_LABEL
from looparr.clients.kube import KubeApi
from looparr.errors import Blocked

REREAD = 60.0
"""Seconds for which a Secret that was read is good."""
REREAD_BLOCKED = 10.0
"""Seconds for which a missing or unoffered one stays so: somebody is likely to be creating it."""
KNOWN_LIMIT = 10_000
"""Secrets remembered; beyond that the oldest are forgotten."""

_noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)
"""Where the reads of this task, and of those it was started from, are noted."""


class SecretReason(StrEnum):
    """Reasons that a Secret may put into a condition."""

    MISSING = "SecretMissing"
    """There is no Secret of that name in the object's namespace."""
    NOT_OFFERED = "SecretNotOffered"
    """The Secret lacks the label looparr.dev/credentials=true."""
    KEY_MISSING = "SecretKeyMissing"
    """The Secret has no such key, or it is empty."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One offered Secret. data: decoded bytes by key, hidden from repr; version: changes with every edit."""

    namespace: str
    name: str
    uid: str
    version: str
    data: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        """Tells contents apart; labels and annotations, which other programs write, are no content."""
        return hashlib.sha256(repr(sorted(self.data.items())).encode()).hexdigest()

    def value(self, key: str) -> bytes:
        """Give the value of one key. Raises Blocked (SecretKeyMissing)."""
        if not (found := self.data.get(key)):
            raise Blocked(
                SecretReason.KEY_MISSING, f"Secret {self.name} has no key {key}, or it is empty; add it to the Secret."
            )
        return found

    def text(self, key: str) -> str:
        """Give the value of one key as text, without white space around it. Raises Blocked (SecretKeyMissing)."""
        try:
            return self.value(key).decode().strip()
        except UnicodeDecodeError:
            raise Blocked(SecretReason.KEY_MISSING, f"Key {key} of Secret {self.name} is not UTF-8 text.") from None


class SecretReader:
    """Reads Secrets with `get` only. Readers of one Secret at one time share one call."""

    def __init__(
        self, api: KubeApi, *, reread: float = REREAD, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.reread = reread
        self._api = api
        self._monotonic = monotonic
        self._known: dict[tuple[str, str], tuple[float, Secret | Blocked]] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Secret:
        """Give an offered Secret, read at most `reread` seconds ago, or just now if `fresh`.

        Raises Blocked (SecretMissing, SecretNotOffered, Forbidden) and Transient.
        """
        key, asked = (namespace, name), self._monotonic()
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._known.get(key)
            if known is None or known[0] < (asked if fresh else asked - self._good_for(known[1])):
                known = self._known[key] = (self._monotonic(), await self._get(namespace, name))
                self._forget()
        _note(name, known[1])
        if isinstance(known[1], Blocked):
            raise Blocked(known[1].reason, known[1].message)
        return known[1]

    @contextmanager
    def noting(self) -> Iterator[Mapping[str, str]]:
        """Note which Secrets are read inside, and in tasks that are begun inside: by name, a digest of their content.

        For one that is missing or not offered the reason stands.
        """
        found: dict[str, str] = {}
        token = _noted.set(found)
        try:
            yield found
        finally:
            _noted.reset(token)

    async def versions(self, namespace: str, names: Collection[str]) -> Mapping[str, str]:
        """Read Secrets anew, and give the same; one that may not be read is left out. Raises Transient."""
        with self.noting() as found:
            for name in names:
                with suppress(Blocked):
                    await self.read(namespace, name, fresh=True)
        return found

    def _good_for(self, known: Secret | Blocked) -> float:
        return min(self.reread, REREAD_BLOCKED) if isinstance(known, Blocked) else self.reread

    async def _get(self, namespace: str, name: str) -> Secret | Blocked:
        found = await self._api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        if found is None:
            return Blocked(SecretReason.MISSING, f"Secret {name} is not in namespace {namespace}; create it there.")
        meta = found.get("metadata") or {}
        if (meta.get("labels") or {}).get(CREDENTIALS_LABEL) != "true":
            return Blocked(
                SecretReason.NOT_OFFERED,
                f"Secret {name} is not offered to loops; run: "
                f"kubectl label secret {name} -n {namespace} {CREDENTIALS_LABEL}=true",
            )
        return Secret(namespace, name, meta.get("uid", ""), meta.get("resourceVersion", ""), _decode(found))

    def _forget(self) -> None:
        while len(self._known) > KNOWN_LIMIT:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._locks.pop(oldest, None)


def _note(name: str, found: Secret | Blocked) -> None:
    noted = _noted.get()
    if noted is not None:
        noted[name] = found.reason if isinstance(found, Blocked) else found.digest


def _decode(found: Mapping[str, Any]) -> dict[str, bytes]:
    data: dict[str, bytes] = {}
    for key, text in (found.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(text, validate=True)
        except (binascii.Error, TypeError, ValueError):
            continue
    return data
