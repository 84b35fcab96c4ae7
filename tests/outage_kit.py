"""An operator with its loops and an API server of their own that goes away, and what is seen of it from outside."""

from __future__ import annotations

import re
import secrets
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pykube
import requests

from cluster.contract import install
from looparr.api.meta import API_VERSION, BACKGROUND_LOOP, KINDS
from looparr.errors import SandboxError
from looparr.sandbox import cluster
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import free_ports, wait_until
from operator_kit import NAME, Janitor, Loops, Operator, grant
from parts import unavailable

PASSED_WITHIN = 240
"""Seconds in which all time-outs have run out on any machine."""
TRIES = 9
"""How often Kopf, left to itself, tries a request."""
LAST = "last"


class Wire:
    """Passes connections on to a server that lives. Cut, it ends those that are open and refuses new ones."""

    def __init__(self, server: str) -> None:
        address = urlsplit(server)
        self._target = (address.hostname or "", address.port or 0)
        self._port = free_ports(1)[0]
        self.url = f"{address.scheme}://127.0.0.1:{self._port}"
        self._ends: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        _shut(self._listener)
        self._thread.join()
        self._listener.close()
        for end in self._ends:
            _shut(end)
        self._ends.clear()

    @contextmanager
    def cut(self) -> Iterator[None]:
        self.__exit__()
        try:
            yield
        finally:
            self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port), backlog=256)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._ends += (near, far)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with source, suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class RunCounts:
    """The run counts of a namespace in the order of a watch; went_back: those that were lower than one before them."""

    def __init__(self, plane: Cluster, namespace: str) -> None:
        self.went_back: list[str] = []
        self._highest: Counter[str] = Counter()
        self._config = pykube.KubeConfig.from_file(str(plane.kubeconfig))
        self._namespace = namespace
        self._thread = threading.Thread()

    def follow(self) -> None:
        """Watch, unless an earlier watch goes on, until the API server ends it or the object LAST was seen."""
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until the object LAST was seen."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _watch(self) -> None:
        api = pykube.HTTPClient(self._config, timeout=None)
        objects = pykube.object_factory(api, API_VERSION, BACKGROUND_LOOP.kind).objects(api)
        try:
            for event in objects.filter(namespace=self._namespace).watch():
                name, count = event.object.name, event.object.obj.get("status", {}).get("runCount", 0)
                if name == LAST:
                    break
                if count < self._highest[name]:
                    self.went_back.append(f"{name}: {count} after {self._highest[name]}")
                self._highest[name] = max(count, self._highest[name])
        except requests.RequestException:
            return
        finally:
            api.session.close()


class Scene:
    """The operator, before, in and after an outage.

    sweeps: loops that run all the time. before, after: how often each loop's server had been called when the outage
    began and ended. rounds: how often the first tries of each watch have failed when all time-outs have passed.
    """

    def __init__(self, plane: Cluster, janitor: Janitor, folder: Path, rounds: int, sweeps: int, server: str) -> None:
        namespace = f"test-{secrets.token_hex(4)}"
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        grant(plane, namespace)
        kubeconfig = plane.serviceaccount_kubeconfig(namespace, NAME, into=folder / "kubeconfig")
        kubeconfig.write_text(kubeconfig.read_text().replace(plane.server, server))
        self.plane, self.janitor = plane, janitor
        self.sweeps = tuple(f"sweep-{number}" for number in range(sweeps))
        self.loops = Loops(plane, namespace, janitor)
        self.counts = RunCounts(plane, namespace)
        self.operator = Operator(kubeconfig, (namespace,), folder / "operator.log")
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self._rounds = rounds
        self._log_began = 0
        self._outage = ExitStack()

    def populate(self) -> None:
        """Have the sweeps run."""
        self.operator.wait_ready()
        self.counts.follow()
        for name in self.sweeps:
            self.loops.create(name, interval="3s")
        wait_until(lambda: all(self.runs().values()), 120, "not all have run", every=0.2)

    def begin(self, outage: AbstractContextManager[object]) -> None:
        self.before = self.janitor.calls.copy()
        self._log_began = len(self.operator.text())
        self._outage.enter_context(outage)

    def over(self) -> None:
        """Wait until every time-out has passed, and end the outage."""
        wait_until(self._passed, PASSED_WITHIN, "the outage is not noticed", every=0.5)
        self._outage.close()
        wait_until(self._is_served, 60, "the objects are not served")
        self.counts.follow()
        self.after = self.janitor.calls.copy()

    def runs(self) -> dict[str, int]:
        """Run counts as they are stored, but of objects in deletion."""
        return {
            one["metadata"]["name"]: one.get("status", {}).get("runCount", 0)
            for one in self.loops.all()
            if "deletionTimestamp" not in one["metadata"]
        }

    def _is_served(self) -> bool:
        try:
            return bool(self.loops.all())
        except ApiError as error:
            if error.status != 429:  # an API server that has just started asks to wait
                raise
            return False

    def _passed(self) -> bool:
        lines = [line for line in self.operator.text()[self._log_began :].splitlines() if "Request attempt #" in line]
        firsts = [line for line in lines if re.search(r"attempt #1\D", line)]
        rounds = (sum(f"/{kind.plural}?watch=" in line for line in firsts) for kind in KINDS)
        patches = Counter(re.findall(r"PATCH \S+", "\n".join(lines)))
        return min(rounds) >= self._rounds and min(patches.values(), default=TRIES) >= TRIES


@contextmanager
def own_plane(folder: Path) -> Iterator[Cluster]:
    """A control plane that nobody shares, with both definitions."""
    try:
        plane = cluster.start(folder / "control-plane", bind_to_parent=True)
    except SandboxError as error:
        unavailable(error)
    try:
        yield install(plane)
    finally:
        cluster.stop(folder / "control-plane")


@contextmanager
def stage(plane: Cluster, folder: Path, rounds: int, sweeps: int, server: str | None = None) -> Iterator[Scene]:
    """Set a scene; server: how the operator reaches the plane, if not directly."""
    with ExitStack() as stack:
        janitor = Janitor()
        stack.callback(janitor.close)
        scene = Scene(plane, janitor, folder, rounds, sweeps, server or plane.server)
        stack.callback(scene.operator.kill)
        scene.populate()
        yield scene


@contextmanager
def frozen(plane: Cluster) -> Iterator[None]:
    """Let the API server take connections and answer nothing."""
    plane.signal_apiserver(signal.SIGSTOP)
    try:
        yield
    finally:
        plane.signal_apiserver(signal.SIGCONT)
        plane.wait_ready()
