"""What time is it at the server, by whose clock everything there is due."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from exotel_async.models.clock import SystemClock


class ServerClock(SystemClock):
    """The server's time as it was told last, carried on by this process's monotonic clock."""

    def __init__(self) -> None:
        self._told: tuple[float, float] | None = None

    def set(self, seconds: float) -> None:
        """Take in what the server says that it is, in seconds since the epoch."""
        self._told = seconds, time.monotonic()

    def now(self) -> datetime:
        """Tell the time of day; this machine's own as long as no server has told any."""
        if self._told is None:
            return super().now()
        seconds, at = self._told
        return datetime.fromtimestamp(seconds + time.monotonic() - at, UTC)
