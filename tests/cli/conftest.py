"""Commands run in-process, at a simulator whose time passes when somebody sleeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest
from cli_processes import Ran

from exotel_async import IST
from exotel_async.cli.app import app
from exotel_async.cli.demo import driven
from exotel_async.cli.running import execute
from exotel_async.cli.simulate import environ_of
from exotel_async.cli.world import World
from exotel_async.simulator import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """An Exotel whose time passes when somebody sleeps."""
    async with Simulator() as running:
        yield running


@pytest.fixture
async def sim_today() -> AsyncIterator[Simulator]:
    """An Exotel whose clock shows today, as that of a process does."""
    async with Simulator(start=datetime.now(IST)) as running:
        yield running


@pytest.fixture
def world(sim: Simulator) -> World:
    """Surroundings in which commands find the simulator."""
    return World(environ=environ_of(sim), clock=driven(sim))


@pytest.fixture
def cli(world: World, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command line in-process; its output is that of no terminal."""

    async def run(*argv: str, world: World = world) -> Ran:
        capsys.readouterr()
        status = await execute(app, argv, world=world)
        return Ran(status, *capsys.readouterr())

    return run
