"""What does an operation see of its store: rows in and out, who asks, and when."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

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
        """The time, in seconds since the epoch; of whoever keeps the store, where many share it."""
        ...

    @property
    def for_update(self) -> str:
        """What a SELECT ends with whose rows will be changed by what was read of them.

        Nothing where one writes at a time anyway.
        """
        ...

    def mine_alone(self, names: Sequence[str], *, most: int) -> Sequence[str]:
        """Keep some of these, the first that nobody else keeps, until this is committed."""
        ...

    def moment(self) -> float:
        """Tell what time it is by now: `now` is from before whatever was waited for."""
        ...

    def rows(self, sql: str, *parameters: object) -> list[Row]:
        """Run a statement; return its rows."""
        ...

    def change(self, sql: str, *parameters: object) -> int:
        """Run a statement; return how many rows it touched."""
        ...


def several(parameters: Collection[object]) -> str:
    """Write the places of a list.

    >>> several([1, 2, 3])
    '(?, ?, ?)'
    """
    return f"({', '.join('?' * len(parameters))})"


def locked(tx: Transaction, *, of: str, skip: bool = False) -> str:
    """Write the end of a SELECT that keeps one table's rows; `skip` what others keep already."""
    return f"{tx.for_update} OF {of}{' SKIP LOCKED' * skip}" if tx.for_update else ""


def one(tx: Transaction, sql: str, *parameters: object) -> Row | None:
    """Run a statement that has one row or none."""
    found = tx.rows(sql, *parameters)
    return found[0] if found else None
