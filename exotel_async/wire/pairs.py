"""What stands in a callback's body: the one textual normal form of all encodings.

JSON, multipart and urlencoded bodies become the same tuple of pairs: nesting is flattened
(`Legs[0][Status]`), numbers are their text, null is empty. All else about a callback is built
from these pairs alone.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl

from exotel_async.errors import MalformedCallbackError

from .multipart import read_form

Pair = tuple[str, str]
Pairs = tuple[Pair, ...]

MOST_FIELDS = 512
_DEEPEST = 8
_LONGEST_NAME = 256  # of what holds others: each of them repeats it
_LIKE_A_FORM = re.compile(rb'\s*[A-Za-z_][^{"=&]*=')


class _Object(list[tuple[str, Any]]):
    """A JSON object, with every member it had, twins too."""


# json.loads would make one each time. Numbers stay text, so that one of sixty thousand digits
# costs nothing.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str
)


def read_pairs(body: bytes, *, content_type: str = "", query: str = "") -> Pairs:
    """Read a body and its URL's query into the normal form, the body's pairs first.

    Raises MalformedCallbackError. The content type is believed only where the body itself does
    not show what it is.

    >>> read_pairs(b'{"CallSid": "a1", "Legs": [{"OnCallDuration": 29}]}')
    (('CallSid', 'a1'), ('Legs[0][OnCallDuration]', '29'))
    """
    pairs = [*_read_body(body, content_type), *_read_urlencoded(query.removeprefix("?"))]
    if len(pairs) > MOST_FIELDS:
        raise MalformedCallbackError(f"more than {MOST_FIELDS} fields")
    return tuple(pairs)


def _read_body(body: bytes, content_type: str) -> list[Pair]:
    start = body[:64].lstrip()[:2]
    claimed = content_type.lower()
    if start[:1] in (b"{", b"["):
        return _read_json(body)
    if start == b"--" or ("multipart/" in claimed and b"\n--" in body):
        return read_form(body, content_type=content_type, most=MOST_FIELDS)
    if "json" in claimed and not _LIKE_A_FORM.match(body):
        return _read_json(body)
    return _read_urlencoded(body.decode("utf-8", "replace").strip())


def _read_urlencoded(text: str) -> list[Pair]:
    try:
        return parse_qsl(_clean(text), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise MalformedCallbackError(f"more than {MOST_FIELDS} fields") from error


def _read_json(body: bytes) -> list[Pair]:
    try:
        tree = _load(body)
        if not isinstance(tree, _Object):
            raise MalformedCallbackError("JSON, but not an object")
        return _flatten(tree)
    except ValueError as error:
        raise MalformedCallbackError("not well-formed JSON") from error
    except RecursionError as error:
        raise MalformedCallbackError("nested too deep") from error


def _load(body: bytes) -> Any:
    try:
        text = body.decode(json.detect_encoding(body), "surrogatepass")  # as json.loads does
    except UnicodeDecodeError:
        text = body.decode("utf-8", "replace")
    return _DECODER.decode(text)


def _flatten(tree: _Object) -> list[Pair]:
    pairs: list[Pair] = []
    for name, value in tree:
        _add(pairs, _clean(name), value, depth=1)
    return pairs


def _add(pairs: list[Pair], name: str, value: object, *, depth: int) -> None:
    if isinstance(value, str):
        pairs.append((name, _clean(value)))
    elif isinstance(value, list) and value:
        if depth > _DEEPEST or len(name) > _LONGEST_NAME:
            raise MalformedCallbackError("nested too deep")
        members = value if isinstance(value, _Object) else enumerate(value)
        for key, member in members:
            _add(pairs, f"{name}[{_clean(str(key))}]", member, depth=depth + 1)
    else:
        pairs.append((name, str(value).lower() if isinstance(value, bool) else ""))
    if len(pairs) > MOST_FIELDS:
        raise MalformedCallbackError(f"more than {MOST_FIELDS} fields")


def _clean(text: str) -> str:
    """Replace lone surrogates, which JSON and `str` can spell and nothing can store."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
