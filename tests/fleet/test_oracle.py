"""The oracle of the fleet sees each thing that must not be, and excuses what may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from fleet_oracle import End, Evidence, Told, judge
from fleet_plan import Wish, from_of, key_of, traffic

from exotel_async.simulator import Call, Received

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LANE = '["dial", "d1", "c1"]'
ENDED = End("d1", "placed", "ended", "c1", "completed", "callback")


def post(second: float = 0.0, *, status: int | None = 200, number: int = 0) -> Received:
    """Spell a connect for a key."""
    return Received(
        method="POST", path="/v1/Accounts/acme/Calls/connect.json", status=status,
        params=(("From", from_of(number)),), at=NOON + timedelta(seconds=second),
    )  # fmt: skip


def call(sid: str = "c1", *, status: str = "completed") -> Call:
    """Spell a call of the first key."""
    return Call(
        sid=sid, account_sid="acme", from_=from_of(0), to="", phone_number="", status=status,
        date_created=NOON, date_updated=NOON, start_time=NOON,
    )  # fmt: skip


def handling(
    began: float, ended: float | None = None, *, process: int = 1, event: str = "terminal", **more
) -> list[dict[str, Any]]:
    """Spell what a handler writes about an event of the call; without an end it was killed."""
    fields = {
        "delivery": f"{LANE} {event} #1", "sid": "c1", "event": event, "process": process, **more
    }  # fmt: skip
    lines = [{"what": "start", "at": began, **fields}]
    return lines if ended is None else [*lines, {"what": "end", "at": ended, **fields}]


def claim(at: float, event: str, *, attempts: int = 1) -> dict[str, Any]:
    """Spell that an event of the call was claimed."""
    delivery = f"{LANE} {event} #1"
    return {"what": "claim", "at": at, "process": 1, "delivery": delivery, "attempts": attempts}


def mark(at: float, *, process: int = 1) -> dict[str, Any]:
    """Spell that the end of the call was marked as delivered."""
    return {"what": "mark", "at": at, "process": process, "delivery": f"{LANE} terminal #1"}


def outcome(at: float = 9.0, *, state: str = "ended") -> list[dict[str, Any]]:
    """Spell that the outcome of the key was told."""
    fields = {"delivery": '["outcome", "d1"] #1', "ref": "d1", "state": state, "process": 9}
    return [{"what": what, "at": at + i, **fields} for i, what in enumerate(("start", "end"))]


WELL = Evidence(
    wishes=[
        Wish(key="order-0", account=0, at=0.0, dialers=(0, 1), from_=from_of(0), to="+910000000200")
    ],
    requests=[post()],
    calls={"c1": call()},
    told=[Told("c1", "answered 0", 1.0, 1.1, 200), Told("c1", "terminal", 2.0, 2.1, 200)],
    lines=[
        claim(1.2, "answered 0"), *handling(1.2, 1.3, event="answered 0"),
        claim(2.2, "terminal"), *handling(2.2, 2.3), mark(2.4), *outcome(),
    ],
    ends={"order-0": ENDED},
    dead=(), died={}, frozen={}, unasked=(), limit=2, jitter=5.0, until=600.0,
)  # fmt: skip


def found_in(**changes: Any) -> list[str]:
    """Name what is wrong when one thing is otherwise than it should be."""
    return judge(attrs.evolve(WELL, **changes)).violations


class TestJudge:
    def test_all_is_well(self):
        """A run in which nothing went wrong has no violations."""
        violations = judge(WELL).violations

        assert violations == []

    @pytest.mark.parametrize(
        ("changes", "sign"),
        [
            pytest.param(
                {"lines": [*handling(1.2, 1.3, event="answered 0"), *outcome()]},
                "lost: terminal of c1", id="never handled",
            ),
            pytest.param(
                {"lines": [*handling(1.2, 1.3, event="answered 0"), *handling(2.2), *outcome()]},
                "lost: terminal of c1", id="never handled to the end",
            ),
            pytest.param({"dead": ["letter"]}, "lost: dead letter", id="dead letter"),
            pytest.param(
                {"ends": {"order-0": End("d1", "placed", None, "c1", None, None)}},
                "lost: order-0 has no outcome", id="no outcome",
            ),
            pytest.param(
                {"lines": [line for line in WELL.lines if "state" not in line]},
                "lost: the outcome of order-0", id="outcome never told",
            ),
            pytest.param(
                {"requests": [post(), post(1.0, status=500)]}, "dialled_twice: order-0",
                id="two POSTs",
            ),
            pytest.param(
                {"calls": {"c1": call(), "c2": call("c2")}}, "dialled_twice: order-0",
                id="two calls",
            ),
            pytest.param(
                {"lines": [*WELL.lines, *handling(2.25, 2.3, process=2, event="other")]},
                "held_by_two", id="two at once",
            ),
            pytest.param(
                {"lines": [*WELL.lines[1:], claim(2.9, "answered 0")]},
                "out_of_order: c1", id="the end first",
            ),
            pytest.param(
                {"lines": [*WELL.lines, mark(2.5)]}, "marked_wrongly", id="marked twice",
            ),
            pytest.param(
                {"lines": [*WELL.lines, *handling(2.5, 2.6)]}, "marked_wrongly",
                id="handled after its mark",
            ),
            pytest.param(
                {"ends": {"order-0": attrs.evolve(ENDED, status="busy")}}, "wrong: order-0",
                id="another end",
            ),
            pytest.param(
                {"ends": {"order-0": attrs.evolve(ENDED, outcome="not_placed")}},
                "wrong: order-0: not_placed", id="denied",
            ),
            pytest.param(
                {"ends": {"order-0": attrs.evolve(ENDED, outcome="unresolved")}},
                "wrong: order-0: unresolved", id="unresolved though told",
            ),
            pytest.param({"calls": {}}, "wrong: order-0: ended", id="no such call"),
            pytest.param(
                {"lines": [*WELL.lines[:-2], *outcome(state="refused")]},
                "wrong: order-0: was told", id="told otherwise",
            ),
            pytest.param(
                {"requests": [post(10.0 * i, number=i) for i in range(3)]}, "too_fast: acme",
                id="too many requests",
            ),
            pytest.param({"unasked": ["worker-0"]}, "unasked: worker-0", id="ended by itself"),
        ],
    )  # fmt: skip
    def test_violations(self, changes, sign):
        """Each thing that must not be is named."""
        violations = found_in(**changes)

        assert any(one.startswith(sign) for one in violations)

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"requests": [post(status=429), post(1.0)]}, id="refused first"),
            pytest.param(
                {
                    "lines": [*handling(2.15, process=2), *WELL.lines],
                    "died": {2: 2.18},
                },
                id="again after a kill",
            ),
            pytest.param(
                {
                    "lines": [*WELL.lines, *handling(2.1, 6.0, process=2, event="other")],
                    "frozen": {2: [(2.15, 5.9)]},
                },
                id="two at once after standing still",
            ),
            pytest.param(
                {
                    "lines": [
                        *WELL.lines[1:],
                        claim(2.9, "answered 0", attempts=2),
                    ]
                },
                id="out of order after a claim that nobody noted",
            ),
            pytest.param(
                {"lines": [*WELL.lines, *handling(2.5, 2.6)], "frozen": {1: [(2.35, 2.45)]}},
                id="handled after its mark by one who stood still",
            ),
            pytest.param(
                {"requests": [post(28.0 * i, number=i) for i in range(3)]},
                id="overtaken on their way",
            ),
        ],
    )  # fmt: skip
    def test_excuses(self, changes):
        """What may happen where processes die or stand still is no violation."""
        violations = found_in(**changes)

        assert violations == []

    def test_counts_again(self):
        """Deliveries that began more than once are counted."""
        lines = [*handling(1.9, process=2), *WELL.lines]

        assert judge(attrs.evolve(WELL, lines=lines, died={2: 1.95})).again == 1


class TestTraffic:
    def test_same_seed(self):
        """The same seed draws the same calls."""
        size = {"accounts": 3, "minutes": 4, "dials_a_minute": 2, "shared": 0.5, "dialers": 2}

        assert traffic(**size, seed=1) == traffic(**size, seed=1) != traffic(**size, seed=2)

    def test_keys(self):
        """Each key calls a number of its own, by which it is known; some are given to both."""
        wishes = traffic(accounts=3, minutes=4, dials_a_minute=2, shared=0.5, dialers=2, seed=1)

        assert len({wish.from_ for wish in wishes}) == len(wishes) == 24
        assert all(key_of(wish.from_) == wish.key for wish in wishes)
        assert {len(wish.dialers) for wish in wishes} == {1, 2}
