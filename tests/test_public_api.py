"""What users may rely on: names, docstrings and signatures."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path
from typing import Protocol

import attrs
import pytest

import exotel_async
from exotel_async import ExotelClient, errors
from exotel_async.client.calls import Calls
from exotel_async.client.numbers import Numbers
from exotel_async.client.recordings import Recordings
from exotel_async.dialer import Dialer

DOORS = [
    importlib.import_module(name)
    for name in (
        "exotel_async",
        "exotel_async.client",
        "exotel_async.dialer",
        "exotel_async.events",
        "exotel_async.journal",
        "exotel_async.models",
        "exotel_async.simulator",
        "exotel_async.webhooks",
        "exotel_async.wire",
    )
]


ROOT = Path(exotel_async.__file__).parent
MODULES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__main__.py"
]


def as_ruff_sorts(name: str) -> tuple[int, list[tuple[bool, object]]]:
    """Rank a name as RUF022 does: constants, classes, the rest; numbers by their value."""
    group = 0 if name.isupper() else 1 if name[0].isupper() else 2
    parts = re.split(r"(\d+)", name)
    return group, [(part.isdigit(), int(part) if part.isdigit() else part) for part in parts]


def imported_by(module: object) -> set[str]:
    tree = ast.parse(Path(inspect.getfile(module)).read_text("utf-8"))
    # The front door's stand under `if TYPE_CHECKING`.
    lazy = [node for branch in tree.body if isinstance(branch, ast.If) for node in branch.body]
    imports = [node for node in [*tree.body, *lazy] if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.level or (node.module or "").startswith("exotel_")]
    return {alias.asname or alias.name for node in ours for alias in node.names}


def public_classes() -> list[type]:
    """List the classes that public names lead to: exported ones, and what the client hands out."""
    exported = {
        value
        for door in DOORS
        for name in door.__all__
        if inspect.isclass(value := getattr(door, name))
    }
    return sorted(exported | {Calls, Numbers, Recordings}, key=lambda kind: kind.__qualname__)


def members(kind: type) -> dict[str, object]:
    """Name what a class itself defines in public: functions, classmethods, properties."""
    found = {
        name: value.__func__ if isinstance(value, classmethod | staticmethod) else value
        for name, value in vars(kind).items()
        if not name.startswith("_")
    }
    return {
        name: value
        for name, value in found.items()
        if inspect.isfunction(value) or isinstance(value, property)
    }


def function_of(member: object) -> object:
    return member.fget if isinstance(member, property) else member


MEMBERS = [
    pytest.param(member, id=f"{kind.__qualname__}.{name}")
    for kind in public_classes()
    for name, member in members(kind).items()
]
FUNCTIONS = [
    pytest.param(value, id=name)
    for door in DOORS
    for name in door.__all__
    if inspect.isfunction(value := getattr(door, name))
]


class TestAll:
    @pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
    def test_sorted(self, door):
        """`__all__` stands in ruff's order, each name once."""
        assert door.__all__ == sorted(set(door.__all__), key=as_ruff_sorts)

    @pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
    def test_complete(self, door):
        """A front door exports what it imports, and no more."""
        assert set(door.__all__) == imported_by(door)

    def test_every_error(self):
        """Every error and what it carries can be had at the front door."""
        kinds = {
            name
            for name, value in vars(errors).items()
            if inspect.isclass(value) and value.__module__ == errors.__name__
        }

        assert kinds <= set(exotel_async.__all__)

    @pytest.mark.parametrize("room", ["models", "wire", "client"])
    def test_front_door(self, room):
        """What asking takes can be had at the front door."""
        module = importlib.import_module(f"exotel_async.{room}")

        assert set(module.__all__) <= set(exotel_async.__all__)

    def test_version(self):
        """The package says its version."""
        assert re.fullmatch(r"\d+\.\d+\.\d+\w*", exotel_async.__version__)


class TestDocstrings:
    @pytest.mark.parametrize("kind", public_classes())
    def test_class(self, kind):
        """Every public class has a docstring of its own."""
        assert_documented(kind.__dict__.get("__doc__"))

    @pytest.mark.parametrize("member", MEMBERS)
    def test_member(self, member):
        """Every public method and property has a docstring."""
        assert_documented(member.__doc__)

    @pytest.mark.parametrize("function", FUNCTIONS)
    def test_function(self, function):
        """Every public function has a docstring."""
        assert_documented(function.__doc__)

    @pytest.mark.parametrize("module", MODULES)
    def test_examples(self, module):
        """What docstrings show is so."""
        assert doctest.testmod(importlib.import_module(module)).failed == 0

    def test_examples_are_found(self):
        """There are some: were none found, nothing here could fail."""
        finder = doctest.DocTestFinder(exclude_empty=True)
        found = [t for m in MODULES for t in finder.find(importlib.import_module(m)) if t.examples]

        assert len(found) >= 30

    @pytest.mark.parametrize("resource", [Calls, Numbers, Recordings])
    def test_page(self, resource):
        """Every method of a resource names Exotel's page."""
        lacking = [
            name
            for name, method in members(resource).items()
            if not re.search(r'Exotel: Voice v1,\s+"\w', method.__doc__)
        ]

        assert members(resource)
        assert lacking == []


class TestSignatures:
    @pytest.mark.parametrize("member", [*MEMBERS, *FUNCTIONS])
    def test_no_any(self, member):
        """No public signature holds an Any or leaves out a type."""
        assert_typed(function_of(member))

    @pytest.mark.parametrize("kind", public_classes())
    def test_fields(self, kind):
        """No public class is built from an Any, or has such a field."""
        types = {
            name: str(kind_of_value)
            for name, kind_of_value in inspect.get_annotations(kind).items()
            if not name.startswith("_")
        }

        assert [name for name, text in types.items() if re.search(r"\bAny\b", text)] == []
        if inspect.isfunction(vars(kind).get("__init__")) and Protocol not in kind.__bases__:
            assert_typed(kind.__init__)

    @pytest.mark.parametrize("kind", [Calls, Dialer, ExotelClient, Numbers])
    def test_keyword_only(self, kind):
        """After the subject, arguments are keyword-only."""
        positional = {
            name: count
            for name, member in members(kind).items()
            if not isinstance(member, property) and (count := count_positional(member)) > 2
        }

        assert positional == {}


def assert_documented(text: str | None) -> None:
    assert text
    assert text.splitlines()[0].rstrip().endswith(".")


def assert_typed(function: object) -> None:
    signature = inspect.signature(function)
    given = [
        (name, parameter.annotation)
        for name, parameter in signature.parameters.items()
        if name not in ("self", "cls")
    ]
    for name, annotation in [*given, ("return", signature.return_annotation)]:
        assert annotation is not inspect.Signature.empty, name
        assert not re.search(r"\bAny\b", str(annotation)), name


def count_positional(function: object) -> int:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in inspect.signature(function).parameters.values())


def test_models_are_attrs():
    """The nouns are attrs classes, so that `attrs.evolve` and `attrs.asdict` work on them."""
    assert all(attrs.has(kind) for kind in (exotel_async.Call, exotel_async.StatusCallback))
