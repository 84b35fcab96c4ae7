"""The README's first command, as people run it: everything it promises has to be seen, or it fails."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from looparr.sandbox import processes
from looparr.sandbox.files import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.real]


def test_the_demo_shows_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "looparr.cli", "demo", "--once", "--dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr
    assert "arrinstance.looparr.dev/radarr" in done.stdout
    assert "backgroundloop.looparr.dev/broken" in done.stdout
    for promise in (
        "A healthy download finished",
        "A stalled one was removed, blocklisted, and searched again once",
        "Its replacement was grabbed and imported",
        "A seeded one met its goal",
        "The operator was killed with SIGKILL; its successor goes on counting",
    ):
        assert promise in done.stderr
    assert processes.under(folder) == {}


def test_why_answers_for_the_removed_torrent_after_the_demo(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo = subprocess.Popen(
        [sys.executable, "-m", "looparr.cli", "demo", "--dir", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        end = time.monotonic() + 300
        while "looparr why" not in (line := demo.stdout.readline()):
            assert line, "the demo ended before it invited to look further"
            assert time.monotonic() < end
        store = str(folder / "operator" / "looparr.db")
        url = demo.stdout.readline().rpartition("its metrics: ")[2].strip().removesuffix("/metrics")
        why = [sys.executable, "-m", "looparr.cli", "why", "--store", store, "Stalled"]
        answer = subprocess.run(why, capture_output=True, text=True, timeout=60, check=False)
        assert answer.returncode == 0, answer.stderr
        assert "Replace Verified by stalled: Stalled for" in answer.stdout
        assert "Search Sent" in answer.stdout
        metrics = urllib.request.urlopen(f"{url}/metrics", timeout=10).read().decode()
        assert 'looparr_runs_total{kind="ArrInstance",result="Succeeded"}' in metrics
        assert 'looparr_loops{kind="ArrInstance"' in metrics
    finally:
        demo.terminate()
        demo.communicate(timeout=60)
    wait_until(lambda: not processes.under(folder), 20, "the demo left processes behind")
