"""Journals of every kind, opened, on a clock that is moved by hand."""

from __future__ import annotations

import pytest
from clocks import HandClock
from deliveries import STORES, make_journal


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture(params=STORES)
async def journal(request, tmp_path, clock):
    async with make_journal(request.param, tmp_path, clock) as opened:
        yield opened
