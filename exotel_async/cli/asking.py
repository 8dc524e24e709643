"""How is a user asked before phones ring, and can one be asked at all."""

from __future__ import annotations

import sys
from collections.abc import Collection

import click

from .screen import Screen


def can_ask() -> bool:
    """Tell whether somebody sits at a terminal, sees the question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(screen: Screen, *, what: str, question: str, yes: Collection[str], otherwise: str) -> None:
    """Ask whether to go on; raises ClickException where the answer is not a clear yes.

    `otherwise` is told to whoever can't be asked, in a UsageError.
    """
    if not can_ask():
        raise click.UsageError(f"This would ring phones, and nobody is there to ask{otherwise}")
    screen.note(what)
    screen.err.print(f"{question} ", end="", markup=False)
    if sys.stdin.readline().strip().lower() not in yes:
        raise click.ClickException("Nothing was dialled.")
