"""When may the next request of an account leave, with all who share its journal taken together.

At most so many in any minute, exactly: the last departures themselves are kept. A formula with a
rate and a burst would let through nearly twice as many in some minutes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs

from .transaction import Transaction, one

WINDOW = 61.0  # seconds: a minute, and one for requests that overtake each other on their way

_SHORTEST = 0.001  # seconds; clocks tell no less, and who waits less would ask for ever


@attrs.frozen(kw_only=True)
class Pace:
    """When the last requests of an account left, and from when until when none may."""

    ring: Sequence[float] = ()
    held_at: float = 0.0
    held_until: float = 0.0


def wait_for(pace: Pace, *, most: int, now: float) -> float:
    """Tell for how many seconds there is no place; 0 where there is one.

    What lies in the future was left by a clock that has been set back since: it must not make
    anybody wait for hours.

    >>> wait_for(Pace(ring=[0.0, 10.0]), most=2, now=50.0)
    11.0
    """
    recent = _recent(pace, now=now)
    opens = recent[-most] + WINDOW if len(recent) >= most else now
    if pace.held_at <= now:
        opens = max(opens, pace.held_until)
    return max(opens - now, _SHORTEST) if opens > now else 0.0


def reserve(tx: Transaction, account: str, *, most: int) -> float:
    """Count one more departure and return 0, or return for how many seconds there is no place."""
    pace, now = _read(tx, account), tx.moment()
    wait = wait_for(pace, most=most, now=now)
    if wait == 0.0:
        _write(tx, account, attrs.evolve(pace, ring=[*_recent(pace, now=now), now]))
    return wait


def hold(tx: Transaction, account: str, *, seconds: float) -> None:
    """Let nobody leave for so long; a hold that lasts longer already stays."""
    pace, now = _read(tx, account), tx.moment()
    until = now + seconds
    if pace.held_at > now or until > pace.held_until:
        _write(tx, account, attrs.evolve(pace, held_at=now, held_until=until))


def _recent(pace: Pace, *, now: float) -> list[float]:
    return [left for left in pace.ring if now - WINDOW < left <= now + WINDOW]


def _read(tx: Transaction, account: str) -> Pace:
    """Read the pace of an account, which nobody else changes from now on."""
    row = f"SELECT ring, held_at, held_until FROM pacing WHERE account = ?{tx.for_update}"
    found = one(tx, row, account)
    if found is None:
        tx.change(
            "INSERT INTO pacing (account, ring, held_at, held_until) VALUES (?, '[]', 0, 0)"
            " ON CONFLICT DO NOTHING",
            account,
        )
        found = tx.rows(row, account)[0]
    ring, held_at, held_until = found
    return Pace(ring=json.loads(ring), held_at=held_at, held_until=held_until)


def _write(tx: Transaction, account: str, pace: Pace) -> None:
    tx.change(
        "UPDATE pacing SET ring = ?, held_at = ?, held_until = ? WHERE account = ?",
        json.dumps(pace.ring), pace.held_at, pace.held_until, account,
    )  # fmt: skip
