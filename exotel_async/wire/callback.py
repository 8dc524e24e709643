"""What does a StatusCallback say: the pairs of the normal form, as a typed event.

Exotel: Voice v1, "StatusCallback".
"""

from __future__ import annotations

import re
from datetime import tzinfo

from exotel_async.errors import MalformedCallbackError
from exotel_async.models.calls import Leg
from exotel_async.models.events import (
    CallAnswered,
    CallTerminated,
    StatusCallback,
    UnknownCallback,
)
from exotel_async.models.extra import NOTHING, Extra
from exotel_async.models.vocabulary import FINAL_STATUSES

from .converter import MOST_LEGS, Converter, converter_for
from .fields import (
    CALLBACK_KEYS,
    EXTRA,
    LEG_KEYS,
    LEGS,
    PAIRS,
    REF,
    MissingSidError,
    read_call_status,
    read_event_type,
)
from .pairs import Pairs, read_pairs
from .values import IST
from .zones import zone_of

_FIELDS = frozenset(CALLBACK_KEYS)
_FIELD_OF = {key.lower(): key for key in CALLBACK_KEYS}
_LEG_FIELD_OF = {f"[{key.lower()}]": key for key in LEG_KEYS}
_LEG_PLACES = {
    f"Legs[{i}][{key}]": (i, key) for i in range(MOST_LEGS) for key in LEG_KEYS
}  # what nearly all keys are
_ODD_LEG = re.compile(r"legs\[(\d{1,3})\](?:\[leg\])?((?:\[[^\[\]]*\])*)", re.ASCII | re.IGNORECASE)
_LIST_OF_ONE = re.compile(r"""\[\s*(?:'([^']*)'|"([^"]*)")\s*\]""")

LegTexts = dict[int, dict[str, str]]


def decode_callback(
    body: bytes | str,
    *,
    content_type: str = "",
    query: str = "",
    time_zone: tzinfo | str = IST,
    ref: str | None = None,
) -> StatusCallback:
    """Decode the body of a StatusCallback, whatever framework received it.

    JSON, multipart and urlencoded bodies are told apart by looking; `query` is the query of the
    URL it was posted to, `ref` what a verified token named. Raises MalformedCallbackError.
    Exotel: Voice v1, "StatusCallback".

    >>> decode_callback(b"CallSid=a1&Status=no_answer").status
    'no-answer'
    """
    raw = _as_bytes(body) if isinstance(body, str) else body
    pairs = read_pairs(raw, content_type=content_type, query=query)
    return event_of(pairs, converter=converter_for(zone_of(time_zone)), ref=ref)


def event_of(pairs: Pairs, *, converter: Converter, ref: str | None = None) -> StatusCallback:
    """Build the event that a callback's pairs tell of."""
    fields, legs, extra = _sort(pairs)
    tree = {
        **fields,
        LEGS: _build_legs(legs, converter),
        REF: ref,
        PAIRS: pairs,
        EXTRA: Extra(extra) if extra else NOTHING,
    }
    try:
        return converter.callbacks[_kind_of(fields)](tree)
    except MissingSidError as error:
        raise MalformedCallbackError("there is no CallSid in it") from error


def _as_bytes(body: str) -> bytes:
    try:
        return body.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates that stand for no bytes
        return body.encode("utf-8", "replace")


def _kind_of(fields: dict[str, str]) -> type[StatusCallback]:
    event_type = read_event_type(fields.get("EventType"))
    if event_type == "answered":
        return CallAnswered
    final = event_type is None and read_call_status(fields.get("Status"), None) in FINAL_STATUSES
    return CallTerminated if final or event_type == "terminal" else UnknownCallback


def _sort(pairs: Pairs) -> tuple[dict[str, str], LegTexts, dict[str, str]]:
    """Tell fields, legs and the rest apart; of twins the first counts, so the body's."""
    fields: dict[str, str] = {}
    legs: LegTexts = {}
    extra: dict[str, str] = {}
    for key, value in pairs:
        place = _LEG_PLACES.get(key)
        if place is not None:
            legs.setdefault(place[0], {}).setdefault(place[1], value)
        elif key in _FIELDS:
            fields.setdefault(key, value)
        elif not _put_odd_leg(key, value, legs):
            field = _FIELD_OF.get(key.lower().removesuffix("[0]"))
            (extra if field is None else fields).setdefault(field or key, value)
    _mend(fields, extra)
    return fields, legs, extra


def _put_odd_leg(key: str, value: str, legs: LegTexts) -> bool:
    """Find a place among the legs for what has an odd name; False if there is none."""
    match = _ODD_LEG.fullmatch(key)
    if match is None or int(match[1]) >= MOST_LEGS:
        return key.lower() == "legs" and not value
    inner = match[2]  # "[Insights][Status]"
    field = _LEG_FIELD_OF.get(inner.lower().removesuffix("[0]"))
    name = field or inner[1:].replace("]", "", 1)
    if name[:1] == "$" or (value and not name):  # $: names that the converter's tables use
        return False
    leg = legs.setdefault(int(match[1]), {})
    if name:
        leg.setdefault(name, value)
    return True


def _mend(fields: dict[str, str], extra: dict[str, str]) -> None:
    """Undo what middlemen do to values: `['completed']`, and templates nobody filled in."""
    for key, value in fields.items():
        if value[:1] == "[" and key != "CustomField":
            fields[key] = _unwrap(value)
        elif value[:2] == "{{" and value.endswith("}}") and key != "CustomField":
            fields[key], extra[key] = "", value


def _mend_leg(leg: dict[str, str]) -> dict[str, str]:
    for key in LEG_KEYS:
        if key in leg and leg[key][:1] == "[":
            leg[key] = _unwrap(leg[key])
    return leg


def _unwrap(value: str) -> str:
    match = _LIST_OF_ONE.fullmatch(value)
    return value if match is None else match[1] or match[2] or ""


def _build_legs(legs: LegTexts, converter: Converter) -> tuple[Leg, ...]:
    if not legs:
        return ()
    first = 1 if min(legs) == 1 else 0  # some count from one
    return tuple(converter.leg(_mend_leg(legs.get(i, {}))) for i in range(first, max(legs) + 1))
