"""Says how a call gets from connect to its settled record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import inf, isinf
from typing import Literal

import attrs

Ending = Literal["answered", "busy", "no-answer", "failed"]
Event = Literal["answered", "terminal"]
Act = Literal["ring", "answer", "end", "settle"]

ONGOING = frozenset({"queued", "ringing", "in-progress"})
FINISHED = ("completed", "failed", "busy", "no-answer", "canceled")

_SET_UP = 2.0  # seconds from connect until the first telephone rings
_BRIDGE = 1.0  # from the first pick-up until the second telephone rings
_PATIENCE = 30.0  # of ringing, when no TimeOut says otherwise
_SETTLES_AFTER = 120.0  # the page: "~ 2 mins on an average"
_PRICE_PER_MINUTE = Decimal("0.750")  # of each leg, a minute begun is a minute paid


@attrs.frozen(kw_only=True)
class Script:
    """How a number behaves when it is called."""

    ending: Ending = "answered"
    rings: float = 4.0  # seconds until it answers, or gives its signal
    talks: float = 30.0  # seconds until it hangs up, if it answered; inf: never by itself
    waits: float = inf  # seconds that it bears the other's ringing, if it was called first


@attrs.frozen(kw_only=True)
class Callback:
    """Where and how the caller wants to be told."""

    url: str
    events: frozenset[str] = frozenset()
    content_type: str = "multipart/form-data"


@attrs.frozen(kw_only=True)
class Order:
    """What one connect asked for. Without `to` it is a call to a flow."""

    from_: str
    to: str | None
    caller_id: str
    time_limit: int | None = None  # seconds
    time_out: int | None = None  # seconds
    record: bool = False
    custom_field: str | None = None
    callback: Callback | None = None


@attrs.frozen(kw_only=True)
class Leg:
    """One number of a call, and what became of it."""

    status: str | None = None  # None: was not even attempted
    answered_at: datetime | None = None
    on_call_duration: int = 0  # seconds


@attrs.frozen(kw_only=True)
class Call:
    """A call as it stands now."""

    sid: str
    account_sid: str
    from_: str
    to: str
    phone_number: str
    status: str = "queued"
    direction: str = "outbound-api"
    date_created: datetime
    date_updated: datetime
    start_time: datetime
    end_time: datetime | None = None
    duration: int | None = None  # seconds, ringing included
    price: Decimal | None = None
    answered_by: str | None = None
    recording_url: str | None = None
    conversation_duration: int = 0  # seconds
    legs: tuple[Leg, ...] = ()
    settled: bool = False  # until then a record shows no EndTime, Duration, Price, RecordingUrl
    order: Order | None = None  # None: was put in ready-made

    @property
    def ongoing(self) -> bool:
        """Tell whether the call has not ended yet."""
        return self.status in ONGOING


@attrs.frozen
class Stage:
    """One thing that happens in a call, `after` so many seconds from connect."""

    after: float
    act: Act
    leg: int = 0
    status: str = "completed"  # of the call, where it ends
    leg_status: str | None = None  # of a leg that did not answer, if it is another

    @property
    def event(self) -> Event | None:
        """Name the StatusCallback event that this is, if it is one."""
        if self.act == "answer":
            return "answered"
        return "terminal" if self.act == "end" else None


def placed(order: Order, *, sid: str, account_sid: str, at: datetime) -> Call:
    """Begin a call: it waits in line."""
    first = Leg(status="queued")
    return Call(
        sid=sid,
        account_sid=account_sid,
        from_=order.from_,
        # The page's flow sample has a To although none was sent: we give the ExoPhone.
        to=order.caller_id if order.to is None else order.to,
        phone_number=order.caller_id,
        date_created=at,
        date_updated=at,
        start_time=at,
        legs=(first,) if order.to is None else (first, Leg()),
        order=order,
    )


def plan(order: Order, scripts: Sequence[Script]) -> list[Stage]:
    """Lay out a call's whole life, given how each of its numbers behaves.

    A call that nobody ends has no end here either.
    """
    patience = order.time_out or _PATIENCE
    stages: list[Stage] = []
    after = _SET_UP
    waits = inf
    for leg, script in enumerate(scripts):
        stages.append(Stage(after, "ring", leg))
        signal, rung = _reaction(script, patience)
        if waits < rung:  # the first hangs up while the second rings
            gone = Stage(after + waits, "end", leg, "no-answer", leg_status="canceled")
            return _closed(stages, gone)
        after += rung
        if signal != "answered":
            return _closed(stages, Stage(after, "end", leg, signal))
        stages.append(Stage(after, "answer", leg))
        after += _BRIDGE
        waits = script.waits
    talk = min(scripts[-1].talks, order.time_limit or inf)
    if isinf(talk):
        return stages
    return _closed(stages, Stage(after - _BRIDGE + talk, "end", len(scripts) - 1))


def step(call: Call, stage: Stage, *, at: datetime, recordings: str = "") -> Call:
    """Give the call as it is after this stage; `recordings` is where those are found."""
    match stage.act:
        case "ring":
            ringing = _with_leg(call, stage.leg, status="ringing")
            if stage.leg:
                return ringing
            return attrs.evolve(ringing, status="ringing", date_updated=at)
        case "answer":
            answered = _with_leg(call, stage.leg, status="in-progress", answered_at=at)
            return attrs.evolve(
                answered, status="in-progress", answered_by="human", date_updated=at
            )
        case "end":
            return _ended(call, stage, at=at, recordings=recordings)
        case "settle":
            return _settled(call, at=at)


def ready_made(
    call: Call, *, duration: int, talked: int, price: Decimal | None, recordings: str | None
) -> Call:
    """Bring a call that has begun to its settled end at once; None for `recordings`: no such."""
    end = call.start_time + timedelta(seconds=duration)
    reached = call.status == "completed"
    first = Leg(status="completed", on_call_duration=min(duration, talked + 10))
    second = Leg(status=call.status, on_call_duration=min(duration, talked) if reached else 0)
    return attrs.evolve(
        call,
        legs=(first, second),
        end_time=end,
        date_updated=end + timedelta(seconds=_SETTLES_AFTER),
        duration=duration,
        price=_price((first, second)) if price is None else price,
        answered_by="human",
        recording_url=None if recordings is None else _recording_url(call, recordings),
        conversation_duration=second.on_call_duration,
        settled=True,
    )


def _recording_url(call: Call, recordings: str) -> str:
    return f"{recordings}/{call.account_sid}/{call.sid}.mp3"  # the end is as the page shows it


def _price(legs: Sequence[Leg]) -> Decimal | None:
    """Work out what the legs cost; None if nobody was reached."""
    minutes = sum(-(-leg.on_call_duration // 60) for leg in legs)
    return _PRICE_PER_MINUTE * minutes if minutes else None


def _reaction(script: Script, patience: float) -> tuple[Ending, float]:
    if script.ending == "no-answer" or script.rings > patience:
        return "no-answer", patience
    return script.ending, script.rings


def _closed(stages: list[Stage], end: Stage) -> list[Stage]:
    return [*stages, end, Stage(end.after + _SETTLES_AFTER, "settle")]


def _with_leg(call: Call, index: int, *, status: str, answered_at: datetime | None = None) -> Call:
    legs = list(call.legs)
    legs[index] = Leg(status=status, answered_at=answered_at)
    return attrs.evolve(call, legs=tuple(legs))


def _ended(call: Call, stage: Stage, *, at: datetime, recordings: str) -> Call:
    status = stage.leg_status or stage.status
    legs = tuple(_leg_ended(leg, status, at=at) for leg in call.legs)
    talked = len(legs) > 1 and stage.status == "completed"
    recorded = call.order is not None and call.order.record and stage.status == "completed"
    return attrs.evolve(
        call,
        status=stage.status,
        legs=legs,
        end_time=at,
        date_updated=at,
        conversation_duration=legs[-1].on_call_duration if talked else 0,
        recording_url=_recording_url(call, recordings) if recorded else None,
    )


def _leg_ended(leg: Leg, status: str, *, at: datetime) -> Leg:
    if leg.answered_at is not None:
        seconds = int((at - leg.answered_at).total_seconds())
        return attrs.evolve(leg, status="completed", on_call_duration=seconds)
    return leg if leg.status is None else attrs.evolve(leg, status=status)


def _settled(call: Call, *, at: datetime) -> Call:
    end = call.end_time or at
    return attrs.evolve(
        call,
        duration=int((end - call.start_time).total_seconds()),
        price=_price(call.legs),
        date_updated=at,
        settled=True,
    )
