"""The rows of outcomes: written once, corrected at most once, told to whoever wants to know."""

from __future__ import annotations

import logging

import attrs

from exotel_async.models.dials import CallOutcome

from .records import AT_ONCE, OUTCOME, DialRecord
from .rules import corrects, enriched
from .texts import lane_of, outcome_from_text, outcome_to_text, outcome_topic
from .transaction import Transaction, one

_logger = logging.getLogger("exotel_async.journal")


def conclude(
    tx: Transaction, outcome: CallOutcome, *, account: str, namespace: str | None = None
) -> CallOutcome | None:
    """Write an outcome down as the rules allow; None where it changes nothing."""
    namespace = tx.namespace if namespace is None else namespace
    ref = outcome.dial.ref
    known = one(
        tx,
        "SELECT state, source, confirmed, revision, body, corrected FROM outcomes WHERE ref = ?",
        ref,
    )
    if known is None:
        _write(tx, outcome, corrected=False)
        _announce(tx, outcome, account=account, namespace=namespace)
        return outcome
    state, source, confirmed, revision, body, corrected = known
    old = outcome_from_text(
        body, dial=outcome.dial, state=state, source=source, confirmed=bool(confirmed),
        revision=revision,
    )  # fmt: skip
    if corrects(old, outcome, corrected=bool(corrected)):
        new = attrs.evolve(outcome, revision=revision + 1)
        _logger.warning("dial %s was %s and is corrected: %s", ref, old.state, new.state)
        _write(tx, new, corrected=True)
        _announce(tx, new, account=account, namespace=namespace)
        return new
    fuller = enriched(old, outcome)
    if fuller is old:
        return None
    _write(tx, fuller, corrected=bool(corrected))
    return fuller


def outcome_of(tx: Transaction, record: DialRecord) -> CallOutcome | None:
    """Read how a dial ended, if that is known."""
    found = one(
        tx,
        "SELECT body, state, source, confirmed, revision FROM outcomes WHERE ref = ?",
        record.ref,
    )
    if found is None:
        return None
    body, state, source, confirmed, revision = found
    return outcome_from_text(
        body, dial=record.dial(), state=state, source=source, confirmed=bool(confirmed),
        revision=revision,
    )  # fmt: skip


def _write(tx: Transaction, outcome: CallOutcome, *, corrected: bool) -> None:
    tx.change(
        "INSERT INTO outcomes (ref, state, source, confirmed, revision, corrected, body,"
        " learned_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (ref) DO UPDATE SET"
        " state = excluded.state, source = excluded.source, confirmed = excluded.confirmed,"
        " revision = excluded.revision, corrected = excluded.corrected, body = excluded.body,"
        " learned_at = excluded.learned_at",
        outcome.dial.ref, outcome.state, outcome.source, int(outcome.confirmed), outcome.revision,
        int(corrected), outcome_to_text(outcome), tx.now,
    )  # fmt: skip


def _announce(tx: Transaction, outcome: CallOutcome, *, account: str, namespace: str) -> None:
    """Have an outcome delivered; one that corrects another that was not yet, takes its place."""
    ref = outcome.dial.ref
    tx.change(
        "INSERT INTO events (ns, lane, identity, topic, kind, ref, call_sid, revision, delivered,"
        " state, attempts, done, run_at, made_at)"
        " VALUES (?, ?, ?, ?, 'dial', ?, ?, ?, 0, 'waiting', 0, '', ?, ?)"
        " ON CONFLICT (ns, lane, identity) DO UPDATE SET revision = excluded.revision,"
        " call_sid = excluded.call_sid, state = 'waiting', attempts = 0, done = '',"
        " run_at = excluded.run_at, made_at = excluded.made_at",
        namespace, lane_of(OUTCOME, ref), OUTCOME, outcome_topic(account), ref, outcome.call_sid,
        outcome.revision, AT_ONCE, tx.now,
    )  # fmt: skip
