"""Windows side by side: the same records in the same order as one cursor gives, only sooner."""

from __future__ import annotations

import asyncio
import gc
from ast import literal_eval
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import IST, Call, CallList, CallPage, InvalidRequestError, ServerError
from exotel_async.client.call_list import Order
from exotel_async.client.positions import go_on, read_position
from exotel_async.wire.bulk import BulkQuery, bulk_query

NOW = datetime(2026, 11, 2, 12, tzinfo=IST)
START = NOW - timedelta(days=45)  # two ranges of at most thirty days
Record = tuple[float, str]  # seconds since START, sid


@attrs.define
class Carrier:
    """An Exotel of sorted records; whom it asks to wait, and whom it fails, is drawn by chance.

    It knows of parts of a second, which its answers do not show.
    """

    records: list[Record]
    chance: Random = attrs.field(factory=lambda: Random(7))
    patience: int = 0  # most turns of the loop that an answer takes
    failing: float = 0.0  # probability
    arrivals: list[Record] = attrs.field(factory=list)  # one with each request
    asked: int = 0
    under_way: int = 0
    most: int = 0

    async def __call__(
        self, query: BulkQuery, after: str | None, leaves: Callable[[], None]
    ) -> CallPage:
        await asyncio.sleep(0)
        leaves()
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            for _ in range(self.chance.randint(0, self.patience)):
                await asyncio.sleep(0)
            if self.chance.random() < self.failing:
                raise ServerError("it stumbles", 503)
            if self.arrivals:
                self.records = sorted([*self.records, self.arrivals.pop()])
            return self._page(query, after)
        finally:
            self.under_way -= 1

    def _page(self, query: BulkQuery, after: str | None) -> CallPage:
        first, last = (0, 10**9) if query.created is None else map(_place, query.created)
        low, high = bisect_left(self.records, (first, "")), bisect_right(self.records, (last, "~"))
        found = self.records[low:high]
        if not query.ascending:
            found.reverse()
        begin = 0 if after is None else 1 + found.index(literal_eval(after))
        shown = found[begin : begin + query.page_size]
        more = begin + query.page_size < len(found)
        cursor = repr(shown[-1]) if shown and more else None
        return CallPage(calls=tuple(map(_call, shown)), total=len(found), after=cursor)


def _place(moment: datetime) -> int:
    return round((moment - START).total_seconds())


def _call(record: Record) -> Call:
    return Call(sid=record[1], date_created=START + timedelta(seconds=int(record[0])))


def records_at(seconds: Sequence[float]) -> list[Record]:
    return sorted((at, f"s{n}") for n, at in enumerate(seconds))


def listing(
    carrier: Carrier,
    *,
    concurrency: int = 8,
    limit: int | None = None,
    position: str | None = None,
    **filters: Any,
) -> CallList:
    times = {"created_after": START, "created_before": NOW}
    query = bulk_query(now=NOW, **(times | filters))
    start = None if position is None else read_position(position, query)
    order = Order(
        query=query if start is None else go_on(query, start),
        fetch=carrier,
        asked_at=NOW,
        concurrency=concurrency,
        limit=limit,
        start=start,
    )
    return CallList(order)


async def sids(calls: CallList) -> list[str]:
    return [call.sid async for call in calls]


def expected(records: Sequence[Record], *, ascending: bool) -> list[str]:
    return [sid for _, sid in sorted(records, reverse=not ascending)]


SPAN = round((NOW - START).total_seconds())

traffic = st.lists(
    st.one_of(
        st.lists(st.integers(0, 2 * SPAN).map(lambda at: at / 2), max_size=15),  # all over
        st.tuples(st.integers(0, SPAN - 100), st.integers(1, 100), st.integers(1, 60)).map(
            lambda burst: [burst[0] + n % burst[1] + n % 3 / 4 for n in range(burst[2])]
        ),
        st.tuples(st.sampled_from([0, SPAN, SPAN // 3]), st.integers(1, 30)).map(
            lambda heavy: [heavy[0]] * heavy[1]  # many in one second, that of a border too
        ),
    ),
    max_size=6,
).map(lambda parts: records_at([at for part in parts for at in part]))


class TestOrder:
    """The same records, in the same order."""

    @given(
        records=traffic,
        page_size=st.integers(1, 6),
        concurrency=st.integers(2, 9),
        ascending=st.booleans(),
        seed=st.integers(0, 999),
        patience=st.integers(0, 9),
    )
    @examples(200)
    async def test_as_one_cursor(self, records, page_size, concurrency, ascending, seed, patience):
        """Whatever the traffic, and whoever is slow: none twice, none missing, all in order."""
        carrier = Carrier(records, Random(seed), patience)
        listed = listing(carrier, concurrency=concurrency, page_size=page_size, ascending=ascending)

        assert await sids(listed) == expected(records, ascending=ascending)
        assert carrier.most <= concurrency
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @given(records=traffic, seed=st.integers(0, 999), ascending=st.booleans())
    @examples(100)
    async def test_failures(self, records, seed, ascending):
        """A window that fails delays; whoever goes on after the error misses nothing."""
        carrier = Carrier(records, Random(seed), patience=5, failing=0.2)
        calls = aiter(listing(carrier, page_size=3, ascending=ascending))
        read: list[str] = []

        while True:
            try:
                read.append((await anext(calls)).sid)
            except ServerError:
                continue
            except StopAsyncIteration:
                break

        assert read == expected(records, ascending=ascending)

    @given(records=traffic, seed=st.integers(0, 999), ascending=st.booleans())
    @examples(100)
    async def test_arrivals(self, records, seed, ascending):
        """Calls that come into the list meanwhile upset nothing: the others come once, in order."""
        chance = Random(seed)
        late = [(chance.randint(0, SPAN), f"late{n}") for n in range(20)]
        carrier = Carrier(records, chance, patience=3, arrivals=late)

        read = await sids(listing(carrier, page_size=3, ascending=ascending))

        assert len(set(read)) == len(read)
        place = {sid: at for at, sid in carrier.records}
        seconds = [int(place[sid]) for sid in read]
        assert seconds == sorted(seconds, reverse=not ascending)
        assert {sid for _, sid in records} <= set(read)

    @given(records=traffic, limit=st.integers(0, 60), page_size=st.integers(3, 6))
    @examples(100)
    async def test_limit(self, records, limit, page_size):
        """A limit gives the first of them, and asks for few more than that."""
        carrier = Carrier(records, patience=3)

        read = await sids(listing(carrier, limit=limit, page_size=page_size))

        assert read == expected(records, ascending=False)[:limit]
        assert carrier.asked <= 2 * (limit / page_size) + 20
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    @given(records=traffic, ascending=st.booleans())
    @examples(60)
    async def test_without_times(self, records, ascending):
        """Where no times are asked for, windows reach as far as Exotel looks back."""
        lately = [record for record in records if record[0] > SPAN - 31 * 86_400]
        carrier = Carrier(lately, patience=3)

        listed = listing(
            carrier, page_size=2, ascending=ascending, created_after=None, created_before=None
        )

        assert await sids(listed) == expected(lately, ascending=ascending)

    async def test_small_limit(self):
        """A few pages of many are read by one cursor."""
        carrier = Carrier(records_at([400 * n for n in range(9000)]), patience=9)

        read = await sids(listing(carrier, limit=250))

        assert len(read) == 250
        assert (carrier.asked, carrier.most) == (3, 1)

    async def test_merged(self):
        """More values than one request may carry are merged within each window."""
        records = records_at(range(0, 3000, 7))
        carrier = Carrier(records, patience=3)

        read = await sids(listing(carrier, page_size=10, to=[f"+9198{n:08}" for n in range(6)]))

        assert read == expected(records, ascending=False)


class TestWindows:
    """What is cut, and what it costs."""

    @pytest.mark.parametrize("pages", [1, 2, 3])
    async def test_few_pages(self, pages):
        """A few pages are read by one cursor: more requests would not be worth it."""
        carrier = Carrier(records_at([10 * n for n in range(100 * pages)]))
        last_month = START + timedelta(days=16)

        await sids(listing(carrier, created_after=START, created_before=last_month))

        assert carrier.asked == pages
        assert carrier.most == 1

    async def test_one_page_only(self):
        """Whoever looks at the first page causes one request."""
        carrier = Carrier(records_at([400 * n for n in range(9000)]))

        page = await anext(aiter(listing(carrier).pages()))

        assert len(page.calls) >= 99  # whoever goes on begins with the last second
        assert carrier.asked == 1

    @pytest.mark.parametrize("shape", ["even", "burst", "nights"])
    async def test_requests(self, shape):
        """Windows are as long as they need to be: few requests are only partly filled."""
        chance = Random(1)
        seconds = [chance.randrange(SPAN) for _ in range(30_000)]
        if shape == "burst":
            seconds += [SPAN // 3 + chance.randrange(SPAN // 100) for _ in range(30_000)]
        if shape == "nights":
            seconds = [at for at in seconds if at // 3600 % 24 >= 8]
        carrier = Carrier(records_at(seconds), patience=400)

        read = await sids(listing(carrier))

        assert len(read) == len(seconds)
        assert carrier.most == 8
        assert carrier.asked <= 1.2 * len(seconds) / 100

    async def test_held_up(self):
        """While one request waits for the pacer no other stands behind it."""
        gate = asyncio.Semaphore(0)
        carrier = Carrier(records_at([400 * n for n in range(9000)]))
        waiting, most = 0, 0

        async def paced(query: BulkQuery, after: str | None, leaves: Callable[[], None]):
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await gate.acquire()
            waiting -= 1
            return await carrier(query, after, leaves)

        reading = asyncio.create_task(sids(listing(paced)))
        while not reading.done():
            gate.release()
            await asyncio.sleep(0)

        assert most == 1
        assert len(await reading) == 9000

    async def test_memory(self):
        """However slow the reader is, no more than a few pages wait for it."""
        carrier = Carrier(records_at([10 * n for n in range(50_000)]))
        pages = listing(carrier).pages()

        for taken in range(1, 20):
            await anext(aiter(pages))
            for _ in range(200):
                await asyncio.sleep(0)
            assert carrier.asked <= taken + 8 * 6 + 2

        assert carrier.under_way == 0


class TestLife:
    """Nothing is left behind."""

    async def test_walks_away(self):
        """A reader that stops leaves no task."""
        carrier = Carrier(records_at([100 * n for n in range(9000)]), patience=50)

        async for _ in (pages := listing(carrier).pages()):
            if carrier.under_way > 3:
                break
        del pages, _
        gc.collect()
        for _ in range(3):
            await asyncio.sleep(0)

        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_cancelled(self):
        """Whoever is cancelled leaves no task, and may go on."""
        records = records_at([100 * n for n in range(3000)])
        carrier = Carrier(records, Random(3), patience=30)
        calls = aiter(listing(carrier))
        read: list[str] = []

        async def read_on() -> None:
            async for call in calls:
                read.append(call.sid)

        for turns in (0, 7, 60, 200, 333):
            reading = asyncio.create_task(read_on())
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
            for _ in range(3):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        await read_on()

        assert read == expected(records, ascending=False)

    async def test_closed(self):
        """Closing waits until nothing is under way."""
        carrier = Carrier(records_at([100 * n for n in range(9000)]), patience=50)

        async with listing(carrier) as calls:
            pages = calls.pages()
            await anext(pages)
            await anext(pages)
            assert carrier.under_way > 1

        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert carrier.under_way == 0


class TestPosition:
    """Going on elsewhere."""

    @given(
        records=traffic, stop=st.integers(0, 80), ascending=st.booleans(),
        concurrency=st.sampled_from([1, 4]),
    )  # fmt: skip
    @examples(150)
    async def test_goes_on(self, records, stop, ascending, concurrency):
        """What was given out before and what a second list gives after it is all, each once."""
        options = {"concurrency": concurrency, "page_size": 4, "ascending": ascending}
        first = listing(Carrier(records, patience=2), **options)
        read: list[str] = []
        async for call in first:
            read.append(call.sid)
            if len(read) >= stop:
                break

        second = listing(Carrier(records, patience=2), position=first.position, **options)

        assert read + await sids(second) == expected(records, ascending=ascending)

    async def test_again_and_again(self):
        """A list that was gone on from is gone on from again."""
        records = records_at([at // 3 for at in range(50)])
        read: list[str] = []
        position: str | None = None

        while len(read) < 50:
            calls = listing(Carrier(records), position=position, page_size=4)
            read.append((await anext(aiter(calls))).sid)
            position = calls.position

        assert read == expected(records, ascending=False)

    async def test_small(self):
        """It is small, however much was read, and tells nobody's number."""
        calls = listing(Carrier(records_at(range(3000))), to="+919812345678", from_="+9180456789")

        await sids(calls)

        assert len(calls.position) < 200
        assert "98123" not in calls.position

    async def test_total(self):
        """The total is known as soon as Exotel has said it."""
        calls = listing(Carrier(records_at([900 * n for n in range(4000)])))

        assert calls.total is None
        await sids(calls)
        assert calls.total == pytest.approx(4000, abs=2)  # a border's second counts twice

    async def test_total_early(self):
        """However many ranges there are, the total is known when the second page is there."""
        calls = listing(Carrier(records_at([900 * n for n in range(4000)]), patience=1))
        pages = calls.pages()

        for _ in range(3):
            await anext(pages)

        assert calls.total == pytest.approx(4000, abs=2)

    @pytest.mark.parametrize("text", ["", "x", "e30=", "bnVsbA==", "\udc80", 7, "eyJxIjoxfQ=="])
    async def test_odd(self, text):
        """What is no position is refused by name."""
        with pytest.raises(InvalidRequestError, match="position must be"):
            listing(Carrier([]), position=text)

    async def test_other_filters(self):
        """A position of other filters is refused."""
        position = listing(Carrier([]), statuses="busy").position

        with pytest.raises(InvalidRequestError, match="other filters"):
            listing(Carrier([]), statuses="failed", position=position)

    async def test_in_errors(self):
        """An error says how far the records were complete."""
        carrier = Carrier(records_at(range(300)), Random(2))
        calls = aiter(listing(carrier, created_after=NOW - timedelta(days=46), page_size=10))
        for _ in range(25):
            await anext(calls)
        carrier.failing = 1.0

        with pytest.raises(ServerError) as caught:
            async for _ in calls:
                pass

        assert "records were complete before this, up to 2026-" in caught.value.__notes__[0]
