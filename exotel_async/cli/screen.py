"""Where does what a command says go: standard output for results, standard error for the rest.

Colours and tables are for terminals; what goes elsewhere is plain, one line for each result.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from exotel_async.errors import mask_secrets

from .plain import to_json
from .rows import Look, joined, printable, style_of

_SAID_EVERY = 10.0  # seconds
_GAP = 2  # blanks between columns
_LEAST_WRAPPED = 24  # characters of a line in a column that wraps


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

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        wraps: Collection[str] = (),
    ) -> None:
        """Write rows under their names: a table where it fits, else one record after the other.

        Only columns that are named in `wraps` may take several lines. Off a terminal there are
        lines with tabs.
        """
        known = [[printable(cell) for cell in row] for row in rows]
        if not self.gathers:
            for cells in ([column.upper() for column in columns], *known):
                self.cells(cells)
        elif self._fits(columns, known, wraps):
            self._print_table(columns, known, wraps)
        else:
            for row in known:
                self.fields(pair for pair in zip(columns, row, strict=True) if pair[1])
                self.line("")

    def _fits(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], wraps: Collection[str]
    ) -> bool:
        widths = (
            _LEAST_WRAPPED if columns[i] in wraps else max(map(cell_len, cells))
            for i, cells in enumerate(zip(columns, *rows, strict=True))
        )
        return sum(widths) + _GAP * (len(columns) - 1) <= self.out.width

    def _print_table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], wraps: Collection[str]
    ) -> None:
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, _GAP, 0, 0))
        for column in columns:
            table.add_column(column, no_wrap=column not in wraps, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=style_of(cell)) for cell in row))
        self.out.print(table)

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Write names and texts below each other, in columns where these fit."""
        known = [(printable(name), printable(text)) for name, text in pairs]
        names = max((cell_len(name) for name, _ in known), default=0)
        texts = max((cell_len(text) for _, text in known), default=0)
        roomy = not self.out.is_terminal or names + texts + 2 * _GAP <= self.out.width
        for name, text in known:
            label = f"  {name:<{names}}  " if roomy else f"{name}: "
            line = Text(label, style="bold") + Text(text, style=style_of(text))
            self.out.print(line, soft_wrap=True)
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

    @contextmanager
    def meter(self, what: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show how far a long task is and how long it will take: a bar, or a line now and then."""
        if self.err.is_terminal:
            columns = (
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                _RateColumn(), TimeRemainingColumn(),
            )  # fmt: skip
            with Progress(*columns, console=self.err, transient=True) as progress:
                task = progress.add_task(what, total=None)
                yield lambda done, total: progress.update(task, completed=done, total=total)
        else:
            yield _Lines(self, what)

    def _write(self, text: str) -> None:
        self.out.file.write(text + "\n")
        self.out.file.flush()


class _RateColumn(ProgressColumn):
    """How many a second, lately."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


class _Lines:
    """Says every ten seconds how far it is, where there is no terminal for a bar."""

    def __init__(self, screen: Screen, what: str) -> None:
        self._screen = screen
        self._what = what
        self._begun = self._said = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = done
        if now - self._said >= _SAID_EVERY:
            self._said = now
            rate = (done - self._first) / (now - self._begun)
            of, left = "", ""
            if total is not None:
                of = f" of {total:,}"
                left = f", {max(0, total - done) / rate:,.0f} s left" if rate else ""
            self._screen.note(f"{self._what}: {done:,}{of}, {rate:,.0f} a second{left}")


def complain(*lines: str) -> None:
    """Say on standard error what went wrong and what to do."""
    first, *others = [printable(line) for line in lines if line]
    stream = console(stderr=True)
    stream.print(Text("exotel-async: ", style="bold red") + Text(first), soft_wrap=True)
    for line in others:
        stream.print(Text(f"  {line}"), soft_wrap=True)


def hiding(*, show_numbers: bool) -> Callable[[str], str]:
    """Choose what is done to texts: phone numbers, tokens and accounts in paths are masked."""
    return str if show_numbers else mask_secrets
