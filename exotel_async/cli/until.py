"""How does what serves wait for its end: for Ctrl-C, or until nobody reads what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

V = TypeVar("V")


class Until:
    """Waits until it is cancelled, or until something it guards can't write any more."""

    def __init__(self) -> None:
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def guard(self, show: Callable[[V], None]) -> Callable[[V], None]:
        """Have a closed pipe end the waiting, not the request in which it was met."""

        def guarded(value: V) -> None:
            try:
                show(value)
            except BrokenPipeError as error:
                if not self._broken.done():
                    self._broken.set_exception(error)

        return guarded

    async def stopped(self) -> None:
        """Wait; raises BrokenPipeError where a guarded function met it."""
        await self._broken
