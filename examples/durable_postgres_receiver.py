"""Take callbacks in, on any number of machines; durable_postgres_worker.py delivers them.

exotel-async journal migrate
EXOTEL_JOURNAL=postgresql://… EXOTEL_CALLBACK_SECRET=… python examples/durable_postgres_receiver.py
"""

from __future__ import annotations

import os

from aiohttp import web

from exotel_async import CallbackTokens
from exotel_async.journal import PostgresJournal
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

journal = PostgresJournal(os.environ["EXOTEL_JOURNAL"], migrate=False)
callbacks = StatusCallbacks(tokens=CallbackTokens.from_environ(), journal=journal, deliver=False)


async def ready(_: web.Request) -> web.Response:
    return web.Response(status=200 if callbacks.ready() else 503)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/ready", ready)
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend([journal.lifespan, callbacks.lifespan])
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, access_log_class=MaskingAccessLogger)
