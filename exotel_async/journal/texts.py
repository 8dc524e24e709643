"""How are values written into a row, and read back."""

from __future__ import annotations

import json
from typing import Any

from exotel_async import errors
from exotel_async.errors import ApiError, ExotelError
from exotel_async.models.calls import Leg
from exotel_async.models.dials import CallOutcome, Dial
from exotel_async.wire.pairs import Pairs

_API_FIELDS = ("message", "status", "code", "body")


def lane_of(*names: str) -> str:
    """Name what is worked on by one at a time: a call, as the URL of its callbacks has it."""
    return json.dumps(names)


def outcome_topic(account: str) -> str:
    """Name what handlers of outcomes register for: each dialer knows one account."""
    return f"outcome.{account}"


def shown_topic(topic: str) -> str:
    """Leave the account out of a topic that is shown.

    >>> shown_topic(outcome_topic("acme1")), shown_topic("callback.terminal")
    ('outcome', 'callback.terminal')
    """
    return "outcome" if topic.startswith(outcome_topic("")) else topic


def pairs_to_text(pairs: Pairs) -> str:
    """Write a callback's normal form."""
    return json.dumps(pairs, ensure_ascii=False)


def pairs_from_text(text: str) -> Pairs:
    """Read it back."""
    return tuple((name, value) for name, value in json.loads(text))


def error_to_text(error: ExotelError | None) -> str | None:
    """Write an error of ours: its kind and its message, and what Exotel answered."""
    if error is None:
        return None
    told: dict[str, object] = {"kind": type(error).__name__, "message": error.message}
    if isinstance(error, ApiError):
        told |= {name: getattr(error, name) for name in _API_FIELDS}
    return json.dumps(told)


def error_from_text(text: str | None) -> ExotelError | None:
    """Make the error anew; a kind that is newer than this release becomes an ExotelError."""
    if text is None:
        return None
    told = json.loads(text)
    kind = getattr(errors, told.get("kind", ""), ExotelError)
    if not (isinstance(kind, type) and issubclass(kind, ExotelError)):
        kind = ExotelError
    if issubclass(kind, ApiError):
        return kind(*(told.get(name, default) for name, default in _API_DEFAULTS))
    return kind(told["message"])


_API_DEFAULTS: tuple[tuple[str, object], ...] = (
    ("message", ""), ("status", 0), ("code", None), ("body", ""),
)  # fmt: skip


def outcome_to_text(outcome: CallOutcome) -> str:
    """Write what an outcome tells of its call."""
    return json.dumps(
        {
            "call_sid": outcome.call_sid,
            "status": outcome.status,
            "conversation_duration": outcome.conversation_duration,
            "legs": [[leg.status, leg.on_call_duration] for leg in outcome.legs],
            "recording_url": outcome.recording_url,
        }
    )


def outcome_from_text(
    text: str, *, dial: Dial, state: str, source: str, confirmed: bool, revision: int
) -> CallOutcome:
    """Read it back."""
    told: dict[str, Any] = json.loads(text)
    legs = tuple(
        Leg(status=status, on_call_duration=duration) for status, duration in told.pop("legs")
    )
    return CallOutcome(
        dial=dial,
        state=state,
        source=source,
        confirmed=confirmed,
        revision=revision,
        legs=legs,
        **told,
    )
