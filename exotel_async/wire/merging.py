"""When do two callbacks tell of the same thing, and what do they say together.

Exotel repeats itself, and a repeated callback may know more than the first, or less.
"""

from __future__ import annotations

import json
from hashlib import blake2b

from exotel_async.models.events import CallAnswered, CallTerminated, StatusCallback

from .pairs import Pairs


def digest_of(pairs: Pairs, *, scope: tuple[str, ...]) -> bytes:
    """Make the fingerprint by which exact copies are known, in whatever encoding they came.

    `scope`: whose callback it is. The same words through another URL are another callback.
    """
    return blake2b(json.dumps([scope, sorted(pairs)]).encode(), digest_size=16).digest()


def identity_of(event: StatusCallback, *, digest: bytes) -> str:
    """Name what happened to a call: it ends once, each leg answers once, all else is its own."""
    if isinstance(event, CallTerminated):
        return "terminal"
    if isinstance(event, CallAnswered):
        return f"answered {event.answered_leg}"
    return f"other {digest.hex()}"


def merged(old: StatusCallback, new: StatusCallback) -> Pairs:
    """Put together two callbacks that tell of the same thing, in the order in which they came.

    What says something beats what is empty; between two that differ the later DateUpdated wins,
    and without dates the later arrival.
    """
    newer = not (old.date_updated and new.date_updated) or new.date_updated >= old.date_updated
    first, second = (old.pairs, new.pairs) if newer else (new.pairs, old.pairs)
    texts: dict[str, str] = {}
    for name, text in (*_once(old.pairs), *_once(new.pairs)):
        texts.setdefault(name, text)  # keeps the order of arrival
    for name, text in (*_once(first), *_once(second)):
        texts[name] = text or texts[name]
    return tuple(texts.items())


def _once(pairs: Pairs) -> list[tuple[str, str]]:
    """Of twins in one callback the first counts, as it does for the event."""
    texts: dict[str, str] = {}
    for name, text in pairs:
        texts.setdefault(name, text)
    return list(texts.items())
