"""How does a test suite get an Exotel of its own? With this pytest plugin.

It is there wherever the package is installed; `-p no:exotel_async.testing` does without.

    exotel_simulator   a simulator, fresh for each test
    exotel_client      a client of it, still to be opened
    exotel_callbacks   mounts a receiver, and routes the simulator's StatusCallbacks to it
    payloads           bodies of StatusCallbacks, to test a handler alone: import it from here

`@pytest.mark.exotel(seed=7, requests_per_minute=None)` gives the simulator its arguments. A test
in which Exotel was sent what its page does not allow fails, and says what the page wants.

Every pytest run of every project that has the package installed loads this module: at its top
it imports nothing that pytest does not.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    import asyncio

    import aiohttp
    from aiohttp import web

    from .client import ExotelClient
    from .simulator import payloads as payloads
    from .simulator.threaded import ThreadedSimulator
    from .webhooks import StatusCallbacks

_MARKER = (
    "exotel(seed=0, requests_per_minute=200, ...): what exotel_simulator's Simulator is made with"
)
_SHIM = "exotel_aioresponses_shim"
_SIMULATOR = pytest.StashKey["ThreadedSimulator"]()


class MountCallbacks(Protocol):
    """What `exotel_callbacks` is: a function that serves a receiver while its context lasts."""

    def __call__(
        self, receiver: StatusCallbacks | web.Application, /, *, public_url: str | None = None
    ) -> AbstractAsyncContextManager[str]:
        """Serve the receiver; the context gives its URL."""
        ...


@pytest.fixture
def exotel_simulator(request: pytest.FixtureRequest) -> Iterator[ThreadedSimulator]:
    """Play Exotel for one test, in a thread and an event loop of its own.

    So it serves tests under pytest-asyncio, under anyio, and without any loop alike: let time
    pass with `await exotel_simulator.advance(minutes=5)`, or without a loop with
    `exotel_simulator.advance_blocking(minutes=5)`. `@pytest.mark.exotel(...)` gives it
    arguments; where several marks stand around a test, the nearest says the most.

    Requests that Exotel's page does not allow fail the test; a test that makes them on purpose
    ends with `exotel_simulator.complaints.clear()`.
    """
    from .simulator.threaded import ThreadedSimulator

    with ThreadedSimulator(**_arguments(request.node)) as simulator:
        request.node.stash[_SIMULATOR] = simulator
        yield simulator


@pytest.fixture
def exotel_client(exotel_simulator: ThreadedSimulator) -> ExotelClient:
    """Give a client of `exotel_simulator`, not opened yet.

    A client is opened in the event loop in which it is used, and no fixture can know which
    that is: do it in the test, `async with exotel_client as exotel:`, or let the service do
    it, `app.cleanup_ctx.append(exotel_client.lifespan)`. Its pauses and pacing live by the
    simulator's clock, so they last until the test lets time pass.
    """
    from .client import ExotelClient

    return ExotelClient(**exotel_simulator.settings)


@pytest.fixture
def exotel_callbacks(exotel_simulator: ThreadedSimulator) -> MountCallbacks:
    """Give a function that serves a receiver of StatusCallbacks, in the test's own loop.

        async with exotel_callbacks(callbacks, public_url="https://shop.example/exotel/") as url:
            call = await exotel.calls.connect(..., status_callback=callbacks.url(url, ref="42"))
            await exotel_simulator.advance(minutes=5)

    `StatusCallbacks` are mounted at `/exotel/` of an application of their own, with their
    lifespan; the context gives the URL to pass to `callbacks.url`. A whole `web.Application` is
    served as it is; the context gives the URL of its root, to send requests to. With a
    `public_url`, what Exotel would send there arrives at the receiver: for an application, under
    the path that the URL has.

    Tokens are made and judged by the system's clock. If they have to expire in virtual time,
    make the receiver with `StatusCallbacks(..., clock=exotel_simulator.clock)`.
    """

    def mount(
        receiver: StatusCallbacks | web.Application, /, *, public_url: str | None = None
    ) -> AbstractAsyncContextManager[str]:
        return _mounted(receiver, exotel_simulator, public_url)

    return mount


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the shim be turned off."""
    told = "mend aioresponses where aiohttp is too new for it (default: true)"
    parser.addini(_SHIM, told, type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Mend aioresponses before anything of a test uses it."""
    if item.config.getini(_SHIM):
        _mend_aioresponses()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that sent wrong requests; tell of them where it failed by itself."""
    __tracebackhide__ = True
    try:
        outcome = yield
    except BaseException:  # of which pytest's own failures are
        if wrong := _wrong_requests(item):
            item.add_report_section("call", "Exotel", wrong)
        raise
    if wrong := _wrong_requests(item):
        pytest.fail(wrong, pytrace=False)
    return outcome


def _arguments(item: pytest.Item) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for mark in item.iter_markers("exotel"):
        if mark.args:
            pytest.fail(f"the marker exotel takes keywords only, not {mark.args!r}", pytrace=False)
        arguments = {**mark.kwargs, **arguments}
    return arguments


def _wrong_requests(item: pytest.Item) -> str:
    simulator = item.stash.get(_SIMULATOR, None)
    if simulator is None or not simulator.complaints:
        return ""
    return "\n".join(
        [
            "Exotel was sent what its page does not allow:",
            *(f"- {complaint}" for complaint in simulator.complaints),
            "(If that was on purpose: exotel_simulator.complaints.clear() at the test's end.)",
        ]
    )


@asynccontextmanager
async def _mounted(
    receiver: StatusCallbacks | web.Application,
    simulator: ThreadedSimulator,
    public_url: str | None,
) -> AsyncIterator[str]:
    from aiohttp import web

    if isinstance(receiver, web.Application):
        async with _serving(receiver) as root:
            with _routed(simulator, public_url, root.rstrip("/") + _path(public_url)):
                yield root
        return
    app = web.Application()
    app.add_subapp("/exotel/", receiver.app)
    app.cleanup_ctx.append(receiver.lifespan)
    async with _serving(app) as root:
        with _routed(simulator, public_url, f"{root}exotel/"):
            yield public_url or f"{root}exotel/"


@asynccontextmanager
async def _serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on a free port of this machine; give the URL of its root."""
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@contextmanager
def _routed(simulator: ThreadedSimulator, public_url: str | None, local: str) -> Iterator[None]:
    if public_url is None:
        yield
        return
    end = simulator.route(public_url.rstrip("/"), local.rstrip("/"))
    try:
        yield
    finally:
        end()


def _path(url: str | None) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url or "").path


def _mend_aioresponses() -> None:
    """Make aioresponses 0.7.9 work with aiohttp 3.14 and later, once, if it is in use at all.

    Its answers lack the `stream_writer` that ClientResponse wants since then, and bodies over
    128 KiB stop in a reader that has no transport to pause.
    """
    core: Any = sys.modules.get("aioresponses.core")
    if core is None or hasattr(core, _SHIM):
        return
    faulty = _has_the_fault(core)
    setattr(core, _SHIM, faulty)
    if faulty:
        core.ClientResponse = _mended_response(core.ClientResponse)
        core.stream_reader_factory = _patient_reader


def _has_the_fault(core: Any) -> bool:
    import inspect

    wanted = inspect.signature(core.ClientResponse.__init__).parameters
    return "stream_writer" in wanted and "stream_writer" not in inspect.getsource(core)


def _mended_response(response: type[aiohttp.ClientResponse]) -> type[aiohttp.ClientResponse]:
    from unittest.mock import Mock

    class MendedResponse(response):  # type: ignore[valid-type, misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
            super().__init__(*args, **kwargs)

    return MendedResponse


def _patient_reader(loop: asyncio.AbstractEventLoop | None = None) -> aiohttp.StreamReader:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.streams import StreamReader

    protocol = ResponseHandler(loop=loop)  # type: ignore[arg-type]
    return StreamReader(protocol, limit=2**30, loop=loop)


if not TYPE_CHECKING:  # or every misspelt name would type-check

    def __getattr__(name: str) -> object:
        """Load the payloads when they are asked for."""
        if name == "payloads":
            from .simulator import payloads

            return payloads
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
