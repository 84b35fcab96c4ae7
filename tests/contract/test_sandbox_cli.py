"""What the commands print where, and with which exit code they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import looparr


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "looparr.cli", *arguments]
    return subprocess.run(command, env={"PATH": "", **env}, capture_output=True, text=True, timeout=60, check=False)


def test_the_version_is_data() -> None:
    done = run("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"looparr {looparr.__version__}\n", "")


def test_version_does_not_wait_for_what_it_does_not_need() -> None:
    code = "import sys; sys.argv = ['looparr', 'version']\nfrom looparr.cli import run\ntry:\n run()\nfinally:\n"
    code += " print([name for name in ('kopf', 'kubernetes', 'cryptography', 'qbittorrentapi') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_or_option_is_a_matter_of_usage() -> None:
    for wrong in (("nonsense",), ("sandbox", "nonsense"), ("sandbox", "up", "--nonsense"), ("sandbox", "servarr")):
        done = run(*wrong)
        assert (done.returncode, done.stdout) == (2, ""), wrong
        assert done.stderr


def test_help_lists_every_command() -> None:
    assert {"sandbox", "version"} <= set(run("--help").stdout.replace("│", " ").split())
    listed = set(run("sandbox", "--help").stdout.replace("│", " ").split())
    assert {"up", "down", "kubeconfig", "binaries", "servarr"} <= listed


def test_missing_programs_are_listed_without_a_traceback(tmp_path: Path) -> None:
    done = run("sandbox", "binaries", XDG_CACHE_HOME=str(tmp_path), HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "qbittorrent-nox"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_found_programs_are_data_on_stdout(tmp_path: Path) -> None:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "qbittorrent-nox"):
        (tmp_path / name).write_text("#!/bin/sh\necho qBittorrent v9.8.7\n")
        (tmp_path / name).chmod(0o755)
    named = str(tmp_path / "qbittorrent-nox")
    done = run("sandbox", "binaries", LOOPARR_SANDBOX_BIN=str(tmp_path), LOOPARR_QBITTORRENT=named, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [line.split()[:3] for line in done.stdout.splitlines()] == [
        ["etcd", "v9.8.7", "LOOPARR_SANDBOX_BIN"],
        ["kube-apiserver", "v9.8.7", "LOOPARR_SANDBOX_BIN"],
        ["kube-controller-manager", "v9.8.7", "LOOPARR_SANDBOX_BIN"],
        ["kubectl", "v9.8.7", "LOOPARR_SANDBOX_BIN"],
        ["qbittorrent-nox", "v9.8.7", "LOOPARR_QBITTORRENT"],
    ]


def test_the_sandbox_lives_where_xdg_says(tmp_path: Path) -> None:
    done = run("sandbox", "kubeconfig", XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.returncode == 1
    assert str(tmp_path / "state" / "looparr" / "sandbox") in done.stderr
    assert done.stderr.count("\n") == 1
