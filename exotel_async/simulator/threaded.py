"""Says how a simulator serves programs with any event loop, or none: in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial, wraps
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from .calls import Call
from .server import Simulator

T = TypeVar("T")


def _steering(method: Callable[..., T]) -> Callable[..., T]:
    """Have a method run in the simulator's loop; it has happened when it returns."""

    @wraps(method)
    def steer(sim: ThreadedSimulator, /, *args: object, **kwargs: object) -> T:
        return sim._within(partial(method, sim, *args, **kwargs))  # noqa: SLF001 - its own

    return steer


class ThreadedSimulator(Simulator):
    """A `Simulator` that lives in a thread of its own, for programs with any event loop or none.

        with ThreadedSimulator(seed=7) as sim:
            ...
            await sim.advance(minutes=5)  # where an asyncio loop runs, whichever
            sim.advance_blocking(minutes=5)  # where none does

    It takes what `Simulator` takes and can what that can, from any thread; `async with` does too.
    """

    _thread: _LoopThread | None = None

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("this simulator is running already")
        thread = self._thread = _LoopThread()
        try:
            thread.wait_for(super().__aenter__())
        except BaseException:
            self._thread = None
            thread.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        thread, self._thread = self._running(), None
        if thread.is_of_another_process():
            return
        try:
            thread.wait_for(super().__aexit__(kind, error, traceback))
        finally:
            thread.end()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        # Not in this thread: what is served in its loop may have to end meanwhile.
        await asyncio.to_thread(self.__exit__, None, None, None)

    if not TYPE_CHECKING:  # whom they concern as `Simulator` has them
        script = _steering(Simulator.script)
        fault = _steering(Simulator.fault)
        clear_faults = _steering(Simulator.clear_faults)
        whitelist = _steering(Simulator.whitelist)
        add_account = _steering(Simulator.add_account)
        add_call = _steering(Simulator.add_call)

    def route(self, prefix: str, to: str) -> Callable[[], None]:
        """Deliver StatusCallbacks for URLs that begin with `prefix` to `to` instead.

        So a service under test can give out its public URL. Returns what ends it.
        """
        end = self._within(partial(super().route, prefix, to))
        return partial(self._within, end)

    @property
    def calls(self) -> Mapping[str, Call]:
        """Give the calls as they stand now, by Sid; later ones are not in it."""
        return MappingProxyType(self._carrier.calls.copy())

    async def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Let virtual time pass; all that falls due in it has happened when this returns.

        Meanwhile the loop that awaits it runs on; what sleeps there by this clock wakes in time.
        """
        if not _in_a_loop():
            raise RuntimeError("advance() is awaited where asyncio runs, which it does not here")
        passing = partial(super().advance, seconds=seconds, minutes=minutes, hours=hours)
        thread = self._running()
        if thread.is_here():
            await passing()
            return
        self._clock.take_part()
        await thread.until_done(passing())

    def advance_blocking(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Let virtual time pass, as `advance` does, in a thread without a running event loop."""
        if _in_a_loop():
            raise RuntimeError(
                "an event loop runs in this thread and would stand still: use `await sim.advance()`"
            )
        thread = self._running()
        thread.wait_for(super().advance(seconds=seconds, minutes=minutes, hours=hours))

    def _within(self, action: Callable[[], T]) -> T:
        """Run something in the simulator's loop, or here if none runs that it could disturb."""
        if self._thread is None or self._thread.is_here():
            return action()
        return self._thread.wait_for(_done(action))

    def _running(self) -> _LoopThread:
        if self._thread is None:
            raise RuntimeError(
                "the simulator is not running: use `with ThreadedSimulator() as sim`"
            )
        return self._thread


class _LoopThread:
    """A thread in which an event loop runs, for others to have coroutines run in it."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._guard = threading.Lock()
        self._ending = False
        self._failure: BaseException | None = None
        opened: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(opened,), name="exotel-simulator", daemon=True
        )
        self._thread.start()
        self._loop = opened.result()

    def is_of_another_process(self) -> bool:
        """Tell whether this process was forked from the one in which the thread runs."""
        return os.getpid() != self._process

    def is_here(self) -> bool:
        """Tell whether who asks is this thread."""
        return threading.current_thread() is self._thread

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, while the calling thread waits."""
        return _Errand(coroutine, self).result()

    async def until_done(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, while the calling loop runs on.

        Who is cancelled meanwhile cancels it, and leaves when it has ended.
        """
        errand = _Errand(coroutine, self)
        done = asyncio.wrap_future(errand)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            while not done.done():  # Python 3.11's wait_for may swallow a cancellation
                with suppress(RuntimeError):  # all has ended
                    self.call(errand.abandon)
                await asyncio.wait({done}, timeout=0.1)
            done.exception()  # or asyncio complains that nobody asked
            raise

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop, after all that was asked for before."""
        if self.is_of_another_process():
            raise RuntimeError("the simulator lives in the process that this one was forked from")
        with self._guard:
            if self._ending:
                raise RuntimeError("the simulator has ended")
            self._loop.call_soon_threadsafe(function)

    def end(self) -> None:
        """Let the loop end; raise what it failed of."""
        with self._guard:
            self._ending = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def create_task(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine; only for this thread itself."""
        return self._loop.create_task(coroutine)

    def _run(self, opened: Future[asyncio.AbstractEventLoop]) -> None:
        # Not the loop of the program's policy: turns are counted, and that one may count otherwise.
        runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        try:
            loop = runner.get_loop()
        except Exception as error:  # noqa: BLE001 - out of descriptors, say: who waits is told
            opened.set_exception(error)
            return
        with runner:
            opened.set_result(loop)
            while not self._ending:
                try:
                    loop.run_forever()
                except (SystemExit, KeyboardInterrupt) as error:
                    self._failure = error  # whoever waits for an answer still gets one


class _Errand(Future[T]):
    """What a coroutine in another thread's loop will bring."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], thread: _LoopThread) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._thread = thread
        self._task: asyncio.Task[T] | None = None
        try:
            thread.call(self._begin)
        except RuntimeError:
            coroutine.close()
            raise

    def abandon(self) -> None:
        """Cancel the coroutine; in its own thread."""
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        self.set_running_or_notify_cancel()
        self._task = self._thread.create_task(self._coroutine)
        self._task.add_done_callback(self._bring)

    def _bring(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.set_exception(RuntimeError("the simulator has ended"))
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())


async def _done(action: Callable[[], T]) -> T:
    return action()


def _in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
