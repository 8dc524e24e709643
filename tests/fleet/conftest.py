"""Fixtures of the fleet: who forks its processes off, where they write, and its tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from campaign import TIMES
from chaos_table import SEED
from fleet_zygote import Zygote
from postgres_server import Server

_TABLES: list[str] = []

if sys.platform == "win32":  # without fork there is no zygote
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that is here, for `nox -s fleet`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.fleet)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables at the end of a campaign."""
    if TIMES > 1:
        terminalreporter.section("fleet")
        terminalreporter.write_line("\n\n".join([*_TABLES, f"EXOTEL_ASYNC_SEED={SEED}"]))


@pytest.fixture(scope="session")
def tables() -> list[str]:
    """What is printed in the end."""
    return _TABLES


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Forks off the processes of all runs."""
    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that keeps what it acknowledged, and that tests may restart."""
    with Server.start_new(durable=True) as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where processes write what they see: in memory if that can be."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="fleet-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)
