"""Ways to build a fleet wrong, by name: the oracle must see each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import attrs

from exotel_async.journal import delivering, dialling
from exotel_async.journal.journal import Journal
from exotel_async.journal.records import Recorded

_SOON = 0.1  # seconds of real time


def install(name: str | None) -> None:
    """Build it wrong in this way."""
    if name is not None:
        MUTANTS[name]()


def _mark_without_a_fence() -> None:
    def leave_all(tx: Any, claims: Collection[Any]) -> set[int]:
        for claim in claims:
            tx.change("DELETE FROM lanes WHERE fence = ?", claim.fence)
        return {claim.fence for claim in claims}

    delivering._leave_all = leave_all
    delivering._is_ours = lambda tx, claim: True


def _take_what_others_hold() -> None:
    def take(tx: Any, lanes: Collection[str]) -> dict[str, int]:
        taken = {}
        for lane in lanes:
            rows = tx.rows(
                "INSERT INTO lanes (ns, lane, owner, suspect) VALUES (?, ?, ?, 0)"
                " ON CONFLICT (ns, lane) DO UPDATE SET owner = excluded.owner,"
                " fence = nextval(pg_get_serial_sequence('lanes', 'fence'))"
                " RETURNING lane, fence",
                tx.namespace, lane, tx.owner,
            )  # fmt: skip
            taken.update(rows)
        return taken

    delivering._take_lanes = take


def _no_second_look() -> None:
    """Claim what was due before the call was ours, though others may have done it since."""
    due, first_of = delivering._due, delivering._first_of
    seen: dict[str, Any] = {}

    def look(tx: Any, topics: Collection[str], **options: Any) -> Any:
        found = due(tx, topics, **options)
        lanes = {row[2] for row in found}
        seen.clear()
        for event in first_of(tx, lanes, topics, only=options["only"]):
            seen[event.lane] = event
        return found

    delivering._due = look
    delivering._first_of = lambda tx, lanes, topics, *, only: [
        seen[lane] for lane in lanes if lane in seen
    ]


def _200_before_the_commit() -> None:
    record = Journal.record

    def later(self: Journal, receipt: Any) -> Any:
        loop = asyncio.get_running_loop()
        loop.call_later(_SOON, lambda: record(self, receipt))
        future: asyncio.Future[Any] = loop.create_future()
        future.set_result(Recorded.NEW)
        return future

    Journal.record = later  # type: ignore[method-assign]


def _always_fresh() -> None:
    intend = dialling.intend

    def fresh(tx: Any, new: Any, **options: Any) -> Any:
        found = intend(tx, new, **options)
        if found.fresh:
            return found
        return attrs.evolve(found, record=dialling._insert(tx, new, attempt=2), fresh=True)

    dialling.intend = fresh


MUTANTS: dict[str, Callable[[], None]] = {
    "a mark without a fence": _mark_without_a_fence,
    "a lane taken that another holds": _take_what_others_hold,
    "no second look once a lane is taken": _no_second_look,
    "200 before the commit": _200_before_the_commit,
    "every key is new": _always_fresh,
}
