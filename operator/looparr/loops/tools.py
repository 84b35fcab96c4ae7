"""What bodies of BackgroundLoops are built from: things of the process that all of them share."""

from __future__ import annotations

from dataclasses import dataclass

from looparr.clients.kube_secrets import SecretReader
from looparr.clients.loophttp import LoopHttp


@dataclass(frozen=True, slots=True)
class Tools:
    """Shared by all BackgroundLoops of a process."""

    http: LoopHttp
    secrets: SecretReader
