"""A durable receiver as a process of its own, for the demo to kill: told by its environment.

It prints a line for each event that reached its handler. DEMO_HOLD is how many seconds the
handler takes before it has done its work.
"""

from __future__ import annotations

import asyncio
import os

from aiohttp import web

from exotel_async.journal import SQLiteJournal
from exotel_async.models.events import StatusCallback
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks
from exotel_async.wire.tokens import CallbackTokens


def application(*, path: str, hold: float, tokens: CallbackTokens) -> web.Application:
    """Put a receiver on a journal together."""
    journal = SQLiteJournal(path)
    callbacks = StatusCallbacks(tokens=tokens, journal=journal)

    @callbacks.on(StatusCallback)
    async def told(event: StatusCallback) -> None:
        await asyncio.sleep(hold)
        print("told", event.ref, event.event_type, event.status, flush=True)  # noqa: T201

    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend([journal.lifespan, callbacks.lifespan])
    return app


def main() -> None:
    """Serve until the end."""
    app = application(
        path=os.environ["DEMO_JOURNAL"],
        hold=float(os.environ["DEMO_HOLD"]),
        tokens=CallbackTokens.from_environ(),
    )
    port = int(os.environ["DEMO_PORT"])
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        access_log_class=MaskingAccessLogger,
        print=lambda _: print("ready", flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    main()
