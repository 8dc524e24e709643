"""What do all commands have in common: a few options, and how they become a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any, TypeVar

import click

from exotel_async.errors import mask_secrets
from exotel_async.wire.values import IST
from exotel_async.wire.zones import zone_of

from .rows import Look
from .screen import Screen, hiding
from .world import World

F = TypeVar("F", bound=Callable[..., Any])
V = TypeVar("V")

CONTEXT: dict[str, object] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def common(function: F) -> F:
    """Add --json and --show-numbers."""
    for option in (
        click.option("--show-numbers", is_flag=True, help="Mask nothing but errors."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line."),
    ):
        function = option(function)
    return function


def screen_of(context: click.Context, *, zone: tzinfo = IST) -> Screen:
    """Make the screen that a command's options ask for, wherever they stood on the line."""
    world = context.find_object(World) or World()
    hide = hiding(show_numbers=_given(context, "show_numbers"))
    look = Look(zone=zone, hide=hide)
    return Screen(look=look, as_json=_given(context, "as_json"), watch=world.watch)


def world_of(context: click.Context) -> World:
    """Return what the command meets outside."""
    return context.find_object(World) or World()


def _given(context: click.Context | None, name: str) -> bool:
    while context is not None:
        if context.params.get(name):
            return True
        context = context.parent
    return False


if TYPE_CHECKING:
    ParamType = click.ParamType[object]
else:  # no generic before click 8.2
    ParamType = click.ParamType


class Reading(ParamType):
    """A value read by a plain function; its ValueError says what is allowed."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Read what was typed; what is a value already stays."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(mask_secrets(str(error)), param, ctx)


def _zone(text: str) -> tzinfo:
    return IST if text.upper() == "IST" else zone_of(text)


def zone_option(function: F) -> F:
    """Add --time-zone."""
    option = click.option(
        "--time-zone",
        "zone",
        type=Reading("zone", _zone),
        default=IST,
        help="The account's time zone, like Asia/Kolkata: what times without one mean; else IST.",
    )
    return option(function)


def pace_option(function: F) -> F:
    """Add --requests-per-minute."""
    option = click.option(
        "--requests-per-minute",
        type=click.IntRange(min=1),
        default=200,
        show_default=True,
        help="What Exotel allows the account: more, where it raised that.",
    )
    return option(function)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError("it is not written NAME=VALUE")
    return name, value


PAIR = Reading("NAME=VALUE", _pair)


def extra_option(function: F) -> F:
    """Add --extra."""
    option = click.option(
        "--extra",
        type=PAIR,
        multiple=True,
        help="A further parameter of Exotel's; may be repeated.",
    )
    return option(function)


def given(options: Mapping[str, object]) -> dict[str, Any]:
    """Keep the options that were given."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def once_each(pairs: Iterable[tuple[str, V]], *, option: str) -> dict[str, V]:
    """Make a mapping of pairs; a name that comes twice is a mistake."""
    known: dict[str, V] = {}
    for name, value in pairs:
        if name in known:
            raise click.UsageError(f"{option} names {name} twice")
        known[name] = value
    return known
