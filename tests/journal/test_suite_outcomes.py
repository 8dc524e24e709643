"""How a dial ended: written once, corrected once at most, always told."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from books import (
    ACCOUNT,
    OUTCOMES,
    answered,
    claim,
    claims,
    intend,
    outcome,
    outcome_of,
    receipt,
    state_of,
)

from exotel_async import Leg
from exotel_async.journal.records import Answered
from exotel_async.models.dials import DialState


@pytest.fixture
async def unknown(journal):
    """A dial whose answer was lost."""
    await intend(journal)
    await journal.sending("d1", patience=5.0)
    return await journal.answered("d1", Answered(state=DialState.UNKNOWN))


@pytest.fixture
async def placed(journal):
    """A dial that is placed."""
    await intend(journal)
    await journal.sending("d1", patience=5.0)
    return await journal.answered("d1", Answered(state=DialState.PLACED, call_sid="c1"))


ODD = Leg(status=None, on_call_duration=None)


class TestConclude:
    async def test_first(self, journal, placed):
        """An outcome is written, read back whole, and told."""
        told = outcome(
            placed, conversation_duration=7, recording_url="https://r/1?signature", confirmed=True,
            legs=(Leg(status="completed", on_call_duration=9), ODD),
        )  # fmt: skip

        assert await journal.conclude(told) == told
        assert await outcome_of(journal) == told
        assert (await claim(journal, *OUTCOMES)).ref == "d1"

    async def test_open_no_more(self, journal, placed, clock):
        """What is known is not looked at again."""
        await journal.conclude(outcome(placed))
        clock.elapsed += 1e6

        assert await journal.next_due(ACCOUNT) is None
        assert await journal.due(ACCOUNT, most=9) == ()

    @pytest.mark.parametrize("word", ["unresolved", "not_placed", "refused"])
    async def test_ended_stays(self, journal, placed, word):
        """A call that has ended has ended."""
        await journal.conclude(outcome(placed))
        await journal.finish(await claim(journal))

        assert await journal.conclude(outcome(placed, word)) is None
        assert (await outcome_of(journal)).state == "ended"
        assert await claims(journal) == ()

    async def test_same_again(self, journal, placed):
        """The same outcome again is no news."""
        await journal.conclude(outcome(placed))

        assert await journal.conclude(outcome(placed)) is None
        assert (await outcome_of(journal)).revision == 1

    async def test_more_is_known(self, journal, placed):
        """What was not known yet is filled in; what was said is not changed; nobody is told."""
        await journal.conclude(outcome(placed, conversation_duration=None))
        await journal.finish(await claim(journal))

        more = outcome(placed, status="failed", conversation_duration=7, confirmed=True)
        told = await journal.conclude(more)

        assert (told.revision, told.conversation_duration, told.confirmed) == (2, 7, True)
        assert told.status == "completed"
        assert await claims(journal) == ()

    async def test_another_call(self, journal, placed):
        """What another call was like does not fill in this one's."""
        await journal.conclude(outcome(placed))

        other = outcome(placed, call_sid="other", recording_url="https://r/2")
        assert await journal.conclude(other) is None


class TestCorrection:
    @pytest.mark.parametrize("word", ["unresolved", "not_placed"])
    async def test_evidence_beats_absence(self, journal, unknown, word):
        """What nobody had found is corrected when it turns up, and told again."""
        await journal.conclude(outcome(unknown, word))
        first = await claim(journal)
        await journal.finish(first)

        told = await journal.conclude(outcome(unknown, call_sid="c1"))

        assert (told.state, told.revision) == ("ended", 2)
        again = await claim(journal)
        assert again.delivery_id != first.delivery_id
        assert (again.attempts, again.revision) == (1, 2)

    async def test_once(self, journal, unknown):
        """A correction is final."""
        await journal.conclude(outcome(unknown, "unresolved"))
        await journal.conclude(outcome(unknown))

        assert await journal.conclude(outcome(unknown, "unresolved")) is None
        assert (await outcome_of(journal)).state == "ended"

    async def test_absence_is_no_correction(self, journal, unknown):
        """One absence does not correct another."""
        await journal.conclude(outcome(unknown, "unresolved"))

        assert await journal.conclude(outcome(unknown, "not_placed")) is None

    async def test_late_refusal(self, journal, unknown):
        """What nobody could tell is corrected by Exotel's answer, if that comes at last."""
        await journal.conclude(outcome(unknown, "unresolved"))

        await journal.answered("d1", Answered(state=DialState.REFUSED))

        assert (await outcome_of(journal)).state == "refused"

    async def test_while_the_first_is_told(self, journal, unknown):
        """A correction that comes while the first is told is told to all, in its turn."""
        await journal.conclude(outcome(unknown, "unresolved"))
        first = await claim(journal)
        await journal.conclude(outcome(unknown))
        await journal.progress(first, done={"a"})
        assert await claims(journal) == ()

        await journal.finish(first, done={"a", "b"})

        again = await claim(journal)
        assert (again.revision, again.done) == (2, frozenset())
        await journal.finish(again, done={"a", "b"})
        assert await claims(journal) == ()

    async def test_while_the_first_is_given_up(self, journal, unknown):
        """A correction is told though the outcome before it was given up."""
        await journal.conclude(outcome(unknown, "unresolved"))
        first = await claim(journal)
        await journal.conclude(outcome(unknown))

        await journal.fail(first, error="no", wait=None, done=())

        assert (await claim(journal)).attempts == 1

    async def test_while_the_first_is_given_back(self, journal, unknown):
        """Tries are never fewer than none."""
        await journal.conclude(outcome(unknown, "unresolved"))
        first = await claim(journal)
        await journal.conclude(outcome(unknown))

        await journal.release(first, done=())

        assert (await claim(journal)).attempts == 1

    async def test_of_a_dead_letter(self, journal, unknown):
        """A correction of what was given up is told."""
        await journal.conclude(outcome(unknown, "unresolved"))
        await journal.fail(await claim(journal), error="no", wait=None, done=())

        await journal.conclude(outcome(unknown))

        assert (await claim(journal)).revision == 2

    async def test_is_not_pruned(self, journal, unknown, clock):
        """It is as young as the evidence: what was told long ago is old, not this."""
        await journal.conclude(outcome(unknown, "unresolved"))
        await journal.finish(await claim(journal))
        clock.elapsed += 10 * 3600
        await journal.conclude(outcome(unknown))
        await journal.prune(older_than=timedelta(hours=5))

        assert (await claim(journal)).revision == 2
        assert (await outcome_of(journal)).state == "ended"

    async def test_dead_letter_names_no_account(self, journal, unknown):
        """Lists of dead letters are shown around: an outcome's topic is that word alone."""
        await journal.conclude(outcome(unknown, "unresolved"))
        await journal.fail(await claim(journal), error="no", wait=None, done=())
        (letter,) = await journal.dead_letters()

        assert letter.topic == "outcome"


class TestNews:
    async def test_answer_arrives_while_the_end_of_another_call_is_concluded(self, journal, clock):
        """Exotel's own answer names another call: how that one ended, is to be found out anew."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await journal.record(receipt("forged", dial="d1"))
        (due,) = await journal.due(ACCOUNT, most=9)
        await journal.answered("d1", Answered(state=DialState.PLACED, call_sid="c1"))

        assert await journal.conclude(outcome(due.record)) is None
        assert await outcome_of(journal) is None
        (again,) = await journal.due(ACCOUNT, most=9)
        assert again.record.call_sid == "c1"

    async def test_end_arrives_while_absence_is_concluded(self, journal, unknown, clock):
        """Absence is not concluded over a callback that came meanwhile."""
        clock.elapsed += 1e5
        (due,) = await journal.due(ACCOUNT, most=9)
        await journal.record(receipt(dial="d1"))

        assert await journal.conclude(outcome(due.record, "unresolved")) is None

        assert await outcome_of(journal) is None
        (again,) = await journal.due(ACCOUNT, most=9)
        assert again.ending is not None

    async def test_answered_leg_arrives(self, journal, unknown, clock):
        """Nor over any other sign of life."""
        clock.elapsed += 1e5
        (due,) = await journal.due(ACCOUNT, most=9)
        await journal.record(answered(dial="d1"))

        assert await journal.conclude(outcome(due.record, "unresolved")) is None

        (again,) = await journal.due(ACCOUNT, most=9)
        assert again.record.state == "placed"

    async def test_end_arrives_while_it_is_put_off(self, journal, placed, clock):
        """The end of a call is not put off by somebody who had not heard of it."""
        clock.elapsed += 180.0
        await journal.due(ACCOUNT, most=9)
        await journal.record(receipt(dial="d1"))

        await journal.put_off("d1", until=clock.now().timestamp() + 3600.0, asked=True)

        (due,) = await journal.due(ACCOUNT, most=9)
        assert due.ending is not None
        assert due.record.checks == 1

    async def test_late_callback_of_an_unresolved_one(self, journal, unknown, clock):
        """A dial that was given up is looked at again when its callback comes at last."""
        clock.elapsed += 1e5
        (due,) = await journal.due(ACCOUNT, most=9)
        await journal.conclude(outcome(due.record, "unresolved"))

        await journal.record(receipt(dial="d1"))

        (due,) = await journal.due(ACCOUNT, most=9)
        assert (due.outcome.state, due.ending.status) == ("unresolved", "completed")


class TestDue:
    async def test_taken(self, store, journal, placed, clock):
        """Nobody else looks at what somebody looks at, for a while."""
        other = await store.open()
        clock.elapsed += 180.0

        assert len(await journal.due(ACCOUNT, most=9)) == 1
        assert await other.due(ACCOUNT, most=9) == ()
        clock.elapsed += 90.0
        assert len(await other.due(ACCOUNT, most=9)) == 1

    async def test_most(self, journal, clock):
        """No more come than asked for, those that waited longest first."""
        for i in range(5):
            await intend(journal, f"d{i}", key=f"k{i}")
            await journal.sending(f"d{i}", patience=5.0)
            await journal.answered(f"d{i}", Answered(state=DialState.PLACED, call_sid=f"c{i}"))
            clock.elapsed += 1.0
        clock.elapsed += 180.0

        assert [due.record.ref for due in await journal.due(ACCOUNT, most=2)] == ["d0", "d1"]

    async def test_other_account(self, journal, placed, clock):
        """Each account looks after its own."""
        clock.elapsed += 180.0

        assert await journal.due("other", most=9) == ()
        assert await journal.next_due("other") is None

    async def test_put_off(self, journal, placed, clock):
        """What was asked in vain is asked again in its time, and counted."""
        until = clock.now().timestamp() + 360.0

        await journal.put_off("d1", until=until, asked=True)

        assert await journal.next_due(ACCOUNT) == until
        assert (await state_of(journal)).checks == 1

    async def test_ending_is_merged(self, journal, placed):
        """What callbacks said of the end is read as one."""
        await journal.record(receipt(dial="d1", ConversationDuration="7"))
        await journal.record(receipt(dial="d1", RecordingUrl="https://r/1"))

        (due,) = await journal.due(ACCOUNT, most=9)

        assert due.ending.conversation_duration == 7
        assert due.ending.recording_url == "https://r/1"

    async def test_record_is_as_it_was_taken(self, journal, placed, clock):
        """What is taken is the dial as it stands."""
        clock.elapsed += 180.0
        (due,) = await journal.due(ACCOUNT, most=9)

        assert attrs.evolve(due.record, next_check=None) == attrs.evolve(placed, next_check=None)
