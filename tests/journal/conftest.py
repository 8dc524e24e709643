"""One suite for all stores: a store joins it by one more entry in `books.STORES`."""

from __future__ import annotations

import pytest
from books import STORES
from clocks import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=STORES)
async def store(request, tmp_path, clock):
    dsn = request.getfixturevalue("postgres_dsn") if request.param == "postgres" else ""
    made = STORES[request.param](tmp_path, clock, dsn)
    async with made.stack:
        yield made


@pytest.fixture
async def journal(store):
    return await store.open()
