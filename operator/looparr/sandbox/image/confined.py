"""Programs that mount and unpack as root, in namespaces of their own: whatever ends them leaves no mount behind.

Below /var/lib they cannot write: what root keeps there of containers stays untouched.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import debian

_LIMIT = 1800.0
_END = 30.0
_LAST_WORDS = 600
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
# setpriv: the kernel ends it with us, and `unshare --kill-child` takes everything in the namespaces along.
_ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_SCRIPT = """\
set -e
work=$1; shift
mount --bind "$work" "$work"  # keeps it writable, wherever it is
mount --rbind /var/lib /var/lib
mount -o remount,bind,ro /var/lib
exec "$@"
"""


def confined(command: Sequence[str | Path], work: Path, *, env: Mapping[str, str]) -> None:
    """Run a program as root in namespaces of its own.

    work: the folder that it works in, its temporary files among it. SandboxError with its last words where it fails.
    """
    run(
        [*_ALONE, "sh", "-c", _SCRIPT, "sh", work, *command],
        env={**env, "PATH": debian.search_path(env), "TMPDIR": str(work)},
        name=" ".join(map(str, command[:2])),
    )


def run(command: Sequence[str | Path], *, env: Mapping[str, str], name: str) -> str:
    """Run a program to its end and give what it said; SandboxError with the end of that where it fails.

    When this is interrupted, the program and all that still write to where it wrote are gone before the interrupt
    goes on. name: what to call it in a complaint.
    """
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    try:
        said, _ = process.communicate(timeout=_LIMIT)
    except BaseException as stopped:
        process.kill()
        process.communicate(timeout=_END)
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise SandboxError(f"`{name}` did not end in {_LIMIT:g} s.") from stopped
        raise
    if process.returncode:
        raise SandboxError(f"`{name}` failed: {_LOGIN.sub('***', said).strip()[-_LAST_WORDS:]}")
    return said
