"""Receive StatusCallbacks in an aiohttp application, and place calls that send them.

CALLBACK_SECRET=… PUBLIC_URL=https://example.com/exotel/ python examples/receive_callbacks.py
"""

from __future__ import annotations

import os

from aiohttp import web

from exotel_async import CallAnswered, CallbackTokens, CallTerminated, ExotelClient
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

exotel = ExotelClient.from_environ()
callbacks = StatusCallbacks(tokens=CallbackTokens([os.environ["CALLBACK_SECRET"]]))


@callbacks.on(CallAnswered, CallTerminated)
async def told(event: CallAnswered | CallTerminated) -> None:
    print(event.ref, type(event).__name__, event.status, *(leg.status for leg in event.legs))


async def dial(request: web.Request) -> web.Response:
    order, form = request.match_info["order"], await request.post()
    call = await exotel.calls.connect(
        from_=str(form["from"]), to=str(form["to"]), caller_id=os.environ["EXOPHONE"],
        status_callback=callbacks.url(os.environ["PUBLIC_URL"], ref=order),
        status_callback_events=("answered", "terminal"),
    )  # fmt: skip
    return web.json_response({"sid": call.sid})


if __name__ == "__main__":
    app = web.Application()
    app.router.add_post("/orders/{order}/dial", dial)
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend([exotel.lifespan, callbacks.lifespan])
    port = int(os.environ.get("PORT", "8080"))
    web.run_app(app, host="127.0.0.1", port=port, access_log_class=MaskingAccessLogger)
