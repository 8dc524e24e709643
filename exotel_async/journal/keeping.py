"""What is kept for how long, and how much of everything is there."""

from __future__ import annotations

from collections.abc import Iterator

from .transaction import Transaction, locked

SLICE = 500  # rows in one transaction of pruning: what comes in goes between


def prune_events(tx: Transaction, *, before: float) -> int:
    """Forget events older than this, whether they reached anybody or not."""
    return tx.change(
        "DELETE FROM events WHERE id IN (SELECT e.id FROM events e WHERE e.ns = ?"
        " AND e.made_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM lanes l WHERE l.ns = e.ns AND l.lane = e.lane)"
        " AND NOT EXISTS (SELECT 1 FROM dials d WHERE d.ref = e.ref AND e.kind = 'dial'"
        f" AND {_OPEN}) LIMIT ?{locked(tx, of='e', skip=True)})",
        tx.namespace, before, SLICE,
    )  # fmt: skip


def erase_receipts(tx: Transaction, *, before: float) -> int:
    """Erase the bodies of callbacks older than this that no event needs; copies stay known.

    An event is as old as the callback it was made of, so that few are left to be looked at.
    """
    return tx.change(
        "UPDATE receipts SET body = NULL, query = NULL, content_type = NULL WHERE id IN"
        " (SELECT r.id FROM receipts r WHERE r.ns = ? AND r.received_at < ?"
        " AND r.body IS NOT NULL AND r.id NOT IN"
        " (SELECT e.receipt FROM events e WHERE e.ns = ? AND e.made_at < ?"
        " AND e.receipt IS NOT NULL)"
        " AND NOT EXISTS (SELECT 1 FROM dials d WHERE d.ref = r.ref AND r.kind = 'dial'"
        f" AND {_OPEN}) LIMIT ?)",
        tx.namespace, before, tx.namespace, before, SLICE,
    )  # fmt: skip


def prune_receipts(tx: Transaction, *, before: float) -> int:
    """Forget callbacks that no URL of ours can bring again."""
    return tx.change(
        "DELETE FROM receipts WHERE id IN (SELECT r.id FROM receipts r WHERE r.ns = ?"
        " AND r.received_at < ? AND r.body IS NULL LIMIT ?)",
        tx.namespace, before, SLICE,
    )  # fmt: skip


def prune_dials(tx: Transaction, *, before: float) -> int:
    """Erase dials older than this that are over; their keys stay, and remember how it stood.

    One whose outcome waits for its handler is not over.
    """
    found = tx.rows(
        "SELECT d.ref, d.account, d.idem_key, d.state, d.call_sid, o.state FROM dials d"
        " LEFT JOIN outcomes o ON o.ref = d.ref WHERE d.ns = ? AND d.intended_at < ?"
        f" AND NOT ({_OPEN}) AND NOT EXISTS (SELECT 1 FROM events e WHERE e.ns = d.ns"
        " AND e.lane = '[\"outcome\", \"' || d.ref || '\"]' AND e.state <> 'done')"
        f" LIMIT ?{locked(tx, of='d', skip=True)}",
        tx.namespace, before, SLICE,
    )  # fmt: skip
    for ref, account, key, state, call_sid, outcome in found:
        tx.change(
            "UPDATE keys SET state = ?, call_sid = ?, outcome = ?"
            " WHERE ns = ? AND account = ? AND idem_key = ? AND ref = ?",
            state, call_sid, outcome, tx.namespace, account, key, ref,
        )  # fmt: skip
        tx.change("DELETE FROM outcomes WHERE ref = ?", ref)
        tx.change("DELETE FROM dials WHERE ref = ?", ref)
    return len(found)


def prune_keys(tx: Transaction, *, before: float) -> int:
    """Forget keys older than this whose dials are erased: whoever uses one again, dials again."""
    return tx.change(
        "DELETE FROM keys WHERE (ns, account, idem_key) IN (SELECT ns, account, idem_key"
        " FROM keys WHERE ns = ? AND made_at < ? AND state IS NOT NULL LIMIT ?)"
        " AND made_at < ? AND state IS NOT NULL",  # still so, whatever was waited for
        tx.namespace, before, SLICE, before,
    )  # fmt: skip


def stats(tx: Transaction) -> dict[str, int]:
    """Count what is there; what waits by what it is: nobody may ask for updates."""
    return {name: tx.rows(sql, tx.namespace)[0][0] for name, sql in _COUNTS.items()}


def waiting(tx: Transaction) -> dict[str, float]:
    """Tell for how many seconds the oldest of what waits has waited, by what it is."""
    found = {name: tx.rows(sql, tx.namespace)[0][1] for name, sql in _OLDEST.items()}
    return {name: max(0.0, tx.now - at) for name, at in found.items() if at is not None}


def namespaces(tx: Transaction) -> tuple[str, ...]:
    """List the namespaces that hold anything."""
    return tuple(sorted({*_distinct(tx, "keys"), *_distinct(tx, "receipts")}))


def _distinct(tx: Transaction, table: str) -> Iterator[str]:
    """Go from each namespace to the next by the index: all rows are too many to be read."""
    last = ""
    while (found := tx.rows(f"SELECT min(ns) FROM {table} WHERE ns > ?", last)) != [(None,)]:
        ((last,),) = found
        yield last


_OPEN = "(d.next_check IS NOT NULL OR d.state IN ('intended', 'sending'))"

_WAITING = "SELECT count(*) FROM events WHERE ns = ? AND state = 'waiting' AND topic"

_COUNTS = {
    "events_waiting": f"{_WAITING} LIKE 'callback.%'",
    "updates_waiting": f"{_WAITING} LIKE 'update.%'",
    "outcomes_waiting": f"{_WAITING} LIKE 'outcome.%'",
    "events_dead": "SELECT count(*) FROM events WHERE ns = ? AND state = 'dead'",
    "receipts": "SELECT count(*) FROM receipts WHERE ns = ?",
    "events_claimed": "SELECT count(*) FROM lanes WHERE ns = ?",
    "dials": "SELECT count(*) FROM dials WHERE ns = ?",
    "dials_open": f"SELECT count(*) FROM dials d WHERE ns = ? AND {_OPEN}",
    "keys": "SELECT count(*) FROM keys WHERE ns = ?",
    "unresolved": "SELECT count(*) FROM outcomes o JOIN dials d ON d.ref = o.ref"
    " WHERE d.ns = ? AND o.state = 'unresolved'",
}

_OLDEST = {
    name: sql.replace("count(*)", "count(*), min(made_at)")
    for name, sql in _COUNTS.items()
    if sql.startswith(_WAITING)
}
