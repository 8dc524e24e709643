"""How does a dial's end become known: whoever has time looks at what is due, and asks Exotel."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Unpack

import attrs

from exotel_async.client import ExotelClient
from exotel_async.client.calls import Calls
from exotel_async.client.client import door_of
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
from exotel_async.models.calls import Call, CallPage
from exotel_async.models.dials import OutcomeState
from exotel_async.wire.bulk import BulkFilters

from .matching import Match, View, matches, was_never_placed
from .searching import Searcher
from .steps import (
    Ask,
    Conclude,
    Confirm,
    Failed,
    Found,
    Missing,
    PutOff,
    Reject,
    Searched,
    Seek,
    Verdict,
    after_asking,
    after_match,
    after_searching,
    next_step,
)
from .watching import Watch
from .windows import Window, clusters, window_of

_BATCH = 20  # sids in one bulk question
_LOOK_ANYWAY = 60.0  # seconds after which the journal is looked at, whatever it says
_REST = 5.0  # seconds after a failure of the journal
_BREATH = 15.0  # seconds without a question, where Exotel is down
_HELD = 30.0  # the same, where it said "slow down" and named no time
_LONGEST_PAUSE = 3600.0  # however long Exotel asks for

_COUNTERS: Mapping[str, str] = {
    OutcomeState.ENDED: "outcomes_ended_total",
    OutcomeState.UNRESOLVED: "outcomes_unresolved_total",
    OutcomeState.NOT_PLACED: "not_placed_total",
}

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
        self._watch = Watch(journal.clock)
        self._searcher = Searcher(
            self._ask_page, journal=journal, account=account, watch=self._watch
        )

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
        sought: list[tuple[DueDial, Window]] = []
        for due in dials:
            step = next_step(due, now=self._now(), confirm=self._confirm)
            window = window_of(due.record, skew=self._searcher.skew)
            if isinstance(step, Ask):
                questions.append((due, step))
            elif isinstance(step, Seek):
                assert window is not None  # noqa: S101 - nothing is sought that was not sent
                sought.append((due, window))
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
        for wide, those in clusters(sought):
            await self._search(wide, those)

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
            page = await self._calls.page(sids=sids, details=True)
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
            found = await self._calls.get(due.record.call_sid or "", details=True)
        except (NotFoundError, InvalidRequestError):
            found = Missing()
        except ExotelError as error:
            found = await self._failed(error)
        await self._take_in(due, found)

    async def _search(self, window: Window, dials: Sequence[DueDial]) -> None:
        """Search the list for the calls of several dials; one reading serves all it covers."""
        before, asked = self._now(), self._counts["polls_total"]
        found = await self._searcher.read(window)
        if isinstance(found, Failed) and self._counts["polls_total"] == asked:
            for due in dials:
                await self._put_off(due, found.wait)
            return
        self._counts["searches_total"] += 1
        if found is None or isinstance(found, Failed):
            told = Searched(before) if found is None else found
            for due in dials:
                await self._take_search(due, told)
        else:
            await self._take_found(found, dials)

    async def _take_found(self, found: View, dials: Sequence[DueDial]) -> None:
        """Give each record to its dial, due or not; then see which of these have none."""
        told = matches(found)
        for match in told:
            await self._take_match(match)
        matched = {match.ref for match in told}
        for due in dials:
            if due.record.ref not in matched:
                denied = was_never_placed(due.record, found)
                await self._take_search(due, Searched(found.began, denied=denied))

    async def _take_search(self, due: DueDial, told: Searched | Failed) -> None:
        await self._carry_out(due, after_searching(due, told, now=self._now()), asked=True)

    async def _take_match(self, match: Match) -> None:
        record = await self._journal.match(match.ref, call_sid=match.call.sid)
        if record is None:  # a callback was faster, or another process
            return
        self._counts["matched_total"] += 1
        due = DueDial(record=record)
        _logger.info("dial %s: its call was found", record.ref, extra=_extra(due, outcome="match"))
        ended = after_match(record, match.call)
        if ended is not None:
            await self._carry_out(due, ended, asked=True)

    async def _ask_page(self, **filters: Unpack[BulkFilters]) -> CallPage | Failed:
        if (wait := await self._journal.reserve(self._purse, most=self._budget)) > 0:
            return Failed(wait)
        self._counts["polls_total"] += 1
        try:
            return await self._calls.page(**filters)
        except ExotelError as error:
            return await self._failed(error)

    @property
    def _calls(self) -> Calls:
        """Ask in a way that shows how far the clocks are apart."""
        door = door_of(self._exotel)
        return Calls(attrs.evolve(door, transport=self._watch.over(door.transport)))

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
        self._counts[_COUNTERS[state]] += 1

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
