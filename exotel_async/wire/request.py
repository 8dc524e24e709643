"""What is a request: an endpoint as a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import attrs

from exotel_async.errors import InvalidRequestError
from exotel_async.models.masks import masked

from .converter import Converter, Tree

T = TypeVar("T")

Pair = tuple[str, str]
ResponseFormat = Literal["json", "xml"]

_API = "/v1/Accounts"
_SUFFIX = {"json": ".json", "xml": ""}


@attrs.frozen(kw_only=True)
class Request(Generic[T]):
    """One question to Exotel, and how to read its answer."""

    method: Literal["GET", "POST"]
    # What follows the account, one segment each, not encoded yet.
    path: tuple[str, ...] = attrs.field(repr=masked)
    decode: Callable[[Converter, Tree], T] = attrs.field(repr=False)
    # Numbers and callback URLs, which hold a secret, stand in these two.
    query: tuple[Pair, ...] = attrs.field(default=(), repr=False)
    form: tuple[Pair, ...] = attrs.field(default=(), repr=False)
    repeatable: bool = True  # False: it may make a phone ring

    def target(self, *, account_sid: str, response_format: ResponseFormat) -> str:
        """Spell the path and the query as they go over the wire."""
        segments = [encode_segment(segment) for segment in (account_sid, *self.path)]
        path = "/".join([_API, *segments]) + _SUFFIX[response_format]
        return f"{path}?{urlencode(self.query)}" if self.query else path

    def body(self) -> bytes | None:
        """Spell the form, urlencoded; None where there is none."""
        return urlencode(self.form).encode("ascii") if self.form else None


def encode_segment(text: str) -> str:
    """Encode one path segment whole, so that no value can reach another path.

    >>> encode_segment("+91/../1")
    '%2B91%2F..%2F1'
    """
    if text.isascii() and text.isalnum():  # as nearly all are
        return text
    if text.strip(".") == "":
        raise InvalidRequestError(f"a path value must not be blank or only dots, but is {text!r}")
    return quote(text, safe="")
