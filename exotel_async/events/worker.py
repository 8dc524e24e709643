"""Who brings what the journal holds to its handlers: claims it, runs them, says how it went."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

import attrs

from exotel_async.errors import ConfigurationError, mask_secrets

from .retrying import journal_delay, retry_delay

if TYPE_CHECKING:
    from exotel_async.journal import Journal
    from exotel_async.journal.records import Claim

Handlers = Sequence[tuple[str, Callable[[], Awaitable[None]]]]
"""Names that are the same after a restart, and the calls that they stand for."""

_LOOK_ANYWAY = 30.0  # seconds of real time after which the journal is asked whatever it told
_LAST_WORDS = 5.0  # seconds that a handler has to end, once it was cancelled for good
_LAST_MARKS = 5.0  # seconds that the journal has then, to take back what was claimed
_LONGEST_ERROR = 500  # characters of what is kept of one failure

_COUNTERS = (
    "delivered_total", "failed_total", "dead_total", "released_total", "lost_leases_total",
    "journal_errors_total",
)  # fmt: skip

_logger = logging.getLogger("exotel_async.events")


class Desk(Protocol):
    """Knows what is delivered, and to whom."""

    def topics(self) -> Collection[str]:
        """List the topics that have a handler: nothing else is claimed."""
        ...

    async def handlers_for(self, claim: Claim) -> Handlers:
        """Read what a claim means, and bind it to each handler, in order."""
        ...


class _End(Enum):
    """How a handler ended, or all those of a claim."""

    RAN = auto()  # by itself, well or not
    LATE = auto()  # cancelled, since its time was over
    STOPPED = auto()  # cancelled, since we are closed
    STUCK = auto()  # cancelled, but it runs on
    LOST = auto()  # the claim is somebody else's by now


@attrs.define(eq=False)
class _Try:
    """One claim, and what became of it so far."""

    claim: Claim
    done: set[str]
    failures: list[str] = attrs.field(factory=list)

    def extra(self, **more: object) -> dict[str, object]:
        """Spell what a log record of it carries."""
        delivery_id = mask_secrets(self.claim.delivery_id)
        return {"delivery_id": delivery_id, "attempts": self.claim.attempts, **more}


class DeliveryWorker:
    """Claims what is due and awaits its handlers, several calls at once, each in its order.

    - `handler_timeout`: seconds that each handler has.
    - `tries`: how often an event is tried before it becomes a dead letter.
    - `concurrency`: calls whose handlers run at once.

    Handlers that finished are not run again for the same event; those that failed are, later. A
    journal that fails is asked again until it works.
    """

    def __init__(
        self,
        journal: Journal,
        desk: Desk,
        *,
        handler_timeout: float = 60.0,
        tries: int = 8,
        concurrency: int = 32,
    ) -> None:
        self._journal = journal
        self._desk = desk
        self._handler_timeout = handler_timeout
        self._tries = tries
        self._concurrency = concurrency
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))
        self._main: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._stuck: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def running(self) -> bool:
        """Tell whether somebody looks after what was claimed, and claims unless draining."""
        return self._main is not None and not self._main.done()

    async def start(self) -> None:
        """Begin to claim; raises JournalError where the journal can't be read."""
        if self.running:
            raise ConfigurationError("the delivery worker runs already")
        await self._journal.next_event(self._desk.topics())
        self._draining = False
        self._wake = asyncio.Event()
        self._stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._main = asyncio.create_task(self._run(), name="exotel_async delivery")
        self._main.add_done_callback(_tell_of_end)

    def drain(self) -> None:
        """Claim nothing any more; what was claimed goes on."""
        self._draining = True
        if self._main is not None:
            self._wake.set()

    async def close(self, *, grace: float = 10.0) -> None:
        """Give handlers so many seconds, then cancel them and give back what they had."""
        self.drain()
        main, self._main = self._main, None
        if main is None:
            return
        try:
            await asyncio.wait({main}, timeout=grace)
        finally:  # whoever cancels us has no time to lose, but leaves nothing behind either
            await self._stop(main)

    def stats(self) -> Mapping[str, int]:
        """Count deliveries since the start of the process, and those that are under way."""
        return {**self._counts, "under_way": len(self._under_way)}

    async def _stop(self, main: asyncio.Task[None]) -> None:
        if not self._stopping.done():
            self._stopping.set_result(None)
        try:
            await asyncio.wait({main}, timeout=_LAST_WORDS + _LAST_MARKS)
        finally:
            main.cancel()

    # Claiming.

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            failures = 0
            while not self._draining:
                try:
                    await self._claim(group)
                    failures = 0
                except Exception as error:  # noqa: BLE001 - events wait, whatever it was
                    failures += 1
                    self._tell_of_trouble("claim", error, {})
                    await self._pause(failures, unless=self._wake.wait())

    async def _claim(self, group: asyncio.TaskGroup) -> None:
        """Take what is due; where there is nothing, wait for it."""
        self._wake.clear()
        free = self._concurrency - len(self._under_way)
        if free <= 0:
            await self._wake.wait()
            return
        version, topics = self._journal.version, self._desk.topics()
        due = await self._journal.next_event(topics)
        wait = None if due is None else due - self._journal.clock.now().timestamp()
        if (wait is None or wait > 0) and await self._something_happens(version, within=wait):
            return
        if self._draining:
            return
        for claim in await self._journal.claim(topics, most=free, tries=self._tries):
            task = group.create_task(self._serve(claim))
            self._under_way.add(task)
            task.add_done_callback(self._served)

    async def _something_happens(self, version: int, *, within: float | None) -> bool:
        """Wait for a commit; False where time alone has passed, so that something may be due."""
        waits = {
            asyncio.ensure_future(self._journal.changed(since=version, within=within)),
            asyncio.ensure_future(self._wake.wait()),
        }
        try:
            # The clock may have been set, or a message lost: by and by we look without a reason.
            done, _ = await asyncio.wait(
                waits, timeout=_LOOK_ANYWAY, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return any(wait.result() for wait in done)

    def _served(self, task: asyncio.Task[None]) -> None:
        if len(self._under_way) >= self._concurrency:
            self._wake.set()
        self._under_way.discard(task)

    # Delivering.

    async def _serve(self, claim: Claim) -> None:
        """Deliver one claim and write down how it went."""
        attempt = _Try(claim, done=set(claim.done))
        try:
            end = _End.STOPPED if self._draining else await self._run_handlers(attempt)
        except Exception as error:  # noqa: BLE001 - the desk's: kept as the failure of this try
            self._tell_of_failure(attempt, "(reading it)", error)
            end = _End.RAN
        await self._close_books(attempt, end)

    async def _close_books(self, attempt: _Try, end: _End) -> None:
        if end is _End.STOPPED:
            await self._give_back(attempt)
        elif end is _End.STUCK:
            await self._note_stuck(attempt)
        elif end is _End.RAN and attempt.failures:
            await self._note_failure(attempt)
        elif end is _End.RAN and await self._mark(
            attempt, lambda: self._journal.finish(attempt.claim, done=attempt.done)
        ):
            self._counts["delivered_total"] += 1
            _logger.debug("delivered", extra=attempt.extra(outcome="delivered"))

    async def _give_back(self, attempt: _Try) -> None:
        claim, done = attempt.claim, attempt.done
        if await self._mark(attempt, lambda: self._journal.release(claim, done=done)):
            self._counts["released_total"] += 1

    async def _note_stuck(self, attempt: _Try) -> None:
        claim, done = attempt.claim, attempt.done
        error = "; ".join(attempt.failures)
        await self._mark(attempt, lambda: self._journal.stuck(claim, error=error, done=done))

    async def _note_failure(self, attempt: _Try) -> None:
        claim, done = attempt.claim, attempt.done
        error = "; ".join(attempt.failures)
        wait = retry_delay(claim.attempts, tries=self._tries)
        noted = await self._mark(
            attempt, lambda: self._journal.fail(claim, error=error, wait=wait, done=done)
        )
        if not noted:
            return
        self._counts["failed_total"] += 1
        if wait is None:
            self._counts["dead_total"] += 1
            _logger.error(
                "gave up %s after %d tries: it is a dead letter now",
                mask_secrets(claim.delivery_id),
                claim.attempts,
                extra=attempt.extra(outcome="dead"),
            )

    async def _run_handlers(self, attempt: _Try) -> _End:
        """Await those that have not seen it yet, one after the other; note each that has."""
        handlers = await self._desk.handlers_for(attempt.claim)
        left = [(name, call) for name, call in handlers if name not in attempt.done]
        for place, (name, call) in enumerate(left, start=1):
            end = await self._run_one(attempt, name, call)
            if end in (_End.STOPPED, _End.STUCK):
                return end
            if place < len(left) and not await self._note_progress(attempt, name):
                return _End.LOST
        return _End.RAN

    async def _run_one(self, attempt: _Try, name: str, call: Callable[[], Awaitable[None]]) -> _End:
        if self._stopping.done():
            return _End.STOPPED
        # In a task of its own a handler may do to cancellations what it likes.
        handler = asyncio.create_task(_awaited(call), name=f"exotel_async handler {name}")
        try:
            end = await self._end_of(handler)
        finally:
            handler.cancel()  # only where we ourselves are cancelled
        if end is _End.STUCK:
            self._leave_alone(attempt, name, handler)
            return end
        error = _error_of(handler)
        if end is _End.LATE:
            self._tell_of_failure(attempt, name, self._lateness(error))
        elif end is _End.RAN and error is not None:
            self._tell_of_failure(attempt, name, error)
        elif end is _End.RAN:
            attempt.done.add(name)
        return end

    def _lateness(self, error: BaseException | None) -> TimeoutError:
        late = TimeoutError(f"took more than {self._handler_timeout:g} s")
        late.__cause__ = error  # its traceback says where it was
        return late

    async def _end_of(self, handler: asyncio.Task[None]) -> _End:
        """Wait for a handler until its time is over, or ours; then see that it ends."""
        both = {handler, self._stopping}
        first = asyncio.FIRST_COMPLETED
        await asyncio.wait(both, timeout=self._handler_timeout, return_when=first)
        if handler.done():
            return _End.RAN
        handler.cancel()
        late = not self._stopping.done()
        if late:
            await asyncio.wait(both, return_when=first)
        await asyncio.wait({handler}, timeout=_LAST_WORDS)
        if not handler.done():
            return _End.STUCK
        return _End.LATE if late else _End.STOPPED

    def _leave_alone(self, attempt: _Try, name: str, handler: asyncio.Task[None]) -> None:
        """Let a handler run on that can't be ended; its event stays claimed as long as we live."""
        self._stuck.add(handler)
        attempt.failures.append(f"{name}: does not end, though it was cancelled"[:_LONGEST_ERROR])
        handler.add_done_callback(self._stuck.discard)
        _logger.error(
            "handler %s does not end, though it was cancelled", name,
            extra=attempt.extra(handler=name, outcome="stuck"),
        )  # fmt: skip

    # Telling the journal, and the log.

    async def _note_progress(self, attempt: _Try, name: str) -> bool:
        """Note who has seen it; False where it is no longer ours to go on with."""
        if name not in attempt.done:
            return True
        claim, done = attempt.claim, attempt.done
        try:
            ours = await self._journal.progress(claim, done=done)
        except Exception as error:  # noqa: BLE001 - the last mark tells all of it once more
            self._tell_of_trouble("note who has seen an event", error, attempt.extra(handler=name))
            return True
        return ours or self._tell_of_loss(attempt)

    async def _mark(self, attempt: _Try, write: Callable[[], Awaitable[bool]]) -> bool:
        """Write down how it went, whatever it takes: what stays claimed holds up its call."""
        failures = 0
        while True:
            try:
                return await write() or self._tell_of_loss(attempt)
            except Exception as error:  # noqa: BLE001 - the journal's; it may work again
                failures += 1
                self._tell_of_trouble("say how a delivery went", error, attempt.extra())
            if self._stopping.done():  # whoever takes over our claims delivers it again
                return False
            await self._pause(failures, unless=asyncio.shield(self._stopping))

    async def _pause(self, failures: int, *, unless: Awaitable[object]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(journal_delay(failures)):
                await unless

    def _tell_of_failure(self, attempt: _Try, name: str, error: BaseException) -> None:
        said = mask_secrets(f"{name}: {_said(error)}")[:_LONGEST_ERROR]
        attempt.failures.append(said)
        _logger.error(
            "handler %s failed for %s, try %d",
            name, mask_secrets(attempt.claim.delivery_id), attempt.claim.attempts, exc_info=error,
            extra=attempt.extra(handler=name, outcome="failed"),
        )  # fmt: skip

    def _tell_of_loss(self, attempt: _Try) -> bool:
        self._counts["lost_leases_total"] += 1
        _logger.warning(
            "late mark refused: somebody else delivers %s by now",
            mask_secrets(attempt.claim.delivery_id), extra=attempt.extra(outcome="lost"),
        )  # fmt: skip
        return False

    def _tell_of_trouble(self, doing: str, error: Exception, extra: dict[str, object]) -> None:
        self._counts["journal_errors_total"] += 1
        _logger.error("could not %s: %s", doing, mask_secrets(_said(error)), extra=extra)


def _tell_of_end(main: asyncio.Task[None]) -> None:
    error = None if main.cancelled() else main.exception()
    if error is not None:
        _logger.critical("delivery has ended: events wait until a restart", exc_info=error)


async def _awaited(call: Callable[[], Awaitable[None]]) -> None:
    await call()


def _error_of(handler: asyncio.Task[None]) -> BaseException | None:
    try:
        return handler.exception()
    except asyncio.CancelledError as error:  # with a traceback that says where it was
        return error


def _said(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return "cancelled from within"
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:  # noqa: BLE001 - an error that can't be spelt must not pass for ours
        return type(error).__name__
