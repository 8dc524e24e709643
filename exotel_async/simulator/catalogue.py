"""Says what can go wrong between Exotel and its users, by name.

Three things can fail: a connection, before anything of it is read; an answer, after the
request was read, or it comes late; a StatusCallback, on its way or by overtaking connect's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from types import MappingProxyType
from typing import Literal

import attrs

Place = Literal["listening", "connection", "answer", "delay", "callback", "early"]
Ending = Literal["keep", "close", "reset", "hang"]

REQUESTS = ("connect", "details", "bulk", "number", "recording")
EVENTS = ("answered", "terminal")


@attrs.frozen(kw_only=True)
class Reply:
    """What goes out over the wire, byte by byte if need be."""

    status: int | None  # None: `body` is all that is sent, without a head
    content_type: str = "application/json"
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    missing: int = 0  # bytes that the head promises beyond the body
    delay: float = 0.0  # seconds of real time before any of it
    pause: float = 0.0  # seconds of real time in the middle of the body
    ending: Ending = "keep"  # what becomes of the connection
    elsewhere: str = ""  # a URL on another host where the same can be had without credentials


Spoil = Callable[[Reply, float], Reply]


@attrs.frozen
class Kind:
    """One way to fail. `spoil` makes the bad reply of a good one, and of `seconds`."""

    name: str
    does: str
    place: Place
    spoil: Spoil | None = None
    carried_out: bool = True  # whether what was asked for happens all the same
    seconds: float | None = None  # if nobody says another number; None: it has no duration
    only_on: tuple[str, ...] | None = None

    @property
    def lasts(self) -> bool:
        """Tell whether it strikes until it is taken away, and not now and then."""
        return self.place == "listening"

    @property
    def may_be_on(self) -> tuple[str, ...]:
        """Name what it can be restricted to."""
        if self.only_on is not None:
            return self.only_on
        places = {"listening": (), "connection": (), "answer": REQUESTS, "delay": REQUESTS}
        return places.get(self.place, EVENTS)


def _exception(status: int, message: str, code: int | None = None) -> bytes:
    told = f'"Status": {status}, "Message": "{message}"' + (f', "Code": {code}' if code else "")
    return f'{{"RestException": {{{told}}}}}'.encode()


def _answering(reply: Reply) -> Spoil:
    return lambda _reply, _seconds: reply


def _refusing(status: int, message: str, code: int | None = None) -> Spoil:
    return _answering(Reply(status=status, body=_exception(status, message, code)))


def _page(status: int, title: str) -> Spoil:
    body = f"<html><head><title>{status} {title}</title></head><body>{title}</body></html>"
    return _answering(Reply(status=status, content_type="text/html", body=body.encode()))


def _empty(status: int) -> Spoil:
    return _answering(Reply(status=status, content_type="text/plain"))


def _saying(body: bytes) -> Spoil:
    return lambda reply, _seconds: attrs.evolve(reply, status=200, body=body)


def _silent(ending: Ending, said: bytes = b"") -> Spoil:
    return _answering(Reply(status=None, body=said, ending=ending))


def _slow(reply: Reply, seconds: float) -> Reply:
    return attrs.evolve(reply, pause=seconds)


def _hanging_body(reply: Reply, _seconds: float) -> Reply:
    half = len(reply.body) // 2
    return attrs.evolve(
        reply, body=reply.body[:half], missing=len(reply.body) - half, ending="hang"
    )


def _truncated(reply: Reply, _seconds: float) -> Reply:
    half = len(reply.body) // 2
    return attrs.evolve(
        reply, body=reply.body[:half], missing=len(reply.body) - half, ending="close"
    )


def _cut_off(reply: Reply, _seconds: float) -> Reply:
    return attrs.evolve(reply, body=reply.body[: len(reply.body) // 2])


def _slow_down(reply: Reply, seconds: float) -> Reply:
    body = _exception(429, "Too many requests")
    return attrs.evolve(reply, status=429, body=body, headers={"Retry-After": f"{seconds:g}"})


def _unavailable_for(reply: Reply, seconds: float) -> Reply:
    return attrs.evolve(reply, status=503, body=b"", headers={"Retry-After": f"{seconds:g}"})


def _moved(reply: Reply, _seconds: float) -> Reply:
    if not reply.elsewhere:
        return reply
    return Reply(status=302, content_type="text/html", headers={"Location": reply.elsewhere})


_REDIRECT = Reply(status=302, content_type="text/html", headers={"Location": "/elsewhere"})

_ALL = (
    Kind("connection-refused", "nobody listens, until it is taken away or SECONDS have passed",
         "listening", seconds=inf),
    Kind("reset-on-connect", "a new connection is reset, and nothing of it heeded",
         "connection"),
    Kind("close-after-read", "the request is read, and the connection closed without a word",
         "answer", _silent("close")),
    Kind("reset-after-read", "the request is read, and the connection reset", "answer",
         _silent("reset")),
    Kind("hang", "the request is read and never answered", "answer", _silent("hang")),
    Kind("half-a-head", "the answer ends in the middle of its head", "answer",
         _silent("close", b"HTTP/1.1 200 OK\r\nContent-Le")),
    Kind("no-http", "what comes back is not HTTP", "answer", _silent("close", b"OK\r\n\r\n")),
    Kind("latency", "the answer, good or bad, comes SECONDS of real time later", "delay",
         seconds=0.1),
    Kind("slow-body", "the body stops in its middle for SECONDS of real time", "answer", _slow,
         seconds=1.0),
    Kind("hang-in-body", "the body stops in its middle for good", "answer", _hanging_body),
    Kind("redirect", "302 to somewhere else", "answer", _answering(_REDIRECT),
         carried_out=False),
    Kind("408-empty", "408 without a body", "answer", _empty(408), carried_out=False),
    Kind("429", "429 without Retry-After", "answer", _refusing(429, "Too many requests"),
         carried_out=False),
    Kind("429-retry-after", "429 with Retry-After: SECONDS", "answer", _slow_down,
         carried_out=False, seconds=1.0),
    Kind("500-json", "500 with a RestException; what was asked for happened", "answer",
         _refusing(500, "Internal Server Error")),
    Kind("500-html", "500 as a page; what was asked for happened", "answer",
         _page(500, "Internal Server Error")),
    Kind("500-empty", "500 without a body; what was asked for happened", "answer",
         _empty(500)),
    Kind("502-html", "502 as a page; nothing happened", "answer", _page(502, "Bad Gateway"),
         carried_out=False),
    Kind("503-json", "503 with a RestException; nothing happened", "answer",
         _refusing(503, "Service Unavailable; ", 35008), carried_out=False),
    Kind("503-retry-after", "503 without a body, with Retry-After: SECONDS; nothing happened",
         "answer", _unavailable_for, carried_out=False, seconds=1.0),
    Kind("504-empty", "504 without a body; what was asked for happened", "answer",
         _empty(504)),
    Kind("truncated-200", "a 200 that promises more bytes than it brings", "answer",
         _truncated),
    Kind("cut-off-200", "a 200 whose body ends in its middle, as its head says", "answer",
         _cut_off),
    Kind("empty-200", "a 200 without a body", "answer", _saying(b"")),
    Kind("senseless-200", "a 200 that says OK", "answer", _saying(b"OK")),
    Kind("no-sid-200", 'a 200 with {"Call": {}}', "answer", _saying(b'{"Call": {}}')),
    Kind("exception-200", "a 200 with a RestException", "answer",
         _saying(_exception(500, "Something went wrong"))),
    Kind("xml-for-json", "the answer in the other format: XML where JSON was asked", "answer"),
    Kind("recording-moved", "302 to a pre-signed URL on another host, which is this machine's "
         "other name", "answer", _moved, only_on=("recording",)),
    Kind("recording-private", "403: this address is not allowed to hear recordings", "answer",
         _refusing(403, "This IP is not allowed"), carried_out=False, only_on=("recording",)),
    Kind("recording-gone", "410: the recording was deleted", "answer",
         _refusing(410, "The recording was deleted"), carried_out=False, only_on=("recording",)),
    Kind("callback-lost", "a StatusCallback is never sent", "callback"),
    Kind("callback-late", "it is sent SECONDS later", "callback", seconds=600.0),
    Kind("callback-twice", "it is sent again SECONDS later", "callback", seconds=1.0),
    Kind("callback-out-of-order", "'answered' is sent after the call's next StatusCallback",
         "callback", only_on=("answered",)),
    Kind("callback-early", "a StatusCallback, and what precedes it in the call, overtakes "
         "connect's answer, with the times it would have had", "early"),
    Kind("callback-as-json", "it is encoded as JSON, whatever was asked", "callback"),
    Kind("callback-as-multipart", "it is encoded as multipart/form-data", "callback"),
    Kind("callback-as-urlencoded", "it is urlencoded", "callback"),
    Kind("callback-odd-words", "words are spelled as others met them: COMPLETED, no_answer",
         "callback"),
    Kind("callback-odd-keys", "keys come in lower case", "callback"),
    Kind("callback-odd-blanks", "what has no value is spelled null, NA or 1970-01-01 05:30:00",
         "callback"),
    Kind("callback-odd-legs", "legs are an object that counts from 1, each wrapped in Leg",
         "callback"),
    Kind("callback-odd-times", "times are ISO 8601 with +05:30", "callback"),
    Kind("callback-odd-durations", 'durations are spelled "29.0"', "callback"),
    Kind("callback-odd-lists", "texts come as ['completed']", "callback"),
)  # fmt: skip

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})
FAULTS: Mapping[str, str] = MappingProxyType({kind.name: kind.does for kind in _ALL})
