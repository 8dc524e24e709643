"""Whose is a call that was found: what the books of all services of an account say of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from exotel_async.models.dials import DialState

from . import dials
from .records import SENDING, DialRecord, Neighbour, Neighbours
from .rules import after_match
from .transaction import Transaction, one, several

_LONGEST_TRY = 3600.0  # seconds, more than a try and all that is added to it ever take
_MOST_WITNESSES = 20
_SLICE = 500  # sids in one statement

_ENDED = "EXISTS (SELECT 1 FROM outcomes o WHERE o.ref = dials.ref AND o.state = 'ended')"
_CONFIRMED = (
    "EXISTS (SELECT 1 FROM outcomes o WHERE o.ref = dials.ref AND o.state = 'ended'"
    " AND o.confirmed = 1)"
)
_SURE = f"(sid_source IN ('answer', 'match') OR (sid_source = 'callback' AND {_CONFIRMED}))"
_HEARD = (
    "EXISTS (SELECT 1 FROM receipts r"
    " WHERE r.ns = dials.ns AND r.kind = 'dial' AND r.ref = dials.ref)"
)
_ALSO = ("ns", *(f"CASE WHEN {holds} THEN 1 ELSE 0 END" for holds in (_SURE, _HEARD)))


def witnesses(
    tx: Transaction, account: str, *, near: float, within: float
) -> tuple[DialRecord, ...]:
    """Read dials sent about then, nearest first, that Exotel's list must have: over, sid known."""
    found = dials.of_account(
        tx, account,
        "sid_source = 'answer' AND sent_at BETWEEN ? AND ?"
        f" AND (settle_by <= ? OR {_ENDED}) ORDER BY abs(sent_at - ?), ref LIMIT ?",
        near - within, near + within, tx.now, near, _MOST_WITNESSES,
    )  # fmt: skip
    return tuple(record for record, _ in found)


def neighbours(
    tx: Transaction, account: str, *, first: float, last: float, sids: Collection[str]
) -> Neighbours:
    """Read whose calls may have been made between two moments, and whose calls have these sids.

    A sid that only a callback named, and no record confirmed, leaves its dial a rival of others:
    whoever learned a dial's URL must not take its call away from it.
    """
    # Rivals first: a dial that is answered between the two is then in both, not in neither.
    rivals = _select(
        tx, account,
        "sent_at BETWEEN ? AND ? AND (state IN (?, ?, ?)"
        f" OR (sid_source = 'callback' AND NOT {_CONFIRMED})) ORDER BY ref",
        first - _LONGEST_TRY, last + _LONGEST_TRY,
        DialState.INTENDED, SENDING, DialState.UNKNOWN,
    )  # fmt: skip
    owners: list[Neighbour] = []
    pruned: set[str] = set()
    for some in _slices(sids):
        among = several(some)
        owners += _select(tx, account, f"call_sid IN {among} ORDER BY ref", *some)
        pruned.update(
            row[0]
            for row in tx.rows(
                f"SELECT call_sid FROM keys WHERE account = ? AND call_sid IN {among}",
                account, *some,
            )
        )  # fmt: skip
    return Neighbours(rivals=tuple(rivals), owners=tuple(owners), pruned=frozenset(pruned))


def match(tx: Transaction, ref: str, *, call_sid: str) -> DialRecord | None:
    """Write down that a call is an unknown dial's; None where either has found its own meanwhile.

    Where stores let two write at once, two dials that are given one call at the same moment don't
    see each other: the index of matched calls fails the second, which is decided anew.
    """
    record = dials.read_to_change(tx, ref)
    if record is None:
        return None
    told = after_match(record, call_sid, now=tx.now)
    if told is None or _is_known(tx, record.account, call_sid):
        return None
    dials.write(tx, told)
    return told


def _is_known(tx: Transaction, account: str, call_sid: str) -> bool:
    """Tell whether a call is some dial's, or was one's that is erased."""
    return any(
        one(tx, f"SELECT 1 FROM {table} WHERE account = ? AND call_sid = ? LIMIT 1",
            account, call_sid)
        for table in ("dials", "keys")
    )  # fmt: skip


def _select(tx: Transaction, account: str, condition: str, *parameters: object) -> list[Neighbour]:
    found = dials.of_account(tx, account, condition, *parameters, also=_ALSO)
    return [
        Neighbour(record=record, ours=namespace == tx.namespace, sure=bool(sure), heard=bool(heard))
        for record, (namespace, sure, heard) in found
    ]


def _slices(sids: Collection[str]) -> Iterator[list[str]]:
    listed = sorted(sids)
    for start in range(0, len(listed), _SLICE):
        yield listed[start : start + _SLICE]
