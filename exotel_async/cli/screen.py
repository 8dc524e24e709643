"""Where does what a command says go: standard output for results, standard error for the rest.

Colours and tables are for terminals; what goes elsewhere is plain, one line for each result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import attrs
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from exotel_async.errors import mask_numbers

from .plain import to_json
from .rows import Look, joined, printable, style_of

_NEVER_WRAP = ("sid", "created", "status")


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Leave it to `running`: rich itself would end the process with a status of its own."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Make the console of a stream as it stands now."""
    return _Console(
        file=sys.stderr if stderr else sys.stdout, highlight=False, markup=False, emoji=False
    )


@attrs.frozen(kw_only=True, eq=False)
class Screen:
    """Shows what a command found, to humans or as JSON."""

    look: Look
    as_json: bool = False
    watch: Callable[[object], None] = attrs.field(default=lambda _: None)
    out: Console = attrs.field(factory=console)
    err: Console = attrs.field(factory=lambda: console(stderr=True))

    @property
    def gathers(self) -> bool:
        """Tell whether results are shown as a table, when all are there."""
        return self.out.is_terminal and not self.as_json

    def show(self, value: object, line: str, *, style: str = "") -> None:
        """Show one value: as JSON, or as the line that is given."""
        self.watch(value)
        if self.as_json:
            self.json(value)
        else:
            self.line(line, style=style)

    def json(self, value: object) -> None:
        """Write one line of JSON."""
        self._write(to_json(value, hide=self.look.hide))

    def line(self, text: str, *, style: str = "") -> None:
        """Write one line for humans, whatever stands in it, as long as it is."""
        self.out.print(Text(printable(text), style=style), soft_wrap=True)
        self.out.file.flush()

    def cells(self, cells: Sequence[str]) -> None:
        """Write one row for programs."""
        self._write(joined(cells))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Draw a table, or write its rows where no terminal is."""
        if not self.out.is_terminal:
            for cells in ([column.upper() for column in columns], *rows):
                self.cells(cells)
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, no_wrap=column in _NEVER_WRAP, overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(cell), style=style_of(cell)) for cell in row))
        self.out.print(table)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write names and texts below each other."""
        known = list(pairs)
        width = max((len(name) for name, _ in known), default=0)
        for name, text in known:
            label = Text(f"  {printable(name):<{width}}  ", style="bold")
            self.out.print(label + Text(printable(text), style=style_of(text)), soft_wrap=True)
        self.out.file.flush()

    def note(self, text: str, *, style: str = "") -> None:
        """Say something beside the results."""
        self.err.print(Text(printable(text), style=style), soft_wrap=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int], None]]:
        """Show how far a long task is, on a terminal where nothing else is being written."""
        if not self.err.is_terminal or (self.out.is_terminal and not self.gathers):
            yield lambda _: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description} {task.completed}"))
        with Progress(*columns, console=self.err, transient=True) as progress:
            task = progress.add_task(what, total=None)
            yield lambda done: progress.update(task, completed=done)

    def _write(self, text: str) -> None:
        self.out.file.write(text + "\n")
        self.out.file.flush()


def complain(*lines: str) -> None:
    """Say on standard error what went wrong and what to do."""
    first, *others = [printable(line) for line in lines if line]
    stream = console(stderr=True)
    stream.print(Text("exotel-async: ", style="bold red") + Text(first), soft_wrap=True)
    for line in others:
        stream.print(Text(f"  {line}"), soft_wrap=True)


def hiding(*, show_numbers: bool) -> Callable[[str], str]:
    """Choose what is done to phone numbers."""
    return str if show_numbers else mask_numbers
