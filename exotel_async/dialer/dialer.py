"""What does a user hold: the dialer, which places calls at most once and learns how they ended."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self, Unpack

from exotel_async.client import ExotelClient
from exotel_async.client.client import door_of
from exotel_async.client.door import Door
from exotel_async.errors import ClientClosedError, ConfigurationError, InvalidRequestError
from exotel_async.events.worker import DeliveryWorker
from exotel_async.journal import Journal
from exotel_async.journal.records import DialRecord
from exotel_async.models.clock import Clock
from exotel_async.models.dials import CallOutcome, Dial, DialState
from exotel_async.wire.callback_url import checked_base
from exotel_async.wire.connecting import DialOptions, FlowDialOptions
from exotel_async.wire.tokens import CallbackTokens

from .orders import Desk, Order, RetryIf, checked_key
from .reconciling import Reconciler
from .sending import Sending
from .steps import Confirm
from .telling import OutcomeDesk, OutcomeHandler

_CONFIRM = ("new", "always", "never")
_BUDGET = 20  # requests a minute for asking how calls ended, where the client's limit is unknown
_SHARE = 10  # else one in so many of that limit
_LOOK_ANYWAY = 60.0  # seconds after which one who waits looks, whatever the journal told
_LEAST_LIFETIME = timedelta(days=1)  # of a callback's URL
_RECORDING = 9.0  # seconds that an answer has to be written down, when all is closed

_COUNTERS = (
    "dials_total", "placed_total", "refused_total", "not_sent_total", "unknown_total",
    "known_keys_total", "late_records_total", "polls_total", "poll_errors_total",
    "rejected_sids_total", "searches_total", "matched_total", "not_placed_total",
    "outcomes_ended_total", "outcomes_unresolved_total", "reconciler_errors_total",
)  # fmt: skip

_logger = logging.getLogger("exotel_async.dialer")


class Dialer:
    """Places calls so that one key dials at most once, and finds out how each of them ended.

    - `exotel`, `journal`: opened before the dialer, and closed after it.
    - `tokens`: the same as those of the `StatusCallbacks` that receive; good for at least a day.
    - `public_url`: where the outside world finds those StatusCallbacks.
    - `confirm`: whether Exotel is asked for a call of which only a callback told: "new" (where
      the callback is all the evidence of its sid), "always", or "never". `CallOutcome.confirmed`
      says what came of it.
    - `poll_budget`: requests a minute, of all processes together, to ask how calls ended; a tenth
      of the client's `requests_per_minute` unless given.
    - `clock`: where time comes from; the client's unless given. It must be the journal's, too.

    How a call ended is told by its callbacks, or else by its record, which is read 3, 6, 12, 25
    and 50 minutes after it was placed and then every hour. Where connect's answer was lost and no
    callback came, Exotel's list of calls is searched at the same moments: a record and a dial
    that fit only each other are a match. A dial is `not_placed` where the whole list of its time
    is read after the last moment at which a call may end, holds a call known to be ours, and
    holds none that could be the dial's; all else is `unresolved`. A call without `time_limit` may
    go on for so long that this takes 4.6 hours.

    Use it with `async with`, or append its `lifespan` to an aiohttp application's `cleanup_ctx`,
    and its `drain` to `on_shutdown`.
    """

    def __init__(
        self,
        exotel: ExotelClient,
        *,
        journal: Journal,
        tokens: CallbackTokens,
        public_url: str,
        confirm: Confirm = "new",
        poll_budget: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        _check(exotel=exotel, journal=journal, tokens=tokens, confirm=confirm)
        self._door = door_of(exotel)
        self._clock = clock or self._door.clock
        _check_clocks(self._clock, journal.clock)
        self._journal = journal
        self._tokens = tokens
        self._desk = Desk(
            settings=self._door.settings, tokens=tokens, public_url=_public_url(public_url)
        )
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))
        self._outcomes = OutcomeDesk(journal, account=self._account)
        self._worker = DeliveryWorker(journal, self._outcomes)
        self._reconciler = Reconciler(
            exotel.with_options(max_retries=0),
            journal=journal,
            account=self._account,
            confirm=confirm,
            budget=_budget(poll_budget, self._door),
            counts=self._counts,
        )
        self._reconciling: asyncio.Task[None] | None = None
        self._sendings: dict[asyncio.Task[None], Sending] = {}
        self._users = 0
        self._draining = False

    # Dialling.

    async def connect(
        self,
        *,
        from_: str,
        to: str,
        caller_id: str,
        idempotency_key: str,
        retry_if: Collection[RetryIf] = (),
        **options: Unpack[DialOptions],
    ) -> Dial:
        """Call `from_`, and when that is answered connect it with `to`, at most once for a key.

        The same key with the same arguments gives the same Dial, from any process and after any
        crash; with other arguments KeyReusedError is raised. A dial that is refused, was not
        sent, or of which nobody knows whether phones ring, is an answer too: see `Dial.state`.
        `retry_if`: states ("refused", "not_sent") and outcomes ("not_placed") of an earlier try
        after which the key may dial anew. `options` are those of `DialOptions`. Without a
        `custom_field` the dial's `ref` goes there, which callbacks then show: a record that shows
        it too is certainly this dial's.

        Raises InvalidRequestError and ClientClosedError, and JournalError where nothing was sent
        because nothing could be written down. Whoever is cancelled stops waiting, no more.
        Exotel: Voice v1, "Outgoing call to connect two numbers".
        """
        arguments = {"from_": from_, "to": to, "caller_id": caller_id, **options}
        order = self._desk.connect(
            key=idempotency_key, retry_if=retry_if, now=self._clock.now(), arguments=arguments
        )
        return await self._place(order)

    async def connect_to_flow(
        self,
        *,
        from_: str,
        caller_id: str,
        idempotency_key: str,
        flow_id: int | str | None = None,
        url: str | None = None,
        retry_if: Collection[RetryIf] = (),
        **options: Unpack[FlowDialOptions],
    ) -> Dial:
        """Call `from_`, and when that is answered connect it with a flow, at most once for a key.

        The flow is named by its number or by its whole URL. All else is as with `connect`.
        Exotel: Voice v1, "Outgoing call to connect number to a call flow".
        """
        arguments = {
            "from_": from_, "caller_id": caller_id, "flow_id": flow_id, "url": url, **options
        }  # fmt: skip
        order = self._desk.connect_to_flow(
            key=idempotency_key, retry_if=retry_if, now=self._clock.now(), arguments=arguments
        )
        return await self._place(order)

    async def find(self, idempotency_key: str) -> Dial | None:
        """Find the dial of a key, whoever placed it; None where the key is new."""
        found = await self._journal.find(self._account, checked_key(idempotency_key))
        return None if found is None else found[0].dial()

    # Learning how it ended.

    async def outcome(self, dial: Dial | str, *, timeout: float | None = None) -> CallOutcome:  # noqa: ASYNC109 - by the dialer's clock
        """Wait until it is known how a dial ended, one of any process; at most `timeout` seconds.

        `dial` may also be a Dial's `ref`. Raises TimeoutError when it is not known by then, and
        InvalidRequestError for a dial that the journal does not have (any more).
        """
        ref = dial.ref if isinstance(dial, Dial) else dial
        until = None if timeout is None else self._clock.monotonic() + timeout
        while True:
            version = self._journal.version
            found = await self._journal.look(ref)
            if found is None:
                raise InvalidRequestError("dial: the journal has no such dial, or not any more")
            if found[1] is not None:
                return found[1]
            if not await self._changes(version, until=until):
                raise TimeoutError(f"it is not known yet how this dial ended ({timeout:g} s)")

    def on_outcome(self, handler: OutcomeHandler) -> OutcomeHandler:
        """Register an async handler that is told how each dial ended: `@dialer.on_outcome`.

        It is told at least once, by whichever process has time, after a crash too; and again
        where evidence overturns an outcome (a higher `revision`). One that fails is tried again
        later.
        """
        self._outcomes.add(handler)
        return handler

    def stats(self) -> Mapping[str, int]:
        """Count what this process did since it started."""
        return {**self._counts, **self._worker.stats(), "in_flight": len(self._sendings)}

    # Life.

    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Live as long as an aiohttp application: `app.cleanup_ctx.append(dialer.lifespan)`."""
        async with self:
            yield

    async def drain(self, _app: object = None) -> None:
        """Place no more calls and begin no more deliveries: `app.on_shutdown.append(dialer.drain)`.

        What is under way goes on until the dialer is closed.
        """
        self._draining = True
        self._worker.drain()

    async def __aenter__(self) -> Self:
        if self._users == 0:
            await self._open()
        self._users += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._users -= 1
        if self._users == 0:
            await self._close()

    async def _open(self) -> None:
        self._door.transport.require_open()
        await self._worker.start()  # tells where the journal is not open
        self._draining = False
        self._reconciling = asyncio.create_task(
            self._reconciler.run(), name="exotel_async reconciler"
        )

    async def _close(self) -> None:
        """Let what is in flight arrive and be written down; then stop to look after dials."""
        await self.drain()
        try:
            await asyncio.gather(self._worker.close(), self._finish())
        finally:
            tasks = set(self._sendings)
            if self._reconciling is not None:
                tasks.add(self._reconciling)
                self._reconciling = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self) -> None:
        """Give requests in flight their time, and then all answers time to be written down."""
        for sending in self._sendings.values():
            sending.stop()
        trying = {sending.trying for sending in self._sendings.values() if sending.trying}
        if trying:
            await asyncio.wait(trying, timeout=self._door.settings.timeout)
        for sending in self._sendings.values():
            sending.stop(at_once=True)
        if self._sendings:
            await asyncio.wait(set(self._sendings), timeout=_RECORDING)

    # One dial.

    async def _place(self, order: Order) -> Dial:
        if self._users == 0 or self._draining:
            raise ClientClosedError(
                "the dialer is not open: use `async with dialer:`, or its lifespan in an aiohttp "
                "application; while that shuts down nothing is dialled any more"
            )
        self._door.transport.require_open()
        sending = self._send(order)
        intended = await sending.intended
        if intended.fresh:
            return await sending.dial
        self._counts["known_keys_total"] += 1
        return await self._settled(intended.record)

    def _send(self, order: Order) -> Sending:
        """Have a task of our own dial: cancelling the caller must not leave anything in doubt."""
        sending = Sending(order, journal=self._journal, door=self._door)
        task = asyncio.create_task(
            sending.run(fits=lambda seal: self._fits(order, seal)),
            name=f"exotel_async sending {order.new.ref}",
        )
        self._sendings[task] = sending
        task.add_done_callback(self._sent)
        return sending

    def _sent(self, task: asyncio.Task[None]) -> None:
        sending = self._sendings.pop(task)
        if sending.answer is not None:
            self._counts["dials_total"] += 1
            self._counts[f"{sending.answer.state}_total"] += 1
            self._counts["late_records_total"] += sending.late
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.error("a dial's own task failed", exc_info=error)

    def _fits(self, order: Order, seal: str) -> bool | None:
        fits = self._tokens.fits(order.text, seal)
        if fits is None:
            _logger.warning(
                "an idempotency key was made with a secret that is gone: taken for the same dial",
                extra={"dial": order.new.ref},
            )
        return fits

    async def _settled(self, record: DialRecord) -> Dial:
        """Wait while somebody is sending it, at most as long as one request takes."""
        until = self._clock.monotonic() + self._door.settings.timeout
        while (dial := record.dial()).state == DialState.INTENDED:
            version = self._journal.version
            found = await self._journal.look(record.ref)
            if found is None:
                return dial
            record = found[0]
            if record.dial().state != DialState.INTENDED:
                continue
            if not await self._changes(version, until=until):
                return record.dial()
        return dial

    async def _changes(self, version: int, *, until: float | None) -> bool:
        """Wait for a commit after `version`; False where it is too late for more."""
        left = _LOOK_ANYWAY if until is None else until - self._clock.monotonic()
        if left <= 0:
            return False
        await self._journal.changed(since=version, within=min(left, _LOOK_ANYWAY))
        return True

    @property
    def _account(self) -> str:
        return self._door.settings.account_sid


def _check(*, exotel: object, journal: object, tokens: object, confirm: object) -> None:
    if not isinstance(exotel, ExotelClient):
        raise ConfigurationError("exotel must be an ExotelClient")
    if not isinstance(journal, Journal):
        raise ConfigurationError("journal must be a Journal: SQLiteJournal(...), say")
    if not isinstance(tokens, CallbackTokens):
        raise ConfigurationError("tokens must be CallbackTokens: those of the StatusCallbacks")
    if tokens.lifetime < _LEAST_LIFETIME:
        raise ConfigurationError(
            "the lifetime of tokens must be at least a day: a URL has to be good from the moment "
            "a dial waits for its turn until its call is over"
        )
    if confirm not in _CONFIRM:
        raise ConfigurationError(f"confirm must be 'new', 'always' or 'never', but is {confirm!r}")


def _check_clocks(ours: Clock, journal: Clock) -> None:
    """See that what one writes down with its time the other reads by the same time."""
    if ours is not journal and not isinstance(journal, type(ours)):
        raise ConfigurationError(
            f"the dialer lives by a {type(ours).__name__}, its journal by a "
            f"{type(journal).__name__}: give both one clock, in tests "
            "MemoryJournal(clock=exotel_simulator.clock)"
        )


def _public_url(url: object) -> str:
    try:
        return checked_base(url, name="public_url")
    except InvalidRequestError as error:
        raise ConfigurationError(error.message) from error


def _budget(asked: object, door: Door) -> int:
    if asked is None:
        limit = getattr(door.pacer, "requests_per_minute", None)
        return max(1, limit // _SHARE) if isinstance(limit, int) else _BUDGET
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise ConfigurationError(f"poll_budget must be a whole number above 0, but is {asked!r}")
    return asked
