"""A pacer that all processes of one store share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from exotel_async.errors import ConfigurationError
from exotel_async.models.clock import Clock


class _Books(Protocol):
    """What a pacer needs of a journal."""

    clock: Clock

    def reserve(self, account: str, *, most: int) -> Awaitable[float]: ...

    def hold(self, account: str, *, seconds: float) -> Awaitable[None]: ...


class JournalPacer:
    """At most `requests_per_minute` requests of an account leave in any 60 seconds.

    All clients whose journals share a store are counted together. Each process asks for one
    place at a time, first come first served.
    """

    def __init__(self, journal: _Books, *, account: str, requests_per_minute: int = 200) -> None:
        if isinstance(requests_per_minute, bool) or not isinstance(requests_per_minute, int):
            raise ConfigurationError("requests_per_minute must be a whole number")
        if requests_per_minute < 1:
            raise ConfigurationError("requests_per_minute must be a whole number of at least 1")
        self._journal = journal
        self._account = _checked(account)
        self._most = requests_per_minute
        self._turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

    @property
    def requests_per_minute(self) -> int:
        """How many requests may leave in any minute."""
        return self._most

    async def reserve(self) -> None:
        """Wait until one more request may leave, and count it."""
        async with self._turn():
            while (wait := await self._journal.reserve(self._account, most=self._most)) > 0:
                await self._journal.clock.sleep(wait)

    async def hold(self, seconds: float) -> None:
        """Let nobody leave for so long; a hold that lasts longer already stays."""
        await self._journal.hold(self._account, seconds=seconds)

    def _turn(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._turns is None or self._turns[0] is not loop:
            self._turns = loop, asyncio.Lock()
        return self._turns[1]


def _checked(account: object) -> str:
    if not isinstance(account, str) or not account.strip():
        raise ConfigurationError(f"account must be the account's Sid, but is {account!r}")
    return account
