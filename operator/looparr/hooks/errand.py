"""One piece of work as a process: with credentials, a limit, and an end that tidies up, at SIGTERM too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from looparr.clients.kube_access import KubeAccess
from looparr.errors import LooparrError
from looparr.hooks.calls import ApiCalls, ErrandFailed
from looparr.hooks.steps import Steps
from looparr.runtime.app import Runtime, run
from looparr.runtime.telemetry import configure_logging

Work = Callable[[ApiCalls, Steps], Awaitable[None]]


def carry_out(
    work: Work, *, kubeconfig: Path | None, environ: Mapping[str, str], limit: float, say: Callable[[str], None]
) -> None:
    """Do the work within `limit` seconds; `say` is told of each step.

    kubeconfig: None is the pod's own account. Raises ErrandFailed (what was seen, and the cure) and SettingsError.
    """
    configure_logging("warning", "console")
    access = KubeAccess.from_kubeconfig(kubeconfig) if kubeconfig else KubeAccess.from_pod(environ)
    errand = _Errand(work, access, Steps(say), limit)

    async def build(runtime: Runtime) -> None:
        runtime.spawn("errand", errand.run(runtime))

    run(build)
    if errand.outcome is not None:
        raise errand.outcome


class _Errand:
    """The work and what came of it: None is success."""

    def __init__(self, work: Work, access: KubeAccess, steps: Steps, limit: float) -> None:
        self.outcome: LooparrError | None = ErrandFailed("It ended before it was done: run it again.")
        self._work = work
        self._access = access
        self._steps = steps
        self._limit = limit

    async def run(self, runtime: Runtime) -> None:
        calls = ApiCalls(self._access, self._steps)
        try:
            async with asyncio.timeout(self._limit):
                await self._work(calls, self._steps)
            self.outcome = None
        except LooparrError as error:
            self.outcome = error
        except TimeoutError:
            self.outcome = ErrandFailed(f"It was not done after {self._limit:g} s. The last step: {self._steps.last}")
        finally:
            await calls.close()
            runtime.request_stop("done")
