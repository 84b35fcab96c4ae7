"""Names of the API: group, version, kinds, annotations, labels. One place, so that a rename is one line."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "looparr.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/cleanup"
REQUESTED_AT = f"{GROUP}/requestedAt"
RESET_STATS = f"{GROUP}/resetStats"
RELEASE_BRAKE = f"{GROUP}/releaseBrake"
CREDENTIALS_LABEL = f"{GROUP}/credentials"


@dataclass(frozen=True, slots=True)
class Kind:
    """One custom resource: its kind, plural, singular and short names."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    categories: tuple[str, ...] = ("loops", "looparr")


ARR_INSTANCE = Kind("ArrInstance", "arrinstances", "arrinstance", ("arr",))
BACKGROUND_LOOP = Kind("BackgroundLoop", "backgroundloops", "backgroundloop", ("loop", "bgl"))
KINDS: tuple[Kind, ...] = (ARR_INSTANCE, BACKGROUND_LOOP)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object: enough to log about it, post an Event on it and refuse another one of the same name."""

    kind: Kind
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind.kind}/{self.namespace}/{self.name}"
