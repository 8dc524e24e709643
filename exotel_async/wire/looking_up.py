"""How is Exotel asked about a phone number. Exotel: Voice v1, "Number Metadata"."""

from __future__ import annotations

from exotel_async.models.numbers import NumberMetadata

from . import checks
from .converter import Converter, Tree
from .request import Request


def number_metadata(number: str) -> Request[NumberMetadata]:
    """Ask where a number is at home."""
    path = ("Numbers", checks.text("number", number))
    return Request(method="GET", path=path, decode=_read_number)


def _read_number(converter: Converter, tree: Tree) -> NumberMetadata:
    raw = tree.get("Numbers")
    if not isinstance(raw, dict):
        raise ValueError("it holds no Numbers")  # noqa: TRY004 - readers raise ValueError
    return converter.number(raw)
