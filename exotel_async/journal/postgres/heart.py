"""How do processes know of each other that they live."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from exotel_async.journal import owners
from exotel_async.journal.transaction import Transaction

from .transaction import failure

_BEATS = 6  # heartbeats in a lease
_BRIEF = 0.5  # seconds after which a heartbeat that failed is tried again

_logger = logging.getLogger("exotel_async.journal")


class Heart:
    """A thread that shows that this process lives, and takes over from those that don't."""

    def __init__(
        self,
        *,
        lease: float,
        beat: Callable[[], dict[str, int]],
        bury: Callable[[str, int], bool],
        tell: Callable[[], None],
    ) -> None:
        self._every = lease / _BEATS
        self._beat = beat
        self._bury = bury
        self._tell = tell
        self.watch: owners.Watch = owners.Watch(lease=lease)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="exotel-journal-heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def end(self) -> None:
        """Beat no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        wait = self._every
        while not self._ending.wait(wait):
            try:
                self.look_around()
            except Exception as error:  # noqa: BLE001 - or nobody would beat any more
                _logger.warning("%s", failure("show that it lives", error))
                wait = min(_BRIEF, self._every)
            else:
                wait = self._every

    def look_around(self) -> None:
        """Show that we live; take over from whoever has not for a lease."""
        beats = self._beat()
        for owner, beat in self.watch.stale(beats, now=time.monotonic()):
            if self._bury(owner, beat):
                _logger.warning("took over the work of a process that is gone or stands still")
                self._tell()


def bury(tx: Transaction, owner: str, *, beat: int) -> bool:
    """Take over from one who is gone, unless its heart has beaten after all.

    What it is just committing is waited for; whatever it begins from then on is void.
    """
    known = tx.rows(f"SELECT beat FROM owners WHERE owner = ?{tx.for_update}", owner)
    if known and known[0][0] > beat:
        return False
    tx.change("DELETE FROM slots WHERE owner = ?", owner)
    return owners.bury(tx, owner, beat=beat)


def register(tx: Transaction, *, slots: int, former: str | None) -> None:
    """Begin to live, perhaps after others thought that we were dead under our former name."""
    if former is not None:
        tx.change("DELETE FROM slots WHERE owner = ?", former)
    owners.register(tx, former=former)
    for slot in range(slots):
        tx.change(
            "INSERT INTO slots (owner, slot, token) VALUES (?, ?, 0) ON CONFLICT DO NOTHING",
            tx.owner,
            slot,
        )


def leave(tx: Transaction) -> None:
    """Live no more."""
    owners.leave(tx)
    tx.change("DELETE FROM slots WHERE owner = ?", tx.owner)
