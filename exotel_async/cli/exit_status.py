"""How did a command end, as a number."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from exotel_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    NoAnswerError,
    NotSentError,
    OutcomeUnknownError,
)


class ExitStatus(IntEnum):
    """The exit statuses of all commands; each carries its meaning."""

    meaning: str

    def __new__(cls, number: int, meaning: str) -> Self:
        """Make a member that is its number and carries its meaning."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.meaning = meaning
        return member

    FINE = 0, "all went well"
    FAILED = 1, "Exotel refused, you said no, or something failed"
    USAGE = 2, "wrong usage or settings; nothing was sent"
    UNKNOWN = 3, "a phone may be ringing: an answer was lost, or sight of a call that was placed"
    NOT_REACHED = 4, "no answer from Exotel; nothing was changed"
    NOT_ANSWERED = 5, "the call ended without being answered (call)"
    INTERRUPTED = 130, "interrupted with Ctrl-C"
    CLOSED_PIPE = 141, "whoever read the output went away"
    TERMINATED = 143, "ended by SIGTERM; for what serves (listen, simulate) that is 0, as is Ctrl-C"


def status_of(error: BaseException) -> ExitStatus:
    """Tell how a command ends that an error ended.

    >>> status_of(OutcomeUnknownError("lost")).value
    3
    """
    if isinstance(error, ConfigurationError | InvalidRequestError):
        return ExitStatus.USAGE
    if isinstance(error, OutcomeUnknownError):
        return ExitStatus.UNKNOWN
    if isinstance(error, NotSentError | NoAnswerError):
        return ExitStatus.NOT_REACHED
    return ExitStatus.FAILED


def explained() -> str:
    """Spell all exit statuses for a help text."""
    lines = [f"{status.value:>5}  {status.meaning}" for status in ExitStatus]
    return "\n".join(["\b", "Exit status:", *lines])
