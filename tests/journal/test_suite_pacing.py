"""Requests leave at a pace that all who share the books keep together."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from books import ACCOUNT
from campaign import examples
from clocks import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import ConfigurationError
from exotel_async.journal import MemoryJournal
from exotel_async.journal.pacing import WINDOW, Pace, wait_for


async def leave(journal, clock, *, most, times=1):
    """Leave so often, one after the other; tell when."""
    pacer = journal.pacer(ACCOUNT, requests_per_minute=most)
    left = []
    for _ in range(times):
        await pacer.reserve()
        left.append(clock.elapsed)
    return left


class TestReserve:
    async def test_burst(self, journal, clock):
        """So many leave at once, the next when the first is a minute old."""
        left = await leave(journal, clock, most=3, times=4)

        assert left == pytest.approx([0.0, 0.0, 0.0, WINDOW])

    async def test_shared(self, store, journal, clock):
        """All who share the books are counted together."""
        other = await store.open()
        await leave(journal, clock, most=2, times=2)

        assert await other.reserve(ACCOUNT, most=2) == pytest.approx(WINDOW)

    async def test_other_namespace(self, store, journal, clock):
        """The account's limit is Exotel's: services share it."""
        other = await store.open(namespace="other")
        await leave(journal, clock, most=1)

        assert await other.reserve(ACCOUNT, most=1) > 0

    async def test_other_account(self, journal, clock):
        """Each account has a limit of its own."""
        await leave(journal, clock, most=1)

        assert await journal.reserve("other", most=1) == 0

    async def test_refused_takes_no_place(self, journal, clock):
        """Who finds no place takes none."""
        await leave(journal, clock, most=1)
        for _ in range(5):
            await journal.reserve(ACCOUNT, most=1)
        clock.elapsed += WINDOW

        assert await journal.reserve(ACCOUNT, most=1) == 0

    async def test_many_at_once(self, journal, clock):
        """Tasks leave one after the other, first come first served."""
        pacer = journal.pacer(ACCOUNT, requests_per_minute=2)
        left = []

        async def go(name):
            await pacer.reserve()
            left.append((name, clock.elapsed))

        await asyncio.gather(*(go(i) for i in range(5)))

        assert [name for name, _ in left] == list(range(5))
        assert [when for _, when in left] == pytest.approx([0, 0, WINDOW, WINDOW, 2 * WINDOW])

    @pytest.mark.parametrize("shift", [-3600.0, 3600.0])
    async def test_clock_is_set(self, journal, clock, shift):
        """A clock that is set by an hour makes nobody wait for an hour."""
        await leave(journal, clock, most=2, times=2)
        await journal.hold(ACCOUNT, seconds=30.0)
        clock.elapsed += shift

        assert await journal.reserve(ACCOUNT, most=2) <= WINDOW


class TestHold:
    async def test_held(self, store, journal, clock):
        """After a 429 nobody leaves for so long, whoever was told."""
        other = await store.open()
        await journal.hold(ACCOUNT, seconds=30.0)

        assert await other.reserve(ACCOUNT, most=9) == pytest.approx(30.0)
        clock.elapsed += 30.0
        assert await other.reserve(ACCOUNT, most=9) == 0

    async def test_longer_one_stays(self, journal):
        """A shorter hold does not end a longer one."""
        await journal.hold(ACCOUNT, seconds=30.0)
        await journal.hold(ACCOUNT, seconds=5.0)

        assert await journal.reserve(ACCOUNT, most=9) == pytest.approx(30.0)

    async def test_by_the_pacer(self, journal, clock):
        """A client's pacer holds all others."""
        await journal.pacer(ACCOUNT).hold(30.0)

        assert await leave(journal, clock, most=9) == pytest.approx([30.0])


class TestPacer:
    @pytest.mark.parametrize("most", [0, -1, True, 1.5, "200"])
    def test_limits(self, most):
        """A pace is a whole number of at least one."""
        with pytest.raises(ConfigurationError, match="requests_per_minute"):
            MemoryJournal().pacer(ACCOUNT, requests_per_minute=most)

    @pytest.mark.parametrize("account", [None, "", " "])
    def test_account(self, account):
        """Nobody's requests can't be counted."""
        with pytest.raises(ConfigurationError, match="account"):
            MemoryJournal().pacer(account)


class TestWaitFor:
    @examples(200)
    @given(
        most=st.integers(1, 5),
        pauses=st.lists(st.floats(0, 90) | st.sampled_from([0.0, 60.0, WINDOW]), max_size=40),
    )
    def test_any_minute(self, most, pauses):
        """In no minute leave more than allowed, however they come; and nobody waits in vain."""
        now, left = 0.0, []
        for pause in pauses:
            now += pause
            wait = wait_for(Pace(ring=left), most=most, now=now)
            if wait:
                assert len([one for one in left if one > now - WINDOW]) >= most
                now += wait
            assert wait_for(Pace(ring=left), most=most, now=now) <= 0.001
            left.append(now)

        assert all(later - first >= 60.0 for first, later in zip(left, left[most:], strict=False))

    @examples(200)
    @given(
        ring=st.lists(st.floats(0, 1e6), max_size=9).map(sorted),
        held=st.tuples(st.floats(0, 1e6), st.floats(0, 300)),
        now=st.floats(0, 1e6),
        most=st.integers(1, 5),
    )
    def test_clock_may_be_anywhere(self, ring, held, now, most):
        """Whatever the clock was, nobody waits longer than two minutes, or the hold."""
        pace = Pace(ring=ring, held_at=held[0], held_until=sum(held))

        assert 0.0 <= wait_for(pace, most=most, now=now) <= max(2 * WINDOW, held[1]) + 0.001

    def test_shortest_wait(self):
        """Who waits less than a clock can tell would ask for ever."""
        assert wait_for(Pace(ring=[1e9]), most=1, now=1e9 + WINDOW - 1e-7) == pytest.approx(0.001)

    def test_virtual_minute(self):
        """Whole campaigns keep the pace."""
        clock = FakeClock()

        async def run():
            async with MemoryJournal(clock=clock) as journal:
                return await leave(journal, clock, most=7, times=50)

        left = asyncio.run(run())

        assert all(later >= first for first, later in pairwise(left))
        assert all(later - first >= 60.0 for first, later in zip(left, left[7:], strict=False))
