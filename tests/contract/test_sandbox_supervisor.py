"""One process owns all others: what it does when they die, when it dies, and when its owner dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import files, processes
from looparr.sandbox.processes import Plan, Probe, Program, launch, read_state, shut_down

ENV = {"PATH": os.environ["PATH"]}


def shell(name: str, script: str, folder: Path, **options: Any) -> Program:
    return Program(name, ("/bin/sh", "-c", script, str(folder / name)), ENV, **options)  # $0 names the folder


def sleeper(name: str, folder: Path, **options: Any) -> Program:
    return shell(name, "while :; do sleep 0.05; done", folder, **options)


def go(folder: Path, *programs: Program, **options: Any) -> processes.State:
    descriptor = files.lock_folder(folder)
    assert descriptor is not None
    return launch(folder, Plan(programs, **options), descriptor, limit=20)


def wait(condition: Callable[[], object]) -> None:
    files.wait_until(condition, 10, "That never came")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "box"
    yield place
    shut_down(place)
    assert not processes.under(place)


def test_a_stop_ends_everything_in_reverse_order_and_removes_what_was_made(folder: Path, tmp_path: Path) -> None:
    order = tmp_path / "order"
    script = f"trap 'echo $0 >> {order}; exit' TERM; while :; do sleep 0.02; done"
    ready = "trapped"
    programs = [
        shell(name, script.replace("while", f"touch {tmp_path}/{ready}-{name}; while", 1), folder) for name in "abc"
    ]
    go(folder, *programs, remove=("rubbish",))
    (folder / "rubbish").mkdir()
    wait(lambda: len(list(tmp_path.glob(f"{ready}-*"))) == 3)
    assert shut_down(folder)
    assert [line.rpartition("/")[2] for line in order.read_text().split()] == ["c", "b", "a"]
    assert not folder.exists()
    assert not processes.under(folder)


def test_somebodys_own_file_in_the_folder_stays(folder: Path) -> None:
    go(folder, sleeper("a", folder))
    (folder / "mine.txt").write_text("mine")
    shut_down(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_child_that_dies_is_started_again(folder: Path) -> None:
    first = go(folder, sleeper("a", folder)).pids["a"]
    os.kill(first, signal.SIGKILL)
    wait(lambda: read_state(folder).pids["a"] != first)
    assert read_state(folder).phase == "Ready"


def test_a_held_child_stays_down_until_the_file_is_gone(folder: Path) -> None:
    first = go(folder, sleeper("a", folder), sleeper("b", folder)).pids["a"]
    (folder / "hold-a").touch()
    os.kill(first, signal.SIGKILL)
    second = read_state(folder).pids["b"]
    os.kill(second, signal.SIGKILL)
    wait(lambda: read_state(folder).pids["b"] != second)  # the supervisor is awake and does its work meanwhile
    assert read_state(folder).pids["a"] == first
    (folder / "hold-a").unlink()
    wait(lambda: read_state(folder).pids["a"] != first)


def test_a_child_that_may_stay_dead_stays_dead(folder: Path) -> None:
    state = go(folder, sleeper("a", folder, restart=False), sleeper("b", folder))
    os.kill(state.pids["a"], signal.SIGKILL)
    os.kill(state.pids["b"], signal.SIGKILL)
    wait(lambda: read_state(folder).pids["b"] != state.pids["b"])
    assert read_state(folder).pids["a"] == state.pids["a"]


def test_kill_9_of_the_supervisor_leaves_no_process(folder: Path) -> None:
    state = go(folder, sleeper("a", folder), sleeper("b", folder))
    os.kill(state.supervisor, signal.SIGKILL)
    wait(lambda: not processes.under(folder))
    assert not files.is_locked(folder)
    assert not shut_down(folder)


def test_a_frozen_child_and_one_that_does_not_listen_are_stopped_too(folder: Path) -> None:
    deaf = shell("deaf", "trap '' TERM; while :; do sleep 0.05; done", folder, grace=0.3)
    state = go(folder, sleeper("frozen", folder, grace=2), deaf)
    os.kill(state.pids["frozen"], signal.SIGSTOP)
    assert shut_down(folder, limit=10)
    assert not processes.under(folder)


def test_a_program_that_fails_is_told_with_the_end_of_its_log(folder: Path) -> None:
    with pytest.raises(SandboxError, match=r"b ended at once with exit code 7.*\n.*no such spoon") as told:
        go(folder, sleeper("a", folder), shell("b", "echo no such spoon; exit 7", folder), sleeper("c", folder))
    log = folder / "logs" / "b.log"
    assert str(log) in str(told.value)
    wait(lambda: not files.is_locked(folder))
    assert log.read_text() == "no such spoon\n"


def test_an_early_death_shows_while_a_later_one_is_waited_for(folder: Path) -> None:
    never = Probe("http://127.0.0.1:9/")
    with pytest.raises(SandboxError, match="a ended at once with exit code 3"):
        go(folder, shell("a", "sleep 0.3; exit 3", folder), sleeper("b", folder, probe=never))


def test_a_program_that_is_never_ready_has_a_limit(folder: Path) -> None:
    with pytest.raises(SandboxError, match=r"a was not ready after 0\.2 s"):
        go(folder, sleeper("a", folder, probe=Probe("http://127.0.0.1:9/"), ready_within=0.2))


def test_it_lives_on_when_the_thread_that_started_it_ends(folder: Path) -> None:
    thread = threading.Thread(target=go, args=(folder, sleeper("a", folder)))
    thread.start()
    thread.join()
    pid = read_state(folder).pids["a"]
    assert processes.identity(pid) is not None
    assert files.is_locked(folder)
    assert pid in processes.under(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_process_it_is_bound_to(folder: Path, number: signal.Signals) -> None:
    script = f"""
import os, time
from pathlib import Path
from looparr.sandbox import files, processes
folder = Path({str(folder)!r})
program = processes.Program("a", ("/bin/sh", "-c", "while :; do sleep 0.05; done", str(folder / "a")), {ENV!r})
plan = processes.Plan((program,), bound_to=processes.identity(os.getpid()))
processes.launch(folder, plan, files.lock_folder(folder), limit=20)
print("up", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout.readline() == "up\n"
        assert len(processes.under(folder)) == 2
        owner.send_signal(number)
    wait(lambda: not processes.under(folder))
    assert not folder.exists()


def test_it_does_not_start_for_an_owner_that_is_gone(folder: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as gone:
        identity = processes.identity(gone.pid)
        gone.kill()
    with pytest.raises(SandboxError):
        go(folder, sleeper("a", folder), bound_to=identity)
    wait(lambda: not processes.under(folder))
    assert not folder.exists()


def test_a_folder_has_one_holder_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "box"
    descriptor = files.lock_folder(folder)
    assert files.is_locked(folder)
    assert files.lock_folder(folder) is None
    os.close(descriptor)
    assert not files.is_locked(folder)


def test_free_ports_are_distinct_and_wanted_ones_come_first_if_nobody_has_them() -> None:
    first = files.free_ports(4)
    assert len(set(first)) == 4
    assert files.free_ports(4, wanted=first) == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first[0]))
        taken.listen()
        assert first[0] not in files.free_ports(4, wanted=first)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    stop = time.monotonic() + 0.5
    seen = set()
    contents = ["a" * 100_000, "b" * 200_000]
    files.write_whole(path, contents[0])

    def write() -> None:
        while time.monotonic() < stop:
            for content in contents:
                files.write_whole(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    while writer.is_alive():
        seen.add(path.read_text())
    writer.join()
    assert seen <= set(contents)
    assert path.stat().st_mode & 0o777 == 0o600


def test_processes_are_told_from_those_of_a_folder_with_a_longer_name(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60", str(tmp_path / "box2")]) as other:
        wait(lambda: other.pid in processes.under(tmp_path / "box2"))
        assert other.pid not in processes.under(tmp_path / "box")
        other.kill()
