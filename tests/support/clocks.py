"""Time that passes only when a test lets it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)  # 12:00 in India


class FakeClock:
    """A clock whose sleeps take no time but move it on; `slept` lists them."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.elapsed += seconds
        await asyncio.sleep(0)


class HandClock:
    """A clock that stands still until `advance` moves it; who sleeps waits for that."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.sleepers = 0
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        self.elapsed += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        end = self.elapsed + seconds
        self.sleepers += 1
        try:
            while self.elapsed < end:
                await self._moved.wait()
        finally:
            self.sleepers -= 1
