"""How does a value of ours look as JSON: times with their zone, prices as text, nothing left out.

Every text is taken for personal, but for a few fields that tell things apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

Hide = Callable[[str], str]

_LEFT_OUT = frozenset({"pairs"})  # the same once more, as it came
# What tells calls apart, URLs that were asked for, and what was counted: no phone number in them.
_WHOLE = frozenset(
    {"sid", "call_sid", "listening", "callback_url", "pre_signed_recording_url"}
    | {"counts", "waiting", "erased"}
)


def to_json(value: object, *, hide: Hide) -> str:
    """Write a value as one line of strict JSON; `hide` masks the texts in it."""
    return json.dumps(plain(value, hide=hide), allow_nan=False)


def plain(value: object, *, hide: Hide) -> Any:
    """Reduce a value to what JSON knows."""
    kind: type[Any] = type(value)
    if attrs.has(kind):
        return {
            field.name.rstrip("_"): _field(field.name, getattr(value, field.name), hide=hide)
            for field in attrs.fields(kind)
            if field.name not in _LEFT_OUT and not _left_out(field.name, hide)
        }
    if isinstance(value, Mapping):
        return {spelt(str(name)): plain(inner, hide=hide) for name, inner in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str):
        return spelt(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, Iterable):
        return [plain(inner, hide=hide) for inner in value]
    return str(value)


def spelt(text: str) -> str:
    r"""Spell out half surrogate pairs, which strict readers of JSON refuse.

    >>> spelt("a\udc80")
    'a\\udc80'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _left_out(name: str, hide: Hide) -> bool:
    """Tell whether a field is not for all eyes: on old accounts the account's Sid is the key."""
    return hide is not str and name.replace("_", "").lower() == "accountsid"


def _field(name: str, value: object, *, hide: Hide) -> Any:
    bare = plain(value, hide=hide)
    personal = isinstance(value, str | Mapping) and name not in _WHOLE
    return hidden(bare, hide=hide) if personal else bare


def hidden(bare: Any, *, hide: Hide) -> Any:
    """Mask all texts and names, and numbers that are phone numbers, at any depth."""
    if isinstance(bare, dict):
        return {
            hide(name): hidden(inner, hide=hide)
            for name, inner in bare.items()
            if not _left_out(name, hide)
        }
    if isinstance(bare, list):
        return [hidden(inner, hide=hide) for inner in bare]
    if bare is None or isinstance(bare, bool):
        return bare
    shown = hide(str(bare))
    return bare if shown == str(bare) else shown


def number_text(price: Decimal | None) -> str:
    """Write an amount digit for digit, never with an exponent."""
    return "" if price is None else f"{price:f}"
