"""Says whether a request may carry a parameter, and if not, what Exotel's page wants."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from yarl import URL

from .calls import Callback, Order
from .numbers import is_number

Pairs = tuple[tuple[str, str], ...]

_EVENT = re.compile(r"StatusCallbackEvents\[\d+\]")
_FLOW = re.compile(r"/(?P<sid>[^/]+)/exoml/start_voice/[^/]+")

_WORDS: Mapping[str, tuple[str, ...]] = {
    "CallType": ("trans",),
    "Record": ("true", "false"),
    "RecordingChannels": ("single", "dual"),
    "RecordingFormat": ("mp3", "mp3-hq"),
    "StartPlaybackTo": ("Callee", "Both"),
    "StatusCallbackContentType": ("multipart/form-data", "application/json"),
}
_URLS = ("WaitUrl", "StartPlaybackValue", "StatusCallback")
_FLOW_HOSTS = ("my.exotel.com", "my.in.exotel.com", "127.0.0.1", "localhost")
# Of two numbers only; the page's table for flows lacks them.
_NOT_FOR_FLOWS = (
    "WaitUrl",
    "Record",
    "RecordingChannels",
    "RecordingFormat",
    "StartPlaybackTo",
    "StartPlaybackValue",
    "StatusCallbackEvents",
    "StatusCallbackContentType",
)
_KNOWN = (
    "From",
    "To",
    "CallerId",
    "Url",
    "TimeLimit",
    "TimeOut",
    "CustomField",
    "CallType",
    *_URLS,
    *_WORDS,
    "StatusCallbackEvents",
)


class RefusedError(Exception):
    """What Exotel answers with a `RestException`.

    `mistake`: the request is one that the page does not allow, whoever makes it.
    """

    def __init__(self, status: int, message: str, *, mistake: bool = False) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.mistake = mistake


def bad(message: str) -> RefusedError:
    """Make the refusal of a wrong parameter."""
    return RefusedError(400, message, mistake=True)


def once(pairs: Pairs) -> dict[str, str]:
    """Turn pairs into a mapping; refuse a parameter that was given twice."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise bad(f"Parameter {name} must be given once only")
        values[name] = value
    return values


def whole(
    params: Mapping[str, str], name: str, *, least: int, most: int | None = None
) -> int | None:
    """Read an integer between `least` and `most`; None if it was not given."""
    text = params.get(name)
    if text is None:
        return None
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"
    # Not isdigit(): that takes digits of every script; ten of them are more than any limit.
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= (most or int(text)):
        raise bad(f"Invalid {name} {text!r}: must be an integer {bounds}")
    return int(text)


def word(name: str, text: str, allowed: Collection[str]) -> str:
    """Refuse a word that the page does not know."""
    if text not in allowed:
        raise bad(f"Invalid {name} {text!r}. Allowed values are {','.join(allowed)}")
    return text


def flag(params: Mapping[str, str], name: str) -> bool:
    """Read 'true' or 'false'; False if it was not given."""
    return word(name, params.get(name, "false"), ("true", "false")) == "true"


def connect(pairs: Pairs, *, account_sid: str) -> Order:
    """Read what a connect asks for, or refuse it."""
    if not pairs:
        raise bad("No parameters: they are sent as form-data in the body of the request")
    params = once(pairs)
    to = _target(params, account_sid=account_sid)
    _check_words(params)
    _check_urls(params)
    return Order(
        from_=_number(params, "From"),
        to=to,
        caller_id=_number(params, "CallerId"),
        time_limit=whole(params, "TimeLimit", least=1, most=14_400),
        time_out=whole(params, "TimeOut", least=1),
        # A flow decides for itself what is recorded: the page lists Record for two numbers only.
        record=to is not None and flag(params, "Record"),
        custom_field=params.get("CustomField"),
        callback=_callback(params, two_numbers=to is not None),
    )


def doubts(pairs: Pairs) -> list[str]:
    """Say what is let through, but can't be meant: the page has it otherwise."""
    names = {name.partition("[")[0] for name, _ in pairs}
    params = dict(pairs)
    found = misspelt(names, _KNOWN)
    if "Url" in names:
        found += [
            f"{name} is for two numbers (From and To), not for a call to a flow"
            for name in _NOT_FOR_FLOWS
            if name in names
        ]
    if "StatusCallbackEvents" in names and "StatusCallback" not in names:
        found.append("StatusCallbackEvents without StatusCallback: nobody will be told")
    wait = params.get("WaitUrl", ".wav").partition("?")[0]
    if not wait.lower().endswith(".wav"):
        found.append(f"Invalid WaitUrl {params['WaitUrl']!r}: only wav is supported")
    return found


def misspelt(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Say which names differ from known ones in nothing but case: Exotel does not heed those."""
    meant = {name.lower(): name for name in known}
    return [
        f"Parameter {name} is not known: write {meant[name.lower()]}"
        for name in sorted(names)
        if name not in known and name.lower() in meant
    ]


def unknown(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Say which names are none of the page's, in this spelling."""
    found = set(names)
    meant = {name.lower() for name in known}
    return misspelt(found, known) + [
        f"Parameter {name} is not known: known are {', '.join(known) or 'none here'}"
        for name in sorted(found)
        if name.lower() not in meant
    ]


def _target(params: Mapping[str, str], *, account_sid: str) -> str | None:
    """Give the second number, or None when a flow is to be reached."""
    if "Url" not in params:
        if "To" not in params:
            raise bad("Mandatory parameter To is missing (or Url, to connect to a call flow)")
        return _number(params, "To")
    if "To" in params:
        raise bad("Parameters To and Url exclude each other: connect two numbers, or a flow")
    url = _url("Url", params["Url"])
    path = _FLOW.fullmatch(url.path)
    if path is None or path["sid"] != account_sid or url.host not in _FLOW_HOSTS:
        wanted = f"http://my.exotel.com/{account_sid}/exoml/start_voice/{{app_id}}"
        raise bad(f"Invalid Url {params['Url']!r}: must be {wanted}")
    return None


def _number(params: Mapping[str, str], name: str) -> str:
    # The page's own curl example sends a bare +, which a form decodes to a blank.
    text = params.get(name, "").strip()
    if not text:
        raise bad(f"Mandatory parameter {name} is missing")
    if not is_number(text):
        raise bad(f"Invalid {name} {text!r}: must be a phone number, preferably in E.164 format")
    return text


def _check_words(params: Mapping[str, str]) -> None:
    for name, allowed in _WORDS.items():
        if name in params:
            word(name, params[name], allowed)


def _check_urls(params: Mapping[str, str]) -> None:
    for name in _URLS:
        if name in params:
            _url(name, params[name])


def is_url(text: str) -> bool:
    """Tell whether this is a URL that HTTP can reach.

    >>> is_url("https://example.com/x"), is_url("example.com"), is_url("http://[bad/")
    (True, False, False)
    """
    try:
        url = URL(text)
        return url.scheme in ("http", "https") and bool(url.host)  # decodes the name: may fail
    except ValueError:
        return False


def _url(name: str, text: str) -> URL:
    if not is_url(text):
        raise bad(f"Invalid {name} {text!r}: must be an http or https URL")
    return URL(text)


def _callback(params: Mapping[str, str], *, two_numbers: bool) -> Callback | None:
    events = frozenset(_events(params.items()))
    if "StatusCallback" not in params:
        return None
    if not two_numbers:  # the page: further fields "only supported if both From and To are set"
        return Callback(url=params["StatusCallback"])
    content_type = params.get("StatusCallbackContentType", "multipart/form-data")
    return Callback(url=params["StatusCallback"], events=events, content_type=content_type)


def _events(pairs: Iterable[tuple[str, str]]) -> Iterable[str]:
    for name, value in pairs:
        if not name.startswith("StatusCallbackEvents"):
            continue
        if not _EVENT.fullmatch(name):
            raise bad(f"Invalid parameter {name!r}: write StatusCallbackEvents[0]=terminal")
        yield word(name, value, ("terminal", "answered"))
