"""How does a dial's end become known: whoever has time looks at what is due, and asks Exotel."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from exotel_async.client import ExotelClient
from exotel_async.errors import (
    BadRequestError,
    ExotelError,
    InvalidRequestError,
    JournalError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    RateLimitedError,
    ServerError,
    mask_secrets,
)
from exotel_async.journal import Journal
from exotel_async.journal.records import DueDial
from exotel_async.models.calls import Call
from exotel_async.models.dials import OutcomeState

from .steps import (
    Ask,
    Conclude,
    Confirm,
    Failed,
    Found,
    Missing,
    PutOff,
    Reject,
    Verdict,
    after_asking,
    next_step,
)

_BATCH = 20  # sids in one bulk question
_LOOK_ANYWAY = 60.0  # seconds after which the journal is looked at, whatever it says
_REST = 5.0  # seconds after a failure of the journal
_BREATH = 15.0  # seconds without a question, where Exotel is down
_HELD = 30.0  # the same, where it said "slow down" and named no time
_LONGEST_PAUSE = 3600.0  # however long Exotel asks for

_logger = logging.getLogger("exotel_async.dialer")


class Reconciler:
    """Looks at dials that are due, within a budget of questions that all processes share."""

    def __init__(
        self,
        exotel: ExotelClient,
        *,
        journal: Journal,
        account: str,
        confirm: Confirm,
        budget: int,
        counts: Counter[str],
    ) -> None:
        self._exotel = exotel
        self._journal = journal
        self._account = account
        self._confirm: Confirm = confirm
        self._budget = budget
        self._counts = counts
        self._purse = f"poll:{account}"

    async def run(self) -> None:
        """Look, ask, write down; for ever."""
        while True:
            try:
                await self._wait_until_due()
                await self._look(await self._journal.due(self._account, most=_BATCH))
            except Exception as error:
                self._counts["reconciler_errors_total"] += 1
                _logger.warning(
                    "could not look after dials, next in %g s: %s",
                    _REST, mask_secrets(f"{type(error).__name__}: {error}"),
                    exc_info=None if isinstance(error, ExotelError) else error,
                )  # fmt: skip
                await self._journal.clock.sleep(_REST)

    async def _wait_until_due(self) -> None:
        while True:
            version = self._journal.version
            due = await self._journal.next_due(self._account)
            wait = _LOOK_ANYWAY if due is None else due - self._now()
            if wait <= 0:
                return
            await self._journal.changed(since=version, within=min(wait, _LOOK_ANYWAY))

    async def _look(self, dials: Sequence[DueDial]) -> None:
        """Do what each dial needs; questions about several go out as one."""
        questions: list[tuple[DueDial, Ask]] = []
        for due in dials:
            step = next_step(due, now=self._now(), confirm=self._confirm)
            if isinstance(step, Ask):
                questions.append((due, step))
            else:
                await self._carry_out(due, step, asked=False)
        together = [due for due, ask in questions if not ask.singly]
        alone = [due for due, ask in questions if ask.singly]
        if len(together) > 1:
            alone += await self._ask_together(together)
        else:
            alone += together
        for due in alone:
            await self._ask_alone(due)

    async def _ask_together(self, dials: Sequence[DueDial]) -> list[DueDial]:
        """Ask about several at once; return those that have to be asked for singly.

        Bulk answers leave out calls that are still going on.
        """
        if (wait := await self._journal.reserve(self._purse, most=self._budget)) > 0:
            for due in dials:
                await self._put_off(due, wait)
            return []
        sids = [due.record.call_sid for due in dials if due.record.call_sid]
        self._counts["polls_total"] += 1
        try:
            page = await self._exotel.calls.page(sids=sids, details=True)
        except (InvalidRequestError, BadRequestError):
            return list(dials)  # a sid that a callback made up must not silence the others
        except ExotelError as error:
            failed = await self._failed(error)
            for due in dials:
                await self._take_in(due, failed)
            return []
        found = {call.sid: call for call in page.calls}
        return await self._sort(dials, found)

    async def _sort(self, dials: Sequence[DueDial], found: Mapping[str, Call]) -> list[DueDial]:
        absent = []
        for due in dials:
            call = found.get(due.record.call_sid or "")
            if call is None:
                absent.append(due)
            else:
                await self._take_in(due, call)
        return absent

    async def _ask_alone(self, due: DueDial) -> None:
        if (wait := await self._journal.reserve(self._purse, most=self._budget)) > 0:
            await self._put_off(due, wait)
            return
        self._counts["polls_total"] += 1
        found: Found
        try:
            found = await self._exotel.calls.get(due.record.call_sid or "", details=True)
        except (NotFoundError, InvalidRequestError):
            found = Missing()
        except ExotelError as error:
            found = await self._failed(error)
        await self._take_in(due, found)

    async def _failed(self, error: ExotelError) -> Failed:
        """Note that Exotel could not be asked; while it is down or wants quiet, nobody asks."""
        if isinstance(error, JournalError):
            raise error
        self._counts["poll_errors_total"] += 1
        _logger.info("Exotel could not be asked how calls ended: %s", error)
        wait = pause_after(error)
        if wait > 0:
            await self._journal.hold(self._purse, seconds=wait)
        return Failed(wait)

    async def _take_in(self, due: DueDial, found: Found) -> None:
        await self._carry_out(due, after_asking(due, found, now=self._now()), asked=True)

    async def _put_off(self, due: DueDial, wait: float) -> None:
        await self._journal.put_off(due.record.ref, until=self._now() + wait, asked=False)

    async def _carry_out(self, due: DueDial, verdict: Verdict, *, asked: bool) -> None:
        record = due.record
        match verdict:
            case PutOff(until):
                await self._journal.put_off(record.ref, until=until, asked=asked)
            case Conclude(outcome):
                if await self._journal.conclude(outcome) is not None:
                    self._note(outcome.state)
                    _logger.info(
                        "dial %s: %s (%s)", record.ref, outcome.state, outcome.source,
                        extra=_extra(due, outcome=str(outcome.state)),
                    )  # fmt: skip
            case Reject(sid):
                self._counts["rejected_sids_total"] += 1
                _logger.warning(
                    "dial %s: the call that a callback named is none of its", record.ref,
                    extra=_extra(due, outcome="rejected"),
                )  # fmt: skip
                await self._journal.reject(record.ref, call_sid=sid)

    def _note(self, state: str) -> None:
        name = "ended" if state == OutcomeState.ENDED else "unresolved"
        self._counts[f"outcomes_{name}_total"] += 1

    def _now(self) -> float:
        return self._journal.clock.now().timestamp()


def pause_after(error: ExotelError) -> float:
    """Tell for how many seconds nobody needs to ask, since there would be no answer."""
    asked = error.retry_after if isinstance(error, RateLimitedError | ServerError) else None
    if asked is not None:
        return min(asked, _LONGEST_PAUSE)
    if isinstance(error, RateLimitedError):
        return _HELD
    return _BREATH if isinstance(error, NoAnswerError | NotSentError | ServerError) else 0.0


def _extra(due: DueDial, *, outcome: str) -> dict[str, object]:
    record = due.record
    sid = None if record.call_sid is None else mask_secrets(ascii(record.call_sid[:64]))
    return {"dial": record.ref, "call_sid": sid, "state": record.state, "outcome": outcome}
