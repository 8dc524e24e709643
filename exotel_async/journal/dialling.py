"""What happens to the books around a dial: before it is sent, when it is answered, and after."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

import attrs

from exotel_async.errors import KeyReusedError
from exotel_async.models.dials import CallOutcome, DialState, OutcomeState

from . import dials, receiving
from .outcomes import conclude, outcome_of
from .records import (
    AT_ONCE,
    REJECTED,
    SENDING,
    Answered,
    DialRecord,
    DueDial,
    Intended,
    NewDial,
    Recorded,
)
from .rules import ABSENCES, after_answer, after_death, after_rejection, concluded
from .transaction import Transaction, locked, one, several

_HARMLESS = {DialState.REFUSED, DialState.NOT_SENT, OutcomeState.NOT_PLACED}
_TAKEN = 90.0  # seconds in which nobody else looks at a dial that somebody looks at

_logger = logging.getLogger("exotel_async.journal")


def intend(
    tx: Transaction,
    new: NewDial,
    *,
    retry_if: Collection[str],
    fits: Callable[[str], bool | None],
) -> Intended:
    """Write down that a dial is about to be made, unless its key is known already.

    `fits` tells whether a seal is that of the caller's arguments, None if it can't be told.
    Raises KeyReusedError.
    """
    if _is_new(tx, new):
        return Intended(record=_insert(tx, new, attempt=1), fresh=True)
    if fits(_seal(tx, new)) is False:
        raise KeyReusedError(
            "idempotency_key was used before with other arguments; nothing was dialled. "
            "Take a new key for a new call"
        )
    found = find(tx, new.account, new.key)
    if found is None:
        raise KeyReusedError("the journal knows this idempotency_key, but not its dial")
    record, outcome = found
    if _may_be_retried(record, outcome, retry_if=retry_if):
        return _next_attempt(tx, new, attempt=record.attempt + 1)
    return Intended(record=record, fresh=False, outcome=outcome)


def _is_new(tx: Transaction, new: NewDial) -> bool:
    """Write a key down unless it is known; of several who do at once one finds it new."""
    return bool(
        tx.change(
            "INSERT INTO keys (ns, account, idem_key, seal, ref, attempt, made_at)"
            " VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO NOTHING",
            tx.namespace, new.account, new.key, new.seal, new.ref, tx.now,
        )
    )  # fmt: skip


def _seal(tx: Transaction, new: NewDial) -> str:
    """Read what a key is bound to; from now on nobody else decides about its dials."""
    ((seal,),) = tx.rows(
        f"SELECT seal FROM keys WHERE ns = ? AND account = ? AND idem_key = ?{tx.for_update}",
        tx.namespace, new.account, new.key,
    )  # fmt: skip
    return str(seal)


def _next_attempt(tx: Transaction, new: NewDial, *, attempt: int) -> Intended:
    tx.change(
        "UPDATE keys SET ref = ?, attempt = ?, seal = ?, made_at = ?, state = NULL,"
        " call_sid = NULL, outcome = NULL WHERE ns = ? AND account = ? AND idem_key = ?",
        new.ref, attempt, new.seal, tx.now, tx.namespace, new.account, new.key,
    )  # fmt: skip
    return Intended(record=_insert(tx, new, attempt=attempt), fresh=True)


def _may_be_retried(
    record: DialRecord, outcome: CallOutcome | None, *, retry_if: Collection[str]
) -> bool:
    """Tell whether another attempt rings nobody twice; a callback outweighs any absence."""
    if record.state not in (DialState.REFUSED, DialState.NOT_SENT, DialState.UNKNOWN):
        return False
    said = {record.state, None if outcome is None else outcome.state}
    return bool(said & (set(retry_if) & _HARMLESS))


def _insert(tx: Transaction, new: NewDial, *, attempt: int) -> DialRecord:
    record = DialRecord(
        ref=new.ref, account=new.account, key=new.key, attempt=attempt, state=DialState.INTENDED,
        owner=tx.owner, arguments=new.arguments, longest=new.longest, intended_at=tx.now,
    )  # fmt: skip
    dials.insert(tx, record)
    return record


def sending(tx: Transaction, ref: str, *, patience: float) -> float | None:
    """Write down that a try begins now; return until when it may, None if it must not."""
    record = dials.read_to_change(tx, ref)
    if record is None or record.state != DialState.INTENDED or record.owner != tx.owner:
        return None
    not_after = tx.now + patience
    dials.write(
        tx,
        attrs.evolve(
            record,
            state=SENDING,
            sent_at=tx.now,
            not_after=not_after,
            settle_by=not_after + record.longest,
        ),
    )
    return not_after


def unsent(tx: Transaction, ref: str) -> bool:
    """Write down that a try provably rang no phone, and another may follow."""
    return bool(
        tx.change(
            "UPDATE dials SET state = 'intended' WHERE ns = ? AND ref = ? AND state = 'sending'"
            " AND owner = ?",
            tx.namespace, ref, tx.owner,
        )
    )  # fmt: skip


def answered(tx: Transaction, ref: str, answer: Answered) -> DialRecord | None:
    """Write down what a dial came to; None where nothing is known of it."""
    record = dials.read_to_change(tx, ref)
    if record is None:
        return None
    told = after_answer(record, answer, now=tx.now)
    if told is record and answer.state not in (record.state, DialState.UNKNOWN):
        _logger.warning(
            "dial %s is %s, though its answer says %s", ref, told.state, answer.state,
            extra={"dial": ref, "state": told.state},
        )  # fmt: skip
    dials.write(tx, told)
    if told.call_sid is not None and told.call_sid != record.call_sid:
        _believe(tx, told, instead_of=record.call_sid)
    settle(tx, told)
    return dials.read(tx, ref)


def _believe(tx: Transaction, record: DialRecord, *, instead_of: str | None) -> None:
    """Take Exotel's answer for the better evidence: what callbacks said is weighed again."""
    if instead_of is not None:
        _logger.warning(
            "dial %s: Exotel's answer names another call than was thought", record.ref,
            extra={"dial": record.ref, "call_sid": record.call_sid},
        )  # fmt: skip
        _mark(tx, record.ref, call_sid=instead_of, mark=Recorded.CONTRADICTION)
    receiving.apply_again(tx, record.ref, call_sid=record.call_sid, not_sid=None)


def _mark(tx: Transaction, ref: str, *, call_sid: str, mark: str) -> None:
    tx.change(
        "UPDATE receipts SET mark = ? WHERE ns = ? AND ref = ? AND kind = 'dial' AND call_sid = ?",
        mark, tx.namespace, ref, call_sid,
    )  # fmt: skip


def recover(tx: Transaction, owner: str) -> int:
    """Take over from an owner who is gone: its dials, its lanes, its name. Tell how many dials."""
    held = dials.of_owner(tx, owner)
    for namespace, record in held:
        told = after_death(record)
        dials.write(tx, told)
        settle(tx, told, namespace=namespace)
        _logger.warning(
            "dial %s was left behind: %s", record.ref, told.state,
            extra={"dial": record.ref, "state": told.state},
        )  # fmt: skip
    tx.change("DELETE FROM lanes WHERE owner = ?", owner)
    tx.change("DELETE FROM owners WHERE owner = ?", owner)
    return len(held)


def settle(tx: Transaction, record: DialRecord, *, namespace: str | None = None) -> None:
    """Write down the outcome that a dial's own state already is, if it is one."""
    outcome = concluded(record)
    if outcome is not None:
        conclude(tx, outcome, account=record.account, namespace=namespace)


def due(tx: Transaction, account: str, *, most: int) -> tuple[DueDial, ...]:
    """Take the dials that want to be looked at; for a while nobody else gets them."""
    found = dials.select(
        tx,
        "account = ? AND next_check <= ? ORDER BY next_check LIMIT ?"
        f"{locked(tx, of='dials', skip=True)}",
        account, tx.now, most,
    )  # fmt: skip
    if found:
        refs = [record.ref for record in found]
        tx.change(
            f"UPDATE dials SET next_check = ? WHERE ref IN {several(refs)}",
            tx.now + _TAKEN, *refs,
        )  # fmt: skip
    return tuple(_with_evidence(tx, record) for record in found)


def _with_evidence(tx: Transaction, record: DialRecord) -> DueDial:
    told = None
    if record.call_sid is not None:
        told = receiving.ending(tx, record.ref, record.call_sid)
    return DueDial(record=record, ending=told, outcome=outcome_of(tx, record))


def next_due(tx: Transaction, account: str) -> float | None:
    """Tell when the next dial wants to be looked at."""
    found = one(
        tx, "SELECT min(next_check) FROM dials WHERE ns = ? AND account = ?"
        " AND next_check IS NOT NULL",
        tx.namespace, account,
    )  # fmt: skip
    return None if found is None else found[0]


def put_off(tx: Transaction, ref: str, *, until: float | None, asked: bool) -> None:
    """Write down when to look at a dial again, None for never; `asked` counts a look at Exotel.

    News that came since the dial was taken are not put off.
    """
    tx.change(
        "UPDATE dials SET next_check = CASE WHEN next_check = ? THEN next_check ELSE ? END,"
        " checks = checks + ? WHERE ns = ? AND ref = ?",
        AT_ONCE, until, int(asked), tx.namespace, ref,
    )  # fmt: skip


def reject(tx: Transaction, ref: str, *, call_sid: str) -> None:
    """Write down that the sid which a callback named is no call of this dial."""
    record = dials.read_to_change(tx, ref)
    if record is None or record.call_sid != call_sid or record.sid_source != "callback":
        return
    dials.write(tx, after_rejection(record))
    _mark(tx, ref, call_sid=call_sid, mark=REJECTED)
    receiving.apply_again(tx, ref, call_sid=None, not_sid=call_sid)
    settle(tx, dials.read(tx, ref) or record)


def ended(tx: Transaction, outcome: CallOutcome) -> CallOutcome | None:
    """Write down how a dial ended; None where what is written already stays.

    Nothing is concluded from what is no longer true: whoever decided it has to look again.
    """
    ref = outcome.dial.ref
    record = dials.read_to_change(tx, ref)
    if record is None:
        return None
    if _has_news(record, outcome):
        tx.change("UPDATE dials SET next_check = ? WHERE ref = ?", AT_ONCE, ref)
        return None
    changed = conclude(tx, outcome, account=record.account)
    put_off(tx, ref, until=None, asked=False)
    return changed


def _has_news(record: DialRecord, outcome: CallOutcome) -> bool:
    if outcome.state in ABSENCES:
        return record.next_check == AT_ONCE or record.dial() != outcome.dial
    return record.call_sid != outcome.dial.call_sid  # Exotel's answer named another call meanwhile


def find(tx: Transaction, account: str, key: str) -> tuple[DialRecord, CallOutcome | None] | None:
    """Find a dial by its key."""
    found = one(
        tx,
        "SELECT ref FROM keys WHERE ns = ? AND account = ? AND idem_key = ?",
        tx.namespace, account, key,
    )  # fmt: skip
    if found is None:
        return None
    return look(tx, found[0]) or dials.of_tombstone(tx, account, key)


def look(tx: Transaction, ref: str) -> tuple[DialRecord, CallOutcome | None] | None:
    """Read a dial by its ref."""
    record = dials.read(tx, ref)
    return None if record is None else (record, outcome_of(tx, record))
