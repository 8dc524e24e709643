"""How are callbacks that wait together written down: as one, where nothing is known of any of them.

Each statement of a transaction costs a hand-over between the threads of this process, or a round
trip to a server; a callback of its own would need five.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from . import delivering, pacing
from .delivering import finish_together
from .receiving import MOST_BODIES, digest_for, insert_events, insert_receipts, record, tell_dial
from .records import Receipt, Recorded
from .transaction import Transaction, several

_MOST = 32  # callbacks in one statement: each number of them is a statement to be prepared


class NotTogetherError(Exception):
    """Among these callbacks is one that has to be looked at by itself."""


def record_together(tx: Transaction, receipts: Sequence[Receipt]) -> list[Recorded]:
    """Write down callbacks that are new, each of them; else raise something, to be undone."""
    _lock_dials(tx, receipts)
    for start in range(0, len(receipts), _MOST):
        _record_some(tx, receipts[start : start + _MOST])
    return [Recorded.NEW] * len(receipts)


def _lock_dials(tx: Transaction, receipts: Sequence[Receipt]) -> None:
    """Keep the dials in one order, or two processes would wait for each other."""
    refs = _dials_of(receipts)
    if refs and tx.for_update:
        tx.rows(
            f"SELECT 1 FROM dials WHERE ns = ? AND ref IN {several(refs)}"
            f" ORDER BY ref{tx.for_update}",
            tx.namespace, *refs,
        )  # fmt: skip


def _dials_of(receipts: Sequence[Receipt]) -> list[str]:
    return sorted({one.ref for one in receipts if one.kind == "dial" and one.ref is not None})


def _record_some(tx: Transaction, receipts: Sequence[Receipt]) -> None:
    digests = [digest_for(tx, receipt) for receipt in receipts]
    ids = insert_receipts(tx, receipts, digests)
    _require(len(ids) == len(receipts))
    _require(not (_too_many_of_dials(tx, receipts) or _too_many_of_calls(tx, receipts)))
    for receipt in receipts:
        _require(tell_dial(tx, receipt) is None)
    _require(insert_events(tx, receipts, digests, ids) == len(receipts))


def _too_many_of_dials(tx: Transaction, receipts: Sequence[Receipt]) -> bool:
    refs = _dials_of(receipts)
    return bool(refs) and bool(
        tx.rows(
            "SELECT 1 FROM receipts WHERE ns = ? AND kind = 'dial' AND ref IN"
            f" {several(refs)} GROUP BY ref HAVING count(*) > ?",
            tx.namespace, *refs, MOST_BODIES,
        )
    )  # fmt: skip


def _too_many_of_calls(tx: Transaction, receipts: Sequence[Receipt]) -> bool:
    calls = sorted({(one.ref, one.event.call_sid) for one in receipts if one.kind == "ref"})
    return bool(calls) and bool(
        tx.rows(
            # Counted call by call: whatever is known of the tables, by the index alone.
            f"SELECT 1 FROM (VALUES {', '.join(['(?, ?)'] * len(calls))}) AS call WHERE"
            " (SELECT count(*) FROM (SELECT 1 FROM receipts r WHERE r.ns = ? AND r.kind = 'ref'"
            " AND r.ref = call.column1 AND r.call_sid = call.column2 LIMIT ?) AS kept) > ?",
            *chain.from_iterable(calls), tx.namespace, MOST_BODIES + 1, MOST_BODIES,
        )
    )  # fmt: skip


def _require(ordinary: bool) -> None:
    if not ordinary:
        raise NotTogetherError


Asked = tuple[tuple[Any, ...], Mapping[str, Any]]  # the arguments of an operation


def _record(tx: Transaction, asked: Sequence[Asked]) -> list[Recorded]:
    return record_together(tx, [receipt for (receipt,), _ in asked])


def _finish(tx: Transaction, asked: Sequence[Asked]) -> list[bool]:
    return finish_together(tx, [(claim, done.get("done", ())) for (claim,), done in asked])


# What is done for many as well as for one; with the same results, or an error.
TOGETHER: Mapping[Callable[..., Any], Callable[[Transaction, Sequence[Asked]], list[Any]]] = {
    record: _record,
    delivering.finish: _finish,
}

# What touches nothing but one claim: many of these may share a transaction, in any order.
MARKS: frozenset[Callable[..., Any]] = frozenset(
    (delivering.progress, delivering.finish, delivering.fail, delivering.release)
)

# What leaves nothing behind in the name of whoever did it.
NAMELESS: frozenset[Callable[..., Any]] = frozenset((record, pacing.reserve, pacing.hold))
