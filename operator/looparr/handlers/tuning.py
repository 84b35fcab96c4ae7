"""Kopf's settings, each for a measured reason: no loop may be lost, and Kopf's own share of a turn is the largest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import kopf

from looparr.api.meta import FINALIZER


class _NoDiffs(kopf.DiffBaseStorage):
    """Remembers nothing: we have no change handlers, and comparing every object at every event costs."""

    def fetch(self, **_: Any) -> None:
        """Give nothing."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Give nothing to compare."""
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class _NoProgress(kopf.AnnotationsProgressStorage):
    """Remembers nothing: timers keep no progress, and copying every object at every event costs.

    Only `touch` stays as it is: by it Kopf wakes itself for an object whose timer ends slowly in its deletion.
    """

    def fetch(self, **_: Any) -> None:
        """Give nothing."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """Have nothing to remove."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Give back what holds nothing of ours."""
        return essence


class _Endless:
    """Pauses, in seconds, between the tries of one of Kopf's requests: they never end.

    Out of tries, by default after 54 s, Kopf drops what it was about to do: the finalizer of an object in deletion
    would stay until something else happens to the object.
    """

    def __iter__(self) -> Iterator[float]:
        """Begin anew."""
        return itertools.chain((1, 1, 2, 3, 5), itertools.repeat(8))


def kopf_settings() -> kopf.OperatorSettings:
    """Give fresh settings for one operator."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.persistence.finalizer = FINALIZER
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.background.instant_exit_timeout = 20.0  # a timer in mid-turn may end its turn; the wait ends with it
    settings.background.cancellation_polling = 2
    settings.queueing.idle_timeout = 1.0  # of one object's worker; five seconds of a thousand workers show in memory
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Endless()
    return settings
