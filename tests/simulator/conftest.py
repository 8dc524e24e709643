"""A running simulator, somebody who asks it, and a receiver for its StatusCallbacks."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web

from exotel_async.simulator import Simulator

FIXTURES = Path(__file__).parents[1] / "fixtures"
TWO_NUMBERS = {"From": "+919812300001", "To": "+919812300002", "CallerId": "08040001234"}


@attrs.frozen
class Said:
    """One answer of the simulator's."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def xml(self) -> ET.Element:
        return ET.fromstring(self.text)

    @property
    def message(self) -> str:
        return str(self.json["RestException"]["Message"])


class Asker:
    """Asks a simulator over HTTP, as its account's owner."""

    def __init__(self, sim: Simulator, session: aiohttp.ClientSession) -> None:
        settings = sim.settings
        self.session = session
        self.host = sim.base_url
        self.account = f"/v1/Accounts/{settings['account_sid']}"
        pair = f"{settings['api_key']}:{settings['api_token']}"
        self.authorization = f"Basic {b64encode(pair.encode()).decode()}"

    async def send(
        self, method: str, path: str, *, authorization: str | None = None, **kwargs: Any
    ) -> Said:
        headers = {"Authorization": authorization or self.authorization}
        headers |= kwargs.pop("headers", {})
        url = self.host + path
        async with self.session.request(method, url, headers=headers, **kwargs) as answer:
            return Said(answer.status, answer.headers, await answer.text())

    async def get(self, path: str, **params: str) -> Said:
        return await self.send("GET", self.account + path, params=params)

    async def post(self, path: str, data: Any) -> Said:
        return await self.send("POST", self.account + path, data=data)

    async def connect(self, **params: str) -> Said:
        """Connect two numbers; `Name=""` leaves a parameter out."""
        given = {name: text for name, text in (TWO_NUMBERS | params).items() if text}
        return await self.post("/Calls/connect.json", given)

    async def sid(self, **params: str) -> str:
        """Connect two numbers and give the call's Sid."""
        return str((await self.connect(**params)).json["Call"]["Sid"])


@attrs.define
class Receiver:
    """A web application that takes StatusCallbacks and answers `statuses`, then 200."""

    url: str = ""
    statuses: list[int] = attrs.field(factory=list)
    got: list[tuple[str, Any]] = attrs.field(factory=list)

    async def take(self, request: web.Request) -> web.Response:
        as_json = request.content_type == "application/json"
        body = await request.json() if as_json else dict(await request.post())
        self.got.append((request.content_type, body))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(seed=7) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def ask(sim: Simulator, session: aiohttp.ClientSession) -> Asker:
    return Asker(sim, session)


@pytest.fixture
def asker(session: aiohttp.ClientSession) -> Callable[[Simulator], Asker]:
    return lambda sim: Asker(sim, session)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/told", made.take)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/told"
    yield made
    await runner.cleanup()


@pytest.fixture
def sample() -> Callable[[str], str]:
    """Read one of the page's samples."""
    return lambda name: (FIXTURES / name).read_text()


@pytest.fixture
def shape() -> Callable[[object], object]:
    return _shape


def _shape(value: object) -> object:
    """Reduce JSON to its keys in order and its kinds of values."""
    if isinstance(value, dict):
        return [(name, _shape(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return "empty" if value == "" else type(value).__name__


@pytest.fixture
def outline() -> Callable[[ET.Element], object]:
    return _outline


def _outline(element: ET.Element) -> object:
    """Reduce XML to its tags in order, and whether they hold text."""
    inner: Iterable[ET.Element] = list(element)
    if inner:
        return element.tag, [_outline(child) for child in inner]
    return element.tag, bool((element.text or "").strip())


@pytest.fixture
async def hanging_url() -> AsyncIterator[str]:
    """A server that takes connections and never answers."""
    writers: list[asyncio.StreamWriter] = []

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()
