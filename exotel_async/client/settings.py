"""Which settings does a client have, and are they possible."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from ipaddress import ip_address
from typing import Literal
from urllib.parse import SplitResult, urlsplit

import attrs

from exotel_async.errors import ConfigurationError
from exotel_async.wire.answer import JsonLoads, load_exactly
from exotel_async.wire.recordings import Trusted, check_hosts, origin_of
from exotel_async.wire.request import ResponseFormat
from exotel_async.wire.zones import zone_of

Region = Literal["singapore", "mumbai"]

# The API hosts stand on Exotel's page under "Replace <subdomain>", a flow host under "Url".
_HOSTS: Mapping[str, tuple[str, str]] = {
    "singapore": ("api.exotel.com", "my.exotel.com"),
    "mumbai": ("api.in.exotel.com", "my.in.exotel.com"),
}
_REGION_OF = {api_host: region for region, (api_host, _) in _HOSTS.items()}
_VARIABLES = {
    "account_sid": "EXOTEL_ACCOUNT_SID",
    "api_key": "EXOTEL_API_KEY",
    "api_token": "EXOTEL_API_TOKEN",
    "subdomain": "EXOTEL_SUBDOMAIN",
}


@attrs.frozen(kw_only=True, eq=False)
class Settings:
    """A client's settings, checked; neither key nor token is ever shown."""

    account_sid: str = attrs.field(repr=False)  # on old accounts it is the API key
    authorization: str = attrs.field(repr=False)  # the header's value
    base_url: str
    flow_base_url: str
    zone: tzinfo
    timeout: float  # seconds
    max_retries: int
    response_format: ResponseFormat
    trusted: Trusted  # with giving recordings
    json_loads: JsonLoads = load_exactly

    def __attrs_post_init__(self) -> None:
        """Refuse what no request could work with."""
        _seconds("timeout", self.timeout)
        _whole("max_retries", self.max_retries)
        if self.response_format not in ("json", "xml"):
            raise ConfigurationError(
                f"response_format must be 'json' or 'xml', but is {self.response_format!r}"
            )
        if not callable(self.json_loads):
            raise ConfigurationError(
                "json_loads must be a function that reads bytes, like orjson.loads, but is "
                f"{self.json_loads!r}"
            )


def settings_of(
    *,
    account_sid: str,
    api_key: str,
    api_token: str,
    region: Region,
    base_url: str | None,
    flow_base_url: str | None,
    allow_http: bool,
    time_zone: tzinfo | str,
    timeout: float,
    max_retries: int,
    response_format: ResponseFormat,
    recording_hosts: Iterable[str],
    json_loads: JsonLoads | None,
) -> Settings:
    """Check what a user set and work out what follows from it."""
    if region not in _HOSTS:
        raise ConfigurationError(f"region must be 'singapore' or 'mumbai', but is {region!r}")
    if not isinstance(allow_http, bool):
        raise ConfigurationError(f"allow_http must be True or False, but is {allow_http!r}")
    api_host, flow_host = _HOSTS[region]
    base_url = _base_url(base_url or f"https://{api_host}", allow_http=allow_http)
    return Settings(
        account_sid=_present("account_sid", account_sid),
        authorization=_basic(_present("api_key", api_key), _present("api_token", api_token)),
        base_url=base_url,
        # Exotel's page spells flows with http: the URL is a name here, nothing is fetched from it.
        flow_base_url=_any_url("flow_base_url", flow_base_url or f"http://{flow_host}").geturl(),
        zone=zone_of(time_zone),
        timeout=timeout,
        max_retries=max_retries,
        response_format=response_format,
        trusted=_trusted(base_url, check_hosts(recording_hosts)),
        json_loads=load_exactly if json_loads is None else json_loads,
    )


def credentials_from(
    environ: Mapping[str, str] | None = None, *, placed: bool = False
) -> dict[str, str]:
    """Read Exotel's four environment variables as arguments of a client; three if it is placed."""
    environ = os.environ if environ is None else environ
    wanted = {name: _VARIABLES[name] for name in _VARIABLES if name != "subdomain" or not placed}
    found = {name: environ.get(variable, "").strip() for name, variable in wanted.items()}
    missing = [_VARIABLES[name] for name, value in found.items() if not value]
    if missing:
        raise ConfigurationError(
            f"these environment variables are missing or blank: {', '.join(missing)}; "
            "their values stand in Exotel's dashboard under API settings"
        )
    place = {} if placed else _place_of(found.pop("subdomain"))
    return {**found, **place}


def _place_of(subdomain: str) -> dict[str, str]:
    """Tell the region by its host; any other host is taken as it is."""
    host = subdomain.lstrip("@").rstrip("/")
    if host.lower() in _REGION_OF:
        return {"region": _REGION_OF[host.lower()]}
    if "://" in host:
        return {"base_url": host}
    scheme = "http" if is_loopback(urlsplit(f"//{host}").hostname) else "https"
    return {"base_url": f"{scheme}://{host}"}


def is_loopback(host: str | None) -> bool:
    """Tell whether a host is this machine by its very name.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("example.com")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _trusted(base_url: str, hosts: frozenset[str]) -> Trusted:
    """Let http do for recordings on this machine where the client itself asks it so: in tests."""
    parts = urlsplit(base_url)
    if parts.scheme != "http" or not is_loopback(parts.hostname):
        return Trusted(hosts=hosts)
    plain = frozenset(host for host in hosts if is_loopback(urlsplit(f"//{host}").hostname))
    return Trusted(hosts=hosts, own=origin_of(base_url), plain=plain)


def _present(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a text that is not blank")  # never shown
    if not value.isprintable():
        raise ConfigurationError(f"{name} must be printable text")
    return value.strip()


def _basic(api_key: str, api_token: str) -> str:
    if ":" in api_key:
        raise ConfigurationError("api_key must not hold a ':', which ends it in the header")
    return "Basic " + b64encode(f"{api_key}:{api_token}".encode()).decode("ascii")


def _base_url(url: str, *, allow_http: bool) -> str:
    parts = _any_url("base_url", url)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise ConfigurationError(
            f"base_url must be https off this machine, but names {parts.hostname} with http: the "
            "credentials would travel in the clear; set allow_http=True if you mean it"
        )
    return parts.geturl()


def _any_url(name: str, url: object) -> SplitResult:
    allowed = f"{name} must be an http(s) URL of a host and perhaps a path, without credentials"
    if not isinstance(url, str):
        raise ConfigurationError(allowed)
    try:
        parts = urlsplit(url.rstrip("/"))
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise ConfigurationError(allowed) from error
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(allowed)
    return parts


def _seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ConfigurationError(f"{name} must be a number of seconds above 0, but is {value!r}")


def _whole(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name} must be a whole number of at least 0, but is {value!r}")
