"""Events go to their handlers: one call at a time, counted tries, fences, dead letters."""

from __future__ import annotations

import asyncio

import pytest
from books import EVERYTHING, TOPICS, TRIES, answered, claim, claims, receipt

from exotel_async.journal.delivering import FARTHEST

NUMBER = "+919876543210"  # as a ref: it is masked wherever it might be shown


async def fail(journal, taken, *, wait=5.0, done=(), error="no"):
    return await journal.fail(taken, error=error, wait=wait, done=done)


class TestClaim:
    async def test_one_of_each_call(self, journal):
        """A call is worked on by one at a time, its events in the order of their commits."""
        for coming in (answered("c1"), receipt("c1"), answered("c2")):
            await journal.record(coming)

        first = await claims(journal)
        assert [taken.topic for taken in first] == ["callback.answered"] * 2
        assert await claims(journal) == ()

        await journal.finish(first[0])
        assert (await claim(journal)).topic == "callback.terminal"

    async def test_registered_topics_only(self, journal):
        """Nothing is claimed for which nobody has a handler, nor does it hold up the rest."""
        await journal.record(answered())
        await journal.record(receipt())

        assert (await claim(journal, "callback.terminal")).topic == "callback.terminal"

    async def test_no_topics(self, journal):
        """Who has no handlers gets nothing."""
        await journal.record(receipt())

        assert await journal.claim((), most=9, tries=3) == ()
        assert await journal.next_event(()) is None

    async def test_most(self, journal):
        """Nobody gets more than asked for, and the oldest first."""
        for i in range(5):
            await journal.record(receipt(f"c{i}"))

        taken = await claims(journal, most=2) + await claims(journal, most=2)

        assert [dict(one.pairs)["CallSid"] for one in taken] == ["c0", "c1", "c2", "c3"]

    async def test_many_events_of_one_call(self, journal):
        """A call with many events does not hide the others for ever."""
        for i in range(10):
            await journal.record(receipt("c0", EventType="odd", Try=i))
        await journal.record(receipt("c1"))

        taken = await claims(journal, most=2) + await claims(journal, most=2)

        assert {dict(one.pairs)["CallSid"] for one in taken} == {"c0", "c1"}

    async def test_shared_out(self, store, journal):
        """What one has claimed, another does not get."""
        other = await store.open()
        for i in range(4):
            await journal.record(receipt(f"c{i}"))

        both = await asyncio.gather(claims(journal, most=3), claims(other, most=3))

        taken = [dict(one.pairs)["CallSid"] for one in (*both[0], *both[1])]
        assert sorted(taken) == ["c0", "c1", "c2", "c3"]

    async def test_what_it_says(self, journal, clock):
        """A claim brings all that its handlers need."""
        coming = receipt(ref=NUMBER)
        await journal.record(coming)
        clock.elapsed += 7.0

        taken = await claim(journal)

        assert (taken.ref, taken.attempts, taken.revision) == (NUMBER, 1, 1)
        assert taken.waited == pytest.approx(7.0)
        assert taken.pairs == coming.event.pairs
        assert NUMBER not in repr(taken)

    async def test_clock_set_back(self, journal, clock):
        """What came in while the clock was an hour ahead is delivered at once."""
        clock.elapsed += 3600.0
        await journal.record(receipt())
        clock.elapsed -= 3600.0

        assert await journal.next_event(EVERYTHING) <= clock.now().timestamp()
        assert await claims(journal) != ()

    async def test_retry_left_by_a_wrong_clock(self, journal, clock):
        """A retry farther ahead than any may be was left by a clock that was wrong."""
        clock.elapsed += 2 * FARTHEST
        await journal.record(receipt())
        await fail(journal, await claim(journal))
        clock.elapsed -= 2 * FARTHEST

        assert await journal.next_event(EVERYTHING) <= clock.now().timestamp()
        assert await claims(journal) != ()


class TestTries:
    async def test_counted_at_claim(self, store, journal):
        """A handler that kills its process does not do so for ever."""
        await journal.record(receipt())
        for attempt in range(1, TRIES + 1):
            assert (await claim(journal)).attempts == attempt
            await store.bury(journal)

        assert await claims(journal) == ()
        (letter,) = await journal.dead_letters()
        assert letter.attempts == TRIES
        assert "process ended" in letter.error

    async def test_poison_does_not_hide_the_next(self, store, journal):
        """Behind a dead letter the next event is found by the same claim."""
        await journal.record(receipt("c0"))
        for _ in range(TRIES):
            await claim(journal)
            await store.bury(journal)
        await journal.record(receipt("c1"))

        assert dict((await claim(journal)).pairs)["CallSid"] == "c1"

    async def test_innocent_neighbours(self, store, journal):
        """What was under way beside a poison does not die with it: suspects go one at a time."""
        for i in range(5):
            await journal.record(receipt(f"c{i}"))
        for _ in range(TRIES):
            assert "c0" in {dict(one.pairs)["CallSid"] for one in await claims(journal)}
            await store.bury(journal)

        handled = []
        while taken := await claims(journal):
            handled += [dict(one.pairs)["CallSid"] for one in taken]
            for one in taken:
                await journal.finish(one)

        assert sorted(handled) == ["c1", "c2", "c3", "c4"]
        assert [letter.call_sid for letter in await journal.dead_letters()] == ["c0"]

    async def test_suspects_hold_up_nobody(self, store, journal):
        """While one suspect is tried, fresh events are claimed, and other suspects not due."""
        for i in range(2):
            await journal.record(receipt(f"c{i}"))
        await claims(journal)
        await store.bury(journal)

        (suspect,) = await claims(journal)
        assert await journal.next_event(EVERYTHING) is None
        await journal.record(receipt("c2"))
        (fresh,) = await claims(journal)
        await journal.finish(suspect)
        (other,) = await claims(journal)

        sids = [dict(one.pairs)["CallSid"] for one in (suspect, fresh, other)]
        assert sids == ["c0", "c2", "c1"]

    async def test_retries_hold_up_no_suspect(self, store, journal, clock):
        """What failed in a known way and is tried again keeps no suspect from its next try."""
        await journal.record(receipt("c0"))
        await claims(journal)
        await store.bury(journal)
        await journal.record(answered("c1"))
        await fail(journal, await claim(journal, "callback.answered"))
        clock.elapsed += 5.0

        assert (await claim(journal, "callback.answered")).attempts == 2
        assert (await claim(journal)).attempts == 2

    async def test_stuck_holds_up_no_suspect(self, store, journal):
        """A suspect whose handler never ends stays claimed; others have their turn, it no more."""
        for i in range(2):
            await journal.record(receipt(f"c{i}"))
        await claims(journal)
        await store.bury(journal)
        first = await claim(journal)

        assert await journal.stuck(first, error="a: does not end", done={"b"})
        second = await claim(journal)

        assert second.event_id != first.event_id
        assert await claims(journal) == ()
        await store.bury(journal)
        again = await claims(journal)
        assert [(one.event_id, one.done) for one in again] == [
            (first.event_id, {"b"}), (second.event_id, frozenset()),
        ]  # fmt: skip
        assert not await journal.stuck(first, error="a: does not end", done=())

    async def test_fewer_tries_than_before(self, journal, clock):
        """The error of the last try is kept where the number of tries was lowered since."""
        await journal.record(receipt())
        await fail(journal, await claim(journal), error="handler a: no")
        clock.elapsed += 5.0

        assert await claims(journal, tries=1) == ()
        (letter,) = await journal.dead_letters()
        assert letter.error == "handler a: no"

    async def test_again_later(self, journal, clock):
        """What failed is tried again in its time, and knows who has seen it."""
        await journal.record(receipt())
        await fail(journal, await claim(journal), wait=30.0, done={"a"})

        assert await claims(journal) == ()
        assert await journal.next_event(TOPICS) == clock.now().timestamp() + 30.0
        clock.elapsed += 30.0
        again = await claim(journal)
        assert (again.attempts, again.done) == (2, frozenset({"a"}))

    async def test_does_not_hold_up_the_next(self, journal):
        """A failed event is retried later; the next of its call is not held up."""
        await journal.record(answered())
        await journal.record(receipt())
        await fail(journal, await claim(journal))

        assert (await claim(journal)).topic == "callback.terminal"

    async def test_waits_too_long(self, journal, clock):
        """No retry lies farther ahead than a clock that was set back can be told from."""
        await journal.record(receipt())
        await fail(journal, await claim(journal), wait=1e9)

        assert await journal.next_event(TOPICS) == clock.now().timestamp() + FARTHEST
        assert await claims(journal) == ()

    async def test_release(self, journal):
        """What is given back was not tried."""
        await journal.record(receipt())
        await journal.release(await claim(journal), done={"a"})

        again = await claim(journal)

        assert (again.attempts, again.done) == (1, frozenset({"a"}))

    async def test_progress(self, store, journal):
        """Handlers that finished are not run again, though the process dies."""
        await journal.record(receipt())
        assert await journal.progress(await claim(journal), done={"a"})
        await store.bury(journal)

        assert (await claim(journal)).done == frozenset({"a"})


class TestUpdatesBetweenTries:
    async def test_who_saw_less_is_told(self, journal, clock):
        """Who saw an event before it knew more gets the rest as an update; the others don't."""
        await journal.record(receipt())
        await fail(journal, await claim(journal), done={"a"})  # b failed
        await journal.record(receipt(To="1"))
        clock.elapsed += 5.0

        again = await claim(journal, *TOPICS)
        assert again.done == frozenset({"a"})
        await journal.finish(again, done={"a", "b"})

        update = await claim(journal, "update.terminal")
        assert update.done == frozenset({"b"})
        await journal.finish(update, done={"a", "b"})
        assert await claims(journal) == ()

    async def test_handler_that_is_gone(self, journal, clock):
        """A handler that a new release has no more does not make updates go on for ever."""
        await journal.record(receipt())
        await fail(journal, await claim(journal), done={"gone"})
        await journal.record(receipt(To="1"))
        clock.elapsed += 5.0

        await journal.finish(await claim(journal), done={"gone", "b"})
        await journal.finish(await claim(journal), done={"b"})

        assert await claims(journal) == ()

    async def test_news_while_the_last_try_fails(self, journal):
        """What became known during the last try has all its tries before it."""
        await journal.record(receipt())
        taken = await claim(journal)
        await journal.record(receipt(To="1"))

        await fail(journal, taken, wait=None)

        assert await journal.dead_letters() == ()
        assert (await claim(journal)).attempts == 1

    async def test_second_update_while_the_first_is_told(self, journal):
        """Each telling that nobody has seen yet is told."""
        await journal.record(receipt())
        await journal.finish(await claim(journal), done={"a"})
        await journal.record(receipt(To="1"))
        update = await claim(journal)
        await journal.record(receipt(To="2"))
        await journal.finish(update, done={"a"})

        last = await claim(journal)
        assert (last.revision, last.done) == (3, frozenset())
        await journal.finish(last, done={"a"})
        assert await claims(journal) == ()


class TestFence:
    @pytest.mark.parametrize(
        "mark",
        [
            lambda journal, taken: journal.finish(taken),
            lambda journal, taken: journal.progress(taken, done={"a"}),
            lambda journal, taken: journal.release(taken, done={"a"}),
            lambda journal, taken: fail(journal, taken),
            lambda journal, taken: fail(journal, taken, wait=None),
        ],
        ids=["finish", "progress", "release", "fail", "fail for good"],
    )
    async def test_late_mark(self, store, journal, mark):
        """Who was thought dead marks nothing any more."""
        other = await store.open()
        await journal.record(receipt())
        late = await claim(journal)
        await store.bury(journal)
        again = await claim(other)

        assert not await mark(journal, late)

        assert await other.finish(again)
        assert await claims(other) == ()
        assert await other.dead_letters() == ()

    async def test_somebody_elses(self, store, journal):
        """A claim serves whoever made it, and nobody else."""
        other = await store.open()
        await journal.record(receipt())
        taken = await claim(journal)

        assert not await other.finish(taken)
        assert await journal.finish(taken)

    async def test_twice(self, journal):
        """A claim is marked once."""
        await journal.record(receipt())
        taken = await claim(journal)

        assert await journal.finish(taken)
        assert not await journal.finish(taken)
        assert not await fail(journal, taken)

    async def test_fences_grow(self, journal):
        """No two claims have the same fence."""
        fences = []
        for i in range(3):
            await journal.record(receipt(f"c{i}"))
            taken = await claim(journal)
            fences.append(taken.fence)
            await journal.finish(taken)

        assert fences == sorted(set(fences))


class TestDeadLetters:
    async def dead(self, journal, *call_sids, ref=None):
        for call_sid in call_sids:
            await journal.record(receipt(call_sid, ref=ref))
            await fail(journal, await claim(journal), wait=None, error=f"no {call_sid}")

    async def test_list(self, journal, clock):
        """What was given up is listed with its error, the oldest first."""
        await self.dead(journal, "c1", "c2", ref=NUMBER)

        first, second = await journal.dead_letters()

        assert [first.call_sid, second.call_sid] == ["c1", "c2"]
        assert (first.error, first.attempts, first.ref) == ("no c1", 1, NUMBER)
        assert first.received_at == clock.now().timestamp()
        assert NUMBER not in repr(first)
        assert len(await journal.dead_letters(most=1)) == 1

    async def test_replay_all(self, journal):
        """Replayed letters have all their tries before them."""
        await self.dead(journal, "c1", "c2")

        assert await journal.replay() == 2

        assert {taken.attempts for taken in await claims(journal)} == {1}
        assert await journal.dead_letters() == ()

    async def test_replay_some(self, journal):
        """Only those named are replayed, and only letters that are dead."""
        await self.dead(journal, "c1", "c2")
        first, _ = await journal.dead_letters()

        assert await journal.replay([first.id, 999]) == 1
        assert await journal.replay([first.id]) == 0

    async def test_replay_knows_who_has_seen_it(self, journal):
        """Handlers that finished before it died are not run again."""
        await journal.record(receipt())
        await fail(journal, await claim(journal), wait=None, done={"a"})

        await journal.replay()

        assert (await claim(journal)).done == frozenset({"a"})

    async def test_others_namespace(self, store, journal):
        """Another service's letters are none of ours."""
        other = await store.open(namespace="other")
        await self.dead(journal, "c1")

        assert await other.dead_letters() == ()
        assert await other.replay() == 0


class TestChanged:
    async def test_after_the_fact(self, journal):
        """What was committed since is known at once."""
        version = journal.version
        await journal.record(receipt())

        assert await journal.changed(since=version, within=0.0)

    async def test_nothing_happens(self, journal):
        """Where nothing is committed, time alone ends the wait."""
        await journal.record(receipt())
        version = await quiet(journal)

        assert not await journal.changed(since=version, within=1.0)

    async def test_looking_is_no_change(self, journal):
        """Who claims in vain does not wake himself: that would never end."""
        version = await quiet(journal)
        await claims(journal)
        await journal.due("acme", most=9)

        assert not await journal.changed(since=version, within=1.0)

    async def test_woken(self, journal):
        """Who waits is woken by the next commit."""
        version = await quiet(journal)
        waiting = asyncio.create_task(journal.changed(since=version, within=None))
        await asyncio.sleep(0)

        await journal.record(receipt())

        assert await asyncio.wait_for(waiting, 10.0)


async def quiet(journal):
    """Look once, so that whatever others had committed before is known; then tell the version."""
    await journal.changed(since=journal.version, within=0.0)
    async with asyncio.timeout(10.0):
        while True:
            version = journal.version
            await journal.claim((), most=1, tries=1)
            if version == journal.version:
                return version
