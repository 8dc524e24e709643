"""Says how Exotel is reached over HTTP, and how a test steers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from types import MappingProxyType
from typing import Self, TypedDict

from aiohttp import web
from aiohttp.http import HttpProcessingError

from . import numbers
from .calls import FINISHED, Call, Ending, Script, ready_made
from .carrier import Asked, Carrier, Received
from .checks import Pairs, RefusedError, bad
from .clock import IST, VirtualClock
from .delivery import Courier, Delivered

HOST = "127.0.0.1"
START = datetime(2026, 11, 2, 10, 0, tzinfo=IST)


class Settings(TypedDict):
    """What an `ExotelClient` needs to talk to a simulator."""

    account_sid: str
    api_key: str
    api_token: str
    base_url: str
    flow_base_url: str
    clock: VirtualClock


class Simulator:
    """Play Exotel's Voice v1 on this machine, in time that moves when told to.

        async with Simulator(seed=7) as sim:
            exotel = ExotelClient(**sim.settings)
            ...
            await sim.advance(minutes=5)

    Nothing rings and nothing is delivered but in `advance`: `sim.clock.sleep` waits
    until somebody calls it. The same seed and the same requests give the same Sids
    and the same journals. State and journals live on after the end, for assertions.

    `requests_per_minute`: None for no limit. `start`: what the clock shows at first.
    `allow_remote_callbacks`: deliver StatusCallbacks to other machines too.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        requests_per_minute: int | None = 200,
        port: int = 0,
        start: datetime = START,
        allow_remote_callbacks: bool = False,
    ) -> None:
        chance = Random(seed)  # noqa: S311 -- repeatable on purpose, guards nothing
        self._port = port
        self._address: tuple[str, int] | None = None
        self._life = AsyncExitStack()
        self._clock = VirtualClock(start)
        self._courier = Courier(self._clock, allow_remote=allow_remote_callbacks)
        self._carrier = Carrier(
            self._clock,
            self._courier.send,
            chance=chance,
            requests_per_minute=requests_per_minute,
        )

    async def __aenter__(self) -> Self:
        if self._address is not None:
            raise RuntimeError("this simulator is running already")
        async with AsyncExitStack() as life:
            await life.enter_async_context(self._courier)
            runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            life.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, HOST, self._port).start()
            self._address = (HOST, runner.addresses[0][1])
            self._life = life.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._address = None
        await self._life.aclose()

    @property
    def base_url(self) -> str:
        """Give the URL of the server, like `http://127.0.0.1:8900`."""
        if self._address is None:
            raise RuntimeError("the simulator is not running: use `async with Simulator() as sim`")
        host, port = self._address
        return f"http://{host}:{port}"

    @property
    def settings(self) -> Settings:
        """Give what a client needs: `ExotelClient(**sim.settings)`."""
        account = self._carrier.account
        return Settings(
            account_sid=account.sid,
            api_key=account.api_key,
            api_token=account.api_token,
            base_url=self.base_url,
            flow_base_url=self.base_url,
            clock=self._clock,
        )

    @property
    def clock(self) -> VirtualClock:
        """Give the clock that this simulator lives by."""
        return self._clock

    @property
    def requests(self) -> Sequence[Received]:
        """List the requests received so far, oldest first."""
        return self._carrier.requests

    @property
    def callbacks(self) -> Sequence[Delivered]:
        """List the attempts to deliver StatusCallbacks so far, oldest first."""
        return self._courier.journal

    @property
    def calls(self) -> Mapping[str, Call]:
        """Give the calls as they stand now, by Sid."""
        return MappingProxyType(self._carrier.calls)

    async def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Let virtual time pass; all that falls due in it has happened when this returns.

        StatusCallbacks are delivered one after the other, each to its answer. A handler
        that waits for this clock meanwhile waits in vain, until Exotel's deadline of
        15 (real) seconds.
        """
        await self._clock.advance(seconds + 60 * minutes + 3600 * hours)

    def script(
        self,
        *,
        to: str | None = None,
        from_: str | None = None,
        ending: Ending = "answered",
        rings: float = 4.0,
        talks: float = 30.0,
    ) -> None:
        """Lay down how a number behaves in calls placed from now on, in any spelling of it.

        `rings`: seconds until it answers or gives its signal; longer than the TimeOut
        (30 if none was sent) is "no-answer". `talks`: seconds from then until it hangs
        up, if it is the last number of the call.
        """
        if rings < 0 or talks < 0:
            raise ValueError(f"rings ({rings}) and talks ({talks}) must not be below 0")
        script = Script(ending=ending, rings=rings, talks=talks)
        for number in (to, from_):
            if number is not None:
                self._carrier.scripts[numbers.key(number)] = script

    def add_call(
        self,
        *,
        sid: str | None = None,
        from_: str = "+919812300001",
        to: str = "+919812300002",
        phone_number: str = "08040000000",
        status: str = "completed",
        direction: str = "outbound-api",
        date_created: datetime | None = None,
        duration: int = 47,
        talked: int = 33,
        price: Decimal | None = None,
        recorded: bool = False,
    ) -> str:
        """Put in a call that has ended and settled; give its Sid.

        `date_created`: aware, an hour ago if not given. `duration` and `talked`: seconds
        of the whole call and of both on the line; nobody talked unless it is completed.
        """
        if status not in FINISHED:
            raise ValueError(f"status must be one of {', '.join(FINISHED)}, not {status!r}")
        created = date_created or self._clock.now() - timedelta(hours=1)
        created = created.astimezone(IST).replace(microsecond=0)
        begun = Call(
            sid=sid or self._carrier.new_sid(),
            account_sid=self._carrier.account.sid,
            from_=from_,
            to=to,
            phone_number=phone_number,
            status=status,
            direction=direction,
            date_created=created,
            date_updated=created,
            start_time=created,
        )
        call = ready_made(begun, duration=duration, talked=talked, price=price, recorded=recorded)
        self._carrier.calls[call.sid] = call
        return call.sid

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{anything:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        form, problem = await _form(request)
        asked = Asked(
            method=request.method,
            raw_path=request.rel_url.raw_path,
            query=tuple(request.query.items()),
            form=form,
            authorization=request.headers.get("Authorization", ""),
            problem=problem,
        )
        answer = self._carrier.answer(asked)
        headers = {"WWW-Authenticate": 'Basic realm="Exotel"'} if answer.status == 401 else {}
        return web.Response(
            status=answer.status,
            text=answer.body,
            content_type=answer.content_type,
            charset="utf-8",
            headers=headers,
        )


async def _form(request: web.Request) -> tuple[Pairs, RefusedError | None]:
    """Read a form; where that can't be done, say why as Exotel would."""
    try:
        form = await request.post()
    except web.HTTPRequestEntityTooLarge:
        return (), RefusedError(413, "The request is too large")
    except (HttpProcessingError, web.RequestPayloadError, LookupError, RuntimeError, ValueError):
        return (), bad("The form in the body of the request could not be read")
    pairs = tuple((name, value) for name, value in form.items() if isinstance(value, str))
    if len(pairs) < len(form):
        return pairs, bad("Parameters are text: a file was sent")
    return pairs, None
