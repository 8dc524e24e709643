"""What must survive a crash: callbacks that were answered 200, dials, and how they ended."""

from .journal import Journal
from .memory import MemoryJournal
from .pacer import JournalPacer
from .records import DeadLetter
from .sqlite import SQLiteJournal

__all__ = ["DeadLetter", "Journal", "JournalPacer", "MemoryJournal", "SQLiteJournal"]
