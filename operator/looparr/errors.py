"""The one tree of errors. The class decides what happens next; nobody compares messages.

    LooparrError
    +-- SettingsError        a flag or LOOPARR_* is wrong: readable message, exit 2
    +-- SandboxError         the throw-away cluster or one of its parts cannot be had; names the cure
    +-- StateError           the process cannot trust its own state (store damaged, second writer): exit 1
    +-- WriteFailed          a status could not be written; the engine keeps it for the next turn
    +-- LoopError            ends one turn of one loop; `engine.finalize` turns it into conditions
        +-- Transient        may be gone next time (time-out, 5xx, 429, cut connection): backoff
        +-- Blocked          waits for somebody (Secret, 401, 403, 404, dependency): looked at again every 30 s
        +-- Permanent        only a new spec or Secret can help (wrong Arr type, unsupported version): Stalled
        +-- Delay            no error: the turn wants to be run again at another time

`reason` is a CamelCase word from a closed, documented list and goes into the condition; `message` names the cure and
never quotes a response body, a password or a key. The original exception is chained as `__cause__`.
"""

from __future__ import annotations


class LooparrError(Exception):
    """Root of everything Looparr raises on purpose."""


class SettingsError(LooparrError):
    """A setting of the process is wrong; the message names the flag, the value's fault and the cure."""


class SandboxError(LooparrError):
    """The sandbox cannot do what was asked; the message names what is missing and how to get it."""


class StateError(LooparrError):
    """The process cannot trust its own durable state and must end, so that the pod restarts."""


class WriteFailed(LooparrError):
    """A status could not be written; it is kept and goes with the next turn.

    gone: the object is not there any more, or another one bears its name (no use in trying again).
    """

    def __init__(self, message: str, *, gone: bool = False) -> None:
        super().__init__(message)
        self.gone = gone


class LoopError(LooparrError):
    """Ends one turn.

    reason: CamelCase word for the condition, from a closed list.
    message: one sentence for a person, with the cure in it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = str(reason)
        self.message = message


class Transient(LoopError):
    """May be gone the next time: the loop backs off.

    retry_after: seconds that the other side asked for (429, 503), else None.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason, message)
        self.retry_after = retry_after


class Blocked(LoopError):
    """Somebody has to do something first; the loop looks again every 30 s and does not back off further."""


class Permanent(LoopError):
    """Nothing but a changed spec, a changed Secret or a trigger can help: condition Stalled, no further runs."""


class Delay(LoopError):
    """The seed's DelayLoopException: not an error; run again in `seconds`, counters untouched."""

    def __init__(self, reason: str, message: str, *, seconds: float) -> None:
        super().__init__(reason, message)
        self.seconds = seconds
