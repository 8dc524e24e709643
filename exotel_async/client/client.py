"""What does a user hold: the client, its settings and its life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from copy import copy
from datetime import tzinfo
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import aiohttp
import attrs

from exotel_async.errors import ClientClosedError
from exotel_async.models.clock import Clock, SystemClock
from exotel_async.wire.request import ResponseFormat
from exotel_async.wire.values import IST

from .calls import Calls
from .door import Door
from .lookups import Lookups, NumberCache
from .numbers import Numbers
from .pacing import NoPacer, Pacer, SlidingWindowPacer
from .recordings import Recordings
from .settings import Region, credentials_from, settings_of
from .transport import Transport


class ClientOptions(TypedDict, total=False):
    """A client's settings besides its credentials; `ExotelClient` says what each means."""

    region: Region
    base_url: str | None
    flow_base_url: str | None
    allow_http: bool
    time_zone: tzinfo | str
    timeout: float
    max_retries: int
    requests_per_minute: int | None
    pacer: Pacer | None
    response_format: ResponseFormat
    recording_hosts: Iterable[str]
    session: aiohttp.ClientSession | None
    number_cache: NumberCache | None
    json_loads: Callable[[bytes], object] | None
    clock: Clock | None


class ExotelClient:
    """Asks Exotel: places calls, reads their records, looks up numbers.

    Use it with `async with`, or append its `lifespan` to an aiohttp application's `cleanup_ctx`.

    - `account_sid`, `api_key`, `api_token`: from Exotel's dashboard, under API settings.
    - `region`: "singapore" or "mumbai"; picks the hosts. `base_url` and `flow_base_url` override
      them; the first must be https off this machine unless `allow_http`.
    - `time_zone`: what time stamps without a zone mean, a tzinfo or a zone's name.
    - `timeout`: seconds for one try, connecting to last byte; at most half of it, and at most
      10 s, goes into connecting. Waiting for the pacer does not count.
    - `max_retries`: further tries of what may be repeated. A dial that may have been carried out
      is never repeated. (aiohttp by itself repeats a GET once where a kept-alive connection turns
      out to be dead.)
    - `requests_per_minute`: None for no pacing. `pacer`: one of your own, shared or not.
    - `response_format`: "json" or "xml".
    - `recording_hosts`: hosts besides Exotel's that recordings may be fetched from, like
      "media.example.com"; they never get the credentials.
    - `session`: one of your own; it is never closed, and its connector decides whether a dial
      goes on a kept-alive connection.
    - `number_cache`: a mutable mapping for what numbers were found to be, by their text as given;
      how long it keeps what is its own matter.
    - `json_loads`: what reads answers in JSON, quicker than Python's own: `orjson.loads` (extra
      `orjson`). A price that Exotel sends as a number, not as text, may lose zeros at its end.
    - `clock`: where time comes from; for tests.

    Raises ConfigurationError, which names the setting.
    """

    def __init__(
        self,
        *,
        account_sid: str,
        api_key: str,
        api_token: str,
        region: Region = "singapore",
        base_url: str | None = None,
        flow_base_url: str | None = None,
        allow_http: bool = False,
        time_zone: tzinfo | str = IST,
        timeout: float = 30.0,
        max_retries: int = 2,
        requests_per_minute: int | None = 200,
        pacer: Pacer | None = None,
        response_format: ResponseFormat = "json",
        recording_hosts: Iterable[str] = (),
        session: aiohttp.ClientSession | None = None,
        number_cache: NumberCache | None = None,
        json_loads: Callable[[bytes], object] | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = SystemClock() if clock is None else clock
        settings = settings_of(
            account_sid=account_sid,
            api_key=api_key,
            api_token=api_token,
            region=region,
            base_url=base_url,
            flow_base_url=flow_base_url,
            allow_http=allow_http,
            time_zone=time_zone,
            timeout=timeout,
            max_retries=max_retries,
            response_format=response_format,
            recording_hosts=recording_hosts,
            json_loads=json_loads,
        )
        self._owns_transport = True
        self._lookups = Lookups(number_cache)
        self._door = Door(
            settings=settings,
            transport=Transport(session),
            pacer=_pacer(requests_per_minute, clock=clock) if pacer is None else pacer,
            clock=clock,
        )

    @classmethod
    def from_environ(
        cls, *, environ: Mapping[str, str] | None = None, **options: Unpack[ClientOptions]
    ) -> Self:
        """Make a client from Exotel's own environment variables.

        These are EXOTEL_ACCOUNT_SID, EXOTEL_API_KEY, EXOTEL_API_TOKEN and EXOTEL_SUBDOMAIN
        (`api.exotel.com` or `api.in.exotel.com`); the error names the missing ones. The last one
        is not looked at where `options` name a region or a base_url.
        """
        placed = "region" in options or options.get("base_url") is not None
        arguments: dict[str, Any] = {**credentials_from(environ, placed=placed), **options}
        return cls(**arguments)

    @property
    def calls(self) -> Calls:
        """Places calls and reads their records."""
        return Calls(self._door)

    @property
    def numbers(self) -> Numbers:
        """Looks up phone numbers."""
        return Numbers(self._door, self._lookups)

    @property
    def recordings(self) -> Recordings:
        """Fetches recordings of calls."""
        return Recordings(self._door)

    def with_options(
        self,
        *,
        timeout: float | None = None,
        max_retries: int | None = None,
        response_format: ResponseFormat | None = None,
    ) -> Self:
        """Make a view with other settings: same session, pacer and life; closing it does nothing.

        >>> quick = exotel.with_options(timeout=5.0, max_retries=0)  # doctest: +SKIP
        """
        given = {"timeout": timeout, "max_retries": max_retries, "response_format": response_format}
        changes: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        view = copy(self)
        view.__dict__.update(
            _owns_transport=False,
            _door=attrs.evolve(self._door, settings=attrs.evolve(self._door.settings, **changes)),
        )
        return view

    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Live as long as an aiohttp application: `app.cleanup_ctx.append(exotel.lifespan)`.

        Opens what is not open yet and closes only what it opened.
        """
        async with self:
            yield

    async def aclose(self) -> None:
        """Close the sessions that were opened here; twice is harmless."""
        if self._owns_transport:
            await self._door.transport.close()

    async def __aenter__(self) -> Self:
        if self._owns_transport:
            self._door.transport.open()
        elif not self._door.transport.is_open:
            raise ClientClosedError("open the client itself: this is a view of it (with_options)")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owns_transport:
            await self._door.transport.leave()

    def __repr__(self) -> str:
        settings = self._door.settings
        state = "open" if self._door.transport.is_open else "closed"
        return f"<{type(self).__name__} of {settings.base_url}, {state}>"


def door_of(exotel: ExotelClient) -> Door:
    """Give the door of a client to the dialer, which keeps the books of what goes through it."""
    return exotel._door  # noqa: SLF001 - a room above, not a user


def _pacer(requests_per_minute: int | None, *, clock: Clock) -> Pacer:
    if requests_per_minute is None:
        return NoPacer()
    return SlidingWindowPacer(requests_per_minute, clock=clock)
