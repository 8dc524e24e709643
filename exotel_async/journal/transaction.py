"""What does an operation see of its store: rows in and out, who asks, and when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Row = tuple[Any, ...]  # as a store's driver hands it out


class Transaction(Protocol):
    """One transaction. Parameters are written `?`; all stores speak the SQL used in this room."""

    @property
    def namespace(self) -> str:
        """The service whose rows these are."""
        ...

    @property
    def owner(self) -> str:
        """Who asks: one opened journal, until it was thought dead."""
        ...

    @property
    def now(self) -> float:
        """The time, in seconds since the epoch."""
        ...

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Run a statement; return its rows."""
        ...

    def change(self, sql: str, *parameters: object) -> int:
        """Run a statement; return how many rows it touched."""
        ...


Operation = Callable[Concatenate[Transaction, P], T]


def one(tx: Transaction, sql: str, *parameters: object) -> Row | None:
    """Run a statement that has one row or none."""
    found = tx.rows(sql, *parameters)
    return found[0] if found else None
