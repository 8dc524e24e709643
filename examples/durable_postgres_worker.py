"""Dial, run handlers, and learn how calls ended; durable_postgres_receiver.py takes callbacks in.

exotel-async journal migrate
EXOTEL_JOURNAL=postgresql://… EXOTEL_CALLBACK_SECRET=… EXOPHONE=… and the client's variables
PUBLIC_URL=https://example.com/exotel/ PORT=8081 python examples/durable_postgres_worker.py
"""

from __future__ import annotations

import os

from aiohttp import web

from exotel_async import CallAnswered, CallbackTokens, CallOutcome, CallTerminated, ExotelClient
from exotel_async.dialer import Dialer
from exotel_async.journal import PostgresJournal
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

tokens = CallbackTokens.from_environ()
journal = PostgresJournal(os.environ["EXOTEL_JOURNAL"], migrate=False)
exotel = ExotelClient.from_environ(pacer=journal.pacer(os.environ["EXOTEL_ACCOUNT_SID"]))
callbacks = StatusCallbacks(tokens=tokens, journal=journal)  # delivers; it has no route here
dialer = Dialer(exotel, journal=journal, tokens=tokens, public_url=os.environ["PUBLIC_URL"])


@callbacks.on(CallAnswered, CallTerminated)
async def told(event: CallAnswered | CallTerminated) -> None:
    print("told:", type(event).__name__, event.status, flush=True)


@dialer.on_outcome
async def known(outcome: CallOutcome) -> None:
    print("outcome:", outcome.dial.idempotency_key, outcome.state, outcome.status, flush=True)


async def dial(request: web.Request) -> web.Response:
    order, form = request.match_info["order"], await request.post()
    placed = await dialer.connect(
        from_=str(form["from"]), to=str(form["to"]), caller_id=os.environ["EXOPHONE"],
        idempotency_key=order, time_limit=600,
    )  # fmt: skip
    return web.json_response({"ref": placed.ref, "state": placed.state})


async def ready(_: web.Request) -> web.Response:
    return web.Response(status=200 if callbacks.ready() else 503)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_post("/orders/{order}/dial", dial)
    app.on_shutdown.append(dialer.drain)
    parts = (journal, exotel, callbacks, dialer)
    app.cleanup_ctx.extend(part.lifespan for part in parts)
    port = int(os.environ.get("PORT", "8081"))
    web.run_app(app, host="127.0.0.1", port=port, access_log_class=MaskingAccessLogger)
