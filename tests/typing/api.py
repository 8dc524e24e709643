"""What users write must type-check, and what they must not write must not. Checked, never run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import assert_type

from aiohttp import ClientSession, web

from exotel_async import (
    IST,
    Call,
    CallAnswered,
    CallbackTokens,
    CallList,
    CallOutcome,
    CallPage,
    CallStatus,
    CallTerminated,
    Clock,
    Dial,
    ExotelClient,
    ExotelError,
    Leg,
    NumberMetadata,
    NumberResult,
    OutcomeUnknownError,
    Pacer,
    Range,
    RateLimitedError,
    RecordingError,
    SavedRecording,
    SlidingWindowPacer,
    StatusCallback,
    SystemClock,
    UnknownCallback,
    decode_callback,
)
from exotel_async.dialer import Dialer
from exotel_async.journal import Journal, SQLiteJournal
from exotel_async.simulator import Fault, Payload, Simulator, ThreadedSimulator
from exotel_async.testing import MountCallbacks, payloads
from exotel_async.webhooks import CallbackRouter, MaskingAccessLogger, StatusCallbacks


async def asking(session: ClientSession, now: datetime) -> None:
    clock: Clock = SystemClock()
    pacer: Pacer = SlidingWindowPacer(200, clock=clock)
    async with ExotelClient(
        account_sid="a", api_key="k", api_token="t", region="mumbai", base_url=None,
        flow_base_url=None, allow_http=False, time_zone=IST, timeout=30.0, max_retries=2,
        requests_per_minute=None, pacer=pacer, response_format="xml", session=session, clock=clock,
    ) as exotel:  # fmt: skip
        call = await exotel.calls.connect(
            from_="1", to="2", caller_id="3", call_type="trans", time_limit=60, time_out=30,
            wait_url="http://example.com/a.wav", record=True, recording_channels="dual",
            recording_format="mp3", custom_field="x", start_playback_to="Both",
            start_playback_value="http://example.com/b.wav", status_callback="http://example.com/",
            status_callback_events=("terminal",), status_callback_content_type="application/json",
            extra={"StreamType": "x"},
        )  # fmt: skip
        assert_type(call, Call)
        assert_type(await exotel.calls.connect_to_flow(from_="1", caller_id="2", flow_id=9), Call)
        assert_type(await exotel.calls.get("s", details=True, recording_url_validity=5), Call)
        calls = exotel.calls.list(
            sids="s", created_after=now, created_before=now, to=["1"], from_=("1",),
            phone_numbers={"1"}, statuses=CallStatus.BUSY, directions="inbound",
            duration=Range(at_least=1), price=Decimal(1), details=True, ascending=True,
            page_size=10, limit=5, extra={"NumbersMetadata": "true"},
        )  # fmt: skip
        assert_type(calls, CallList)
        async for one in calls:
            assert_type(one, Call)
        async for page in calls.pages():
            assert_type(page, CallPage)
        assert_type(await exotel.calls.page(after="c", page_size=2), CallPage)
        assert_type(await exotel.numbers.get("1"), NumberMetadata)
        assert_type(exotel.with_options(timeout=5.0, max_retries=0), ExotelClient)

        await exotel.calls.connect(from_="1", to="2")  # type: ignore[call-arg]
        await exotel.calls.connect("1", "2", "3")  # type: ignore[call-arg]
        await exotel.calls.connect(from_="1", to="2", caller_id="3", recording_format="wav")  # type: ignore[arg-type]
        await exotel.calls.connect(from_="1", to="2", caller_id="3", time_limits=1)  # type: ignore[call-arg]
        await exotel.calls.connect_to_flow(from_="1", caller_id="2", flow_id=9, record=True)  # type: ignore[call-arg]
        exotel.calls.list(page_size="10")  # type: ignore[arg-type]


def models(call: Call, leg: Leg, number: NumberMetadata) -> None:
    assert_type(call.sid, str)
    assert_type(call.status, str | None)
    assert_type(call.price, Decimal | None)
    assert_type(call.start_time, datetime | None)
    assert_type(call.duration, int | None)
    assert_type(leg.on_call_duration, int | None)
    assert_type(number.extra, Mapping[str, object])
    call.status = "busy"  # type: ignore[misc]


def errors(unknown: OutcomeUnknownError, limited: RateLimitedError) -> None:
    if unknown.request is not None:
        assert_type(unknown.request.sent_at, datetime)
    assert_type(limited.retry_after, float | None)
    assert_type(limited.attempts, int)


def being_told(app: web.Application, zone: tzinfo) -> None:
    tokens = CallbackTokens(["secret"], audience="staging", lifetime=timedelta(days=1))
    callbacks = StatusCallbacks(
        tokens=tokens, time_zone=zone, handler_timeout=10.0, max_body=1, journal=SQLiteJournal("x"),
        deliver=True, clock=None,
    )  # fmt: skip
    router = CallbackRouter()

    @callbacks.on(CallTerminated)
    async def ended(event: CallTerminated) -> None: ...

    @callbacks.on(CallTerminated)
    async def wider(event: StatusCallback) -> None: ...

    @callbacks.on(CallTerminated, updates=True)
    async def and_updates(event: CallTerminated) -> None:
        assert_type(event.delivery_id, str | None)

    @callbacks.on(CallTerminated, updates=True)  # type: ignore[arg-type]
    def no_coroutine_either(event: CallTerminated) -> None: ...

    @router.on(CallAnswered, CallTerminated, updates=True)
    async def both(event: CallAnswered | CallTerminated) -> None:
        assert_type(event.call_sid, str)

    @router.on(CallAnswered, CallTerminated, UnknownCallback)
    async def three(event: CallAnswered | CallTerminated | UnknownCallback) -> None: ...

    @router.on(StatusCallback)
    async def all_of_them(event: StatusCallback) -> None: ...

    @callbacks.on(CallTerminated)  # type: ignore[arg-type]
    def no_coroutine(event: CallTerminated) -> None: ...

    @callbacks.on(StatusCallback)  # type: ignore[arg-type]
    async def too_narrow(event: CallTerminated) -> None: ...

    @callbacks.on(CallAnswered, CallTerminated)  # type: ignore[arg-type]
    async def half(event: CallAnswered) -> None: ...

    callbacks.on(str)  # type: ignore[type-var]
    callbacks.include(router)
    app.add_subapp("/exotel/", callbacks.app)
    app.add_routes(callbacks.routes())
    app.router.add_post("/one/{token}", callbacks.handle)
    app.cleanup_ctx.append(callbacks.lifespan)
    assert_type(callbacks.url("https://example.com/exotel/", ref="order-42"), str)
    assert_type(decode_callback(b"", content_type="", query=""), StatusCallback)
    assert_type(tokens.verify("x"), str)
    assert_type(CallbackTokens.from_environ(), CallbackTokens)
    assert_type(callbacks.stats(), Mapping[str, int])
    callbacks.on(CallTerminated, updates=1)  # type: ignore[call-overload]
    StatusCallbacks(tokens=tokens, journal="calls.db")  # type: ignore[arg-type]
    web.run_app(app, access_log_class=MaskingAccessLogger)


async def dialling(
    app: web.Application, exotel: ExotelClient, journal: Journal, tokens: CallbackTokens
) -> None:
    dialer = Dialer(
        exotel, journal=journal, tokens=tokens, public_url="https://example.com/exotel/",
        confirm="always", poll_budget=5, clock=SystemClock(),
    )  # fmt: skip
    app.cleanup_ctx.append(dialer.lifespan)
    app.on_shutdown.append(dialer.drain)

    @dialer.on_outcome
    async def known(outcome: CallOutcome) -> None:
        assert_type(outcome.dial, Dial)
        assert_type(outcome.conversation_duration, int | None)
        assert_type(outcome.legs, tuple[Leg, ...])
        assert_type(outcome.confirmed, bool)

    @dialer.on_outcome  # type: ignore[arg-type]
    def no_coroutine(outcome: CallOutcome) -> None: ...

    async with dialer:
        dial = await dialer.connect(
            from_="1", to="2", caller_id="3", idempotency_key="k", retry_if={"refused", "not_sent"},
            call_type="trans", time_limit=60, time_out=30, wait_url="http://example.com/a.wav",
            record=True, recording_channels="dual", recording_format="mp3", custom_field="x",
            start_playback_to="Both", start_playback_value="http://example.com/b.wav",
            extra={"StreamType": "x"},
        )  # fmt: skip
        assert_type(dial, Dial)
        assert_type(dial.error, ExotelError | None)
        flow = await dialer.connect_to_flow(
            from_="1", caller_id="3", flow_id=9, idempotency_key="k", retry_if=["not_placed"]
        )
        assert_type(flow, Dial)
        assert_type(await dialer.outcome(dial, timeout=600), CallOutcome)
        assert_type(await dialer.outcome(dial.ref), CallOutcome)
        assert_type(await dialer.find("k"), Dial | None)
        assert_type(dialer.stats(), Mapping[str, int])

        go, key = dialer.connect, "k"
        await go(from_="1", to="2", caller_id="3")  # type: ignore[call-arg]
        await go(from_="1", to="2", caller_id="3", idempotency_key=key, status_callback="x")  # type: ignore[call-arg]
        await go(from_="1", to="2", caller_id="3", idempotency_key=key, status_callback_events=())  # type: ignore[call-arg]
        await go(from_="1", to="2", caller_id="3", idempotency_key=key, retry_if={"unknown"})  # type: ignore[arg-type]
        on = dialer.connect_to_flow
        await on(from_="1", caller_id="3", idempotency_key=key, flow_id=9, record=True)  # type: ignore[call-arg]
        await on(from_="1", caller_id="3", idempotency_key=key, status_callback="x")  # type: ignore[call-arg]


async def recordings(call: Call, event: StatusCallback) -> None:
    exotel = ExotelClient(
        account_sid="a", api_key="k", api_token="t", recording_hosts=("media.example.com",)
    )
    saved = await exotel.recordings.download(call, "a.mp3", wait=900, overwrite=True, max_size=9)
    assert_type(saved, SavedRecording)
    assert_type(saved.path, Path)
    await exotel.recordings.download(event, saved.path)
    await exotel.recordings.download(None, "a.mp3")  # type: ignore[arg-type]
    async with exotel.recordings.stream("https://recordings.exotel.com/a.mp3", wait=1.5) as sound:
        assert_type(sound.size, int | None)
        async for chunk in sound:
            assert_type(chunk, bytes)
    assert_type(RecordingError().reason, str)


async def numbers(cache: dict[str, NumberMetadata]) -> None:
    exotel = ExotelClient(account_sid="a", api_key="k", api_token="t", number_cache=cache)
    for result in await exotel.numbers.get_many(iter(["1"]), concurrency=2):
        assert_type(result, NumberResult)
        assert_type(result.metadata, NumberMetadata | None)
    async for result in exotel.numbers.iter_many(["1"]):
        assert_type(result.error, ExotelError | None)
    ExotelClient(account_sid="a", api_key="k", api_token="t", json_loads=json.loads)
    ExotelClient(account_sid="a", api_key="k", api_token="t", json_loads=5)  # type: ignore[arg-type]
    ExotelClient(account_sid="a", api_key="k", api_token="t", number_cache=[])  # type: ignore[arg-type]


async def testing(now: datetime) -> None:
    async with (
        Simulator(
            seed=7, requests_per_minute=None, port=0, start=now, speed=60, keep=100,
            exophones=["080"], allow_remote_callbacks=False, watch=print,
        ) as sim,
        ExotelClient(**sim.settings) as exotel,
    ):  # fmt: skip
        await sim.advance(seconds=1, minutes=5, hours=1)
        await exotel.calls.get("x")
        sim.script(to="1", from_="2", ending="busy", rings=1, talks=2)
        sim.script(to="1", ending="asleep")  # type: ignore[arg-type]
        assert_type(
            sim.fault("hang", on="connect", times=None, probability=0.5, seconds=1,
                      carried_out=False),
            Fault,
        )  # fmt: skip
        sim.clear_faults()
        sim.whitelist("1")
        sim.route("https://shop.example/", "http://127.0.0.1/")()
        ExotelClient(**sim.add_account(sid="a", exophones=("1",), kyc=False))
        assert_type(sim.add_call(status="busy", price=Decimal(1), recorded=True), str)
        assert_type(sim.requests[0].status, int | None)
        assert_type(sim.complaints[0].message, str)
        assert_type(sim.calls["a"].legs[0].status, str | None)


async def testing_with_pytest(
    exotel_simulator: ThreadedSimulator, exotel_callbacks: MountCallbacks, app: web.Application
) -> None:
    await exotel_simulator.advance(minutes=5)
    exotel_simulator.advance_blocking(minutes=5)
    async with exotel_callbacks(app, public_url="https://shop.example/exotel/") as url:
        assert_type(url, str)
    body = payloads.terminal({"Legs[0][Status]": "busy"}, Status="busy", encoding="json")
    assert_type(body, Payload)
    assert_type(body.body, bytes)
    payloads.answered(leg=2)  # type: ignore[arg-type]
    payloads.default(encoding="yaml")  # type: ignore[arg-type]
