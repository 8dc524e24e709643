"""Says whether a StatusCallback arrived, and when it is tried again."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from ipaddress import ip_address
from typing import Self

import aiohttp
import attrs
from yarl import URL

from .callbacks import Letter
from .checks import Pairs
from .clock import VirtualClock, settle

_DEADLINE = 15.0  # seconds of real time that a receiver has
# Exotel tries again 5 and 15 minutes after the first attempt: these are the gaps between.
_GAPS = (5 * 60.0, 10 * 60.0)


@attrs.frozen(kw_only=True)
class Delivered:
    """One attempt to deliver a StatusCallback."""

    url: str
    content_type: str  # "multipart/form-data" or "application/json"
    fields: Pairs  # nested names as a form writes them: ("Legs[0][Status]", "completed")
    at: datetime
    status: int | None  # None: no answer, or not sent because the host is not this machine


class Courier:
    """Posts StatusCallbacks, and keeps a journal of every attempt."""

    def __init__(self, clock: VirtualClock, *, allow_remote: bool) -> None:
        self.journal: list[Delivered] = []
        self._clock = clock
        self._allow_remote = allow_remote
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=_DEADLINE)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, letter: Letter, *, attempt: int = 0) -> None:
        """Post a StatusCallback; have it tried again later unless the answer is 200."""
        allowed = self._allow_remote or is_loopback(letter.url)
        at = self._clock.now()
        status = await self._post(letter) if allowed else None
        self.journal.append(
            Delivered(
                url=letter.url,
                content_type=letter.content_type,
                fields=letter.fields,
                at=at,
                status=status,
            )
        )
        if allowed and status != 200 and attempt < len(_GAPS):
            again = partial(self.send, letter, attempt=attempt + 1)
            self._clock.call_later(_GAPS[attempt], again)
        await settle()  # what the receiver started gets to run before time moves on

    async def _post(self, letter: Letter) -> int | None:
        if self._session is None:
            return None
        headers = {"Content-Type": letter.header}
        try:
            async with self._session.post(
                letter.url, data=letter.body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None


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
