"""Whose a call is that was found: what all services of an account know, and one match for each."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from books import ACCOUNT, intend, outcome, outcome_of, receipt, state_of
from clocks import NOON

from exotel_async import OutcomeUnknownError
from exotel_async.errors import JournalError
from exotel_async.journal.records import Answered, Recorded
from exotel_async.models.dials import DialState

NOW = NOON.timestamp()
PLACED = Answered(state=DialState.PLACED, call_sid="c1")
UNKNOWN = Answered(state=DialState.UNKNOWN, error=OutcomeUnknownError("lost"))
REFUSED = Answered(state=DialState.REFUSED)


async def send(journal, ref="d1", answer: Answered | None = UNKNOWN, **options):
    await intend(journal, ref, key=f"key of {ref}", **options)
    await journal.sending(ref, patience=5.0)
    if answer is not None:
        await journal.answered(ref, answer)


async def erased(journal, clock):
    """Have a dial that is over, and old enough to be erased."""
    await send(journal, "d1", PLACED)
    await journal.conclude(outcome(await state_of(journal)))
    (claim,) = await journal.claim((f"outcome.{ACCOUNT}",), most=9, tries=3)
    await journal.finish(claim)
    clock.elapsed += 40 * 86_400
    await journal.prune()


async def read(journal, *sids, first=NOW - 60, last=NOW + 400, account=ACCOUNT):
    return await journal.neighbours(account, first=first, last=last, sids=sids)


def refs(neighbours) -> list[str]:
    return [one.record.ref for one in neighbours]


class TestNeighbours:
    async def test_rivals(self, journal):
        """All whose call nobody knows are rivals; those that are known or never were are not."""
        await send(journal, "unknown")
        await send(journal, "sending", None)
        await send(journal, "between tries", None)
        await journal.unsent("between tries")
        await send(journal, "placed", PLACED)
        await send(journal, "refused", REFUSED)
        await intend(journal, "intended", key="k9")

        found = await read(journal)

        assert refs(found.rivals) == ["between tries", "sending", "unknown"]
        assert found.rivals[2].record == await state_of(journal, "unknown")
        assert (found.owners, found.pruned) == ((), frozenset())

    async def test_doubtful_ones(self, journal):
        """One whose sid only a callback named is a rival until its record was read."""
        await send(journal)
        await journal.record(receipt("c1", dial="d1"))
        before = await read(journal, "c1")
        await journal.conclude(outcome(await state_of(journal), confirmed=False))
        unconfirmed = await read(journal, "c1")
        await journal.conclude(outcome(await state_of(journal), confirmed=True))
        after = await read(journal, "c1")

        assert [refs(one.rivals) for one in (before, unconfirmed, after)] == [["d1"], ["d1"], []]
        assert [one.owners[0].sure for one in (before, unconfirmed, after)] == [False, False, True]

    async def test_other_services(self, store, journal):
        """Those of other namespaces count, and are told apart; other accounts do not."""
        other = await store.open(namespace="other")
        await send(journal)
        await send(other, "d2")
        await send(other, "d3", PLACED)
        await send(journal, "d4", account="another")

        found = await read(journal, "c1")

        assert [(one.record.ref, one.ours) for one in found.rivals] == [("d1", True), ("d2", False)]
        assert [(one.record.ref, one.ours, one.sure) for one in found.owners] == [
            ("d3", False, True)
        ]
        assert refs((await read(journal, account="another")).rivals) == ["d4"]

    @pytest.mark.parametrize(("hours", "seen"), [(0.5, True), (3, False), (-3, False)])
    async def test_times(self, journal, hours, seen):
        """Only those that were sent about then are read."""
        await send(journal)
        moment = NOW + hours * 3600

        assert refs((await read(journal, first=moment, last=moment)).rivals) == ["d1"] * seen

    async def test_many_sids(self, journal):
        """However many calls were found, each is looked up."""
        await send(journal, "d1", PLACED)
        await send(journal, "d2", attrs.evolve(PLACED, call_sid="x1999"))

        found = await read(journal, "c1", *(f"x{i}" for i in range(2000)))

        assert sorted(refs(found.owners)) == ["d1", "d2"]

    async def test_pruned(self, journal, clock):
        """A call of a dial that was erased is still known by its key."""
        await erased(journal, clock)

        found = await read(journal, "c1", "c2")

        assert await journal.look("d1") is None
        assert (found.owners, found.pruned) == ((), {"c1"})

    async def test_heard(self, journal):
        """It is told of which dials a callback came, even one that was of no use."""
        await send(journal)
        await send(journal, "d2")
        await journal.record(receipt("made up", dial="d1"))
        await journal.reject("d1", call_sid="made up")

        found = await read(journal)

        assert [(one.record.ref, one.heard) for one in found.rivals] == [
            ("d1", True),
            ("d2", False),
        ]


class TestWitnesses:
    async def test_nearest_first(self, journal, clock):
        """Those come first that were sent nearest to the moment, up to so far away."""
        for i in range(4):
            await send(journal, f"d{i}", attrs.evolve(PLACED, call_sid=f"c{i}"))
            await journal.conclude(outcome(await state_of(journal, f"d{i}")))
            clock.elapsed += 100

        found = await journal.witnesses(ACCOUNT, near=NOW + 190, within=150)

        assert [one.ref for one in found] == ["d2", "d1", "d3"]

    async def test_only_what_the_list_shows(self, journal, clock):
        """Only calls that are over, and of which Exotel named the sid, must be in the list."""
        await send(journal, "going on", PLACED)
        await send(journal, "unknown")
        await send(journal, "hearsay")
        await journal.record(receipt("c2", dial="hearsay"))
        await journal.conclude(outcome(await state_of(journal, "hearsay")))

        early = await journal.witnesses(ACCOUNT, near=NOW, within=60)
        clock.elapsed += 3605
        late = await journal.witnesses(ACCOUNT, near=NOW, within=60)

        assert early == ()
        assert [one.ref for one in late] == ["going on"]


class TestMatch:
    async def test_found(self, journal):
        """An unknown dial is given its call, and is placed."""
        await send(journal)

        told = await journal.match("d1", call_sid="c1")

        assert told == await state_of(journal)
        assert (told.state, told.call_sid, told.sid_source) == ("placed", "c1", "match")
        assert told.error is None
        assert await journal.next_due(ACCOUNT) == NOW

    @pytest.mark.parametrize("answer", [None, PLACED, REFUSED])
    async def test_not_unknown(self, journal, answer):
        """One that is not unknown, or not any more, is given nothing."""
        await send(journal, "d1", answer)
        before = await state_of(journal)

        assert await journal.match("d1", call_sid="c2") is None
        assert await state_of(journal) == before

    async def test_callback_was_faster(self, journal):
        """A callback outweighs a match that comes after it."""
        await send(journal)
        await journal.record(receipt("c2", dial="d1"))

        assert await journal.match("d1", call_sid="c1") is None
        assert (await state_of(journal)).call_sid == "c2"

    async def test_no_such_dial(self, store, journal):
        """Nobody matches what is not there, or another service's."""
        other = await store.open(namespace="other")
        await send(other)

        assert await journal.match("gone", call_sid="c1") is None
        assert await journal.match("d1", call_sid="c1") is None

    @pytest.mark.parametrize("how", ["answer", "callback", "match"])
    async def test_known_elsewhere(self, store, journal, how):
        """A call that is any dial's of the account, however known, is given to no other."""
        other = await store.open(namespace="other")
        await send(journal)
        await send(other, "d2", PLACED if how == "answer" else UNKNOWN)
        if how == "callback":
            await other.record(receipt("c1", dial="d2"))
        if how == "match":
            await other.match("d2", call_sid="c1")

        assert await journal.match("d1", call_sid="c1") is None
        assert (await state_of(journal)).state == "unknown"

    async def test_known_of_one_that_is_erased(self, journal, clock):
        """A call that was a dial's which is erased is given to no other."""
        await erased(journal, clock)
        await send(journal, "d2")

        assert await journal.match("d2", call_sid="c1") is None

    async def test_other_account(self, journal):
        """Sids are an account's own."""
        await send(journal)
        await send(journal, "d2", PLACED, account="another")

        assert await journal.match("d1", call_sid="c1") is not None

    async def test_two_at_once(self, store, journal):
        """Of many dials that are given one call at once, one gets it."""
        journals = [journal, await store.open()]
        for i in range(8):
            await send(journals[i % 2], f"d{i}")

        told = await asyncio.gather(
            *(journals[i % 2].match(f"d{i}", call_sid="c1") for i in range(8)),
            return_exceptions=True,
        )

        assert len([one for one in told if one and not isinstance(one, BaseException)]) == 1
        assert all(isinstance(one, JournalError) for one in told if isinstance(one, BaseException))
        states = [(await state_of(journal, f"d{i}")).call_sid for i in range(8)]
        assert states.count("c1") == 1

    @pytest.mark.parametrize("verdict", ["unresolved", "not_placed"])
    async def test_corrects_an_absence(self, journal, verdict):
        """What was found corrects what could not be, once."""
        await send(journal)
        await journal.conclude(outcome(await state_of(journal), verdict))

        told = await journal.match("d1", call_sid="c1")
        await journal.conclude(outcome(told, source="match"))

        found = await outcome_of(journal)
        assert (found.state, found.source, found.revision) == ("ended", "match", 2)

    async def test_callback_afterwards(self, journal):
        """A callback with the same sid is taken in, one with another contradicts it."""
        await send(journal)
        await journal.match("d1", call_sid="c1")

        assert await journal.record(receipt("c1", dial="d1")) == Recorded.NEW
        assert await journal.record(receipt("c2", dial="d1")) == Recorded.CONTRADICTION
        assert (await state_of(journal)).call_sid == "c1"
        assert (await state_of(journal)).sid_source == "match"

    async def test_answer_afterwards(self, journal):
        """Connect's own answer, late, is believed all the same."""
        await send(journal)
        await journal.match("d1", call_sid="c1")
        await journal.answered("d1", attrs.evolve(PLACED, call_sid="c2"))

        told = await state_of(journal)
        assert (told.call_sid, told.sid_source) == ("c2", "answer")
