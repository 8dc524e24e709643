"""What happens to the books when a callback comes in, before Exotel is told 200."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from exotel_async.errors import mask_secrets
from exotel_async.models.events import CallAnswered, CallTerminated, StatusCallback
from exotel_async.wire.callback import event_of
from exotel_async.wire.converter import converter_for
from exotel_async.wire.merging import digest_of, identity_of, merged
from exotel_async.wire.pairs import Pairs, read_pairs
from exotel_async.wire.values import IST

from . import dials
from .records import AT_ONCE, REJECTED, DialRecord, Receipt, Recorded
from .rules import after_callback
from .texts import lane_of, pairs_from_text, pairs_to_text
from .transaction import Row, Transaction, locked, one

_IT = "ns = ? AND kind = ? AND ref = ? AND call_sid = ? AND digest = ?"
MOST_BODIES = 64  # that are kept of one dial, and of one call under a ref of the user's

_logger = logging.getLogger("exotel_async.journal")


def record(tx: Transaction, receipt: Receipt) -> Recorded:
    """Write a callback down; tell what it turned out to be."""
    digest = digest_for(tx, receipt)
    if receipt.ref is not None and _is_full(tx, receipt, receipt.ref):
        return _refuse(tx, receipt, digest)
    ids = insert_receipts(tx, [receipt], [digest])
    return _apply(tx, receipt, digest, ids) if ids else Recorded.DUPLICATE


def digest_for(tx: Transaction, receipt: Receipt) -> bytes:
    """Make the fingerprint by which a copy of a callback is known."""
    scope = (tx.namespace, receipt.kind or "", receipt.ref or "")
    return digest_of(receipt.event.pairs, scope=scope)


def insert_receipts(
    tx: Transaction, receipts: Sequence[Receipt], digests: Sequence[bytes]
) -> dict[bytes, int]:
    """Write callbacks down as they came, those that are no copies; tell their ids, by digest."""
    values: list[object] = []
    for receipt, digest in zip(receipts, digests, strict=True):
        values += (
            *_key(tx, receipt, digest), tx.now, receipt.content_type, receipt.query, receipt.body,
        )  # fmt: skip
    rows = tx.rows(
        "INSERT INTO receipts (ns, kind, ref, call_sid, digest, received_at, content_type, query,"
        f" body) VALUES {_rows('(?, ?, ?, ?, ?, ?, ?, ?, ?)', receipts)} ON CONFLICT DO NOTHING"
        " RETURNING id, digest",
        *values,
    )
    return {bytes(digest): receipt for receipt, digest in rows}


def insert_events(
    tx: Transaction,
    receipts: Sequence[Receipt],
    digests: Sequence[bytes],
    ids: Mapping[bytes, int],
) -> int:
    """Make an event of each receipt that tells of something new; tell how many."""
    values: list[object] = []
    for receipt, digest in zip(receipts, digests, strict=True):
        event = receipt.event
        values += (
            tx.namespace, _lane(receipt), identity_of(event, digest=digest), topic_of(event),
            receipt.kind, receipt.ref, event.call_sid, ids[digest], AT_ONCE, tx.now,
        )  # fmt: skip
    row = "(?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 'waiting', 0, '', ?, ?)"
    return tx.change(
        "INSERT INTO events (ns, lane, identity, topic, kind, ref, call_sid, receipt, revision,"
        f" delivered, state, attempts, done, run_at, made_at) VALUES {_rows(row, receipts)}"
        " ON CONFLICT DO NOTHING",
        *values,
    )


def _lane(receipt: Receipt) -> str:
    return lane_of(receipt.kind or "", receipt.ref or "", receipt.event.call_sid)


def _key(tx: Transaction, receipt: Receipt, digest: bytes) -> tuple[str | bytes, ...]:
    return tx.namespace, receipt.kind or "", receipt.ref or "", receipt.event.call_sid, digest


def _rows(row: str, of: Sequence[object]) -> str:
    return ", ".join([row] * len(of))


def apply_again(tx: Transaction, ref: str, *, call_sid: str | None, not_sid: str | None) -> None:
    """Apply the callbacks of a dial that contradicted what was then thought of it."""
    kept = tx.rows(
        "SELECT id, digest, content_type, query, body, call_sid FROM receipts"
        " WHERE ns = ? AND ref = ? AND kind = 'dial' AND mark = ? ORDER BY id",
        tx.namespace, ref, Recorded.CONTRADICTION,
    )  # fmt: skip
    for receipt, fingerprint, content_type, query, body, sid in kept:
        if body is None or sid == not_sid or (call_sid is not None and sid != call_sid):
            continue
        # From now on it counts as received: it is kept as long as the event made of it.
        tx.change("UPDATE receipts SET mark = NULL, received_at = ? WHERE id = ?", tx.now, receipt)
        again = Receipt(
            event=_event(_pairs(content_type, query, body), ref),
            kind="dial", ref=ref, content_type=content_type, query=query, body=body,
        )  # fmt: skip
        digest = bytes(fingerprint)
        _apply(tx, again, digest, {digest: receipt})


def _is_full(tx: Transaction, receipt: Receipt, ref: str) -> bool:
    """Tell whether there is enough of it. A user may have one ref for all calls, a dial is one."""
    condition, of = ("kind = 'dial'", ()) if receipt.kind == "dial" else (
        "kind = 'ref' AND call_sid = ?", (receipt.event.call_sid,)
    )  # fmt: skip
    (kept,) = tx.rows(
        "SELECT count(*) FROM (SELECT 1 FROM receipts WHERE ns = ? AND ref = ?"
        f" AND {condition} LIMIT ?) AS kept",
        tx.namespace, ref, *of, MOST_BODIES,
    )[0]  # fmt: skip
    return bool(kept >= MOST_BODIES)


def _refuse(tx: Transaction, receipt: Receipt, digest: bytes) -> Recorded:
    known = one(tx, f"SELECT 1 FROM receipts WHERE {_IT}", *_key(tx, receipt, digest))
    if known is None:
        _logger.warning("more than %d different callbacks of one call: not kept", MOST_BODIES)
    return Recorded.TOO_MANY if known is None else Recorded.DUPLICATE


def _apply(tx: Transaction, receipt: Receipt, digest: bytes, ids: Mapping[bytes, int]) -> Recorded:
    contradicted = tell_dial(tx, receipt)
    if contradicted is not None:
        _warn(receipt, contradicted)
        tx.change(
            f"UPDATE receipts SET mark = ? WHERE {_IT}",
            Recorded.CONTRADICTION, *_key(tx, receipt, digest),
        )  # fmt: skip
        return Recorded.CONTRADICTION
    if insert_events(tx, [receipt], [digest], ids):
        return Recorded.NEW
    return _merge(tx, receipt.event, _known(tx, receipt, digest))


def tell_dial(tx: Transaction, receipt: Receipt) -> DialRecord | None:
    """Let a dial know; return what is known of it if the callback contradicts that.

    One that is not known (any more) is no reason to forget the callback.
    """
    if receipt.kind != "dial" or receipt.ref is None:
        return None
    record = dials.read_to_change(tx, receipt.ref)
    if record is None:
        return None
    if record.call_sid is None and _is_rejected(tx, receipt):
        return record
    told = after_callback(record, receipt.event, now=tx.now)
    if told is None:
        return record
    dials.write(tx, told)
    return None


def _is_rejected(tx: Transaction, receipt: Receipt) -> bool:
    """Tell whether Exotel has said already that this call is not the dial's."""
    found = one(
        tx,
        "SELECT 1 FROM receipts"
        " WHERE ns = ? AND kind = 'dial' AND ref = ? AND call_sid = ? AND mark = ?",
        tx.namespace, receipt.ref, receipt.event.call_sid, REJECTED,
    )  # fmt: skip
    return found is not None


def _warn(receipt: Receipt, contradicted: DialRecord) -> None:
    sid = mask_secrets(ascii(receipt.event.call_sid[:64]))
    _logger.warning(
        "a callback of dial %s names call %s, which contradicts what is known: %s, call %s",
        receipt.ref, sid, contradicted.state, contradicted.call_sid,
        extra={"dial": receipt.ref, "call_sid": sid, "state": contradicted.state},
    )  # fmt: skip


def _known(tx: Transaction, receipt: Receipt, digest: bytes) -> Row:
    return tx.rows(
        "SELECT e.id, e.revision, e.delivered, e.state, e.merged, r.content_type, r.query, r.body"
        " FROM events e LEFT JOIN receipts r ON r.id = e.receipt"
        f" WHERE e.ns = ? AND e.lane = ? AND e.identity = ?{locked(tx, of='e')}",
        tx.namespace, _lane(receipt), identity_of(receipt.event, digest=digest),
    )[0]  # fmt: skip


def _merge(tx: Transaction, event: StatusCallback, known: Row) -> Recorded:
    """Add what a repeated callback knows; who has seen the event is told again only of news."""
    event_id, revision, delivered, state, text, *letter = known
    old = _stored_pairs(text, letter)
    if old is None:  # erased: nobody can tell any more what is new
        return Recorded.DUPLICATE
    pairs = merged(_event(old), _event(event.pairs))
    if dict(pairs) == dict(reversed(old)):  # of twins the first counts
        return Recorded.DUPLICATE
    seen = bool(delivered)
    tx.change(
        "UPDATE events SET merged = ?, revision = ?, state = ?, topic = ?, run_at = ? WHERE id = ?",
        pairs_to_text(pairs), revision + 1,
        "waiting" if state == "done" else state,
        topic_of(event, update=seen),
        AT_ONCE, event_id,
    )  # fmt: skip
    return Recorded.UPDATE


def topic_of(event: StatusCallback, *, update: bool = False) -> str:
    """Name what handlers register for."""
    return topic(type(event), update=update)


def topic(kind: type[StatusCallback], *, update: bool = False) -> str:
    """Name what handlers of a kind register for.

    >>> topic(CallTerminated, update=True)
    'update.terminal'
    """
    over, answered = issubclass(kind, CallTerminated), issubclass(kind, CallAnswered)
    word = "terminal" if over else "answered" if answered else "other"
    return f"{'update' if update else 'callback'}.{word}"


def ending(tx: Transaction, ref: str, call_sid: str) -> StatusCallback | None:
    """Read how a dial's callbacks say that it ended."""
    found = one(
        tx,
        "SELECT e.merged, r.content_type, r.query, r.body"
        " FROM events e LEFT JOIN receipts r ON r.id = e.receipt"
        " WHERE e.ns = ? AND e.lane = ? AND e.identity = 'terminal'",
        tx.namespace, lane_of("dial", ref, call_sid),
    )  # fmt: skip
    if found is None:
        return None
    pairs = _stored_pairs(found[0], found[1:])
    return None if pairs is None else _event(pairs, ref)


def stored_pairs(text: str | None, letter: Sequence[object]) -> Pairs:
    """Read an event's normal form: what was merged, or the one receipt; () where erased."""
    return _stored_pairs(text, letter) or ()


def _stored_pairs(text: str | None, letter: Sequence[object]) -> Pairs | None:
    if text is not None:
        return pairs_from_text(text)
    content_type, query, body = letter
    return None if body is None else _pairs(content_type, query, body)


def _pairs(content_type: object, query: object, body: object) -> Pairs:
    return read_pairs(bytes(body), content_type=str(content_type), query=str(query))  # type: ignore[call-overload]  # a BLOB


def _event(pairs: Pairs, ref: str | None = None) -> StatusCallback:
    # The zone does not matter here: times are only compared with each other.
    return event_of(pairs, converter=converter_for(IST), ref=ref)
