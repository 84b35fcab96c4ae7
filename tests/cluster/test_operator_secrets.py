"""A loop that gave up, on a real API server: only another Secret, a new spec or a person wakes it."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster.contract import install, made
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from operator_kit import MERGE, NAME, Janitor, Loops, Operator, grant, ready

LABELS = {"looparr.dev/credentials": "true"}


class Door:
    """One address behind which two programs live: which one answers is a matter of the key."""

    def __init__(self) -> None:
        self.keys: Counter[str] = Counter()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key = self.headers.get("X-Api-Key", "")
                door.keys[key] += self.path.endswith("/system/status")
                body = json.dumps({"appName": "Radarr" if key == "right" else "Lidarr", "version": "5.0"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def door() -> Iterator[Door]:
    opened = Door()
    yield opened
    opened.close()


@pytest.fixture
def janitor() -> Iterator[Janitor]:
    made_one = Janitor()
    yield made_one
    made_one.close()


@contextmanager
def running(kubeconfig: Path, namespace: str, folder: Path) -> Iterator[None]:
    operator = Operator(kubeconfig, (namespace,), folder / "operator.log", "--secret-reread-seconds", "1")
    try:
        operator.wait_ready()
        yield
        assert operator.stop() == 0
    finally:
        operator.kill()


def test_a_changed_secret_wakes_a_stalled_loop_and_the_same_one_is_never_tried_again(
    control_plane: Cluster, namespace: str, tmp_path: Path, door: Door, janitor: Janitor
) -> None:
    install(control_plane)
    grant(control_plane, namespace)
    loops, core = Loops(control_plane, namespace, janitor), f"/api/v1/namespaces/{namespace}/secrets"
    for name, data in (("radarr", {"apiKey": "wrong"}), ("qbittorrent", {"username": "a", "password": "b"})):
        control_plane.request("POST", core, {"metadata": {"name": name, "labels": LABELS}, "stringData": data})
    client = {"url": door.url, "credentialsSecretRef": {"name": "qbittorrent"}}
    spec: dict[str, Any] = {
        "type": "Radarr",
        "url": door.url,
        "apiKeySecretRef": {"name": "radarr", "key": "apiKey"},
        "downloadClients": [{"name": "main", "type": "QBittorrent", "qbittorrent": client}],
    }
    arr = f"/apis/looparr.dev/v1alpha1/namespaces/{namespace}/arrinstances"
    control_plane.request("POST", arr, made("ArrInstance", spec))
    loops.create("pulse", interval="1s")

    def reason() -> str:
        return ready(control_plane.request("GET", f"{arr}/one").get("status", {}))[1]

    def for_some_looks() -> None:
        beats = janitor.calls["pulse"]
        wait_until(lambda: janitor.calls["pulse"] > beats + 4, 20, "no pulse")

    kubeconfig = control_plane.serviceaccount_kubeconfig(namespace, NAME, into=tmp_path / "kubeconfig")
    for is_second in (False, True):
        with running(kubeconfig, namespace, tmp_path):
            wait_until(lambda: reason() == "WrongArrType", 20, "not stalled")
            for_some_looks()
            assert door.keys == {"wrong": 1}, "neither a look nor a restart tries it again"
            if is_second:
                data = {"apiKey": base64.b64encode(b"right").decode()}
                control_plane.request("PATCH", f"{core}/radarr", {"data": data}, content_type=MERGE)
                wait_until(lambda: reason() != "WrongArrType", 20, "not woken")
    assert door.keys["wrong"] == 1
    assert door.keys["right"] >= 1
