"""What one process of a run is to do: written by the test, read by the process."""

from __future__ import annotations

import json
from typing import Any, Self

import attrs

SECRET = "a secret of sixteen bytes and more"
CALLER_ID = "08040000000"
HIT = 77  # the exit status of a process that ended at its point
POISONED = 66  # and of one that its handler ended


@attrs.frozen(kw_only=True)
class Point:
    """Where a process ends, or stands still."""

    name: str
    when: str  # "before" or "after"
    occurrence: int = 1
    act: str = "exit"  # or "stop": stands still until it is told to go on

    def __str__(self) -> str:
        return f"{self.when} {self.name} #{self.occurrence}"


@attrs.frozen(kw_only=True)
class Plan:
    """One process of a run."""

    folder: str  # journal, board, lines and reports are there
    number: int  # of the process in its run: names its files
    seat: int  # on the board
    port: int
    start: str  # what the simulator's clock showed at first
    settings: dict[str, Any]  # of the ExotelClient
    keys: tuple[str, ...]  # to dial; none: it only receives and delivers
    handles: bool = True  # False: another process delivers
    receives: bool = True
    lease: float = 30.0
    point: Point | None = None
    traced: bool = False
    mutant: str | None = None
    quirks: tuple[str, ...] = ()  # how its handlers behave: see `chaos_child`
    seed: int = 0

    def to_text(self) -> str:
        """Spell it on one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` spelt."""
        fields = json.loads(text)
        if fields["point"] is not None:
            fields["point"] = Point(**fields["point"])
        for name in ("keys", "quirks"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


def numbers_of(key: str) -> tuple[str, str]:
    """Tell whom a key calls, From and To; no two keys call the same."""
    index = int(key.rpartition("-")[2])
    return f"+9198765{index:05d}", f"+9187654{index:05d}"


def key_of(from_: str) -> str:
    """Tell the key whose From this is."""
    return f"order-{int(from_[-5:])}"
