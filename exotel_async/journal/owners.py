"""Who uses a store just now, and who is gone.

Each opened journal is an owner that counts its heartbeats up. Others take its work over when the
count has stood still for a lease, measured by their own clock, whatever the time of day is.
"""

from __future__ import annotations

from .dialling import recover
from .transaction import Transaction, one


def is_known(tx: Transaction) -> bool:
    """Tell whether we count as alive."""
    return one(tx, "SELECT 1 FROM owners WHERE owner = ?", tx.owner) is not None


def known(tx: Transaction) -> list[str]:
    """List who has work in hand, or had it and was not found dead yet."""
    return [owner for (owner,) in tx.rows("SELECT owner FROM owners")]


def register(tx: Transaction, *, former: str | None = None) -> None:
    """Begin to live, perhaps after others thought that we were dead under our former name."""
    if former is not None:
        recover(tx, former)
    tx.change(
        "INSERT INTO owners (owner, beat, since) VALUES (?, 0, ?) ON CONFLICT DO NOTHING",
        tx.owner,
        tx.now,
    )


def beat(tx: Transaction) -> dict[str, int]:
    """Show that we live; list the others with their heartbeats."""
    tx.change("UPDATE owners SET beat = beat + 1 WHERE owner = ?", tx.owner)
    return dict(tx.rows("SELECT owner, beat FROM owners WHERE owner <> ?", tx.owner))


def bury(tx: Transaction, owner: str, *, beat: int) -> bool:
    """Take over from one who is gone, unless its heart has beaten after all."""
    known = one(tx, f"SELECT beat FROM owners WHERE owner = ?{tx.for_update}", owner)
    if known is not None and known[0] > beat:
        return False
    recover(tx, owner)
    return True


def leave(tx: Transaction) -> None:
    """Live no more; what was not finished is as somebody dead would have left it."""
    recover(tx, tx.owner)


class Watch:
    """Remembers since when each heartbeat stands still, on this process's own clock.

    Only time in which somebody watched counts: what froze us, a container that was paused or a
    machine that slept, froze the others too, and they wake up when we do.
    """

    def __init__(self, *, lease: float) -> None:
        self._lease = lease
        self._seen: dict[str, tuple[int, float]] = {}
        self._last_look: float | None = None
        self._watched = 0.0  # seconds

    def stale(self, beats: dict[str, int], *, now: float) -> list[tuple[str, int]]:
        """Name those whose heart stood still for a lease."""
        watched = self._watch(now)
        self._seen = {
            owner: seen
            if (seen := self._seen.get(owner, (beat, watched)))[0] == beat
            else (beat, watched)
            for owner, beat in beats.items()
        }
        return [
            (owner, beat)
            for owner, (beat, since) in self._seen.items()
            if watched - since >= self._lease
        ]

    def _watch(self, now: float) -> float:
        since = now if self._last_look is None else self._last_look
        self._last_look = now
        self._watched += min(now - since, self._lease / 2)
        return self._watched
