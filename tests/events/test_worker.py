"""How what a journal holds reaches its handlers, whatever these do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial

import pytest
from campaign import examples
from clocks import FakeClock
from deliveries import let_pass, others, tell, until, until_stats
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.errors import ConfigurationError, JournalError
from exotel_async.events import DeliveryWorker
from exotel_async.events import worker as module
from exotel_async.journal import MemoryJournal

TOPICS = ("callback.answered", "callback.terminal", "callback.other")
AT_ONCE = 0.001  # seconds, for what would otherwise wait for ever


class ListDesk:
    """A desk whose handlers are a list; `seen` notes who was awaited for which call."""

    def __init__(self) -> None:
        self.handlers = []
        self.seen = []
        self.claims = []

    def add(self, name, act=None):
        async def handler(claim):
            sid = dict(claim.pairs)["CallSid"]
            self.seen.append(f"{name}({sid})")
            if act is not None:
                await act(claim)

        self.handlers.append((name, handler))

    def topics(self):
        return TOPICS if self.handlers else ()

    async def handlers_for(self, claim):
        self.claims.append(claim)
        return [(name, partial(handler, claim)) for name, handler in self.handlers]


@pytest.fixture
def desk():
    return ListDesk()


@pytest.fixture
async def start(journal, desk):
    """Start a worker; it is closed at the end."""
    workers = []

    async def begin(**options):
        worker = DeliveryWorker(journal, desk, **options)
        workers.append(worker)
        await worker.start()
        return worker

    yield begin
    for worker in workers:
        await worker.close(grace=0)
    assert not [task for task in others() if "exotel_async" in task.get_name()]


async def fail(claim):
    raise RuntimeError("the handler's own")


async def hang(claim):
    await asyncio.Event().wait()


async def raise_cancelled(claim):
    raise asyncio.CancelledError


async def await_what_was_cancelled(claim):
    task = asyncio.ensure_future(hang(claim))
    await asyncio.sleep(0)
    task.cancel()
    await task


class Interrupt(BaseException):
    pass


async def interrupt(claim):
    raise Interrupt


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("not even that")


async def raise_unspeakable(claim):
    raise UnspeakableError


def once(act):
    """Do it the first time only."""
    acts = [act]

    async def maybe(claim):
        if acts:
            await acts.pop()(claim)

    return maybe


class TestDelivery:
    async def test_all_handlers(self, journal, desk, start):
        """Handlers are awaited one after the other, in order; then the event is done."""
        desk.add("a")
        desk.add("b")
        worker = await start()

        await tell(journal, "c1")
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "b(c1)"]
        assert (await journal.stats())["events_waiting"] == 0

    async def test_from_before(self, journal, desk, start):
        """What came in before the worker lived is delivered, oldest first."""
        desk.add("a")
        for sid in ("c1", "c2", "c3"):
            await tell(journal, sid)

        worker = await start(concurrency=1)
        await until(lambda: worker.stats()["delivered_total"] == 3)

        assert desk.seen == ["a(c1)", "a(c2)", "a(c3)"]

    async def test_nobody_wants_it(self, journal, desk, start):
        """Nothing is claimed without a handler; it waits for one."""
        worker = await start()
        await tell(journal, "c1")
        await asyncio.sleep(0)
        assert (await journal.stats())["events_waiting"] == 1

        desk.add("a")
        await tell(journal, "c2")
        await until(lambda: worker.stats()["delivered_total"] == 2)

        assert sorted(desk.seen) == ["a(c1)", "a(c2)"]

    async def test_no_handlers_for_it(self, journal, desk, start):
        """An event that no handler wants after all is done."""
        desk.add("a")
        desk.handlers_for = none_wants
        worker = await start()

        await tell(journal, "c1")

        await until(lambda: worker.stats()["delivered_total"] == 1)

    async def test_several_calls_at_once(self, journal, desk, start):
        """Calls do not wait for each other, as many as `concurrency` allows."""
        gate = asyncio.Event()
        desk.add("a", lambda claim: gate.wait())
        for number in range(5):
            await tell(journal, f"c{number}")

        worker = await start(concurrency=3)
        await until(lambda: len(desk.seen) == 3)
        await tell(journal, "c5")
        assert worker.stats()["under_way"] == 3

        gate.set()
        await until(lambda: worker.stats()["delivered_total"] == 6)
        await until(lambda: worker.stats()["under_way"] == 0)

    async def test_order_within_a_call(self, journal, desk, start):
        """The events of one call come one after the other, as they were committed."""
        order = []

        async def slowly(claim):
            order.append(f"{claim.event_id} begins")
            await asyncio.sleep(0.002)
            order.append(f"{claim.event_id} ends")

        desk.add("a", slowly)
        for leg in range(4):
            await tell(journal, "c1", EventType="whatever", **{"Legs[0][Status]": f"s{leg}"})

        worker = await start()
        await until(lambda: worker.stats()["delivered_total"] == 4)

        ids = sorted({claim.event_id for claim in desk.claims})
        assert order == [f"{one} {word}" for one in ids for word in ("begins", "ends")]

    async def test_two_workers(self, journal, desk, start):
        """Two workers on one journal share the calls; none is delivered by both."""
        desk.add("a", lambda claim: asyncio.sleep(0))
        workers = [await start(concurrency=2) for _ in range(2)]

        for number in range(20):
            await tell(journal, f"c{number}")
        await until(lambda: sum(w.stats()["delivered_total"] for w in workers) == 20)

        assert len(desk.seen) == len(set(desk.seen)) == 20


async def none_wants(claim):
    return []


class TestRetries:
    async def test_only_who_failed(self, journal, desk, clock, start):
        """A handler that failed is tried again after 5 s; those that finished are not."""
        desk.add("a")
        desk.add("b", once(fail))
        desk.add("c")
        worker = await start()
        await tell(journal, "c1")
        await until(lambda: worker.stats()["failed_total"] == 1)
        assert desk.seen == ["a(c1)", "b(c1)", "c(c1)"]

        await let_pass(clock, 4.9)
        await until_stats(journal, events_waiting=1)
        assert len(desk.seen) == 3
        clock.advance(0.1)
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen[3:] == ["b(c1)"]
        assert [claim.delivery_id for claim in desk.claims[:1]] * 2 == [
            claim.delivery_id for claim in desk.claims
        ]

    async def test_until_dead(self, journal, desk, clock, start, caplog):
        """After the last try it is a dead letter with its error; replayed, it is delivered."""
        failing = [True]

        async def fail_at_first(claim):
            if failing:
                raise RuntimeError("no line to +919876543210")

        desk.add("a")
        desk.add("b", fail_at_first)
        worker = await start()
        await tell(journal, "c1")
        at = []
        for delay in (0, 5, 30, 120, 600, 1_800, 3_600, 7_200):
            if delay:
                await let_pass(clock, delay)
            at.append(clock.elapsed)
            await until(lambda: worker.stats()["failed_total"] == len(at))

        [letter] = await journal.dead_letters()
        assert desk.seen == ["a(c1)", *["b(c1)"] * 8]
        assert (letter.call_sid, letter.attempts) == ("c1", 8)
        assert letter.error == "b: RuntimeError: no line to ***3210"
        assert worker.stats()["dead_total"] == 1
        [last] = [r for r in caplog.records if getattr(r, "outcome", "") == "dead"]
        assert (last.levelno, last.attempts) == (logging.ERROR, 8)

        failing.clear()
        assert await journal.replay([letter.id]) == 1
        await until(lambda: worker.stats()["delivered_total"] == 1)
        assert desk.seen[-1] == "b(c1)"
        assert desk.seen.count("a(c1)") == 1

    async def test_does_not_hold_up(self, journal, desk, start):
        """An event that failed does not keep the next one of its call waiting."""
        desk.add("a", once(fail))
        worker = await start()

        await tell(journal, "c1", EventType="answered")
        await until(lambda: worker.stats()["failed_total"] == 1)
        await tell(journal, "c1")
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert [claim.topic for claim in desk.claims] == ["callback.answered", "callback.terminal"]
        assert (await journal.stats())["events_waiting"] == 1

    async def test_remembered_by_the_journal(self, journal, desk, clock, start):
        """Who has seen an event is known after a restart."""
        desk.add("a")
        desk.add("b", once(fail))
        first = await start()
        await tell(journal, "c1")
        await until(lambda: first.stats()["failed_total"] == 1)
        await first.close()

        second = await start()
        await let_pass(clock, 5)
        await until(lambda: second.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "b(c1)", "b(c1)"]

    async def test_clock_set_back(self, journal, desk, clock, start, monkeypatch):
        """What is due at a time that the clock came back from is looked for all the same."""
        monkeypatch.setattr(module, "_LOOK_ANYWAY", 0.005)
        claims = []
        claim = journal.claim
        monkeypatch.setattr(journal, "claim", lambda *a, **k: (claims.append(a), claim(*a, **k))[1])
        desk.add("a")
        await start()

        await until(lambda: len(claims) >= 3)


class TestBadHandlers:
    @pytest.mark.parametrize(
        ("act", "said"),
        [
            (fail, "RuntimeError: the handler's own"),
            (raise_cancelled, "cancelled from within"),
            (await_what_was_cancelled, "cancelled from within"),
            (interrupt, "Interrupt"),
            (raise_unspeakable, "UnspeakableError"),
        ],
    )
    async def test_failure(self, journal, desk, start, caplog, act, said):
        """However a handler fails, the others run, it is noted, and other calls go on."""
        desk.add("a", once(act))
        desk.add("b")
        worker = await start(tries=1)

        await tell(journal, "c1")
        await until(lambda: worker.stats()["dead_total"] == 1)
        await tell(journal, "c2")
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "b(c1)", "a(c2)", "b(c2)"]
        [letter] = await journal.dead_letters()
        assert letter.error == f"a: {said}"
        [record] = [r for r in caplog.records if getattr(r, "handler", "") == "a"]
        assert record.outcome == "failed"
        assert act.__name__ in caplog.text  # the traceback

    @pytest.mark.parametrize("last", [None, RuntimeError("while cleaning up")])
    async def test_late(self, journal, desk, start, caplog, last):
        """A handler has its time; then it is cancelled, and has failed whatever it does then."""

        async def resist(claim):
            with contextlib.suppress(asyncio.CancelledError):
                await hang(claim)
            if last:
                raise last

        desk.add("a", resist)
        desk.add("b")
        worker = await start(tries=1, handler_timeout=AT_ONCE)

        await tell(journal, "c1")
        await until(lambda: worker.stats()["dead_total"] == 1)

        assert desk.seen == ["a(c1)", "b(c1)"]
        [letter] = await journal.dead_letters()
        assert letter.error == "a: TimeoutError: took more than 0.001 s"

    async def test_late_says_where(self, journal, desk, start, caplog):
        """The log says where a handler was when its time was over."""
        desk.add("a", hang)
        worker = await start(tries=1, handler_timeout=AT_ONCE)

        await tell(journal, "c1")
        await until(lambda: worker.stats()["dead_total"] == 1)

        assert "in hang" in caplog.text

    async def test_holds_its_call_while_it_resists(self, journal, desk, start, monkeypatch):
        """As long as a handler runs, be it late, its call is given to nobody else."""
        monkeypatch.setattr(module, "_LAST_WORDS", 0.0)
        gate, resisting = asyncio.Event(), asyncio.Event()

        async def resist(claim):
            with contextlib.suppress(asyncio.CancelledError):
                await hang(claim)
            resisting.set()
            await gate.wait()

        desk.add("a", once(resist))
        worker = await start(tries=1, handler_timeout=AT_ONCE)
        await tell(journal, "c1", EventType="answered")
        await resisting.wait()
        await tell(journal, "c1")
        await tell(journal, "c2")
        await until(lambda: worker.stats()["delivered_total"] == 1)
        assert desk.seen == ["a(c1)", "a(c2)"]

        gate.set()
        await until(lambda: worker.stats()["delivered_total"] == 2)

        assert worker.stats()["dead_total"] == 1

    async def test_unreadable(self, journal, desk, clock, start):
        """What can't be read is tried again like what fails."""
        desk.add("a")
        read, desk.handlers_for = desk.handlers_for, fail
        worker = await start()
        await tell(journal, "c1")
        await until(lambda: worker.stats()["failed_total"] == 1)

        desk.handlers_for = read
        await let_pass(clock, 5)
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)"]

    async def test_log_is_safe(self, journal, desk, start, caplog):
        """Neither text nor extra of a record shows a number or a line break of others."""
        desk.add("a", fail)
        worker = await start(tries=1)

        await tell(journal, "x%0AERROR+919876543210", ref="+919876543210")
        await until(lambda: worker.stats()["dead_total"] == 1)

        assert "9876543210" not in caplog.text
        for record in caplog.records:
            assert "9876543210" not in str(vars(record).get("delivery_id"))
            assert "\n" not in record.getMessage()


class TestBadJournal:
    @pytest.mark.parametrize("operation", ["next_event", "claim", "progress", "finish"])
    async def test_fails_for_a_while(self, journal, desk, start, monkeypatch, operation):
        """A journal that fails does not end the worker: it goes on where it was."""
        desk.add("a")
        desk.add("b")
        worker = await start()
        failures = failing(monkeypatch, journal, operation, times=2)

        for sid in ("c1", "c2"):
            await tell(journal, sid)
        await until(lambda: worker.stats()["delivered_total"] == 2)

        assert sorted(desk.seen) == ["a(c1)", "a(c2)", "b(c1)", "b(c2)"]
        assert failures == []
        assert worker.stats()["journal_errors_total"] == 2
        assert worker.stats()["lost_leases_total"] == 0

    async def test_mark_of_failure(self, journal, desk, clock, start, monkeypatch):
        """That a handler failed is written down as soon as the journal works again."""
        desk.add("a", once(fail))
        worker = await start()
        failing(monkeypatch, journal, "fail", times=2)

        await tell(journal, "c1")
        await until(lambda: worker.stats()["failed_total"] == 1)
        await let_pass(clock, 5)
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "a(c1)"]

    async def test_closed_meanwhile(self, journal, desk, start, monkeypatch):
        """Who closes does not wait for a journal that does not work."""
        desk.add("a")
        worker = await start()
        failing(monkeypatch, journal, "finish", times=10**9)
        await tell(journal, "c1")
        await until(lambda: worker.stats()["journal_errors_total"] >= 2)

        await worker.close(grace=0)

        assert others_of_ours() == []

    async def test_late_mark(self, journal, desk, start, caplog):
        """Who lost the lease learns it from the mark: warned of, counted, not marked twice."""

        async def lose(claim):
            await journal.release(claim, done=())

        desk.add("a", once(lose))
        worker = await start(concurrency=1)
        await tell(journal, "c1")
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "a(c1)"]
        assert worker.stats()["lost_leases_total"] == 1
        [record] = [r for r in caplog.records if getattr(r, "outcome", "") == "lost"]
        assert (record.levelno, "late mark" in record.getMessage()) == (logging.WARNING, True)

    async def test_lost_between_handlers(self, journal, desk, start):
        """Who lost the lease between two handlers does not begin the next."""

        async def lose(claim):
            await journal.release(claim, done=["a"])

        desk.add("a", lose)
        desk.add("b")
        worker = await start(concurrency=1)
        await tell(journal, "c1")
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "b(c1)"]
        assert worker.stats()["lost_leases_total"] == 1


def failing(monkeypatch, journal, operation, *, times):
    """Have an operation fail so often; returns what is left of that."""
    left = list(range(times)) if times < 1_000 else iter(int, 1)
    real = getattr(journal, operation)

    async def maybe(*args, **options):
        if not isinstance(left, list):
            raise JournalError("the disk is full")
        if left:
            left.pop()
            raise JournalError("the disk is full")
        return await real(*args, **options)

    monkeypatch.setattr(journal, operation, maybe)
    return left


def others_of_ours():
    return [task.get_name() for task in others() if "exotel_async" in task.get_name()]


class TestClose:
    async def test_grace(self, journal, desk, start):
        """Handlers that run have their time to end; nothing new is claimed."""
        gate = asyncio.Event()
        desk.add("a", lambda claim: gate.wait())
        worker = await start()
        await tell(journal, "c1")
        await until(lambda: desk.seen == ["a(c1)"])

        closing = asyncio.create_task(worker.close())
        await asyncio.sleep(0)
        await tell(journal, "c2")
        gate.set()
        await closing

        assert desk.seen == ["a(c1)"]
        stats = await journal.stats()
        assert (stats["events_waiting"], stats["events_claimed"]) == (1, 0)
        assert worker.stats()["delivered_total"] == 1

    async def test_drain(self, journal, desk, start):
        """Draining, it claims nothing; what runs goes on, and it still counts as running."""
        gate = asyncio.Event()
        desk.add("a", lambda claim: gate.wait())
        worker = await start()
        await tell(journal, "c1")
        await until(lambda: desk.seen == ["a(c1)"])

        worker.drain()
        await tell(journal, "c2")
        assert worker.running is True
        gate.set()
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)"]
        await worker.close()
        assert worker.running is False

    @pytest.mark.parametrize("operation", ["next_event", "claim"])
    async def test_drained_while_claiming(self, journal, desk, start, monkeypatch, operation):
        """What is claimed just when the draining begins is given back; that is no try."""
        desk.add("a")
        worker = await start()
        real = getattr(journal, operation)

        async def drain_meanwhile(*args, **options):
            found = await real(*args, **options)
            if found not in (None, ()):
                worker.drain()
            return found

        monkeypatch.setattr(journal, operation, drain_meanwhile)
        await tell(journal, "c1")
        await until(lambda: worker._draining)
        await worker.close()
        monkeypatch.undo()

        assert desk.seen == []
        assert worker.stats()["released_total"] == (operation == "claim")
        [claim] = await journal.claim(TOPICS, most=1, tries=9)
        assert claim.attempts == 1

    async def test_after_the_grace(self, journal, desk, start):
        """After that they are cancelled and give back what they had: the try does not count."""
        desk.add("a")
        desk.add("b", once(hang))
        first = await start()
        await tell(journal, "c1")
        await until(lambda: "b(c1)" in desk.seen)

        await first.close(grace=0)
        assert (await journal.stats())["events_claimed"] == 0
        second = await start()
        await until(lambda: second.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "b(c1)", "b(c1)"]
        assert [claim.attempts for claim in desk.claims] == [1, 1]
        assert (first.stats()["released_total"], first.stats()["failed_total"]) == (1, 0)

    async def test_swallowed(self, journal, desk, start):
        """A handler that swallows its last cancellation is run again: who knows how far it was."""

        async def swallow(claim):
            with contextlib.suppress(asyncio.CancelledError):
                await hang(claim)

        desk.add("a", once(swallow))
        first = await start()
        await tell(journal, "c1")
        await until(lambda: desk.seen)
        await first.close(grace=0)

        second = await start()
        await until(lambda: second.stats()["delivered_total"] == 1)

        assert desk.seen == ["a(c1)", "a(c1)"]

    async def test_endless(self, journal, desk, start, caplog, monkeypatch):
        """A handler that does not end at all is named, and not waited for any longer."""
        monkeypatch.setattr(module, "_LAST_WORDS", AT_ONCE)
        gate = asyncio.Event()

        async def resist(claim):
            while not gate.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await gate.wait()

        desk.add("a", resist)
        worker = await start()
        await tell(journal, "c1")
        await until(lambda: desk.seen)
        try:
            await worker.close(grace=0)
            claimed = (await journal.stats())["events_claimed"]
        finally:
            gate.set()
        await until(lambda: not others_of_ours())

        [record] = [r for r in caplog.records if getattr(r, "outcome", "") == "stuck"]
        assert record.handler == "a"
        assert claimed == 1

    async def test_cancelled(self, journal, desk, start):
        """Who is cancelled while closing leaves nothing behind all the same."""
        desk.add("a", hang)
        worker = await start()
        await tell(journal, "c1")
        await until(lambda: desk.seen)

        closing = asyncio.create_task(worker.close(grace=3_600))
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

        assert others_of_ours() == []
        assert (await journal.stats())["events_claimed"] == 0

    async def test_again(self, journal, desk, start):
        """It may be closed twice, or without having lived, and live again."""
        desk.add("a")
        idle = DeliveryWorker(journal, desk)
        await idle.close()
        worker = await start()
        await worker.close()
        await worker.close()

        await worker.start()
        await tell(journal, "c1")
        await until(lambda: worker.stats()["delivered_total"] == 1)

        assert worker.running is True

    async def test_started_twice(self, start):
        """Started while it runs, it says so."""
        worker = await start()

        with pytest.raises(ConfigurationError, match="runs already"):
            await worker.start()

    async def test_journal_not_open(self, desk):
        """Without an open journal it does not start."""
        worker = DeliveryWorker(MemoryJournal(), desk)

        with pytest.raises(JournalError, match="not open"):
            await worker.start()
        assert worker.running is False


class TestCancelAnywhere:
    @pytest.mark.parametrize(
        ("grace", "seen"), [(10.0, {(True, 0), (True, 2)}), (0.0, {(True, 0), (True, 1)})]
    )
    async def test_every_step(self, grace, seen):
        """Cancelled at any step of its life, a worker leaves no task and no lease."""
        ends = set()
        for steps in range(80):
            async with MemoryJournal() as journal:
                desk = ListDesk()
                desk.add("a", lambda claim: asyncio.sleep(0))
                desk.add("b", lambda claim: asyncio.sleep(0))
                await tell(journal, "c1")
                worker = DeliveryWorker(journal, desk)
                life = asyncio.create_task(live(worker, grace=grace))
                for _ in range(steps):
                    await asyncio.sleep(0)
                life.cancel()
                await asyncio.wait([life])
                ends.add((life.cancelled(), len(desk.seen)))

                assert others() == set()
                assert (await journal.stats())["events_claimed"] == 0
        assert seen | {(False, 2)} <= ends


async def live(worker, *, grace):
    await worker.start()
    try:
        await until_delivered(worker)
    finally:
        await worker.close(grace=grace)


async def until_delivered(worker):
    while not worker.stats()["delivered_total"]:
        await asyncio.sleep(0)


ACTS = {"well": None, "fails": fail, "is cancelled": raise_cancelled, "bursts": interrupt}
PLANS = st.lists(  # for each event: its call, and what its two handlers do at each try
    st.tuples(
        st.sampled_from(["c1", "c2"]),
        *[st.lists(st.sampled_from(sorted(ACTS)), max_size=4) for _ in range(2)],
    ),
    max_size=6,
)


class TestAnyHandlers:
    @given(plans=PLANS)
    @examples(60)
    def test_all_end(self, plans):
        """Whatever handlers do, each event ends: seen once by each that could, or a dead letter."""
        asyncio.run(self.check(plans))

    async def check(self, plans):
        tries = 3
        async with MemoryJournal(clock=FakeClock()) as journal:
            desk, did, began = PlannedDesk(plans), [], []
            desk.did, desk.began = did, began
            worker = DeliveryWorker(journal, desk, tries=tries)
            for number, (sid, *_) in enumerate(plans):
                await tell(journal, sid, EventType=f"e{number}")
            await worker.start()
            await until_stats(journal, events_waiting=0, events_claimed=0)
            await worker.close()

            dead = {letter.delivery_id for letter in await journal.dead_letters()}
        for number, (_, *acts) in enumerate(plans):
            for name, planned in enumerate(acts):
                failures = next((i for i, act in enumerate(planned) if act == "well"), len(planned))
                done = did.count((number, name))
                assert done == (1 if failures < tries else 0)
        hopeless = sum(
            any(all(act != "well" for act in planned[:tries]) and len(planned) >= tries
                for planned in acts)
            for _, *acts in plans
        )  # fmt: skip
        assert len(dead) == hopeless == worker.stats()["dead_total"]
        assert worker.stats()["delivered_total"] == len(plans) - hopeless
        for sid in ("c1", "c2"):
            first = list(dict.fromkeys(number for call, number in began if call == sid))
            assert first == sorted(first)


class PlannedDesk:
    """A desk whose two handlers do at each try what a plan says, and in the end well."""

    def __init__(self, plans):
        self._left = {
            (number, name): list(acts)
            for number, (_, *plan) in enumerate(plans)
            for name, acts in enumerate(plan)
        }

    def topics(self):
        return TOPICS

    async def handlers_for(self, claim):
        texts = dict(claim.pairs)
        number = int(texts["EventType"][1:])
        self.began.append((texts["CallSid"], number))
        return [(f"h{name}", partial(self.act, number, name)) for name in range(2)]

    async def act(self, number, name):
        left = self._left[number, name]
        act = ACTS[left.pop(0)] if left else None
        await asyncio.sleep(0)
        if act is not None:
            await act(None)
        self.did.append((number, name))
