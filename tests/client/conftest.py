"""A client with made-up credentials, and time that takes none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from clocks import FakeClock

from exotel_async import ExotelClient

MakeClient = Callable[..., ExotelClient]


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes only by sleeping, at once."""
    return FakeClock()


@pytest.fixture
def make_client(clock: FakeClock) -> MakeClient:
    """Make a client; settings not given are harmless ones."""

    def make(**settings: Any) -> ExotelClient:
        known = {
            "account_sid": "acme1",
            "api_key": "kkkkkkkk",
            "api_token": "tttttttt",
            "clock": clock,
        }
        return ExotelClient(**(known | settings))

    return make
