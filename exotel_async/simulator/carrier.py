"""Says what Exotel does when it is asked: a request in, an answer out, no I/O."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, timedelta
from email.utils import format_datetime
from functools import partial
from random import Random
from urllib.parse import unquote

import attrs

from . import answers, bulk, checks, numbers, recordings
from .accounts import Account, credentials
from .callbacks import Letter, letter
from .calls import Call, Event, Order, Script, Stage, placed, plan, step
from .catalogue import Reply
from .checks import Pairs, RefusedError
from .clock import VirtualClock
from .faults import Fault, FaultBook
from .journals import Journals, Received
from .magic import BY_KEY, KYC, MagicNumber
from .shelves import Shelf

_PLACES = (
    "POST .../Calls/connect, GET .../Calls, .../Calls/{CallSid} and .../Numbers/{number} below "
    "/v1/Accounts/{sid}, in this spelling, with .json at the end for JSON"
)
_KNOWN_OF_DETAILS = ("details", "RecordingUrlValidity")
_CALLED_US_LATELY = timedelta(days=183)  # who did may be called back in spite of DND


@attrs.frozen(kw_only=True)
class Asked:
    """A request as it came over HTTP."""

    method: str
    raw_path: str  # still percent-encoded
    query: Pairs
    form: Pairs
    authorization: str = attrs.field(repr=False)
    range: str = ""  # the header, as is the next
    if_range: str = ""
    problem: RefusedError | None = None  # why the form could not be read

    @property
    def as_json(self) -> bool:
        """Tell whether the answer shall be JSON."""
        return self.raw_path.endswith(".json")

    @property
    def path(self) -> list[str]:
        """Give the segments of the path, without what says the format."""
        segments = self.raw_path.removesuffix(".json").strip("/").split("/")
        return [unquote(segment) for segment in segments]

    @property
    def kind(self) -> str:
        """Name what is asked, as faults do."""
        match (self.method, *self.path):
            case ("POST", "v1", "Accounts", _, "Calls", "connect"):
                return "connect"
            case (_, "v1", "Accounts", _, "Calls"):
                return "bulk"
            case (_, "v1", "Accounts", _, "Calls", _):
                return "details"
            case (_, "v1", "Accounts", _, "Numbers", _):
                return "number"
            case (_, recordings.PATH, *_):
                return "recording"
            case _:
                return ""


@attrs.frozen(kw_only=True)
class Answer:
    """What a request brings about: its reply, and what is told before that."""

    reply: Reply
    first: tuple[Letter, ...] = ()


class Carrier:
    """Exotel: its accounts, their calls, and what it answers."""

    def __init__(
        self,
        clock: VirtualClock,
        send: Callable[[Letter], Awaitable[None]],
        release: Callable[[str], Awaitable[None]],
        *,
        chance: Random,
        faults: FaultBook,
        journals: Journals,
        keep: int | None,
    ) -> None:
        self.accounts: dict[str, Account] = {}  # by Sid
        self.calls: dict[str, Call] = {}  # changed by `_hold` and `_forget_oldest` only
        self.scripts: dict[str, Script] = {}
        self.recordings = ""  # where they are found
        self._clock = clock
        self._send = send
        self._release = release  # is told that a call is over: nothing is to be held back for it
        self._chance = chance
        self._faults = faults
        self._journals = journals
        self._keep = keep
        self._by_key: dict[str, Account] = {}
        self._shelves: defaultdict[str, Shelf] = defaultdict(Shelf)  # by Sid of the account
        self._settled: deque[str] = deque()
        self._early: list[Letter] = []

    def new_text(self) -> str:
        """Draw the next Sid, key or token: 32 hex digits."""
        return f"{self._chance.getrandbits(128):032x}"

    def add_account(self, account: Account) -> None:
        """Take in a customer."""
        if account.sid in self.accounts or account.api_key in self._by_key:
            raise ValueError(
                f"there is an account {account.sid!r}, or one with its api_key, already"
            )
        self.accounts[account.sid] = account
        self._by_key[account.api_key] = account

    def answer(self, asked: Asked) -> Answer:
        """Carry a request out, keep it in the journal, and say what came of it."""
        self._early = []
        fault = self._faults.strike("answer", asked.kind) or self._fault_of_number(asked)
        reply, refused = Reply(status=None), None
        if fault is None or fault.carried_out:
            in_other_format = fault is not None and fault.kind.spoil is None
            as_json = asked.as_json is not in_other_format
            try:
                reply = self._carry_out(asked, as_json=as_json)
            except RefusedError as error:
                reply, refused = _refusal(error, as_json=as_json), error
        elif asked.kind == "connect":
            refused = _mistake_in(asked)  # it is one, although nobody looks at it
        if fault is not None:
            reply = fault.spoil(reply)
        slow = self._faults.strike_all("delay", asked.kind)
        self._note(asked, reply, fault or next(iter(slow), None), refused)
        date = format_datetime(self._clock.now().astimezone(UTC), usegmt=True)
        reply = attrs.evolve(
            reply,
            headers={"Date": date, **reply.headers},
            delay=sum(fault.seconds for fault in slow),
        )
        return Answer(reply=reply, first=tuple(self._early))

    def put(self, call: Call) -> None:
        """Put in a call that has settled."""
        self._hold(call)
        self._forget_oldest(call.sid)

    def _hold(self, call: Call) -> None:
        """Keep a call as it stands now; once it has ended it is among those that are listed."""
        known = self.calls.get(call.sid)
        self.calls[call.sid] = call
        if not call.ongoing and (known is None or known.ongoing):
            self._shelves[call.account_sid].put(call)

    def _note(
        self, asked: Asked, reply: Reply, fault: Fault | None, refused: RefusedError | None
    ) -> None:
        received = Received(
            method=asked.method,
            path=unquote(asked.raw_path),
            params=asked.query + asked.form,
            at=self._clock.now(),
            status=reply.status,
            fault=fault.name if fault else None,
        )
        self._journals.received(received)
        for message in _doubts(asked) if refused is None else _mistakes(refused):
            self._journals.complain(received, message)

    def _fault_of_number(self, asked: Asked) -> Fault | None:
        if asked.kind == "connect":
            for name, value in asked.form:
                magic = _magic(value) if name in ("From", "To") else None
                if magic and magic.fault:
                    return self._faults.made(magic.fault)
        return None

    def _carry_out(self, asked: Asked, *, as_json: bool) -> Reply:
        if asked.kind == "recording":
            return self._recording(asked)
        account = self._authenticate(asked.authorization)
        account.count(self._clock.monotonic())
        if asked.problem is not None:
            raise asked.problem
        match (asked.method, *asked.path):
            case (method, "v1", "Accounts", sid, *rest) if sid == account.sid:
                body = self._route(account, method, rest, asked, as_json=as_json)
                return _said(200, body, as_json=as_json)
            case _:
                raise _nowhere()

    def _route(
        self, account: Account, method: str, rest: list[str], asked: Asked, *, as_json: bool
    ) -> str:
        match (method, *rest):
            case ("POST", "Calls", "connect"):
                return self._connect(account, asked.form, as_json=as_json)
            case ("GET", "Calls"):
                return self._bulk(account, asked.query, as_json=as_json)
            case ("GET", "Calls", sid) if sid != "connect":
                return self._details(account, sid, asked.query, as_json=as_json)
            case ("GET", "Numbers", number):
                return self._number(number, as_json=as_json)
            case (_, "Calls") | (_, "Calls", _) | (_, "Numbers", _):
                raise RefusedError(405, f"Method {method} is not allowed here", mistake=True)
            case _:
                raise _nowhere()

    def _authenticate(self, authorization: str) -> Account:
        api_key = credentials(authorization).partition(b":")[0].decode("utf-8", "replace")
        account = self._by_key.get(api_key)
        if account is None or not account.admits(authorization):
            raise RefusedError(401, "Authentication failed")
        return account

    def _connect(self, account: Account, form: Pairs, *, as_json: bool) -> str:
        order = checks.connect(form, account_sid=account.sid)
        account.check_caller_id(order.caller_id)
        self._check_consent(account, order)
        begun = self._clock.monotonic()
        at = self._clock.at(begun).replace(microsecond=0)
        call = placed(order, sid=self.new_text(), account_sid=account.sid, at=at)
        self._hold(call)
        stages = plan(order, self._cast(order))
        for stage in stages[self._hurried(call, stages) :]:
            self._clock.call_at(begun + stage.after, partial(self._reach, call.sid, stage))
        return answers.connect(call, as_json=as_json)

    def _check_consent(self, account: Account, order: Order) -> None:
        """Refuse what the regulator, Exotel or a magic number does not want to be dialled."""
        if not account.kyc:
            raise RefusedError(KYC.status, KYC.message)
        for number in (order.to, order.from_):
            magic = _magic(number) if number is not None else None
            refusal = magic.refusal if magic else None
            if refusal is None or number is None:
                continue
            if not (refusal.lifted_by_whitelist and self._may_call(account, number)):
                raise RefusedError(refusal.status, refusal.message.format(number=number))

    def _may_call(self, account: Account, number: str) -> bool:
        key, since = numbers.key(number), self._clock.now() - _CALLED_US_LATELY
        return key in account.whitelist or any(
            call.direction == "inbound"
            and call.account_sid == account.sid
            and numbers.key(call.from_) == key
            and call.date_created >= since
            for call in self.calls.values()
        )

    def _cast(self, order: Order) -> list[Script]:
        called = [order.from_] if order.to is None else [order.from_, order.to]
        return [self._script(number) for number in called]

    def _script(self, number: str) -> Script:
        magic = _magic(number)
        usual = magic.script if magic and magic.script else Script()
        return self.scripts.get(numbers.key(number), usual)

    def _hurried(self, call: Call, stages: Sequence[Stage]) -> int:
        """Where a fault says so, live up to a StatusCallback at once: it overtakes the answer.

        Its stages bear the times that they would have had. Returns how many have passed then.
        """
        callback = call.order.callback if call.order else None
        if callback is None or not self._faults.may_strike("early"):
            return 0
        told: list[Letter] = []
        for passed, stage in enumerate(stages, start=1):
            at = call.date_created + timedelta(seconds=stage.after)
            call = step(call, stage, at=at, recordings=self.recordings)
            written = letter(call, callback, stage.event) if stage.event else None
            if written is not None:
                told.append(written)
                if self._faults.strike("early", written.event):
                    self._hold(call)
                    self._early = told
                    return passed
        return 0

    async def _reach(self, sid: str, stage: Stage) -> None:
        call = self._stepped(self.calls[sid], stage)
        self._hold(call)
        if stage.act == "settle":
            self._forget_oldest(sid)
        if stage.event is not None:
            await self._tell(call, stage.event)
        if stage.act == "end":
            await self._release(sid)

    def _stepped(self, call: Call, stage: Stage) -> Call:
        at = self._clock.now().replace(microsecond=0)
        return step(call, stage, at=at, recordings=self.recordings)

    def _forget_oldest(self, sid: str) -> None:
        """Note a call that has settled, and let those go that are more than may be kept."""
        if self._keep is None:
            return
        self._settled.append(sid)
        while len(self._settled) > self._keep:
            oldest = self.calls.pop(self._settled.popleft(), None)
            if oldest is not None:
                self._shelves[oldest.account_sid].remove(oldest)

    async def _tell(self, call: Call, event: Event) -> None:
        callback = call.order.callback if call.order else None
        written = letter(call, callback, event) if callback else None
        if written is not None:
            await self._send(written)

    def _bulk(self, account: Account, query: Pairs, *, as_json: bool) -> str:
        wanted = bulk.parse(query, now=self._clock.now())
        found = bulk.page(self._shelves[account.sid], self.calls, wanted)
        sign = self._sign(account, wanted.recording_url_validity)
        return answers.bulk(found, wanted, account_sid=account.sid, sign=sign, as_json=as_json)

    def _details(self, account: Account, sid: str, query: Pairs, *, as_json: bool) -> str:
        params = checks.once(query)
        with_legs = checks.flag(params, "details")
        validity = checks.whole(params, "RecordingUrlValidity", least=5, most=60)
        call = self.calls.get(sid)
        if call is None or call.account_sid != account.sid:
            raise RefusedError(404, "No matching results")
        sign = self._sign(account, validity)
        return answers.details(call, with_legs=with_legs, sign=sign, as_json=as_json)

    def _sign(self, account: Account, minutes: int | None) -> answers.Sign | None:
        if minutes is None:
            return None
        return lambda url: recordings.presigned(
            url, minutes=minutes, at=self._clock.now(), secret=account.api_token
        )

    def _number(self, number: str, *, as_json: bool) -> str:
        if not numbers.is_number(number):
            raise checks.bad(f"Invalid number {number!r}: must be a phone number")
        return answers.number(numbers.metadata(number), as_json=as_json)

    def _recording(self, asked: Asked) -> Reply:
        """Answer with a recording: to its account, or to whom a URL was signed for."""
        match (asked.method, *asked.path):
            case ("GET" | "HEAD", _, account_sid, name) if account_sid in self.accounts:
                account = self.accounts[account_sid]
            case _:
                raise _nowhere()
        signed = recordings.is_presigned(
            unquote(asked.raw_path),
            dict(asked.query),
            now=self._clock.now(),
            secret=account.api_token,
        )
        if not signed and recordings.is_signed(dict(asked.query)):
            raise RefusedError(403, "Request has expired, or was not signed so")
        if not signed and not account.admits(asked.authorization):
            raise RefusedError(401, "Authentication failed")
        call = self.calls.get(name.removesuffix(".mp3"))
        recorded = call is not None and call.account_sid == account_sid and call.recording_url
        if call is None or not recorded or not call.settled:
            raise RefusedError(404, "No matching results")
        sound = recordings.silence(call.conversation_duration)
        return recordings.sounding(
            sound,
            since=call.date_updated,
            wanted=asked.range,
            if_range=asked.if_range,
            elsewhere=recordings.presigned(
                recordings.elsewhere(call.recording_url or ""),
                minutes=5,
                at=self._clock.now(),
                secret=account.api_token,
            ),
        )


def _said(status: int, body: str, *, as_json: bool) -> Reply:
    kind = "application/json" if as_json else "application/xml"
    return Reply(status=status, content_type=kind, body=body.encode())


def _refusal(refused: RefusedError, *, as_json: bool) -> Reply:
    body = answers.refusal(refused.status, refused.message, as_json=as_json)
    reply = _said(refused.status, body, as_json=as_json)
    if refused.status != 401:
        return reply
    return attrs.evolve(reply, headers={"WWW-Authenticate": 'Basic realm="Exotel"'})


def _mistakes(refused: RefusedError) -> list[str]:
    if not refused.mistake:
        return []
    elsewhere = refused.status in (404, 405)
    return [f"{refused.message}; the page has {_PLACES}" if elsewhere else refused.message]


def _doubts(asked: Asked) -> list[str]:
    """Say what was let through, but is not as the page has it."""
    if asked.kind == "connect":
        return checks.doubts(asked.form)
    if asked.kind == "bulk":
        return bulk.doubts(asked.query)
    known = {"details": _KNOWN_OF_DETAILS, "number": ()}.get(asked.kind)
    return [] if known is None else checks.unknown((name for name, _ in asked.query), known)


def _mistake_in(asked: Asked) -> RefusedError | None:
    try:
        checks.connect(asked.form, account_sid=asked.path[2])
    except RefusedError as refused:
        return refused
    return None


def _nowhere() -> RefusedError:
    return RefusedError(404, "The requested resource was not found", mistake=True)


def _magic(number: str) -> MagicNumber | None:
    return BY_KEY.get(numbers.key(number.strip()))
