"""What all ArrInstances of a process share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Http
from looparr.clients.kube_secrets import SecretReader
from looparr.clients.qbittorrent.mirror import MirrorPool
from looparr.engine.types import Clock, Subject
from looparr.errors import Blocked
from looparr.store.store import Store


@dataclass(slots=True)
class Registry:
    """Which object of this process looks after which Arr: two on one Arr would fight, so the younger waits."""

    claims: dict[str, tuple[datetime, str, str, str]] = field(default_factory=dict)

    def claim(self, subject: Subject, marks: Sequence[str]) -> None:
        """Claim an Arr by its marks (URL, digest of the API key), which the Arr has accepted.

        Raises Blocked for the younger of two; the older one is named to its own namespace only.
        """
        mine = (subject.created, subject.ref.uid, subject.ref.namespace, subject.ref.name)
        for mark in marks:
            other = self.claims.get(mark)
            if other is not None and other[1] != mine[1] and other < mine:
                _, _, namespace, name = other
                who = f"ArrInstance {namespace}/{name}" if namespace == mine[2] else "an ArrInstance elsewhere"
                raise Blocked(
                    "DuplicateInstance",
                    f"{who} looks after this Arr already (same URL or API key): delete one of them",
                )
        self.release(subject.ref.uid)
        self.claims |= dict.fromkeys(marks, mine)

    def release(self, uid: str) -> None:
        """Give up all claims of an object."""
        self.claims = {mark: claim for mark, claim in self.claims.items() if claim[1] != uid}


Acted = Callable[[str, str], None]
"""Told of an action and its result."""


def _unmeasured(action: str, result: str) -> None:
    """Measure nothing."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all ArrInstances of a process share.

    owner_tag: looparr-owner-<cluster>, "" when the cluster has no name. acted: told of each action and its result.
    """

    secrets: SecretReader
    http: Http
    pool: MirrorPool
    egress: EgressPolicy
    store: Store
    clock: Clock
    registry: Registry = field(default_factory=Registry)
    owner_tag: str = ""
    acted: Acted = _unmeasured
