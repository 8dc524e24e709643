"""A dial is written down: before it is sent, when it is answered, when its owner dies."""

from __future__ import annotations

import asyncio

import pytest
from books import ACCOUNT, intend, new_dial, outcome, outcome_of, receipt, same, state_of

from exotel_async import BadRequestError, KeyReusedError, NotSentError, OutcomeUnknownError
from exotel_async.journal.records import Answered
from exotel_async.models.dials import DialState

PLACED = Answered(state=DialState.PLACED, call_sid="c1")
REFUSED = Answered(state=DialState.REFUSED, error=BadRequestError("no", 400, 34010, "<body>"))
UNKNOWN = Answered(state=DialState.UNKNOWN, error=OutcomeUnknownError("lost"))
NOT_SENT = Answered(state=DialState.NOT_SENT, error=NotSentError("no route"))


async def send(journal, ref="d1", *, key="order-1", answer=None, **options):
    await intend(journal, ref, key=key, **options)
    assert await journal.sending(ref, patience=5.0) is not None
    if answer is not None:
        await journal.answered(ref, answer)


class TestIntend:
    async def test_fresh(self, journal, clock):
        """A new key may dial, and is written down before it does."""
        intended = await intend(journal)

        assert intended.fresh
        assert intended.outcome is None
        assert await state_of(journal) == intended.record
        assert intended.record.intended_at == clock.now().timestamp()

    async def test_again(self, journal):
        """The same key again is the same dial, whatever became of it."""
        await send(journal, answer=PLACED)

        again = await intend(journal, "d2")

        assert not again.fresh
        assert (again.record.ref, again.record.call_sid) == ("d1", "c1")
        assert await journal.look("d2") is None

    async def test_other_arguments(self, journal):
        """A key with other arguments is refused, and nothing is written."""
        await intend(journal)

        with pytest.raises(KeyReusedError, match="other arguments"):
            await journal.intend(new_dial("d2"), retry_if=(), fits=lambda seal: False)

        assert (await journal.stats())["dials"] == 1

    async def test_seal_that_cannot_be_checked(self, journal):
        """Where the secret of a seal is gone, the key counts as the same: better no second dial."""
        await intend(journal)

        again = await journal.intend(new_dial("d2"), retry_if=(), fits=lambda seal: None)

        assert again.record.ref == "d1"

    async def test_seal_is_handed_back(self, journal):
        """The seal of the first time is what arguments are held against."""
        await intend(journal, seal="the first")
        seen = []

        await journal.intend(new_dial("d2"), retry_if=(), fits=lambda seal: not seen.append(seal))

        assert seen == ["the first"]

    @pytest.mark.parametrize("changes", [{"account": "other"}, {"key": "order-2"}])
    async def test_other_key(self, journal, changes):
        """A key is one account's: another account may use the same."""
        await intend(journal)

        assert (await intend(journal, "d2", **changes)).fresh

    async def test_other_namespace(self, store, journal):
        """A key is one service's: another service may use the same."""
        other = await store.open(namespace="other")
        await intend(journal)

        assert (await intend(other, "d2")).fresh
        assert await other.look("d1") is None
        assert (await other.find(ACCOUNT, "order-1"))[0].ref == "d2"

    async def test_many_at_once(self, store, journal):
        """Of many who use a key at once, one dials."""
        other = await store.open()

        told = await asyncio.gather(
            *(intend(journals, f"d{i}") for i in range(8) for journals in [(journal, other)[i % 2]])
        )

        assert [one.fresh for one in told].count(True) == 1
        assert len({one.record.ref for one in told}) == 1

    async def test_arguments_are_kept(self, journal):
        """What the caller asked for can be read back, whatever script it is in."""
        await intend(journal, arguments={"to": "+91", "custom_field": "नमस्ते", "record": True})

        assert (await state_of(journal)).arguments == {
            "to": "+91", "custom_field": "नमस्ते", "record": True,
        }  # fmt: skip


class TestRetryIf:
    @pytest.mark.parametrize(
        ("answer", "allowed"),
        [
            (REFUSED, {"refused"}),
            (NOT_SENT, {"not_sent", "not_placed"}),
            (UNKNOWN, set()),
            (PLACED, set()),
            (None, set()),
        ],
        ids=["refused", "not sent", "unknown", "placed", "sending"],
    )
    @pytest.mark.parametrize("word", ["refused", "not_sent", "not_placed", "unknown", "placed"])
    async def test_words(self, journal, answer, allowed, word):
        """Another attempt is made for what surely rang no phone, and was asked for."""
        await send(journal, answer=answer)

        again = await intend(journal, "d2", retry_if={word})

        assert again.fresh == (word in allowed)

    async def test_new_attempt(self, journal):
        """The next attempt has a ref of its own, and is what the key stands for."""
        await send(journal, answer=REFUSED)

        again = await intend(journal, "d2", retry_if={"refused"})

        assert (again.record.attempt, again.record.state) == (2, "intended")
        assert (await journal.find(ACCOUNT, "order-1"))[0].ref == "d2"
        assert (await state_of(journal, "d1")).state == "refused"

    async def test_one_winner(self, store, journal):
        """Of many who retry at once, one dials."""
        other = await store.open()
        await send(journal, answer=REFUSED)

        told = await asyncio.gather(
            *(intend((journal, other)[i % 2], f"r{i}", retry_if={"refused"}) for i in range(8))
        )

        assert [one.fresh for one in told].count(True) == 1

    async def test_unknown_that_was_proven_not_placed(self, journal):
        """What was unknown, and was proven to have rung no phone, may be tried again."""
        await send(journal, answer=UNKNOWN)
        await journal.conclude(outcome(await state_of(journal), "not_placed"))

        assert (await intend(journal, "d2", retry_if={"not_placed"})).fresh

    async def test_evidence_after_the_proof(self, journal, store):
        """A callback outweighs that nothing was sent: nobody is rung twice."""
        await intend(journal)
        await store.bury(journal)
        await journal.record(receipt(dial="d1"))

        again = await intend(journal, "d2", retry_if={"not_sent", "not_placed"})

        assert not again.fresh

    async def test_new_arguments_seal(self, journal):
        """The next attempt is sealed anew, with a secret that is known."""
        await send(journal, answer=REFUSED)
        await intend(journal, "d2", retry_if={"refused"}, seal="new")
        seen = []

        await journal.intend(new_dial("d3"), retry_if=(), fits=lambda seal: not seen.append(seal))

        assert seen == ["new"]


class TestSending:
    async def test_deadline(self, journal, clock):
        """A try may begin for so long, and the horizon is counted from there."""
        await intend(journal)

        until = await journal.sending("d1", patience=5.0)

        dial = await state_of(journal)
        assert until == clock.now().timestamp() + 5.0
        assert (dial.state, dial.not_after, dial.settle_by) == ("sending", until, until + 3600.0)

    async def test_shown_as_intended(self, journal):
        """Users are not told that a try is under way."""
        await send(journal)

        assert (await state_of(journal)).dial().state == "intended"

    async def test_one_at_a_time(self, journal):
        """While one try is under way none other begins."""
        await send(journal)

        assert await journal.sending("d1", patience=5.0) is None

    async def test_unsent(self, journal):
        """After a 429 the next try is written down anew."""
        await send(journal)

        assert await journal.unsent("d1")
        assert (await state_of(journal)).state == "intended"
        assert not await journal.unsent("d1")
        assert await journal.sending("d1", patience=5.0) is not None

    async def test_callback_during_429(self, journal):
        """Where a callback has come, nothing is sent again, whatever the try said."""
        await send(journal)
        await journal.record(receipt(dial="d1"))

        assert not await journal.unsent("d1")
        assert await journal.sending("d1", patience=5.0) is None

    @pytest.mark.parametrize("answer", [PLACED, REFUSED, UNKNOWN, NOT_SENT])
    async def test_answered(self, journal, answer):
        """What was answered is not sent again."""
        await send(journal, answer=answer)

        assert await journal.sending("d1", patience=5.0) is None
        assert not await journal.unsent("d1")

    async def test_somebody_elses(self, store, journal):
        """Nobody sends what another has intended."""
        other = await store.open()
        await intend(journal)

        assert await other.sending("d1", patience=5.0) is None
        assert await journal.sending("d1", patience=5.0) is not None
        assert not await other.unsent("d1")

    async def test_no_such_dial(self, journal):
        """What was never intended is not sent."""
        assert await journal.sending("gone", patience=5.0) is None
        assert await journal.answered("gone", PLACED) is None


class TestAnswered:
    async def test_placed(self, journal, clock):
        """A placed dial is looked at in three minutes, if no callback comes."""
        await send(journal, answer=PLACED)

        dial = await state_of(journal)
        assert (dial.state, dial.call_sid, dial.sid_source) == ("placed", "c1", "answer")
        assert dial.next_check == clock.now().timestamp() + 180.0
        assert await outcome_of(journal) is None

    async def test_refused(self, journal):
        """A refused dial is over, with the error that refused it."""
        await send(journal, answer=REFUSED)

        told = await outcome_of(journal)
        assert (told.state, told.source, told.confirmed) == ("refused", "answer", True)
        assert isinstance(told.dial.error, BadRequestError)
        assert (told.dial.error.status, told.dial.error.code) == (400, 34010)
        assert await journal.next_due(ACCOUNT) is None

    async def test_not_sent(self, journal):
        """What was not sent rang no phone."""
        await send(journal, answer=NOT_SENT)

        assert (await outcome_of(journal)).state == "not_placed"

    async def test_unknown(self, journal):
        """What is unknown is searched for three minutes after it can have been sent."""
        await send(journal, answer=UNKNOWN)

        dial = await state_of(journal)
        assert await journal.next_due(ACCOUNT) == dial.not_after + 180.0
        assert isinstance(dial.error, OutcomeUnknownError)

    async def test_refused_after_a_callback(self, journal, caplog):
        """A 4xx after a callback came changes nothing, and is logged."""
        await send(journal)
        await journal.record(receipt("c9", dial="d1"))

        told = await journal.answered("d1", REFUSED)

        assert (told.state, told.call_sid) == ("placed", "c9")
        assert await outcome_of(journal) is None
        assert "its answer says refused" in caplog.text

    @pytest.mark.parametrize("answer", [UNKNOWN, NOT_SENT, REFUSED])
    async def test_never_back_from_placed(self, journal, answer):
        """A dial that is placed stays placed."""
        await send(journal, answer=PLACED)

        assert (await journal.answered("d1", answer)).state == "placed"

    @pytest.mark.parametrize("answer", [PLACED, REFUSED, UNKNOWN, NOT_SENT])
    async def test_twice(self, journal, answer, caplog):
        """Whoever is not sure that an answer was written may write it again."""
        await send(journal, answer=answer)
        before = await state_of(journal)
        caplog.clear()

        assert await journal.answered("d1", answer) == before
        assert "though" not in caplog.text

    async def test_late_answer(self, store, journal):
        """An answer that arrives when others already took over is believed all the same."""
        await send(journal)
        await store.bury(journal)

        assert (await journal.answered("d1", PLACED)).state == "placed"

    async def test_sent_by_nobody(self, journal):
        """An unknown dial always has a horizon."""
        await intend(journal)

        await journal.answered("d1", UNKNOWN)

        assert await journal.next_due(ACCOUNT) == (await state_of(journal)).settle_by is not None


class TestOwnersDeath:
    async def test_intended(self, store, journal):
        """What was only intended was not sent, for certain."""
        await intend(journal)
        await store.bury(journal)

        assert (await state_of(journal)).state == "not_sent"
        assert (await outcome_of(journal)).state == "not_placed"
        assert await journal.sending("d1", patience=5.0) is None

    async def test_sending(self, store, journal):
        """What was being sent may have arrived."""
        await send(journal)
        await store.bury(journal)

        dial = await state_of(journal)
        assert (dial.state, dial.next_check) == ("unknown", dial.not_after + 180.0)
        assert await outcome_of(journal) is None
        assert not await journal.unsent("d1")

    async def test_between_two_tries(self, store, journal):
        """After a 429 nothing was sent, for certain."""
        await send(journal)
        await journal.unsent("d1")
        await store.bury(journal)

        assert (await state_of(journal)).state == "not_sent"

    async def test_placed_by_a_callback(self, store, journal):
        """What a callback has placed stays placed, though its answer will never be known."""
        await send(journal)
        await journal.record(receipt(dial="d1"))
        await store.bury(journal)

        assert (await state_of(journal)).state == "placed"

    async def test_answered(self, store, journal):
        """What is answered is nobody's any more."""
        await send(journal, answer=PLACED)
        before = await state_of(journal)
        await store.bury(journal)

        assert await state_of(journal) == before

    async def test_other_namespace(self, store, journal):
        """Whoever notices takes over, whichever service it serves."""
        other = await store.open(namespace="other")
        await intend(other)
        await store.bury(other)

        assert (await state_of(other)).state == "not_sent"

    async def test_others_go_on(self, store, journal):
        """Who lives loses nothing."""
        other = await store.open()
        await intend(journal)
        await intend(other, "d2", key="order-2")
        await store.bury(other)

        assert await journal.sending("d1", patience=5.0) is not None


class TestFind:
    async def test_unknown(self, journal):
        """A key that was never used is found nowhere."""
        assert await journal.find(ACCOUNT, "order-1") is None

    async def test_with_outcome(self, journal):
        """A dial is found with its outcome."""
        await send(journal, answer=REFUSED)

        record, told = await journal.find(ACCOUNT, "order-1")

        assert record == await state_of(journal)
        assert told.dial == record.dial()

    async def test_no_number_in_sight(self, journal):
        """A dial shows no number and no account."""
        found = await journal.intend(
            new_dial(key="+919876543210", arguments={"to": "+919876543210"}),
            retry_if=(), fits=same,
        )  # fmt: skip

        assert "9876543210" not in repr(found)
        assert ACCOUNT not in repr(found.record)
