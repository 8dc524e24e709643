"""Records in bulk: in order, none twice, none missing, and nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import IST, Call, CallList, CallPage, ExotelClient, UnreadableAnswerError
from exotel_async.client.call_list import Order
from exotel_async.simulator import Simulator
from exotel_async.wire.bulk import BulkQuery, bulk_query

START = datetime(2026, 10, 1, tzinfo=IST)
NOW = datetime(2026, 11, 2, 12, tzinfo=IST)


def call(sid: str, *, minute: float | None = 0) -> Call:
    created = None if minute is None else START + timedelta(minutes=minute)
    return Call(sid=sid, date_created=created)


class Pages:
    """A carrier that has pages to hand out; `asked` lists the cursors it was asked for."""

    def __init__(self, *pages: CallPage) -> None:
        self.pages = pages
        self.asked: list[str | None] = []

    async def __call__(self, query: BulkQuery, after: str | None) -> CallPage:
        self.asked.append(after)
        await asyncio.sleep(0)
        return self.pages[int(after or 0)]


def pages_of(*contents: list[Call]) -> Pages:
    last = len(contents) - 1
    return Pages(
        *(
            CallPage(calls=tuple(calls), after=str(n + 1) if n < last else None, total=99)
            for n, calls in enumerate(contents)
        )
    )


def listing(
    fetch: Any, *, limit: int | None = None, concurrency: int = 1, **filters: Any
) -> CallList:
    async def paced(query: BulkQuery, after: str | None, leaves: Callable[[], None]) -> CallPage:
        leaves()
        return await fetch(query, after)

    order = Order(
        query=bulk_query(now=NOW, **filters),
        fetch=paced,
        asked_at=NOW,
        concurrency=concurrency,
        limit=limit,
    )
    return CallList(order)


async def sids(calls: CallList) -> list[str]:
    return [call.sid async for call in calls]


class TestCallList:
    """Reading page after page."""

    async def test_follows_the_cursors(self) -> None:
        """Each page's cursor asks for the next; the last one has none."""
        fetch = pages_of([call("a"), call("b")], [call("c")])

        assert await sids(listing(fetch)) == ["a", "b", "c"]
        assert fetch.asked == [None, "1"]

    async def test_nothing_before_it_is_read(self) -> None:
        """Making a list asks nothing, and a page is fetched only when its turn comes."""
        fetch = pages_of([call("a")], [call("b")])
        calls = aiter(listing(fetch))
        assert fetch.asked == []

        await anext(calls)

        assert fetch.asked == [None]

    async def test_each_loop_begins_anew(self) -> None:
        """A list may be read twice."""
        calls = listing(pages_of([call("a")], [call("b")]))

        assert await sids(calls) == await sids(calls) == ["a", "b"]

    async def test_limit(self) -> None:
        """A limit cuts the last page and asks for no further one."""
        fetch = pages_of([call("a"), call("b")], [call("c"), call("d")], [call("e")])

        assert await sids(listing(fetch, limit=3)) == ["a", "b", "c"]
        assert fetch.asked == [None, "1"]

    async def test_limit_zero(self) -> None:
        """No records wanted, none asked for."""
        fetch = pages_of([call("a")])

        assert await sids(listing(fetch, limit=0)) == []
        assert fetch.asked == []

    async def test_pages(self) -> None:
        """Pages come as Exotel cuts them, total and all."""
        pages = [page async for page in listing(pages_of([call("a")], [call("b")])).pages()]

        assert [page.calls[0].sid for page in pages] == ["a", "b"]
        assert pages[0].total == 99
        assert pages[0].after == "1"

    async def test_none_twice(self) -> None:
        """A record that slid onto the next page is told once."""
        fetch = pages_of([call("a"), call("b")], [call("b"), call("c", minute=1)])

        assert await sids(listing(fetch)) == ["a", "b", "c"]

    async def test_records_without_a_time(self) -> None:
        """A record whose time can't be read is told all the same."""
        fetch = pages_of([call("a", minute=None), call("b"), call("c", minute=None)])

        assert await sids(listing(fetch)) == ["a", "b", "c"]

    async def test_a_circle(self) -> None:
        """Cursors that lead back are an error, not an endless list."""
        fetch = Pages(
            CallPage(calls=(call("a"),), after="1"), CallPage(calls=(call("b"),), after="1")
        )

        with pytest.raises(UnreadableAnswerError, match="circle"):
            await sids(listing(fetch))

    async def test_an_empty_page_ends_it(self) -> None:
        """A cursor on a page without records leads nowhere, as Exotel's page says."""
        fetch = Pages(CallPage(after="1"), CallPage(calls=(call("a"),)))

        assert await sids(listing(fetch)) == []

    async def test_goes_on_after_an_error(self) -> None:
        """Who met an error may go on where it stood."""
        pages = pages_of([call("a")], [call("b")])
        failures = iter([False, True, False])

        async def fetch(query: BulkQuery, after: str | None) -> CallPage:
            if next(failures):
                raise UnreadableAnswerError("oops", 200)
            return await pages(query, after)

        calls = aiter(listing(fetch))
        await anext(calls)
        with pytest.raises(UnreadableAnswerError):
            await anext(calls)

        assert (await anext(calls)).sid == "b"

    async def test_stops_when_closed(self) -> None:
        """After aclose every loop over it ends at its next page."""
        async with listing(pages_of([call("a")], [call("b")])) as calls:
            reading = aiter(calls)
            await anext(reading)

        with pytest.raises(StopAsyncIteration):
            await anext(reading)

    async def test_walking_away_leaves_nothing(self) -> None:
        """A reader who stops in the middle leaves no task and nothing to close."""
        before = asyncio.all_tasks()

        async for _ in listing(pages_of([call("a"), call("b")], [call("c")])):
            break

        assert asyncio.all_tasks() == before


class TestSplitting:
    """More than one request may carry: split, merged in order, none twice."""

    async def test_windows_follow_each_other(self) -> None:
        """A long range is asked for window by window, newest first."""
        seen: list[tuple[datetime, datetime]] = []

        async def fetch(query: BulkQuery, after: str | None) -> CallPage:
            assert query.created is not None
            seen.append(query.created)
            return CallPage()

        await sids(listing(fetch, created_after=START - timedelta(days=45), created_before=START))

        assert len(seen) == 2
        assert seen[0][1] == START
        assert seen[1][1] == seen[0][0]
        assert seen[1][0] == START - timedelta(days=45)

    @given(data=st.data(), ascending=st.booleans())
    @examples(60)
    async def test_merged_in_order(self, data: st.DataObject, *, ascending: bool) -> None:
        """Parts that overlap in time come out as one order, whatever their pages."""
        minutes = data.draw(
            st.lists(st.lists(st.integers(0, 9), max_size=7), min_size=2, max_size=3)
        )
        records = [
            [
                call(f"{part}-{n}", minute=minute)
                for n, minute in enumerate(sorted(some, reverse=not ascending))
            ]
            for part, some in enumerate(minutes)
        ]
        page_size = data.draw(st.integers(1, 3))

        async def fetch(query: BulkQuery, after: str | None) -> CallPage:
            part = int(query.to[0]) // 5
            start = int(after or 0)
            some = records[part][start : start + page_size]
            more = start + page_size < len(records[part])
            return CallPage(calls=tuple(some), after=str(start + page_size) if more else None)

        numbers = [str(n) for n in range(5 * len(records))]
        got = [
            c async for c in listing(fetch, to=numbers, ascending=ascending, page_size=page_size)
        ]

        times = [c.date_created for c in got if c.date_created]
        assert times == sorted(times, reverse=not ascending)
        assert sorted(c.sid for c in got) == sorted(c.sid for some in records for c in some)

    async def test_same_call_from_two_parts(self) -> None:
        """A call that two parts find is told once."""

        async def fetch(query: BulkQuery, after: str | None) -> CallPage:
            return CallPage(calls=(call("same", minute=3), call(f"own-{query.to[0]}", minute=2)))

        numbers = [str(n) for n in range(6)]

        assert await sids(listing(fetch, to=numbers)) == ["same", "own-0", "own-5"]

    async def test_cancelled_in_a_merge(self) -> None:
        """A step of a merge that is cancelled loses no record."""
        gate = asyncio.Event()

        async def fetch(query: BulkQuery, after: str | None) -> CallPage:
            if after:
                await gate.wait()
            if query.to[0] == "0" and not after:
                return CallPage(calls=(call("a", minute=9),), after="1")
            if query.to[0] == "0":
                return CallPage(calls=(call("c", minute=1),))
            return CallPage(calls=(call("b", minute=5),))

        calls = aiter(listing(fetch, to=[str(n) for n in range(6)]))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(calls)
        gate.set()

        assert [call.sid async for call in calls] == ["a", "b", "c"]

    async def test_skipped_are_counted(self) -> None:
        """Entries without a Sid are counted through a merge."""

        async def fetch(query: BulkQuery, after: str | None) -> CallPage:
            return CallPage(skipped=2)

        pages = [page async for page in listing(fetch, to=[str(n) for n in range(6)]).pages()]

        assert sum(page.skipped for page in pages) == 4


class TestAgainstTheSimulator:
    """The same over real HTTP, with records that a carrier keeps."""

    @pytest.fixture
    async def carrier(self) -> AsyncIterator[Simulator]:
        """A carrier with 230 records in two months."""
        async with Simulator(requests_per_minute=None) as sim:
            for n in range(230):
                sim.add_call(
                    sid=f"{n:032x}",
                    to=f"+9198000000{n % 7:02}",
                    date_created=sim.clock.now() - timedelta(days=50) + timedelta(hours=5 * n),
                )
            yield sim

    @pytest.mark.parametrize("response_format", ["json", "xml"])
    async def test_two_months(self, carrier: Simulator, response_format: Any) -> None:
        """Two months are two windows; all records come once, newest first."""
        client = ExotelClient(**carrier.settings, response_format=response_format)
        async with client as exotel:
            since = carrier.clock.now() - timedelta(days=51)
            got = await sids(exotel.calls.list(created_after=since, page_size=50))

        assert got == [f"{n:032x}" for n in reversed(range(230))]

    async def test_many_sids(self, carrier: Simulator) -> None:
        """More sids than one request may carry are asked for in parts."""
        wanted = [f"{n:032x}" for n in range(230)]
        async with ExotelClient(**carrier.settings) as exotel:
            since = carrier.clock.now() - timedelta(days=51)
            got = await sids(exotel.calls.list(sids=wanted, created_after=since, ascending=True))

        assert got == wanted

    async def test_many_numbers(self, carrier: Simulator) -> None:
        """More numbers than one request may carry are merged into one order."""
        numbers = [f"+9198000000{n:02}" for n in range(7)]
        async with ExotelClient(**carrier.settings) as exotel:
            got = [c async for c in exotel.calls.list(to=numbers, limit=120)]

        times = [c.date_created for c in got if c.date_created]
        assert times == sorted(times, reverse=True)
        assert len({c.sid for c in got}) == 120

    async def test_asks_for_no_more_than_wanted(self, carrier: Simulator) -> None:
        """A limit below a page makes the page smaller."""
        async with ExotelClient(**carrier.settings) as exotel:
            await sids(exotel.calls.list(limit=3))

        assert dict(carrier.requests[0].params)["PageSize"] == "3"

    async def test_page_by_cursor(self, carrier: Simulator) -> None:
        """A page names its neighbours, and their cursors lead there and back."""
        async with ExotelClient(**carrier.settings) as exotel:
            first = await exotel.calls.page(page_size=10)
            second = await exotel.calls.page(page_size=10, after=first.after)
            back = await exotel.calls.page(page_size=10, before=second.before)

        assert back.calls == first.calls
        assert not set(first.calls) & set(second.calls)
