"""Runs one credential plugin, as a program of its own: `python -m looparr.clients.kube_plugin < QUESTION`.

How plugins are asked is the official client's business. It costs 45 MiB and a second to import, and would let a plugin
ask the terminal and wait for ever: in a process apart nothing of that touches the operator.

QUESTION and the answer on stdout are JSON: {"exec": ..., "cluster": ..., "folder": ...} gives the plugin's `status`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from kubernetes.config import ConfigException
from kubernetes.config.exec_provider import ExecProvider
from kubernetes.config.kube_config import ConfigNode


def answer(question: dict[str, Any]) -> Any:
    """Run the plugin; give its status. Raises ConfigException, OSError."""
    plugin = ConfigNode("exec", question["exec"])  # type: ignore[no-untyped-call]
    cluster = ConfigNode("cluster", question["cluster"])  # type: ignore[no-untyped-call]
    return ExecProvider(plugin, question["folder"], cluster).run()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    try:
        told = answer(json.load(sys.stdin))
    except (ConfigException, OSError, TypeError, KeyError, ValueError) as error:
        sys.exit(str(error))
    json.dump(told, sys.stdout)
