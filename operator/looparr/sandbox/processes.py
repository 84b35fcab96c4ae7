"""What a supervisor is told to run, where it says how it goes, and how to look processes up from outside.

A sandbox folder holds `plan.json` (written by the client before the start), `state.json` (written by the supervisor),
and `logs/`; the folder itself is locked as long as its supervisor lives. All of it is plain JSON, for people.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from looparr.errors import SandboxError
from looparr.sandbox import files

PLAN, STATE, LOGS = "plan.json", "state.json", "logs"


class Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    """What tells that a program is ready: an http(s) address that answers 200, or file:///PATH that exists.

    Certificates as paths, for https.
    """

    url: str
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class Program(msgspec.Struct, frozen=True, omit_defaults=True):
    """One child of the supervisor.

    argv[0] is an absolute path. env is the child's whole environment. grace: seconds from SIGTERM to SIGKILL.
    restart: a child that ends by itself is started again, unless the file `hold-NAME` lies in the folder.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    probe: Probe | None = None
    ready_within: float = 30.0
    restart: bool = True
    grace: float = 10.0


class Process(msgspec.Struct, frozen=True):
    """A process and when it began (clock ticks since boot): the two together are never used twice."""

    pid: int
    began: int


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """All a supervisor needs to know.

    facts: what the client wants to find again in state.json (addresses, ports). remove: names in the folder that go
    away at the end. bound_to: the process whose end ends the sandbox. isolated: the first program is pid 1 of a pid
    namespace and makes a mount and a network namespace; the others run in all three. sweeper: a command that waits for
    the end of its standard input, which comes with the supervisor's, however that ends, and then removes what the
    kernel does not.
    """

    programs: tuple[Program, ...]
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)
    remove: tuple[str, ...] = ()
    bound_to: Process | None = None
    isolated: bool = False
    sweeper: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True):
    """How a supervisor says it goes. phase: Starting, Ready, Failed or Stopping; pids: program -> pid at present."""

    supervisor: int
    phase: str
    message: str = ""
    pids: Mapping[str, int] = msgspec.field(default_factory=dict)
    facts: Mapping[str, Any] = msgspec.field(default_factory=dict)


def write(folder: Path, document: Plan | State) -> None:
    """Write a plan or a state into its file in the folder."""
    text = msgspec.json.format(msgspec.json.encode(document), indent=2)
    files.write_whole(folder / (PLAN if isinstance(document, Plan) else STATE), text)


def read_plan(folder: Path) -> Plan:
    """Read plan.json; OSError or msgspec.DecodeError where it cannot be had."""
    return msgspec.json.decode((folder / PLAN).read_bytes(), type=Plan)


def read_state(folder: Path) -> State | None:
    """Read state.json, None where there is none to be understood."""
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return None


def launch(folder: Path, plan: Plan, folder_lock: int, *claims: int, limit: float) -> State:
    """Start a supervisor for the plan and wait until all is ready.

    folder_lock: descriptor of the caller's lock on the folder; it passes to the supervisor and is closed here, as
    further claims are, which pass to the sweeper, too.
    SandboxError with the end of the right log where a program does not come up within `limit` seconds.
    """
    claim(folder, plan.facts)
    write(folder, plan)
    held = (folder_lock, *claims)
    command = [sys.executable, "-m", "looparr.sandbox.supervisor", str(folder), *map(str, held)]
    try:
        subprocess.run(command, pass_fds=held, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise SandboxError(f"The supervisor did not start: {error.stderr.strip()[-500:]}") from error
    finally:
        for descriptor in held:
            os.close(descriptor)
    return await_ready(folder, limit=limit)


def claim(folder: Path, facts: Mapping[str, Any]) -> None:
    """Mark a locked folder as a sandbox's before anything is put into it: what is in it may be removed later."""
    write(folder, State(0, "Starting", facts=facts))


def await_ready(folder: Path, *, limit: float) -> State:
    """Wait for another's start: gives the state once Ready, SandboxError where it failed or took too long."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        state = read_state(folder)
        if state and state.phase == "Failed":
            raise SandboxError(state.message)
        if state and state.phase == "Ready":
            return state
        if not files.is_locked(folder):
            break
        time.sleep(0.03)
    log = folder / LOGS / "supervisor.log"
    raise SandboxError(f"The sandbox in {folder} did not get ready. The end of {log}:\n{files.tail(log)}")


def shut_down(folder: Path, *, limit: float = 30.0) -> bool:
    """Have the folder's supervisor stop everything and wait until it is gone; False where none lives in it."""
    end = time.monotonic() + limit
    while not (supervisor := _supervisor(folder)):
        if not files.is_locked(folder):
            return False
        if time.monotonic() > end:
            raise SandboxError(f"Another process still prepares {folder}: end that one first.")
        time.sleep(0.05)
    process = identity(supervisor)
    if process is None or not files.is_locked(folder):
        return False  # the number is that of a dead one, or of somebody else by now
    signal_process(supervisor, signal.SIGTERM)
    try:
        files.wait_until(lambda: identity(supervisor) != process, limit, "The supervisor did not end")
    except SandboxError:
        signal_process(supervisor, signal.SIGKILL)  # the kernel takes its children along
        files.wait_until(lambda: identity(supervisor) != process, 5, f"Supervisor {supervisor} cannot be killed")
    return True


def _supervisor(folder: Path) -> int:
    state = read_state(folder)
    return state.supervisor if state else 0


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove these files and folders from the folder; what is not there is no error."""
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def signal_process(pid: int, number: int) -> None:
    """Send a signal; a process that is gone already is no error."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def identity(pid: int) -> Process | None:
    """Give the living process behind a pid, None where there is none (one that only waits to be reaped is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else Process(pid, int(fields[19]))


def under(folder: Path) -> dict[int, str]:
    """Find the living processes whose command line names the folder: pid -> command line."""
    wanted, found = re.compile(re.escape(str(folder)) + r"(?![^/\s:])"), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue
            if wanted.search(command):
                found[int(entry.name)] = command
    return found
