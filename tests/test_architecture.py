"""The map of the design, held against the code."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import exotel_async

PACKAGE = "exotel_async"
ROOT = Path(exotel_async.__file__).parent
FRONT = "__init__"

ALL = {
    "client", "dialer", "events", "journal", "webhooks", "wire", "models", "errors", FRONT,
}  # fmt: skip

# What each room may import, besides itself. A room that is new needs a line here.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "models": {"errors"},
    "wire": {"models", "errors"},
    "client": {"wire", "models", "errors"},
    "journal": {"wire", "models", "errors"},
    "events": {"journal", "wire", "models", "errors"},
    "webhooks": {"events", "journal", "wire", "models", "errors"},
    # Beyond the design's table: the worker that delivers callbacks delivers outcomes, too.
    "dialer": {"client", "events", "journal", "wire", "models", "errors"},
    "simulator": set(),
    "testing": {*ALL, "simulator"},
    "cli": {*ALL, "simulator"},
    "__main__": {"cli"},
    FRONT: {"client", "wire", "models", "errors"},
}
SQL = ("sqlite3", "SELECT ", "INSERT ", "UPDATE ", "DELETE FROM ")
SESSIONS = {"client": 1, "simulator": 1}  # modules that construct a ClientSession


def name_of(path: Path) -> str:
    """Name a module as imports do."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else FRONT


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in MODULES.items()}


def imports(module: str) -> Iterator[str]:
    """Name our modules that a module imports anywhere: absolute, relative, inside functions."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            yield from (resolve(alias.name) for alias in node.names if is_ours(alias.name))
        elif isinstance(node, ast.ImportFrom):
            source = absolute(node, module)
            if is_ours(source):
                yield from (resolve(f"{source}.{alias.name}") for alias in node.names)


def absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    package = module.split(".")
    if MODULES[module].name != "__init__.py":
        package = package[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def resolve(name: str) -> str:
    """Cut off what is no module but a name in one."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name


def calls(module: str) -> set[str]:
    """Name all that a module calls."""
    functions = [node.func for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)]
    names = {function.id for function in functions if isinstance(function, ast.Name)}
    return names | {function.attr for function in functions if isinstance(function, ast.Attribute)}


class TestRooms:
    def test_known(self):
        """The map shows every room, and none that is not there."""
        assert {room_of(module) for module in MODULES} == set(ROOMS)

    @pytest.mark.parametrize("module", MODULES)
    def test_imports(self, module):
        """A module imports from its own room and from those below."""
        room = room_of(module)
        others = {room_of(target) for target in imports(module)} - {room}

        assert others <= ROOMS[room]

    def test_no_cycle_of_rooms(self):
        """The map itself goes round in no circle."""
        assert list(TopologicalSorter(ROOMS).static_order())

    def test_no_cycle_of_modules(self):
        """No module imports itself by way of others."""
        graph = {module: set(imports(module)) - {module} for module in MODULES}
        for module, targets in graph.items():
            if MODULES[module].name == "__init__.py":
                assert module not in targets

        assert list(TopologicalSorter(graph).static_order())

    def test_map_in_docstring(self):
        """The front door's docstring shows the rooms that are there."""
        drawn = {
            line.split()[0].rstrip("/")
            for line in (exotel_async.__doc__ or "").splitlines()
            if line.startswith("    ")
        }

        assert drawn == set(ROOMS) - {FRONT, "__main__"}

    def test_sees_imports(self):
        """The walk sees imports of all kinds: were it blind, nothing here could fail."""
        assert f"{PACKAGE}.errors" in set(imports(f"{PACKAGE}.wire.answer"))
        assert f"{PACKAGE}.wire.values" in set(imports(f"{PACKAGE}.wire.converter"))
        assert f"{PACKAGE}.wire.fields" in set(imports(f"{PACKAGE}.wire.converter"))


class TestPlaces:
    @pytest.mark.parametrize("room", ROOMS)
    def test_sessions(self, room):
        """A ClientSession is made in one module of the client, and where the simulator delivers."""
        makers = [m for m in MODULES if room_of(m) == room and "ClientSession" in calls(m)]

        assert len(makers) == SESSIONS.get(room, 0)

    @pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) != "journal"])
    def test_no_sql(self, module):
        """SQL stands in the journal alone."""
        text = MODULES[module].read_text("utf-8")

        assert not [word for word in SQL if word in text]

    def test_sees_sql(self):
        """It would be seen elsewhere: in the journal it is."""
        texts = [MODULES[m].read_text("utf-8") for m in MODULES if room_of(m) == "journal"]

        assert [word for word in SQL if any(word in text for text in texts)] == list(SQL)

    @pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) in ("models", "wire")])
    def test_sans_io(self, module):
        """Models and wire know no HTTP library and no socket."""
        tops = {
            name.partition(".")[0]
            for node in ast.walk(TREES[module])
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
        }

        assert not tops & {"aiohttp", "http", "socket", "requests", "logging"}


class TestLightness:
    def test_asking_pays_for_asking(self):
        """Up to a constructed client, nothing that serves is loaded."""
        program = (
            "import sys, exotel_async\n"
            "exotel_async.ExotelClient(account_sid='a', api_key='k', api_token='t')\n"
            "print(*sorted(sys.modules))\n"
        )

        loaded = run(program)

        heavy = ("aiohttp.web", "sqlite3", "zoneinfo", "xml.etree", "hypothesis", "pytest")
        serving = ("webhooks", "events", "journal", "dialer", "simulator")
        ours = tuple(f"{PACKAGE}.{room}" for room in serving)
        assert "aiohttp" in loaded
        assert [name for name in loaded if name.startswith((*heavy, *ours))] == []

    @pytest.mark.parametrize("room", sorted(set(ROOMS) - ROOMS[FRONT] - {FRONT}))
    def test_imports_alone(self, room):
        """A room beside the front door's can be the first that is imported."""
        assert f"{PACKAGE}.{room}" in run(f"import sys, {PACKAGE}.{room}\nprint(*sys.modules)")


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()
