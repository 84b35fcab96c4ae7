"""The API server away for longer than any time-out between it and the operator: every loop goes on.

The issue says two minutes. What two minutes could add to a shorter outage are time-outs that only then run out, so each
outage here lasts until the operator's own log shows that the last of them has:

- a call of ours ends after 8 s (5 s to connect), and the turn that made it goes on;
- Kopf tries a request again and again, with pauses of 1, 1, 2, 3, 5, 8, 13 and 21 s; left to itself it gives up after
  these 54 s and drops what it was about to do. Where connections are refused nothing else takes time: the ninth try is
  waited for, and the first of the next round of each watch, which is like the one before;
- Kopf takes a watch for dead 70 s after its last event. That comes first where the API server is frozen: connections
  are made and never answered. It is waited for, and the first try for a new watch that fails. The next time-out, of
  that new watch, would come after 140 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from looparr.sandbox.files import wait_until
from outage_kit import LAST, Scene, Wire, frozen, own_plane, stage

MANY = 100
FEW = 10
"""So few that the API server still knows all events since the cut when they are asked for: nothing is listed anew."""


class Scenes(NamedTuple):
    """killed: the API server is away and starts anew. cut_off: nothing of it reaches the operator, others use it on."""

    frozen: Scene
    killed: Scene
    cut_off: Scene


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scenes]:
    """All outages at one time, since most of them is waiting."""
    folders = [tmp_path_factory.mktemp(name) for name in Scenes._fields]
    with ExitStack() as stack, ThreadPoolExecutor(len(folders)) as pool:
        planes = list(pool.map(lambda folder: stack.enter_context(own_plane(folder)), folders))
        wire = stack.enter_context(Wire(planes[2].server))
        ice = stack.enter_context(stage(planes[0], folders[0], rounds=1, sweeps=MANY))
        ice.begin(frozen(ice.plane))
        killed = stack.enter_context(stage(planes[1], folders[1], rounds=2, sweeps=MANY))
        killed.begin(killed.plane.apiserver_down())
        cut_off = stack.enter_context(stage(planes[2], folders[2], rounds=2, sweeps=FEW, server=wire.url))
        begin_cut_off(cut_off, wire)
        for scene in (killed, cut_off, ice):
            scene.over()
        yield Scenes(ice, killed, cut_off)


def begin_cut_off(scene: Scene, wire: Wire) -> None:
    """Begin while one loop is in mid-turn, the next of which is far, and one, too, that is being deleted."""
    loops, janitor = scene.loops, scene.janitor
    for name in ("resting", "asked"):
        loops.create(name)
        loops.until(name, lambda status: status.get("runCount") == 1, 30)
    with janitor.held("quiet"), janitor.held("doomed"):
        for name in ("quiet", "doomed"):
            loops.create(name)
        wait_until(lambda: janitor.open["quiet"] == janitor.open["doomed"] == 1, 30, "not in mid-turn")
        loops.delete("doomed")
        loops.create("later")
        wait_until(lambda: janitor.calls["later"], 30, "the watch is late")
        scene.begin(wire.cut())
    loops.create("newborn")
    loops.trigger("asked", "in the outage")
    loops.delete("resting")


@pytest.fixture(params=Scenes._fields)
def scene(request: pytest.FixtureRequest, scenes: Scenes) -> Scene:
    found: Scene = getattr(scenes, request.param)
    return found


def test_every_loop_runs_again_in_the_same_process(scene: Scene) -> None:
    assert not [name for name in scene.sweeps if scene.after[name] <= scene.before[name]], "loops stood still meanwhile"

    def again() -> bool:
        runs = scene.runs()
        return all(runs[name] > scene.after[name] for name in scene.sweeps)

    wait_until(again, 120, "loops ended", every=0.3)
    scene.loops.create("newcomer", interval="1s")
    scene.loops.until("newcomer", lambda status: status.get("runCount", 0) >= 2, 60)
    scene.loops.delete("newcomer")
    wait_until(lambda: scene.loops.gone("newcomer"), 30, "it is not let go")
    wait_until(lambda: scene.operator.probe("/readyz") == 200, 20, "it is not ready")
    assert scene.operator.process.poll() is None


def test_an_object_that_was_in_deletion_when_it_began_is_let_go_when_it_is_over(scenes: Scenes) -> None:
    """Its finalizer was about to be taken away, and nothing will happen to it any more that would remind of it."""
    wait_until(lambda: scenes.cut_off.loops.gone("doomed"), 60, "it is not let go")


def test_what_was_changed_meanwhile_is_caught_up_with(scenes: Scenes) -> None:
    loops = scenes.cut_off.loops
    loops.until("newborn", lambda status: status.get("runCount") == 1, 60)
    loops.until("asked", lambda status: status.get("lastHandledRequestedAt") == "in the outage", 60)
    wait_until(lambda: loops.gone("resting"), 30, "it is not let go")


def test_every_finished_turn_is_in_the_status_and_no_run_count_went_back(scene: Scene) -> None:
    assert scene.operator.stop() == 0
    scene.loops.create(LAST)
    scene.counts.join()
    runs = scene.runs()
    assert runs == {name: scene.janitor.calls[name] for name in runs}
    assert not scene.counts.went_back
