"""What is to be done about a dial: plain functions, for all that may be known of it."""

from __future__ import annotations

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import (
    Call,
    CallDetails,
    CallOutcome,
    CallTerminated,
    DialState,
    Leg,
    OutcomeSource,
    OutcomeState,
)
from exotel_async.dialer.horizon import longest
from exotel_async.dialer.steps import (
    Ask,
    Conclude,
    Failed,
    Missing,
    PutOff,
    Reject,
    Searched,
    Seek,
    after_asking,
    after_match,
    after_searching,
    next_poll,
    next_step,
    numbers_fit,
    polls,
)
from exotel_async.journal.records import SENDING, DialRecord, DueDial

SENT = 1_000_000.0
HORIZON = SENT + 16_000.0
DAY = 86_400.0
END = HORIZON + DAY
ARGUMENTS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
RECORD = DialRecord(
    ref="r", account="a", key="k", attempt=1, state=DialState.PLACED, owner="o",
    arguments=ARGUMENTS, longest=15_995.0, intended_at=SENT, sent_at=SENT, not_after=SENT + 5,
    settle_by=HORIZON, next_check=SENT + 180, call_sid="s1", sid_source="answer",
)  # fmt: skip
BY_CALLBACK = attrs.evolve(RECORD, sid_source="callback")
UNKNOWN = attrs.evolve(RECORD, state=DialState.UNKNOWN, call_sid=None, sid_source=None)
MATCHED = attrs.evolve(RECORD, sid_source="match")
ENDING = CallTerminated(call_sid="s1", status="completed")
OVER = Call(sid="s1", status="completed", from_="09812300001", to="09812300002")
GOING_ON = attrs.evolve(OVER, status="in-progress")
FOREIGN = attrs.evolve(OVER, from_="+919999999999")

records = st.builds(
    attrs.evolve,
    st.just(RECORD),
    state=st.sampled_from([*DialState, SENDING]),
    call_sid=st.sampled_from(["s1", None]),
    sid_source=st.sampled_from(["answer", "callback", "match"]),
    settle_by=st.sampled_from([HORIZON, None]),
    checks=st.integers(0, 2000),
)
outcomes = st.one_of(
    st.none(),
    st.builds(
        CallOutcome,
        dial=st.just(RECORD.dial()),
        state=st.sampled_from(OutcomeState),
        call_sid=st.sampled_from(["s1", "s2", None]),
    ),
)
dues = st.builds(DueDial, record=records, ending=st.sampled_from([ENDING, None]), outcome=outcomes)
moments = st.floats(SENT, END + 2 * DAY)
confirms = st.sampled_from(["new", "always", "never"])
answers = st.sampled_from(
    [OVER, GOING_ON, FOREIGN, attrs.evolve(OVER, status="weird"), Missing(), Failed(), Failed(7.0)]
)


class TestNextStep:
    @pytest.mark.parametrize("confirm", ["new", "never"])
    def test_known_sid(self, confirm):
        """A callback that ends a call whose sid connect named needs no question."""
        step = next_step(DueDial(record=RECORD, ending=ENDING), now=SENT, confirm=confirm)

        assert step == Conclude(
            CallOutcome(
                dial=RECORD.dial(), state=OutcomeState.ENDED, call_sid="s1", status="completed",
                source=OutcomeSource.CALLBACK, confirmed=True,
            )
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("record", "confirm"), [(BY_CALLBACK, "new"), (BY_CALLBACK, "always"), (RECORD, "always")]
    )
    def test_needs_a_question(self, record, confirm):
        """A sid that only a callback named is asked about, or any where that is wanted."""
        step = next_step(DueDial(record=record, ending=ENDING), now=SENT, confirm=confirm)

        assert step == Ask("s1", singly=True)

    def test_never(self):
        """Without a question a callback's sid is believed, and said to be unconfirmed."""
        step = next_step(DueDial(record=BY_CALLBACK, ending=ENDING), now=SENT, confirm="never")

        assert isinstance(step, Conclude)
        assert not step.outcome.confirmed

    def test_poll(self):
        """Where no callback came, Exotel is asked, about several calls at once."""
        step = next_step(DueDial(record=RECORD), now=SENT + 180, confirm="never")

        assert step == Ask("s1", singly=False)

    def test_unknown(self):
        """The call of an unknown dial is searched for, three minutes after its last moment."""
        first = SENT + 5 + 180
        before = next_step(DueDial(record=UNKNOWN), now=first - 1, confirm="new")
        after = next_step(DueDial(record=UNKNOWN), now=first, confirm="new")

        assert before == PutOff(first)
        assert after == Seek()

    def test_unknown_and_never_sent(self):
        """Where no moment of sending is known there is nothing to search in."""
        record = attrs.evolve(UNKNOWN, sent_at=None)
        before = next_step(DueDial(record=record), now=HORIZON - 1, confirm="new")
        after = next_step(DueDial(record=record), now=HORIZON, confirm="new")

        assert before == PutOff(HORIZON)
        assert isinstance(after, Conclude)
        assert after.outcome.state == OutcomeState.UNRESOLVED

    @pytest.mark.parametrize("confirm", ["new", "never"])
    def test_matched(self, confirm):
        """A callback that ends a call which was found needs no question."""
        due = DueDial(record=MATCHED, ending=ENDING)
        step = next_step(due, now=SENT, confirm=confirm)

        assert isinstance(step, Conclude)
        assert step.outcome.confirmed

    def test_late_news(self):
        """What a callback adds to an end that is known is added, and asked about no more."""
        known = CallOutcome(
            dial=RECORD.dial(), state=OutcomeState.ENDED, call_sid="s1", confirmed=True
        )
        due = DueDial(record=BY_CALLBACK, ending=ENDING, outcome=known)
        step = next_step(due, now=SENT, confirm="always")

        assert isinstance(step, Conclude)
        assert (step.outcome.status, step.outcome.confirmed) == ("completed", True)
        assert next_step(attrs.evolve(due, ending=None), now=SENT, confirm="new") == PutOff(None)

    @pytest.mark.parametrize("state", [OutcomeState.UNRESOLVED, OutcomeState.NOT_PLACED])
    def test_evidence_beats_absence(self, state):
        """A callback after the verdict is followed up like any other."""
        verdict = CallOutcome(dial=UNKNOWN.dial(), state=state)
        due = DueDial(record=BY_CALLBACK, ending=ENDING, outcome=verdict)

        assert next_step(due, now=END + DAY, confirm="new") == Ask("s1", singly=True)

    @examples(300)
    @given(due=dues, now=moments, confirm=confirms)
    def test_leads_on(self, due, now, confirm):
        """Whatever is known, what is put off is put off to later, and ends are of calls."""
        step = next_step(due, now=now, confirm=confirm)

        if isinstance(step, PutOff):
            assert step.until is None or step.until > now
        if isinstance(step, Conclude) and step.outcome.state == OutcomeState.ENDED:
            assert due.ending is not None
        if isinstance(step, Ask):
            assert due.record.call_sid == step.sid


class TestAfterAsking:
    def test_over(self):
        """A record that is final ends the call."""
        details = CallDetails(conversation_duration=30, legs=(Leg(status="completed"),))
        call = attrs.evolve(OVER, details=details, recording_url="https://x.example/1.mp3")
        step = after_asking(DueDial(record=RECORD), call, now=SENT + 180)

        assert step == Conclude(
            CallOutcome(
                dial=RECORD.dial(), state=OutcomeState.ENDED, call_sid="s1", status="completed",
                conversation_duration=30, legs=details.legs,
                recording_url="https://x.example/1.mp3", source=OutcomeSource.POLL, confirmed=True,
            )
        )  # fmt: skip

    @pytest.mark.parametrize("status", ["in-progress", "queued", "hibernating", None])
    def test_going_on(self, status):
        """Words that are not final, or not known, end no call."""
        call = attrs.evolve(OVER, status=status)
        step = after_asking(DueDial(record=RECORD), call, now=SENT + 180)

        assert step == PutOff(SENT + 360)

    def test_for_ever(self):
        """A call that goes on a day after the horizon is given up."""
        late = after_asking(DueDial(record=RECORD), GOING_ON, now=END - 1)
        over = after_asking(DueDial(record=RECORD), GOING_ON, now=END)

        assert late == PutOff(END)
        assert isinstance(over, Conclude)
        assert (over.outcome.state, over.outcome.call_sid) == (OutcomeState.UNRESOLVED, "s1")

    def test_confirmed(self):
        """A record whose numbers fit confirms a callback, and adds what that does not say."""
        details = CallDetails(conversation_duration=30, legs=(Leg(status="completed"),))
        call = attrs.evolve(GOING_ON, details=details)
        step = after_asking(DueDial(record=BY_CALLBACK, ending=ENDING), call, now=SENT)

        assert isinstance(step, Conclude)
        assert (step.outcome.source, step.outcome.confirmed) == (OutcomeSource.CALLBACK, True)
        assert (step.outcome.status, step.outcome.legs) == ("completed", details.legs)
        assert step.outcome.conversation_duration == 30

    @pytest.mark.parametrize("ending", [ENDING, None])
    def test_foreign(self, ending):
        """A sid that only a callback named and that is of other numbers is taken back at once."""
        due = DueDial(record=BY_CALLBACK, ending=ending)

        assert after_asking(due, FOREIGN, now=SENT) == Reject("s1")

    def test_own_in_spite_of_numbers(self):
        """What connect itself named is ours, whatever numbers the record shows."""
        step = after_asking(DueDial(record=RECORD), FOREIGN, now=SENT)

        assert isinstance(step, Conclude)

    def test_missing(self):
        """A sid that Exotel does not know is asked for up to the horizon, then taken back."""
        due = DueDial(record=BY_CALLBACK, ending=ENDING)

        assert after_asking(due, Missing(), now=SENT) == PutOff(SENT + 180)
        assert after_asking(due, Missing(), now=HORIZON - 1) == PutOff(HORIZON)
        assert after_asking(due, Missing(), now=HORIZON) == Reject("s1")

    def test_missing_of_connect(self):
        """One that connect itself named is no forgery: nobody can tell, in the end."""
        step = after_asking(DueDial(record=RECORD), Missing(), now=END)

        assert isinstance(step, Conclude)
        assert step.outcome.state == OutcomeState.UNRESOLVED

    def test_failed(self):
        """Where Exotel can't be asked it is soon asked again, then less often, as it wishes."""
        due = DueDial(record=BY_CALLBACK, ending=ENDING)
        often = attrs.evolve(due, record=attrs.evolve(BY_CALLBACK, checks=9))

        assert after_asking(due, Failed(), now=SENT) == PutOff(SENT + 30)
        assert after_asking(due, Failed(200), now=SENT) == PutOff(SENT + 200)
        assert after_asking(often, Failed(), now=SENT) == PutOff(SENT + 180)

    def test_failed_for_ever(self):
        """A callback that could not be confirmed for a day counts, unconfirmed."""
        step = after_asking(DueDial(record=BY_CALLBACK, ending=ENDING), Failed(), now=END)

        assert isinstance(step, Conclude)
        assert (step.outcome.state, step.outcome.confirmed) == (OutcomeState.ENDED, False)

    @examples(300)
    @given(due=dues, found=answers, now=moments)
    def test_leads_on(self, due, found, now):
        """Whatever Exotel says, it comes to an end: never put off to the past, or for ever."""
        step = after_asking(due, found, now=now)

        if isinstance(step, PutOff):
            assert step.until is not None
            assert now < step.until <= max(END, now) + 7200
        if now > END + 20_000:
            assert not isinstance(step, PutOff)
        if isinstance(step, Reject):
            assert due.record.sid_source == "callback"

    @examples(200)
    @given(due=dues, found=answers, now=moments)
    def test_honest(self, due, found, now):
        """An end is told by a callback or by a final record, and nothing else."""
        step = after_asking(due, found, now=now)

        if isinstance(step, Conclude) and step.outcome.state == OutcomeState.ENDED:
            by_record = isinstance(found, Call) and found.status == "completed"
            assert due.ending is not None or by_record


class TestAfterSearching:
    def test_not_found_yet(self):
        """Up to the horizon a call that is not in the list may be going on."""
        due = DueDial(record=UNKNOWN)
        early = after_searching(due, Searched(SENT + 185), now=SENT + 186)
        late = after_searching(due, Searched(HORIZON - 1), now=HORIZON + 1)

        assert early == PutOff(SENT + 5 + 360)
        assert late == PutOff(HORIZON)

    def test_not_found(self):
        """After the horizon nobody can tell, or it is proven."""
        due = DueDial(record=UNKNOWN)
        nobody = after_searching(due, Searched(HORIZON), now=HORIZON)
        proven = after_searching(due, Searched(HORIZON, denied=True), now=HORIZON)

        assert isinstance(nobody, Conclude)
        assert isinstance(proven, Conclude)
        assert (nobody.outcome.state, nobody.outcome.confirmed) == (OutcomeState.UNRESOLVED, False)
        assert (proven.outcome.state, proven.outcome.confirmed) == (OutcomeState.NOT_PLACED, True)
        assert proven.outcome.source == OutcomeSource.MATCH

    def test_failed(self):
        """Where Exotel can't be asked it is asked again, for a day after the horizon."""
        due = DueDial(record=UNKNOWN)
        given_up = after_searching(due, Failed(), now=END)

        assert after_searching(due, Failed(), now=HORIZON) == PutOff(HORIZON + 30)
        assert after_searching(due, Failed(90), now=HORIZON) == PutOff(HORIZON + 90)
        assert isinstance(given_up, Conclude)
        assert given_up.outcome.state == OutcomeState.UNRESOLVED


class TestAfterMatch:
    def test_over(self):
        """A record that is final ends the call, and Exotel itself said so."""
        step = after_match(MATCHED, OVER)

        assert step is not None
        assert (step.outcome.state, step.outcome.call_sid) == (OutcomeState.ENDED, "s1")
        assert (step.outcome.source, step.outcome.confirmed) == (OutcomeSource.MATCH, True)

    @pytest.mark.parametrize("status", ["in-progress", "hibernating", None])
    def test_going_on(self, status):
        """One that is not is asked about from now on like any other."""
        assert after_match(MATCHED, attrs.evolve(OVER, status=status)) is None


class TestPolls:
    def test_without_time_limit(self):
        """3, 6, 12, 25, 50 minutes, then hourly to the horizon, then every 6 hours for a day."""
        minutes = [int((at - SENT) / 60) for at in polls(placed_at=SENT, horizon=HORIZON)]

        assert minutes == [3, 6, 12, 25, 50, 110, 170, 230, 266, 626, 986, 1346, 1706]

    @examples(200)
    @given(length=st.floats(0, 10 * DAY), now=moments)
    def test_orderly(self, length, now):
        """They come one after the other, the last a day after the horizon."""
        times = polls(placed_at=SENT, horizon=SENT + length)

        assert times == sorted(set(times))
        assert times[-1] == SENT + length + DAY
        record = attrs.evolve(RECORD, settle_by=SENT + length)
        coming = next_poll(record, now=now)
        assert coming == min((at for at in times if at > now), default=None)


class TestNumbersFit:
    @pytest.mark.parametrize(
        ("from_", "to"),
        [
            ("9812300001", "9812300002"),
            ("0 98123-00002", "+91 98123 00001"),
            ("+919812300001", None),
            (None, None),
            ("+919812300001", "08040001234"),  # the ExoPhone, where a flow answers
            ("+919812300001", "100"),  # too short to tell
        ],
    )
    def test_fit(self, from_, to):
        """They are compared by their ends and as a set, and only where both are known."""
        assert numbers_fit(ARGUMENTS, Call(sid="s", from_=from_, to=to))

    @pytest.mark.parametrize(
        ("from_", "to"), [("9812300001", "9812300003"), ("9812300003", None), ("1" * 10, "2" * 10)]
    )
    def test_no_fit(self, from_, to):
        """One number that is another's is enough."""
        assert not numbers_fit(ARGUMENTS, Call(sid="s", from_=from_, to=to))

    def test_flow(self):
        """Of a call to a flow one number is known."""
        flow = {"from_": "+919812300001", "flow_id": "926"}

        assert numbers_fit(flow, Call(sid="s", from_="9812300001", to="9812300009"))
        assert not numbers_fit(flow, Call(sid="s", from_="9812300003", to="9812300009"))


class TestLongest:
    def test_parts(self):
        """Request, queue, rings of four tries, the call itself, settling and clocks."""
        assert longest(timeout=30, time_limit=60, time_out=20) == (
            30 + 600 + 4 * 2 * 20 + 60 + 900 + 60
        )

    def test_default(self):
        """Without a time limit it is about 4.6 hours."""
        assert round(longest(timeout=30) / 3600, 1) == 4.6
