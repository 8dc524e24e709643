"""What does a command meet outside: the environment, time, and who looks on."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import tzinfo

import attrs

from exotel_async.client import ExotelClient
from exotel_async.models.clock import Clock, SystemClock
from exotel_async.wire.values import IST


def _nobody(_: object) -> None:
    """Look at nothing."""


@attrs.frozen(kw_only=True)
class World:
    """What is outside of a command; the demo and the tests bring their own.

    `watch` sees every value that is shown, before it became text.
    """

    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False)
    clock: Clock = attrs.field(factory=SystemClock)
    watch: Callable[[object], None] = _nobody

    def client(self, *, zone: tzinfo = IST, requests_per_minute: int = 200) -> ExotelClient:
        """Make the client that the environment names; nothing is sent yet."""
        return ExotelClient.from_environ(
            environ=self.environ,
            clock=self.clock,
            time_zone=zone,
            requests_per_minute=requests_per_minute,
        )


@attrs.frozen(kw_only=True)
class Job:
    """What a command does once its words are understood and its questions answered."""

    run: Callable[[], Awaitable[int]]
    serves: bool = False  # until it is stopped: then Ctrl-C and SIGTERM are its normal end
