"""What really happened to a fleet, and what it made of it: nothing lost, doubled, or held by two.

The truth is the simulator's, and what the processes wrote down by the clock that they all share.
Pure functions of that.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

import attrs
from fleet_plan import Wish, key_of

from exotel_async import OutcomeState
from exotel_async.simulator import Call, Received

_CONNECT = "/Calls/connect"
_REFUSALS = frozenset({400, 401, 402, 403, 404, 429})  # which prove that no phone rang
_MINUTE = 60.0

Line = Mapping[str, Any]
Span = tuple[float, float]


@attrs.frozen
class Told:
    """One attempt of Exotel's to deliver a callback; times are seconds of its own."""

    sid: str
    event: str
    began: float
    ended: float
    status: int | None


@attrs.frozen
class End:
    """How a dial ended, as the books have it."""

    ref: str  # of the key's last dial
    state: str  # of that
    outcome: str | None
    sid: str | None
    status: str | None
    source: str | None


@attrs.frozen(kw_only=True)
class Evidence:
    """All that is known of a run when it is over."""

    wishes: Sequence[Wish]
    requests: Sequence[Received]
    calls: Mapping[str, Call]
    told: Sequence[Told]
    lines: Sequence[Line]
    ends: Mapping[str, End]  # by key
    dead: Sequence[str]  # dead letters
    died: Mapping[int, float]  # when processes were killed, by the clock that all share
    frozen: Mapping[int, Sequence[Span]]  # when processes stood still
    unasked: Sequence[str]  # processes that ended though nobody killed them
    limit: int  # requests a minute of each account
    jitter: float  # seconds by which requests may overtake each other on their way
    until: float  # seconds of the simulator's time in which time passed evenly


@attrs.frozen(kw_only=True)
class Verdict:
    """What is wrong with a run; all empty if nothing is."""

    lost: tuple[str, ...]
    dialled_twice: tuple[str, ...]
    held_by_two: tuple[str, ...]
    out_of_order: tuple[str, ...]
    marked_wrongly: tuple[str, ...]
    wrong: tuple[str, ...]
    too_fast: tuple[str, ...]
    unasked: tuple[str, ...]
    again: int  # deliveries that began more than once, as they may

    @property
    def violations(self) -> list[str]:
        """Name what must not be."""
        names = [one.name for one in attrs.fields(Verdict) if one.name != "again"]
        return [f"{name}: {one}" for name in names for one in getattr(self, name)]


def judge(found: Evidence) -> Verdict:
    """Compare what happened with what the fleet made of it."""
    handlings = handled(found)
    return Verdict(
        lost=tuple(_lost(found)),
        dialled_twice=tuple(_dialled_twice(found)),
        held_by_two=tuple(_held_by_two(found, handlings)),
        out_of_order=tuple(_out_of_order(found)),
        marked_wrongly=tuple(_marked_wrongly(found, handlings)),
        wrong=tuple(_wrong(found)),
        too_fast=tuple(_too_fast(found)),
        unasked=tuple(found.unasked),
        again=len(handlings) - len({one.delivery for one in handlings}),
    )


# What handlers saw.


@attrs.frozen
class Handling:
    """One time that a handler was at work."""

    lane: str
    delivery: str
    process: int
    began: float
    ended: float  # or died


def handled(found: Evidence) -> list[Handling]:
    """Pair the lines that handlers wrote when they began and when they ended."""
    begun: dict[tuple[int, str], Line] = {}
    handlings = []
    for line in found.lines:
        if line["what"] == "start":
            begun[line["process"], line["delivery"]] = line
        elif line["what"] == "end":
            start = begun.pop((line["process"], line["delivery"]))
            handlings.append(_handling(start, line["at"]))
    for start in begun.values():  # killed in the middle
        handlings.append(_handling(start, found.died.get(start["process"], inf)))
    return sorted(handlings, key=lambda one: one.began)


def _handling(start: Line, ended: float) -> Handling:
    delivery = start["delivery"]
    return Handling(lane_of(delivery), delivery, start["process"], start["at"], ended)


def lane_of(delivery: str) -> str:
    """Tell the call that a delivery belongs to.

    >>> lane_of('["dial", "d1", "c1"] terminal #1')
    '["dial", "d1", "c1"]'
    """
    _, end = json.JSONDecoder().raw_decode(delivery)
    return delivery[:end]


# What must not be.


def _lost(found: Evidence) -> Iterator[str]:
    seen = {(line["sid"], line["event"]) for line in found.lines if _ended(line, "event")}
    for sid, event in sorted({(one.sid, one.event) for one in found.told if one.status == 200}):
        if (sid, event) not in seen:
            yield f"{event} of {sid} was answered 200, and no handler came to its end with it"
    yield from (f"dead letter: {letter}" for letter in found.dead)
    told = {line["ref"] for line in found.lines if _ended(line, "state")}
    for wish in found.wishes:
        end = found.ends.get(wish.key)
        if end is None or end.outcome is None:
            yield f"{wish.key} has no outcome"
        elif end.ref not in told:
            yield f"the outcome of {wish.key} was never told"


def _ended(line: Line, field: str) -> bool:
    return line["what"] == "end" and field in line


def _dialled_twice(found: Evidence) -> Iterator[str]:
    may_ring = Counter(
        key_of(dict(one.params)["From"])
        for one in found.requests
        if _CONNECT in one.path and one.status not in _REFUSALS
    )
    rang = Counter(key_of(call.from_) for call in found.calls.values())
    for key in sorted({*may_ring, *rang}):
        if may_ring[key] > 1 or rang[key] > 1:
            yield f"{key}: {may_ring[key]} POSTs that could ring, {rang[key]} calls"


def _held_by_two(found: Evidence, handlings: Sequence[Handling]) -> Iterator[str]:
    """Two handlers at work on one call, neither of whose processes had stood still."""
    last: dict[str, Handling] = {}
    for one in handlings:
        other = last.get(one.lane)
        if other is not None and one.began < other.ended and not _excused(found, other, one):
            yield f"{one.lane}: by {other.process} until {other.ended}, by {one.process} meanwhile"
        if other is None or one.ended > other.ended:
            last[one.lane] = one


def _excused(found: Evidence, *handlings: Handling) -> bool:
    """Tell whether a process stood still, or was taken for dead, while it was at work."""
    return any(
        _meet((one.began, one.ended), span)
        for one in handlings
        for span in _absences(found, one.process)
    )


def _absences(found: Evidence, process: int) -> list[Span]:
    """List when a process may have lost what it had; what it learns late, it lost before."""
    buried = [
        (line["at"] - 5.0, line["at"])
        for line in found.lines
        if line["what"] == "buried" and line["process"] == process
    ]
    return [*found.frozen.get(process, ()), *buried]


def _meet(one: Span, other: Span) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _out_of_order(found: Evidence) -> Iterator[str]:
    """What was answered 200 before Exotel told more of a call is claimed before that, too.

    But for what somebody had claimed who was killed before he could note it: that is tried again
    later, and its tries are counted.
    """
    claims = _first_claims(found)
    for sid, events in _by_call(found).items():
        for before, after in _ordered(events):
            one, other = claims.get((sid, before)), claims.get((sid, after))
            if one is None or other is None:  # it is lost, or waits
                continue
            if other["at"] < one["at"] and one["attempts"] == 1:
                yield f"{sid}: {after} before {before}"


def _first_claims(found: Evidence) -> dict[tuple[str, str], Line]:
    """Find the first claim of each event, whatever was known of it by then."""
    events = {
        _unrevised(line["delivery"]): (line["sid"], line["event"])
        for line in found.lines
        if line["what"] == "start" and "event" in line
    }
    first: dict[tuple[str, str], Line] = {}
    for line in found.lines:
        event = events.get(_unrevised(line["delivery"])) if line["what"] == "claim" else None
        if event is not None and line["at"] < first.get(event, {"at": inf})["at"]:
            first[event] = line
    return first


def _unrevised(delivery: str) -> str:
    return delivery.rpartition(" #")[0]


def _by_call(found: Evidence) -> dict[str, dict[str, list[Told]]]:
    calls: dict[str, dict[str, list[Told]]] = defaultdict(lambda: defaultdict(list))
    for one in found.told:
        calls[one.sid][one.event].append(one)
    return calls


def _ordered(events: Mapping[str, Sequence[Told]]) -> Iterator[tuple[str, str]]:
    known = {
        event: min((one.ended for one in tries if one.status == 200), default=inf)
        for event, tries in events.items()
    }
    for before, acknowledged in known.items():
        for after, tries in events.items():
            if before != after and acknowledged < min(one.began for one in tries):
                yield before, after


def _marked_wrongly(found: Evidence, handlings: Sequence[Handling]) -> Iterator[str]:
    """A delivery is marked as done once, and nobody begins it after that."""
    marks = [line for line in found.lines if line["what"] == "mark"]
    for delivery, count in Counter(line["delivery"] for line in marks).items():
        if count > 1:
            yield f"{delivery} was marked as done {count} times"
    done = {line["delivery"]: line["at"] for line in marks}
    for one in handlings:
        if one.began > done.get(one.delivery, inf) and not _was_absent(found, one):
            yield f"{one.delivery} was handled after it was marked as done"


def _was_absent(found: Evidence, one: Handling) -> bool:
    return any(since <= one.began <= until + 1.0 for since, until in _absences(found, one.process))


def _wrong(found: Evidence) -> Iterator[str]:
    calls = {key_of(call.from_): call for call in found.calls.values()}
    last = {line["ref"]: line["state"] for line in found.lines if _ended(line, "state")}
    for key, end in found.ends.items():
        yield from (f"{key}: {what}" for what in _wrong_with(found, end, calls.get(key)))
        if last.get(end.ref, end.outcome) != end.outcome:
            yield f"{key}: was told last that it is {last[end.ref]}, but it is {end.outcome}"


def _wrong_with(found: Evidence, end: End, call: Call | None) -> Iterator[str]:
    if call is None:
        if end.outcome == OutcomeState.ENDED:
            yield "ended, but there was no call"
        return
    if end.outcome == OutcomeState.ENDED and (end.sid, end.status) != (call.sid, call.status):
        yield f"ended as {end.status}, {end.sid}; in truth {call.status}, {call.sid}"
    if end.outcome in (OutcomeState.REFUSED, OutcomeState.NOT_PLACED):
        yield f"{end.outcome}, but there was a call: {call.status}"
    if end.outcome == OutcomeState.UNRESOLVED and _was_told(found, call):
        yield f"unresolved, but {call.sid} was told of"


def _was_told(found: Evidence, call: Call) -> bool:
    return any(one.sid == call.sid and one.status == 200 for one in found.told)


def _too_fast(found: Evidence) -> Iterator[str]:
    """No account is asked more often than it may be, but for what was delayed on its way."""
    accounts: dict[str, list[float]] = defaultdict(list)
    start = min((one.at for one in found.requests), default=None)
    for one in found.requests:
        assert start is not None
        seconds = (one.at - start).total_seconds()
        if seconds <= found.until:
            accounts[one.path.split("/")[3]].append(seconds)
    for account, times in accounts.items():
        for first, beyond in zip(times, times[found.limit :], strict=False):
            if beyond - first < _MINUTE - found.jitter:
                yield f"{account}: {found.limit + 1} requests in {beyond - first:.1f} s"
                break
