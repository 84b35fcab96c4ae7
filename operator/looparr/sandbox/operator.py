"""The operator as a process of the sandbox: with a ServiceAccount's token, started again when it dies, like a pod."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import files, processes
from looparr.sandbox.processes import Plan, Probe, Program

_NAME = "operator"
_READY_WITHIN = 60.0
_GRACE = 12.0


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """One operator. folder: its log, its store. url: its probes and metrics."""

    folder: Path
    url: str

    @classmethod
    def start(
        cls, folder: Path, kubeconfig: Path, *, arguments: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> OperatorProcess:
        """Start it and give it once /readyz says yes; it ends with this process. arguments: further flags."""
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = files.lock_folder(folder)
        if descriptor is None:
            raise SandboxError(f"An operator runs in {folder} already.")
        url = f"http://127.0.0.1:{files.free_ports(1)[0]}"
        command = (
            *(sys.executable, "-m", "looparr.cli", "operator", "--kubeconfig", str(kubeconfig)),
            *("--store", str(folder / "looparr.db"), "--probes-port", url.rpartition(":")[2]),
            *arguments,
        )
        environment = {"PATH": os.defpath, "HOME": str(folder), "LC_ALL": "C.UTF-8", **(env or {})}
        program = Program(
            _NAME, command, environment, probe=Probe(f"{url}/readyz"), ready_within=_READY_WITHIN, grace=_GRACE
        )
        plan = Plan((program,), {"url": url}, bound_to=processes.identity(os.getpid()))
        processes.launch(folder, plan, descriptor, limit=_READY_WITHIN * 2)
        return cls(folder, url)

    @property
    def pid(self) -> int:
        """Its pid at present; SandboxError where it does not run."""
        state = processes.read_state(self.folder)
        if state is None or _NAME not in state.pids or not files.is_locked(self.folder):
            raise SandboxError(f"The operator does not run: see {self.log}")
        return state.pids[_NAME]

    @property
    def log(self) -> Path:
        """Where it logs to."""
        return self.folder / processes.LOGS / f"{_NAME}.log"

    @property
    def store(self) -> Path:
        """The file of its strikes, intents and actions."""
        return self.folder / "looparr.db"

    def kill(self) -> None:
        """End it as the kernel would when memory is short; it is started again, as a pod would be."""
        before = processes.identity(self.pid)
        processes.signal_process(self.pid, signal.SIGKILL)
        files.wait_until(lambda: self._successor(before), _READY_WITHIN, "The operator was not started again")

    def _successor(self, before: processes.Process | None) -> bool:
        state = processes.read_state(self.folder)
        pid = state.pids.get(_NAME) if state else None
        return pid is not None and processes.identity(pid) not in {None, before}

    def stop(self) -> None:
        """Ask it to stop, and wait."""
        processes.shut_down(self.folder, limit=_GRACE * 2)
