"""The pytest plugin, in projects as its users have them."""

from __future__ import annotations

import inspect
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from exotel_async import (
    CallbackTokens,
    CallTerminated,
    ClientClosedError,
    ExotelClient,
    StatusCallback,
    decode_callback,
    testing,
)
from exotel_async.dialer import Dialer
from exotel_async.journal import MemoryJournal
from exotel_async.simulator import payloads
from exotel_async.simulator.threaded import ThreadedSimulator
from exotel_async.testing import MountCallbacks
from exotel_async.webhooks import StatusCallbacks

Run = Callable[..., pytest.RunResult]

ROOT = Path(__file__).parents[2]
PLAIN = ("-p", "no:cacheprovider", "-W", "error", "--strict-markers")
NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
PUBLIC_URL = "https://shop.example/exotel/"
BOTH = ("answered", "terminal")

CONNECT = """
    from urllib.parse import urlencode
    from urllib.request import Request, urlopen
    from urllib.error import HTTPError
    from base64 import b64encode

    GOOD = {"From": "+919812300001", "To": "+919812300002", "CallerId": "08040001234"}
    WRONG = {name: text for name, text in GOOD.items() if name != "To"}

    def connect(sim, **form):
        s = sim.settings
        pair = b64encode(f"{s['api_key']}:{s['api_token']}".encode()).decode()
        url = f"{s['base_url']}/v1/Accounts/{s['account_sid']}/Calls/connect.json"
        request = Request(url, urlencode(form).encode(), {"Authorization": f"Basic {pair}"})
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status
        except HTTPError as error:
            with error:
                return error.code
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run tests of a project that has the plugin; warnings are errors there."""

    def run(
        code: str, *options: str, ini: str = "", inside: bool = True, loaded: bool = True
    ) -> pytest.RunResult:
        scope = "" if "no:asyncio" in options else "asyncio_default_fixture_loop_scope = function"
        pytester.makefile(".ini", pytest=f"[pytest]\n{scope}\n{ini}\n")
        pytester.makepyfile(test_it=code, sending=CONNECT)
        plugin = ("-p", "exotel_async.testing") if loaded else ()
        start = pytester.runpytest_inprocess if inside else pytester.runpytest_subprocess
        return start(*plugin, *PLAIN, *options)

    return run


@pytest.fixture
def installed(pytester: pytest.Pytester) -> None:
    """Put our entry point where pytest finds it, whether or not the package is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    (entry,) = project["entry-points"]["pytest11"].items()
    folder = pytester.mkdir("stand_in-1.dist-info")
    folder.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: stand-in\nVersion: 1\n")
    folder.joinpath("entry_points.txt").write_text(f"[pytest11]\n{entry[0]} = {entry[1]}\n")
    pytester.syspathinsert()


class TestEntryPoint:
    """What happens where the package is installed."""

    CODE = "def test_it(exotel_simulator): assert exotel_simulator.base_url"

    def test_acts(self, installed: None, run: Run) -> None:
        """The plugin is there without a word."""
        run(self.CODE, loaded=False).assert_outcomes(passed=1)

    def test_twice(self, installed: None, run: Run) -> None:
        """Whoever names it too does not have it twice."""
        run(self.CODE).assert_outcomes(passed=1)

    def test_turned_off(self, installed: None, run: Run) -> None:
        """It can be turned off by its name."""
        done = run(self.CODE, "-p", "no:exotel_async.testing", loaded=False)

        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines(["*fixture 'exotel_simulator' not found*"])


class TestLightness:
    def test_imports_pytest_only(self) -> None:
        """What every project's pytest loads is this module and the empty front door."""
        program = (
            "import sys, contextlib, pytest; before = set(sys.modules); "
            "import exotel_async.testing; print(*set(sys.modules) - before)"
        )
        loaded = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()

        assert set(loaded) == {"exotel_async", "exotel_async.testing"}

    def test_as_plugin(self, run: Run) -> None:
        """A run without our fixtures loads nothing of ours, and no aiohttp."""
        done = run(
            """
            import sys

            def test_it():
                ours = {name for name in sys.modules if name.startswith("exotel_async")}
                assert ours == {"exotel_async", "exotel_async.testing"}
                assert not {"aiohttp", "aioresponses", "cattrs"} & set(sys.modules)
            """,
            inside=False,
        )

        done.assert_outcomes(passed=1)

    def test_no_such_name(self) -> None:
        """A name that is not there is missed as in any module."""
        with pytest.raises(AttributeError, match="payload"):
            testing.payload  # type: ignore[attr-defined] # noqa: B018


class TestExotelSimulator:
    def test_pytest_asyncio(self, run: Run) -> None:
        """It serves tests under pytest-asyncio."""
        done = run(
            """
            async def test_it(exotel_simulator, exotel_client):
                async with exotel_client as exotel:
                    call = await exotel.calls.connect(
                        from_="+919812300001", to="+919812300002", caller_id="08040001234"
                    )
                    await exotel_simulator.advance(minutes=5)
                    assert (await exotel.calls.get(call.sid)).status == "completed"
            """,
            ini="asyncio_mode = auto",
        )

        done.assert_outcomes(passed=1)

    def test_anyio(self, run: Run) -> None:
        """It serves tests under anyio."""
        done = run(
            """
            import pytest

            pytestmark = pytest.mark.anyio

            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            @pytest.fixture
            async def exotel(exotel_client):
                async with exotel_client:
                    yield exotel_client

            async def test_it(exotel_simulator, exotel):
                call = await exotel.calls.connect(
                    from_="+919812300001", to="+919812300002", caller_id="08040001234"
                )
                await exotel_simulator.advance(minutes=5)
                assert (await exotel.calls.get(call.sid)).status == "completed"
            """,
            "-p",
            "no:asyncio",
        )

        done.assert_outcomes(passed=1)

    def test_sync(self, run: Run) -> None:
        """It serves tests without any loop."""
        done = run(
            """
            from sending import GOOD, WRONG, connect

            def test_it(exotel_simulator):
                assert connect(exotel_simulator, **GOOD) == 200
                exotel_simulator.advance_blocking(minutes=5)
                (call,) = exotel_simulator.calls.values()
                assert call.status == "completed"

            def test_fresh(exotel_simulator):
                assert not exotel_simulator.requests
                assert exotel_simulator.clock.monotonic() == 0
            """,
            "-p",
            "no:asyncio",
        )

        done.assert_outcomes(passed=2)

    def test_unittest(self, run: Run) -> None:
        """It serves unittest's cases too, by way of a fixture that is used by itself."""
        done = run(
            """
            import unittest
            import pytest
            from sending import GOOD, WRONG, connect

            class TestIt(unittest.TestCase):
                @pytest.fixture(autouse=True)
                def simulated(self, exotel_simulator):
                    self.sim = exotel_simulator

                def test_right(self):
                    assert connect(self.sim, **GOOD) == 200

                def test_wrong(self):
                    assert connect(self.sim, **WRONG) == 400
            """
        )

        done.assert_outcomes(passed=1, failed=1)

    def test_marker(self, run: Run) -> None:
        """The marker gives arguments; of several the nearest says most, each adds its own."""
        done = run(
            """
            import pytest
            from sending import GOOD, WRONG, connect

            @pytest.mark.exotel(seed=1, requests_per_minute=1)
            class TestIt:
                def keys(self, sim):
                    statuses = [connect(sim, **GOOD) for _ in range(2)]
                    return sim.settings["api_key"], statuses

                @pytest.mark.exotel(requests_per_minute=None)
                def test_near(self, exotel_simulator):
                    key, statuses = self.keys(exotel_simulator)
                    assert statuses == [200, 200]

                def test_far(self, exotel_simulator):
                    key, statuses = self.keys(exotel_simulator)
                    assert statuses == [200, 429]

                @pytest.mark.exotel(seed=2)
                def test_seed(self, exotel_simulator):
                    from exotel_async.simulator.threaded import ThreadedSimulator
                    with ThreadedSimulator(seed=2) as same:
                        assert exotel_simulator.settings["api_key"] == same.settings["api_key"]
            """
        )

        done.assert_outcomes(passed=3)

    def test_marker_is_described(self, run: Run) -> None:
        """pytest --markers tells of it."""
        run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.exotel(seed=0, *"])

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ("7", "*@pytest.mark.exotel takes keywords only, not (7,)*"),
            ("sed=7", "*@pytest.mark.exotel: *unexpected keyword*'sed'*"),
            ("speed=-1", "*@pytest.mark.exotel: speed must be a number above 0*"),
        ],
    )
    def test_wrong_marker(self, arguments: str, told: str, run: Run) -> None:
        """A marker that can't be right is told in words."""
        done = run(
            f"""
            import pytest

            @pytest.mark.exotel({arguments})
            def test_it(exotel_simulator):
                pass
            """
        )

        done.assert_outcomes(errors=1)
        done.stdout.fnmatch_lines([told])

    def test_shared(self, run: Run, pytester: pytest.Pytester) -> None:
        """A simulator that a conftest shares among tests has each test judged by itself."""
        pytester.makeconftest(
            """
            import pytest
            from exotel_async.simulator import ThreadedSimulator

            @pytest.fixture(scope="session")
            def exotel_simulator():
                with ThreadedSimulator() as sim:
                    yield sim
            """
        )
        done = run(
            """
            from sending import GOOD, WRONG, connect

            def test_wrong(exotel_simulator):
                connect(exotel_simulator, **WRONG)

            def test_right(exotel_simulator):
                connect(exotel_simulator, **GOOD)

            def test_wrong_again(exotel_simulator):
                connect(exotel_simulator, **WRONG)
                exotel_simulator.complaints.clear()
                connect(exotel_simulator, **WRONG)
            """
        )

        done.assert_outcomes(failed=2, passed=1)

    def test_standing_still(self, run: Run) -> None:
        """Who waits in vain is told at once why, on the terminal."""
        done = run(
            """
            import asyncio
            from exotel_async.simulator import clock

            async def wait(sim):
                clock._STUCK_AFTER = 0.01
                try:
                    await asyncio.wait_for(sim.clock.sleep(60), 0.1)
                except TimeoutError:
                    pass

            def test_it(exotel_simulator):
                asyncio.run(wait(exotel_simulator))
            """,
            inside=False,
        )

        done.assert_outcomes(passed=1)
        done.stdout.fnmatch_lines(["*somebody waits 60 s of the simulator's time*advance*speed*"])

    def test_overridden(self, run: Run, pytester: pytest.Pytester) -> None:
        """A project's own fixture may build on it, or stand for it."""
        pytester.makeconftest(
            """
            import pytest

            @pytest.fixture
            def exotel_simulator(exotel_simulator):
                exotel_simulator.script(to="+919812300002", ending="busy")
                return exotel_simulator

            @pytest.fixture
            def exotel_client():
                return "mine"
            """
        )
        done = run(
            """
            from sending import GOOD, WRONG, connect

            def test_own(exotel_client):
                assert exotel_client == "mine"

            def test_built_on(exotel_simulator):
                connect(exotel_simulator, **GOOD)
                exotel_simulator.advance_blocking(minutes=5)
                assert [call.status for call in exotel_simulator.calls.values()] == ["busy"]

            def test_still_complains(exotel_simulator):
                connect(exotel_simulator, **WRONG)
            """
        )

        done.assert_outcomes(passed=2, failed=1)

    def test_xdist(self, run: Run) -> None:
        """It works in several processes at once, and complains from there."""
        done = run(
            """
            import pytest
            from sending import GOOD, WRONG, connect

            @pytest.mark.parametrize("number", range(6))
            def test_it(number, exotel_simulator):
                assert connect(exotel_simulator, **GOOD) == 200
                exotel_simulator.advance_blocking(minutes=5)

            def test_wrong(exotel_simulator):
                connect(exotel_simulator, **WRONG)
            """,
            "-n",
            "2",
            inside=False,
        )

        done.assert_outcomes(passed=6, failed=1)
        done.stdout.fnmatch_lines(["*Mandatory parameter To is missing*"])

    def test_leaves_nothing(self, run: Run) -> None:
        """After tests that pass, fail or can't start, no thread is left."""
        before = threading.active_count()
        done = run(
            """
            import pytest

            def test_passes(exotel_simulator):
                exotel_simulator.fault("connection-refused")

            def test_fails(exotel_simulator):
                raise LookupError("on purpose")

            @pytest.mark.exotel(keep=0)
            def test_wrong(exotel_simulator):
                pass
            """
        )

        done.assert_outcomes(passed=1, failed=1, errors=1)
        assert threading.active_count() == before


class TestComplaints:
    def test_fails_the_test(self, run: Run) -> None:
        """A wrong request fails the test in its call, and each says what the page wants."""
        done = run(
            """
            from sending import GOOD, WRONG, connect

            def test_it(exotel_simulator):
                connect(exotel_simulator, **GOOD, TimeOut="soon")
                connect(exotel_simulator, **WRONG)
            """
        )

        done.assert_outcomes(failed=1)
        done.stdout.fnmatch_lines(
            [
                "Exotel was sent what its page does not allow:",
                "- POST */Calls/connect.json: Invalid TimeOut 'soon': must be an integer*",
                "- POST */Calls/connect.json: Mandatory parameter To is missing*",
                "(If that was on purpose: exotel_simulator.complaints.clear()*",
            ]
        )

    def test_on_purpose(self, run: Run) -> None:
        """A test that clears them passes, as does one that only lacks luck."""
        done = run(
            """
            from sending import GOOD, WRONG, connect

            def test_cleared(exotel_simulator):
                assert connect(exotel_simulator, **WRONG) == 400
                assert len(exotel_simulator.complaints) == 1
                exotel_simulator.complaints.clear()

            def test_refused(exotel_simulator):
                assert connect(exotel_simulator, **GOOD | {"To": "+910000000403"}) == 403
            """
        )

        done.assert_outcomes(passed=2)

    @pytest.mark.parametrize("failure", ["assert 1 == 2", "pytest.fail('1 == 2')"])
    def test_of_a_test_that_fails(self, failure: str, run: Run) -> None:
        """A test that fails by itself says why, and shows them beside."""
        done = run(
            f"""
            import pytest
            from sending import WRONG, connect

            def test_it(exotel_simulator):
                connect(exotel_simulator, **WRONG)
                {failure}
            """
        )

        done.assert_outcomes(failed=1)
        done.stdout.fnmatch_lines(
            ["*1 == 2*", "*Exotel call*", "- POST *Mandatory parameter To is missing*"]
        )
        done.stdout.no_fnmatch_line("*testing.py*")

    def test_skipped_and_expected(self, run: Run) -> None:
        """What a test says of itself stays as it is."""
        done = run(
            """
            import pytest
            from sending import WRONG, connect

            def test_skipped(exotel_simulator):
                connect(exotel_simulator, **WRONG)
                pytest.skip("on purpose")

            @pytest.mark.xfail(strict=True)
            def test_expected(exotel_simulator):
                connect(exotel_simulator, **WRONG)
            """
        )

        done.assert_outcomes(skipped=1, xfailed=1)

    def test_in_a_fixture(self, run: Run) -> None:
        """What a fixture sent before the test counts too."""
        done = run(
            """
            import pytest
            from sending import WRONG, connect

            @pytest.fixture
            def sent(request):
                connect(request.getfixturevalue("exotel_simulator"), **WRONG)

            def test_it(sent):
                pass
            """
        )

        done.assert_outcomes(failed=1)

    def test_at_the_end(self, run: Run) -> None:
        """So does what a fixture sends after the test."""
        done = run(
            """
            import pytest
            from sending import WRONG, connect

            @pytest.fixture
            def late(exotel_simulator):
                yield
                connect(exotel_simulator, **WRONG)

            def test_it(late):
                pass
            """
        )

        done.assert_outcomes(passed=1, errors=1)
        done.stdout.fnmatch_lines(["*Mandatory parameter To is missing*"])

    def test_callbacks_that_nobody_took(self, run: Run) -> None:
        """Where a test fails its report tells which StatusCallbacks were not taken, and why."""
        done = run(
            """
            from sending import GOOD, connect

            def test_it(exotel_simulator):
                for url in ("https://shop.example/", "http://127.0.0.1:1/"):
                    connect(exotel_simulator, **GOOD, StatusCallback=url)
                exotel_simulator.fault("callback-lost")
                exotel_simulator.advance_blocking(minutes=1)
                assert False
            """
        )

        done.assert_outcomes(failed=1)
        done.stdout.fnmatch_lines(["*Captured Exotel call*", "*http://127.0.0.1:1/: no answer*"])
        done.stdout.no_fnmatch_line("*shop.example*route*")  # that one was lost on purpose


class TestExotelClient:
    def test_marker(self, run: Run) -> None:
        """A marker gives it arguments, such as a time-out for what hangs on purpose."""
        done = run(
            """
            import asyncio
            import pytest
            from exotel_async import OutcomeUnknownError

            @pytest.mark.exotel_client(timeout=0.2)
            def test_it(exotel_simulator, exotel_client):
                async def dial():
                    async with exotel_client as exotel:
                        with pytest.raises(OutcomeUnknownError):
                            await exotel.calls.connect(
                                from_="+919812300001", to="+910000000504", caller_id="08040001234"
                            )

                asyncio.run(dial())

            @pytest.mark.exotel_client(timeout=-1)
            def test_senseless(exotel_client):
                pass
            """
        )

        done.assert_outcomes(passed=1, errors=1)
        done.stdout.fnmatch_lines(["*@pytest.mark.exotel_client: timeout must be*"])

    async def test_not_open(self, exotel_client: ExotelClient) -> None:
        """It waits to be opened."""
        with pytest.raises(ClientClosedError):
            await exotel_client.calls.get("abc")

    async def test_simulators_own(
        self, exotel_client: ExotelClient, exotel_simulator: ThreadedSimulator
    ) -> None:
        """It talks to the test's simulator, and lives by its clock."""
        async with exotel_client as exotel:
            call = await exotel.calls.connect(**NUMBERS)

        assert list(exotel_simulator.calls) == [call.sid]
        assert exotel_client._door.clock is exotel_simulator.clock


@pytest.fixture
def events() -> list[StatusCallback]:
    return []


@pytest.fixture
def callbacks(events: list[StatusCallback]) -> StatusCallbacks:
    return collecting(StatusCallbacks(tokens=CallbackTokens(["a secret of sixteen bytes"])), events)


def collecting(callbacks: StatusCallbacks, events: list[StatusCallback]) -> StatusCallbacks:
    @callbacks.on(StatusCallback)
    async def collect(event: StatusCallback) -> None:
        events.append(event)

    return callbacks


class TestExotelCallbacks:
    @pytest.mark.parametrize("public_url", [None, PUBLIC_URL, PUBLIC_URL.rstrip("/")])
    async def test_callbacks(
        self,
        public_url: str | None,
        callbacks: StatusCallbacks,
        events: list[StatusCallback],
        exotel_client: ExotelClient,
        exotel_simulator: ThreadedSimulator,
        exotel_callbacks: MountCallbacks,
    ) -> None:
        """StatusCallbacks hear of a call, at the URL that the context gives."""
        async with (
            exotel_callbacks(callbacks, public_url=public_url) as base,
            exotel_client as exotel,
        ):
            assert callbacks.ready()
            url = callbacks.url(base, ref="order-42")
            await exotel.calls.connect(**NUMBERS, status_callback=url, status_callback_events=BOTH)
            await exotel_simulator.advance(minutes=5)

        assert base == public_url or (public_url is None and base.startswith("http://127.0.0.1:"))
        assert [event.ref for event in events] == ["order-42"] * 3
        assert isinstance(events[-1], CallTerminated)
        assert [told.status for told in exotel_simulator.callbacks] == [200] * 3
        assert not callbacks.ready()

    @pytest.mark.parametrize("prefix", ["/exotel/", "/voice/told/"])
    async def test_application(
        self,
        prefix: str,
        callbacks: StatusCallbacks,
        events: list[StatusCallback],
        exotel_client: ExotelClient,
        exotel_simulator: ThreadedSimulator,
        exotel_callbacks: MountCallbacks,
    ) -> None:
        """A whole application is served with its life, and hears under its own path."""
        public_url = f"https://shop.example{prefix}"

        async def dial(_: web.Request) -> web.Response:
            url = callbacks.url(public_url, ref="order-42")
            await exotel_client.calls.connect(**NUMBERS, status_callback=url)
            return web.Response(text="dialled")

        app = web.Application()
        app.router.add_post("/dial", dial)
        app.add_subapp(prefix, callbacks.app)
        app.cleanup_ctx.extend([exotel_client.lifespan, callbacks.lifespan])
        async with (
            exotel_callbacks(app, public_url=public_url) as root,
            aiohttp.ClientSession(root) as session,
            session.post("/dial") as answer,
        ):
            assert await answer.text() == "dialled"
            await exotel_simulator.advance(minutes=5)

        assert [event.status for event in events] == ["completed"]

    @pytest.mark.parametrize(
        ("receiver", "public_url", "message"),
        [
            ("x", None, "takes StatusCallbacks or a web.Application, not 'x'"),
            (web.Application, None, "takes StatusCallbacks or a web.Application, not <class"),
            (None, "shop.example/exotel", "public_url must be an http or https URL"),
        ],
    )
    def test_senseless(
        self,
        receiver: object,
        public_url: str | None,
        message: str,
        callbacks: StatusCallbacks,
        exotel_callbacks: MountCallbacks,
    ) -> None:
        """What can't be mounted is refused at once."""
        with pytest.raises((TypeError, ValueError), match=message):
            exotel_callbacks(receiver or callbacks, public_url=public_url)  # type: ignore[arg-type]

    async def test_application_that_can_not_start(self, exotel_callbacks: MountCallbacks) -> None:
        """What keeps an application from starting is told."""

        async def broken(_: web.Application) -> None:
            raise LookupError("on purpose")

        app = web.Application()
        app.on_startup.append(broken)
        with pytest.raises(LookupError, match="on purpose"):
            async with exotel_callbacks(app):
                pass

    async def test_over(
        self,
        callbacks: StatusCallbacks,
        events: list[StatusCallback],
        exotel_client: ExotelClient,
        exotel_simulator: ThreadedSimulator,
        exotel_callbacks: MountCallbacks,
    ) -> None:
        """When the context ends nothing arrives any more: the public URL is not ours."""
        async with exotel_callbacks(callbacks, public_url=PUBLIC_URL):
            pass
        async with exotel_client as exotel:
            await exotel.calls.connect(
                **NUMBERS, status_callback=callbacks.url(PUBLIC_URL, ref="order-42")
            )
            await exotel_simulator.advance(minutes=1)

        assert [told.status for told in exotel_simulator.callbacks] == [None]
        assert events == []

    @pytest.mark.parametrize("virtual", [True, False])
    async def test_tokens_that_expire(
        self,
        virtual: bool,
        events: list[StatusCallback],
        exotel_client: ExotelClient,
        exotel_simulator: ThreadedSimulator,
        exotel_callbacks: MountCallbacks,
    ) -> None:
        """Tokens expire in virtual time if the receiver lives by it."""
        tokens = CallbackTokens(["a secret of sixteen bytes"], lifetime=timedelta(hours=1))
        clock = exotel_simulator.clock if virtual else None
        callbacks = collecting(StatusCallbacks(tokens=tokens, clock=clock), events)
        async with (
            exotel_callbacks(callbacks, public_url=PUBLIC_URL) as base,
            exotel_client as exotel,
        ):
            url = callbacks.url(base, ref="order-42")
            await exotel_simulator.advance(hours=2)
            await exotel.calls.connect(**NUMBERS, status_callback=url)
            await exotel_simulator.advance(minutes=1)

        assert [told.status for told in exotel_simulator.callbacks] == [404 if virtual else 200]


class TestDialer:
    """A service with a dialer is tested with a journal in memory that lives by the same clock."""

    @pytest.mark.parametrize(("lost", "source"), [(False, "callback"), (True, "poll")])
    async def test_outcome(
        self,
        lost: bool,
        source: str,
        exotel_client: ExotelClient,
        exotel_simulator: ThreadedSimulator,
        exotel_callbacks: MountCallbacks,
    ) -> None:
        """It is told by callbacks, and where those are lost by polls: minutes pass in no time."""
        tokens = CallbackTokens(["a secret of sixteen bytes"])
        journal = MemoryJournal(clock=exotel_simulator.clock)
        callbacks = StatusCallbacks(tokens=tokens, journal=journal)
        if lost:
            exotel_simulator.fault("callback-lost", times=None)
        async with (
            journal,
            exotel_client as exotel,
            exotel_callbacks(callbacks) as url,
            Dialer(exotel, journal=journal, tokens=tokens, public_url=url) as dialer,
        ):
            dial = await dialer.connect(**NUMBERS, idempotency_key="order-42")
            await exotel_simulator.advance(minutes=15)
            outcome = await dialer.outcome(dial, timeout=1)

        assert (outcome.state, outcome.status, outcome.source) == ("ended", "completed", source)


class TestPayloads:
    def test_same(self) -> None:
        """They are the simulator's."""
        assert testing.payloads is payloads

    def test_read(self) -> None:
        """A handler's test needs nothing else."""
        spelt = testing.payloads.terminal(encoding="json", Status="busy")

        event = decode_callback(spelt.body, content_type=spelt.content_type)

        assert isinstance(event, CallTerminated)
        assert event.status == "busy"


FAULTY = "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters
MOCKED = """
    import aiohttp
    from aioresponses import aioresponses

    async def test_it():
        with aioresponses() as mocked:
            mocked.get("http://shop.example/", body="x" * 300_000)
            async with aiohttp.ClientSession() as session:
                async with session.get("http://shop.example/") as answer:
                    assert len(await answer.read()) == 300_000
    """


class TestShim:
    @pytest.mark.parametrize("lazily", [False, True])
    def test_whenever_it_is_imported(self, lazily: bool, run: Run) -> None:
        """It does not matter when aioresponses is imported."""
        line = "    from aioresponses import aioresponses\n"
        code = MOCKED.replace(line, "")
        where = "async def test_it():\n" if lazily else "import aiohttp\n"
        code = code.replace(f"    {where}", f"    {where}{'    ' * lazily}{line}")

        run(code, ini="asyncio_mode = auto", inside=False).assert_outcomes(passed=1)

    def test_mends(self, run: Run) -> None:
        """Mocked answers of any size can be read, whatever aiohttp is installed."""
        run(MOCKED, ini="asyncio_mode = auto", inside=False).assert_outcomes(passed=1)

    @pytest.mark.skipif(not FAULTY, reason="this aiohttp and aioresponses go together")
    def test_turned_off(self, run: Run) -> None:
        """It can be turned off, and then the fault is there: it is what the shim is for."""
        ini = "asyncio_mode = auto\nexotel_aioresponses_shim = false"

        run(MOCKED, ini=ini, inside=False).assert_outcomes(failed=1)

    def test_sound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What knows of stream_writer by itself is left alone."""
        sound = type(sys)("aioresponses.core")
        sound.ClientResponse = aiohttp.ClientResponse
        monkeypatch.setitem(sys.modules, "aioresponses.core", sound)
        monkeypatch.setattr(inspect, "getsource", lambda _: "kwargs['stream_writer'] = writer")

        testing._mend_aioresponses()

        assert sound.ClientResponse is aiohttp.ClientResponse
