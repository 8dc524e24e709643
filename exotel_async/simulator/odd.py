"""Says how StatusCallbacks are spelled by those who do not follow the page.

Each oddity was met by somebody; what it says is the same as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .answers import Fields, Value

_WORDS = ("Status", "Direction", "EventType")
_TIMES = ("DateCreated", "DateUpdated", "StartTime", "EndTime")
_TEXTS = ("Status", "Direction", "From", "To", "PhoneNumberSid", "CallSid")
_ODD_WORDS = {"no-answer": "no_answer", "canceled": "cancelled"}


def _words(fields: Fields) -> Fields:
    """Spell words in capitals, no-answer and canceled in another way."""

    def odd(value: Value) -> Value:
        return _ODD_WORDS.get(value, value.upper()) if isinstance(value, str) else value

    return _legs(_each(fields, _WORDS, odd), lambda leg: _each(leg, ("Status",), odd))


def _keys(fields: Fields) -> Fields:
    """Spell keys in lower case."""
    return {name.lower(): value for name, value in fields.items()}


def _blanks(fields: Fields) -> Fields:
    """Spell nothing as null, NA or the beginning of time."""
    blank: dict[str, Value] = dict.fromkeys(_TIMES, "1970-01-01 05:30:00")
    blank |= {"RecordingUrl": "null", "AnsweredBy": "NA"}
    odd: Fields = {
        name: blank.get(name, "NA") if value in (None, "") and name != "CustomField" else value
        for name, value in fields.items()
    }
    return _legs(odd, lambda leg: {n: "null" if v is None else v for n, v in leg.items()})


def _object_of_legs(fields: Fields) -> Fields:
    """Count legs from one, in an object, each in a wrapper."""
    legs = fields.get("Legs")
    if not isinstance(legs, list):
        return fields
    return fields | {"Legs": {str(n): {"Leg": leg} for n, leg in enumerate(legs, start=1)}}


def _times(fields: Fields) -> Fields:
    """Spell times as ISO 8601."""

    def odd(value: Value) -> Value:
        return f"{value.replace(' ', 'T')}+05:30" if isinstance(value, str) and value else value

    return _each(fields, _TIMES, odd)


def _durations(fields: Fields) -> Fields:
    """Spell durations as text with a decimal."""

    def odd(value: Value) -> Value:
        return f"{value}.0" if isinstance(value, int) else value

    return _legs(
        _each(fields, ("ConversationDuration",), odd),
        lambda leg: _each(leg, ("OnCallDuration",), odd),
    )


def _lists(fields: Fields) -> Fields:
    """Spell texts as lists of one."""

    def odd(value: Value) -> Value:
        return f"['{value}']" if isinstance(value, str) and value else value

    return _each(fields, _TEXTS, odd)


def _each(fields: Fields, names: tuple[str, ...], odd: Callable[[Value], Value]) -> Fields:
    return {name: odd(value) if name in names else value for name, value in fields.items()}


def _legs(fields: Fields, odd: Callable[[Fields], Fields]) -> Fields:
    legs = fields.get("Legs")
    if not isinstance(legs, list):
        return fields
    return fields | {"Legs": [odd(leg) if isinstance(leg, dict) else leg for leg in legs]}


# In the order in which they apply: each has to find the fields as the page spells them.
ODDITIES: Mapping[str, Callable[[Fields], Fields]] = MappingProxyType(
    {
        "callback-odd-blanks": _blanks,
        "callback-odd-words": _words,
        "callback-odd-times": _times,
        "callback-odd-durations": _durations,
        "callback-odd-lists": _lists,
        "callback-odd-legs": _object_of_legs,
        "callback-odd-keys": _keys,
    }
)
