"""`exotel-async simulate`: an Exotel on this machine, its log live on the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import attrs
import click

from exotel_async.simulator import FAULTS, MAGIC_NUMBERS, Delivered, Received, Simulator

from .exit_status import ExitStatus
from .options import Reading, common, screen_of, world_of
from .plain import hidden, plain
from .rows import style_of_answer
from .screen import Screen
from .until import Until
from .urls import discreet
from .world import Job, World

_KEPT = 10_000  # entries of each journal


_FAULT = re.compile(r"(?P<name>[^@:]*)(?:@(?P<on>[^:]*))?(?::(?P<often>.*))?")


def _fault(text: str) -> dict[str, Any]:
    """Read NAME, NAME@WHAT, NAME:PROBABILITY or NAME:3x as arguments of `Simulator.fault`.

    >>> _fault("hang@connect:0.1")
    {'name': 'hang', 'on': 'connect', 'times': None, 'probability': 0.1}
    """
    match = _FAULT.fullmatch(text)
    name, on, often = match.group("name", "on", "often") if match else (text, None, None)
    if name not in FAULTS:
        raise ValueError(f"{name!r} is no fault; `exotel-async simulate --faults` lists them")
    times, probability = _how_often(often)
    fault: dict[str, Any] = {
        "name": name,
        "on": on,
        "times": times,
        "probability": probability,
    }
    Simulator().fault(**fault)  # what makes no sense together is told by who knows
    return fault


def _how_often(text: str | None) -> tuple[int | None, float]:
    """Read how many times a fault strikes, and with what probability."""
    if text is None:
        return None, 1.0
    if text.endswith("x") and text[:-1].isdecimal():
        return int(text[:-1]), 1.0
    chance = _number(text)
    if not 0 < chance <= 1:
        raise ValueError(
            f"{text!r} is no probability, which is above 0 and at most 1, nor a number of times: 3x"
        )
    return None, chance


def _speed(text: str) -> float:
    speed = _number(text)
    if not 0 < speed < math.inf:
        raise ValueError(f"{text!r} is no speed: it is a number above 0, 60 for an hour a minute")
    return speed


def _number(text: str) -> float:
    """Read a number; what is none is not above 0 either."""
    try:
        return float(text)
    except ValueError:
        return math.nan


@click.command(short_help="Run an Exotel on this machine, to test against.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8900, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same Sids.")
@click.option(
    "--speed",
    type=Reading("number", _speed),
    default=1.0,
    show_default=True,
    help="How many times faster than real time it lives.",
)
@click.option(
    "--requests-per-minute",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    help="The account's limit; 0 for none.",
)
@click.option(
    "--fault",
    "faults",
    type=Reading("NAME[@WHAT][:HOW_OFTEN]", _fault),
    multiple=True,
    help="Something that goes wrong: hang, hang@connect, hang:0.1 (of all), hang@connect:3x; "
    "may be repeated.",
)
@click.option("--exophone", "exophones", multiple=True, help="A CallerId there is; any if none.")
@click.option("--numbers", is_flag=True, help="List the numbers that behave in a known way.")
@click.option("--faults", "list_faults", is_flag=True, help="List the faults.")
@common
@click.pass_context
def simulate(context: click.Context, /, **words: Any) -> Job | int:
    """Run a simulated Exotel until Ctrl-C.

    It prints what to export, so that any client finds it, then each request and callback.
    """
    screen = screen_of(context)
    if words["numbers"]:
        _list(("number", "does"), {n.number: n.does for n in MAGIC_NUMBERS}, screen)
        return ExitStatus.FINE
    if words["list_faults"]:
        _list(("fault", "does"), FAULTS, screen)
        return ExitStatus.FINE
    return Job(run=partial(_simulate, words, world_of(context), screen), serves=True)


def _list(columns: tuple[str, str], lines: Mapping[str, str], screen: Screen) -> None:
    """Show a table; its numbers are nobody's, so they are not masked."""
    if not screen.as_json:
        screen.table(columns, list(lines.items()), wraps=columns[1:])
        return
    for line in lines.items():
        screen.json(dict(zip(columns, line, strict=True)))


async def _simulate(words: Mapping[str, Any], world: World, screen: Screen) -> ExitStatus:
    until = Until()
    try:
        simulator = Simulator(
            seed=words["seed"],
            port=words["port"],
            start=world.clock.now(),
            speed=words["speed"],
            requests_per_minute=words["requests_per_minute"] or None,
            keep=_KEPT,
            exophones=words["exophones"],
            watch=until.guard(partial(show_event, screen=screen)),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    async with simulator:
        for fault in words["faults"]:
            simulator.fault(**fault)
        _announce(simulator, screen)
        await until.stopped()
    return ExitStatus.FINE


def environ_of(simulator: Simulator) -> dict[str, str]:
    """Spell the environment in which a client finds a running simulator."""
    settings = simulator.settings
    return {
        "EXOTEL_ACCOUNT_SID": settings["account_sid"],
        "EXOTEL_API_KEY": settings["api_key"],
        "EXOTEL_API_TOKEN": settings["api_token"],
        "EXOTEL_SUBDOMAIN": settings["base_url"].removeprefix("http://"),
    }


def _announce(simulator: Simulator, screen: Screen) -> None:
    environ = environ_of(simulator)
    screen.watch(environ)
    if screen.as_json:
        screen.json({"export": environ})
        return
    for name, value in environ.items():
        screen.line(f"export {name}={value}")


def show_event(event: Received | Delivered, *, screen: Screen) -> None:
    """Show a request or a callback as it happens; tokens in URLs are masked as numbers are."""
    screen.watch(event)
    hide = screen.look.hide
    if screen.look.masks:
        event = _without_secrets(event)
    if screen.as_json:
        kind = "request" if isinstance(event, Received) else "callback"
        screen.json({kind: hidden(plain(event, hide=str), hide=hide)})
        return
    line = _request_line(event) if isinstance(event, Received) else _callback_line(event)
    struck = f"  [{event.fault}]" if event.fault else ""
    text = hide(line)
    when = screen.look.time(event.at)
    screen.line(f"{when}  {text}{struck}", style=style_of_answer(event.status))


def _without_secrets(event: Received | Delivered) -> Received | Delivered:
    """Take out of all URLs what opens doors."""
    if isinstance(event, Received):
        return attrs.evolve(event, params=_without_secrets_in(event.params))
    fields = _without_secrets_in(event.fields)
    return attrs.evolve(event, url=discreet(event.url), fields=fields)


def _without_secrets_in(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, discreet(value) if "://" in value else value) for name, value in pairs)


def _request_line(event: Received) -> str:
    params = " ".join(f"{name}={value}" for name, value in event.params)
    return f"{event.method} {event.path}  {event.status or 'no answer'}  {params}".rstrip()


def _callback_line(event: Delivered) -> str:
    fields = dict(event.fields)
    kind = " ".join(fields.get(name, "") for name in ("EventType", "Status", "CallSid"))
    answer = event.status or event.problem or "lost"
    return f"callback {kind.strip()} to {event.url}  {answer}"
