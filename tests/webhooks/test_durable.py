"""Receiving StatusCallbacks over real HTTP into a journal: committed, answered, then delivered."""

from __future__ import annotations

import asyncio
import logging
import time

import aiohttp
import pytest
from aiohttp import web
from deliveries import make_journal, others, tell, until, until_stats
from receivers import BODY, FORM, SECRET, Receiver, collecting, receiving, serving
from samples import form_sample, multipart

from exotel_async import (
    CallbackTokens,
    CallTerminated,
    ConfigurationError,
    JournalError,
    StatusCallback,
)
from exotel_async.events import CallbackRouter
from exotel_async.journal import MemoryJournal, SQLiteJournal
from exotel_async.journal.records import Answered, NewDial
from exotel_async.models.dials import DialState
from exotel_async.webhooks import StatusCallbacks
from exotel_async.webhooks import durable as module

TYPE = {"Content-Type": FORM}
TOKENS = CallbackTokens([SECRET])


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def post(session):
    """Post a body to a receiver; returns the status."""

    async def send(receiver, body=BODY, *, path=None, headers=TYPE):
        url = receiver.base + (path or receiver.path())
        async with session.post(url, data=body, headers=headers) as answer:
            return answer.status

    return send


@pytest.fixture
async def receiver(journal):
    async with receiving(journal=journal) as running:
        yield running


def told(caplog, outcome):
    """List the records of what came to this."""
    return [record for record in caplog.records if getattr(record, "outcome", "") == outcome]


def counted(receiver, *, but=()):
    """List the counters that are not 0."""
    return {name: n for name, n in receiver.callbacks.stats().items() if n and name not in but}


class TestCommit:
    async def test_delivered(self, receiver, post):
        """A callback is answered 200, and its event reaches the handlers."""
        assert await post(receiver) == 200
        await until(lambda: receiver.events)
        await until(lambda: receiver.callbacks.stats()["under_way"] == 0)

        [event] = receiver.events
        assert (type(event), event.call_sid, event.ref) == (CallTerminated, "a1", "order-42")
        assert event.delivery_id
        assert counted(receiver) == {
            "received_total": 1, "recorded_new_total": 1, "delivered_total": 1,
        }  # fmt: skip

    async def test_answered_before_handlers(self, journal, post):
        """The answer waits for the commit, not for handlers."""
        callbacks = StatusCallbacks(tokens=TOKENS, journal=journal)
        gate = asyncio.Event()

        @callbacks.on(StatusCallback)
        async def wait(event):
            await gate.wait()

        async with mounted(callbacks) as receiver:
            assert await post(receiver) == 200
            assert (await journal.stats())["receipts"] == 1
            assert callbacks.stats()["delivered_total"] == 0
            gate.set()
            await until(lambda: callbacks.stats()["delivered_total"] == 1)

    async def test_repeated(self, receiver, post):
        """An exact copy, in whatever encoding, is answered 200 and reaches nobody."""
        form, content_type = multipart(
            [("From", "+919876543210"), ("Status", "completed"), ("CallSid", "a1")]
        )

        assert await post(receiver) == await post(receiver) == 200
        assert await post(receiver, form, headers={"Content-Type": content_type}) == 200
        await until(lambda: receiver.callbacks.stats()["delivered_total"])
        assert await post(receiver) == 200

        assert len(receiver.events) == 1
        assert receiver.callbacks.stats()["recorded_duplicate_total"] == 3

    async def test_another_url(self, receiver, post):
        """The same words through another URL are another event: no URL can poison another."""
        for ref in ("order-42", "order-43", ""):
            assert await post(receiver, path=receiver.path(ref)) == 200
        await until(lambda: receiver.callbacks.stats()["delivered_total"] == 3)

        assert {event.ref for event in receiver.events} == {"order-42", "order-43", None}

    async def test_exotels_sample(self, receiver, post):
        """Exotel's own payload is decoded for the handler as it is without a journal."""
        form, content_type = multipart(form_sample("statuscallback_terminal.form.txt"))

        await post(receiver, form, headers={"Content-Type": content_type})
        await until(lambda: receiver.events)

        async with receiving() as plain:
            await post(plain, form, headers={"Content-Type": content_type})
        assert receiver.events == plain.events
        assert receiver.events[0].pairs == plain.events[0].pairs

    async def test_without_tokens(self, journal, post):
        """Without tokens callbacks have no ref, and are deduplicated all the same."""
        async with receiving(journal=journal, tokens=None) as receiver:
            for _ in range(2):
                assert await post(receiver, path="/exotel/") == 200
            await until(lambda: receiver.callbacks.stats()["delivered_total"])

        assert [event.ref for event in receiver.events] == [None]

    async def test_many_bodies(self, receiver, post):
        """Of one ref 64 different bodies are kept: whoever got hold of a URL can't fill the disk.

        What is not kept is not answered 200; copies of what is kept are.
        """
        path = receiver.path()
        statuses = [await post(receiver, BODY + b"&X=%d" % n, path=path) for n in range(70)]

        assert statuses == [200] * 64 + [429] * 6
        assert await post(receiver, BODY + b"&X=0", path=path) == 200
        assert receiver.callbacks.stats()["recorded_too_many_total"] == 6

    async def test_contradiction(self, receiver, journal, post):
        """A callback that names another call than its dial's is kept, marked and not delivered."""
        await place(journal, "dial-1", call_sid="b2")
        path = "/exotel/" + TOKENS.mint("dial-1", now=journal.clock.now(), kind="dial")

        assert await post(receiver, path=path) == 200
        assert await post(receiver, b"CallSid=b2&Status=completed", path=path) == 200
        await until(lambda: receiver.events)

        assert [event.call_sid for event in receiver.events] == ["b2"]
        assert receiver.callbacks.stats()["recorded_contradiction_total"] == 1

    async def test_kinds_apart(self, receiver, journal, post):
        """A ref of the user's own is no dial, though it be spelt like one."""
        await place(journal, "dial-1", call_sid="b2")

        assert await post(receiver, path=receiver.path("dial-1")) == 200

        assert receiver.callbacks.stats()["recorded_new_total"] == 1


async def place(journal, ref, *, call_sid):
    new = NewDial(ref=ref, account="acc", key=ref, seal="s", arguments={}, longest=60.0)
    await journal.intend(new, retry_if=(), fits=lambda _: True)
    await journal.sending(ref, patience=5.0)
    await journal.answered(ref, Answered(state=DialState.PLACED, call_sid=call_sid))


def mounted(callbacks, *, lives=True):
    """Serve callbacks that have handlers already."""
    return _Mounted(callbacks, lives=lives)


class _Mounted:
    def __init__(self, callbacks, *, lives):
        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        if lives:
            app.cleanup_ctx.append(callbacks.lifespan)
        self._callbacks, self._serving = callbacks, serving(app)

    async def __aenter__(self):
        return Receiver(self._callbacks, [], await self._serving.__aenter__())

    async def __aexit__(self, *error):
        await self._serving.__aexit__(*error)


class TestUpdates:
    async def test_only_who_asked(self, journal, post):
        """What is told once more, and tells more, goes to those who asked for updates."""
        callbacks = StatusCallbacks(tokens=TOKENS, journal=journal)
        once, all_of_it = [], []

        @callbacks.on(CallTerminated)
        async def first(event):
            once.append(event)

        @callbacks.on(CallTerminated, updates=True)
        async def each(event):
            all_of_it.append(event)

        async with mounted(callbacks) as receiver:
            path = receiver.path()
            await post(receiver, path=path)
            await until(lambda: all_of_it)
            await post(receiver, BODY + b"&RecordingUrl=https://example.com/r", path=path)
            await until(lambda: len(all_of_it) == 2)

        assert len(once) == 1
        assert [event.recording_url for event in all_of_it] == [None, "https://example.com/r"]
        assert {event.call_sid for event in all_of_it} == {"a1"}
        assert all_of_it[1].from_ == "+919876543210"
        assert len({event.delivery_id for event in all_of_it}) == 2
        assert callbacks.stats()["recorded_update_total"] == 1

    async def test_nobody_asked(self, receiver, post):
        """Where nobody asked it is kept and reaches nobody."""
        path = receiver.path()
        await post(receiver, path=path)
        await until(lambda: receiver.events)
        await post(receiver, BODY + b"&RecordingUrl=https://example.com/r", path=path)
        await post(receiver, b"CallSid=a2&Status=busy", path=receiver.path("next"))
        await until(lambda: len(receiver.events) == 2)

        assert [event.call_sid for event in receiver.events] == ["a1", "a2"]

    async def test_missed_while_failing(self, journal, post):
        """Who has seen the first telling is told the second, though another handler failed."""
        callbacks = StatusCallbacks(tokens=TOKENS, journal=journal)
        seen, failures = [], [RuntimeError("once")]

        @callbacks.on(CallTerminated, updates=True)
        async def each(event):
            seen.append(event.recording_url)

        @callbacks.on(CallTerminated)
        async def fails(event):
            if failures:
                raise failures.pop()

        async with mounted(callbacks) as receiver:
            path = receiver.path()
            await post(receiver, path=path)
            await until(lambda: callbacks.stats()["failed_total"] == 1)
            await post(receiver, BODY + b"&RecordingUrl=https://example.com/r", path=path)
            await until(lambda: len(seen) == 2)

        assert seen == [None, "https://example.com/r"]


class TestUnavailable:
    async def test_no_commit(self, receiver, journal, post, caplog, monkeypatch):
        """Where nothing could be committed the answer is 503, with one line in the log."""
        real = journal.record

        async def broken(receipt):
            raise JournalError("the disk is full at +919876543210")

        monkeypatch.setattr(journal, "record", broken)
        assert await post(receiver) == 503
        monkeypatch.setattr(journal, "record", real)
        assert await post(receiver) == 200
        await until(lambda: receiver.events)

        [record] = told(caplog, "unavailable")
        assert (record.levelno, record.call_sid) == (logging.ERROR, "a1")
        assert "the disk is full at ***3210" in record.getMessage()
        assert len(receiver.events) == 1
        assert receiver.callbacks.stats()["unavailable_total"] == 1

    async def test_unexpected(self, receiver, journal, post, caplog, monkeypatch):
        """An error that nobody thought of is answered 503 too, with its traceback in the log."""

        async def broken(receipt):
            raise ZeroDivisionError

        monkeypatch.setattr(journal, "record", broken)

        assert await post(receiver) == 503
        [record] = told(caplog, "unavailable")
        assert record.exc_info[0] is ZeroDivisionError

    async def test_late_commit(self, receiver, journal, post, caplog, monkeypatch):
        """A commit that takes too long is answered 503; done after all, it is delivered once."""
        real, gate = journal.record, asyncio.Event()
        monkeypatch.setattr(module, "_COMMIT_TIMEOUT", 0.001)

        async def late(receipt):
            async def later():
                await gate.wait()
                return await real(receipt)

            return await asyncio.shield(asyncio.ensure_future(later()))

        monkeypatch.setattr(journal, "record", late)
        async with asyncio.timeout(7):
            assert await post(receiver) == 503
        gate.set()
        monkeypatch.setattr(module, "_COMMIT_TIMEOUT", 8.0)
        assert await post(receiver) == 200
        await until(lambda: receiver.callbacks.stats()["delivered_total"])

        [record] = told(caplog, "unavailable")
        assert "took more than" in record.getMessage()
        assert len(receiver.events) == 1
        assert receiver.callbacks.stats()["recorded_duplicate_total"] == 1

    async def test_no_lifespan(self, journal, post, caplog):
        """Where nobody would deliver the answer is 503, and one line says what to do."""
        callbacks, _ = collecting(journal=journal)
        async with mounted(callbacks, lives=False) as receiver:
            statuses = [await post(receiver, BODY + b"&X=%d" % n) for n in range(3)]

        assert statuses == [503] * 3
        assert callbacks.ready() is False
        [record] = told(caplog, "unavailable")
        assert "cleanup_ctx" in record.getMessage()
        assert (await journal.stats())["receipts"] == 0
        assert callbacks.stats()["unavailable_total"] == 3

    async def test_refused_as_ever(self, journal, post, session):
        """What is no callback of ours is refused in the same way, whether we are ready or not."""
        callbacks, _ = collecting(journal=journal)
        async with mounted(callbacks, lives=False) as receiver:
            forged = await post(receiver, path="/exotel/x.1.y")
            malformed = await post(receiver, b"no callback")
            async with session.get(f"{receiver.base}/exotel/") as answer:
                greeted = answer.status

        assert (forged, malformed, greeted) == (404, 400, 200)

    async def test_after_its_life(self, journal, post, caplog):
        """When the lifespan has ended, callbacks are answered 503; it may live again."""
        callbacks, _ = collecting(journal=journal)
        async with mounted(callbacks, lives=False) as receiver:
            async with callbacks:
                before = await post(receiver, BODY + b"&X=1")
            after = await post(receiver, BODY + b"&X=2")
            async with callbacks:
                again = await post(receiver, BODY + b"&X=3")

        assert (before, after, again) == (200, 503, 200)
        [record] = told(caplog, "unavailable")
        assert "closed" in record.getMessage()


class TestDeliverFalse:
    async def test_takes_only(self, journal, post):
        """It commits and delivers nothing; whoever has the same journal and handlers does."""
        async with receiving(journal=journal, deliver=False) as receiver:
            assert receiver.callbacks.ready() is True
            assert await post(receiver) == 200
            await tell(journal, "a2")
            assert (await journal.stats())["events_waiting"] == 2

            worker, delivered = collecting(journal=journal)
            async with worker:
                await until(lambda: len(delivered) == 2)

        assert receiver.events == []
        assert receiver.callbacks.ready() is False

    async def test_needs_no_lifespan(self, journal, post):
        """An open journal is enough for it."""
        callbacks, _ = collecting(journal=journal, deliver=False)
        async with mounted(callbacks, lives=False) as receiver:
            assert await post(receiver) == 200

    async def test_after_its_life(self, journal, post):
        """When its lifespan has ended, callbacks are answered 503."""
        callbacks, _ = collecting(journal=journal, deliver=False)
        async with mounted(callbacks, lives=False) as receiver:
            async with callbacks:
                pass
            assert await post(receiver) == 503

    async def test_journal_closed(self, post, caplog):
        """Without an open journal callbacks are answered 503."""
        callbacks, _ = collecting(journal=MemoryJournal(), deliver=False)
        async with mounted(callbacks, lives=False) as receiver:
            assert await post(receiver) == 503

        [record] = told(caplog, "unavailable")
        assert "not open" in record.getMessage()


class TestRefusals:
    async def test_counted_by_reason(self, receiver, post, session, clock):
        """Refusals are counted by reason; a secret removed too early has one of its own."""
        removed = CallbackTokens(["a secret that is no longer listed"])
        expired = receiver.path()
        clock.advance(31 * 24 * 3_600)
        paths = {
            "missing": "/exotel/",
            "forged": "/exotel/x.1.y",
            "unknown_secret": "/exotel/" + removed.mint("x", now=clock.now()),
            "expired": expired,
        }

        for path in paths.values():
            assert await post(receiver, path=path) == 404
        assert await post(receiver, b"no callback") == 400
        assert await post(receiver, BODY + b"x" * 70_000) == 413
        async with session.put(receiver.base + receiver.path()) as answer:
            assert answer.status == 405

        reasons = (*paths, "malformed", "too_large", "method")
        assert counted(receiver) == {f"refused_{reason}_total": 1 for reason in reasons}

    async def test_without_journal(self, session, post):
        """Without a journal there are counters as well, with those names that have a meaning."""
        async with receiving() as receiver:
            await post(receiver)
            await post(receiver, path="/exotel/x.1.y")

            assert counted(receiver) == {
                "received_total": 1, "delivered_total": 1, "refused_forged_total": 1,
            }  # fmt: skip


class TestSettings:
    def test_deliver_without_journal(self):
        """deliver=False without a journal makes no sense."""
        with pytest.raises(ConfigurationError, match="deliver=False needs a journal"):
            StatusCallbacks(tokens=TOKENS, deliver=False)

    @pytest.mark.parametrize("journal", ["calls.db", object(), SQLiteJournal])
    def test_no_journal(self, journal):
        """What is no journal is refused by name."""
        with pytest.raises(ConfigurationError, match="journal must be"):
            StatusCallbacks(tokens=TOKENS, journal=journal)

    async def test_updates_without_journal(self):
        """updates=True without a journal is refused, however it gets there."""
        callbacks, router, later = (
            StatusCallbacks(tokens=TOKENS),
            CallbackRouter(),
            CallbackRouter(),
        )
        router.on(CallTerminated, updates=True)(ignore)
        callbacks.include(later)
        later.on(CallTerminated, updates=True)(ignore)

        with pytest.raises(ConfigurationError, match="updates=True needs a journal"):
            callbacks.on(CallTerminated, updates=True)(ignore)
        with pytest.raises(ConfigurationError, match="updates=True needs a journal"):
            callbacks.include(router)
        with pytest.raises(ConfigurationError, match="updates=True needs a journal"):
            async with callbacks:
                pass

    @pytest.mark.parametrize("deliver", [True, False])
    @pytest.mark.parametrize("store", ["memory", "sqlite"])
    async def test_order_of_lifespans(self, tmp_path, store, deliver):
        """An application in which the journal would open too late does not start, and says why."""
        journal = make_journal(store, tmp_path)
        callbacks, _ = collecting(journal=journal, deliver=deliver)
        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.extend([callbacks.lifespan, journal.lifespan])

        with pytest.raises(JournalError, match=r"journal\.lifespan must stand before"):
            async with serving(app):
                pass

        assert callbacks.ready() is False
        assert others() == set()

    async def test_lives_twice(self, journal):
        """It can't live in two applications at once."""
        callbacks, _ = collecting(journal=journal)

        async with callbacks:
            with pytest.raises(ConfigurationError, match="runs already"):
                async with callbacks:
                    pass
            assert callbacks.ready() is True

    @pytest.mark.parametrize(("durable", "seconds"), [(False, 10.0), (True, 60.0)])
    def test_handler_timeout(self, durable, seconds):
        """Handlers have ten seconds, and with a journal a minute."""
        callbacks = StatusCallbacks(tokens=TOKENS, journal=MemoryJournal() if durable else None)

        assert callbacks._handler_timeout == seconds

    def test_needs_no_loop(self, tmp_path):
        """It is made, given handlers and mounted without a loop or a file."""
        callbacks, _ = collecting(journal=SQLiteJournal(tmp_path / "calls.db"))

        web.Application().add_subapp("/exotel/", callbacks.app)

        assert list(tmp_path.iterdir()) == []
        assert callbacks.stats()["delivered_total"] == 0


async def ignore(event):
    """Do nothing."""


@pytest.fixture(params=["memory", "sqlite"])
def unopened(request, tmp_path, clock):
    """A journal that an application opens; in memory it stays open, or it would forget all."""
    return make_journal(request.param, tmp_path, clock)


class TestStopping:
    async def test_in_flight(self, unopened, post, monkeypatch):
        """From on_shutdown nothing is claimed, but a callback in flight is committed still."""
        callbacks, events = collecting(journal=unopened)
        real, waiting, gate, ready = unopened.record, asyncio.Event(), asyncio.Event(), []

        async def slow(receipt):
            waiting.set()
            await gate.wait()
            return await real(receipt)

        async def let_go(app):
            ready.append(callbacks.ready())
            gate.set()
            await until_stats(unopened, receipts=1)
            for _ in range(20):  # in which a worker that still claimed would
                await asyncio.sleep(0.001)

        monkeypatch.setattr(unopened, "record", slow)
        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.extend([unopened.lifespan, callbacks.lifespan])
        app.on_shutdown.append(let_go)
        async with unopened:  # so that it can be looked into afterwards
            async with serving(app) as port:
                assert callbacks.ready() is True
                posting = asyncio.create_task(post(Receiver(callbacks, [], port)))
                await waiting.wait()
            status = await posting
            stats = await unopened.stats()
            seen = list(events)
            async with callbacks:  # as the next process would
                await until(lambda: events)

        assert (ready, status, seen) == ([False], 200, [])
        assert (stats["receipts"], stats["events_waiting"]) == (1, 1)

    async def test_grace(self, unopened, monkeypatch, post):
        """Handlers get their time; who needs more is cancelled, and that try does not count."""
        monkeypatch.setattr(module, "_GRACE", 0.01)
        callbacks = StatusCallbacks(tokens=TOKENS, journal=unopened)
        begun, slow = [], [True]

        @callbacks.on(StatusCallback)
        async def handler(event):
            begun.append(event.delivery_id)
            if slow:
                await asyncio.Event().wait()

        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.extend([unopened.lifespan, callbacks.lifespan])
        async with unopened:
            async with serving(app) as port:
                await post(Receiver(callbacks, [], port))
                await until(lambda: begun)
            stats = await unopened.stats()
            assert (stats["events_waiting"], stats["events_claimed"]) == (1, 0)

            slow.clear()
            async with callbacks:
                await until(lambda: callbacks.stats()["delivered_total"] == 1)

        assert begun[0] == begun[1]
        assert (callbacks.stats()["released_total"], callbacks.stats()["failed_total"]) == (1, 0)

    async def test_finishes_in_time(self, unopened, post):
        """A handler that ends in its time is done, though the server is stopping."""
        callbacks = StatusCallbacks(tokens=TOKENS, journal=unopened)
        begun, ended, gate = [], [], asyncio.Event()

        @callbacks.on(StatusCallback)
        async def handler(event):
            begun.append(event)
            await gate.wait()
            ended.append(event)

        async def open_gate(app):
            gate.set()

        app = web.Application()
        app.add_subapp("/exotel/", callbacks.app)
        app.cleanup_ctx.extend([unopened.lifespan, callbacks.lifespan])
        app.on_shutdown.append(open_gate)
        async with unopened:
            async with serving(app) as port:
                await post(Receiver(callbacks, [], port))
                await until(lambda: begun)
            stats = await unopened.stats()

        assert len(ended) == 1
        assert (stats["events_waiting"], stats["events_claimed"]) == (0, 0)


class TestHeartbeat:
    async def test_blocked_loop(self, tmp_path, caplog):
        """A handler that blocks the loop for longer than a lease loses nothing by it."""
        callbacks, rivals = (
            StatusCallbacks(tokens=TOKENS, journal=SQLiteJournal(tmp_path / "c.db", lease=0.3))
            for _ in range(2)
        )
        seen = []

        @callbacks.on(StatusCallback)
        async def block(event):
            seen.append(event)
            time.sleep(0.8)  # noqa: ASYNC251 - that is the fault

        journals = [each._intake._journal for each in (callbacks, rivals)]
        rivals.include(callbacks)
        async with journals[0], journals[1]:
            await tell(journals[0], "c1")
            async with callbacks, rivals:
                await until_stats(journals[0], events_waiting=0, events_claimed=0)
            stats = [each.stats() for each in (callbacks, rivals)]

        assert len(seen) == 1
        assert sum(each["delivered_total"] for each in stats) == 1
        assert sum(each["lost_leases_total"] for each in stats) == 0
