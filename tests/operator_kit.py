"""The operator as a process under its own ServiceAccount, the server its HTTP loops call, and a hand on the objects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from looparr.api.meta import API_VERSION, REQUESTED_AT
from looparr.manifests import rbac
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import wait_until
from looparr.testing import check_conditions

MERGE = "application/merge-patch+json"
NAME = "looparr"


class Janitor:
    """A server that HTTP loops call; the path is the loop's name. What it does is set from outside."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.codes: dict[str, int] = {}
        self.gates: dict[str, threading.Event] = {}
        janitor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                name = self.path.strip("/")
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                janitor.calls[name] += 1
                janitor.open[name] += 1
                if gate := janitor.gates.get(name) or janitor.gates.get("*"):
                    gate.wait(60)
                janitor.open[name] -= 1
                body = b'{"message": "swept"}'
                try:
                    self.send_response(janitor.codes.get(name, 200))
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Let calls to that name hang inside the `with`."""
        gate = self.gates[name] = threading.Event()
        try:
            yield
        finally:
            self.gates.pop(name, None)
            gate.set()


class Loops:
    """BackgroundLoops of type HTTP in one namespace, as the admin sees them."""

    def __init__(self, plane: Cluster, namespace: str, janitor: Janitor) -> None:
        self.plane = plane
        self.janitor = janitor
        self.path = f"/apis/{API_VERSION}/namespaces/{namespace}/backgroundloops"

    def create(self, name: str, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        wanted = {"type": "HTTP", "interval": "1h", "http": {"endpoint": {"url": f"{self.janitor.url}/{name}"}}}
        body = {
            "apiVersion": API_VERSION,
            "kind": "BackgroundLoop",
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {**wanted, **spec},
        }
        self.plane.request("POST", self.path, body)

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.plane.request("GET", f"{self.path}/{name}")
        return found

    def all(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.plane.request("GET", self.path)["items"]
        return items

    def patch(self, name: str, **spec: Any) -> int:
        """Change the spec; gives the new generation."""
        done = self.plane.request("PATCH", f"{self.path}/{name}", {"spec": spec}, content_type=MERGE)
        return int(done["metadata"]["generation"])

    def trigger(self, name: str, token: str) -> None:
        body = {"metadata": {"annotations": {REQUESTED_AT: token}}}
        self.plane.request("PATCH", f"{self.path}/{name}", body, content_type=MERGE)

    def delete(self, name: str) -> None:
        self.plane.request("DELETE", f"{self.path}/{name}")

    def gone(self, name: str) -> bool:
        try:
            self.get(name)
        except ApiError as error:
            return error.status == 404
        return False

    def until(self, name: str, what: Callable[[dict[str, Any]], bool], limit: float = 20) -> dict[str, Any]:
        """Wait until the status says so; every status that is seen on the way keeps the table of conditions."""
        seen: dict[str, Any] = {}

        def holds() -> bool:
            seen.clear()
            seen.update(self.get(name).get("status", {}))
            if "conditions" in seen:
                check_conditions(seen)
            return what(seen)

        try:
            wait_until(holds, limit, f"{name} never said so")
        except Exception as error:
            raise AssertionError(f"{name} after {limit} s: {json.dumps(seen, indent=1)}") from error
        return seen


def ready(status: dict[str, Any]) -> tuple[str, str]:
    """Status and reason of Ready."""
    first = next(iter(status.get("conditions", [])), {})
    return first.get("status", ""), first.get("reason", "")


class Operator:
    """One process of `looparr operator`."""

    def __init__(self, kubeconfig: Path, namespaces: tuple[str, ...], log: Path, *flags: str) -> None:
        self.log = log
        scopes = [part for name in namespaces for part in ("--namespace", name)]
        command = [sys.executable, "-m", "looparr.cli", "operator", "--kubeconfig", str(kubeconfig), *scopes]
        command += ["--probes-port", "0", "--egress-allow-cidr", "127.0.0.0/8", *flags]
        with log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def probe(self, path: str) -> int:
        """HTTP status of a probe; 0 while nobody listens."""
        port = next((line["port"] for line in reversed(self.lines()) if line["event"] == "probes listened"), None)
        if port is None:
            return 0
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_ready(self, limit: float = 40) -> Operator:
        try:
            wait_until(lambda: self.probe("/readyz") == 200, limit, "not ready")
        except Exception as error:
            raise AssertionError(self.text()[-3000:]) from error
        return self

    def stop(self, limit: float = 15) -> int:
        """SIGTERM; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)

    def kill(self) -> None:
        """SIGKILL to the whole session of the process."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


def grant(plane: Cluster, namespace: str, *, everywhere: bool = False) -> None:
    """Apply what the generated manifests give an operator that looks after its own namespace, or after all."""
    for body in rbac(namespace, watch_namespaces=None if everywhere else (namespace,)):
        group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        where = body["metadata"].get("namespace")
        scope = f"/namespaces/{where}" if where else ""
        plane.request("POST", f"{group}{scope}/{body['kind'].lower()}s", body)
