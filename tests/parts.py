"""What the fixtures of all layers share about real parts: whose run this is, and what to do when one is missing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from looparr.sandbox import image
from looparr.sandbox.qbittorrent import QBittorrent

ROOT = Path(__file__).parents[1]
IMAGE = "localhost/looparr:e2e"
RUN = pytest.StashKey[int]()
"""The pid that a whole run ends with: pytest itself, or xdist's controller in a worker."""

MakeQBittorrent = Callable[..., QBittorrent]
"""`make(name="qbittorrent", password=None) -> QBittorrent`"""


def unavailable(error: Exception) -> NoReturn:
    """Skip, or fail where the set-up is supposed to have installed everything."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"with CI=true nothing may be missing: {error}", pytrace=False)
    pytest.skip(str(error))


def needs_root() -> None:
    """Skip where this user is not root: what the test is about is root's alone."""
    if os.geteuid() != 0:
        pytest.skip("takes root")


def looparr_image() -> Path:
    """Looparr's image as an archive, built from this checkout unless nothing has changed. Raises SandboxError."""
    return image.build(ROOT, tag=IMAGE, into=ROOT / ".cache" / "image.tar", env=os.environ)


def run_folder(run: int) -> Path:
    """The control plane of the whole run lives here; `run` is the pid that the run ends with."""
    return Path(tempfile.gettempdir()) / f"looparr-run-{run}" / "control-plane"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The real kubectl, as the cluster's admin or whoever `kubeconfig` names."""

    program: Path
    kubeconfig: Path
    limit: float = 30

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it and give what it printed; AssertionError with its own words where it fails."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it, see it fail, and give what it complained about."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode, f"kubectl {' '.join(arguments)} was not refused: {done.stdout}"
        return done.stderr

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it, whatever comes of it, within `limit` seconds."""
        command = [self.program, *arguments]
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run(
            command, env=env, input=stdin or "", capture_output=True, text=True, timeout=self.limit, check=False
        )

    def acting_as(self, kubeconfig: Path) -> Kubectl:
        """The same program with another kubeconfig."""
        return Kubectl(self.program, kubeconfig, self.limit)
