"""How is Exotel asked to place a call: both tables of connect's parameters.

Exotel: Voice v1, "Outgoing call to connect two numbers" and "Outgoing call to connect number to
a call flow".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypedDict

from exotel_async.errors import InvalidRequestError
from exotel_async.models.calls import Call

from . import checks
from .converter import Converter, Tree
from .request import Pair, Request, encode_segment


class FlowDialOptions(TypedDict, total=False):
    """What may be said about a call to a flow, wherever its StatusCallbacks go."""

    call_type: str | None  # "trans" for transactional calls
    time_limit: int | None  # seconds until the call is cut, 1 to 14,400
    time_out: int | None  # seconds to let each party's phone ring
    custom_field: str | None  # any text of yours; comes back with the "terminal" callback
    extra: Mapping[str, str] | None  # parameters newer than this release


class DialOptions(FlowDialOptions, total=False):
    """What may be said about a call between two numbers, wherever its StatusCallbacks go."""

    wait_url: str | None  # URL of a wav file, played to From while To's phone rings
    record: bool | None
    recording_channels: Literal["single", "dual"] | None  # with `record`
    recording_format: Literal["mp3", "mp3-hq"] | None  # with `record`
    start_playback_to: Literal["Callee", "Both"] | None
    start_playback_value: str | None  # URL of a wav file, played just before the parties talk


class FlowOptions(FlowDialOptions, total=False):
    """What may be said about a call to a flow; None is the same as leaving it out."""

    status_callback: str | None  # URL to which Exotel posts what happens


class ConnectOptions(DialOptions, FlowOptions, total=False):
    """What may be said about a call between two numbers."""

    status_callback_events: Iterable[str]  # "terminal", "answered"
    status_callback_content_type: Literal["multipart/form-data", "application/json"] | None


Encoder = Callable[[str, object], str]

_EVENTS = ("terminal", "answered")
_LONG_CUSTOM_FIELD = 128  # characters; one page of Exotel's says so, its own client cuts at 1000
_LONG_RING = 60  # seconds, the most that regulation allows


def connect(
    *,
    from_: str,
    to: str,
    caller_id: str,
    status_callback_events: Iterable[str] = (),
    extra: Mapping[str, str] | None = None,
    **options: object,
) -> Request[Call]:
    """Ask for a call between two numbers: From's phone rings first."""
    _refuse_unknown(options, _CONNECT)
    required = (("From", from_, "from_"), ("To", to, "to"), ("CallerId", caller_id, "caller_id"))
    events = checks.texts("status_callback_events", status_callback_events)
    if events and options.get("status_callback") is None:
        checks.doubt("status_callback_events does nothing without status_callback")
    for event in set(events).difference(_EVENTS):
        checks.doubt(f"Exotel's page knows no event {event!r}, only {' and '.join(_EVENTS)}")
    return _request(
        *((key, checks.text(name, value)) for key, value, name in required),
        *_optional(options, _CONNECT),
        *((f"StatusCallbackEvents[{i}]", event) for i, event in enumerate(events)),
        *checks.extra_parameters(extra, named=(*_KEYS, "Url")),
    )


def connect_to_flow(
    *,
    from_: str,
    caller_id: str,
    url: str,
    extra: Mapping[str, str] | None = None,
    **options: object,
) -> Request[Call]:
    """Ask for a call between a number and a flow (an applet) of the account."""
    _refuse_unknown(options, _FLOW)
    return _request(
        ("From", checks.text("from_", from_)),
        ("CallerId", checks.text("caller_id", caller_id)),
        ("Url", checks.url("url", url)),
        *_optional(options, _FLOW),
        *checks.extra_parameters(extra, named=(*_FLOW_KEYS, "To")),
    )


def flow_url(flow_id: int | str, *, account_sid: str, flow_base_url: str) -> str:
    """Spell the URL of a flow.

    >>> flow_url(926, account_sid="Exotel", flow_base_url="http://my.exotel.com")
    'http://my.exotel.com/Exotel/exoml/start_voice/926'
    """
    if isinstance(flow_id, bool) or not str(flow_id).isascii() or not str(flow_id).isdecimal():
        checks.refuse("flow_id", flow_id, "the number of a flow")
    return f"{flow_base_url}/{encode_segment(account_sid)}/exoml/start_voice/{flow_id}"


def url_of_flow(
    flow_id: int | str | None, url: object, *, account_sid: str, flow_base_url: str
) -> str:
    """Take a flow's URL, or spell it by the flow's number: the one or the other."""
    if (flow_id is None) == (url is None):
        raise InvalidRequestError("give either flow_id or url, the one or the other")
    if flow_id is None:
        return checks.url("url", url)
    return flow_url(flow_id, account_sid=account_sid, flow_base_url=flow_base_url)


def read_call(converter: Converter, tree: Tree) -> Call:
    """Read the one call in an answer."""
    raw = tree.get("Call")
    if not isinstance(raw, dict):
        raise ValueError("it holds no Call")  # noqa: TRY004 - readers raise ValueError
    return converter.call(raw)


def _request(*form: Pair) -> Request[Call]:
    return Request(
        method="POST", path=("Calls", "connect"), form=form, decode=read_call, repeatable=False
    )


def _optional(
    options: Mapping[str, object], table: Mapping[str, tuple[str, Encoder]]
) -> list[Pair]:
    return [
        (key, encode(name, options[name]))
        for name, (key, encode) in table.items()
        if options.get(name) is not None
    ]


def _refuse_unknown(options: Mapping[str, object], table: Mapping[str, object]) -> None:
    for name in options.keys() - table.keys():
        raise TypeError(f"unexpected argument {name!r}; allowed are {', '.join(table)} and extra")


def _words(*allowed: str) -> Encoder:
    return lambda name, value: checks.one_of(name, value, allowed)


def _time_limit(name: str, value: object) -> str:
    return str(checks.whole(name, value, least=1, most=14_400))


def _time_out(name: str, value: object) -> str:
    seconds = checks.whole(name, value, least=1)
    if seconds > _LONG_RING:
        checks.doubt(f"time_out is {seconds}: regulation lets a phone ring {_LONG_RING} seconds")
    return str(seconds)


def _call_type(name: str, value: object) -> str:
    if checks.text(name, value) != "trans":
        checks.doubt(f"Exotel's page knows no call_type {value!r}, only 'trans'")
    return str(value)


def _custom_field(name: str, value: object) -> str:
    text = checks.text(name, value)
    if len(text) > _LONG_CUSTOM_FIELD:
        checks.doubt(f"custom_field has {len(text)} characters: Exotel may cut it after 128")
    return text


def _flag(name: str, value: object) -> str:
    return "true" if checks.flag(name, value) else "false"


_FLOW: Mapping[str, tuple[str, Encoder]] = {
    "call_type": ("CallType", _call_type),
    "time_limit": ("TimeLimit", _time_limit),
    "time_out": ("TimeOut", _time_out),
    "custom_field": ("CustomField", _custom_field),
    "status_callback": ("StatusCallback", checks.url),
}
_CONNECT: Mapping[str, tuple[str, Encoder]] = {
    **_FLOW,
    "wait_url": ("WaitUrl", checks.url),
    "record": ("Record", _flag),
    "recording_channels": ("RecordingChannels", _words("single", "dual")),
    "recording_format": ("RecordingFormat", _words("mp3", "mp3-hq")),
    "start_playback_to": ("StartPlaybackTo", _words("Callee", "Both")),
    "start_playback_value": ("StartPlaybackValue", checks.url),
    "status_callback_content_type": (
        "StatusCallbackContentType",
        _words("multipart/form-data", "application/json"),
    ),
}
_FLOW_KEYS = ("From", "CallerId", "Url", *(key for key, _ in _FLOW.values()))
_KEYS = ("From", "To", "CallerId", "StatusCallbackEvents", *(key for key, _ in _CONNECT.values()))
