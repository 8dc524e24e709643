"""How an event reaches its handlers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

import pytest

from exotel_async import CallTerminated, StatusCallback
from exotel_async.events import CallbackRouter, deliver

EVENT = CallTerminated(call_sid="a1")
AT_ONCE = 0.001  # seconds, for what would otherwise wait for ever
LONG = 60.0


@pytest.fixture
def ran():
    return []


@pytest.fixture
def router():
    return CallbackRouter()


@pytest.fixture
def register(router, ran):
    """Register a handler that notes its name, then does what it is given."""

    def add(name, *acts):
        @router.on(CallTerminated)
        async def handler(event):
            ran.append(name)
            for act in acts:
                await act(event)

        handler.__qualname__ = name

    return add


async def fail(event):
    raise RuntimeError("the handler's own")


async def time_out_by_itself(event):
    async with asyncio.timeout(0):
        await hang(event)


async def raise_cancelled(event):
    raise asyncio.CancelledError


async def await_what_was_cancelled(event):
    task = asyncio.ensure_future(hang(event))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def hang(event):
    await asyncio.Event().wait()


async def test_blocking_too_long() -> None:
    """A handler that blocks the loop beyond the time counts as late, and none is started after."""
    router, started = CallbackRouter(), []

    @router.on(StatusCallback)
    async def block(event: StatusCallback) -> None:
        time.sleep(0.03)  # noqa: ASYNC251 - that is the fault

    @router.on(StatusCallback)
    async def after(event: StatusCallback) -> None:
        started.append(event)

    assert not await deliver(CallTerminated(call_sid="a1"), router, within=0.01)
    assert started == []


class TestDeliver:
    async def test_all_well(self, router, register, ran):
        """All handlers are awaited, one after the other, in order."""
        register("a", lambda _: asyncio.sleep(0), lambda _: asyncio.sleep(0))
        register("b")

        done_well = await deliver(EVENT, router, within=LONG)

        assert done_well is True
        assert ran == ["a", "b"]

    async def test_one_after_the_other(self, router, ran):
        """A handler begins when the one before has ended."""
        for name in "ab":

            @router.on(CallTerminated)
            async def handler(event, name=name):
                ran.append(f"{name} begins")
                await asyncio.sleep(0)
                ran.append(f"{name} ends")

        await deliver(EVENT, router, within=LONG)

        assert ran == ["a begins", "a ends", "b begins", "b ends"]

    async def test_no_handlers(self, router, caplog):
        """An event that nobody wants is done well."""
        assert await deliver(EVENT, router, within=LONG) is True
        assert caplog.records == []

    @pytest.mark.parametrize(
        "act", [fail, time_out_by_itself, raise_cancelled, await_what_was_cancelled]
    )
    async def test_failure(self, router, register, ran, caplog, act):
        """A handler that fails, however it does, is logged once and does not stop the next."""
        register("a", act)
        register("b")

        done_well = await deliver(EVENT, router, within=LONG)

        assert done_well is False
        assert ran == ["a", "b"]
        [record] = caplog.records
        assert record.name == "exotel_async.events"
        assert record.levelno == logging.ERROR
        assert "handler a" in record.getMessage()
        assert act.__name__ in caplog.text  # the traceback

    async def test_each_failure(self, router, register, ran, caplog):
        """Each failure is logged, and success afterwards does not undo it."""
        register("a", fail)
        register("b")
        register("c", fail)
        register("d")

        done_well = await deliver(EVENT, router, within=LONG)

        assert done_well is False
        assert ran == ["a", "b", "c", "d"]
        assert len(caplog.records) == 2

    async def test_failing_handler_without_name(self, router, caplog):
        """A handler that is an object is named by its class."""

        class Ended:
            async def __call__(self, event):
                await fail(event)

        router.on(CallTerminated)(Ended())

        await deliver(EVENT, router, within=LONG)

        assert "handler Ended failed" in caplog.text

    async def test_log_is_safe(self, router, register, caplog):
        """A CallSid that somebody made up can't write log lines, nor show a number."""
        register("a", fail)
        event = CallTerminated(call_sid="x\nERROR forged +919876543210" + "y" * 1_000)

        await deliver(event, router, within=LONG)

        [message] = caplog.messages
        assert "\n" not in message
        assert "9876543210" not in message
        assert len(message) < 200


class TestTimeOut:
    async def test_cancels_and_starts_no_more(self, router, register, ran, caplog):
        """After the time for all, the running handler is cancelled and none is started."""
        cancelled = []

        async def note(event):
            try:
                await hang(event)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        register("a")
        register("b", note)
        register("c")

        done_well = await deliver(EVENT, router, within=AT_ONCE)

        assert done_well is False
        assert ran == ["a", "b"]
        assert cancelled == [True]
        [record] = caplog.records
        assert "more than 0.001 s" in record.getMessage()
        assert "in hang" in caplog.text  # the traceback says where it was

    async def test_for_all_together(self, router, register, ran):
        """The time is for all together, not for each."""
        limit = asyncio.get_running_loop().time() + 0.05

        async def until_limit(event):
            await asyncio.sleep(max(0, limit - asyncio.get_running_loop().time()) + 0.01)

        register("a", lambda _: asyncio.sleep(0.03))
        register("b", until_limit)
        register("c")

        assert await deliver(EVENT, router, within=0.05) is False
        assert "c" not in ran

    @pytest.mark.parametrize("last", [None, RuntimeError("while cleaning up")])
    async def test_handler_that_resists(self, router, register, ran, caplog, last):
        """A handler that swallows its cancellation, or fails at it, lets no other start either."""

        async def resist(event):
            with contextlib.suppress(asyncio.CancelledError):
                await hang(event)
            if last:
                raise last

        register("a", resist)
        register("b")

        done_well = await deliver(EVENT, router, within=AT_ONCE)

        assert done_well is False
        assert ran == ["a"]
        assert "took more than" in caplog.text
        assert asyncio.current_task().cancelling() == 0

    async def test_leaves_the_task_usable(self, router, register):
        """After a time-out the task is as if nobody had cancelled it."""
        register("a", hang)

        await deliver(EVENT, router, within=AT_ONCE)

        await asyncio.sleep(0)
        assert asyncio.current_task().cancelling() == 0


class TestCancellation:
    @pytest.mark.parametrize("acts", [[hang], [fail, hang]])
    async def test_from_outside(self, router, register, ran, acts):
        """Who cancels the delivery cancels it; no further handler runs."""
        for number, act in enumerate(acts):
            register(str(number), act)
        register("never")
        task = asyncio.create_task(deliver(EVENT, router, within=LONG))
        while len(ran) < len(acts):
            await asyncio.sleep(0)

        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        assert "never" not in ran

    async def test_not_logged_as_failure(self, router, register, ran, caplog):
        """A cancellation from outside is no failure of the handler's."""
        register("a", hang)
        task = asyncio.create_task(deliver(EVENT, router, within=LONG))
        while not ran:
            await asyncio.sleep(0)

        task.cancel()
        await asyncio.wait([task])

        assert caplog.records == []

    async def test_interrupt(self, router, register, ran):
        """KeyboardInterrupt and its like pass through."""

        class Interrupt(BaseException):
            pass

        async def interrupt(event):
            raise Interrupt

        register("a", interrupt)
        register("b")

        with pytest.raises(Interrupt):
            await deliver(EVENT, router, within=LONG)
        assert ran == ["a"]
