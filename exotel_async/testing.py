"""How does a test suite get an Exotel of its own? With this pytest plugin.

It is there wherever the package is installed; `-p no:exotel_async.testing` does without.

    exotel_simulator   a simulator, fresh for each test
    exotel_client      a client of it, still to be opened
    exotel_callbacks   mounts a receiver, and routes the simulator's StatusCallbacks to it
    payloads           bodies of StatusCallbacks, to test a handler alone: import it from here

`@pytest.mark.exotel(seed=7, requests_per_minute=None)` gives the simulator its arguments,
`@pytest.mark.exotel_client(timeout=0.5)` the client. A test in which Exotel was sent what its page
does not allow fails, and says what the page wants.

Every pytest run of every project that has the package installed loads this module: at its top
it imports nothing that pytest does not.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    import asyncio
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from weakref import WeakKeyDictionary

    import aiohttp
    from aiohttp import web

    from .client import ExotelClient
    from .simulator import Complaint, Simulator
    from .simulator import payloads as payloads
    from .simulator.threaded import ThreadedSimulator
    from .webhooks import StatusCallbacks

T = TypeVar("T")

_MARKERS = (
    "exotel(seed=0, requests_per_minute=200, ...): what exotel_simulator's Simulator is made with",
    "exotel_client(timeout=5.0, ...): what exotel_client's ExotelClient is made with",
)
_TIMEOUT = 5.0  # seconds for one try of exotel_client: the simulator is on this machine
_SHIM = "exotel_aioresponses_shim"
_SIMULATOR: pytest.StashKey[Simulator] = pytest.StashKey()
_TOLD: pytest.StashKey[WeakKeyDictionary[Simulator, Complaint]] = pytest.StashKey()  # the last


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

    simulator = _made(ThreadedSimulator, request.node, "exotel")
    simulator.clock.when_stuck = _teller(request.config)
    request.node.stash[_SIMULATOR] = simulator
    with simulator:
        yield simulator
    if wrong := _wrong_requests(request.node, simulator):  # sent by another fixture at its end
        pytest.fail(wrong, pytrace=False)


@pytest.fixture
def exotel_client(
    request: pytest.FixtureRequest, exotel_simulator: ThreadedSimulator
) -> ExotelClient:
    """Give a client of `exotel_simulator`, not opened yet.

    A client is opened in the event loop in which it is used, and no fixture can know which
    that is: do it in the test, `async with exotel_client as exotel:`, or let the service do
    it, `app.cleanup_ctx.append(exotel_client.lifespan)`. Its pauses and pacing live by the
    simulator's clock, so they last until the test lets time pass. Its time-out is one of real
    time, 5 seconds for a try; `@pytest.mark.exotel_client(timeout=0.5)` gives it other arguments.
    """
    from .client import ExotelClient

    settings = {**exotel_simulator.settings, "timeout": _TIMEOUT}
    return _made(ExotelClient, request.node, "exotel_client", **settings)


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
        _check_mount(receiver, public_url)
        return _mounted(receiver, exotel_simulator, public_url)

    return mount


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the shim be turned off."""
    told = "mend aioresponses where aiohttp is too new for it (default: true)"
    parser.addini(_SHIM, told, type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and mend aioresponses where it needs it."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    if config.getini(_SHIM):
        sys.meta_path.insert(0, _Mender())
        _mend_aioresponses()


def pytest_unconfigure() -> None:
    """Leave nothing behind."""
    # By its name: pytest can load this module twice in one process, as its own tests do.
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != _Mender.__name__]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that sent wrong requests; where it fails by itself, tell of what went wrong."""
    simulator = _simulator_of(item)
    if simulator is None:
        return (yield)
    try:
        outcome = yield
    except BaseException:  # of which pytest's own failures are
        __tracebackhide__ = True
        told = [_wrong_requests(item, simulator), _failed_callbacks(simulator)]
        if any(told):
            item.add_report_section("call", "Exotel", "\n".join(filter(None, told)))
        raise
    if wrong := _wrong_requests(item, simulator):
        pytest.fail(wrong, pytrace=False)
    return outcome


def _made(kind: Callable[..., T], item: pytest.Item, marker: str, **arguments: Any) -> T:
    """Make what a fixture gives, with the arguments of its markers; the nearest says the most."""
    for mark in reversed(list(item.iter_markers(marker))):
        if mark.args:
            pytest.fail(f"@pytest.mark.{marker} takes keywords only, not {mark.args!r}", False)
        arguments |= mark.kwargs
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        pytest.fail(f"@pytest.mark.{marker}: {error}", pytrace=False)


def _simulator_of(item: pytest.Item) -> Simulator | None:
    """Find a test's simulator, be it ours or one that a conftest put in its place."""
    if ours := item.stash.get(_SIMULATOR, None):
        return ours
    found = getattr(item, "funcargs", {}).get("exotel_simulator")
    simulator = sys.modules.get("exotel_async.simulator")  # not there where nobody has one
    return found if simulator is not None and isinstance(found, simulator.Simulator) else None


def _teller(config: pytest.Config) -> Callable[[str], object]:
    """Tell at once, on the terminal: a test that hangs has no report."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    capturing = config.pluginmanager.getplugin("capturemanager")

    def tell(message: str) -> None:
        if reporter is not None:  # pytest-xdist's workers have none
            shown = capturing.global_and_fixture_disabled() if capturing else nullcontext()
            with shown:
                reporter.write_line(f"\nexotel_simulator: {message}", yellow=True)

    return tell


def _wrong_requests(item: pytest.Item, simulator: Simulator) -> str:
    """Tell of the complaints that were not judged yet: a simulator may serve several tests."""
    from weakref import WeakKeyDictionary

    last_told = item.config.stash.setdefault(_TOLD, WeakKeyDictionary())
    new = list(simulator.complaints)
    for place, complaint in enumerate(new):
        if complaint is last_told.get(simulator):
            new = new[place + 1 :]
            break
    if not new:
        return ""
    last_told[simulator] = new[-1]
    return "\n".join(
        [
            "Exotel was sent what its page does not allow:",
            *(f"- {complaint}" for complaint in new),
            "(If that was on purpose: exotel_simulator.complaints.clear() at the test's end.)",
        ]
    )


def _failed_callbacks(simulator: Simulator) -> str:
    """Tell of the StatusCallbacks that nobody took."""
    failed = [told for told in simulator.callbacks if told.status != 200 and told.fault is None]
    if not failed:
        return ""
    return "\n".join(
        [
            "StatusCallbacks that were not taken:",
            *(f"- {told.url}: {told.problem or f'answered {told.status}'}" for told in failed),
        ]
    )


def _check_mount(receiver: object, public_url: object) -> None:
    from aiohttp import web

    from .webhooks import StatusCallbacks

    if not isinstance(receiver, StatusCallbacks | web.Application):
        raise TypeError(
            f"exotel_callbacks takes StatusCallbacks or a web.Application, not {receiver!r}"
        )
    if public_url is not None and not str(public_url).startswith(("http://", "https://")):
        raise ValueError(f"public_url must be an http or https URL, not {public_url!r}")


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


class _Mender:
    """Mends aioresponses when it is imported; a part of the import machinery."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one module as it would be found, and have it mended once it is loaded."""
        if name != "aioresponses.core":
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _MendingLoader(spec.loader)  # type: ignore[assignment]
        return spec


class _MendingLoader:
    """Loads a module as its own loader does, and mends it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        self._loader.exec_module(module)
        _mend_aioresponses()


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
