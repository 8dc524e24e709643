"""Show a durable receiver's counters to Prometheus, in its text format: GET /metrics.

EXOTEL_CALLBACK_SECRET=… JOURNAL=calls.db PORT=8080 python examples/metrics.py
"""

from __future__ import annotations

import os

from aiohttp import web

from exotel_async import CallbackTokens, CallTerminated
from exotel_async.journal import SQLiteJournal
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

journal = SQLiteJournal(os.environ["JOURNAL"])
callbacks = StatusCallbacks(tokens=CallbackTokens.from_environ(), journal=journal)


@callbacks.on(CallTerminated)
async def ended(event: CallTerminated) -> None:
    print(event.ref, event.status, flush=True)


async def metrics(_: web.Request) -> web.Response:
    counted = {"callbacks": callbacks.stats(), "journal": await journal.stats()}
    text = ""
    for room, stats in counted.items():
        text += "".join(f"exotel_{room}_{name} {count}\n" for name, count in stats.items())
    return web.Response(text=text)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend([journal.lifespan, callbacks.lifespan])
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, access_log_class=MaskingAccessLogger)
