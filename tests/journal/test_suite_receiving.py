"""A callback comes in: what is new, what is a copy, what says more, what contradicts."""

from __future__ import annotations

import asyncio

import pytest
from books import TOPICS, answered, claim, claims, intend, outcome_of, receipt, state_of

from exotel_async.journal.receiving import MOST_BODIES
from exotel_async.journal.records import Answered, Recorded
from exotel_async.models.dials import DialState
from exotel_async.wire.callback import decode_callback


async def placed(journal, *, call_sid="c1", ref="d1"):
    await intend(journal, ref)
    await journal.sending(ref, patience=5.0)
    return await journal.answered(ref, Answered(state=DialState.PLACED, call_sid=call_sid))


class TestCopies:
    async def test_copy(self, journal):
        """Exotel may repeat itself; we keep one."""
        first = await journal.record(receipt())
        second = await journal.record(receipt())

        assert (first, second) == (Recorded.NEW, Recorded.DUPLICATE)
        assert len(await claims(journal)) == 1
        assert (await journal.stats())["receipts"] == 1

    async def test_other_encoding(self, journal):
        """The same words in JSON are the same callback."""
        body = b'{"Status": "completed", "CallSid": "c1", "EventType": "terminal"}'
        await journal.record(receipt())
        again = receipt()

        told = await journal.record(
            type(again)(
                event=decode_callback(body), kind=None, ref=None, body=body, query="",
                content_type="application/json",
            )
        )  # fmt: skip

        assert told == Recorded.DUPLICATE

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({"ref": "a"}, {"ref": "b"}),
            ({"ref": "a"}, {}),
            ({"ref": "a"}, {"dial": "a"}),
        ],
    )
    async def test_other_url(self, journal, one, other):
        """The same words through another URL are another callback: none can poison another's."""
        told = [await journal.record(receipt(**one)), await journal.record(receipt(**other))]

        assert told == [Recorded.NEW, Recorded.NEW]
        assert len(await claims(journal)) == 2

    async def test_other_namespace(self, store, journal):
        """Services that share a store see nothing of each other."""
        other = await store.open(namespace="other")
        await journal.record(receipt())

        told = await other.record(receipt())

        assert told == Recorded.NEW
        assert len(await claims(other)) == len(await claims(journal)) == 1

    async def test_copy_after_delivery(self, journal):
        """What has reached its handlers is not delivered again for a copy."""
        await journal.record(receipt())
        await journal.finish(await claim(journal))

        told = await journal.record(receipt())

        assert told == Recorded.DUPLICATE
        assert await claims(journal) == ()

    async def test_many_at_once(self, journal):
        """Copies, updates and news that come together are told apart as if they came alone."""
        coming = [receipt(f"c{i % 7}", To=None if i < 7 else f"{i // 7}") for i in range(28)]

        told = await asyncio.gather(*(journal.record(one) for one in coming))

        assert told.count(Recorded.NEW) == 7
        assert told.count(Recorded.UPDATE) == 21
        assert {one.pairs[-1] for one in await claims(journal)} == {("To", "3")}


class TestIdentity:
    async def test_two_ends(self, journal):
        """A call ends once, whatever else a second terminal callback says."""
        await journal.record(receipt())

        told = await journal.record(receipt(ConversationDuration="7"))

        assert told == Recorded.UPDATE
        only = await claim(journal)
        assert dict(only.pairs)["ConversationDuration"] == "7"

    async def test_each_leg_answers_once(self, journal):
        """Each leg that answers is an event of its own."""
        told = [await journal.record(answered(leg=leg)) for leg in (0, 1, 0, 1)]

        assert told == [Recorded.NEW, Recorded.NEW, Recorded.DUPLICATE, Recorded.DUPLICATE]

    async def test_other_kinds(self, journal):
        """Of what we don't know the kind, all that differs is told."""
        told = [await journal.record(receipt(EventType="ringing", Try=i)) for i in (1, 2, 1)]

        assert told == [Recorded.NEW, Recorded.NEW, Recorded.DUPLICATE]
        assert (await claim(journal)).topic == "callback.other"

    async def test_two_calls(self, journal):
        """The ends of two calls are two events, though the URL is one."""
        await journal.record(receipt("c1", ref="a"))

        assert await journal.record(receipt("c2", ref="a")) == Recorded.NEW


class TestMerging:
    async def test_empty_says_nothing(self, journal):
        """A repeated callback that knows less is no news."""
        await journal.record(receipt(RecordingUrl="https://r/1"))

        told = await journal.record(receipt(RecordingUrl=""))

        assert told == Recorded.DUPLICATE

    async def test_older_one_comes_later(self, journal):
        """Of two that differ the later DateUpdated wins, not the later arrival."""
        await journal.record(receipt(Status="completed", DateUpdated="2026-11-02 12:00:05"))
        await journal.record(
            receipt(Status="failed", DateUpdated="2026-11-02 12:00:01", RecordingUrl="https://r/1")
        )

        pairs = dict((await claim(journal)).pairs)

        assert pairs["Status"] == "completed"
        assert pairs["RecordingUrl"] == "https://r/1"

    async def test_before_delivery(self, journal):
        """What becomes known before anybody was told is told with the rest, once."""
        await journal.record(receipt())
        await journal.record(receipt(To="1"))

        only = await claim(journal, *TOPICS)
        await journal.finish(only)

        assert (only.revision, dict(only.pairs)["To"]) == (2, "1")
        assert await claims(journal) == ()

    async def test_after_delivery(self, journal):
        """What becomes known after delivery is an update, with an id of its own."""
        await journal.record(receipt())
        first = await claim(journal, *TOPICS)
        await journal.finish(first)
        await journal.record(receipt(To="1"))

        assert await claims(journal, *TOPICS) == ()
        update = await claim(journal, "update.terminal")
        assert update.delivery_id != first.delivery_id
        assert dict(update.pairs)["To"] == "1"

    async def test_during_delivery(self, journal):
        """What becomes known while handlers run is an update, after they have finished."""
        await journal.record(receipt())
        first = await claim(journal, *TOPICS)
        await journal.record(receipt(To="1"))

        assert await claims(journal) == ()
        await journal.finish(first, done={"a"})
        assert (await claim(journal)).topic == "update.terminal"

    async def test_dead_letter(self, journal):
        """A dead letter stays one, and knows more when it is replayed."""
        await journal.record(receipt())
        await journal.fail(await claim(journal), error="no", wait=None, done=())
        await journal.record(receipt(To="1"))

        assert await claims(journal) == ()
        await journal.replay()
        assert dict((await claim(journal)).pairs)["To"] == "1"

    async def test_three_revisions(self, journal):
        """Each update has a revision of its own."""
        for i in range(3):
            await journal.record(receipt(To=str(i)))

        assert (await claim(journal)).revision == 3


class TestTooMany:
    async def test_bodies_of_one_ref(self, journal):
        """Who learned one URL cannot fill the disk."""
        told = [
            await journal.record(receipt(ref="a", EventType="odd", Try=i))
            for i in range(MOST_BODIES + 2)
        ]

        assert told.count(Recorded.NEW) == MOST_BODIES
        assert told[-2:] == [Recorded.TOO_MANY] * 2
        assert (await journal.stats())["receipts"] == MOST_BODIES

    async def test_one_ref_for_all_calls(self, journal):
        """A user who has one ref for all calls loses none of them."""
        coming = [receipt(f"c{i}", ref="shop") for i in range(MOST_BODIES + 10)]

        told = [await journal.record(one) for one in coming]
        together = [receipt(f"d{i}", ref="shop") for i in range(MOST_BODIES + 10)]
        told += await asyncio.gather(*(journal.record(one) for one in together))

        assert set(told) == {Recorded.NEW}

    async def test_many_calls_of_one_dial(self, journal):
        """A dial is one call: whatever others its URL is told to be of, there is enough of it."""
        coming = [receipt(f"c{i}", dial="d1") for i in range(MOST_BODIES + 2)]

        told = [await journal.record(one) for one in coming]

        assert told[-2:] == [Recorded.TOO_MANY] * 2

    async def test_copy_of_a_kept_one(self, journal):
        """A copy of what was kept is a copy still."""
        for i in range(MOST_BODIES + 1):
            await journal.record(receipt(ref="a", EventType="odd", Try=i))

        assert await journal.record(receipt(ref="a", EventType="odd", Try=3)) == Recorded.DUPLICATE

    async def test_all_at_once(self, journal):
        """The limit holds for those that are written together as well."""
        coming = [receipt(ref="a", EventType="odd", Try=i) for i in range(2 * MOST_BODIES)]

        told = await asyncio.gather(*(journal.record(one) for one in coming))

        assert told.count(Recorded.NEW) == MOST_BODIES
        assert (await journal.stats())["receipts"] == MOST_BODIES

    async def test_without_a_ref(self, journal):
        """Callbacks that name nothing are not those of one call: no limit is theirs."""
        coming = [receipt(f"c{i}") for i in range(MOST_BODIES + 10)]

        told = await asyncio.gather(*(journal.record(one) for one in coming))

        assert set(told) == {Recorded.NEW}


class TestDials:
    async def test_before_the_answer(self, journal):
        """A callback that comes before connect's answer says that the dial is placed."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)

        await journal.record(receipt("c9", dial="d1"))

        dial = await state_of(journal)
        assert (dial.state, dial.call_sid, dial.sid_source) == ("placed", "c9", "callback")

    async def test_end_is_looked_at_at_once(self, journal, clock):
        """The end of a call is due at once, even if the clock is set back."""
        await placed(journal)
        assert await journal.due("acme", most=9) == ()

        await journal.record(receipt(dial="d1"))
        clock.elapsed -= 3600.0

        (due,) = await journal.due("acme", most=9)
        assert due.ending is not None
        assert due.ending.call_sid == "c1"
        assert due.ending.ref == "d1"

    async def test_contradiction(self, journal):
        """A sid that contradicts the dial's is kept, marked, and not applied."""
        await placed(journal)

        told = await journal.record(receipt("other", dial="d1"))

        assert told == Recorded.CONTRADICTION
        assert (await state_of(journal)).call_sid == "c1"
        assert await claims(journal) == ()

    async def test_refused(self, journal):
        """A refused dial stays refused: what comes for it contradicts."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await journal.answered("d1", Answered(state=DialState.REFUSED))

        told = await journal.record(receipt(dial="d1"))

        assert told == Recorded.CONTRADICTION
        assert (await outcome_of(journal)).state == "refused"

    async def test_lost_answer(self, journal):
        """A callback for an unknown dial says that it was placed; its error is over."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await journal.answered("d1", Answered(state=DialState.UNKNOWN))

        await journal.record(answered("c9", dial="d1"))

        assert (await state_of(journal)).state == "placed"

    async def test_unknown_ref(self, journal):
        """A dial that is not known is no reason to forget a callback."""
        assert await journal.record(receipt(dial="gone")) == Recorded.NEW

    async def test_answer_names_another_call(self, journal):
        """Exotel's answer weighs more than a callback: what contradicted is applied after all."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await journal.record(receipt("wrong", dial="d1"))
        assert await journal.record(receipt("right", dial="d1")) == Recorded.CONTRADICTION

        await journal.answered("d1", Answered(state=DialState.PLACED, call_sid="right"))

        (due,) = await journal.due("acme", most=9)
        assert due.record.call_sid == due.ending.call_sid == "right"
        assert await journal.record(receipt("wrong", dial="d1", To="1")) == Recorded.CONTRADICTION

    async def test_user_ref_that_looks_like_a_dial(self, journal):
        """A ref of the user's own cannot speak for a dial of that name."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)

        await journal.record(receipt("forged", ref="d1"))

        assert (await state_of(journal)).state == "sending"


class TestReject:
    async def rejected(self, journal):
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await journal.answered("d1", Answered(state=DialState.UNKNOWN))
        await journal.record(receipt("forged", dial="d1"))
        await journal.due("acme", most=9)
        await journal.reject("d1", call_sid="forged")

    async def test_back_to_unknown(self, journal):
        """A sid that Exotel denies is taken back, and the dial's call is searched for."""
        await self.rejected(journal)

        dial = await state_of(journal)
        assert (dial.state, dial.call_sid) == ("unknown", None)
        assert dial.next_check == dial.not_after + 180.0

    async def test_it_comes_again(self, journal):
        """What Exotel denied is not believed the second time."""
        await self.rejected(journal)

        told = await journal.record(receipt("forged", dial="d1", To="1"))

        assert told == Recorded.CONTRADICTION
        assert (await state_of(journal)).state == "unknown"

    async def test_the_right_one_had_contradicted(self, journal):
        """What contradicted the forged sid is believed when that is gone."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await journal.record(receipt("forged", dial="d1"))
        await journal.record(receipt("right", dial="d1"))

        await journal.reject("d1", call_sid="forged")

        dial = await state_of(journal)
        assert (dial.state, dial.call_sid) == ("placed", "right")

    async def test_the_answer_was_not_forged(self, journal):
        """A sid that Exotel's answer named is not rejected."""
        await placed(journal)

        await journal.reject("d1", call_sid="c1")

        assert (await state_of(journal)).call_sid == "c1"

    async def test_never_sent(self, journal, store):
        """A dial that was never sent is not unknown after a forged callback was found out."""
        await intend(journal)
        await store.bury(journal)
        await journal.record(receipt("forged", dial="d1"))

        await journal.reject("d1", call_sid="forged")

        assert (await state_of(journal)).state == "not_sent"
        assert (await outcome_of(journal)).state == "not_placed"

    async def test_while_it_is_intended(self, journal):
        """What a forged callback kept from being sent was not sent, and that is told."""
        await intend(journal)
        await journal.record(receipt("forged", dial="d1"))
        assert await journal.sending("d1", patience=5.0) is None

        await journal.reject("d1", call_sid="forged")

        assert (await outcome_of(journal)).state == "not_placed"
