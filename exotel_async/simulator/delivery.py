"""Says whether a StatusCallback arrived, and when it is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from ipaddress import ip_address
from typing import Self

import aiohttp
import attrs
from yarl import URL

from .callbacks import JSON, MULTIPART, URLENCODED, Letter, Payload, encode, flattened
from .checks import Pairs
from .clock import VirtualClock
from .faults import Fault, FaultBook
from .odd import ODDITIES

DEADLINE = 15.0  # seconds that a receiver has
# Exotel tries again 5 and 15 minutes after the first attempt: these are the gaps between.
_GAPS = (5 * 60.0, 10 * 60.0)
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
    status: int | None  # None: no answer, lost, or not sent because the host is not this machine
    fault: str | None = None  # names of the faults that struck it


@attrs.frozen(kw_only=True)
class _Parcel:
    """A StatusCallback on its way."""

    letter: Letter
    payload: Payload
    faults: tuple[str, ...] = ()

    def delivered(self, *, at: datetime, status: int | None) -> Delivered:
        """Say what became of it."""
        return Delivered(
            url=self.letter.url,
            content_type=self.letter.content_type,
            fields=flattened(self.letter.fields),
            at=at,
            status=status,
            fault=", ".join(self.faults) or None,
        )


async def post_callback(
    url: str,
    body: bytes,
    content_type: str,
    *,
    timeout: float = DEADLINE,  # noqa: ASYNC109 - it is aiohttp's
) -> int | None:
    """Post a StatusCallback as Exotel would; give the answer's status, None if none came."""
    async with _session(timeout) as session:
        return await _post(session, url, Payload(body=body, content_type=content_type))


class Courier:
    """Posts StatusCallbacks, and tells of every attempt."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: FaultBook,
        note: Callable[[Delivered], None],
        *,
        allow_remote: bool,
    ) -> None:
        self.routes: dict[str, str] = {}  # from the beginning of a URL to what stands for it
        self.patience = DEADLINE  # seconds of real time, where the receiver waits for no clock
        self._clock = clock
        self._faults = faults
        self._note = note
        self._allow_remote = allow_remote
        self._session: aiohttp.ClientSession | None = None
        self._held: dict[str, list[_Parcel]] = {}  # by call: until the next one was sent
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

    async def send(self, letter: Letter) -> None:
        """Deliver a StatusCallback as the faults of the hour have it."""
        struck = self._faults.strike_all("callback", letter.event)
        names = [fault.name for fault in struck]
        parcel = _packed(letter, names)
        if "callback-lost" in names:
            self._note(parcel.delivered(at=self._clock.now(), status=None))
        elif "callback-out-of-order" in names and letter.event == "answered":
            self._held.setdefault(letter.call_sid, []).append(parcel)
        else:
            await self._hand_over(parcel, struck)

    async def _hand_over(self, parcel: _Parcel, struck: Sequence[Fault]) -> None:
        """Send a parcel now or late, once or twice, and after it what was held back for it."""
        late = [fault.seconds for fault in struck if fault.name == "callback-late"]
        if late:
            self._clock.call_later(max(late), partial(self._deliver, parcel))
        else:
            await self._deliver(parcel)
        for fault in struck:
            if fault.name == "callback-twice":
                again = max([0.0, *late]) + fault.seconds
                self._clock.call_later(again, partial(self._deliver, parcel))
        for held in self._held.pop(parcel.letter.call_sid, ()):
            await self._deliver(held)

    async def _deliver(self, parcel: _Parcel, *, attempt: int = 0) -> None:
        """Try once; time waits for the receiver, unless that waits for time itself."""
        trying = asyncio.create_task(self._attempt(parcel, attempt))
        self._tasks.add(trying)
        trying.add_done_callback(self._tasks.discard)
        if self._clock.running:
            return
        await self._until_done_or_asleep(trying)
        await self._clock.settle()  # what the receiver started gets to run before time moves on

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

    async def _attempt(self, parcel: _Parcel, attempt: int) -> None:
        letter = parcel.letter
        at = self._clock.now()
        url = self._routed(letter.url)
        allowed = self._allow_remote or is_loopback(url)
        status = await self._within_deadline(url, parcel.payload) if allowed else None
        self._note(parcel.delivered(at=at, status=status))
        if allowed and status != 200 and attempt < len(_GAPS):
            passed = (self._clock.now() - at).total_seconds()
            again = partial(self._deliver, parcel, attempt=attempt + 1)
            self._clock.call_later(_GAPS[attempt] - passed, again)

    async def _within_deadline(self, url: str, payload: Payload) -> int | None:
        """Post it; a receiver has 15 seconds of the simulator's time, and of real time."""
        if self._session is None:
            return None
        posting = asyncio.ensure_future(_post(self._session, url, payload))

        async def give_up() -> None:
            posting.cancel()

        # While time runs by itself it runs too fast for a receiver that lives outside.
        ticket = None if self._clock.running else self._clock.call_later(DEADLINE, give_up)
        try:
            async with asyncio.timeout(self.patience):
                return await posting
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                posting.cancel()
                raise
            return None
        finally:
            if ticket is not None:
                self._clock.cancel(ticket)

    def _routed(self, url: str) -> str:
        for prefix, local in self.routes.items():
            if url.startswith(prefix):
                return local + url.removeprefix(prefix)
        return url


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
    """Encode a StatusCallback, as oddly as the faults have it."""
    for name in faults:
        odd = ODDITIES.get(name)
        fields = letter.fields if odd is None else odd(letter.fields)
        content_type = _ENCODINGS.get(name, letter.content_type)
        letter = attrs.evolve(letter, fields=fields, content_type=content_type)
    payload = encode(letter.fields, letter.content_type)
    return _Parcel(letter=letter, payload=payload, faults=tuple(faults))


def _session(timeout: float | None) -> aiohttp.ClientSession:
    # Neither cookies nor proxies of the environment: each callback stands for itself.
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=timeout), cookie_jar=aiohttp.DummyCookieJar()
    )


async def _post(session: aiohttp.ClientSession, url: str, payload: Payload) -> int | None:
    headers = {"Content-Type": payload.content_type}
    with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with session.post(
            url, data=payload.body, headers=headers, allow_redirects=False
        ) as answer:
            await answer.read()
            return answer.status
    return None
