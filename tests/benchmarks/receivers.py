"""What does it cost to receive a callback, up to an awaited handler that does nothing.

Each server is a process of its own, they are all up at once and take turns; what counts is the
CPU time that a server took for a callback. Beside ours stand a handler that only reads the body
(the limit), the obvious one with `request.post()`, and FastAPI with python-multipart.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from itertools import count, islice
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from aiohttp import web
from measuring import Costs, Line, compared
from receiver import TOKENS, Load

from exotel_async import StatusCallback, decode_callback
from exotel_async.simulator import payloads
from exotel_async.webhooks import StatusCallbacks

ROUNDS, CALLBACKS = 9, 2_000
LIMIT, POST, FASTAPI = "reading the body", "request.post()", "FastAPI, python-multipart"
DECODING, SUB_APP = "decoding handler", "sub-app with tokens"
SLOW = {POST: 20, FASTAPI: 5}  # this many times fewer callbacks


async def ignore(event: object) -> None:
    """Do nothing with it."""


# The servers, each of which answers "OK".


async def reading(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="OK")


async def decoding(request: web.Request) -> web.Response:
    body = await request.read()
    await ignore(decode_callback(body, content_type=request.headers["Content-Type"]))
    return web.Response(text="OK")


async def posting(request: web.Request) -> web.Response:
    if request.content_type == "application/json":
        await ignore(await request.json())
    else:
        await ignore(await request.post())
    return web.Response(text="OK")


def with_handler(handler: Callable[[web.Request], Awaitable[web.Response]]) -> web.Application:
    app = web.Application()
    app.router.add_post("/exotel/{token}", handler)
    return app


def with_sub_app() -> web.Application:
    callbacks = StatusCallbacks(tokens=TOKENS)
    callbacks.on(StatusCallback)(ignore)
    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.append(callbacks.lifespan)
    return app


APPS: Mapping[str, Callable[[], web.Application]] = {
    LIMIT: lambda: with_handler(reading),
    DECODING: lambda: with_handler(decoding),
    SUB_APP: with_sub_app,
    POST: lambda: with_handler(posting),
}


async def serve_aiohttp(name: str) -> None:
    runner = web.AppRunner(APPS[name](), access_log=None, shutdown_timeout=1)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await tell(runner.addresses[0][1])


async def serve_fastapi() -> None:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import PlainTextResponse

    app = FastAPI()

    async def receive(token: str, request: Request) -> PlainTextResponse:
        if request.headers["content-type"] == "application/json":
            await ignore(await request.json())
        else:
            await ignore(await request.form())
        return PlainTextResponse("OK")

    receive.__annotations__ = {"token": str, "request": Request}  # they are no longer texts
    app.add_api_route("/exotel/{token}", receive, methods=["POST"], response_model=None)
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    await tell(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    await serving


async def tell(port: int) -> None:
    """Say the port, and for each line that comes the CPU time so far."""
    print(port, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(time.process_time(), flush=True)


# The measurement.


def requests(encoding: payloads.Encoding) -> Iterator[bytes]:
    """Spell requests without end, each to a URL of its own."""
    body = payloads.terminal(encoding=encoding)
    for number in count():
        head = (
            f"POST /exotel/{TOKENS.mint(f'order-{number}')} HTTP/1.1\r\nHost: shop.example\r\n"
            f"Content-Type: {body.content_type}\r\nContent-Length: {len(body.body)}\r\n\r\n"
        )
        yield head.encode() + body.body


class Server:
    """A server, and what a callback costs it."""

    def __init__(self, process: Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._port = int(self._out.readline())

    def cost(self, messages: Sequence[bytes]) -> float:
        """Send them all; give the seconds of CPU for one."""
        load = Load(self._port)
        begun = self._cpu_time()
        try:
            load.send(messages)
        finally:
            load.close()
        return (self._cpu_time() - begun) / len(messages)

    def _cpu_time(self) -> float:
        self._in.write("\n")
        self._in.flush()
        return float(self._out.readline())


@contextmanager
def served(name: str) -> Iterator[Server]:
    """Run a server in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, name]
    process = Popen(command, stdin=PIPE, stdout=PIPE, text=True)
    try:
        yield Server(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


def costs_of(encoding: payloads.Encoding) -> Costs:
    """Let the servers take turns; the first round is for warming up."""
    source = requests(encoding)
    costs: dict[str, list[float]] = {}
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(name)) for name in (*APPS, FASTAPI)}
        for number in range(ROUNDS + 1):
            for name, server in servers.items():
                amount = (CALLBACKS if number else CALLBACKS // 4) // SLOW.get(name, 1)
                cost = server.cost(list(islice(source, max(64, amount))))
                if number:
                    costs.setdefault(name, []).append(cost)
    return dict(costs)


def check() -> None:
    """See that what is decoded is what was sent, in both encodings."""
    one, other = (payloads.terminal(encoding=e) for e in ("multipart", "json"))
    events: list[Any] = [
        decode_callback(body.body, content_type=body.content_type) for body in (one, other)
    ]
    if events[0] != events[1] or events[0].legs == ():
        raise AssertionError("the same callback says different things")


def measure() -> Iterable[Line]:
    """Measure; give the lines of the table."""
    check()
    shares = {"multipart": (0.50, 0.45), "json": (0.70, 0.62)}
    for encoding, parts in shares.items():
        costs = costs_of("json" if encoding == "json" else "multipart")
        for ours, part in zip((DECODING, SUB_APP), parts, strict=True):
            few = {name: costs[name] for name in (ours, LIMIT, FASTAPI)}
            few |= {POST: costs[POST]}
            bounds = {LIMIT: ("at least", part)}
            if encoding == "multipart" and ours is DECODING:
                bounds[POST] = ("at least", 15)
            yield from compared(
                f"receive {encoding}, {ours}: theirs / ours", "us", few, ours=ours, scale=1e6,
                inverse=True, bounds=bounds,
            )  # fmt: skip


if __name__ == "__main__":
    (which,) = sys.argv[1:]
    asyncio.run(serve_fastapi() if which == FASTAPI else serve_aiohttp(which))
