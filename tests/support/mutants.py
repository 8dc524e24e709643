"""Damages well-formed multipart bodies, and asks other libraries what they read in them."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Sequence
from io import BytesIO
from unittest.mock import Mock

import multipart
from aiohttp import BodyPartReader, MultipartReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

Pairs = list[tuple[str, str]]
Mutation = tuple[int, int, int]  # what kind, where, with what

_TREASURE = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--", b"-", b'"', b"\\", b'\\"', b";", b":", b" ", b"\t",
    b"=", b"%22", b"%", b"+", b"\0", b"\xff", b"\xc3\xa9", b"name=", b'; name="To"', b"filename=x",
    b"Content-Disposition: form-data", b"Content-Type: text/plain\r\n", b"charset", b"--b0undary",
    b"\r\n--b0undary", b"\r\n--b0undary--", b"--b0undary--\r\n", b"b0undary", b"undary", b"\x0b",
    b"\x85", b"\xe2\x80\xa8", b"\x1c", b"a", b"0", b"Content-Length: 3\r\n", b"name*=utf-8''To",
)  # fmt: skip
KINDS = 9
BOUNDARY = "b0undary"


def mutate(body: bytes, mutations: Sequence[Mutation]) -> bytes:
    """Damage a body in the ways that some numbers say."""
    for kind, where, what in mutations:
        body = _mutate_once(body, kind % KINDS, where, what)
    return body


def _mutate_once(body: bytes, kind: int, where: int, what: int) -> bytes:
    at = where % (len(body) + 1)
    treasure = _TREASURE[what % len(_TREASURE)]
    lines = body.split(b"\r\n")
    line = where % len(lines)
    if kind == 0:  # insert
        return body[:at] + treasure + body[at:]
    if kind == 1:  # delete
        return body[:at] + body[at + 1 + what % 8 :]
    if kind == 2:  # swap
        return body[:at] + body[at : at + 2][::-1] + body[at + 2 :]
    if kind == 3:  # replace
        return body[:at] + treasure + body[at + len(treasure) :]
    if kind == 4:  # double a line, at once or later
        other = (line + what % 3) % len(lines)
        return b"\r\n".join([*lines[:other], lines[line], *lines[other:]])
    if kind == 5:  # lose a line
        return b"\r\n".join(lines[:line] + lines[line + 1 :])
    if kind == 6:  # change how a line ends, or starts
        end = (b"\n", b"\r", b" \r\n", b"\t\r\n", b"--\r\n", b"\r\n ", b"\r\n\t", b"\r\n-")[
            what % 8
        ]
        return b"\r\n".join(lines[:line]) + end + b"\r\n".join(lines[line:])
    if kind == 7:  # swap two lines
        other = what % len(lines)
        lines[line], lines[other] = lines[other], lines[line]
        return b"\r\n".join(lines)
    return body[:at]  # cut


def ask_multipart(body: bytes, boundary: str) -> Pairs | None:
    """Read with PyPI's `multipart`, strict; None if it understands nothing."""
    try:
        parser = multipart.MultipartParser(BytesIO(body), boundary, strict=True)
        return [(part.name, part.raw.decode("utf-8", "replace")) for part in parser]
    except (multipart.MultipartError, UnicodeDecodeError):
        return None


def ask_aiohttp(body: bytes, content_type: str) -> Pairs | None:
    """Read with aiohttp's reader, on a stream fed by hand; None if it understands nothing."""
    loop = _loop()
    stream = StreamReader(BaseProtocol(loop), 2**20, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd dispositions
        try:
            return _drive(_read_with_aiohttp(stream, content_type))
        except Exception:  # of many kinds
            return None


async def _read_with_aiohttp(stream: StreamReader, content_type: str) -> Pairs | None:
    reader = MultipartReader({"Content-Type": content_type}, stream)
    pairs = []
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader) or part.name is None:
            return None
        pairs.append((part.name, bytes(await part.read(decode=True)).decode("utf-8", "replace")))
    return pairs


def _loop() -> asyncio.AbstractEventLoop:
    return Mock(spec=asyncio.AbstractEventLoop)


def _drive(coroutine):  # what was fed whole never waits
    try:
        coroutine.send(None)
    except StopIteration as result:
        return result.value
    finally:
        coroutine.close()
    return None


def in_agreement(ours: Pairs, theirs: Pairs | None, body: bytes) -> bool:
    """Tell whether two readings agree, wherever they have to.

    Left out, since the libraries differ there by right:
    - their None: they understand nothing;
    - a CR or LF that stands alone: we end a head's line there, as the email parser does;
    - names with quotes, backslashes, percent signs or bytes beyond ASCII: each library unescapes
      them in its own way;
    - names that hold blanks without being quoted;
    - a delimiter right after a head's blank line, which PyPI's parser takes for text.
    """
    if theirs is None or ours == theirs:
        return True
    names = "".join(name for name, _ in [*ours, *theirs])
    return (
        re.search(rb"\r(?!\n)|(?<!\r)\n", body) is not None
        or re.search(r'["\\%]|[^ -~]', names) is not None
        or re.search(rb'name=[^";\r\n]* ', body) is not None
        or any("--" + BOUNDARY in text for _, text in theirs)
    )
