"""What happens to the books while events reach their handlers: claimed, done, tried again."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from itertools import chain

import attrs

from exotel_async.wire.pairs import Pairs

from .receiving import stored_pairs
from .records import AT_ONCE, Claim, DeadLetter
from .texts import shown_topic
from .transaction import Row, Transaction, one, several

_CHOICE = 4  # times as many are looked at as are wanted, since others may be claiming some
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
    while topics and not claims:
        only = _unsuspected(tx)
        lanes = _free_lanes(tx, topics, most=most, only=only)
        if not lanes:
            break
        fences = _take_lanes(tx, lanes)
        # Looked for now that the calls are ours: until then others may have done it all.
        claims = _take_all(tx, _first_of(tx, fences, topics, only=only), fences, tries=tries)
    return tuple(claims)


def _unsuspected(tx: Transaction) -> str:
    """Make the condition that keeps suspects back, as long as one of them is tried again."""
    trying = "SELECT 1 FROM lanes WHERE ns = ? AND suspect = 1 LIMIT 1"
    return "" if one(tx, trying, tx.namespace) is None else _NO_SUSPECT


def _free_lanes(tx: Transaction, topics: Collection[str], *, most: int, only: str) -> Sequence[str]:
    """Find calls that nobody works on and that have an event which is due, the oldest first.

    What somebody else is just claiming is left alone. To keep the rows instead would be wrong: two
    who each keep one event of a call, and both want the call, wait for each other.
    """
    due: dict[str, tuple[float, int]] = {}
    choice = _CHOICE if tx.for_update else 1
    for run_at, event_id, lane in _due(tx, topics, most=most * choice, only=only):
        due[lane] = min((run_at, event_id), due.get(lane, (run_at, event_id)))
    return tx.mine_alone(sorted(due, key=due.__getitem__), most=most)


def _due(tx: Transaction, topics: Collection[str], *, most: int, only: str) -> list[Row]:
    """Find what is due.

    A part for each topic, since one for all would sort whatever is due to find the first few; and
    one for what a clock that was set back left far ahead.
    """
    part = (
        "AS MATERIALIZED (SELECT e.run_at, e.id, e.lane FROM events e WHERE e.ns = ?"
        f" AND e.state = 'waiting' {only} {_FREE} AND"
    )
    named = [
        f"part{i} {part} e.topic = ? AND e.run_at <= ? ORDER BY e.run_at, e.id LIMIT ?)"
        for i in range(len(topics))
    ]
    named.append(f"far {part} e.topic IN {several(topics)} AND e.run_at > ? LIMIT ?)")
    names = ["far", *(f"part{i}" for i in range(len(topics)))]
    return tx.rows(
        f"WITH {', '.join(named)} "
        + " UNION ALL ".join(f"SELECT run_at, id, lane FROM {name}" for name in names),
        *chain.from_iterable((tx.namespace, topic, tx.now, most) for topic in topics),
        tx.namespace, *topics, tx.now + FARTHEST, most,
    )  # fmt: skip


def _due_of(
    tx: Transaction, lanes: Collection[str], topics: Collection[str], *, only: str
) -> tuple[str, Sequence[object]]:
    """Write the condition for whatever is due of these calls, and its values."""
    condition = (
        # `||` keeps the planner from the index of all that waits: a call has but a few events.
        f"e.ns = ? AND e.lane IN {several(lanes)} AND e.state || '' = 'waiting'"
        f" AND (e.run_at <= ? OR e.run_at > ?) AND e.topic IN {several(topics)} {only}"
    )
    return condition, (tx.namespace, *lanes, tx.now, tx.now + FARTHEST, *topics)


def _take_lanes(tx: Transaction, lanes: Collection[str]) -> dict[str, int]:
    """Take calls that nobody else takes at the same time; tell their fences."""
    rows = ", ".join(["(?, ?, ?, 0)"] * len(lanes))
    values = chain.from_iterable((tx.namespace, lane, tx.owner) for lane in lanes)
    return dict(
        tx.rows(
            f"INSERT INTO lanes (ns, lane, owner, suspect) VALUES {rows}"
            " ON CONFLICT DO NOTHING RETURNING lane, fence",
            *values,
        )
    )


def _first_of(
    tx: Transaction, lanes: Collection[str], topics: Collection[str], *, only: str
) -> list[_Due]:
    """Read the first event of each call that is due."""
    if not lanes:
        return []
    due, values = _due_of(tx, lanes, topics, only=only)
    rows = tx.rows(f"SELECT {_COLUMNS} {_FROM} WHERE {due} ORDER BY e.id DESC", *values)
    first = {event.lane: event for event in (_Due(*row) for row in rows)}
    return sorted(first.values(), key=lambda event: (event.run_at, event.id))


def _take_all(
    tx: Transaction, events: Collection[_Due], fences: Mapping[str, int], *, tries: int
) -> list[Claim]:
    """Claim events whose calls are ours already; let go of calls of which none is claimed."""
    mine: list[_Due] = []
    suspected = False
    for event in events:
        if event.attempts >= tries:
            _give_up(tx, event)
        elif not (suspected and event.is_suspect):
            suspected = suspected or event.is_suspect
            mine.append(event)
    _let_go(tx, set(fences.values()) - {fences[event.lane] for event in mine})
    _count_tries(tx, mine)
    for event in mine:
        if event.is_suspect:
            tx.change("UPDATE lanes SET suspect = 1 WHERE fence = ?", fences[event.lane])
    return [_claimed(event, fence=fences[event.lane], now=tx.now) for event in mine]


def _let_go(tx: Transaction, fences: Collection[int]) -> None:
    if fences:
        tx.change(f"DELETE FROM lanes WHERE fence IN {several(fences)}", *fences)


def _count_tries(tx: Transaction, events: Collection[_Due]) -> None:
    if events:
        tx.change(
            "UPDATE events SET attempts = attempts + 1, error = NULL"
            f" WHERE id IN {several(events)}",
            *(event.id for event in events),
        )


def _give_up(tx: Transaction, event: _Due) -> None:
    _bury(tx, event.id, event.error or _KILLED)
    _logger.error(
        "a delivery is a dead letter now: %s", event.error or _KILLED,
        extra={"event_id": event.id, "attempts": event.attempts, "outcome": "dead"},
    )  # fmt: skip


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


def _claimed(event: _Due, *, fence: int, now: float) -> Claim:
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
        waited=max(0.0, now - max(event.run_at, event.made_at)),
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
    def read(cls, tx: Transaction, claim: Claim, *, done: Collection[str]) -> _Held:
        """Read what a claim holds; `done`: all who have seen it, before and under this claim."""
        ((_, held),) = _held(tx, [(claim, done)])
        return held

    @property
    def up_to_date(self) -> dict[str, int]:
        """Those who have seen all that is known."""
        return {name: told for name, told in self.seen.items() if told == self.revision}

    def is_behind(self, claim: Claim) -> bool:
        """Tell whether more is known than some of them have seen."""
        return self.revision > claim.revision or len(self.up_to_date) < len(self.seen)


def _held(
    tx: Transaction, claims: Sequence[tuple[Claim, Collection[str]]]
) -> list[tuple[Claim, _Held]]:
    """Read what claims hold, which nobody else may change until this is committed.

    Events before lanes, as who claims keeps them, or they would wait for each other.
    """
    if not claims:
        return []
    rows = tx.rows(
        "SELECT id, revision, done FROM events"
        f" WHERE id IN {several(claims)} ORDER BY id{tx.for_update}",
        *(claim.event_id for claim, _ in claims),
    )
    found = {event: (revision, done) for event, revision, done in rows}
    return [
        (claim, _Held(revision, {**_from_text(text), **_seen_now(claim, done)}))
        for claim, done in claims
        # What was pruned at the very moment at which it was claimed is known no more.
        for revision, text in (found.get(claim.event_id, (claim.revision, "")),)
    ]


def _seen_now(claim: Claim, done: Collection[str]) -> dict[str, int]:
    return {name: claim.revision for name in done if name not in claim.done}


def progress(tx: Transaction, claim: Claim, *, done: Collection[str]) -> bool:
    """Write down which handlers have seen an event; False where it is no longer ours."""
    held = _Held.read(tx, claim, done=done)
    if not _is_ours(tx, claim):
        return False
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
    return finish_together(tx, [(claim, done)])[0]


def finish_together(
    tx: Transaction, finished: Sequence[tuple[Claim, Collection[str]]]
) -> list[bool]:
    """Write down that events have reached their handlers; tell of each whether it was ours."""
    all_held = _held(tx, finished)
    ours = _leave_all(tx, [claim for claim, _ in finished])
    delivered: dict[int, list[int]] = {}
    for claim, held in all_held:
        if claim.fence not in ours:
            continue
        if held.is_behind(claim):
            _wait_again(tx, claim, held)
        else:
            delivered.setdefault(claim.revision, []).append(claim.event_id)
    for revision, events in delivered.items():
        tx.change(
            f"{_DELIVERED} state = 'done', done = '' WHERE id IN {several(events)}",
            revision, AT_ONCE, *events,
        )  # fmt: skip
    return [claim.fence in ours for claim, _ in finished]


_DELIVERED = (
    "UPDATE events SET delivered = ?, attempts = 0, error = NULL, run_at = ?,"
    " topic = replace(topic, 'callback.', 'update.'),"
)


def _wait_again(tx: Transaction, claim: Claim, held: _Held) -> None:
    tx.change(
        f"{_DELIVERED} state = 'waiting', done = ? WHERE id = ?",
        claim.revision, AT_ONCE, _to_text(held.up_to_date), claim.event_id,
    )  # fmt: skip


def fail(
    tx: Transaction, claim: Claim, *, error: str, wait: float | None, done: Collection[str]
) -> bool:
    """Write down that handlers failed: again in so many seconds, or never more for None.

    What became known meanwhile has all its tries before it.
    """
    held = _Held.read(tx, claim, done=done)
    if not _leave(tx, claim):
        return False
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
    held = _Held.read(tx, claim, done=done)
    if not _leave(tx, claim):
        return False
    tx.change(
        "UPDATE events SET done = ?, run_at = ?,"
        " attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE id = ?",
        _to_text(held.seen), AT_ONCE, claim.event_id,
    )  # fmt: skip
    return True


def _is_ours(tx: Transaction, claim: Claim) -> bool:
    held = f"SELECT 1 FROM lanes WHERE fence = ? AND owner = ?{tx.for_update}"
    return one(tx, held, claim.fence, tx.owner) is not None


def _leave(tx: Transaction, claim: Claim) -> bool:
    return bool(_leave_all(tx, [claim]))


def _leave_all(tx: Transaction, claims: Collection[Claim]) -> set[int]:
    """Let go of calls; tell the fences of those that were ours."""
    rows = tx.rows(
        f"DELETE FROM lanes WHERE owner = ? AND fence IN {several(claims)} RETURNING fence",
        tx.owner, *(claim.fence for claim in claims),
    )  # fmt: skip
    return {fence for (fence,) in rows}


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
    if not topics:
        return None
    only = _unsuspected(tx)
    part = (
        "(SELECT e.run_at FROM events e WHERE e.ns = ? AND e.topic = ? AND e.state = 'waiting'"
        f" {only} {_FREE} ORDER BY e.run_at, e.id LIMIT 1)"
    )
    (times,) = tx.rows(
        f"SELECT {', '.join([part] * len(topics))}",
        *chain.from_iterable((tx.namespace, topic) for topic in topics),
    )
    found = [time for time in times if time is not None]
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
