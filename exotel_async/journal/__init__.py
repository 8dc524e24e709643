"""What must survive a crash: callbacks that were answered 200, dials, and how they ended."""

from typing import TYPE_CHECKING

from .journal import Journal
from .memory import MemoryJournal
from .pacer import JournalPacer
from .records import DeadLetter
from .sqlite import SQLiteJournal

if TYPE_CHECKING:
    from .postgres.journal import PostgresJournal

__all__ = [
    "DeadLetter",
    "Journal",
    "JournalPacer",
    "MemoryJournal",
    "PostgresJournal",
    "SQLiteJournal",
]


def __getattr__(name: str) -> object:
    """Bring in PostgreSQL only for those who use it."""
    if name != "PostgresJournal":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .postgres.journal import PostgresJournal
    except ModuleNotFoundError as error:
        raise ImportError(
            'PostgresJournal needs psycopg and its pool: pip install "exotel-async[postgres]"'
        ) from error
    return PostgresJournal
