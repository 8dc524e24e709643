"""Unknown dials of which no callback tells: Exotel's list is searched, within bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import aiohttp
import attrs
import pytest
from dialling import NUMBERS, FailingJournal, World, another, on_disk, world
from traffic import CALL, RECORD, SENT

from exotel_async import CallPage, Dial, DialState, OutcomeSource, OutcomeState
from exotel_async.client.client import door_of
from exotel_async.client.transport import Envelope, Transport
from exotel_async.dialer.searching import Searcher
from exotel_async.dialer.steps import Failed
from exotel_async.dialer.watching import Watch
from exotel_async.dialer.windows import window_of
from exotel_async.journal import MemoryJournal
from exotel_async.wire.answer import Answer

LIMIT = {"time_limit": 60}
OTHERS = {"from_": "+919812300008", "to": "+919812300009"}
LONG = {"to": "+910000000183", "time_limit": 14_340}  # talks for 3 h 59


async def unknown(made: World, key: str = "lost", *, rings: bool = True, **changes) -> Dial:
    """Lose connect's answer; with a call, or without."""
    fault = "reset-after-read" if rings else "503-json"
    made.sim.fault(fault, on="connect")
    dial = await made.connect(key, **LIMIT | changes)
    assert dial.state == DialState.UNKNOWN
    return dial


def sids(made: World) -> list[str]:
    return list(made.sim.calls)


def searches(made: World) -> list[float]:
    """Tell when the list was asked for, in seconds since the epoch."""
    return [one.at.timestamp() for one in made.sim.requests if one.path.endswith("/Calls.json")]


@pytest.fixture
async def made():
    """Everything that runs; no callback ever comes."""
    async with world() as opened:
        opened.sim.fault("callback-lost", times=None)
        yield opened


class TestMatching:
    async def test_found(self, made):
        """The one call that fits is the dial's: how it ended is learned with it."""
        dial = await unknown(made)
        outcome = await made.outcome(dial)
        (asked,) = searches(made)
        (sid,) = sids(made)
        stats = made.dialer.stats()

        assert (outcome.state, outcome.source) == (OutcomeState.ENDED, OutcomeSource.MATCH)
        assert (outcome.call_sid, outcome.status, outcome.confirmed) == (sid, "completed", True)
        assert (outcome.dial.state, outcome.dial.call_sid) == (DialState.PLACED, sid)
        assert asked - made.sim.requests[0].at.timestamp() == pytest.approx(185, abs=31)
        assert (stats["searches_total"], stats["matched_total"]) == (1, 1)
        assert (await made.journal.stats())["dials_open"] == 0

    async def test_flow(self, made):
        """A call to a flow is found by its one number."""
        flow = {"from_": NUMBERS["from_"], "caller_id": NUMBERS["caller_id"], "flow_id": 926}
        made.sim.fault("reset-after-read", on="connect")
        dial = await made.dialer.connect_to_flow(**flow, **LIMIT, idempotency_key="flow")
        outcome = await made.outcome(dial)

        assert (outcome.state, [outcome.call_sid]) == (OutcomeState.ENDED, sids(made))

    async def test_together(self, made):
        """One reading of the list serves all dials whose windows it covers."""
        dials = [await unknown(made, f"k{i}", to=f"+91981230010{i}") for i in range(5)]
        outcomes = [await made.outcome(dial) for dial in dials]

        assert [outcome.call_sid for outcome in outcomes] == sids(made)
        assert made.dialer.stats()["matched_total"] == 5
        assert len(searches(made)) <= 2

    async def test_two_unknowns_of_one_pair(self, made):
        """Where either call may be either dial's, nobody can tell."""
        dials = [await unknown(made, f"k{i}") for i in range(2)]
        outcomes = [await made.outcome(dial) for dial in dials]

        assert {outcome.state for outcome in outcomes} == {OutcomeState.UNRESOLVED}

    async def test_foreign_call_to_the_same_pair(self, made):
        """A call that somebody else placed between the same two leaves it in doubt."""
        numbers = {"from_": NUMBERS["from_"], "to": NUMBERS["to"]}
        dial = await unknown(made)
        made.sim.add_call(
            **numbers, phone_number=NUMBERS["caller_id"], date_created=made.sim.clock.now()
        )
        outcome = await made.outcome(dial)

        assert (outcome.state, outcome.call_sid) == (OutcomeState.UNRESOLVED, None)

    async def test_known_call_of_the_same_pair(self, made):
        """A call that is another dial's by connect's own answer is in nobody's way."""
        await made.connect("known", **LIMIT)
        dial = await unknown(made)
        outcome = await made.outcome(dial)

        assert (outcome.state, outcome.call_sid) == (OutcomeState.ENDED, sids(made)[1])

    async def test_long_call(self, made):
        """A call of 3 h 59 is in no list until it is over, and is found then."""
        dial = await unknown(made, **LONG)
        await made.pass_time(hours=3.9, step=300)
        waited = (await made.journal.look(dial.ref))[1] is None
        outcome = await made.outcome(dial)

        assert waited
        assert (outcome.state, outcome.source) == (OutcomeState.ENDED, OutcomeSource.MATCH)

    async def test_many_pages(self, made):
        """More records than one page holds are read on."""
        dial = await unknown(made)
        for i in range(230):
            made.sim.add_call(
                **OTHERS, date_created=made.sim.clock.now() + timedelta(seconds=i % 60)
            )
        outcome = await made.outcome(dial)

        assert outcome.source == OutcomeSource.MATCH
        assert len(searches(made)) == 3

    async def test_two_at_once(self, made):
        """Of two processes that search one finds; the other sees that it is done."""
        dials = [await unknown(made, f"k{i}", to=f"+91981230010{i}") for i in range(3)]
        async with another(made) as other:
            reconcilers = [one._reconciler for one in (made.dialer, other)]
            await made.pass_time(minutes=2)
            taken = await made.journal.due("nobody", most=1)
            outcomes = [await made.outcome(dial) for dial in dials]
            found = [one._counts["matched_total"] for one in reconcilers]

        assert taken == ()
        assert sum(found) == 3
        assert len({outcome.call_sid for outcome in outcomes}) == 3

    async def test_after_restart(self, tmp_path):
        """A dial of a process that is gone is searched for by the next."""
        async with world(on_disk(tmp_path)) as made:
            made.sim.fault("callback-lost", times=None)
            dial = await unknown(made)
            await made.dialer.__aexit__(None, None, None)
            await made.pass_time(minutes=5)
            async with another(made) as other:
                outcome = await made.passing(other.outcome(dial, timeout=3600), step=30)
            await made.dialer.__aenter__()

            assert outcome.source == OutcomeSource.MATCH

    async def test_contradicted_later(self, made, caplog):
        """A callback that names another call than the one that was found is kept, not applied."""
        dial = await unknown(made)
        outcome = await made.outcome(dial)
        url = dict(made.sim.requests[0].params)["StatusCallback"]
        form = {"CallSid": "f" * 32, "EventType": "terminal", "Status": "busy"}
        async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
            status = answer.status
        await made.pass_time(minutes=2)

        assert status == 200
        assert await made.outcome(dial) == outcome
        assert "contradicts what is known" in caplog.text


class TestDenying:
    async def test_not_placed(self, made):
        """Where the list is shown to be readable, and has no such call, no phone rang."""
        await made.connect("known", **OTHERS, **LIMIT)
        dial = await unknown(made, rings=False)
        outcome = await made.outcome(dial)
        again = await made.connect("lost", **LIMIT, retry_if={"not_placed"})

        assert (outcome.state, outcome.source) == (OutcomeState.NOT_PLACED, OutcomeSource.MATCH)
        assert (outcome.confirmed, outcome.call_sid) == (True, None)
        assert made.dialer.stats()["not_placed_total"] == 1
        assert (again.attempt, again.state) == (2, DialState.PLACED)

    async def test_not_before_the_horizon(self, made):
        """As long as the call could be going on nothing is denied."""
        await made.connect("known", **OTHERS, **LIMIT)
        dial = await unknown(made, rings=False)
        record = (await made.journal.look(dial.ref))[0]
        left = record.settle_by - made.sim.clock.now().timestamp()
        await made.pass_time(seconds=left - 60)

        assert (await made.journal.look(dial.ref))[1] is None
        assert (await made.outcome(dial)).state == OutcomeState.NOT_PLACED

    async def test_nothing_known(self, made):
        """Without a call that must be there, an empty list says nothing."""
        made.sim.add_call(**OTHERS, date_created=made.sim.clock.now())
        outcome = await made.outcome(await unknown(made, rings=False))

        assert outcome.state == OutcomeState.UNRESOLVED

    async def test_known_call_some_way_off(self, made):
        """A known call half an hour away is reason enough to read as far as that."""
        await made.connect("known", **OTHERS, **LIMIT)
        await made.pass_time(minutes=30)
        outcome = await made.outcome(await unknown(made, rings=False))

        assert outcome.state == OutcomeState.NOT_PLACED

    @pytest.mark.parametrize("minutes", [0, 300, 345, -330])
    @pytest.mark.parametrize("rings", [True, False])
    async def test_wrong_zone(self, made, minutes, rings):
        """A client that reads times in another zone than the account's can tell nothing."""
        await made.connect("known", **OTHERS, **LIMIT)
        door = door_of(made.exotel)
        zone = timezone(timedelta(minutes=minutes))
        made.dialer._reconciler._exotel._door = attrs.evolve(
            door, settings=attrs.evolve(door.settings, zone=zone, max_retries=0)
        )
        outcome = await made.outcome(await unknown(made, rings=rings))

        assert outcome.state == OutcomeState.UNRESOLVED

    async def test_evidence_after_it(self, made):
        """A callback after the denial corrects it, and that is told."""
        await made.connect("known", **OTHERS, **LIMIT)
        dial = await unknown(made, rings=False)
        verdict = await made.outcome(dial)
        sid = made.sim.add_call(from_=NUMBERS["from_"], to=NUMBERS["to"])
        url = dict(made.sim.requests[1].params)["StatusCallback"]
        form = {"CallSid": sid, "EventType": "terminal", "Status": "completed"}
        async with aiohttp.ClientSession() as session, session.post(url, data=form):
            await made.pass_time(minutes=2)
        corrected = await made.outcome(dial)

        assert verdict.state == OutcomeState.NOT_PLACED
        assert (corrected.state, corrected.revision) == (OutcomeState.ENDED, 2)


class TestTrouble:
    @pytest.mark.parametrize("fault", ["500-json", "reset-after-read", "senseless-200", "429"])
    async def test_outage(self, made, fault):
        """While the list can't be read nothing is concluded; afterwards it is."""
        await made.connect("known", **OTHERS, **LIMIT)
        dial = await unknown(made)
        laid = made.sim.fault(fault, on="bulk", times=None)
        await made.pass_time(minutes=20)
        unsettled = (await made.journal.look(dial.ref))[1] is None
        made.sim._faults.discard(laid)

        assert unsettled
        assert (await made.outcome(dial)).source == OutcomeSource.MATCH

    async def test_outage_for_a_day(self, made):
        """Where it can't be read for a day after the horizon nobody can tell."""
        await made.connect("known", **OTHERS, **LIMIT)
        dial = await unknown(made, rings=False)
        made.sim.fault("500-json", on="bulk", times=None)
        await made.pass_time(hours=24, step=600)
        waited = (await made.journal.look(dial.ref))[1] is None
        outcome = await made.outcome(dial)

        assert waited
        assert outcome.state == OutcomeState.UNRESOLVED

    @pytest.mark.parametrize("budget", [1, 2, 3])
    async def test_budget(self, budget):
        """Each page is a question: never more in a minute than allowed, by all together."""
        async with world(poll_budget=budget) as made:
            made.sim.fault("callback-lost", times=None)
            async with another(made, poll_budget=budget):
                dials = [await unknown(made, f"k{i}", to=f"+91981230010{i}") for i in range(3)]
                for i in range(150):
                    made.sim.add_call(
                        **OTHERS, date_created=made.sim.clock.now() + timedelta(seconds=i % 60)
                    )
                await made.pass_time(minutes=60, step=10)
            asked = searches(made)
            ends = [(await made.journal.look(dial.ref))[1] for dial in dials]

            assert len(asked) >= 2
            assert all(sum(at <= t < at + 60 for t in asked) <= budget for at in asked)
            assert all((end is not None) == (budget > 1) for end in ends)

    @pytest.mark.parametrize("operation", ["match", "neighbours", "witnesses", "ended"])
    async def test_journal_trouble(self, operation, caplog):
        """Where the journal fails for a while, it is all done anew."""
        async with world(lambda sim: FailingJournal(clock=sim.clock)) as made:
            made.sim.fault("callback-lost", times=None)
            dial = await unknown(made)
            made.journal.before.add(operation)
            await made.pass_time(minutes=8)
            made.journal.before.clear()
            outcome = await made.outcome(dial)

            assert (outcome.state, [outcome.call_sid]) == (OutcomeState.ENDED, sids(made))


class Telling(Transport):
    """A transport whose answers have a date."""

    def __init__(self, date: str) -> None:
        super().__init__()
        self._date = date

    async def exchange(self, envelope: Envelope) -> Answer:
        return Answer(status=200, headers={"Date": self._date})


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime(2026, 11, 2, 12, 2, tzinfo=UTC)


class TestWatch:
    @pytest.mark.parametrize(
        ("date", "apart"),
        [("Mon, 02 Nov 2026 12:00:00 GMT", 120), ("Mon, 02 Nov 2026 12:03:00 GMT", 60),
         ("yesterday", None)],
    )  # fmt: skip
    async def test_apart(self, date, apart):
        """The date of an answer tells how far the clocks are apart; nonsense tells nothing."""
        watch = Watch(Still())
        await watch.over(Telling(date)).exchange(Envelope(method="GET", url="", headers={}))

        assert watch.apart == apart

    async def test_passing_by(self, made):
        """Every answer about calls is looked at."""
        await made.outcome(await unknown(made))

        assert made.dialer._reconciler._watch.apart == pytest.approx(0, abs=2)


class TestSearcher:
    @pytest.fixture
    async def searcher(self):
        """One who asks us, and a list of what was asked."""
        async with MemoryJournal() as journal:
            watch, asked = Watch(Still()), []

            async def ask(**filters):
                asked.append(filters)
                return CallPage(calls=(CALL,), total=1)

            yield Searcher(ask, journal=journal, account="a", watch=watch), watch, asked

    async def test_window(self, searcher):
        """The window is asked for without any filter but its ends, oldest first."""
        who, _, asked = searcher
        view = await who.read(window_of(RECORD, skew=60))

        (filters,) = asked
        assert view.calls == (CALL,)
        assert filters == {
            "created_after": datetime.fromtimestamp(SENT - 60, UTC),
            "created_before": datetime.fromtimestamp(SENT + 315, UTC),
            "details": True, "ascending": True, "page_size": 100,
        }  # fmt: skip

    async def test_clocks_far_apart(self, searcher):
        """Where clocks disagree by too much, no time of a record says anything."""
        who, watch, asked = searcher
        watch.apart = 3600.0

        assert await who.read(window_of(RECORD, skew=60)) is None
        assert asked == []

    async def test_clocks_apart_found_out(self, searcher, monkeypatch):
        """A window that proves too narrow while it is read is read anew, later."""
        who, watch, _ = searcher
        monkeypatch.setattr(
            who,
            "_pages",
            lambda window, real=who._pages: setattr(watch, "apart", 90) or real(window),
        )

        assert await who.read(window_of(RECORD, skew=60)) == Failed()
        assert who.skew == 120

    async def test_too_many(self, searcher, caplog):
        """After twenty pages it is given up: so many calls in one window can't be told apart."""
        who, _, asked = searcher

        async def ask(**filters):
            asked.append(filters)
            begin = filters["created_after"]
            turns = range(max(1, len(asked) - 1), len(asked) + 1)  # the last one once more
            seconds = zip(turns, (begin, begin + timedelta(seconds=1))[-len(turns) :], strict=True)
            calls = [attrs.evolve(CALL, sid=f"s{i}", date_created=at) for i, at in seconds]
            return CallPage(calls=tuple(calls), total=9999)

        who._ask = ask

        assert await who.read(window_of(RECORD, skew=60)) is None
        assert len(asked) == 20
