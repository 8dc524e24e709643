"""What happens to the books while events reach their handlers: claimed, done, tried again."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from typing import Self

import attrs

from exotel_async.wire.pairs import Pairs

from .receiving import stored_pairs
from .records import AT_ONCE, Claim, DeadLetter
from .texts import shown_topic
from .transaction import Row, Transaction, one

FARTHEST = 7_200.0  # seconds that a retry may lie ahead; what lies farther, a clock set back left

_COLUMNS = (
    "e.id, e.identity, e.lane, e.topic, e.ref, e.revision, e.attempts, e.done, e.run_at,"
    " e.made_at, e.error, e.merged, r.content_type, r.query, r.body"
)
_FROM = "FROM events e LEFT JOIN receipts r ON r.id = e.receipt"
_FREE = " AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.ns = e.ns AND l.lane = e.lane)"
_NO_SUSPECT = " AND (e.attempts = 0 OR e.error IS NOT NULL)"
_KILLED = "its handlers never came back: the process ended while they ran"

_logger = logging.getLogger("exotel_async.journal")


# Claiming.


def claim(tx: Transaction, topics: Collection[str], *, most: int, tries: int) -> tuple[Claim, ...]:
    """Take what is due, one event of each call, oldest first, counting the try.

    What was tried often enough and never came back becomes a dead letter instead. Of those that
    never came back one at a time is tried again: all that ran beside it is innocent, maybe. There
    may be more to take than comes back: only where nothing does, nothing is due.
    """
    claims: list[Claim] = []
    while not claims:
        only = _unsuspected(tx)
        lanes = _free_lanes(tx, topics, most=most, only=only)
        if not lanes:
            break
        found = [_first_of(tx, lane, topics, only=only) for lane in lanes]
        claims = _take_all([event for event in found if event is not None], tx, tries=tries)
    return tuple(claims)


def _unsuspected(tx: Transaction) -> str:
    """Make the condition that keeps suspects back, as long as one of them is tried again."""
    trying = "SELECT 1 FROM lanes WHERE ns = ? AND suspect = 1 LIMIT 1"
    return "" if one(tx, trying, tx.namespace) is None else _NO_SUSPECT


def _take_all(events: Collection[_Due], tx: Transaction, *, tries: int) -> list[Claim]:
    claims = []
    suspected = False
    for event in events:
        if event.attempts >= tries:
            _give_up(tx, event)
        elif not (suspected and event.is_suspect):
            suspected = suspected or event.is_suspect
            claims.append(_take(tx, event))
    return claims


def _give_up(tx: Transaction, event: _Due) -> None:
    _bury(tx, event.id, event.error or _KILLED)
    _logger.error(
        "a delivery is a dead letter now: %s", event.error or _KILLED,
        extra={"event_id": event.id, "attempts": event.attempts, "outcome": "dead"},
    )  # fmt: skip


def _free_lanes(tx: Transaction, topics: Collection[str], *, most: int, only: str) -> list[str]:
    """Find calls that nobody works on and that have an event which is due, the oldest first."""
    due: dict[str, tuple[float, int]] = {}
    for topic in topics:
        for run_at, event_id, lane in _due_in(tx, topic, most=most, only=only):
            due[lane] = min((run_at, event_id), due.get(lane, (run_at, event_id)))
    return sorted(due, key=due.__getitem__)[:most]


def _due_in(tx: Transaction, topic: str, *, most: int, only: str) -> Iterator[Row]:
    # Two statements, since one with OR would sort all that is due to find the first few.
    for condition, time in (("e.run_at <= ?", tx.now), ("e.run_at > ?", tx.now + FARTHEST)):
        yield from tx.rows(
            "SELECT e.run_at, e.id, e.lane FROM events e WHERE e.ns = ? AND e.topic = ?"  # noqa: S608 - no value in it
            f" AND e.state = 'waiting' AND {condition} {only} {_FREE}"
            " ORDER BY e.run_at, e.id LIMIT ?",
            tx.namespace, topic, time, most,
        )  # fmt: skip


def _first_of(tx: Transaction, lane: str, topics: Collection[str], *, only: str) -> _Due | None:
    row = one(
        tx,
        f"SELECT {_COLUMNS} {_FROM}"
        # `||` keeps the planner from the index of all that waits: a call has but a few events.
        " WHERE e.ns = ? AND e.lane = ? AND e.state || '' = 'waiting'"
        f" AND (e.run_at <= ? OR e.run_at > ?) AND e.topic IN ({', '.join('?' * len(topics))})"
        f" {only} ORDER BY e.id LIMIT 1",
        tx.namespace, lane, tx.now, tx.now + FARTHEST, *topics,
    )  # fmt: skip
    return None if row is None else _Due(*row)


@attrs.frozen
class _Due:
    """A row of an event that waits."""

    id: int
    identity: str
    lane: str
    topic: str
    ref: str | None
    revision: int
    attempts: int
    done: str
    run_at: float
    made_at: float
    error: str | None
    merged: str | None
    content_type: str | None
    query: str | None
    body: bytes | None

    @property
    def is_suspect(self) -> bool:
        """Tell whether it was tried, and nobody came back to say how that went."""
        return self.attempts > 0 and self.error is None


def _take(tx: Transaction, event: _Due) -> Claim:
    fence = tx.rows(
        "INSERT INTO lanes (ns, lane, owner, suspect) VALUES (?, ?, ?, ?) RETURNING fence",
        tx.namespace, event.lane, tx.owner, int(event.is_suspect),
    )[0][0]  # fmt: skip
    tx.change("UPDATE events SET attempts = attempts + 1, error = NULL WHERE id = ?", event.id)
    return Claim(
        fence=fence,
        event_id=event.id,
        topic=event.topic,
        delivery_id=_delivery_id(event.lane, event.identity, event.revision),
        revision=event.revision,
        ref=event.ref,
        attempts=event.attempts + 1,
        done=_passed_over(_from_text(event.done), topic=event.topic, revision=event.revision),
        pairs=_pairs(event),
        waited=max(0.0, tx.now - max(event.run_at, event.made_at)),
    )


def _pairs(event: _Due) -> Pairs:
    letter = (event.content_type, event.query, event.body)
    return stored_pairs(event.merged, letter)  # () for an outcome, which has neither


def _passed_over(seen: Mapping[str, int], *, topic: str, revision: int) -> frozenset[str]:
    """Name the handlers that have seen an event; what they missed of it comes as an update."""
    first_told = topic.startswith("callback.")
    return frozenset(name for name, told in seen.items() if first_told or told == revision)


def _delivery_id(lane: str, identity: str, revision: int) -> str:
    return f"{lane} {identity} #{revision}"


# How it went.


@attrs.frozen
class _Held:
    """An event that a claim holds: what is known of it by now, and who has seen which telling."""

    revision: int
    seen: Mapping[str, int]

    @classmethod
    def read(cls, tx: Transaction, claim: Claim, *, done: Collection[str]) -> Self:
        """Read what a claim holds; `done`: all who have seen it, before and under this claim."""
        ((revision, text),) = tx.rows(
            "SELECT revision, done FROM events WHERE id = ?", claim.event_id
        )
        now = {name: claim.revision for name in done if name not in claim.done}
        return cls(revision, {**_from_text(text), **now})


def progress(tx: Transaction, claim: Claim, *, done: Collection[str]) -> bool:
    """Write down which handlers have seen an event; False where it is no longer ours."""
    if not _is_ours(tx, claim):
        return False
    held = _Held.read(tx, claim, done=done)
    tx.change("UPDATE events SET done = ? WHERE id = ?", _to_text(held.seen), claim.event_id)
    return True


def stuck(tx: Transaction, claim: Claim, *, error: str, done: Collection[str]) -> bool:
    """Write down that handlers never end, though they live; it stays claimed as long as we do.

    Suspects need not wait for it, and it is none itself when it is tried again.
    """
    if not progress(tx, claim, done=done):
        return False
    tx.change("UPDATE lanes SET suspect = 0 WHERE fence = ?", claim.fence)
    tx.change("UPDATE events SET error = ? WHERE id = ?", error, claim.event_id)
    return True


def finish(tx: Transaction, claim: Claim, *, done: Collection[str] = ()) -> bool:
    """Write down that an event has reached its handlers; False where it is no longer ours.

    Where more became known since some of them saw it, it waits again, as an update for those.
    """
    if not _leave(tx, claim):
        return False
    held = _Held.read(tx, claim, done=done)
    up_to_date = {name: told for name, told in held.seen.items() if told == held.revision}
    behind = held.revision > claim.revision or len(up_to_date) < len(held.seen)
    tx.change(
        "UPDATE events SET delivered = ?, attempts = 0, error = NULL, run_at = ?, state = ?,"
        " done = ?, topic = replace(topic, 'callback.', 'update.') WHERE id = ?",
        claim.revision, AT_ONCE, "waiting" if behind else "done",
        _to_text(up_to_date if behind else {}), claim.event_id,
    )  # fmt: skip
    return True


def fail(
    tx: Transaction, claim: Claim, *, error: str, wait: float | None, done: Collection[str]
) -> bool:
    """Write down that handlers failed: again in so many seconds, or never more for None.

    What became known meanwhile has all its tries before it.
    """
    if not _leave(tx, claim):
        return False
    held = _Held.read(tx, claim, done=done)
    run_at = tx.now + min(wait or 0.0, FARTHEST)
    tx.change(
        "UPDATE events SET done = ?, error = ?, run_at = ? WHERE id = ?",
        _to_text(held.seen), error, run_at, claim.event_id,
    )  # fmt: skip
    if wait is not None:
        return True
    if held.revision > claim.revision:
        tx.change("UPDATE events SET attempts = 0 WHERE id = ?", claim.event_id)
    else:
        _bury(tx, claim.event_id, error)
    return True


def release(tx: Transaction, claim: Claim, *, done: Collection[str]) -> bool:
    """Give an event back as if it had not been claimed."""
    if not _leave(tx, claim):
        return False
    held = _Held.read(tx, claim, done=done)
    tx.change(
        "UPDATE events SET done = ?, run_at = ?,"
        " attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE id = ?",
        _to_text(held.seen), AT_ONCE, claim.event_id,
    )  # fmt: skip
    return True


def _is_ours(tx: Transaction, claim: Claim) -> bool:
    held = "SELECT 1 FROM lanes WHERE fence = ? AND owner = ?"
    return one(tx, held, claim.fence, tx.owner) is not None


def _leave(tx: Transaction, claim: Claim) -> bool:
    return bool(tx.change("DELETE FROM lanes WHERE fence = ? AND owner = ?", claim.fence, tx.owner))


def _bury(tx: Transaction, event_id: int, error: str) -> None:
    tx.change("UPDATE events SET state = 'dead', error = ? WHERE id = ?", error, event_id)


def _to_text(seen: Mapping[str, int]) -> str:
    return json.dumps(seen, sort_keys=True) if seen else ""


def _from_text(text: str) -> dict[str, int]:
    seen: dict[str, int] = json.loads(text) if text else {}
    return seen


# Looking.


def next_due(tx: Transaction, topics: Collection[str]) -> float | None:
    """Tell when the next event may be claimed, as far as nobody holds its call."""
    only = _unsuspected(tx)
    found = [
        row[0]
        for topic in topics
        for row in tx.rows(
            "SELECT e.run_at FROM events e WHERE e.ns = ? AND e.topic = ?"  # noqa: S608 - no value in it
            f" AND e.state = 'waiting' {only} {_FREE} ORDER BY e.run_at LIMIT 1",
            tx.namespace, topic,
        )
    ]  # fmt: skip
    earliest = min(found, default=None)
    if earliest is not None and earliest > tx.now + FARTHEST:
        return AT_ONCE
    return earliest


def dead_letters(tx: Transaction, *, most: int) -> tuple[DeadLetter, ...]:
    """List what was given up, oldest first."""
    rows = tx.rows(
        "SELECT id, topic, lane, identity, revision, ref, call_sid, attempts, error, made_at"
        " FROM events WHERE ns = ? AND state = 'dead' ORDER BY id LIMIT ?",
        tx.namespace, most,
    )  # fmt: skip
    return tuple(
        DeadLetter(
            id=event_id, topic=shown_topic(topic), delivery_id=_delivery_id(*happened), ref=ref,
            call_sid=call_sid, attempts=attempts, error=error or "", received_at=made_at,
        )
        for event_id, topic, *happened, ref, call_sid, attempts, error, made_at in rows
    )  # fmt: skip


def replay(tx: Transaction, ids: Collection[int] | None) -> int:
    """Have dead letters delivered again, all or those named; tell how many."""
    anew = (
        "UPDATE events SET state = 'waiting', attempts = 0, run_at = ?, error = NULL"
        " WHERE ns = ? AND state = 'dead'"
    )
    if ids is None:
        return tx.change(anew, AT_ONCE, tx.namespace)
    return sum(tx.change(f"{anew} AND id = ?", AT_ONCE, tx.namespace, one_id) for one_id in ids)
