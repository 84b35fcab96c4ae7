"""`make` on a fresh machine: what is missing is installed, or named with its cure; nothing is needed in an order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
SYSTEM = ("bash", "make", "touch", "mkdir", "awk", "env", "true", "cp", "chmod", "cat")
PYTHON = """#!/bin/bash
echo "python $*" >> calls
case "$*" in
  *ensurepip*) test -e venv-package ;;
  "-m venv "*) mkdir -p "$3/bin"; for one in python ruff; do cp "$0" "$3/bin/$one"; done ;;
esac
"""
APT = """#!/bin/bash
echo "apt-get $*" >> calls
case "$*" in
  install*) test -e lists && touch venv-package ;;
  update*) touch lists ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with a Python that cannot make virtual environments, with apt-get, and nothing else."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in SYSTEM:
        found = shutil.which(name)
        assert found, name
        (programs / name).symlink_to(found)
    program(tmp_path, "python3", PYTHON)
    program(tmp_path, "apt-get", APT)
    program(tmp_path, "id", "#!/bin/bash\necho 0\n")
    shutil.copy(MAKEFILE, tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    return tmp_path


def program(machine: Path, name: str, text: str) -> None:
    path = machine / "programs" / name
    path.write_text(text)
    path.chmod(0o755)


def make(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words],
        cwd=machine,
        env={"PATH": str(machine / "programs")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls(machine: Path) -> list[str]:
    return (machine / "calls").read_text().splitlines()


def test_root_gets_the_missing_package_and_is_told(machine: Path) -> None:
    ended = make(machine, "setup")
    assert ended.returncode == 0, ended.stderr
    assert "Installing python3-venv" in ended.stdout
    assert [one for one in calls(machine) if one.startswith("apt-get")] == [
        "apt-get install -y -qq python3-venv",
        "apt-get update -qq",
        "apt-get install -y -qq python3-venv",
    ]
    assert (machine / ".venv" / ".ready").exists()


def test_a_user_without_sudo_is_told_what_to_type(machine: Path) -> None:
    program(machine, "id", "#!/bin/bash\necho 1000\n")
    ended = make(machine, "setup")
    assert ended.returncode != 0
    assert "sudo apt-get install python3-venv make" in ended.stderr
    assert not (machine / ".venv").exists()
    assert not [one for one in calls(machine) if one.startswith("apt-get")]


def test_a_user_with_sudo_without_a_password_gets_the_package(machine: Path) -> None:
    program(machine, "id", "#!/bin/bash\necho 1000\n")
    program(machine, "sudo", '#!/bin/bash\nshift\nexec "$@"\n')
    assert make(machine, "setup").returncode == 0
    assert "apt-get update -qq" in calls(machine)


def test_a_python_that_is_complete_needs_no_apt_get(machine: Path) -> None:
    (machine / "venv-package").touch()
    assert make(machine, "setup").returncode == 0
    assert not [one for one in calls(machine) if one.startswith("apt-get")]


def test_each_check_sets_itself_up(machine: Path) -> None:
    (machine / "venv-package").touch()
    ended = make(machine, "lint")
    assert ended.returncode == 0, ended.stderr
    assert calls(machine)[-2:] == ["python check .", "python format --check ."]


def test_checks_at_the_same_time_share_one_setup(machine: Path) -> None:
    (machine / "venv-package").touch()
    assert make(machine, "-j4", "lint", "generated", "setup").returncode == 0
    assert sum(one.startswith("python -m venv") for one in calls(machine)) == 1


def test_help_lists_every_command_without_further_programs(machine: Path) -> None:
    ended = make(machine, "help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert [line.split()[0] for line in ended.stdout.splitlines()] == [
        line.partition(":")[0] for line in MAKEFILE.read_text().splitlines() if ":" in line and " ## " in line
    ]
