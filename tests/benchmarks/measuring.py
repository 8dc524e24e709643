"""How is measured, and how is told: pieces take turns, and what counts are ratios within a turn.

Whatever else a machine does slows neighbours in time alike. So each round runs every piece once,
a ratio is taken round by round, and the table shows the median and the middle half of them.
"""

from __future__ import annotations

import gc
import json
import operator
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles

import attrs

Costs = dict[str, Sequence[float]]  # what each piece cost, round by round

_BOUNDS = {"at most": operator.le, "at least": operator.ge}


@attrs.frozen
class Line:
    """One line of the table: what was measured, beside what, and what to reach."""

    what: str
    unit: str
    ours: float
    beside: str
    theirs: float
    ratios: Sequence[float]
    bound: tuple[str, float] | None = None  # ("at most", 1.15)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios)

    @property
    def verdict(self) -> str:
        """Tell what was to be reached, and whether it was."""
        if self.bound is None:
            return ""
        word, limit = self.bound
        reached = _BOUNDS[word](self.ratio, limit)
        return f"{word} {limit:g}{'' if reached else ' MISSED'}"

    def cells(self) -> tuple[str, ...]:
        """Spell it for a table."""
        low, _, high = quantiles(self.ratios, n=4) if len(self.ratios) > 1 else self.ratios * 3
        spread = f"{self.ratio:.2f} ({low:.2f} to {high:.2f})"
        amounts = (f"{self.ours:,.4g} {self.unit}", f"{self.theirs:,.4g} {self.unit}")
        return (self.what, amounts[0], self.beside, amounts[1], spread, self.verdict)


def compared(
    what: str,
    unit: str,
    costs: Costs,
    *,
    ours: str = "ours",
    scale: float = 1.0,
    bounds: Mapping[str, tuple[str, float]],
    inverse: bool = False,
) -> list[Line]:
    """Set our cost in relation to all others; `inverse`: theirs in relation to ours."""
    lines = []
    for other, theirs in costs.items():
        if other == ours:
            continue
        pairs = zip(costs[ours], theirs, strict=True)
        ratios = [b / a if inverse else a / b for a, b in pairs]
        amounts = (median(costs[ours]) * scale, median(theirs) * scale)
        lines.append(Line(what, unit, amounts[0], other, amounts[1], ratios, bounds.get(other)))
    return lines


def cpu_of(pieces: Mapping[str, Callable[[], object]], *, rounds: int, repeat: int = 1) -> Costs:
    """Run all pieces in turns; give the seconds of CPU that one run took."""
    costs: dict[str, list[float]] = {name: [] for name in pieces}
    for piece in pieces.values():
        piece()
    gc.collect()
    gc.freeze()  # what is there already is no piece's own
    try:
        for number in range(rounds):
            turn = list(pieces.items())
            for name, piece in turn if number % 2 else reversed(turn):
                begun = time.process_time()
                for _ in range(repeat):
                    piece()
                costs[name].append((time.process_time() - begun) / repeat)
    finally:
        gc.unfreeze()
    return dict(costs)


def child(script: Path, *arguments: str) -> dict[str, float]:
    """Run a script as a process of its own; it prints one JSON object."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *arguments],
        stdout=subprocess.PIPE, text=True, check=True, timeout=600,
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout)
    return result


def as_table(lines: Sequence[Line]) -> str:
    """Spell a table of Markdown, its columns made even."""
    head = ("what", "ours", "beside", "theirs", "ratio (middle half)", "to reach")
    rows = [head, *(line.cells() for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    texts = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([texts[0], rule, *texts[1:]])


def versions(*names: str) -> str:
    """Name releases, so that a table can be told from a later one."""
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)
