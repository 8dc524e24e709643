"""How does a value of ours look as JSON: times with their zone, prices as text, nothing left out.

Which fields are personal, the models say themselves: by how they show them in a `repr`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from exotel_async.models.masks import masked, masked_url

Hide = Callable[[str], str]

_LEFT_OUT = frozenset({"pairs"})  # the same once more, as it came


def to_json(value: object, *, hide: Hide) -> str:
    """Write a value as one line of JSON; `hide` masks the personal texts in it."""
    return json.dumps(plain(value, hide=hide))


def plain(value: object, *, hide: Hide) -> Any:
    """Reduce a value to what JSON knows."""
    kind: type[Any] = type(value)
    if attrs.has(kind):
        return {
            field.name.rstrip("_"): _field(field, getattr(value, field.name), hide=hide)
            for field in attrs.fields(kind)
            if field.name not in _LEFT_OUT
        }
    if isinstance(value, Mapping):
        return {str(name): plain(inner, hide=hide) for name, inner in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | bool | int | float | None):
        return value
    if isinstance(value, Iterable):
        return [plain(inner, hide=hide) for inner in value]
    return str(value)


def _field(field: attrs.Attribute[Any], value: object, *, hide: Hide) -> Any:
    bare = plain(value, hide=hide)
    personal = field.repr in (masked, masked_url) or field.name == "extra"
    return hidden(bare, hide=hide) if personal else bare


def hidden(bare: Any, *, hide: Hide) -> Any:
    """Mask all texts, and numbers that are phone numbers, at any depth."""
    if isinstance(bare, dict):
        return {name: hidden(inner, hide=hide) for name, inner in bare.items()}
    if isinstance(bare, list):
        return [hidden(inner, hide=hide) for inner in bare]
    if bare is None or isinstance(bare, bool):
        return bare
    shown = hide(str(bare))
    return bare if shown == str(bare) else shown


def number_text(price: Decimal | None) -> str:
    """Write an amount digit for digit, never with an exponent."""
    return "" if price is None else f"{price:f}"
