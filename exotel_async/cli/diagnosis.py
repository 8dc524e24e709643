"""What is wrong with an account's settings or the way to Exotel, and what is to be done."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from socket import gaierror
from urllib.parse import urlsplit

import aiohttp
import attrs

from exotel_async.client.probe import Probe
from exotel_async.client.settings import is_loopback
from exotel_async.errors import (
    ApiError,
    AuthenticationError,
    ExotelError,
    NotFoundError,
    NotSentError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
)

from .exit_status import ExitStatus, status_of
from .wording import told

VARIABLES = {
    "EXOTEL_ACCOUNT_SID": "the account's Sid",
    "EXOTEL_API_KEY": "the API key",
    "EXOTEL_API_TOKEN": "the API token",
    "EXOTEL_SUBDOMAIN": "the API's host",
}
REGIONS = {"api.exotel.com": "Singapore", "api.in.exotel.com": "Mumbai"}

_MOST_SECONDS_OFF = 30.0
_SLOW = 5.0  # seconds
_WHERE = "see Exotel's dashboard, API settings"


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    about: str
    well: bool
    says: str
    advice: str = ""  # on what is well: a warning
    status: ExitStatus = ExitStatus.FAILED  # how the doctor ends if this is what is wrong


def settings_findings(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at each environment variable."""
    for name, meaning in VARIABLES.items():
        value = environ.get(name, "")
        about, wrong = f"setting {name}", ExitStatus.USAGE
        if not value.strip():
            says, advice = f"{name} is missing: {meaning}", f"export {name}=…; {_WHERE}"
            yield Finding(about=about, well=False, says=says, advice=advice, status=wrong)
        elif value.strip()[:1] in "\"'<":
            says = f"{name} has quotes or brackets around it"
            advice = "set the bare value, without what stands around it"
            yield Finding(about=about, well=False, says=says, advice=advice, status=wrong)
        else:
            yield Finding(about=about, well=True, says=f"{name} is set: {meaning}")


def region_finding(subdomain: str) -> Finding:
    """Tell the region by the host; of another host whoever asks it sees what it is."""
    host = _host_of(subdomain)
    if host in REGIONS:
        return Finding(about="region", well=True, says=f"the region is {REGIONS[host]} ({host})")
    if is_loopback(host):
        return Finding(about="region", well=True, says=f"no region: {host} is this machine")
    return Finding(
        about="region",
        well=True,
        says=f"{host or 'EXOTEL_SUBDOMAIN'} is no host of Exotel's API",
        advice="EXOTEL_SUBDOMAIN is api.exotel.com (Singapore) or api.in.exotel.com (Mumbai)",
    )


def _host_of(subdomain: str) -> str:
    """Take the host out of what was set, as the client does; "" where it may be a credential."""
    text = subdomain.strip().lstrip("@")
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, _ = (parts.hostname or "").lower(), parts.port  # raises where that is no number
    except ValueError:
        return ""
    return host if "." in host or is_loopback(host) else ""


def setting_finding(error: ExotelError) -> Finding:
    """Tell of settings that no client could be made of."""
    return Finding(
        about="settings", well=False, says=told(error), advice=_WHERE, status=ExitStatus.USAGE
    )


def probe_findings(probe: Probe) -> Iterator[Finding]:
    """Tell what one request has shown, from the wire up to the clock."""
    if probe.status is None:
        yield _unreached(probe)
        return
    slow = ", which is slow" if probe.seconds > _SLOW else ""
    says = f"Exotel answered {probe.status} within {probe.seconds:.1f} s{slow}"
    yield Finding(about="reachable", well=True, says=says)
    yield _credentials(probe.error)
    yield _clock(probe)


def _unreached(probe: Probe) -> Finding:
    error = probe.error
    cause = error.__cause__ if error else None
    return Finding(
        about="reachable",
        well=False,
        says=str(error or "no answer came"),
        advice=_way(cause, unsent=isinstance(error, NotSentError)),
        status=ExitStatus.NOT_REACHED,
    )


def _way(cause: BaseException | None, *, unsent: bool) -> str:
    """Say what to look at, by what stood in the way."""
    inner = getattr(cause, "os_error", None)
    if isinstance(cause, aiohttp.ClientConnectorDNSError) or isinstance(inner, gaierror):
        return "the host's name is not known: check EXOTEL_SUBDOMAIN and this machine's DNS"
    if isinstance(cause, aiohttp.ClientSSLError | ssl.SSLError):
        return "TLS failed: check this machine's certificates, its clock, and proxies in between"
    if isinstance(inner, ConnectionRefusedError):
        return "nobody listens there: check the host and port in EXOTEL_SUBDOMAIN"
    if unsent:
        return "no connection: check this machine's network, proxy and firewall"
    return "the connection was made, but no answer came: try again; if it stays so, ask Exotel"


def _credentials(error: ExotelError | None) -> Finding:
    if error is None:
        return Finding(about="credentials", well=True, says="Exotel accepts the credentials")
    return Finding(
        about="credentials" if isinstance(error, ApiError) else "answer",
        well=False,
        says=str(error),
        advice=_remedy(error),
        status=status_of(error),
    )


def _remedy(error: ExotelError) -> str:
    if isinstance(error, AuthenticationError | NotFoundError):
        return (
            "compare account Sid, key and token with the dashboard's; if they are right, the "
            "account lives in the other region: change EXOTEL_SUBDOMAIN"
        )
    if isinstance(error, PermissionDeniedError):
        return "this machine's IP address is not on the account's list, or it is suspended"
    if isinstance(error, RateLimitedError):
        return "too many requests of this account in the last minute: wait, then try again"
    if isinstance(error, ServerError):
        return "Exotel itself has trouble: try again later, look at its status page"
    return "what answers there does not look like Exotel: check EXOTEL_SUBDOMAIN and proxies"


def _clock(probe: Probe) -> Finding:
    ahead = probe.ahead
    if ahead is None:
        return Finding(about="clock", well=True, says="Exotel did not say what time it is")
    seconds = ahead.total_seconds()
    if abs(seconds) <= _MOST_SECONDS_OFF:
        return Finding(about="clock", well=True, says="this machine's clock agrees with Exotel's")
    way = "ahead of" if seconds > 0 else "behind"
    return Finding(
        about="clock",
        well=False,
        says=f"this machine's clock is {abs(seconds):.0f} s {way} Exotel's",
        advice="set it by NTP: ranges of time and the tokens of callback URLs depend on it",
    )
