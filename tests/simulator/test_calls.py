"""The life of a call, as pure steps and as the simulator shows it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.simulator.calls import Order, Script, placed, plan, step
from exotel_async.simulator.clock import IST

AT = datetime(2026, 11, 2, 10, 0, tzinfo=IST)
ENDINGS = st.sampled_from(["answered", "busy", "no-answer", "failed"])
SCRIPTS = st.builds(Script, ending=ENDINGS, rings=st.integers(0, 90), talks=st.integers(0, 20_000))
LIMITS = st.none() | st.integers(1, 14_400)


def order(**fields) -> Order:
    return Order(**{"from_": "+911", "to": "+912", "caller_id": "080", **fields})


def lived(asked: Order, *scripts: Script):
    """Give a call after its whole life."""
    call = placed(asked, sid="s", account_sid="a", at=AT)
    for stage in plan(asked, scripts):
        call = step(call, stage, at=AT + timedelta(seconds=stage.after))
    return call


class TestPlan:
    @given(st.lists(SCRIPTS, min_size=1, max_size=2), LIMITS, LIMITS)
    def test_any_life(self, scripts, time_limit, time_out):
        """However the numbers behave, time runs forward, and a call ends and settles once."""
        asked = order(
            to="+912" if len(scripts) == 2 else None, time_limit=time_limit, time_out=time_out
        )

        stages = plan(asked, scripts)

        assert [s.after for s in stages] == sorted(s.after for s in stages)
        assert [s.act for s in stages[-2:]] == ["end", "settle"]
        assert sum(s.act == "end" for s in stages) == 1
        call = lived(asked, *scripts)
        assert not call.ongoing
        assert call.settled
        assert call.conversation_duration <= (time_limit or 20_000)
        assert all(leg.status not in ("queued", "ringing", "in-progress") for leg in call.legs)

    def test_answered(self):
        """Both answer, talk, and hang up."""
        call = lived(order(record=True), Script(rings=3), Script(rings=6, talks=20))

        assert call.status == "completed"
        assert [leg.status for leg in call.legs] == ["completed", "completed"]
        assert [leg.on_call_duration for leg in call.legs] == [27, 20]
        assert call.conversation_duration == 20
        assert call.duration == 2 + 3 + 1 + 6 + 20
        assert call.price == Decimal("1.500")
        assert call.recording_url.endswith("/a/s.mp3")

    @pytest.mark.parametrize("ending", ["busy", "no-answer", "failed"])
    def test_second_not_reached(self, ending):
        """The second number's signal is the call's, and nothing was recorded."""
        call = lived(order(record=True), Script(), Script(ending=ending))

        assert call.status == ending
        assert [leg.status for leg in call.legs] == ["completed", ending]
        assert call.legs[0].on_call_duration > 0
        assert call.conversation_duration == 0
        assert call.recording_url is None

    def test_first_not_reached(self):
        """The second number is not even attempted, and nobody pays."""
        call = lived(order(), Script(ending="busy"), Script())

        assert call.status == "busy"
        assert [leg.status for leg in call.legs] == ["busy", None]
        assert call.price is None

    def test_time_out(self):
        """Ringing ends when the TimeOut does."""
        call = lived(order(time_out=10), Script(), Script(rings=11))

        assert call.status == "no-answer"
        assert call.duration == 2 + 4 + 1 + 10

    def test_time_limit(self):
        """The conversation ends when the TimeLimit does."""
        call = lived(order(time_limit=5), Script(), Script(talks=600))

        assert call.status == "completed"
        assert call.conversation_duration == 5

    def test_flow(self):
        """A call to a flow has one leg."""
        call = lived(order(to=None), Script(talks=12))

        assert [(leg.status, leg.on_call_duration) for leg in call.legs] == [("completed", 12)]
        assert call.conversation_duration == 0

    def test_minutes_begun(self):
        """A minute begun is a minute paid, of each leg."""
        call = lived(order(), Script(), Script(talks=61))

        assert call.price == Decimal("3.000")


class TestLife:
    async def test_states(self, sim, ask):
        """Legs and call go from queued to ringing, in-progress and completed."""
        sid = await ask.sid()
        seen = []

        for seconds in (1, 2, 4, 1, 4, 30):
            call = sim.calls[sid]
            seen.append((call.status, *(leg.status for leg in call.legs)))
            await sim.advance(seconds=seconds)

        assert seen == [
            ("queued", "queued", None),
            ("queued", "queued", None),
            ("ringing", "ringing", None),
            ("in-progress", "in-progress", "ringing"),
            ("in-progress", "in-progress", "ringing"),
            ("in-progress", "in-progress", "in-progress"),
        ]
        assert sim.calls[sid].status == "completed"

    async def test_settles_later(self, sim, ask):
        """A record is complete two minutes after the end."""
        sid = await ask.sid(Record="true")
        late = ("EndTime", "Duration", "Price", "RecordingUrl")

        await sim.advance(seconds=60)
        ended = (await ask.get(f"/Calls/{sid}.json")).json["Call"]
        await sim.advance(minutes=2)
        settled = (await ask.get(f"/Calls/{sid}.json")).json["Call"]

        assert ended["Status"] == settled["Status"] == "completed"
        assert [ended[name] for name in late] == [""] * 4
        assert all(settled[name] for name in late)

    @pytest.mark.parametrize(
        ("number", "status"),
        [
            ("+910000000200", "completed"),
            ("+910000000404", "failed"),
            ("00000000480", "no-answer"),
            ("0000000486", "busy"),
        ],
    )
    async def test_numbers_that_behave(self, sim, ask, number, status):
        """Some numbers behave in a known way, however they are spelled."""
        sid = await ask.sid(To=number)

        await sim.advance(minutes=5)

        assert sim.calls[sid].status == status

    async def test_script(self, sim, ask):
        """A test says how a number behaves."""
        sim.script(to="+919812300002", ending="answered", rings=10, talks=100)
        sid = await ask.sid(To="09812300002")

        await sim.advance(minutes=5)

        assert sim.calls[sid].duration == 2 + 4 + 1 + 10 + 100

    async def test_script_of_first(self, sim, ask):
        """The first number can be laid down as well."""
        sim.script(from_="+919812300001", ending="busy")
        sid = await ask.sid()

        await sim.advance(minutes=5)

        assert [leg.status for leg in sim.calls[sid].legs] == ["busy", None]
