"""How are callbacks that wait together written down: as one, where nothing is known of any of them.

Each statement of a transaction costs a hand-over between the threads of this process, or a round
trip to a server; a callback of its own would need five.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .receiving import MOST_BODIES, digest_for, insert_events, insert_receipts, record, tell_dial
from .records import Receipt, Recorded
from .transaction import Transaction

_MOST = 32  # callbacks in one statement: each number of them is a statement to be prepared


class NotTogetherError(Exception):
    """Among these callbacks is one that has to be looked at by itself."""


def record_together(tx: Transaction, receipts: Sequence[Receipt]) -> list[Recorded]:
    """Write down callbacks that are new, each of them; else raise something, to be undone."""
    for start in range(0, len(receipts), _MOST):
        _record_some(tx, receipts[start : start + _MOST])
    return [Recorded.NEW] * len(receipts)


def _record_some(tx: Transaction, receipts: Sequence[Receipt]) -> None:
    digests = [digest_for(tx, receipt) for receipt in receipts]
    _require(insert_receipts(tx, receipts, digests) == len(receipts))
    _require(not _overfull(tx, receipts))
    for receipt in receipts:
        _require(tell_dial(tx, receipt) is None)
    _require(insert_events(tx, receipts, digests) == len(receipts))


def _overfull(tx: Transaction, receipts: Sequence[Receipt]) -> bool:
    """Tell whether there are too many of one dial; `insert_events` sees to all others."""
    dials = sorted({one.ref for one in receipts if one.kind == "dial" and one.ref is not None})
    return bool(dials) and bool(
        tx.rows(
            "SELECT 1 FROM receipts WHERE ns = ? AND kind = 'dial' AND ref IN"  # noqa: S608 - no value in it
            f" ({', '.join('?' * len(dials))}) GROUP BY ref HAVING count(*) > ?",
            tx.namespace, *dials, MOST_BODIES,
        )
    )  # fmt: skip


def _require(ordinary: bool) -> None:
    if not ordinary:
        raise NotTogetherError


# What is done for many as well as for one; with the same results, or an error.
TOGETHER: Mapping[Callable[..., Any], Callable[[Transaction, Sequence[Any]], list[Any]]] = {
    record: record_together,
}

# What leaves nothing behind in the name of whoever did it.
NAMELESS = frozenset(TOGETHER)
