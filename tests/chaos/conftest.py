"""Fixtures of the runs in which processes die: the zygote, the folder, and the table of results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from campaign import TIMES
from chaos_run import Run, Scene, running
from chaos_table import SEED, Table
from chaos_zygote import Zygote

_TABLE = Table()
_NONE = SimpleNamespace(params={})

Stage = Callable[..., AbstractAsyncContextManager[Run]]

if sys.platform == "win32":  # without fork there is no zygote
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that is here, for `nox -s chaos`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table at the end of a campaign."""
    if TIMES > 1:
        terminalreporter.section("chaos")
        terminalreporter.write_line(f"{_TABLE.to_markdown()}\n\nEXOTEL_ASYNC_SEED={SEED}")


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Forks off the processes of all runs."""
    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def table() -> Table:
    """What all runs came to."""
    return _TABLE


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where the journals are: in memory if that can be, for what SIGKILL can tell is the same."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="chaos-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def asked(request: pytest.FixtureRequest) -> list[Any]:
    """The cases of this module that shall be played, of those that its tests are named after."""
    return [
        item.callspec.params["case"]
        for item in request.session.items
        if item.path == request.path and "case" in getattr(item, "callspec", _NONE).params
    ]


@pytest.fixture
def stage(zygote: Zygote, folder: Path, request: pytest.FixtureRequest) -> Stage:
    """Make runs: `async with stage(Scene(...)) as run`."""
    name_of_test = quote(request.node.name, safe="")

    def made(scene: Scene, *, name: str = "run", seed: int = SEED):
        return running(zygote, folder / name_of_test / name, scene, seed=seed)

    return made
