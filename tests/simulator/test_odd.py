"""Oddities of StatusCallbacks: each is really another spelling, as somebody met it."""

from __future__ import annotations

import pytest

from exotel_async.simulator.callbacks import flattened
from exotel_async.simulator.odd import ODDITIES

USUAL = {
    "CallSid": "abc",
    "EventType": "terminal",
    "Status": "no-answer",
    "Direction": "outbound-api",
    "From": "+919812300001",
    "DateCreated": "2026-11-02 10:00:00",
    "EndTime": None,
    "RecordingUrl": None,
    "ConversationDuration": 29,
    "Legs": [
        {"OnCallDuration": 41, "Status": "canceled"},
        {"OnCallDuration": 0, "Status": None},
    ],
}
CHANGED: dict[str, dict[str, str]] = {
    "callback-odd-words": {
        "EventType": "TERMINAL",
        "Status": "no_answer",
        "Direction": "OUTBOUND-API",
        "Legs[0][Status]": "cancelled",
    },
    "callback-odd-blanks": {
        "EndTime": "1970-01-01 05:30:00",
        "RecordingUrl": "null",
        "Legs[1][Status]": "null",
    },
    "callback-odd-times": {"DateCreated": "2026-11-02T10:00:00+05:30"},
    "callback-odd-durations": {
        "ConversationDuration": "29.0",
        "Legs[0][OnCallDuration]": "41.0",
        "Legs[1][OnCallDuration]": "0.0",
    },
    "callback-odd-lists": {
        "CallSid": "['abc']",
        "Status": "['no-answer']",
        "Direction": "['outbound-api']",
        "From": "['+919812300001']",
    },
}


@pytest.mark.parametrize("name", CHANGED)
def test_values(name):
    """An oddity of values changes these, and no other."""
    odd = dict(flattened(ODDITIES[name](USUAL)))

    assert odd == dict(flattened(USUAL)) | CHANGED[name]


def test_keys():
    """Keys come in lower case."""
    odd = ODDITIES["callback-odd-keys"](USUAL)

    assert list(odd) == [name.lower() for name in USUAL]
    assert list(odd.values()) == list(USUAL.values())


def test_legs():
    """Legs come as an object that counts from one."""
    odd = dict(flattened(ODDITIES["callback-odd-legs"](USUAL)))

    assert odd["Legs[1][Leg][OnCallDuration]"] == "41"
    assert odd["Legs[2][Leg][Status]"] == ""


@pytest.mark.parametrize("name", ODDITIES)
def test_short_form(name):
    """The short form, which has no legs and no times but one, can be odd as well."""
    short = {"CallSid": "abc", "Status": "completed", "DateUpdated": "2026-11-02 10:00:00"}

    odd = ODDITIES[name](short)

    assert len(odd) == len(short)


def test_all_are_shown():
    """No oddity is left out."""
    assert {*CHANGED, "callback-odd-keys", "callback-odd-legs"} == set(ODDITIES)
