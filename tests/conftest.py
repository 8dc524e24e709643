"""Fixtures that all rooms share: our own plugin, pytest's to test that with, and PostgreSQL."""

from __future__ import annotations

import signal
import threading

import pytest

pytest_plugins = ("pytester", "exotel_async.testing")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # run in a shell's background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # processes inherit it


@pytest.fixture(scope="session")
def postgres():
    """One PostgreSQL for this process's tests; there is none until a test asks."""
    from postgres_server import Server  # few tests need it, and it takes a fifth of a second

    with Server.start_new() as server:
        yield server


@pytest.fixture
def postgres_dsn(postgres):
    """The way to an empty database, of which a test must leave nothing running."""
    from postgres_server import fresh_database

    with fresh_database(postgres) as dsn:
        yield dsn
    left = [thread.name for thread in threading.enumerate() if "exotel-journal" in thread.name]
    assert not left, f"a journal is still open: {left}"
