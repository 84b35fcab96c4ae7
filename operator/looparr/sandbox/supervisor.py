"""One process that owns every process of a sandbox, so that nothing can be left behind.

`python -m looparr.sandbox.supervisor FOLDER LOCK` reads the folder's plan.json, leaves its caller's session and then:

- starts the programs in order, each after the one before it is ready, and says how it goes in state.json;
- starts a child that died again, on the same ports, unless `hold-NAME` lies in the folder;
- on SIGTERM or SIGINT, or when the process it is bound to ends, stops them in reverse order and removes what was made;
- when it is killed itself, the kernel kills every child (PR_SET_PDEATHSIG).

It inherits the lock that its caller took on the folder: who can lock the folder knows that nobody lives in it.

What the kernel does not take along (control groups) is the sweeper's: a process that outlives the supervisor.

It has one thread, on purpose: PDEATHSIG is bound to the thread that forked, and only one thread may run code between
fork and exec. The process it is bound to is watched by a pidfd, which does not care about threads.
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import files, namespaces
from looparr.sandbox.processes import LOGS, PLAN, STATE, Plan, Probe, Program, State, identity, read_plan, remove, write

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)  # before any fork: the child only calls it
_AGAIN = 0.5  # seconds between two starts of a child that keeps dying
_LOOK = 0.05  # seconds between two looks at a probe or at a `hold-NAME` file in use


class Supervisor:
    """Runs one plan in one folder until somebody says stop."""

    def __init__(self, folder: Path, plan: Plan, claims: tuple[int, ...] = ()) -> None:
        self.folder = folder
        self.plan = plan
        self.claims = claims
        self.children: dict[str, subprocess.Popen[bytes]] = {}  # insertion order is the order of the plan
        self.stopping = ""
        self._started: dict[str, float] = {}
        self._wake = selectors.DefaultSelector()
        self._myself = os.pidfd_open(os.getpid())
        self._sweeper: subprocess.Popen[bytes] | None = None
        self._namespaces: tuple[int, ...] = ()

    def run(self) -> int:
        """Live through the whole plan; gives the exit code."""
        self._listen()
        phase, message = "Stopping", ""
        try:
            self._fence_in()
            for program in self.plan.programs:
                self._start(program)
                self._say("Starting")
                self._await_ready(program)
                if self.stopping:
                    return 0
                if self.plan.isolated and not self._namespaces:
                    self._namespaces = namespaces.opened(self.children[program.name].pid)
            self._say("Ready")
            while not self.stopping:
                self._keep()
        except (SandboxError, OSError) as error:
            phase, message = "Failed", str(error)
            return 1
        finally:
            self._say(phase, message or self.stopping)
            self._stop_all()
            self._sweep()
            self._remove(failed=phase == "Failed")
        return 0

    # -- what wakes it -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        reader, writer = socket.socketpair()
        for end in (reader, writer):
            end.settimeout(0)
        signal.set_wakeup_fd(writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda got, _frame: self._request_stop(signal.Signals(got).name))
        self._wake.register(reader, selectors.EVENT_READ, partial(reader.recv, 4096))
        self._ends = (reader, writer)
        if owner := self.plan.bound_to:
            with suppress(ProcessLookupError):
                self._watch(owner.pid, partial(self._request_stop, f"process {owner.pid} ended"))
            if identity(owner.pid) != owner:
                self._request_stop(f"process {owner.pid} ended")

    def _watch(self, pid: int, then: Callable[[], object]) -> None:
        descriptor = os.pidfd_open(pid)

        def ended() -> None:
            self._wake.unregister(descriptor)
            os.close(descriptor)
            then()

        self._wake.register(descriptor, selectors.EVENT_READ, ended)

    def _request_stop(self, why: str) -> None:
        self.stopping = self.stopping or f"Stopped by {why}"

    def _turn(self, seconds: float | None) -> None:
        for key, _ in self._wake.select(seconds):
            key.data()

    # -- children ------------------------------------------------------------------------------------------------

    def _fence_in(self) -> None:
        """Start the sweeper outside, and have every child from now on in a pid namespace of the sandbox's own."""
        if self.plan.sweeper:
            with (self.folder / LOGS / "sweeper.log").open("ab") as log:
                self._sweeper = subprocess.Popen(
                    self.plan.sweeper,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=self.claims,
                    start_new_session=True,
                )
        if self.plan.isolated:
            namespaces.unshare(namespaces.NEW_PID)

    def _start(self, program: Program) -> None:
        with (self.folder / LOGS / f"{program.name}.log").open("ab") as log:
            child = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(program.env),
                cwd=self.folder,
                preexec_fn=partial(_begin, self._myself, self._namespaces),  # noqa: PLW1509 - safe here: there is one thread
            )
        self.children[program.name] = child
        self._started[program.name] = time.monotonic()
        self._watch(child.pid, lambda: None)

    def _await_ready(self, program: Program) -> None:
        end = time.monotonic() + program.ready_within
        context = tls(program.probe) if program.probe else None
        while not self.stopping:
            for name, child in self.children.items():  # an early death of etcd shows while the API server waits for it
                if (code := child.poll()) is not None:
                    raise SandboxError(self._complaint(name, f"ended at once with exit code {code}"))
            if program.probe is None or answers(program.probe, context):
                return
            if time.monotonic() > end:
                raise SandboxError(self._complaint(program.name, f"was not ready after {program.ready_within:g} s"))
            self._turn(_LOOK)

    def _keep(self) -> None:
        """Wait for something to happen, and start again what died."""
        wait = None
        for program in self.plan.programs:
            child = self.children[program.name]
            if child.poll() is None or not program.restart:
                continue
            rest = self._started[program.name] + _AGAIN - time.monotonic()
            if (self.folder / f"hold-{program.name}").exists():
                wait = _LOOK
            elif rest > 0:
                wait = min(rest, wait or rest)
            else:
                self._start_again(program)
                self._say("Ready")
        self._turn(wait)

    def _start_again(self, program: Program) -> None:
        try:
            self._start(program)
        except OSError as error:
            if not self.plan.isolated:
                raise
            # A pid namespace whose pid 1 has ended takes nobody in any more.
            first = self.plan.programs[0].name
            raise SandboxError(self._complaint(first, "ended, and every other program with it")) from error

    def _stop_all(self) -> None:
        for program in reversed(self.plan.programs):
            child = self.children.get(program.name)
            if child is None:
                continue
            with suppress(ProcessLookupError):
                child.send_signal(signal.SIGCONT)  # a frozen one cannot hear
                child.terminate()
            try:
                child.wait(program.grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _sweep(self) -> None:
        if self._sweeper is not None and self._sweeper.stdin is not None:
            self._sweeper.stdin.close()
            self._sweeper.wait()

    # -- words ---------------------------------------------------------------------------------------------------

    def _say(self, phase: str, message: str = "") -> None:
        pids = {name: child.pid for name, child in self.children.items()}
        write(self.folder, State(os.getpid(), phase, message, pids, self.plan.facts))

    def _complaint(self, name: str, what: str) -> str:
        log = self.folder / LOGS / f"{name}.log"
        return f"{name} {what}. The end of {log}:\n{files.tail(log)}"

    def _remove(self, *, failed: bool) -> None:
        """Remove what the plan names; after a failure the logs and the state stay, to be read."""
        keep = {LOGS, STATE} if failed else set()
        held = (path.name for path in self.folder.glob("hold-*"))
        remove(self.folder, {*self.plan.remove, *held, LOGS, PLAN, STATE} - keep)
        with suppress(OSError):  # somebody's own files in it keep it
            self.folder.rmdir()


def answers(probe: Probe, context: ssl.SSLContext | None = None) -> bool:
    """Say whether the address answers 200, or the file exists, now; addresses are our own: no proxy is ever asked."""
    url = urllib.parse.urlsplit(probe.url)
    if url.scheme == "file":
        return Path(url.path).exists()
    host, port = url.hostname or "127.0.0.1", url.port
    connection = (
        HTTPSConnection(host, port, timeout=2, context=context) if context else HTTPConnection(host, port, timeout=2)
    )
    try:
        connection.request("GET", url.path or "/")
        return connection.getresponse().status == 200  # noqa: PLR2004 - the status code of HTTP
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def tls(probe: Probe) -> ssl.SSLContext | None:
    """Give what a probe needs to speak https, None for http."""
    if not probe.ca:
        return None
    context = ssl.create_default_context(cafile=probe.ca)
    if probe.certificate:
        context.load_cert_chain(probe.certificate, probe.key)
    return context


def _begin(supervisor: int, joined: tuple[int, ...]) -> None:
    """In the child, before exec: ask the kernel to be killed with the supervisor, look whether that came too late.

    supervisor: its pidfd, which ends with it and knows no namespace. joined: namespaces to live in.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if select.select([supervisor], [], [], 0)[0]:
        os._exit(1)
    namespaces.join(*joined)


def _leave_caller(log: Path) -> None:
    """Become a session of its own without a terminal; the caller's wait for us ends here."""
    if os.fork():
        os._exit(0)
    os.setsid()
    with log.open("ab") as file, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def main(folder: Path, *held: int) -> int:
    """Run the folder's plan; held: the lock on the folder and claims, descriptors that our starter passes on."""
    for descriptor in held:
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - the standard library's own signature
    plan = read_plan(folder)
    (folder / LOGS).mkdir(exist_ok=True)
    _leave_caller(folder / LOGS / "supervisor.log")
    return Supervisor(folder, plan, held[1:]).run()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
