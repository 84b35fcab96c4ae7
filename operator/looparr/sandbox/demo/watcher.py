"""Sees what a person with kubectl would see: watches both kinds through pykube-ng, in threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pykube
import requests

from looparr.api.meta import API_VERSION, KINDS, Kind

_WAIT = 1.0


class Watcher:
    """The newest version of every object of both kinds in one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._config = pykube.KubeConfig.from_file(str(kubeconfig))
        self._namespace = namespace
        self._objects: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(kind,), name=f"watch {kind.plural}", daemon=True)
            for kind in KINDS
        ]

    def start(self) -> None:
        """Begin to watch."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Watch no more; the threads end with their next event, at the latest with the process."""
        self._stop.set()

    def get(self, kind: Kind, name: str) -> Mapping[str, Any]:
        """Give the newest version of an object; {} while it was not seen."""
        return self._objects.get((kind.kind, name), {})

    def status(self, kind: Kind, name: str) -> Mapping[str, Any]:
        """Give its status; {} while there is none."""
        return self.get(kind, name).get("status") or {}

    def condition(self, kind: Kind, name: str, type_: str) -> Mapping[str, Any]:
        """Give one of its conditions; {} while there is none."""
        found = [one for one in self.status(kind, name).get("conditions", ()) if one.get("type") == type_]
        return found[0] if found else {}

    def event_reasons(self, name: str) -> set[str]:
        """Give the reasons of all Events posted about an object."""
        api = pykube.HTTPClient(self._config)
        events = pykube.Event.objects(api).filter(namespace=self._namespace)
        return {one.obj["reason"] for one in events if one.obj["involvedObject"].get("name") == name}

    def _watch(self, kind: Kind) -> None:
        api = pykube.HTTPClient(self._config)
        objects = pykube.object_factory(api, API_VERSION, kind.kind).objects(api).filter(namespace=self._namespace)
        while not self._stop.is_set():
            try:
                for event in objects.watch():
                    self._objects[kind.kind, event.object.name] = event.object.obj
                    if self._stop.is_set():
                        return
            except (requests.RequestException, pykube.exceptions.HTTPError):
                self._stop.wait(_WAIT)
