"""What would a StatusCallback look like? Bodies to test a handler with, alone.

Exotel: Voice v1, "StatusCallback".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal

from .answers import Value
from .callbacks import JSON, MULTIPART, URLENCODED, Payload, encode, letter
from .calls import Call, Callback, Event, Order, Script, Stage, placed, plan, step
from .clock import IST

__all__ = ["Encoding", "Payload", "answered", "default", "terminal"]

Encoding = Literal["multipart", "json", "urlencoded"]

CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {"multipart": MULTIPART, "json": JSON, "urlencoded": URLENCODED}
)
_AT = datetime(2026, 11, 2, 10, 0, tzinfo=IST)
_SID = "5f0c1d2e3b4a59687786a5b4c3d2e1f0"
_EVENTS = frozenset({"answered", "terminal"})
_SEGMENT = re.compile(r"\[([^\[\]]+)\]")


def terminal(
    fields: Mapping[str, str | int | None] | None = None,
    /,
    *,
    encoding: Encoding = "multipart",
    **more: str | int | None,
) -> Payload:
    """Make the body that tells of a call's end: both answered, talked and hung up.

    `fields` and keywords are Exotel's own names, nested ones as a form spells them; they replace
    what the sample says, or are added to it. None is an empty value.

    >>> terminal({"Legs[1][Status]": "busy"}, Status="busy", encoding="urlencoded").content_type
    'application/x-www-form-urlencoded'
    """
    return _payload("terminal", _lived(), encoding, fields, more)


def answered(
    fields: Mapping[str, str | int | None] | None = None,
    /,
    *,
    leg: Literal[0, 1] = 0,
    encoding: Encoding = "multipart",
    **more: str | int | None,
) -> Payload:
    """Make the body that tells that a leg was answered: 0 for From, 1 for To."""
    if leg not in (0, 1):
        raise ValueError(f"leg must be 0 for From or 1 for To, not {leg!r}")
    answers = [stage for stage in _STAGES if stage.act == "answer"]
    until = answers[leg].after
    return _payload("answered", _lived(until=until), encoding, fields, more)


def default(
    fields: Mapping[str, str | int | None] | None = None,
    /,
    *,
    encoding: Encoding = "multipart",
    **more: str | int | None,
) -> Payload:
    """Make the short body that comes when no events were asked for, and for flows."""
    return _payload("default", _lived(), encoding, fields, more)


_ORDER = Order(from_="+919812300001", to="+919812300002", caller_id="08040001234", record=True)
_STAGES = plan(_ORDER, (Script(), Script()))
_RECORDINGS = "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings"  # as the page's samples


def _lived(*, until: float = float("inf")) -> Call:
    call = placed(_ORDER, sid=_SID, account_sid="simulated1", at=_AT)
    for stage in _STAGES:
        if stage.after <= until and stage.act != "settle":
            call = _stepped(call, stage)
    return call


def _stepped(call: Call, stage: Stage) -> Call:
    at = _AT + timedelta(seconds=stage.after)
    return step(call, stage, at=at, recordings=_RECORDINGS)


def _payload(
    kind: str,
    call: Call,
    encoding: str,
    fields: Mapping[str, str | int | None] | None,
    more: Mapping[str, str | int | None],
) -> Payload:
    if encoding not in CONTENT_TYPES:
        allowed = ", ".join(CONTENT_TYPES)
        raise ValueError(f"encoding must be one of {allowed}, not {encoding!r}")
    event: Event = "answered" if kind == "answered" else "terminal"
    events = frozenset[str]() if kind == "default" else _EVENTS
    written = letter(call, Callback(url="", events=events), event)
    assert written is not None  # noqa: S101 - it was asked for
    tree: Value = written.fields
    for name, value in {**(fields or {}), **more}.items():
        tree = _with(tree, _path(name), value)
    assert isinstance(tree, dict)  # noqa: S101 - it still is one
    return encode(tree, CONTENT_TYPES[encoding])


def _path(name: str) -> list[str]:
    """Split `Legs[1][Status]` into its three; a name that is not nested stays whole."""
    path = [name.partition("[")[0], *_SEGMENT.findall(name)]
    return path if path[0] + "".join(f"[{inner}]" for inner in path[1:]) == name else [name]


def _with(tree: Value, path: list[str], value: str | int | None) -> Value:
    """Give the tree with a value at the end of a path; new places come into being."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if not isinstance(tree, list):
        inside = tree if isinstance(tree, dict) else {}
        return {**inside, first: _with(inside.get(first), rest, value)}
    if not first.isdecimal() or int(first) > len(tree):
        raise ValueError(f"there are {len(tree)} legs: [{first}] has no place among or after them")
    index = int(first)
    inner = tree[index] if index < len(tree) else None
    return [*tree[:index], _with(inner, rest, value), *tree[index + 1 :]]
