"""Where may a recording be fetched from, and may our credentials go there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import SplitResult, parse_qsl, unquote, urljoin, urlsplit

import attrs

from exotel_async.errors import ConfigurationError, InvalidRequestError, mask_numbers
from exotel_async.models.calls import Call
from exotel_async.models.dials import CallOutcome
from exotel_async.models.events import StatusCallback

Recorded = Call | StatusCallback | CallOutcome | str

_EXOTEL = ".exotel.com"
_STORES = {  # hosts that many customers share: only Exotel's own part of them counts
    "s3-ap-southeast-1.amazonaws.com": "/exotelrecordings/",
    "s3-ap-south-1.amazonaws.com": "/exotel-mum1-recordings/",
}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?")
_SENDABLE = re.compile(r"[!#-;=?-\[\]_a-z~]+")  # what a URL may hold as it goes over the wire
_USUAL_PORT = {"https": 443, "http": 80}
_SIGNED = {"x-amz-signature", "signature", "x-goog-signature", "awsaccesskeyid", "sig"}
_SETTLED_AFTER = timedelta(minutes=15)  # a finished call's data settles within
_ABSOLUTE = re.compile(r"https?://[^/?#]", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Trusted:
    """Which hosts may be asked besides Exotel's own; none of `hosts` ever gets credentials."""

    hosts: frozenset[str] = frozenset()  # "media.example.com", "media.example.com:8443"
    # The client's own origin where it is http on this machine, as with a simulator: it gets them.
    own: str | None = None  # "127.0.0.1:8900"
    plain: frozenset[str] = frozenset()  # of `hosts` those on this machine that http will do for


@attrs.frozen(kw_only=True)
class Way:
    """How a recording is fetched: from where, and whether with credentials."""

    url: str = attrs.field(repr=False)  # its query may be a signature
    host: str
    authorized: bool = False
    signed: bool = False  # the URL itself lets anybody in, for a while


@attrs.frozen(kw_only=True)
class Wanted:
    """The recording of which call is wanted, and under which URLs it was offered."""

    sid: str | None = None
    offers: tuple[tuple[str, bool], ...] = attrs.field(default=(), repr=False)  # URL, pre-signed?
    ended: datetime | None = None

    def is_late(self, now: datetime) -> bool:
        """Tell whether the call ended so long ago that nothing more will come of it."""
        return self.ended is not None and now - self.ended > _SETTLED_AFTER


def wanted_of(subject: Recorded) -> Wanted:
    """Read what was handed in: a call, an event, an outcome, or a URL."""
    if isinstance(subject, str):
        return Wanted(offers=((subject, False),))
    if isinstance(subject, Call):
        ended = subject.end_time
        offers = ((subject.pre_signed_recording_url, True), (subject.recording_url, False))
        return Wanted(sid=subject.sid, offers=_there(offers), ended=ended)
    if isinstance(subject, StatusCallback | CallOutcome):
        ended = subject.end_time if isinstance(subject, StatusCallback) else None
        offers = ((None, True), (subject.recording_url, False))
        return Wanted(sid=subject.call_sid, offers=_there(offers), ended=ended)
    raise InvalidRequestError(
        "call_or_url must be a Call, a StatusCallback, a CallOutcome or the text of a URL, "
        f"but is a {type(subject).__name__}"
    )


def _there(offers: Iterable[tuple[str | None, bool]]) -> tuple[tuple[str, bool], ...]:
    return tuple((url, signed) for url, signed in offers if url)


def check_hosts(hosts: object) -> frozenset[str]:
    """Take the hosts that a user trusts with giving recordings, not with credentials.

    >>> sorted(check_hosts(["Media.example.com", "127.0.0.1:8901"]))
    ['127.0.0.1:8901', 'media.example.com']
    """
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Iterable):
        raise ConfigurationError(
            f"recording_hosts must be several hosts, like ('media.example.com',), not {hosts!r}"
        )
    return frozenset(_host_setting(host) for host in hosts)


def way_to(url: str, trusted: Trusted, *, signed: bool = False) -> Way:
    """Tell how to fetch a URL; InvalidRequestError where it must not be fetched.

    Credentials go to Exotel's own hosts over https, and to the client's own origin on this
    machine; never along with a signature, which stands for them.
    """
    parts = _parts(url)
    place = _place(parts)
    if not _may_be_asked(parts, place, trusted):
        raise InvalidRequestError(_foreign(parts, place))
    signed = signed or _is_signed(parts)
    ours = _is_exotels(parts, place) or (parts.scheme == "http" and place == trusted.own)
    return Way(
        url=parts._replace(fragment="").geturl(),
        host=place,
        authorized=ours and not signed,
        signed=signed,
    )


def redirected(way: Way, location: str | None, trusted: Trusted) -> Way:
    """Tell how to follow a redirect: without credentials, and never from https to http."""
    if not location:
        raise InvalidRequestError("a redirect must say where to")
    # Joined only if relative: urljoin mends what it joins, and that could hide what is odd.
    target = location if _ABSOLUTE.match(location) else urljoin(way.url, location)
    found = way_to(target, trusted)
    if way.url.startswith("https:") and not found.url.startswith("https:"):
        raise InvalidRequestError("a redirect must not lead from https to http")
    return attrs.evolve(found, authorized=False)


def _may_be_asked(parts: SplitResult, place: str, trusted: Trusted) -> bool:
    if parts.scheme == "http":
        return place == trusted.own or place in trusted.plain
    prefix = _STORES.get(place)
    in_store = prefix is not None and parts.path.startswith(prefix)
    return in_store or _is_exotels(parts, place) or place in trusted.hosts


def _is_exotels(parts: SplitResult, place: str) -> bool:
    """Tell whether it is Exotel over https, on the usual port: another one is in `place`."""
    return parts.scheme == "https" and place.endswith(_EXOTEL)


def _is_signed(parts: SplitResult) -> bool:
    names = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    return not names.isdisjoint(_SIGNED)


def _parts(url: object) -> SplitResult:
    """Take a URL apart that every parser takes apart in the same way; the rest is refused."""
    wanted = "the URL of a recording must be an absolute https:// URL"
    if not isinstance(url, str) or not _ABSOLUTE.match(url):
        raise InvalidRequestError(wanted)
    if not _SENDABLE.fullmatch(url.lower()):
        raise InvalidRequestError(f"{wanted} in ASCII, percent-encoded, without blanks")
    parts = urlsplit(url)
    authority = parts.netloc.lower()
    if "@" in authority:
        raise InvalidRequestError("the URL of a recording must not hold a user name or password")
    if not _HOST.fullmatch(authority) or not 0 < (_port(parts) or 0) < 2**16:
        raise InvalidRequestError(f"{wanted} of a plain host name")
    if not {".", ".."}.isdisjoint(unquote(parts.path).split("/")):
        raise InvalidRequestError("the URL of a recording must not hold . or .. in its path")
    return parts._replace(netloc=authority)


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port if parts.port is not None else _USUAL_PORT[parts.scheme]
    except ValueError:
        return None


def _place(parts: SplitResult) -> str:
    """Spell the host, with its port where that is not the usual one."""
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    return host if _port(parts) == _USUAL_PORT[parts.scheme] else f"{host}:{_port(parts)}"


def _foreign(parts: SplitResult, place: str) -> str:
    if parts.scheme == "http":
        return f"the URL of a recording must be https, but names {mask_numbers(place)} with http"
    if place in _STORES:
        return f"on {place} only what is below {_STORES[place]} is a recording of Exotel's"
    return (
        "the URL of a recording must be on a host of Exotel's, or on one that "
        f"ExotelClient(recording_hosts=...) names, but is on {mask_numbers(place)}"
    )


def _host_setting(host: object) -> str:
    if not isinstance(host, str) or not _HOST.fullmatch(host.lower()):
        raise ConfigurationError(
            "recording_hosts must hold hosts like 'media.example.com' or 'media.example.com:8443', "
            f"without scheme or path, but one is {_shown(host)}"
        )
    return host.lower().removesuffix(":443")


def _shown(value: object) -> str:
    """Show no more of a wrong host than its type or beginning: it may be a URL with a secret."""
    return repr(value[:12] + "…") if isinstance(value, str) else f"a {type(value).__name__}"


def origin_of(base_url: str) -> str:
    """Spell a base URL's host and port as `Trusted` does.

    >>> origin_of("http://127.0.0.1:8900/gateway")
    '127.0.0.1:8900'
    """
    parts = urlsplit(base_url)
    return _place(_parts(f"{parts.scheme}://{parts.netloc}"))
