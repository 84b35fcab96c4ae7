"""Removes a sandbox's control groups once it has ended, because nothing in the kernel does.

`python -m looparr.sandbox.node.sweep NAME` waits for the end of its standard input, which comes when the supervisor
ends, by whatever signal. It holds the sandbox's claim on its block until it is done: no successor meets what it sweeps.
"""

from __future__ import annotations

import signal
import sys

from looparr.sandbox.node import cgroups


def main(name: str) -> int:
    """Wait, sweep, and say what could not be removed."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends by itself, after the supervisor
    sys.stdin.buffer.read()
    left = cgroups.remove(name)
    for group in left:
        sys.stderr.write(f"Still in use, not removed: {group}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
