"""A durable receiver or worker as a process of its own, told by its arguments; prints what it does.

    python durable_process.py JOURNAL {receive|work|both} [poison]

`receive` commits only, `work` delivers only. With `poison` the handler ends the process, without
a word, at any call whose Sid begins so; then there are two tries and one call at a time.
"""

from __future__ import annotations

import asyncio
import os
import sys

from aiohttp import web

from exotel_async import IST, CallbackTokens, StatusCallback
from exotel_async.events import CallbackRouter, DeliveryWorker
from exotel_async.events.desk import CallbackDesk
from exotel_async.journal import SQLiteJournal
from exotel_async.webhooks import StatusCallbacks

SECRET = "a secret of sixteen bytes and more"


def say(*words: object) -> None:
    """Write one line, whole, at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def handle(event: StatusCallback) -> None:
    """Tell of an event; end the process at one that is poison."""
    if event.call_sid.startswith("poison"):
        os._exit(9)
    say("handled", event.call_sid, event.ref, str(event.delivery_id).replace(" ", ""))


async def serve(journal: SQLiteJournal, *, deliver: bool) -> None:
    callbacks = StatusCallbacks(tokens=CallbackTokens([SECRET]), journal=journal, deliver=deliver)
    if deliver:
        callbacks.on(StatusCallback)(handle)
    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend([journal.lifespan, callbacks.lifespan])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    say("port", runner.addresses[0][1])
    await until_told()
    await runner.cleanup()


async def work(journal: SQLiteJournal, *, poison: bool) -> None:
    router = CallbackRouter()
    router.on(StatusCallback)(handle)
    desk = CallbackDesk(router, zone=IST)
    options = {"tries": 2, "concurrency": 1} if poison else {}
    worker = DeliveryWorker(journal, desk, **options)
    async with journal:
        await worker.start()
        say("works")
        await until_told()
        await worker.close()


async def until_told() -> None:
    """Wait until standard input ends."""
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main(path: str, role: str, *more: str) -> None:
    journal = SQLiteJournal(path)
    if role == "work":
        asyncio.run(work(journal, poison="poison" in more))
    else:
        asyncio.run(serve(journal, deliver=role == "both"))
    say("bye")


if __name__ == "__main__":
    main(*sys.argv[1:])
