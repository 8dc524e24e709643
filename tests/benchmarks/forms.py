"""One multipart callback: what does it cost to have it as a typed event.

Beside ours stand parsers that come no further than names and texts. Each must find the same pairs,
odd texts included.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import Mock

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import multipart
import python_multipart
from aiohttp import StreamReader
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import BaseRequest
from measuring import Line, compared, cpu_of
from samples import form_sample
from samples import multipart as spelt
from werkzeug.formparser import parse_form_data

from exotel_async import decode_callback

ROUNDS, SOME = 40, 50
BOUNDARY = "------------------------d74496d66958873e"

Pairs = Sequence[tuple[str, str]]
Parser = Callable[[bytes, str], Pairs]


def bodies() -> tuple[tuple[bytes, str], tuple[bytes, str]]:
    """Spell the page's own sample, and the same with odd texts."""
    usual = form_sample("statuscallback_terminal.form.txt")
    odd = {"CustomField": "déjà\r\nvu --x", "RecordingUrl": "", "To": "☎ +91"}
    return (
        spelt(usual, boundary=BOUNDARY),
        spelt([(key, odd.get(key, value)) for key, value in usual], boundary=BOUNDARY),
    )


def ours(body: bytes, kind: str) -> Pairs:
    return decode_callback(body, content_type=kind).pairs


def with_multipart(body: bytes, kind: str) -> Pairs:
    pairs = []
    name, value = "", bytearray()
    boundary = multipart.parse_options_header(kind)[1]["boundary"]
    with multipart.PushMultipartParser(boundary) as parser:
        for event in parser.parse(body):
            if isinstance(event, multipart.MultipartSegment):
                name, value = event.name, bytearray()
            elif event:
                value += event
            else:
                pairs.append((name, value.decode("utf-8", "replace")))
    return pairs


def with_python_multipart(body: bytes, kind: str) -> Pairs:
    pairs = []

    def met(field: python_multipart.multipart.FieldProtocol) -> None:
        name, value = field.field_name or b"", field.value or b""
        pairs.append((name.decode("utf-8", "replace"), value.decode("utf-8", "replace")))

    headers = {"Content-Type": kind.encode(), "Content-Length": str(len(body)).encode()}
    python_multipart.parse_form(headers, io.BytesIO(body), met, None)
    return pairs


def with_werkzeug(body: bytes, kind: str) -> Pairs:
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    return list(parse_form_data(environ)[1].items(multi=True))


class Posted:
    """aiohttp's own way; only its `post()` is measured, not what a server does before."""

    def __init__(self, body: bytes, kind: str) -> None:
        self._body = body
        self._protocol = Mock(_reading_paused=False)
        self._mocked = make_mocked_request("POST", "/", {"Content-Type": kind})

    async def pairs(self) -> Pairs:
        stream = StreamReader(self._protocol, 2**16, loop=asyncio.get_running_loop())
        stream.feed_data(self._body)
        stream.feed_eof()
        mocked = self._mocked
        request = BaseRequest(
            mocked._message, stream, mocked._protocol, mocked._payload_writer, mocked.task,
            asyncio.get_running_loop(),
        )  # fmt: skip
        return [(key, str(value)) for key, value in (await request.post()).items()]


PARSERS: dict[str, Parser] = {
    "ours": ours,
    "multipart, parsing alone": with_multipart,
    "python-multipart, parsing alone": with_python_multipart,
    "werkzeug, parsing alone": with_werkzeug,
}


def check(loop: asyncio.AbstractEventLoop) -> None:
    """See that all find the same in the same."""
    for body, kind in bodies():
        expected = list(ours(body, kind))
        posted = list(loop.run_until_complete(Posted(body, kind).pairs()))
        found = {name: list(parse(body, kind)) for name, parse in PARSERS.items()}
        for name, pairs in (found | {"request.post()": posted}).items():
            if pairs != expected:
                raise AssertionError(f"{name} finds {pairs}, ours {expected}")


def measure() -> Iterable[Line]:
    """Measure; give the lines of the table."""
    loop = asyncio.new_event_loop()
    try:
        check(loop)
        body, kind = bodies()[0]
        pieces = {
            name: (lambda parse=parse: [parse(body, kind) for _ in range(SOME)])
            for name, parse in PARSERS.items()
        }
        pieces["request.post(), parsing alone"] = partial(_post_some, loop, Posted(body, kind))
        costs = cpu_of(pieces, rounds=ROUNDS)
    finally:
        loop.close()
    post = costs.pop("request.post(), parsing alone")
    what = "decode a multipart callback"
    half = ("at most", 0.5)
    yield from compared(
        what, "us", costs, scale=1e6 / SOME, bounds={"multipart, parsing alone": half}
    )
    yield from compared(
        f"{what}, times as fast", "us",
        {"ours": costs["ours"], "request.post(), parsing alone": post},
        scale=1e6 / SOME, inverse=True,
        bounds={"request.post(), parsing alone": ("at least", 50)},
    )  # fmt: skip


def _post_some(loop: asyncio.AbstractEventLoop, posted: Posted) -> None:
    async def some() -> None:
        for _ in range(SOME):
            await posted.pairs()

    loop.run_until_complete(some())
