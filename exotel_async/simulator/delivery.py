"""Says whether a StatusCallback arrived, and when it is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from typing import Self

import aiohttp
import attrs
from yarl import URL

from .callbacks import JSON, MULTIPART, URLENCODED, Letter, Payload, encode, flattened
from .checks import Pairs, is_url
from .clock import VirtualClock
from .faults import Fault, FaultBook
from .odd import ODDITIES

DEADLINE = 15.0  # seconds that a receiver has
# Exotel tries again 5 and 15 minutes after the first attempt: these are the gaps between.
_GAPS = (5 * 60.0, 10 * 60.0)
_GRACE = 0.3  # seconds of real time for a receiver to answer after somebody began to sleep
_ENCODINGS = {
    "callback-as-json": JSON,
    "callback-as-multipart": MULTIPART,
    "callback-as-urlencoded": URLENCODED,
}


@attrs.frozen(kw_only=True)
class Delivered:
    """One attempt to deliver a StatusCallback."""

    url: str
    content_type: str  # the media type alone
    fields: Pairs  # nested names as a form writes them: ("Legs[0][Status]", "completed")
    at: datetime
    status: int | None  # None: it was not sent, or not answered
    fault: str | None = None  # names of the faults that struck it
    problem: str | None = None  # why it was not sent, or not answered


@attrs.frozen(kw_only=True)
class _Parcel:
    """A StatusCallback on its way."""

    letter: Letter
    payload: Payload
    faults: tuple[str, ...] = ()

    def delivered(self, outcome: _Outcome, *, at: datetime) -> Delivered:
        """Say what became of it."""
        return Delivered(
            url=self.letter.url,
            content_type=self.letter.content_type,
            fields=flattened(self.letter.fields),
            at=at,
            status=outcome.status,
            fault=", ".join(self.faults) or None,
            problem=outcome.problem,
        )


@attrs.frozen(eq=False)
class _Route:
    """Where StatusCallbacks go whose URL has this beginning."""

    prefix: str
    to: str


@attrs.frozen
class _Outcome:
    """What came of one attempt."""

    status: int | None = None
    problem: str | None = None


_LOST = _Outcome()
_LATE = _Outcome(problem=f"no answer within {DEADLINE:g} s")
_CUT = _Outcome(problem="the simulator was closed meanwhile")
_ELSEWHERE = _Outcome(
    problem="not sent: its host is not this machine; route() it, or say allow_remote_callbacks=True"
)


async def post_callback(
    url: str | URL,
    body: bytes,
    content_type: str,
    *,
    timeout: float = DEADLINE,  # noqa: ASYNC109 - it is aiohttp's
) -> int | None:
    """Post a StatusCallback as Exotel would; give the answer's status, None if none came."""
    async with _session(timeout) as session:
        return (await _post(session, url, Payload(body=body, content_type=content_type))).status


class Courier:
    """Posts StatusCallbacks, and tells of every attempt."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: FaultBook,
        note: Callable[[Delivered], None],
        *,
        allow_remote: bool,
        patience: float,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._note = note
        self._allow_remote = allow_remote
        self._patience = patience  # seconds of real time
        self._routes: list[_Route] = []
        self._session: aiohttp.ClientSession | None = None
        self._held: dict[str, list[tuple[_Parcel, list[Fault]]]] = {}  # by call
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = _session(None)
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if session is not None:
            await session.close()

    def route(self, prefix: str, to: str) -> Callable[[], None]:
        """Send what is for URLs with this beginning to others; returns what ends that."""
        for name, url in (("prefix", prefix), ("to", to)):
            if not is_url(url):
                raise ValueError(f"{name} must be an http or https URL, not {url!r}")
        route = _Route(prefix, to)
        self._routes.append(route)

        def end() -> None:
            self._routes = [one for one in self._routes if one is not route]

        return end

    async def send(self, letter: Letter, *, early: bool = False) -> None:
        """Deliver a StatusCallback as the faults of the hour have it.

        `early`: it overtakes the answer to connect.
        """
        struck = self._faults.strike_all("callback", letter.event)
        names = [fault.name for fault in struck]
        parcel = _packed(letter, [*(["callback-early"] if early else []), *names])
        if "callback-out-of-order" in names:
            self._held.setdefault(letter.call_sid, []).append((parcel, struck))
        else:
            await self._hand_over(parcel, struck)
            await self.release(letter.call_sid, after=_lateness(struck))

    async def release(self, call_sid: str, *, after: float = 0.0) -> None:
        """Deliver what was held back until the call's next StatusCallback was sent."""
        for parcel, struck in self._held.pop(call_sid, ()):
            await self._hand_over(parcel, struck, after=after)

    async def _hand_over(
        self, parcel: _Parcel, struck: Sequence[Fault], *, after: float = 0.0
    ) -> None:
        """Send a parcel now, late, twice or never."""
        if "callback-lost" in parcel.faults:
            self._note(parcel.delivered(_LOST, at=self._clock.now()))
            return
        late = after + _lateness(struck)
        await self._deliver_in(late, parcel)
        for fault in struck:
            if fault.name == "callback-twice":
                await self._deliver_in(late + fault.seconds, parcel)

    async def _deliver_in(self, seconds: float, parcel: _Parcel) -> None:
        if seconds > 0:
            self._clock.call_later(seconds, partial(self._deliver, parcel))
        else:
            await self._deliver(parcel)

    async def _deliver(self, parcel: _Parcel, *, attempt: int = 0) -> None:
        """Try once; time waits for the receiver, unless that waits for time itself."""
        trying = asyncio.create_task(self._attempt(parcel, attempt, at=self._clock.now()))
        self._tasks.add(trying)
        trying.add_done_callback(self._tasks.discard)
        if not self._clock.running:
            await self._until_done_or_asleep(trying)
            await self._clock.settle()  # what the receiver started runs before time moves on

    async def _until_done_or_asleep(self, trying: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        asleep: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not asleep.done():
                asleep.set_result(None)

        def notice() -> None:
            loop.call_soon_threadsafe(wake)

        forget = self._clock.listen(notice)
        try:
            await asyncio.wait({trying, asleep}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()
        if not trying.done():  # it may be somebody else who sleeps: who is awake gets to its end
            await asyncio.wait({trying}, timeout=min(_GRACE, self._patience))

    async def _attempt(self, parcel: _Parcel, attempt: int, *, at: datetime) -> None:
        url = self._routed(parcel.letter.url)
        allowed = self._allow_remote or is_loopback(url)
        try:
            outcome = await self._within_deadline(url, parcel.payload) if allowed else _ELSEWHERE
        except asyncio.CancelledError:
            self._note(parcel.delivered(_CUT, at=at))
            raise
        self._note(parcel.delivered(outcome, at=at))
        if allowed and outcome.status != 200 and attempt < len(_GAPS):
            passed = (self._clock.now() - at).total_seconds()
            again = partial(self._deliver, parcel, attempt=attempt + 1)
            self._clock.call_later(_GAPS[attempt] - passed, again)

    async def _within_deadline(self, url: str, payload: Payload) -> _Outcome:
        """Post it; a receiver has 15 seconds of the simulator's time, and some of real time."""
        if self._session is None:
            return _CUT
        posting = asyncio.ensure_future(_post(self._session, url, payload))

        async def give_up() -> None:
            if not self._clock.running:  # it may not wait for time, but for something real
                await asyncio.wait({posting}, timeout=self._patience)
                posting.cancel()

        # While time runs by itself it runs too fast for a receiver that lives outside.
        ticket = None if self._clock.running else self._clock.call_later(DEADLINE, give_up)
        try:
            await asyncio.wait({posting}, timeout=self._patience)
        finally:
            posting.cancel()
            if ticket is not None:
                self._clock.cancel(ticket)
        return posting.result() if posting.done() and not posting.cancelled() else _LATE

    def _routed(self, url: str) -> str:
        fitting = [route for route in self._routes if _begins_with(url, route.prefix)]
        if not fitting:
            return url
        chosen = max(reversed(fitting), key=lambda route: len(route.prefix))  # the newest of them
        return chosen.to + url.removeprefix(chosen.prefix)


def _begins_with(url: str, prefix: str) -> bool:
    """Tell whether a URL lies below another: a name that only begins alike does not.

    >>> _begins_with("https://shop.example/x", "https://shop.example")
    True
    >>> _begins_with("https://shop.example.org/", "https://shop.example")
    False
    """
    rest = url.removeprefix(prefix)
    return rest != url and (prefix.endswith("/") or rest[:1] in ("", "/", "?"))


def _lateness(struck: Sequence[Fault]) -> float:
    return max((fault.seconds for fault in struck if fault.name == "callback-late"), default=0.0)


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine.

    >>> is_loopback("http://127.0.0.1:8080/x"), is_loopback("https://example.com/")
    (True, False)
    """
    host = URL(url).host or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _packed(letter: Letter, faults: Sequence[str]) -> _Parcel:
    """Encode a StatusCallback, as oddly as the faults have it, whatever their order."""
    fields, content_type = letter.fields, letter.content_type
    for name, odd in ODDITIES.items():
        if name in faults:
            fields = odd(fields)
    for name in faults:
        content_type = _ENCODINGS.get(name, content_type)
    return _Parcel(
        letter=attrs.evolve(letter, fields=fields, content_type=content_type),
        payload=encode(fields, content_type),
        faults=tuple(faults),
    )


def _session(timeout: float | None) -> aiohttp.ClientSession:
    # Neither cookies nor proxies of the environment: each callback stands for itself.
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout), cookie_jar=aiohttp.DummyCookieJar()
    )


async def _post(session: aiohttp.ClientSession, url: str | URL, payload: Payload) -> _Outcome:
    headers = {"Content-Type": payload.content_type}
    try:
        async with session.post(
            url, data=payload.body, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return _Outcome(answer.status)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return _Outcome(problem=f"no answer: {type(error).__name__}")
