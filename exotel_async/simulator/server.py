"""Says how a test steers Exotel, and how it is found over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from math import isfinite
from random import Random
from types import MappingProxyType
from typing import Any, Self, TypedDict

from aiohttp import web

from . import arguments, control, recordings, wiring
from .accounts import Account
from .bulk import DIRECTIONS
from .callbacks import Letter
from .calls import FINISHED, Call, Ending, Script, ready_made
from .carrier import Carrier
from .catalogue import FAULTS
from .clock import IST, VirtualClock
from .delivery import Courier, Delivered
from .faults import Fault, FaultBook
from .journals import Complaint, Journals, Received, Watch
from .listening import HOST, Listener
from .magic import MAGIC_NUMBERS

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
    and the same journals, but for the port in URLs of recordings. State and journals
    live on after the end, for assertions.

    - `requests_per_minute`: None for no limit.
    - `start`: what the clock shows at first.
    - `speed`: let time pass by itself, so many times faster than outside.
    - `keep`: how many entries of each journal, and how many settled calls, are kept; None: all.
      Calls that never end are always kept.
    - `exophones`: which CallerIds there are; none given: any number will do.
    - `allow_remote_callbacks`: deliver StatusCallbacks to other machines too.
    - `patience`: seconds of real time that a receiver may take to answer. Exotel's deadline of
      15 seconds is one of the simulator's time.
    - `watch`: is called with each `Received` and each `Delivered` as it happens.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        requests_per_minute: int | None = 200,
        port: int = 0,
        start: datetime = START,
        speed: float | None = None,
        keep: int | None = None,
        exophones: Iterable[str] = (),
        allow_remote_callbacks: bool = False,
        patience: float = 15.0,
        watch: Watch | None = None,
    ) -> None:
        if speed is not None:
            arguments.check_amount("speed", speed)
        if keep is not None:
            arguments.check_count("keep", keep)
        arguments.check_amount("patience", patience)
        self._speed = speed
        self._life = AsyncExitStack()
        self._closing = asyncio.Event()
        self._is_open = False
        self._clock = VirtualClock(start)
        # Repeatable on purpose, guards nothing; faults draw from a sequence of their own.
        self._faults = FaultBook(Random(f"faults {seed}"))  # noqa: S311
        self._journals = Journals(keep=keep, watch=watch)
        self._courier = Courier(
            self._clock,
            self._faults,
            self._journals.delivered,
            allow_remote=allow_remote_callbacks,
            patience=patience,
        )
        self._carrier = Carrier(
            self._clock,
            self._courier.send,
            self._courier.release,
            chance=Random(seed),  # noqa: S311
            faults=self._faults,
            journals=self._journals,
            keep=keep,
        )
        self._listener = Listener(self._handle, self._faults, self._clock.stir, port=port)
        self._account = self._new_account(
            sid="simulated1", requests_per_minute=requests_per_minute, exophones=exophones
        )

    async def __aenter__(self) -> Self:
        if self._is_open:
            raise RuntimeError("this simulator is running already")
        self._closing = asyncio.Event()
        async with AsyncExitStack() as life:
            await life.enter_async_context(self._courier)
            await life.enter_async_context(self._listener)
            life.callback(self._closing.set)
            if self._speed is not None:
                running = asyncio.create_task(self._clock.run(self._speed))
                life.push_async_callback(_ended, running)
                await asyncio.sleep(0)
            self._carrier.recordings = f"http://{HOST}:{self._listener.port}/{recordings.PATH}"
            if self._is_shut():
                self._listener.refuse()
            self._is_open = True
            self._life = life.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        await self._life.aclose()

    @property
    def base_url(self) -> str:
        """Give the URL of the server, like `http://127.0.0.1:8900`."""
        if not self._is_open:
            raise RuntimeError("the simulator is not running: use `async with Simulator() as sim`")
        return f"http://{HOST}:{self._listener.port}"

    @property
    def settings(self) -> Settings:
        """Give what a client needs: `ExotelClient(**sim.settings)`."""
        return self._settings_of(self._account)

    @property
    def clock(self) -> VirtualClock:
        """Give the clock that this simulator lives by."""
        return self._clock

    @property
    def requests(self) -> Sequence[Received]:
        """List the requests received so far, oldest first."""
        return self._journals.requests

    @property
    def callbacks(self) -> Sequence[Delivered]:
        """List the attempts to deliver StatusCallbacks so far, oldest first."""
        return self._journals.callbacks

    @property
    def complaints(self) -> list[Complaint]:
        """List the requests so far that Exotel's page does not allow, and what it wants.

        Clear the list when a test makes such requests on purpose.
        """
        return self._journals.complaints

    @property
    def calls(self) -> Mapping[str, Call]:
        """Give the calls as they stand now, by Sid."""
        return MappingProxyType(self._carrier.calls)

    @property
    def faults(self) -> Sequence[Fault]:
        """List the faults that are laid down now."""
        return tuple(self._faults)

    async def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Let virtual time pass; all that falls due in it has happened when this returns.

        StatusCallbacks are delivered one after the other, each to its answer. Where somebody
        sleeps by this clock meanwhile, it may be the receiver: then time goes on, to Exotel's
        deadline of 15 seconds, and waits there for as long as `patience` says.
        """
        for amount in (seconds, minutes, hours):
            if isinstance(amount, bool) or not isinstance(amount, int | float):
                raise TypeError(f"time is advanced by numbers, not by {amount!r}")
            if not isfinite(amount):
                raise ValueError(f"time is advanced by finite numbers, not by {amount!r}")
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
        up, if it is the last number of the call; `math.inf`: never.
        """
        if not (rings >= 0 and talks >= 0):
            raise ValueError(f"rings ({rings}) and talks ({talks}) must not be below 0")
        if ending not in ("answered", "busy", "no-answer", "failed"):
            raise ValueError(f"ending must be answered, busy, no-answer or failed, not {ending!r}")
        chosen = {"to": to, "from_": from_}
        if to is None and from_ is None:
            raise ValueError("to or from_ must name the number that shall behave so")
        script = Script(ending=ending, rings=rings, talks=talks)
        for name, number in chosen.items():
            if number is not None:
                self._carrier.scripts[arguments.key(name, number)] = script

    def fault(
        self,
        name: str,
        *,
        on: str | None = None,
        times: int | None = 1,
        probability: float = 1.0,
        seconds: float | None = None,
        carried_out: bool | None = None,
    ) -> Fault:
        """Have something go wrong: `sim.fault("hang", on="connect")`; `FAULTS` lists the names.

        - `on`: what it strikes: "connect", "details", "bulk", "number" or "recording"; for
          StatusCallbacks "answered" or "terminal". None: any.
        - `times`: how often, until it is over; None: always.
        - `probability`: of striking each time, drawn from the seed.
        - `seconds`: where the fault has a duration.
        - `carried_out`: whether what was asked for happens all the same, say the phones ring;
          None: as `FAULTS` says.

        Faults are asked in the order they were laid down: of those that strike an answer the
        first does, and "latency" besides; those that strike a StatusCallback do so together.
        Raises ValueError.
        """
        fault = self._faults.add(
            name,
            on=on,
            times=times,
            probability=probability,
            seconds=seconds,
            carried_out=carried_out,
        )
        if fault.kind.lasts:
            if self._is_open:
                self._listener.refuse()
            if seconds is not None:
                self._clock.call_later(seconds, partial(self._admit_after, fault))
        return fault

    def clear_faults(self) -> None:
        """Take all faults away: from now on all goes well."""
        self._faults.clear()
        if self._is_open:
            self._listener.admit()

    async def _admit_after(self, fault: Fault) -> None:
        self._faults.discard(fault)
        if self._is_open and not self._is_shut():
            self._listener.admit()

    def _is_shut(self) -> bool:
        return any(fault.kind.lasts for fault in self._faults)

    def whitelist(self, number: str, *, account_sid: str | None = None) -> None:
        """Allow an account to call a number that is on the do-not-disturb register."""
        self._account_of(account_sid).whitelist.add(arguments.key("number", number))

    def route(self, prefix: str, to: str) -> Callable[[], None]:
        """Deliver StatusCallbacks for URLs that begin with `prefix` to `to` instead.

        So a service under test can give out its public URL. The longest prefix that fits
        counts. Returns what ends it.
        """
        return self._courier.route(prefix, to)

    def add_account(
        self,
        *,
        sid: str | None = None,
        requests_per_minute: int | None = 200,
        exophones: Iterable[str] = (),
        kyc: bool = True,
    ) -> Settings:
        """Open another account, with calls and a limit of its own; give its settings.

        `kyc`: whether it has shown Exotel who it is; it can't place calls otherwise.
        """
        account = self._new_account(
            sid=sid or f"simulated{len(self._carrier.accounts) + 1}",
            requests_per_minute=requests_per_minute,
            exophones=exophones,
            kyc=kyc,
        )
        return self._settings_of(account)

    def add_call(
        self,
        *,
        sid: str | None = None,
        account_sid: str | None = None,
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
        of the whole call and of both on the line; nobody talked, and nothing was recorded,
        unless it is completed.
        """
        arguments.check_word("status", status, FINISHED)
        arguments.check_word("direction", direction, DIRECTIONS)
        account = self._account_of(account_sid)
        if sid in self._carrier.calls:
            raise ValueError(f"sid: there is a call {sid!r} already")
        if duration < 0 or talked < 0:
            raise ValueError(f"duration ({duration}) and talked ({talked}) must not be below 0")
        created = date_created or self._clock.now() - timedelta(hours=1)
        if created.tzinfo is None:
            raise ValueError("date_created must be aware: give it a time zone")
        created = created.astimezone(IST).replace(microsecond=0)
        begun = Call(
            sid=sid or self._carrier.new_text(),
            account_sid=account.sid,
            from_=from_,
            to=to,
            phone_number=phone_number,
            status=status,
            direction=direction,
            date_created=created,
            date_updated=created,
            start_time=created,
        )
        was_recorded = recorded and status == "completed"
        call = ready_made(
            begun,
            duration=duration,
            talked=talked,
            price=price,
            recordings=f"{self.base_url}/{recordings.PATH}" if was_recorded else None,
        )
        self._carrier.put(call)
        return call.sid

    def _new_account(
        self,
        *,
        sid: str,
        requests_per_minute: int | None,
        exophones: Iterable[str],
        kyc: bool = True,
    ) -> Account:
        if isinstance(exophones, str):
            raise TypeError("exophones must be several numbers, not one text")
        if requests_per_minute is not None:
            arguments.check_count("requests_per_minute", requests_per_minute)
        account = Account(
            sid=sid,
            api_key=self._carrier.new_text(),
            api_token=self._carrier.new_text(),
            requests_per_minute=requests_per_minute,
            exophones=frozenset(arguments.key("exophones", number) for number in exophones),
            kyc=kyc,
        )
        self._carrier.add_account(account)
        return account

    def _account_of(self, sid: str | None) -> Account:
        if sid is None:
            return self._account
        arguments.check_word("account_sid", sid, self._carrier.accounts)
        return self._carrier.accounts[sid]

    def _settings_of(self, account: Account) -> Settings:
        return Settings(
            account_sid=account.sid,
            api_key=account.api_key,
            api_token=account.api_token,
            base_url=self.base_url,
            flow_base_url=self.base_url,
            clock=self._clock,
        )

    async def _send_early(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            await self._courier.send(letter, early=True)

    def _fault_from_outside(self, name: str, **arguments: Any) -> Fault:
        """Lay down a fault for another process, which must not shut itself out for good."""
        if name == "connection-refused" and not (self._clock.running and arguments.get("seconds")):
            raise ValueError(
                "connection-refused shuts this door, too: give seconds, and let time run by itself"
            )
        return self.fault(name, **arguments)

    def _commands(self) -> control.Commands:
        return {
            "GET now": self.clock.now,
            "GET numbers": lambda: {magic.number: magic.does for magic in MAGIC_NUMBERS},
            "GET faults": lambda: {"laid_down": self.faults, "known": FAULTS},
            "GET requests": lambda: self.requests,
            "GET callbacks": lambda: self.callbacks,
            "GET calls": lambda: self.calls,
            "GET complaints": lambda: self.complaints,
            "POST advance": self.advance,
            "POST script": self.script,
            "POST fault": self._fault_from_outside,
            "POST whitelist": self.whitelist,
            "DELETE faults": self.clear_faults,
            "DELETE complaints": self.complaints.clear,
        }

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith(control.PREFIX):
            return await control.handle(self._commands(), request)
        answer = self._carrier.answer(await wiring.read(request))
        if answer.first:  # whose client may leave; they come all the same
            await asyncio.shield(asyncio.ensure_future(self._send_early(answer.first)))
        return await wiring.write(request, answer.reply, closing=self._closing)


async def _ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait({running})
