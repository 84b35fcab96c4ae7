"""The right to change something: asked before every deed, read anew when the last look is old."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from arr_models import T0, spec
from looparr.api.meta import ARR_INSTANCE, ObjectRef
from looparr.arr.send import FENCE_AGE, Right
from looparr.arr.surroundings import Registry
from looparr.engine.types import Fenced, Subject, Turn
from looparr.errors import Blocked


def subject(uid: str, seconds: int, namespace: str = "media", name: str = "radarr") -> Subject:
    return Subject(ObjectRef(ARR_INSTANCE, namespace, name, uid), 1, T0.replace(second=seconds), spec())


@dataclass
class Watch:
    """The object as the engine sees it, and a clock."""

    now: float = 100.0
    reads: int = 0
    lost: str = ""
    gone: bool = False

    async def fence(self) -> None:
        self.reads += 1
        if self.gone:
            raise Fenced("gone")

    def right(self) -> Right:
        turn = Turn(
            subject("u", 0),
            1,
            triggered=False,
            block={},
            fence=self.fence,
            report=lambda _: None,
            lost=lambda: self.lost,
        )
        return Right(turn, lambda: self.now)


async def test_the_object_is_read_once_and_again_when_the_look_is_old() -> None:
    watch = Watch()
    right = watch.right()
    for moment in (0.0, 1.0, FENCE_AGE):
        watch.now = 100.0 + moment
        await right.ask()
    assert watch.reads == 1
    watch.now, watch.gone = 100.1 + FENCE_AGE, True
    for reads in (2, 3):
        with pytest.raises(Fenced, match="gone"):
            await right.ask()
        assert watch.reads == reads, "a look that failed counts for nothing"


async def test_a_right_that_is_known_to_be_lost_needs_no_look() -> None:
    watch = Watch()
    right = watch.right()
    await right.ask()
    watch.lost = "suspended"
    with pytest.raises(Fenced, match="suspended"):
        right.check()
    with pytest.raises(Fenced, match="suspended"):
        await right.ask()
    assert watch.reads == 1


@pytest.mark.parametrize(
    ("namespace", "said"), [("media", "ArrInstance media/secret"), ("other", "an ArrInstance elsewhere")]
)
def test_the_older_instance_is_named_within_its_own_namespace_only(namespace: str, said: str) -> None:
    registry = Registry()
    registry.claim(subject("a", 1, name="secret"), ["url x", "key y"])
    with pytest.raises(Blocked) as refused:
        registry.claim(subject("b", 2, namespace), ["url x"])
    assert refused.value.reason == "DuplicateInstance"
    assert refused.value.message.startswith(said)
    assert ("secret" in refused.value.message) is (namespace == "media")
