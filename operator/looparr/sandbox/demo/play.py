"""Runs the demo from the first process to the last line that a person reads."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from looparr.sandbox.demo.stage import NAMESPACE, Stage, stage
from looparr.sandbox.demo.story import Story, see
from looparr.sandbox.demo.watcher import Watcher
from looparr.sandbox.progress import Progress

SEEN_WITHIN = 180.0


def play(*, once: bool, progress: Progress, say: Callable[[str], None], folder: Path | None = None) -> None:
    """Play the demo. once: end as soon as everything was seen; else stay until Ctrl-C or SIGTERM.

    say: writes a line for people to stdout. Raises SandboxError when something was not seen.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does: everything is stopped
    with tempfile.TemporaryDirectory(prefix="looparr-demo-") as temporary, suppress(KeyboardInterrupt):
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        asyncio.run(_play(place, once=once, progress=progress, say=say))


async def _play(folder: Path, *, once: bool, progress: Progress, say: Callable[[str], None]) -> None:
    async with stage(folder, progress) as found:
        await _perform(found, once=once, progress=progress, say=say)


async def _perform(found: Stage, *, once: bool, progress: Progress, say: Callable[[str], None]) -> None:
    with progress.working("Applying the CRDs and the operator's rights"):
        await asyncio.to_thread(found.apply_contract)
    progress.note("CRDs and the operator's ServiceAccount are applied")
    watcher = Watcher(found.control_plane.kubeconfig, NAMESPACE)
    story = Story(found, watcher)
    with progress.working("Letting Radarr grab three releases"):
        await story.set_the_scene()
    path = await asyncio.to_thread(found.apply_demo)
    progress.note(f"One ArrInstance and three BackgroundLoops are applied ({path})")
    watcher.start()
    await asyncio.to_thread(found.start_operator)
    feeding = asyncio.create_task(found.home.feed(), name="swarm")
    try:
        await see(story, progress, SEEN_WITHIN)
        say(await asyncio.to_thread(found.kubectl, "get", "loops", "-A"))
        if not once:
            _invite(found, say)
            await asyncio.Event().wait()
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding
        watcher.stop()
        await asyncio.to_thread(found.stop_operator)
        progress.note("The operator was asked to stop, and did")


def _invite(found: Stage, say: Callable[[str], None]) -> None:
    kubeconfig = shlex.quote(str(found.control_plane.kubeconfig))
    kubectl = f"{shlex.quote(str(found.control_plane.kubectl))} --kubeconfig {kubeconfig} -n {NAMESPACE}"
    say("Everything was seen. It all stays up until Ctrl-C. Look further:")
    say(f"  alias k='{kubectl}'")
    say("  k get loops; k get arr radarr -o yaml; k describe arr radarr; k explain arr.spec.rules")
    say("  k get loop sweep -w")
    say('  k annotate loop report looparr.dev/requestedAt="$(date +%s)" --overwrite')
    downloads = found.home.downloads
    say(f"  qBittorrent: {downloads.url} ({downloads.username} / {downloads.password})")
    if found.operator is not None:
        looparr = shlex.quote(str(Path(sys.executable).with_name("looparr")))
        say(f"  {looparr} why --store {shlex.quote(str(found.operator.store))} Stalled")
        say(f"  the operator's log: {found.operator.log}; its metrics: {found.operator.url}/metrics")
