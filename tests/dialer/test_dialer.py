"""One key, at most one dial: whatever the caller, the journal and the process do."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from dialling import KEY, NUMBERS, FailingJournal, World, another, on_disk, world
from receivers import SECRET

from exotel_async import (
    Call,
    CallbackTokens,
    CallOutcome,
    ClientClosedError,
    ConfigurationError,
    Dial,
    DialState,
    DndBlockedError,
    ExotelClient,
    InvalidRequestError,
    JournalError,
    KeyReusedError,
    NotSentError,
    OutcomeState,
    OutcomeUnknownError,
    RateLimitedError,
    SlidingWindowPacer,
    SystemClock,
)
from exotel_async.dialer import Dialer
from exotel_async.dialer.sending import BookKeeper
from exotel_async.journal import Journal, MemoryJournal, SQLiteJournal
from exotel_async.journal.dialling import recover
from exotel_async.simulator import Simulator

CLOSED = {"account_sid": "acme1", "api_key": "kkkkkkkk", "api_token": "tttttttt"}
URL = "https://example.com/exotel/"
DND = "+910000000403"


def make(**options: Any) -> Dialer:
    """Make a dialer that is not opened."""
    known = {"journal": MemoryJournal(), "tokens": CallbackTokens([SECRET]), "public_url": URL}
    return Dialer(options.pop("exotel", ExotelClient(**CLOSED)), **known | options)


@pytest.fixture(params=["memory", "sqlite"])
async def made(request: pytest.FixtureRequest, tmp_path: Path):
    """Everything that runs, with each kind of journal."""
    options = {} if request.param == "memory" else {"make_journal": on_disk(tmp_path)}
    async with world(**options) as opened:
        yield opened


@pytest.fixture
async def failing():
    """Everything that runs, with a journal that fails when told to."""
    async with world(lambda sim: FailingJournal(clock=sim.clock)) as opened:
        yield opened


def failing_journal(made: World) -> FailingJournal:
    assert isinstance(made.journal, FailingJournal)
    return made.journal


class TestConnect:
    async def test_placed(self, made):
        """A call is placed, with callbacks of both kinds as JSON to a URL of the dialer's own."""
        dial = await made.connect(custom_field="x", extra={"StreamType": "y"})

        (call,) = made.sim.calls.values()
        params = dict(made.sim.requests[0].params)
        assert dial == Dial(
            ref=dial.ref, idempotency_key=KEY, state=DialState.PLACED, call_sid=call.sid
        )
        assert params["StatusCallback"].startswith(made.public_url)
        assert params["StatusCallbackEvents[0]"] == "terminal"
        assert params["StatusCallbackEvents[1]"] == "answered"
        assert params["StatusCallbackContentType"] == "application/json"
        assert (params["CustomField"], params["StreamType"]) == ("x", "y")
        assert not made.sim.complaints

    async def test_custom_field(self, made):
        """The ref goes where a record may show it, if the user says nothing there."""
        flow = {"from_": NUMBERS["from_"], "caller_id": NUMBERS["caller_id"], "flow_id": 926}
        dial = await made.connect()
        again = await made.connect(custom_field=None)
        other = await made.dialer.connect_to_flow(**flow, idempotency_key="flow")
        sent = [dict(one.params)["CustomField"] for one in made.sim.requests]

        assert sent == [dial.ref, other.ref]
        assert again.ref == dial.ref

    async def test_flow(self, made):
        """A call to a flow is placed; only the four-field callback comes for it."""
        flow = {"from_": NUMBERS["from_"], "caller_id": NUMBERS["caller_id"], "flow_id": 926}
        dial = await made.dialer.connect_to_flow(**flow, idempotency_key=KEY)
        again = await made.dialer.connect_to_flow(**flow | {"flow_id": "926"}, idempotency_key=KEY)

        outcome = await made.outcome(dial)
        params = dict(made.sim.requests[0].params)
        assert params["Url"].endswith("/exoml/start_voice/926")
        assert "StatusCallbackEvents[0]" not in params
        assert again.ref == dial.ref
        assert (outcome.state, outcome.status) == (OutcomeState.ENDED, "completed")
        assert not made.sim.complaints

    async def test_refused(self, made):
        """A refusal is an answer like others, and its outcome is known at once."""
        dial = await made.connect(to=DND)
        outcome = await made.dialer.outcome(dial, timeout=0)

        assert dial.state == DialState.REFUSED
        assert isinstance(dial.error, DndBlockedError)
        assert (outcome.state, outcome.dial.state) == (OutcomeState.REFUSED, DialState.REFUSED)

    async def test_too_many_requests(self, made):
        """A 429 that stays is a refusal: nothing rings."""
        made.sim.fault("429", times=None)
        dial = await made.connect()

        assert (dial.state, len(made.posts)) == (DialState.REFUSED, 3)
        assert isinstance(dial.error, RateLimitedError)
        assert dial.error.attempts == 3

    async def test_answer_lost(self, made):
        """A lost answer is told as such, with the error that says what was sent."""
        made.sim.fault("reset-after-read", on="connect")
        dial = await made.connect()

        assert (dial.state, dial.call_sid) == (DialState.UNKNOWN, None)
        assert isinstance(dial.error, OutcomeUnknownError)
        assert dial.error.request is not None

    async def test_refusal_after_callback(self, made, caplog):
        """A refusal after a callback of this very dial is a contradiction: it was placed."""
        made.sim.fault("callback-early")
        made.sim.fault("429", on="connect", carried_out=True)
        dial = await made.connect()

        assert (dial.state, len(made.posts)) == (DialState.PLACED, 1)
        assert [dial.call_sid] == list(made.sim.calls)
        assert (await made.outcome(dial)).state == OutcomeState.ENDED

    @pytest.mark.parametrize(
        "changes",
        [{"to": " "}, {"time_limit": 0}, {"record": "yes"}, {"idempotency_key": " "},
         {"idempotency_key": "x" * 256}, {"idempotency_key": None}, {"retry_if": {"unknown"}},
         {"retry_if": "unknown"}, {"retry_if": 7}, {"extra": {"StatusCallback": "x"}}],
    )  # fmt: skip
    async def test_bad_arguments(self, made, changes):
        """What can't be sent is refused before anything is written down."""
        with pytest.raises(InvalidRequestError):
            await made.dialer.connect(**NUMBERS | {"idempotency_key": KEY} | changes)

        assert (await made.journal.stats())["keys"] == 0
        assert made.sim.requests == []

    @pytest.mark.parametrize(
        "name",
        ["status_callback", "status_callback_events", "status_callback_content_type", "bogus"],
    )
    async def test_unexpected_arguments(self, made, name):
        """The callbacks are the dialer's own; what is unknown is refused by its name."""
        with pytest.raises(TypeError, match=name):
            await made.dialer.connect(**NUMBERS, idempotency_key=KEY, **{name: "x"})
        with pytest.raises(TypeError, match=name):
            await made.dialer.connect_to_flow(
                from_="1", caller_id="2", flow_id=1, idempotency_key=KEY, **{name: "x"}
            )

        assert (await made.journal.stats())["keys"] == 0


class TestKeys:
    async def test_again(self, made):
        """The same key is the same dial, however often and in whatever order it is told."""
        first = await made.connect(time_limit=60, record=True, custom_field=None)
        second = await made.connect(record=True, time_limit=60)

        assert second == first
        assert len(made.posts) == 1

    @pytest.mark.parametrize(
        "changes", [{"to": "+919812300003"}, {"time_limit": 60}, {"extra": {"a": "b"}}]
    )
    async def test_other_arguments(self, made, changes):
        """The same key with other arguments is an error, and dials nobody."""
        await made.connect()

        with pytest.raises(KeyReusedError):
            await made.connect(**changes)

        assert len(made.posts) == 1

    async def test_at_once(self, made):
        """Many who ask at once get the one dial."""
        dials = await made.passing(
            asyncio.gather(*(made.dialer.connect(**NUMBERS, idempotency_key=KEY) for _ in range(9)))
        )

        assert {dial.ref for dial in dials} == {dials[0].ref}
        assert {dial.state for dial in dials} == {DialState.PLACED}
        assert len(made.posts) == 1

    async def test_in_flight(self, made):
        """Who asks while the answer is awaited gets it, too."""
        made.sim.fault("slow-body", on="connect", seconds=0.2)
        first = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=KEY))
        while not made.sim.calls:
            await asyncio.sleep(0.01)
        second = await made.dialer.connect(**NUMBERS, idempotency_key=KEY)

        assert second == await first
        assert second.state == DialState.PLACED
        assert len(made.posts) == 1

    async def test_in_flight_for_long(self):
        """After a request's time who asks is told what is known: it may be under way."""
        async with world(timeout=1.5) as made:
            made.sim.fault("hang", on="connect")
            first = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=KEY))
            while not made.sim.calls:
                await asyncio.sleep(0.01)
            second = await made.connect()
            waiting = not first.done()

            assert waiting
            assert (second.state, second.call_sid) == (DialState.INTENDED, None)
            assert (await first).state == DialState.UNKNOWN
            assert len(made.posts) == 1

    async def test_two_on_one_file(self, tmp_path):
        """Two processes' worth of dialers on one file, and one key: one dial."""
        async with world(on_disk(tmp_path)) as made:
            journal = SQLiteJournal(tmp_path / "calls.db", clock=made.sim.clock)
            async with journal, another(made, journal=journal) as other:
                for i in range(10):
                    both = await made.passing(
                        asyncio.gather(
                            made.dialer.connect(**NUMBERS, idempotency_key=f"k{i}"),
                            other.connect(**NUMBERS, idempotency_key=f"k{i}"),
                        )
                    )
                    assert both[0].ref == both[1].ref
                    assert [dial.state for dial in both] == [DialState.PLACED] * 2

                assert len(made.posts) == 10
                outcome = await made.passing(other.outcome(both[0], timeout=3600), step=30)
                assert outcome.state == OutcomeState.ENDED

    async def test_after_restart(self, tmp_path):
        """A key outlives the process that dialled with it."""
        async with world(on_disk(tmp_path)) as made:
            first = await made.connect()
        async with world(on_disk(tmp_path)) as made:
            second = await made.connect()

            assert second == first
            assert made.posts == []
            assert await made.dialer.find(KEY) == first

    async def test_secret_gone(self, made, caplog):
        """Where a key's secret is gone it is taken for the same dial, and that is logged."""
        first = await made.connect()
        tokens = CallbackTokens(["another secret, as long as it has to be"])
        async with another(made, tokens=tokens) as other:
            second = await other.connect(**NUMBERS, idempotency_key=KEY)

        assert second.ref == first.ref
        assert "secret that is gone" in caplog.text

    async def test_find(self, made):
        """A dial is found by its key; a key that is new finds none."""
        dial = await made.connect()

        assert await made.dialer.find(KEY) == dial
        assert await made.dialer.find("another") is None


class TestRetryIf:
    async def test_refused(self, made):
        """A refused dial may be made anew under the same key, where the caller says so."""
        first = await made.connect(to=DND)
        made.sim.whitelist(DND)
        same = await made.connect(to=DND)
        second = await made.connect(to=DND, retry_if={"refused"})

        assert (same.ref, same.state) == (first.ref, DialState.REFUSED)
        assert (second.state, second.attempt) == (DialState.PLACED, 2)
        assert second.ref != first.ref
        assert await made.dialer.find(KEY) == second

    @pytest.mark.parametrize("word", ["not_sent", "not_placed"])
    async def test_not_sent(self, made, word):
        """One that provably never left may be, too; a single word will do."""
        made.sim.fault("connection-refused")
        first = await made.connect()
        made.sim.clear_faults()
        second = await made.connect(retry_if=word)

        assert (first.state, second.state) == (DialState.NOT_SENT, DialState.PLACED)
        assert isinstance(first.error, NotSentError)
        assert len(made.posts) == 1

    async def test_one_winner(self, made):
        """Of many who try anew at once, one dials."""
        await made.connect(to=DND)
        made.sim.whitelist(DND)
        again = {"to": DND, "idempotency_key": KEY, "retry_if": {"refused"}}
        dials = await made.passing(
            asyncio.gather(*(made.dialer.connect(**NUMBERS | again) for _ in range(5)))
        )

        assert {dial.attempt for dial in dials} == {2}
        assert made.posts == [403, 200]

    async def test_unknown(self, made):
        """One of which nobody knows is never made anew, not even when its time is over."""
        made.sim.fault("reset-after-read", on="connect")
        made.sim.fault("callback-lost", times=None)
        retry_if = {"refused", "not_sent", "not_placed"}
        made.sim.fault("500-json", on="bulk", times=None)
        first = await made.connect(time_limit=60)
        outcome = await made.outcome(first)
        second = await made.connect(time_limit=60, retry_if=retry_if)

        assert (first.state, outcome.state) == (DialState.UNKNOWN, OutcomeState.UNRESOLVED)
        assert second.ref == first.ref
        assert len(made.posts) == 1


class TestCancellation:
    async def test_everywhere(self):
        """A caller who is cancelled at any moment leaves no doubt: one dial, or none at all."""
        states = set()
        async with world() as made:
            for turns in range(60):
                key = f"k{turns}"
                task = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=key))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task})
                await made.pass_time(seconds=1, step=0.5)
                dial = await made.dialer.find(key)
                states.add(None if dial is None else str(dial.state))
                assert len(made.posts) == len(made.sim.calls)
                assert dial is None or dial.call_sid in made.sim.calls
            placed = (await made.journal.stats())["keys"]

            assert states == {None, "placed"}
            assert len(made.posts) == placed
            assert made.dialer.stats()["placed_total"] == placed

    async def test_waiting_for_the_pacer(self, made):
        """Who is cancelled while the dial waits its turn finds it placed later."""
        pacer = SlidingWindowPacer(60, clock=made.sim.clock)
        await pacer.hold(20)
        made.dialer._door = attrs.evolve(made.exotel._door, pacer=pacer)
        task = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=KEY))
        await made.quiet()
        task.cancel()
        await asyncio.wait({task})
        before = await made.dialer.find(KEY)
        await made.pass_time(seconds=25, step=1)

        assert before is not None
        assert before.state == DialState.INTENDED
        after = await made.dialer.find(KEY)
        assert after is not None
        assert after.state == DialState.PLACED


class TestSeveralAccounts:
    async def test_outcomes_stay_apart(self):
        """A handler hears of its own account's dials, and of no other's in the same namespace."""
        told: dict[str, list[str]] = {"first": [], "second": []}
        async with world() as made:
            settings = made.sim.settings | {"account_sid": "another"}
            async with ExotelClient(**settings) as exotel:
                others = Dialer(
                    exotel, journal=made.journal, tokens=CallbackTokens([SECRET]),
                    public_url=made.public_url,
                )  # fmt: skip
                others.on_outcome(noting(told["second"]))
                made.dialer.on_outcome(noting(told["first"]))
                async with others:
                    dials = [await made.connect(f"k{i}", to=DND) for i in range(5)]
                    await made.pass_time(minutes=1)

        assert told == {"first": [dial.ref for dial in dials], "second": []}


def noting(told: list[str]):
    """Make a handler that notes whose outcomes it was told."""

    async def note(outcome: CallOutcome) -> None:
        told.append(outcome.dial.ref)

    return note


class TestOddSid:
    async def test_unspellable(self, made, monkeypatch):
        """A sid that nothing can store leaves the dial unknown, and is not lost on others."""
        monkeypatch.setattr(
            "exotel_async.client.door.read_answer", lambda *_args, **_more: Call(sid="\ud800")
        )
        dial = await made.connect()

        assert dial.state == DialState.UNKNOWN
        found = await made.dialer.find(KEY)
        assert found is not None
        assert found.state == DialState.UNKNOWN


class TestFailingJournal:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("operation", ["intend", "sending"])
    async def test_before_sending(self, failing, operation, when, caplog):
        """What can't be written down is not sent; and is known as unsent when that works again."""
        journal = failing_journal(failing)
        getattr(journal, when).add(operation)
        with pytest.raises(JournalError):
            await failing.connect()
        getattr(journal, when).clear()
        await failing.pass_time(seconds=30, step=1)

        dial = await failing.dialer.find(KEY)
        known = operation == "sending" or when == "after"
        assert failing.posts == []
        assert (dial is None) == (not known)
        assert dial is None or dial.state == DialState.NOT_SENT
        assert (await failing.connect(retry_if={"not_sent"})).state == DialState.PLACED

    async def test_all_is_gone(self, failing):
        """Where the journal is gone for long, nothing is sent and nobody is kept waiting."""
        journal = failing_journal(failing)
        journal.before.update(("intend", "answered", "sending"))

        with pytest.raises(JournalError):
            await failing.connect()

        await failing.pass_time(minutes=5)
        assert failing.posts == []
        assert 5 < journal.failed < 50
        journal.before.clear()
        await failing.pass_time(minutes=1)
        assert failing.dialer.stats()["in_flight"] == 0

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_after_sending(self, failing, when, caplog):
        """The caller gets the sid though its record is late; it comes."""
        journal = failing_journal(failing)
        getattr(journal, when).add("answered")
        dial = await failing.connect()
        assert dial.state == DialState.PLACED
        assert [dial.call_sid] == list(failing.sim.calls)

        getattr(journal, when).clear()
        await failing.pass_time(seconds=20, step=1)

        assert await failing.dialer.find(KEY) == dial
        assert "could not be written down yet" in caplog.text
        assert failing.dialer.stats()["late_records_total"] == 1
        assert len(failing.posts) == 1

    async def test_unforeseen(self, failing, monkeypatch):
        """Whatever stands in the way of a record, it is tried again."""
        journal = failing_journal(failing)
        answered, failures = journal.answered, [ValueError("odd"), sqlite3.Error("odder")]

        async def fail_first(*args):
            if failures:
                raise failures.pop()
            return await answered(*args)

        monkeypatch.setattr(journal, "answered", fail_first)
        dial = await failing.connect()
        await failing.pass_time(seconds=20, step=1)

        assert dial.state == DialState.PLACED
        assert await failing.dialer.find(KEY) == dial

    async def test_never_written(self, failing, caplog, monkeypatch):
        """A record that never works out is an error that names the call."""
        monkeypatch.setattr("exotel_async.dialer.dialer._RECORDING", 0.1)
        failing_journal(failing).before.add("answered")
        dial = await failing.connect()
        await failing.dialer.__aexit__(None, None, None)
        await failing.dialer.__aenter__()

        (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
        assert "could not be written down" in record.getMessage()
        assert (record.dial, record.call_sid) == (dial.ref, dial.call_sid)

    @pytest.mark.parametrize(
        ("operation", "state"),
        [("intend", None), ("sending", DialState.NOT_SENT), ("answered", DialState.PLACED)],
    )
    async def test_hangs_at_close(self, failing, operation, state, monkeypatch):
        """Who waits for a journal that hangs is told when the dialer is closed, truly."""
        monkeypatch.setattr("exotel_async.dialer.dialer._RECORDING", 0.1)
        failing_journal(failing).hanging.add(operation)
        task = asyncio.create_task(failing.dialer.connect(**NUMBERS, idempotency_key=KEY))
        while not failing_journal(failing).failed:
            await asyncio.sleep(0.01)
        await failing.dialer.__aexit__(None, None, None)
        (told,) = await asyncio.gather(task, return_exceptions=True)
        await failing.dialer.__aenter__()

        if state is None:
            assert isinstance(told, JournalError)
        else:
            assert isinstance(told, Dial)
            assert told.state == state
        assert len(failing.posts) == (state == DialState.PLACED)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_after_429(self, failing, when):
        """A 429 that can't be written down is not followed by another try."""
        failing.sim.fault("429")
        getattr(failing_journal(failing), when).add("unsent")

        with pytest.raises(JournalError):
            await failing.connect()

        await failing.quiet()
        dial = await failing.dialer.find(KEY)
        assert failing.posts == [429]
        assert dial is not None
        assert dial.state == DialState.NOT_SENT

    async def test_not_open(self):
        """A dialer that is opened before its journal says so."""
        async with Simulator(requests_per_minute=None) as sim, ExotelClient(**sim.settings) as ours:
            with pytest.raises(JournalError, match="not open"):
                await make(exotel=ours, journal=MemoryJournal(clock=sim.clock)).__aenter__()


class LateJournal(MemoryJournal):
    """Freezes the process, so to say, right after a try was written down."""

    freeze: Any = None

    async def _write(self, operation, *args, **kwargs):
        result = await super()._write(operation, *args, **kwargs)
        if operation.__name__ == "sending" and self.freeze is not None:
            await self.freeze()
        return result


class Burying:
    """A pacer in whose queue the process is thought dead."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def reserve(self) -> None:
        await self._journal._write(lambda tx: recover(tx, tx.owner))

    async def hold(self, seconds: float) -> None: ...


class Buggy:
    """A pacer that fails."""

    async def reserve(self) -> None:
        raise RuntimeError("what a day")

    async def hold(self, seconds: float) -> None: ...


class TestLateness:
    @pytest.mark.parametrize(("seconds", "tries"), [(4.9, 1), (5.1, 2)])
    async def test_frozen(self, seconds, tries):
        """A try that was written down too long ago is not begun, but written down anew."""
        async with world(lambda sim: LateJournal(clock=sim.clock)) as made:
            written = []

            async def freeze() -> None:
                written.append(1)
                if len(written) == 1:
                    made.sim.clock._elapsed += int(seconds * 1e6)

            made.journal.freeze = freeze
            dial = await made.connect()

            assert (dial.state, len(made.posts)) == (DialState.PLACED, 1)
            assert len(written) == tries

    @pytest.mark.parametrize("which", ["now", "monotonic"])
    async def test_either_clock(self, which, monkeypatch):
        """Either clock is reason enough: one may stand still while a machine sleeps."""
        async with world(lambda sim: LateJournal(clock=sim.clock)) as made:
            clock, written = made.sim.clock, []
            real, noon = getattr(clock, which), clock.now()
            monkeypatch.setattr(clock, "now", lambda: noon)  # it reads the other clock, too
            six = timedelta(seconds=6) if which == "now" else 6

            async def freeze() -> None:
                written.append(1)
                late = real() + six
                monkeypatch.setattr(clock, which, real if len(written) > 1 else lambda: late)

            made.journal.freeze = freeze
            dial = await made.connect()

            assert (dial.state, len(made.posts)) == (DialState.PLACED, 1)
            assert len(written) == 2

    async def test_thought_dead(self, made):
        """A dial that others took over is not sent any more."""
        made.dialer._door = attrs.evolve(made.exotel._door, pacer=Burying(made.journal))
        dial = await made.connect()

        assert (dial.state, made.posts) == (DialState.NOT_SENT, [])
        assert isinstance(dial.error, NotSentError)

    async def test_stopped(self):
        """When all is being closed no further try is even written down."""
        keeper = BookKeeper(MemoryJournal(), "r")  # not open: it must not be asked
        keeper.stopped = True

        with pytest.raises(NotSentError):
            await keeper.before_try()

    async def test_unforeseen(self, made, caplog):
        """A pacer with a bug sends nothing, and is no reason to be in doubt."""
        made.dialer._door = attrs.evolve(made.exotel._door, pacer=Buggy())
        dial = await made.connect()

        assert (dial.state, made.posts) == (DialState.NOT_SENT, [])
        assert isinstance(dial.error, NotSentError)
        assert "something unforeseen" in caplog.text


class TestOutcome:
    async def test_timeout(self, made):
        """What is not known in time is a TimeoutError, and can be asked for again."""
        dial = await made.connect()

        with pytest.raises(TimeoutError):
            await made.dialer.outcome(dial, timeout=0)
        with pytest.raises(TimeoutError):
            await made.passing(made.dialer.outcome(dial.ref, timeout=5), step=1)

        assert (await made.outcome(dial)).state == OutcomeState.ENDED

    async def test_no_such_dial(self, made):
        """A dial that nobody made has no outcome to wait for."""
        with pytest.raises(InvalidRequestError):
            await made.dialer.outcome("made-up", timeout=1)

    async def test_by_ref(self, made):
        """It can be awaited by the ref alone, without limit."""
        dial = await made.connect()

        outcome = await made.passing(made.dialer.outcome(dial.ref), step=10)

        assert outcome.dial.ref == dial.ref

    async def test_told(self, made):
        """Handlers are told, once."""
        dial = await made.connect()
        outcome = await made.outcome(dial)
        await made.until(lambda: made.told)
        await made.pass_time(minutes=10)

        assert made.told == [outcome]

    async def test_handler_that_fails(self, made, caplog):
        """A handler that fails is told again; others are not."""
        seen = []

        @made.dialer.on_outcome
        async def fails_once(outcome: CallOutcome) -> None:
            seen.append(outcome.state)
            if len(seen) == 1:
                raise RuntimeError("not today")

        await made.outcome(await made.connect())
        await made.until(lambda: len(seen) >= 2)
        await made.pass_time(minutes=2)

        assert seen == [OutcomeState.ENDED] * 2
        assert len(made.told) == 1

    async def test_nobody_to_tell(self, made):
        """Where nobody listens nothing is claimed: who listens later, or elsewhere, is told."""
        await made.dialer.__aexit__(None, None, None)
        seen = []

        async def listens(outcome: CallOutcome) -> None:
            seen.append(outcome.state)

        async with another(made) as deaf:
            dial = await made.passing(deaf.connect(**NUMBERS, idempotency_key=KEY))
            await made.passing(deaf.outcome(dial), step=30)
            await made.pass_time(minutes=10)
            untold = not deaf.stats()["delivered_total"]
        other = another(made)
        other.on_outcome(partial(listens))
        async with other:
            await made.until(lambda: seen)
        await made.dialer.__aenter__()

        assert untold
        assert seen == [OutcomeState.ENDED]

    def test_sync_handler(self):
        """A handler that is no async function is refused at once."""
        with pytest.raises(ConfigurationError):
            make().on_outcome(print)

    async def test_twins(self, made):
        """Two handlers of one name are both told, each once."""
        seen = []
        for i in range(2):

            @made.dialer.on_outcome
            async def twin(outcome: CallOutcome, i: int = i) -> None:
                seen.append(i)

        await made.outcome(await made.connect())
        await made.until(lambda: len(seen) >= 2)
        await made.pass_time(minutes=2)

        assert seen == [0, 1]


class TestStats:
    async def test_counters(self, made):
        """What was done is counted, all of it from the start."""
        zero = made.dialer.stats()
        await made.outcome(await made.connect())
        await made.connect()
        await made.connect("another", to=DND)
        stats = made.dialer.stats
        await made.until(lambda: len(made.told) == 2 and not stats()["under_way"])
        counted = {name: n for name, n in stats().items() if n}

        assert set(zero.values()) == {0}
        assert counted == {
            "dials_total": 2, "placed_total": 1, "refused_total": 1, "known_keys_total": 1,
            "outcomes_ended_total": 1, "delivered_total": 2,
        }  # fmt: skip


class TestLogs:
    async def test_nothing_secret(self, made, caplog):
        """No number, no key and no token stands in the log, in text or beside it."""
        caplog.set_level(logging.DEBUG, "exotel_async")
        key = "order-4711-of-somebody"
        made.sim.fault("callback-twice", times=None)
        made.sim.fault("reset-after-read", on="connect")
        await made.outcome(await made.connect(key))

        ours = [one for one in caplog.records if one.name == "exotel_async.dialer"]
        told = " ".join(f"{one.getMessage()} {vars(one)}" for one in ours)
        token = dict(made.sim.requests[0].params)["StatusCallback"].rpartition("/")[2]
        for secret in (key, token, "9812300001", "9812300002", SECRET):
            assert secret not in told

    async def test_extra(self, made, caplog):
        """Records of the end of a dial carry what a machine wants to know of it."""
        caplog.set_level(logging.INFO, "exotel_async.dialer")
        dial = await made.connect()
        await made.outcome(dial)

        (record,) = [r for r in caplog.records if getattr(r, "outcome", None)]
        assert (record.dial, record.outcome) == (dial.ref, "ended")
        assert record.call_sid.strip("'") == dial.call_sid


class TestLife:
    async def test_not_open(self):
        """Nothing is dialled before it is opened."""
        with pytest.raises(ClientClosedError):
            await make().connect(**NUMBERS, idempotency_key=KEY)

    async def test_client_not_open(self):
        """It is opened after its client."""
        async with MemoryJournal() as journal:
            with pytest.raises(ClientClosedError):
                await make(journal=journal).__aenter__()

    async def test_drained(self, made):
        """While an application shuts down nothing more is dialled; what is known still is."""
        dial = await made.connect()
        await made.dialer.drain(None)

        with pytest.raises(ClientClosedError):
            await made.dialer.connect(**NUMBERS, idempotency_key="another")

        assert await made.dialer.find(KEY) == dial
        assert len(made.posts) == 1

    async def test_twice(self, made):
        """Who enters what is open closes nothing."""
        async with made.dialer:
            pass

        assert (await made.connect()).state == DialState.PLACED

    async def test_lifespan(self, made):
        """It can be closed and opened again, by a lifespan too."""
        await made.dialer.__aexit__(None, None, None)
        with pytest.raises(ClientClosedError):
            await made.dialer.connect(**NUMBERS, idempotency_key=KEY)
        life = made.dialer.lifespan()
        await anext(life)
        dial = await made.connect()
        assert dial.state == DialState.PLACED
        await anext(life, None)
        await made.dialer.__aenter__()

    async def test_close_while_in_flight(self, made):
        """A request in flight has its time; its answer is written down, and the caller told."""
        made.sim.fault("slow-body", on="connect", seconds=0.3)
        task = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=KEY))
        while not made.posts:
            await asyncio.sleep(0.01)
        await made.dialer.__aexit__(None, None, None)
        dial = await task
        found = await made.journal.look(dial.ref)
        await made.dialer.__aenter__()

        assert dial.state == DialState.PLACED
        assert found is not None
        assert found[0].state == DialState.PLACED

    async def test_close_while_hanging(self):
        """One that gets no answer is unknown when its time is over."""
        async with world(timeout=0.3) as made:
            made.sim.fault("hang", on="connect")
            task = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=KEY))
            while not made.sim.calls:
                await asyncio.sleep(0.01)
            await made.dialer.__aexit__(None, None, None)
            dial = await task
            await made.dialer.__aenter__()

            assert dial.state == DialState.UNKNOWN

    async def test_close_while_waiting(self):
        """One that waits its turn is not waited for: it is not sent, and known as such."""
        async with world(timeout=3600.0) as made:
            pacer = SlidingWindowPacer(60, clock=made.sim.clock)
            await pacer.hold(20)
            made.dialer._door = attrs.evolve(made.exotel._door, pacer=pacer)
            task = asyncio.create_task(made.dialer.connect(**NUMBERS, idempotency_key=KEY))
            await made.quiet()
            async with asyncio.timeout(60):
                await made.dialer.__aexit__(None, None, None)
            dial = await task
            await made.dialer.__aenter__()

            assert (dial.state, made.posts) == (DialState.NOT_SENT, [])
            assert await made.dialer.find(KEY) == dial

    async def test_no_task_left(self):
        """When it is closed, no task of its own is left."""
        async with world() as made:
            before = {task.get_name() for task in asyncio.all_tasks()}
            await made.connect()
            await made.dialer.__aexit__(None, None, None)
            after = {task.get_name() for task in asyncio.all_tasks()}
            await made.dialer.__aenter__()

        assert any(name.startswith("exotel_async reconciler") for name in before)
        assert not [name for name in after if name.startswith("exotel_async")]


class TestSettings:
    @pytest.mark.parametrize(
        "changes",
        [{"exotel": None}, {"journal": None}, {"tokens": None}, {"public_url": "example.com"},
         {"public_url": None}, {"confirm": "perhaps"}, {"poll_budget": 0}, {"poll_budget": True}],
    )  # fmt: skip
    def test_impossible(self, changes):
        """A setting that can't work is refused by its name."""
        with pytest.raises(ConfigurationError, match=next(iter(changes))):
            make(**changes)

    def test_tokens_that_expire_too_soon(self):
        """A URL that is dead before the call can be over would lose its callback."""
        with pytest.raises(ConfigurationError, match="lifetime"):
            make(tokens=CallbackTokens([SECRET], lifetime=timedelta(hours=23)))

        assert make(tokens=CallbackTokens([SECRET], lifetime=timedelta(days=1)))

    def test_two_clocks(self):
        """What is written down by one clock can't be read by another: polls would never come."""
        clock = Simulator().clock
        exotel = ExotelClient(**CLOSED, clock=clock)

        with pytest.raises(ConfigurationError, match="VirtualClock, its journal by a SystemClock"):
            make(exotel=exotel)
        with pytest.raises(ConfigurationError, match="SystemClock, its journal by a VirtualClock"):
            make(journal=MemoryJournal(clock=clock))

        assert make(exotel=exotel, journal=MemoryJournal(clock=clock))
        assert make(exotel=exotel, clock=SystemClock())

    @pytest.mark.parametrize(
        ("settings", "asked", "budget"),
        [({}, None, 20), ({"requests_per_minute": 50}, None, 5), ({}, 7, 7),
         ({"requests_per_minute": 3}, None, 1), ({"requests_per_minute": None}, None, 20)],
    )  # fmt: skip
    def test_budget(self, settings, asked, budget):
        """Asking how calls ended may take a tenth of what the client may send."""
        dialer = make(exotel=ExotelClient(**CLOSED, **settings), poll_budget=asked)

        assert dialer._reconciler._budget == budget
