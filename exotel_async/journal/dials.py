"""The rows of dials: each read and written whole."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs

from exotel_async.models.dials import CallOutcome

from .records import DialRecord
from .texts import error_from_text, error_to_text
from .transaction import Row, Transaction, one

_COLUMNS = (
    "ref, account, idem_key, attempt, state, owner, arguments, longest, intended_at, sent_at,"
    " not_after, settle_by, next_check, checks, call_sid, sid_source, error"
)


def insert(tx: Transaction, record: DialRecord) -> None:
    """Add a dial."""
    tx.change(
        f"INSERT INTO dials (ns, {_COLUMNS}) VALUES (?, {', '.join('?' * 17)})",
        tx.namespace, *_to_row(record),
    )  # fmt: skip


def write(tx: Transaction, record: DialRecord) -> None:
    """Replace what may change of a dial."""
    tx.change(
        "UPDATE dials SET state = ?, owner = ?, sent_at = ?, not_after = ?, settle_by = ?,"
        " next_check = ?, checks = ?, call_sid = ?, sid_source = ?, error = ? WHERE ref = ?",
        record.state, record.owner, record.sent_at, record.not_after, record.settle_by,
        record.next_check, record.checks, record.call_sid, record.sid_source,
        error_to_text(record.error), record.ref,
    )  # fmt: skip


def read(tx: Transaction, ref: str) -> DialRecord | None:
    """Read one dial of this namespace."""
    found = select(tx, "ref = ?", ref)
    return found[0] if found else None


def read_to_change(tx: Transaction, ref: str) -> DialRecord | None:
    """Read one dial of this namespace that nobody else may change until this is committed."""
    found = select(tx, f"ref = ?{tx.for_update}", ref)
    return found[0] if found else None


def select(tx: Transaction, condition: str, *parameters: object) -> list[DialRecord]:
    """Read the dials of this namespace that meet a condition of ours."""
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM dials WHERE ns = ? AND {condition}",
        tx.namespace, *parameters,
    )  # fmt: skip
    return [_from_row(row) for row in rows]


def of_account(
    tx: Transaction, account: str, condition: str, *parameters: object, also: Sequence[str] = ()
) -> list[tuple[DialRecord, Row]]:
    """Read an account's dials of all namespaces that meet a condition of ours.

    Each comes with the values of the expressions, ours too, that are `also` asked for.
    """
    rows = tx.rows(
        f"SELECT {', '.join([*also, _COLUMNS])} FROM dials WHERE account = ? AND {condition}",
        account, *parameters,
    )  # fmt: skip
    return [(_from_row(row[len(also) :]), row[: len(also)]) for row in rows]


def of_owner(tx: Transaction, owner: str) -> list[tuple[str, DialRecord]]:
    """Read the dials, with their namespaces, that somebody was about to send."""
    rows = tx.rows(
        f"SELECT ns, {_COLUMNS} FROM dials"
        f" WHERE owner = ? AND state IN ('intended', 'sending') ORDER BY ref{tx.for_update}",
        owner,
    )
    return [(row[0], _from_row(row[1:])) for row in rows]


def of_tombstone(
    tx: Transaction, account: str, key: str
) -> tuple[DialRecord, CallOutcome | None] | None:
    """Make up a dial that was pruned, and its outcome, out of what its key remembers."""
    found = one(
        tx,
        "SELECT ref, attempt, made_at, state, call_sid, outcome FROM keys"
        " WHERE ns = ? AND account = ? AND idem_key = ? AND state IS NOT NULL",
        tx.namespace, account, key,
    )  # fmt: skip
    if found is None:
        return None
    ref, attempt, made_at, state, call_sid, outcome = found
    record = DialRecord(
        ref=ref, account=account, key=key, attempt=attempt, state=state, owner="", arguments={},
        longest=0.0, intended_at=made_at, call_sid=call_sid,
    )  # fmt: skip
    if outcome is None:
        return record, None
    return record, CallOutcome(dial=record.dial(), state=outcome, call_sid=call_sid)


def _to_row(record: DialRecord) -> Sequence[object]:
    values = attrs.asdict(record, recurse=False)
    values["arguments"] = json.dumps(dict(record.arguments), ensure_ascii=False)
    values["error"] = error_to_text(record.error)
    return tuple(values.values())


def _from_row(row: Row) -> DialRecord:
    fields = dict(zip((field.name for field in attrs.fields(DialRecord)), row, strict=True))
    fields["arguments"] = json.loads(fields["arguments"])
    fields["error"] = error_from_text(fields["error"])
    return DialRecord(**fields)
