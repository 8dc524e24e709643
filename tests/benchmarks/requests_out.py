"""What does a request cost, from the call to the decoded answer: CPU time of the asking process.

The answering server is a process of its own that reads no more than where a request ends. Every
client is one too, asks for the same in the same number, 32 at once, and they take turns.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from measuring import Costs, Line, child, compared
from samples import sample

RAW = "raw aiohttp, prebuilt"
ROUNDS, REQUESTS, AT_ONCE = 7, 2_000, 32
CALL = sample("call_details.json")
SID = json.loads(CALL)["Call"]["Sid"]
FORM = {"From": "09876543210", "To": "09876543211", "CallerId": "08012345678"}
ANSWERS = {  # by the start of the path
    b"/v1/Accounts/acme/Calls": CALL,
    b"/2010-04-01": json.dumps({"sid": SID, "status": "queued", "to": FORM["To"]}).encode(),
    b"/v2/calls": json.dumps({"data": {"call_control_id": SID, "is_alive": True}}).encode(),
}

Ask = Callable[[], Awaitable[str | None]]


# The server.


class Answering(asyncio.Protocol):
    """Answers each request as soon as it is there, by its path."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            whole = end + 4 + int(rest.split(b"\r\n")[0] or 0)
            if len(self._buffer) < whole:
                return
            path = self._buffer.split(b" ", 2)[1]
            self._buffer = self._buffer[whole:]
            body = next(body for start, body in ANSWERS.items() if path.startswith(start))
            closes = b"connection: close" in head
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                + (b"Connection: close\r\n" if closes else b"")
                + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            if closes:
                self._transport.close()


async def serve() -> None:
    """Serve until standard input ends; say the port first."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


@contextmanager
def served() -> Iterator[str]:
    """Run the server; give its address."""
    process = Popen([sys.executable, __file__, "serve"], stdin=PIPE, stdout=PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.wait(timeout=30)


# The clients. Each gives what asks once, and answers with the call's Sid.


async def ours(stack: AsyncExitStack, base: str, **options: Any) -> tuple[Ask, Ask]:
    from exotel_async import ExotelClient

    exotel = await stack.enter_async_context(
        ExotelClient(
            account_sid="acme",
            api_key="k",
            api_token="t",
            base_url=base,
            requests_per_minute=None,
            **options,
        )
    )

    async def get() -> str:
        return (await exotel.calls.get(SID)).sid

    async def post() -> str:
        call = await exotel.calls.connect(
            from_=FORM["From"], to=FORM["To"], caller_id=FORM["CallerId"]
        )
        return call.sid

    return get, post


async def ours_kept(stack: AsyncExitStack, base: str) -> tuple[Ask, Ask]:
    """With a session of the user's, whose connector keeps connections for dials too."""
    import aiohttp

    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
    )
    return await ours(stack, base, session=session)


async def raw_aiohttp(stack: AsyncExitStack, base: str) -> tuple[Ask, Ask]:
    """The floor: nothing but aiohttp, with all prepared that can be."""
    import aiohttp
    from yarl import URL

    def session(*, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=force_close),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    kept = await stack.enter_async_context(session(force_close=False))
    fresh = await stack.enter_async_context(session(force_close=True))
    account = f"{base}/v1/Accounts/acme/Calls"
    one, connect = URL(f"{account}/{SID}.json"), URL(f"{account}/connect.json")
    authorized = {"Authorization": "Basic azp0"}
    headers = {**authorized, "Content-Type": "application/x-www-form-urlencoded"}
    body = "&".join(f"{key}={value}" for key, value in FORM.items()).encode()

    async def get() -> str:
        async with kept.request("GET", one, headers=authorized) as response:
            return str(json.loads(await response.read())["Call"]["Sid"])

    async def post() -> str:
        async with fresh.request("POST", connect, data=body, headers=headers) as response:
            return str(json.loads(await response.read())["Call"]["Sid"])

    return get, post


async def with_httpx(stack: AsyncExitStack, base: str) -> tuple[Ask, Ask]:
    import httpx

    client = await stack.enter_async_context(
        httpx.AsyncClient(base_url=f"{base}/v1/Accounts/acme/Calls", auth=("k", "t"))
    )

    async def get() -> str:
        return str((await client.get(f"/{SID}.json")).json()["Call"]["Sid"])

    async def post() -> str:
        return str((await client.post("/connect.json", data=FORM)).json()["Call"]["Sid"])

    return get, post


async def with_requests(stack: AsyncExitStack, base: str) -> tuple[Ask, Ask]:
    """In threads: one session for each of them."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import local

    import requests

    pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
    own, loop = local(), asyncio.get_running_loop()
    account = f"{base}/v1/Accounts/acme/Calls"

    def session() -> requests.Session:
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.auth = ("k", "t")
        found: requests.Session = own.session
        return found

    def getting() -> str:
        return str(session().get(f"{account}/{SID}.json").json()["Call"]["Sid"])

    def posting() -> str:
        answer = session().post(f"{account}/connect.json", data=FORM).json()
        return str(answer["Call"]["Sid"])

    async def get() -> str:
        return await loop.run_in_executor(pool, getting)

    async def post() -> str:
        return await loop.run_in_executor(pool, posting)

    return get, post


async def twilio_async(stack: AsyncExitStack, base: str) -> tuple[Ask, Ask]:
    from twilio.http.async_http_client import AsyncTwilioHttpClient
    from twilio.rest import Client

    class Here(AsyncTwilioHttpClient):
        async def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
            return await super().request(
                method, url.replace("https://api.twilio.com", base), *args, **more
            )

    http = await stack.enter_async_context(Here())
    client = Client("AC0", "t", http_client=http)

    async def get() -> str | None:
        return (await client.calls(SID).fetch_async()).sid

    async def post() -> str | None:
        call = await client.calls.create_async(
            to=FORM["To"], from_=FORM["From"], url="http://example.com/answer"
        )
        return call.sid

    return get, post


async def telnyx_async(stack: AsyncExitStack, base: str) -> tuple[Ask, Ask]:
    from telnyx import AsyncTelnyx

    client = await stack.enter_async_context(AsyncTelnyx(api_key="k", base_url=f"{base}/v2"))

    async def get() -> str | None:
        answer = await client.calls.retrieve_status(SID)
        return answer.data.call_control_id if answer.data else None

    async def post() -> str | None:
        answer = await client.calls.dial(connection_id="1", from_=FORM["From"], to=FORM["To"])
        return answer.data.call_control_id if answer.data else None

    return get, post


CLIENTS = {
    "ours": ours,
    "ours, a session that keeps connections": ours_kept,
    RAW: raw_aiohttp,
    "twilio async": twilio_async,
    "telnyx async": telnyx_async,
    "httpx": with_httpx,
    "requests in threads": with_requests,
}


async def ask(client: str, what: str, base: str, number: int) -> float:
    """Ask that often, 32 at once; give the seconds of CPU that one request took."""
    async with AsyncExitStack() as stack:
        act = (await CLIENTS[client](stack, base))[what == "POST"]
        if (found := await act()) != SID:
            raise AssertionError(f"{client} found {found!r}, not {SID!r}")
        await _many(act, AT_ONCE * 4)
        begun = time.process_time()
        await _many(act, number)
        return (time.process_time() - begun) / number


async def _many(act: Ask, number: int) -> None:
    coming = iter(range(number))

    async def some() -> None:
        for _ in coming:
            await act()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


def costs_of(what: str, base: str) -> Costs:
    """Have all clients ask in turns."""
    costs: dict[str, list[float]] = {name: [] for name in CLIENTS}
    for _ in range(ROUNDS):
        for name, some in costs.items():
            number = REQUESTS if name.startswith("ours") or name == RAW else REQUESTS // 4
            some.append(child(Path(__file__), "ask", name, what, base, str(number))["cpu"])
    return dict(costs)


def measure() -> Iterable[Line]:
    """Measure; give the lines of the table."""
    kept = "ours, a session that keeps connections"
    floor, peers = (
        {RAW: ("at most", 1.35)},
        {"twilio async": ("at most", 1.0), "telnyx async": ("at most", 0.1)},
    )
    with served() as base:
        costs = costs_of("GET", base)
        del costs[kept]
        what = "CPU per request, read a record, kept-alive"
        yield from compared(what, "us", costs, scale=1e6, bounds=floor | peers)
        # Others dial on kept-alive connections, which can ring a phone twice or never: so they
        # stand beside ours where a session of the user's makes it do the same.
        costs = costs_of("POST", base)
        what = "CPU per request, connect, each on a fresh connection"
        fresh = {"ours": costs["ours"], RAW: costs.pop(RAW)}
        yield from compared(what, "us", fresh, scale=1e6, bounds=floor)
        costs["ours"] = costs.pop(kept)
        what = "CPU per request, connect, kept-alive"
        yield from compared(what, "us", costs, scale=1e6, bounds=peers)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        client, what, base, number = sys.argv[2:]
        print(json.dumps({"cpu": asyncio.run(ask(client, what, base, int(number)))}))
