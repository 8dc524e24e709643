"""How is one dial sent: written down, tried, written down again, whoever may still wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

import attrs

from exotel_async.client.door import Door
from exotel_async.errors import (
    ApiError,
    ClientClosedError,
    JournalError,
    KeyReusedError,
    NotSentError,
    OutcomeUnknownError,
    mask_secrets,
)
from exotel_async.journal import Journal
from exotel_async.journal.records import Answered, DialRecord, Intended
from exotel_async.models.calls import Call
from exotel_async.models.dials import Dial, DialState

from .orders import Order

T = TypeVar("T")

PATIENCE = 5.0  # seconds from the moment a try is written down to the last at which it may begin
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds before a record is tried again

_logger = logging.getLogger("exotel_async.dialer")


class BookKeeper:
    """Writes down each try of a dial before it begins; what is late does not begin."""

    def __init__(self, journal: Journal, ref: str) -> None:
        self.in_flight: bool = False  # whether a phone may be ringing
        self.stopped: bool = False
        self._journal = journal
        self._ref = ref
        self._not_after = 0.0  # by the time of day
        self._until = 0.0  # by the monotonic clock

    async def before_try(self) -> None:
        """Write down that a try begins; raises where it must not."""
        if self.stopped:
            raise NotSentError("the dialer is being closed")
        began = self._journal.clock.monotonic()
        not_after = await self._journal.sending(self._ref, patience=PATIENCE)
        if not_after is None:
            raise NotSentError("this dial is not ours to send any more, says the journal")
        self._not_after, self._until = not_after, began + PATIENCE

    def leave(self) -> None:
        """See that it is not too late, by either clock: whoever slept may be thought dead."""
        clock = self._journal.clock
        if clock.now().timestamp() > self._not_after or clock.monotonic() > self._until:
            raise NotSentError("too late for this try: it was written down too long ago")
        self.in_flight = True

    async def after_harmless_try(self) -> None:
        """Write down that nothing rings, so that a crash from here on leaves no doubt."""
        self.in_flight = False
        await self._journal.unsent(self._ref)


class Sending:
    """One dial on its way; it goes on when those who asked for it are gone."""

    def __init__(self, order: Order, *, journal: Journal, door: Door) -> None:
        loop = asyncio.get_running_loop()
        self.intended: asyncio.Future[Intended] = _quiet(loop.create_future())
        self.dial: asyncio.Future[Dial] = _quiet(loop.create_future())
        self.answer: Answered | None = None
        self.late: bool = False  # whether its record had to be tried again
        self._order = order
        self._ref = order.new.ref
        self._journal = journal
        self._door = door
        self._keeper = BookKeeper(journal, self._ref)
        self._record: DialRecord | None = None
        self.trying: asyncio.Task[Call] | None = None

    async def run(self, *, fits: Callable[[str], bool | None]) -> None:
        """Dial, unless the key is known; write down what it came to."""
        try:
            await self._run(fits)
        finally:  # cancelled, that is: whoever waits must not wait for ever
            self._tell_the_rest()

    async def _run(self, fits: Callable[[str], bool | None]) -> None:
        new, retry_if = self._order.new, self._order.retry_if
        try:
            intended = await self._journal.intend(new, retry_if=retry_if, fits=fits)
        except KeyReusedError as error:
            _tell(self.intended, error)
        except JournalError as error:
            _tell(self.intended, error)
            await self._give_up(error)
        else:
            _tell(self.intended, intended)
            if intended.fresh:
                await self._dial(intended.record)

    def _tell_the_rest(self) -> None:
        if self._record is not None:
            lost = _lost("the dialer was closed", in_flight=self._keeper.in_flight)
            _tell(self.dial, shown(self._record, self.answer or lost))
        _tell(self.intended, JournalError("the dialer was closed before the journal answered"))

    def stop(self, *, at_once: bool = False) -> None:
        """Begin no further try; give up what is not in flight, or `at_once` all of it."""
        self._keeper.stopped = True
        if self.trying is not None and (at_once or not self._keeper.in_flight):
            self.trying.cancel()

    async def _dial(self, record: DialRecord) -> None:
        self._record = record
        self.trying = asyncio.create_task(
            self._door.send(self._order.request, escort=self._keeper),
            name=f"exotel_async dial {self._ref}",
        )
        if self._keeper.stopped:
            self.trying.cancel()
        try:
            await asyncio.wait({self.trying})
        finally:
            self.trying.cancel()  # only where we ourselves are cancelled
        answer, failure = told_by(self.trying, in_flight=self._keeper.in_flight)
        self.answer = answer
        await self._write_down(record, answer, failure)

    async def _write_down(
        self, record: DialRecord, answer: Answered, failure: JournalError | None
    ) -> None:
        """Record the answer; who waits is told at the latest when the first attempt failed."""
        try:
            told = await self._journal.answered(self._ref, answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, a phone may be ringing
            self.late = True
            _log_late(self._ref, answer, error)
            _tell(self.dial, failure or shown(record, answer))
            await self._write_down_again(answer)
        else:
            _tell(self.dial, failure or shown(told or record, answer))

    async def _write_down_again(self, answer: Answered) -> None:
        pause = _SHORTEST_PAUSE
        written = False
        try:
            while not written:
                await self._journal.clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                written = await self._is_written(answer)
        finally:
            if not written:
                _logger.error(
                    "dial %s is %s (call %s), which could not be written down",
                    self._ref, answer.state, answer.call_sid, extra=_extra(self._ref, answer),
                )  # fmt: skip

    async def _is_written(self, answer: Answered) -> bool:
        try:
            await self._journal.answered(self._ref, answer)
        except Exception as error:  # noqa: BLE001 - as above
            _log_late(self._ref, answer, error)
            return False
        return True

    async def _give_up(self, error: JournalError) -> None:
        """Take back an intention that may have been written down in spite of the error."""
        answer = Answered(state=DialState.NOT_SENT, error=error)
        if not await self._is_written(answer):
            await self._write_down_again(answer)


def told_by(done: asyncio.Task[Call], *, in_flight: bool) -> tuple[Answered, JournalError | None]:
    """Tell what a dial came to by how its sending ended; and what its caller must be told.

    `in_flight`: whether a request had left that may have rung a phone.
    """
    if done.cancelled():
        return _lost("the dialer was closed before the answer came", in_flight=in_flight), None
    error = done.exception()
    if error is None:
        return _placed(done.result().sid), None
    if isinstance(error, OutcomeUnknownError):
        return Answered(state=DialState.UNKNOWN, error=error), None
    if isinstance(error, ApiError):  # all others of these are refusals: the door sees to that
        return Answered(state=DialState.REFUSED, error=error), None
    if isinstance(error, NotSentError | ClientClosedError | JournalError) and not in_flight:
        failure = error if isinstance(error, JournalError) else None
        return Answered(state=DialState.NOT_SENT, error=error), failure
    _logger.error("something unforeseen happened to a dial", exc_info=error)
    return _lost(
        f"something unforeseen happened ({type(error).__name__})", in_flight=in_flight
    ), None


def _placed(sid: str) -> Answered:
    """Take in the call that Exotel names; JSON can spell what nothing can store or ask for."""
    try:
        sid.encode()
    except UnicodeEncodeError:
        return _lost("the answer names a call that no text can spell", in_flight=True)
    return Answered(state=DialState.PLACED, call_sid=sid)


def _lost(why: str, *, in_flight: bool) -> Answered:
    if in_flight:
        return Answered(state=DialState.UNKNOWN, error=OutcomeUnknownError(f"{why}."))
    return Answered(state=DialState.NOT_SENT, error=NotSentError(why))


def shown(record: DialRecord, answer: Answered) -> Dial:
    """Make what the caller is given: the record, with the answer's own error and sid."""
    dial = record.dial()
    if dial.state in (DialState.INTENDED, answer.state):
        return attrs.evolve(
            dial,
            state=str(answer.state),
            call_sid=answer.call_sid or dial.call_sid,
            error=answer.error,
        )
    return dial


def _quiet(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """Have nobody complain where nobody is left to hear of an error."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _tell(future: asyncio.Future[T], told: T | Exception) -> None:
    if future.done():  # whoever waited was cancelled
        return
    if isinstance(told, Exception):
        future.set_exception(told)
    else:
        future.set_result(told)


def _extra(ref: str, answer: Answered) -> dict[str, object]:
    return {"dial": ref, "call_sid": answer.call_sid, "state": str(answer.state)}


def _log_late(ref: str, answer: Answered, error: Exception) -> None:
    _logger.warning(
        "dial %s is %s, which could not be written down yet: %s",
        ref, answer.state, mask_secrets(str(error)) or type(error).__name__,
        extra=_extra(ref, answer),
    )  # fmt: skip
