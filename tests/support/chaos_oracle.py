"""What really happened, and what the service made of it: nothing lost, nothing doubled, all true.

The truth is the simulator's: its requests, its calls, and the callbacks that were answered 200.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from chaos_plan import key_of

from exotel_async.simulator import Call, Delivered, Received, Simulator

_CONNECT = "/Calls/connect"
_REFUSALS = frozenset({400, 401, 402, 403, 404, 429})  # which prove that no phone rang


@attrs.frozen(kw_only=True)
class Verdict:
    """What is wrong with a run; all empty if nothing is."""

    lost: tuple[str, ...] = ()
    dialled_twice: tuple[str, ...] = ()
    handled_twice: tuple[str, ...] = ()  # which may be where a process was killed or stood still
    wrong: tuple[str, ...] = ()
    killed: bool = False

    @property
    def violations(self) -> list[str]:
        """Name what must not be."""
        doubled = () if self.killed else self.handled_twice
        return [
            *(f"lost: {one}" for one in self.lost),
            *(f"dialled twice: {one}" for one in self.dialled_twice),
            *(f"handled twice: {one}" for one in doubled),
            *(f"wrong: {one}" for one in self.wrong),
        ]


@attrs.frozen(kw_only=True)
class Evidence:
    """All that is known of a run when it is over."""

    keys: Sequence[str]
    requests: Sequence[Received]
    calls: Mapping[str, Call]
    callbacks: Sequence[Delivered]
    lines: Sequence[Mapping[str, Any]]  # of the handlers, in order
    marks: Sequence[Mapping[str, Any]]  # of deliveries that were marked as done
    report: Mapping[str, Any]  # of the last process that ended by itself
    killed: bool
    frozen: bool  # a process went on after others had taken its work over


def evidence(
    sim: Simulator,
    folder: Path,
    *,
    keys: Sequence[str],
    report: Path,
    killed: bool,
    frozen: bool,
) -> Evidence:
    """Gather what is known of a run."""
    return Evidence(
        keys=keys,
        requests=sim.requests,
        calls=sim.calls,
        callbacks=sim.callbacks,
        lines=_lines(folder / "lines"),
        marks=_lines(folder / "marks"),
        report=json.loads(report.read_text()),
        killed=killed,
        frozen=frozen,
    )


def judge(found: Evidence) -> Verdict:
    """Compare what happened with what the service made of it."""
    return Verdict(
        lost=tuple(_lost(found)),
        dialled_twice=tuple(_dialled_twice(found)),
        handled_twice=tuple(_handled_twice(found)),
        wrong=tuple(_wrong(found)),
        killed=found.killed,
    )


def _lost(found: Evidence) -> Iterator[str]:
    """Acknowledged, and no handler saw it; or placed, and nobody was ever told its end."""
    dead = {sid for sid, _ in found.report["dead"]}
    told = {(line["handler"], line["sid"], line.get("what")) for line in found.lines}
    for sid, what in sorted(_acknowledged(found)):
        wanted = ("first", "second") if what == "terminal" else ("first",)
        for handler in wanted:
            if (handler, sid, what) not in told and sid not in dead:
                yield f"callback {what} of {sid} was answered 200; handler {handler} never saw it"
    ends = {line["key"]: line for line in found.lines if line["handler"] == "outcome"}
    for key in found.keys:
        if key not in found.report["dials"]:
            yield f"{key} has no outcome"
        elif key not in ends:
            yield f"the outcome of {key} was never told"
    for call in found.calls.values():
        key = key_of(call.from_)
        end = found.report["dials"].get(key)
        if end and end["state"] == "unresolved" and _could_be_known(found, call):
            yield f"{key} rang as {call.sid}, which was told or answered, but is unresolved"


def _could_be_known(found: Evidence, call: Call) -> bool:
    """Tell whether the service was told of a call: by a callback, or as an answer that it read."""
    if any(sid == call.sid for sid, _ in _acknowledged(found)):
        return True
    answers = [one for one in _posts(found, key_of(call.from_)) if one.fault is None]
    return bool(answers) and not found.killed


def _acknowledged(found: Evidence) -> set[tuple[str, str]]:
    """List the callbacks that were answered 200: of which call, and what they said."""
    return {_said(one) for one in found.callbacks if one.status == 200}


def _said(callback: Delivered) -> tuple[str, str]:
    fields = dict(callback.fields)
    if fields.get("EventType") == "terminal":
        return fields["CallSid"], "terminal"
    legs = [leg for leg in (0, 1) if fields.get(f"Legs[{leg}][Status]") == "in-progress"]
    return fields["CallSid"], f"answered {legs[-1] if legs else None}"


def _dialled_twice(found: Evidence) -> Iterator[str]:
    rang = Counter(key_of(call.from_) for call in found.calls.values())
    for key in found.keys:
        may_ring = [
            one
            for one in _posts(found, key)
            if one.status not in _REFUSALS and not _was_denied(found, one)
        ]
        if len(may_ring) > 1 or rang[key] > 1:
            yield f"{key}: {len(may_ring)} POSTs that could ring, {rang[key]} calls"


def _was_denied(found: Evidence, post: Received) -> bool:
    """Tell whether a search found that a POST had rung nobody, and rightly: another may follow."""
    ref = _ref_in(dict(post.params)["StatusCallback"])
    denied = {one["ref"] for one in found.lines if one.get("state") == "not_placed"}
    return ref in denied and ref not in map(_ref_of, found.calls.values())


def _posts(found: Evidence, key: str) -> list[Received]:
    return [
        one
        for one in found.requests
        if one.path.endswith((_CONNECT, f"{_CONNECT}.json"))
        and key_of(dict(one.params)["From"]) == key
    ]


def _handled_twice(found: Evidence) -> Iterator[str]:
    """The same delivery twice by one handler; or the same event under two names."""
    deliveries = Counter((line["handler"], line["delivery"]) for line in found.lines)
    events = Counter(
        (line["handler"], line["sid"], line["what"])
        for line in {(line["handler"], line["delivery"]): line for line in found.lines}.values()
        if line["handler"] in ("first", "second")
    )
    for (handler, *what), count in (deliveries | events).items():
        if count > 1:
            yield f"{handler} saw {' '.join(map(str, what))} {count} times"


def _wrong(found: Evidence) -> Iterator[str]:
    by_key = {key_of(call.from_): call for call in found.calls.values()}
    last = {line["key"]: line for line in found.lines if line["handler"] == "outcome"}
    for key, end in found.report["dials"].items():
        yield from (f"{key}: {what}" for what in _wrong_with(end, by_key.get(key)))
        told = last.get(key)
        if told is not None and (told["state"], told["sid"]) != (end["state"], end["sid"]):
            yield f"{key}: its handler was told last that it is {told['state']}, not {end['state']}"
    for line in found.lines:  # every single one, not only the last
        if line["handler"] == "outcome" and line["state"] in ("refused", "not_placed"):
            call = by_key.get(line["key"])
            if call is not None and _ref_of(call) == line["ref"]:
                yield f"{line['key']} was said to be {line['state']}, and its phone rang"
    yield from _wrong_marks(found)


def _wrong_marks(found: Evidence) -> Iterator[str]:
    finished = Counter(mark["delivery"] for mark in found.marks if mark["mark"] == "finish")
    for delivery, count in finished.items():
        if count > 1:
            yield f"{delivery} was marked as done {count} times: a fence was ignored"
    for mark in () if found.frozen else found.marks:
        for line in found.lines:
            same = line["delivery"] == mark["delivery"] and line["handler"] in mark["handlers"]
            if same and line["at"] > mark["at"]:
                yield f"{line['handler']} saw {line['delivery']} after this was written down"


def _wrong_with(end: Mapping[str, Any], call: Call | None) -> Iterator[str]:
    if call is None:
        if end["state"] == "ended":
            yield "ended, but there was no call"
        return
    if end["state"] == "ended" and (end["sid"], end["status"]) != (call.sid, call.status):
        yield f"ended as {end['status']}, {end['sid']}; in truth {call.status}, {call.sid}"
    if end["state"] in ("refused", "not_placed"):
        yield f"{end['state']}, but there was a call: {call.status}"


def _ref_of(call: Call) -> str | None:
    if call.order is None or call.order.callback is None:
        return None
    return _ref_in(call.order.callback.url)


def _ref_in(url: str) -> str:
    segment = url.rstrip("/").rpartition("/")[2]
    return _decoded(segment.partition(".")[0])


def _decoded(text: str) -> str:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
