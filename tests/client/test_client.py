"""The client's life, what it sends, how it tries again, and what it logs."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aioresponses import aioresponses
from clocks import FakeClock
from raw_server import Act, answer, close, hang, raw_server
from samples import sample
from yarl import URL

from exotel_async import (
    ClientClosedError,
    ConfigurationError,
    ExotelClient,
    ExotelError,
    InvalidRequestError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    ServerError,
)
from exotel_async.client import door
from exotel_async.simulator import Simulator

from .conftest import MakeClient

API = "https://api.exotel.com/v1/Accounts/acme1"
NUMBERS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
TOKEN = "b3JkZXI.1790000000.K2bLh9bL3mJ1y0bqv2nW8w"
CALLBACK = f"https://example.com/exotel/{TOKEN}"
ECHO = f'{{"RestException": {{"Message": "Invalid StatusCallback {CALLBACK}"}}}}'.encode()
SECRETS = ("kkkkkkkk", "tttttttt", "a2tra2tra2s6dHR0dHR0dHQ=")


class TestLife:
    """Opened, closed, opened again."""

    async def test_not_open(self, make_client: MakeClient) -> None:
        """A client that was not opened says how to open it."""
        with pytest.raises(ClientClosedError, match="async with"):
            await make_client().calls.get("abc")

    async def test_closed(self, make_client: MakeClient) -> None:
        """After its life a client sends nothing more."""
        async with make_client() as exotel:
            pass

        with pytest.raises(ClientClosedError):
            await exotel.calls.get("abc")

    async def test_close_twice(self, make_client: MakeClient) -> None:
        """Closing twice is harmless, before, during and after its life."""
        exotel = make_client()
        await exotel.aclose()
        async with exotel:
            await exotel.aclose()
            await exotel.aclose()

        await exotel.aclose()

    async def test_open_again(self, make_client: MakeClient) -> None:
        """A client may live several lives."""
        async with raw_server(answer("404 Not Found")) as server:
            exotel = make_client(base_url=server.url)
            for _ in range(2):
                async with exotel:
                    with pytest.raises(NotFoundError):
                        await exotel.calls.get("abc")

    async def test_the_last_one_closes(self, make_client: MakeClient) -> None:
        """Who entered an open client leaves it open."""
        async with raw_server(answer("404 Not Found")) as server:
            async with make_client(base_url=server.url) as exotel:
                async with exotel:
                    pass

                with pytest.raises(NotFoundError):
                    await exotel.calls.get("abc")

    async def test_lifespan(self, make_client: MakeClient) -> None:
        """An aiohttp application opens and closes it."""
        exotel = make_client()
        app = web.Application()
        app.cleanup_ctx.append(exotel.lifespan)

        async with TestServer(app):
            assert "open" in repr(exotel)

        assert "closed" in repr(exotel)

    async def test_own_session_stays_open(self, make_client: MakeClient) -> None:
        """A session that the user brought is never closed."""
        async with aiohttp.ClientSession() as session:
            async with make_client(session=session) as exotel:
                await exotel.aclose()

            assert not session.closed

    async def test_own_session_closed(self, make_client: MakeClient) -> None:
        """A user's session that is closed cannot send."""
        async with aiohttp.ClientSession() as session:
            exotel = make_client(session=session)
        async with exotel:
            with pytest.raises(ClientClosedError):
                await exotel.calls.get("abc")

    async def test_closing_a_view(self, make_client: MakeClient) -> None:
        """Closing a view closes nothing."""
        async with make_client() as exotel:
            async with exotel.with_options(timeout=1.0) as view:
                await view.aclose()

            assert "open" in repr(exotel)

    async def test_view_of_a_closed_client(self, make_client: MakeClient) -> None:
        """A view lives as long as its client."""
        async with make_client() as exotel:
            view = exotel.with_options(timeout=1.0)

        with pytest.raises(ClientClosedError):
            await view.calls.get("abc")
        with pytest.raises(ClientClosedError, match="open the client itself"):
            await view.__aenter__()

    def test_made_without_a_loop(self, make_client: MakeClient) -> None:
        """Making a client needs no loop, no file and no network."""
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

        assert make_client()

    async def test_no_tasks_left(self, make_client: MakeClient) -> None:
        """A request leaves no task behind."""
        before = asyncio.all_tasks()
        async with (
            raw_server(answer("404 Not Found")) as server,
            make_client(base_url=server.url) as exotel,
        ):
            with pytest.raises(NotFoundError):
                await exotel.calls.get("abc")
        await asyncio.sleep(0)

        assert asyncio.all_tasks() == before

    async def test_entered_while_closing(
        self, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who enters while the last one leaves gets sessions of its own."""
        closing, go_on = asyncio.Event(), asyncio.Event()
        close = aiohttp.ClientSession.close

        async def slow_close(session: aiohttp.ClientSession) -> None:
            closing.set()
            await go_on.wait()
            await close(session)

        monkeypatch.setattr(aiohttp.ClientSession, "close", slow_close)
        async with raw_server(answer("404 Not Found")) as server:
            exotel = make_client(base_url=server.url)
            await exotel.__aenter__()
            leaving = asyncio.create_task(exotel.__aexit__(None, None, None))
            await closing.wait()
            async with exotel:
                go_on.set()
                await leaving

                with pytest.raises(NotFoundError):
                    await exotel.calls.get("abc")

    async def test_leaving_after_somebody_closed(self, make_client: MakeClient) -> None:
        """Who was put out by aclose takes nothing from those who came later."""
        async with raw_server(answer("404 Not Found")) as server:
            exotel = make_client(base_url=server.url)
            await exotel.__aenter__()
            await exotel.aclose()
            async with exotel:
                await exotel.__aexit__(None, None, None)

                with pytest.raises(NotFoundError):
                    await exotel.calls.get("abc")

    def test_several_loops(self, make_client: MakeClient, clock: FakeClock) -> None:
        """One client may serve one loop after another, waiting for its turn in each."""
        exotel = make_client(requests_per_minute=1)

        async def ask() -> None:
            async with raw_server(answer("404 Not Found")) as server, exotel:
                exotel.__dict__["_door"] = attrs.evolve(
                    exotel._door, settings=attrs.evolve(exotel._door.settings, base_url=server.url)
                )
                asking = [exotel.calls.get("abc") for _ in range(3)]
                for error in await asyncio.gather(*asking, return_exceptions=True):
                    assert isinstance(error, NotFoundError)

        for _ in range(3):
            asyncio.run(ask())

    def test_another_loop_that_runs(self, make_client: MakeClient) -> None:
        """A client that is open in one loop serves no other, and says so before it sends."""
        exotel = make_client()
        with asyncio.Runner() as one:
            one.run(exotel.__aenter__())
            with asyncio.Runner() as other:
                with pytest.raises(ClientClosedError, match="another event loop"):
                    other.run(exotel.calls.connect(**NUMBERS))
                with pytest.raises(ConfigurationError, match="another event loop"):
                    other.run(exotel.__aenter__())
            one.run(exotel.aclose())

    def test_a_loop_that_ended_without_closing(self, make_client: MakeClient) -> None:
        """A new loop gets new sessions, even if the last one left its own open."""
        exotel = make_client()

        async def forget_to_leave() -> list[aiohttp.ClientSession]:
            await exotel.__aenter__()
            sessions = exotel._door.transport.require_open()
            return [sessions.kept, sessions.fresh]

        async def ask() -> None:
            async with exotel:
                assert exotel._door.transport.require_open().kept not in forgotten

        forgotten = asyncio.run(forget_to_leave())
        asyncio.run(ask())

        for session in forgotten:
            asyncio.run(session.close())


class TestSending:
    """What goes out, and how the answer is read."""

    async def test_authorization(self, make_client: MakeClient) -> None:
        """The credentials go in a header, to the API's own origin; redirects are refused."""
        with aioresponses() as mocked:
            mocked.get(f"{API}/Calls/abc.json", body=sample("call_details.json"))
            async with make_client() as exotel:
                await exotel.calls.get("abc")

        ((request,),) = mocked.requests.values()
        assert request.kwargs["headers"]["Authorization"] == "Basic a2tra2tra2s6dHR0dHR0dHQ="
        assert request.kwargs["allow_redirects"] is False

    async def test_time_out(self, make_client: MakeClient) -> None:
        """One try has the whole time-out, at most half of it to connect."""
        with aioresponses() as mocked:
            mocked.get(f"{API}/Calls/abc.json", body=sample("call_details.json"))
            async with make_client(timeout=8.0) as exotel:
                await exotel.calls.get("abc")

        ((request,),) = mocked.requests.values()
        assert request.kwargs["timeout"] == aiohttp.ClientTimeout(total=8.0, connect=4.0)

    async def test_xml(self, make_client: MakeClient) -> None:
        """Without .json Exotel answers in XML, and the same call comes of it."""
        with aioresponses() as mocked:
            mocked.get(f"{API}/Calls/abc?details=true", body=sample("call_details_legs.xml"))
            mocked.get(
                f"{API}/Calls/abc.json?details=true", body=sample("call_details_legs.mended.json")
            )
            async with make_client() as exotel:
                in_json = await exotel.calls.get("abc", details=True)
                in_xml = await exotel.with_options(response_format="xml").calls.get(
                    "abc", details=True
                )

        assert in_xml == in_json

    async def test_flow_id(self, make_client: MakeClient) -> None:
        """A flow's number becomes its URL, on the flow host of the region."""
        with aioresponses() as mocked:
            mocked.post(
                "https://api.in.exotel.com/v1/Accounts/acme1/Calls/connect.json",
                body=sample("connect_flow.json"),
            )
            async with make_client(region="mumbai") as exotel:
                await exotel.calls.connect_to_flow(from_="0123", caller_id="0456", flow_id=926)

        ((request,),) = mocked.requests.values()
        assert request.kwargs["data"] == (
            b"From=0123&CallerId=0456"
            b"&Url=http%3A%2F%2Fmy.in.exotel.com%2Facme1%2Fexoml%2Fstart_voice%2F926"
        )

    @pytest.mark.parametrize("flow", [{}, {"flow_id": 926, "url": "http://my.exotel.com/x"}])
    async def test_flow_id_or_url(self, flow: dict[str, Any], make_client: MakeClient) -> None:
        """A flow is named in one way."""
        async with make_client() as exotel:
            with pytest.raises(InvalidRequestError, match="flow_id"):
                await exotel.calls.connect_to_flow(from_="0123", caller_id="0456", **flow)

    async def test_refused_before_sending(self, make_client: MakeClient) -> None:
        """What is refused here was not sent."""
        async with (
            raw_server(answer("200 OK")) as server,
            make_client(base_url=server.url) as exotel,
        ):
            with pytest.raises(InvalidRequestError, match="time_limit"):
                await exotel.calls.connect(**NUMBERS, time_limit=14_401)

        assert server.requests == []

    async def test_what_fails_before_sending(
        self, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What goes wrong before a dial leaves is told as it is, not as an unknown outcome."""
        monkeypatch.setattr(door, "converter_for", lambda zone: 1 / 0)
        async with (
            raw_server(answer("200 OK")) as server,
            make_client(base_url=server.url) as exotel,
        ):
            with pytest.raises(ZeroDivisionError):
                await exotel.calls.connect(**NUMBERS)

        assert server.requests == []

    @pytest.mark.parametrize("sid", [".", "..", "  "])
    async def test_a_sid_that_is_a_path(
        self, sid: str, make_client: MakeClient, clock: FakeClock
    ) -> None:
        """A sid that would lead to another path is refused, and takes no place in the minute."""
        async with raw_server(answer("404 Not Found")) as server:
            async with make_client(base_url=server.url, requests_per_minute=1) as exotel:
                for _ in range(2):
                    with pytest.raises(InvalidRequestError):
                        await exotel.calls.get(sid)

        assert server.requests == []
        assert clock.elapsed == 0

    async def test_base_url_with_a_path(self, make_client: MakeClient) -> None:
        """A gateway may serve the API below a path of its own."""
        async with raw_server(answer("404 Not Found")) as server:
            async with make_client(base_url=f"{server.url}/gate/") as exotel:
                with pytest.raises(NotFoundError):
                    await exotel.numbers.get("+91 98")

        assert server.requests[0].startswith(
            b"GET /gate/v1/Accounts/acme1/Numbers/%2B91%2098.json HTTP/1.1\r\n"
        )

    async def test_big_page(self, make_client: MakeClient) -> None:
        """A page of several hundred kilobytes is read whole."""
        call = '{"Sid": "a", "CallerName": "' + "x" * 400_000 + '"}'
        with aioresponses() as mocked:
            mocked.get(
                URL(f"{API}/Calls.json").with_query(PageSize=100), body='{"Calls": [' + call + "]}"
            )
            async with make_client() as exotel:
                page = await exotel.calls.page()

        assert len(page.calls[0].caller_name or "") == 400_000


class TestTryingAgain:
    """Pauses, holds and what is logged of them."""

    async def test_retry_after(self, make_client: MakeClient, clock: FakeClock) -> None:
        """A 429 that names a time is waited for, and then served."""
        acts = (
            answer("429 Slow", headers="Retry-After: 7\r\n"),
            answer("200 OK", sample("call_details.json")),
        )
        async with raw_server(*acts) as server, make_client(base_url=server.url) as exotel:
            await exotel.calls.get("abc")

        assert clock.slept == [7.0]

    async def test_hold_is_for_everybody(self, make_client: MakeClient, clock: FakeClock) -> None:
        """Who was told to slow down holds back the others too, even after giving up."""
        acts = (
            answer("429 Slow", headers="Retry-After: 50\r\n"),
            answer("200 OK", sample("call_details.json")),
        )
        async with raw_server(*acts) as server, make_client(base_url=server.url) as exotel:
            with pytest.raises(RateLimitedError):
                await exotel.with_options(max_retries=0).calls.get("abc")
            await exotel.calls.get("abc")

        assert clock.elapsed == pytest.approx(50.0)

    async def test_hold_has_a_bound(self, make_client: MakeClient, clock: FakeClock) -> None:
        """A server that asks for a day gets a minute, and the caller the number."""
        act = answer("429 Slow", headers="Retry-After: 86400\r\n")
        async with raw_server(act) as server, make_client(base_url=server.url) as exotel:
            with pytest.raises(RateLimitedError) as caught:
                await exotel.calls.get("abc")
            assert len(server.requests) == 1
            with pytest.raises(RateLimitedError):
                await exotel.calls.get("abc")

        assert caught.value.retry_after == 86_400.0
        assert clock.elapsed == pytest.approx(60.0)

    async def test_pauses_grow(self, make_client: MakeClient, clock: FakeClock) -> None:
        """Each pause is drawn from a longer interval."""
        act = answer("503 Unavailable")
        async with (
            raw_server(act) as server,
            make_client(base_url=server.url, max_retries=4) as exotel,
        ):
            with pytest.raises(ServerError, match="after 5 tries"):
                await exotel.calls.get("abc")

        assert len(clock.slept) == 4
        assert all(0 <= nap <= 0.5 * 2**n for n, nap in enumerate(clock.slept))

    async def test_every_try_is_paced(self, make_client: MakeClient, clock: FakeClock) -> None:
        """Further tries take their place in the minute as well."""
        async with raw_server(answer("503 Unavailable")) as server:
            async with make_client(base_url=server.url, requests_per_minute=2) as exotel:
                with pytest.raises(ServerError):
                    await exotel.calls.get("abc")

        assert clock.elapsed >= 60

    async def test_503_names_a_time(self, make_client: MakeClient, clock: FakeClock) -> None:
        """A 503 that names a time is waited for too."""
        acts = (
            answer("503 Busy", headers="Retry-After: 9\r\n"),
            answer("200 OK", sample("call_details.json")),
        )
        async with raw_server(*acts) as server, make_client(base_url=server.url) as exotel:
            await exotel.calls.get("abc")

        assert clock.slept == [9.0]

    async def test_429_without_a_time(self, make_client: MakeClient, clock: FakeClock) -> None:
        """A 429 that names no time holds everybody for two seconds at least."""
        acts = answer("429 Slow"), answer("200 OK", sample("call_details.json"))
        async with raw_server(*acts) as server, make_client(base_url=server.url) as exotel:
            with pytest.raises(RateLimitedError):
                await exotel.with_options(max_retries=0).calls.get("abc")
            await exotel.calls.get("abc")

        assert clock.elapsed >= 2.0

    async def test_a_burst_goes_at_once(self, make_client: MakeClient) -> None:
        """As many as the pacer lets go are under way side by side."""
        arrived = 0
        everybody = asyncio.Event()

        async def wait_for_all(writer: asyncio.StreamWriter) -> None:
            nonlocal arrived
            arrived += 1
            if arrived == 150:
                everybody.set()
            await everybody.wait()
            await answer("404 Not Found")(writer)

        async with raw_server(wait_for_all) as server, make_client(base_url=server.url) as exotel:
            asking = [exotel.calls.get("abc") for _ in range(150)]
            errors = await asyncio.gather(*asking, return_exceptions=True)

        assert {type(error) for error in errors} == {NotFoundError}

    async def test_no_pacing(self, make_client: MakeClient, clock: FakeClock) -> None:
        """Without a rate nobody waits."""
        async with raw_server(answer("404 Not Found")) as server:
            async with make_client(base_url=server.url, requests_per_minute=None) as exotel:
                for _ in range(250):
                    with pytest.raises(NotFoundError):
                        await exotel.calls.get("abc")

        assert clock.elapsed == 0

    async def test_own_pacer(self, make_client: MakeClient) -> None:
        """A pacer of the user's own is asked before every request."""

        class Counting:
            count = 0

            async def reserve(self) -> None:
                self.count += 1

            async def hold(self, seconds: float) -> None: ...

        pacer = Counting()
        async with raw_server(answer("404 Not Found")) as server:
            async with make_client(base_url=server.url, pacer=pacer) as exotel:
                with pytest.raises(NotFoundError):
                    await exotel.calls.get("abc")

        assert pacer.count == 1

    async def test_agrees_with_the_carriers_limit(self) -> None:
        """At Exotel's own limit a long pull meets no 429."""
        async with Simulator() as sim, ExotelClient(**sim.settings) as exotel:
            asking = asyncio.gather(*(exotel.numbers.get("+919812300001") for _ in range(450)))
            for _ in range(30):
                await sim.advance(seconds=10)
            await asking

            assert {request.status for request in sim.requests} == {200}


class TestCancelling:
    """A caller who walks away leaves the client as it was."""

    async def test_in_flight(self, make_client: MakeClient) -> None:
        """A cancelled request leaves the client usable and no task behind."""
        before = asyncio.all_tasks()
        acts = hang, answer("200 OK", sample("call_details.json"))
        async with raw_server(*acts) as server, make_client(base_url=server.url) as exotel:
            asking = asyncio.create_task(exotel.calls.get("abc"))
            while not server.requests:
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

            call = await exotel.calls.get("abc")

        await asyncio.sleep(0)
        assert call.sid
        assert asyncio.all_tasks() == before

    async def test_at_every_step(self, make_client: MakeClient) -> None:
        """Wherever it is cancelled, connect sends at most one POST and the client lives on."""
        body = sample("connect_two_numbers.json")
        finished = False
        steps = 0
        while not finished:
            async with (
                raw_server(answer("200 OK", body)) as server,
                make_client(base_url=server.url, max_retries=3) as exotel,
            ):
                dialling = asyncio.create_task(exotel.calls.connect(**NUMBERS))
                for _ in range(steps):
                    await asyncio.sleep(0)
                finished = dialling.done()
                dialling.cancel()
                await asyncio.gather(dialling, return_exceptions=True)

                call = await exotel.calls.connect(**NUMBERS)

                assert call.sid
                assert len(server.requests) <= 2
            steps += 1

        assert steps > 5

    async def test_closed_meanwhile(self, make_client: MakeClient) -> None:
        """Closing while a dial is in flight leaves its outcome unknown, not unsaid."""
        async with raw_server(hang) as server, make_client(base_url=server.url) as exotel:
            dialling = asyncio.create_task(exotel.calls.connect(**NUMBERS))
            while not server.requests:
                await asyncio.sleep(0)
            await exotel.aclose()
            with pytest.raises(OutcomeUnknownError):
                await asyncio.wait_for(dialling, 5)


class TestLogging:
    """One line a try; never a secret, never a whole number."""

    async def test_masked(self, make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
        """Numbers in paths are masked, credentials absent, at the most talkative level."""
        caplog.set_level(logging.DEBUG)
        async with (
            raw_server(answer("503 No")) as server,
            make_client(base_url=server.url) as exotel,
        ):
            with pytest.raises(ServerError):
                await exotel.numbers.get("+919812300001")
            with pytest.raises(OutcomeUnknownError):
                await exotel.calls.connect(**NUMBERS)

        assert "GET Numbers/***0001: 503" in caplog.text
        assert "POST Calls/connect: 503" in caplog.text
        assert "98123" not in caplog.text
        assert not any(secret in caplog.text for secret in SECRETS)

    @pytest.mark.parametrize(
        "act",
        [
            answer("500 No"),
            answer("NO HTTP"),
            hang,
            close,
            answer("200 OK", b"x" * 9, length=20),
            answer("400 Bad", ECHO),
        ],
    )
    async def test_errors_show_no_secret(self, act: Act, make_client: MakeClient) -> None:
        """No credential, token or number stands in an error or any of its causes."""
        async with (
            raw_server(act) as server,
            make_client(base_url=server.url, timeout=0.3, max_retries=0) as exotel,
        ):
            with pytest.raises(ExotelError) as connect:
                await exotel.calls.connect(**NUMBERS, status_callback=CALLBACK)
            with pytest.raises(ExotelError) as get:
                await exotel.numbers.get(NUMBERS["to"])

        shown = "".join(show_whole_chain(error) for error in (connect.value, get.value))
        for secret in (*SECRETS, "9812300", TOKEN):
            assert secret not in shown

    async def test_a_refused_connection_shows_no_number(self, make_client: MakeClient) -> None:
        """A connection that was never made tells the host, not the number asked for."""

        async def never(*_: Any, **__: Any) -> Any:
            await asyncio.Event().wait()

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(aiohttp.TCPConnector, "_create_connection", never)
            async with make_client(timeout=0.1, max_retries=0) as exotel:
                with pytest.raises(NotSentError) as caught:
                    await exotel.numbers.get(NUMBERS["to"])

        shown = show_whole_chain(caught.value)
        assert "9812300" not in shown
        assert "acme1" not in shown  # on old accounts the API key

    async def test_endless_answer(self, make_client: MakeClient) -> None:
        """An answer that does not end is cut off."""

        async def pour(writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" " * 2**20)
                await writer.drain()

        async with (
            raw_server(pour) as server,
            make_client(base_url=server.url, max_retries=0) as exotel,
        ):
            with pytest.raises(NoAnswerError, match="broke off"):
                await exotel.calls.get("abc")


def show_whole_chain(error: BaseException | None) -> str:
    """Format an error and all that hangs on it, as a curious logger would."""
    shown = "".join(traceback.format_exception_only(error)) if error else ""
    while error is not None:
        shown += f"{error!r} {error}"
        if error.__context__ is not error.__cause__:
            shown += repr(error.__context__)
        error = error.__cause__
    return shown


class TestWarning:
    """What we only doubt."""

    @pytest.mark.parametrize(
        "doubtful",
        [{"custom_field": "x" * 200}, {"status_callback_events": ("ringing",)}, {"time_out": 61}],
    )
    async def test_points_at_the_caller(
        self, doubtful: dict[str, Any], make_client: MakeClient
    ) -> None:
        """A warning names the line of the user's that gave reason for it."""
        body = sample("connect_two_numbers.json")
        async with (
            raw_server(answer("200 OK", body)) as server,
            make_client(base_url=server.url) as exotel,
        ):
            with pytest.warns(UserWarning, match=r"Exotel|regulation|status_callback") as warned:
                await exotel.calls.connect(**NUMBERS, **doubtful)

        assert {warning.filename for warning in warned} == {__file__}


class TestUsersSession:
    """A session of the user's own."""

    @pytest.mark.filterwarnings("ignore:BasicAuth:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:.*auth:DeprecationWarning")
    async def test_its_auth(self, make_client: MakeClient) -> None:
        """A session with credentials of its own is refused before anything is sent."""
        auth = aiohttp.BasicAuth("a", "b")
        async with aiohttp.ClientSession(auth=auth) as session:
            with pytest.raises(ConfigurationError, match="auth"):
                async with make_client(session=session):
                    pass

    async def test_its_redirects_and_raising_are_ours(self, make_client: MakeClient) -> None:
        """A session that raises for status by itself still gives our errors."""
        async with raw_server(answer("404 Not Found")) as server:
            async with aiohttp.ClientSession(raise_for_status=True) as session:
                async with make_client(base_url=server.url, session=session) as exotel:
                    with pytest.raises(NotFoundError):
                        await exotel.calls.get("abc")

    async def test_its_connections_are_kept(self, make_client: MakeClient) -> None:
        """With a user's session a dial goes as its connector decides: on a kept connection."""
        body = sample("connect_two_numbers.json")
        async with raw_server(answer("200 OK", body)) as server:
            async with aiohttp.ClientSession() as session:
                async with make_client(base_url=server.url, session=session) as exotel:
                    await exotel.calls.connect(**NUMBERS)
                    await exotel.calls.connect(**NUMBERS)

        assert server.connections == 1

    async def test_a_hook_that_fails(self, make_client: MakeClient) -> None:
        """Whatever a hook of the session raises once the dial has left, its outcome is unknown."""

        async def fail(*_: object) -> None:
            raise KeyError("a bug of the user's")

        hooks = aiohttp.TraceConfig()
        hooks.on_request_end.append(fail)
        body = sample("connect_two_numbers.json")
        async with raw_server(answer("200 OK", body)) as server:
            async with aiohttp.ClientSession(trace_configs=[hooks]) as session:
                async with make_client(base_url=server.url, session=session) as exotel:
                    with pytest.raises(OutcomeUnknownError) as caught:
                        await exotel.calls.connect(**NUMBERS)
                    with pytest.raises(KeyError):
                        await exotel.calls.get("abc")

        assert caught.value.__cause__ is not None
        assert isinstance(caught.value.__cause__.__cause__, KeyError)

    async def test_an_answer_that_breaks_us(
        self, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Should reading the answer of a dial fail in a way nobody thought of, it is unknown."""
        monkeypatch.setattr(door, "read_answer", lambda *_, **__: 1 / 0)
        async with (
            raw_server(answer("200 OK", b"{}")) as server,
            make_client(base_url=server.url) as exotel,
        ):
            with pytest.raises(OutcomeUnknownError):
                await exotel.calls.connect(**NUMBERS)

    async def test_its_cookies_and_headers_are_not_lost(self, make_client: MakeClient) -> None:
        """Headers of the session travel along, ours come before them."""
        async with raw_server(answer("404 Not Found")) as server:
            headers = {"X-Trace": "1", "Authorization": "Bearer theirs"}
            async with aiohttp.ClientSession(headers=headers) as session:
                async with make_client(base_url=server.url, session=session) as exotel:
                    with pytest.raises(NotFoundError):
                        await exotel.calls.get("abc")

        assert b"X-Trace: 1" in server.requests[0]
        assert b"theirs" not in server.requests[0]


def test_nothing_unclosed() -> None:
    """Warnings are errors here: an unclosed session of the tests above would show up now."""
    gc.collect()
