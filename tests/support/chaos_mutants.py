"""Ways to build it wrong, by name: each must make a run end badly, or the runs prove nothing.

A mutant is put into the process under test alone, before the points at which it may end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import attrs

from exotel_async.client.transport import Transport
from exotel_async.dialer.sending import BookKeeper
from exotel_async.errors import NoAnswerError, NotSentError
from exotel_async.journal import delivering, dialling, outcomes, receiving
from exotel_async.journal.journal import Journal
from exotel_async.journal.orders import answer
from exotel_async.journal.records import Intended, Recorded
from exotel_async.journal.writer import Writer
from exotel_async.models.dials import DialState

_SOON = 0.1  # seconds of real time

MUTANTS: dict[str, Callable[[], None]] = {}


def install(name: str | None) -> None:
    """Build it wrong in this way."""
    if name is not None:
        MUTANTS[name]()


def _mutant(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def enter(function: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[name] = function
        return function

    return enter


def _done(result: object) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future


@_mutant("commit after the 200")
def _commit_after_the_200() -> None:
    record = Journal.record

    def later(self: Journal, receipt: Any) -> Any:
        loop = asyncio.get_running_loop()
        loop.call_later(_SOON, lambda: record(self, receipt))
        return _done(Recorded.NEW)

    Journal.record = later  # type: ignore[method-assign]


@_mutant("200 without a commit")
def _200_without_a_commit() -> None:
    Journal.record = lambda self, receipt: _done(Recorded.NEW)  # type: ignore[method-assign]


@_mutant("told before the COMMIT")
def _told_before_the_commit() -> None:
    carry_out_all = Writer._carry_out_all

    def at_once(self: Writer, orders: Any, tx: Any) -> None:
        carry_out_all(self, orders, tx)
        answer([order for order in orders if order.loop is not None])
        time.sleep(_SOON)

    Writer._carry_out_all = at_once  # type: ignore[method-assign]


@_mutant("mark without a fence")
def _mark_without_a_fence() -> None:
    def leave_all(tx: Any, claims: Any) -> set[int]:
        for claim in claims:
            tx.change("DELETE FROM lanes WHERE fence = ?", claim.fence)
        return {claim.fence for claim in claims}

    delivering._leave_all = leave_all
    delivering._is_ours = lambda tx, claim: True


@_mutant("done before its handlers")
def _done_before_its_handlers() -> None:
    claim = delivering.claim

    def claimed(tx: Any, *args: Any, **kwargs: Any) -> Any:
        taken = claim(tx, *args, **kwargs)
        for one in taken:
            tx.change("UPDATE events SET state = 'done' WHERE id = ?", one.event_id)
        return taken

    delivering.claim = claimed


@_mutant("attempts counted at the end")
def _attempts_counted_at_the_end() -> None:
    delivering._count_tries = lambda tx, events: None


@_mutant("progress forgotten")
def _progress_forgotten() -> None:
    delivering.progress = lambda tx, claim, *, done: True


@_mutant("failure taken for success")
def _failure_taken_for_success() -> None:
    delivering.fail = lambda tx, claim, *, error, wait, done: delivering.finish(tx, claim)


@_mutant("released for good")
def _released_for_good() -> None:
    delivering.release = lambda tx, claim, *, done: delivering.finish(tx, claim)


@_mutant("no dedupe")
def _no_dedupe() -> None:
    receiving.digest_of = lambda pairs, *, scope: uuid4().bytes
    receiving.identity_of = lambda event, *, digest: digest.hex()


@_mutant("intent after the POST")
def _intent_after_the_post() -> None:
    intend, sending, answered = Journal.intend, Journal.sending, Journal.answered
    kept: dict[str, tuple[Any, Any]] = {}

    def not_yet(self: Journal, new: Any, **options: Any) -> Any:
        async def look() -> Intended:
            found = await self.find(new.account, new.key)
            if found is not None:
                return Intended(record=found[0], fresh=False, outcome=found[1])
            kept[new.ref] = (new, options)
            record = dialling.DialRecord(
                ref=new.ref, account=new.account, key=new.key, attempt=1, owner="", arguments={},
                state=DialState.INTENDED, longest=new.longest, intended_at=0.0,
            )  # fmt: skip
            return Intended(record=record, fresh=True)

        return asyncio.ensure_future(look())

    def after_all(self: Journal, ref: str, answer: Any) -> Any:
        async def write() -> Any:
            new, options = kept.pop(ref)
            await intend(self, new, **options)
            await sending(self, ref, patience=5.0)
            return await answered(self, ref, answer)

        return asyncio.ensure_future(write())

    Journal.intend = not_yet  # type: ignore[method-assign]
    Journal.sending = (  # type: ignore[method-assign]
        lambda self, ref, *, patience: _done(self.clock.now().timestamp() + patience)
    )
    Journal.unsent = lambda self, ref: _done(True)  # type: ignore[method-assign]
    Journal.answered = after_all  # type: ignore[method-assign]


@_mutant("sending not committed")
def _sending_not_committed() -> None:
    dialling.sending = lambda tx, ref, *, patience: tx.now + patience


@_mutant("a dead owner's sending taken for not sent")
def _sending_taken_for_not_sent() -> None:
    dialling.after_death = lambda record: attrs.evolve(
        record, state=DialState.NOT_SENT, next_check=None
    )


@_mutant("the dead not buried")
def _the_dead_not_buried() -> None:
    dialling.recover = lambda tx, owner: 0
    from exotel_async.journal import owners

    owners.recover = dialling.recover


@_mutant("a sid forgotten")
def _a_sid_forgotten() -> None:
    dialling.after_answer = lambda record, answered, *, now: record


@_mutant("unknown taken for unsent")
def _unknown_taken_for_unsent() -> None:
    answered = dialling.answered

    def told(tx: Any, ref: str, answer: Any) -> Any:
        if answer.state == DialState.UNKNOWN:
            answer = attrs.evolve(answer, state=DialState.NOT_SENT)
        return answered(tx, ref, answer)

    dialling.answered = told


@_mutant("a reset taken for not sent")
def _a_reset_taken_for_not_sent() -> None:
    exchange = Transport.exchange

    async def exchanged(self: Transport, envelope: Any) -> Any:
        try:
            return await exchange(self, envelope)
        except NoAnswerError as error:
            raise NotSentError("no connection") from error

    Transport.exchange = exchanged  # type: ignore[method-assign]


@_mutant("a look that is the last")
def _a_look_that_is_the_last() -> None:
    due = dialling.due

    def taken(tx: Any, account: str, *, most: int) -> Any:
        found = due(tx, account, most=most)
        for one in found:
            tx.change("UPDATE dials SET next_check = NULL WHERE ref = ?", one.record.ref)
        return found

    dialling.due = taken


@_mutant("put off for ever")
def _put_off_for_ever() -> None:
    put_off = dialling.put_off
    dialling.put_off = lambda tx, ref, *, until, asked: put_off(tx, ref, until=None, asked=asked)


@_mutant("a forgery never taken back")
def _a_forgery_never_taken_back() -> None:
    dialling.reject = lambda tx, ref, *, call_sid: None


@_mutant("an outcome not announced")
def _an_outcome_not_announced() -> None:
    outcomes._announce = lambda tx, outcome, *, account, namespace: None


@_mutant("a late dial sent all the same")
def _a_late_dial_sent() -> None:
    BookKeeper.leave = lambda self: setattr(self, "in_flight", True)  # type: ignore[method-assign]
