"""At most one dial, and no outcome lost: python examples/durable.py, against the simulator.

In earnest: ExotelClient.from_environ(), CallbackTokens.from_environ(), web.run_app(app).
"""

import asyncio
import os
import secrets
from tempfile import TemporaryDirectory

from aiohttp import web

from exotel_async import CallbackTokens, CallOutcome, CallTerminated, ExotelClient
from exotel_async.dialer import Dialer
from exotel_async.journal import SQLiteJournal
from exotel_async.simulator import Simulator
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

PORT = int(os.environ.get("PORT", "8080"))
FROM, TO, SHOP = "+919812300001", "+919812300002", "08040001234"


async def main(sim: Simulator, folder: str) -> None:
    exotel, tokens = ExotelClient(**sim.settings), CallbackTokens([secrets.token_bytes(32)])
    journal = SQLiteJournal(f"{folder}/calls.db", clock=sim.clock)
    callbacks = StatusCallbacks(tokens=tokens, journal=journal, clock=sim.clock)
    url, done = f"http://127.0.0.1:{PORT}/exotel/", asyncio.Event()
    dialer = Dialer(exotel, journal=journal, tokens=tokens, public_url=url)

    @callbacks.on(CallTerminated)
    async def ended(event: CallTerminated) -> None:
        print("told:", event.status, *(leg.status for leg in event.legs))

    @dialer.on_outcome
    async def known(outcome: CallOutcome) -> None:
        print("outcome:", outcome.state, outcome.status, "confirmed:", outcome.confirmed)
        done.set()

    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend(part.lifespan for part in (journal, exotel, callbacks, dialer))
    runner = web.AppRunner(app, access_log_class=MaskingAccessLogger)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    sim.fault("reset-after-read", on="connect")  # the phones ring, and the answer is lost
    for _ in range(2):  # the second one dials nobody: the key is known
        dial = await dialer.connect(from_=FROM, to=TO, caller_id=SHOP, idempotency_key="order-42")
        print("dial:", dial.state)
    await done.wait()  # elsewhere, and in any process: await dialer.outcome(dial, timeout=600)
    await runner.cleanup()


async def simulated(folder: str) -> None:
    async with Simulator(speed=60) as sim:
        await main(sim, folder)


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        asyncio.run(simulated(made))
