"""Says what Exotel does when it is asked: a request in, an answer out, no I/O."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from random import Random
from urllib.parse import unquote

import attrs

from . import answers, bulk, checks, numbers
from .callbacks import Letter, letter
from .calls import Call, Event, Order, Script, Stage, placed, plan, step
from .checks import Pairs, RefusedError
from .clock import VirtualClock

_MINUTE = 60.0


@attrs.frozen(kw_only=True)
class Account:
    """Who may ask."""

    sid: str
    api_key: str
    api_token: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Asked:
    """A request as it came over HTTP."""

    method: str
    raw_path: str  # still percent-encoded
    query: Pairs
    form: Pairs
    authorization: str = attrs.field(repr=False)
    problem: RefusedError | None = None  # why the form could not be read


@attrs.frozen(kw_only=True)
class Answer:
    """An answer as it goes out over HTTP."""

    status: int
    content_type: str
    body: str


@attrs.frozen(kw_only=True)
class Received:
    """One request that was made to the simulator."""

    method: str
    path: str
    params: Pairs  # of query and form
    at: datetime
    status: int  # what it was answered with


class Carrier:
    """One account of Exotel's: its calls, its limit, and what it answers."""

    def __init__(
        self,
        clock: VirtualClock,
        send: Callable[[Letter], Awaitable[None]],
        *,
        chance: Random,
        requests_per_minute: int | None,
    ) -> None:
        self.calls: dict[str, Call] = {}
        self.scripts: dict[str, Script] = dict(numbers.SCRIPTS)
        self.requests: list[Received] = []
        self.account: Account = Account(
            sid="simulated1", api_key=_hex(chance), api_token=_hex(chance)
        )
        self._clock = clock
        self._send = send
        self._chance = chance
        self._limit = requests_per_minute
        self._recent: deque[float] = deque()

    def new_sid(self) -> str:
        """Draw the next Sid."""
        return _hex(self._chance)

    def answer(self, asked: Asked) -> Answer:
        """Carry a request out, keep it in the journal, and say what came of it."""
        path, as_json = _without_suffix(asked.raw_path)
        try:
            status, body = 200, self._carry_out(asked, path, as_json=as_json)
        except RefusedError as refused:
            status = refused.status
            body = answers.refusal(status, refused.message, as_json=as_json)
        self._note(asked, status)
        kind = "application/json" if as_json else "application/xml"
        return Answer(status=status, content_type=kind, body=body)

    def _note(self, asked: Asked, status: int) -> None:
        self.requests.append(
            Received(
                method=asked.method,
                path=unquote(asked.raw_path),
                params=asked.query + asked.form,
                at=self._clock.now(),
                status=status,
            )
        )

    def _carry_out(self, asked: Asked, path: Sequence[str], *, as_json: bool) -> str:
        self._authenticate(asked.authorization)
        self._count()
        if asked.problem is not None:
            raise asked.problem
        match (asked.method, *path):
            case (method, "v1", "Accounts", sid, *rest) if sid == self.account.sid:
                return self._route(method, rest, asked, as_json=as_json)
            case _:
                raise RefusedError(404, "The requested resource was not found")

    def _route(self, method: str, rest: list[str], asked: Asked, *, as_json: bool) -> str:
        match (method, *rest):
            case ("POST", "Calls", "connect"):
                return self._connect(asked.form, as_json=as_json)
            case ("GET", "Calls"):
                return self._bulk(asked.query, as_json=as_json)
            case ("GET", "Calls", sid) if sid != "connect":
                return self._details(sid, asked.query, as_json=as_json)
            case ("GET", "Numbers", number):
                return self._number(number, as_json=as_json)
            case (_, "Calls") | (_, "Calls", _) | (_, "Numbers", _):
                raise RefusedError(405, f"Method {method} is not allowed here")
            case _:
                raise RefusedError(404, "The requested resource was not found")

    def _authenticate(self, authorization: str) -> None:
        wanted = f"{self.account.api_key}:{self.account.api_token}"
        if not hmac.compare_digest(_credentials(authorization), wanted.encode()):
            raise RefusedError(401, "Authentication failed")

    def _count(self) -> None:
        if self._limit is None:
            return
        now = self._clock.monotonic()
        while self._recent and self._recent[0] <= now - _MINUTE:
            self._recent.popleft()
        if len(self._recent) >= self._limit:
            raise RefusedError(429, f"Too many requests: {self._limit} a minute are allowed")
        self._recent.append(now)

    def _connect(self, form: Pairs, *, as_json: bool) -> str:
        order = checks.connect(form, account_sid=self.account.sid)
        for number in (order.to, order.from_):
            if number is not None and numbers.key(number) in numbers.BLOCKED:
                raise RefusedError(403, f"Calls to ({number}) are blocked by TRAI NDNC rules")
        at = self._clock.now().replace(microsecond=0)
        call = placed(order, sid=self.new_sid(), account_sid=self.account.sid, at=at)
        self.calls[call.sid] = call
        for stage in plan(order, self._cast(order)):
            self._clock.call_later(stage.after, partial(self._reach, call.sid, stage))
        return answers.connect(call, as_json=as_json)

    def _cast(self, order: Order) -> list[Script]:
        called = [order.from_] if order.to is None else [order.from_, order.to]
        return [self.scripts.get(numbers.key(number), Script()) for number in called]

    async def _reach(self, sid: str, stage: Stage) -> None:
        at = self._clock.now().replace(microsecond=0)
        call = self.calls[sid] = step(self.calls[sid], stage, at=at)
        if stage.event is not None:
            await self._tell(call, stage.event)

    async def _tell(self, call: Call, event: Event) -> None:
        callback = call.order.callback if call.order else None
        written = letter(call, callback, event) if callback else None
        if written is not None:
            await self._send(written)

    def _bulk(self, query: Pairs, *, as_json: bool) -> str:
        wanted = bulk.parse(query, now=self._clock.now())
        page = bulk.page(self.calls.values(), wanted)
        return answers.bulk(page, wanted, account_sid=self.account.sid, as_json=as_json)

    def _details(self, sid: str, query: Pairs, *, as_json: bool) -> str:
        params = checks.once(query)
        with_legs = checks.flag(params, "details")
        validity = checks.whole(params, "RecordingUrlValidity", least=5, most=60)
        if sid not in self.calls:
            raise RefusedError(404, "No matching results")
        return answers.details(
            self.calls[sid],
            with_legs=with_legs,
            recording_url_validity=validity,
            as_json=as_json,
        )

    def _number(self, number: str, *, as_json: bool) -> str:
        if not numbers.is_number(number):
            raise checks.bad(f"Invalid number {number!r}: must be a phone number")
        return answers.number(numbers.metadata(number), as_json=as_json)


def _without_suffix(raw_path: str) -> tuple[list[str], bool]:
    """Split a path; tell whether it ends in .json, which is not part of it."""
    as_json = raw_path.endswith(".json")
    segments = raw_path.removesuffix(".json").strip("/").split("/")
    return [unquote(segment) for segment in segments], as_json


def _credentials(authorization: str) -> bytes:
    scheme, _, encoded = authorization.partition(" ")
    try:
        return b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""


def _hex(chance: Random) -> str:
    return f"{chance.getrandbits(128):032x}"
