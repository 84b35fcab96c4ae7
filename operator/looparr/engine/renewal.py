"""A Stalled loop runs again when a Secret that its spec names has changed: once for each change, never without one.

Who was refused with a password does not try the same one again (some programs then ban the address), so what counts is
the version that the last turn really used. After a restart the versions of the first look stand for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping

from looparr.api.refs import secret_names
from looparr.engine.loop import Loop, SecretWatch
from looparr.engine.services import Services
from looparr.errors import LoopError

LOG = logging.getLogger(__name__)


def note(loop: Loop, services: Services, used: Mapping[str, str]) -> None:
    """Remember the versions that a turn used; the next look comes when they may be outdated."""
    give_up(loop)
    loop.secrets = SecretWatch(dict(used), services.clock.monotonic() + services.secrets.reread)


def give_up(loop: Loop) -> None:
    """Give up the look that is under way."""
    if loop.secrets.looking is not None:
        loop.secrets.looking.cancel()


def watch(loop: Loop, services: Services) -> float:
    """Start the look that is due, if any; give the seconds until the next one is (inf: none, or one is under way)."""
    secrets, now = loop.secrets, services.clock.monotonic()
    names = secret_names(loop.subject.spec)
    if not names or secrets.looking is not None:
        return math.inf
    if now >= secrets.look_at:
        secrets.look_at = now + services.secrets.reread
        secrets.looking = asyncio.create_task(_look(loop, services, names), name=f"secrets {loop.ref}")
        return math.inf
    return secrets.look_at - now


async def _look(loop: Loop, services: Services, names: frozenset[str]) -> None:
    """Look once. Never raises but for cancellation; what could not be read is unchanged."""
    secrets = loop.secrets
    try:
        found = await services.secrets.versions(loop.ref.namespace, names)
    except LoopError as error:
        LOG.debug("Secrets of a stalled loop not read, loop=%s reason=%s", loop.ref, error.reason)
    except Exception:
        LOG.exception("reading Secrets raised, loop=%s", loop.ref)
    else:
        before = {name: secrets.versions.setdefault(name, version) for name, version in found.items()}
        secrets.changed = before != found
    finally:
        secrets.looking = None
        loop.wake.set()
