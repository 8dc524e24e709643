"""How dials end that nobody told of, or somebody lied about: Exotel is asked, within bounds."""

from __future__ import annotations

import logging

import aiohttp
import attrs
import pytest
from dialling import FailingJournal, World, another, on_disk, world

from exotel_async import (
    Dial,
    DialState,
    JournalError,
    NoAnswerError,
    NotSentError,
    OutcomeSource,
    OutcomeState,
    RateLimitedError,
    ServerError,
    UnreadableAnswerError,
)
from exotel_async.dialer.reconciling import pause_after

LIMIT = {"time_limit": 60}
EVERY_WAY = ("new", "always", "never")


def url_of(made: World, index: int = 0) -> str:
    """Give the callback URL of a dial, which is a secret."""
    return dict(made.sim.requests[index].params)["StatusCallback"]


async def post(made: World, url: str, **fields: str) -> int:
    """Post a callback that Exotel never sent."""
    form = {"EventType": "terminal", "Status": "completed", **fields}
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
        return answer.status


async def unknown(made: World, **changes: object) -> Dial:
    """Lose connect's answer, and all that Exotel itself would tell."""
    made.sim.fault("reset-after-read", on="connect")
    made.sim.fault("callback-lost", times=None)
    dial = await made.connect(**LIMIT | changes)
    assert dial.state == DialState.UNKNOWN
    return dial


async def lost(made: World, **changes: object) -> Dial:
    """Lose connect's answer for good: no search finds the call."""
    made.sim.fault("500-json", on="bulk", times=None)
    return await unknown(made, **changes)


class FailingPacer:
    """A pacer whose journal fails so many times."""

    def __init__(self, times: int) -> None:
        self._times = times

    async def reserve(self) -> None:
        self._times -= 1
        if self._times >= 0:
            raise JournalError("the disk is gone")

    async def hold(self, seconds: float) -> None: ...


class TestPausing:
    @pytest.mark.parametrize(
        ("error", "seconds"),
        [
            (RateLimitedError("", 429), 30), (RateLimitedError("", 429, retry_after=7.0), 7),
            (ServerError("", 503), 15), (ServerError("", 503, retry_after=90.0), 90),
            (ServerError("", 503, retry_after=1e9), 3600), (NoAnswerError(""), 15),
            (NotSentError(""), 15), (UnreadableAnswerError("", 200), 0),
        ],
    )  # fmt: skip
    def test_pause(self, error, seconds):
        """While Exotel is down or wants quiet nobody asks; one odd answer is no reason."""
        assert pause_after(error) == seconds


class TestPolling:
    @pytest.mark.parametrize("confirm", EVERY_WAY)
    async def test_schedule(self, confirm):
        """Without news Exotel is asked after 3, 6, 12, 25 and 50 minutes, and then every hour."""
        async with world(confirm=confirm) as made:
            made.sim.fault("callback-lost", times=None)
            dial = await made.connect(to="+910000000183", time_limit=14_400)  # talks on and on
            outcome = await made.outcome(dial)
            placed = made.sim.requests[0].at
            asked = [round((one.at - placed).total_seconds() / 60) for one in made.sim.requests[1:]]

            assert asked == [3, 6, 12, 25, 50, 110, 170, 230, 274]
            assert (outcome.state, outcome.source) == (OutcomeState.ENDED, OutcomeSource.POLL)
            assert outcome.confirmed

    async def test_together(self):
        """Twenty calls that are over take one question."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            dials = [await made.connect(f"k{i}", **LIMIT) for i in range(20)]
            outcomes = [await made.outcome(dial) for dial in dials]

            assert {outcome.source for outcome in outcomes} == {OutcomeSource.POLL}
            assert made.gets <= 3

    async def test_absent_ones(self):
        """Those that the one answer lacks are asked for singly: they may be going on."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            await made.connect("long", to="+910000000183", time_limit=600)
            dials = [await made.connect(f"k{i}", **LIMIT) for i in range(3)]
            await made.pass_time(minutes=4)

            assert [(await made.outcome(dial)).state for dial in dials] == ["ended"] * 3
            paths = [one.path.rpartition("/")[2] for one in made.sim.requests[4:]]
            long = next(iter(made.sim.calls))
            assert sorted(paths) == sorted(["Calls.json", f"{long}.json"])

    @pytest.mark.parametrize("budget", [1, 2])
    async def test_budget(self, budget):
        """Never more questions in a minute than allowed, by all dialers together."""
        async with world(poll_budget=budget, confirm="always") as made:
            other = another(made, poll_budget=budget, confirm="always")
            async with other:
                for i in range(12):
                    await made.connect(f"k{i}", **LIMIT)
                await made.pass_time(minutes=30, step=5)
            asked = [one.at.timestamp() for one in made.sim.requests if one.method == "GET"]

            assert len(asked) >= 12
            assert all(sum(at <= t < at + 60 for t in asked) <= budget for at in asked)
            assert (await made.journal.stats())["dials_open"] == 0

    async def test_trouble_together(self):
        """Where several can't be asked for at once, they are asked for again later."""
        async with world(poll_budget=2) as made:
            made.sim.fault("callback-lost", times=None)
            made.sim.fault("500-json", on="bulk", times=3)
            dials = [await made.connect(f"k{i}", step=0.01, **LIMIT) for i in range(3)]
            outcomes = [await made.outcome(dial) for dial in dials]

            assert {outcome.source for outcome in outcomes} == {OutcomeSource.POLL}
            assert made.dialer.stats()["poll_errors_total"] == 3

    async def test_shared_pacer(self):
        """A journal that fails in the client's own pacer is the journal's failure, not Exotel's."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            dial = await made.connect(**LIMIT)
            pacer = FailingPacer(2)
            made.dialer._reconciler._exotel._door = attrs.evolve(made.exotel._door, pacer=pacer)
            outcome = await made.outcome(dial)

            assert outcome.state == OutcomeState.ENDED
            assert made.dialer.stats()["reconciler_errors_total"] == 2
            assert made.dialer.stats()["poll_errors_total"] == 0

    async def test_slow_down(self):
        """Told to slow down, nobody asks for as long as Exotel wants."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            made.sim.fault("429-retry-after", on="details", seconds=100)
            dial = await made.connect(**LIMIT)
            outcome = await made.outcome(dial)
            times = [one.at.timestamp() for one in made.sim.requests if one.method == "GET"]

            assert outcome.state == OutcomeState.ENDED
            assert len(times) == 2
            assert times[1] - times[0] >= 100
            assert made.dialer.stats()["poll_errors_total"] == 1

    @pytest.mark.parametrize(
        "fault", ["500-json", "reset-after-read", "senseless-200", "no-sid-200", "redirect"]
    )
    async def test_trouble(self, fault):
        """While Exotel can't be asked sensibly nothing is concluded; afterwards it is."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            dial = await made.connect(**LIMIT)
            laid = made.sim.fault(fault, on="details", times=None)
            await made.pass_time(minutes=20)
            unsettled = (await made.journal.look(dial.ref))[1] is None
            made.sim._faults.discard(laid)

            assert unsettled
            assert (await made.outcome(dial)).state == OutcomeState.ENDED

    async def test_outage(self):
        """While Exotel is down one question is answer enough for all who wait."""
        async with world(confirm="always") as made:
            dials = [await made.connect(f"k{i}") for i in range(10)]
            laid = made.sim.fault("500-json", on="details", times=None)
            await made.pass_time(seconds=55, step=5)
            asked = made.gets
            made.sim._faults.discard(laid)

            assert 0 < asked <= 4
            assert {(await made.outcome(dial)).state for dial in dials} == {OutcomeState.ENDED}

    @pytest.mark.parametrize("operation", ["due", "conclude", "put_off", "reserve", "ended"])
    async def test_journal_trouble(self, operation, caplog):
        """Where the journal fails for a while it is tried again; no end is lost."""
        async with world(lambda sim: FailingJournal(clock=sim.clock)) as made:
            made.sim.fault("callback-lost", times=None)
            dial = await made.connect(to="+910000000183", time_limit=600)
            made.journal.before.add(operation)
            await made.pass_time(minutes=30)
            made.journal.before.clear()

            outcome = await made.outcome(dial)
            await made.until(lambda: made.told)
            await made.pass_time(minutes=10)
            assert [outcome] == made.told
            assert outcome.state == OutcomeState.ENDED

    async def test_unforeseen(self, monkeypatch, caplog):
        """Nothing unforeseen ends the looking after."""
        async with world() as made:
            real = made.journal.due
            left = [1, 2]

            def fails(account, *, most):
                if left:
                    left.pop()
                    raise RuntimeError("what a day")
                return real(account, most=most)

            monkeypatch.setattr(made.journal, "due", fails)
            outcome = await made.outcome(await made.connect())

            assert outcome.state == OutcomeState.ENDED
            assert made.dialer.stats()["reconciler_errors_total"] == 2

    async def test_after_restart(self, tmp_path):
        """A call that was placed by a process that is gone is looked after by the next."""
        async with world(on_disk(tmp_path)) as made:
            made.sim.fault("callback-lost", times=None)
            dial = await made.connect(**LIMIT)
            await made.dialer.__aexit__(None, None, None)
            await made.pass_time(minutes=5)
            asked = made.gets
            async with another(made) as other:
                outcome = await made.passing(other.outcome(dial, timeout=3600), step=30)
            await made.dialer.__aenter__()

            assert asked == 0
            assert (outcome.state, outcome.source) == (OutcomeState.ENDED, OutcomeSource.POLL)


class TestConfirming:
    @pytest.mark.parametrize(("confirm", "gets"), [("new", 0), ("always", 1), ("never", 0)])
    async def test_known_sid(self, confirm, gets):
        """Where connect's answer named the sid, only "always" asks."""
        async with world(confirm=confirm) as made:
            outcome = await made.outcome(await made.connect())

            assert (made.gets, outcome.confirmed) == (gets, True)
            assert outcome.source == OutcomeSource.CALLBACK

    @pytest.mark.parametrize(("confirm", "gets"), [("new", 1), ("always", 1), ("never", 0)])
    async def test_new_sid(self, confirm, gets):
        """Where only the callback named it, Exotel is asked, unless never."""
        async with world(confirm=confirm) as made:
            made.sim.fault("reset-after-read", on="connect")
            outcome = await made.outcome(await made.connect())

            assert (made.gets, outcome.confirmed) == (gets, gets > 0)
            assert outcome.source == OutcomeSource.CALLBACK

    async def test_impossible(self):
        """Where Exotel can't be asked for a day the callback counts, unconfirmed."""
        async with world() as made:
            made.sim.fault("reset-after-read", on="connect")
            made.sim.fault("500-json", on="details", times=None)
            dial = await made.connect(**LIMIT)
            await made.pass_time(hours=24, step=600)
            waited = (await made.journal.look(dial.ref))[1] is None
            outcome = await made.outcome(dial)

            assert waited
            assert (outcome.state, outcome.status) == (OutcomeState.ENDED, "completed")
            assert not outcome.confirmed


class TestForgery:
    async def test_made_up_sid(self):
        """A sid that Exotel denies up to the horizon was never ours; then nobody can tell."""
        async with world() as made:
            dial = await lost(made)
            assert await post(made, url_of(made), CallSid="f" * 32) == 200
            await made.pass_time(minutes=20)
            believed = (await made.journal.look(dial.ref))[1]
            outcome = await made.outcome(dial)

            assert believed is None
            assert (outcome.state, outcome.call_sid) == (OutcomeState.UNRESOLVED, None)
            assert made.dialer.stats()["rejected_sids_total"] == 1

    async def test_call_of_others(self):
        """A sid of a call between others is taken back at once; the true one still counts."""
        async with world() as made:
            dial = await unknown(made)
            (sid,) = made.sim.calls
            foreign = made.sim.add_call(from_="+919000000001", to="+919000000002")
            await post(made, url_of(made), CallSid=foreign)
            await made.pass_time(minutes=1)
            await post(made, url_of(made), CallSid=sid)
            outcome = await made.outcome(dial)

            assert (outcome.state, outcome.call_sid) == (OutcomeState.ENDED, sid)
            assert outcome.confirmed

    async def test_foreign_first_true_one_waiting(self):
        """A true callback that came while the foreign sid was believed is not lost."""
        async with world() as made:
            dial = await unknown(made)
            (sid,) = made.sim.calls
            made.sim.fault("500-json", on="details")
            foreign = made.sim.add_call(from_="+919000000001", to="+919000000002")
            await post(made, url_of(made), CallSid=foreign)
            await post(made, url_of(made), CallSid=sid)
            outcome = await made.outcome(dial)

            assert (outcome.state, outcome.call_sid) == (OutcomeState.ENDED, sid)

    @pytest.mark.parametrize("sid", ["a,b", "a;b"])
    async def test_sid_that_cannot_be_asked_for(self, sid):
        """A sid that spoils the question about several calls is asked for singly, as are they."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            dials = [await made.connect(f"k{i}", **LIMIT) for i in range(3)]
            unheard = await lost(made)
            await post(
                made, url_of(made, 3), CallSid=sid, EventType="answered", Status="in-progress"
            )
            await made.pass_time(minutes=4)
            known = [(await made.journal.look(dial.ref))[1] for dial in dials]
            outcome = await made.outcome(unheard)

            assert [found and found.state for found in known] == [OutcomeState.ENDED] * 3
            assert (outcome.state, outcome.call_sid) == (OutcomeState.UNRESOLVED, None)

    async def test_known_sid_stays(self):
        """Whoever learned the URL can't make a placed dial another call's."""
        async with world() as made:
            dial = await made.connect()
            foreign = made.sim.add_call(from_="+919000000001", to="+919000000002", status="busy")
            await post(made, url_of(made), CallSid=foreign, Status="busy")
            outcome = await made.outcome(dial)

            assert (outcome.call_sid, outcome.status) == (dial.call_sid, "completed")

    async def test_one_url_one_dial(self):
        """What comes through one dial's URL touches no other dial."""
        async with world() as made:
            made.sim.fault("callback-lost", times=None)
            first = await made.connect("one", **LIMIT)
            second = await made.connect("two", **LIMIT)
            await post(made, url_of(made), CallSid=second.call_sid or "", Status="busy")
            outcomes = [await made.outcome(dial) for dial in (first, second)]

            assert [outcome.status for outcome in outcomes] == ["completed"] * 2


class TestCorrection:
    async def test_late_callback(self, caplog):
        """A callback after the verdict corrects it, once, and is told."""
        caplog.set_level(logging.INFO)
        async with world() as made:
            dial = await lost(made)
            (sid,) = made.sim.calls
            verdict = await made.outcome(dial)
            await post(made, url_of(made), CallSid=sid)
            await made.pass_time(minutes=1)
            corrected = await made.outcome(dial)
            await post(made, url_of(made), CallSid=sid, Status="busy")
            await made.pass_time(minutes=1)
            found = await made.dialer.find("order-42")

            assert (verdict.state, verdict.revision) == (OutcomeState.UNRESOLVED, 1)
            assert (corrected.state, corrected.revision) == (OutcomeState.ENDED, 2)
            assert [told.state for told in made.told] == ["unresolved", "ended"]
            assert (await made.outcome(dial)).status == "completed"
            assert found is not None
            assert found.state == DialState.PLACED

    async def test_late_and_forged(self):
        """A made-up callback after the verdict corrects nothing."""
        async with world() as made:
            dial = await lost(made)
            verdict = await made.outcome(dial)
            await post(made, url_of(made), CallSid="f" * 32)
            await made.pass_time(hours=30, step=600)

            assert await made.outcome(dial) == verdict
            assert (await made.journal.stats())["dials_open"] == 0
