"""What all runs came to, in one table: it is printed at the end of a campaign."""

from __future__ import annotations

import os
from collections import Counter

import attrs
from chaos_oracle import Verdict

SEED = int(os.environ.get("EXOTEL_ASYNC_SEED", "7"))
FAULTS = (
    "crash at a named step",
    "SIGKILL at random",
    "SIGTERM at random",
    "SIGSTOP beyond the lease",
    "three processes, SIGKILL at random",
    "event loop blocked beyond the lease",
    "handler that ends its process",
)


@attrs.define
class Table:
    """One row for each fault."""

    verdicts: dict[str, list[Verdict]] = attrs.field(
        factory=lambda: {fault: [] for fault in FAULTS}
    )
    faults: Counter[str] = attrs.field(factory=Counter)

    def add(self, fault: str, verdict: Verdict, *, times: int = 1) -> None:
        """Count a run, and how often the fault struck in it."""
        self.verdicts[fault].append(verdict)
        self.faults[fault] += times

    def to_markdown(self) -> str:
        """Spell it, always in the same order."""
        head = ("fault", "times", "runs", "lost", "dialled twice", "wrong", "handled twice")
        rows = [head, *(self._row(fault) for fault in FAULTS)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines = [_line(row, widths) for row in rows]
        rule = (
            f"| {'-' * widths[0]} | " + " | ".join("-" * (w - 1) + ":" for w in widths[1:]) + " |"
        )
        return "\n".join([lines[0], rule, *lines[1:]])

    def _row(self, fault: str) -> tuple[str, ...]:
        verdicts = self.verdicts[fault]
        return (
            fault,
            str(self.faults[fault]),
            str(len(verdicts)),
            *(
                str(sum(len(getattr(one, name)) for one in verdicts))
                for name in ("lost", "dialled_twice", "wrong", "handled_twice")
            ),
        )


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0])]
    cells += [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
    return f"| {' | '.join(cells)} |"
