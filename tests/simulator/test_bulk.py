"""Filters, order and cursors of the bulk answer."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.simulator import Simulator, bulk
from exotel_async.simulator.calls import Call
from exotel_async.simulator.clock import IST
from exotel_async.simulator.shelves import Shelf

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=IST)


def call(sid: str, created: datetime) -> Call:
    return Call(
        sid=sid,
        account_sid="a",
        from_="+911",
        to="+912",
        phone_number="080",
        status="completed",
        date_created=created,
        date_updated=created,
        start_time=created,
    )


def shelved(calls: Iterable[Call]) -> tuple[Shelf, dict[str, Call]]:
    shelf, by_sid = Shelf(), {}
    for one in calls:
        shelf.put(one)
        by_sid[one.sid] = one
    return shelf, by_sid


def plain_page(calls: Iterable[Call], query: bulk.Query) -> bulk.Page:
    """What a page holds, by looking at every call."""
    first, last = query.created

    def place(one: Call) -> tuple[int, str]:
        return int(one.date_created.timestamp()), one.sid

    def precedes(one: tuple[int, str], other: tuple[int, str]) -> bool:
        return one < other if query.ascending else one > other

    found = [c for c in calls if first <= c.date_created <= last]
    found = [c for c in found if all(test(c) for test in query.tests)]
    found.sort(key=place, reverse=not query.ascending)
    start, stop = 0, 0
    if query.before is not None:
        stop = sum(precedes(place(c), query.before) for c in found)
        start = max(0, stop - query.page_size)
    else:
        if query.after is not None:
            start = sum(not precedes(query.after, place(c)) for c in found)
        stop = min(len(found), start + query.page_size)
    shown = tuple(found[start:stop])
    return bulk.Page(
        calls=shown,
        total=len(found),
        before=cursor(*place(shown[0])) if shown and start > 0 else None,
        after=cursor(*place(shown[-1])) if shown and stop < len(found) else None,
    )


def cursor(second: int, sid: str) -> str:
    return b64encode(f"{second},{sid}".encode()).decode()


async def sids(ask, **params: str) -> set[str]:
    said = await ask.get("/Calls.json", **params)
    assert said.status == 200, said.text
    return {record["Sid"] for record in said.json["Calls"]}


class TestFilters:
    async def test_ongoing(self, sim, ask):
        """An ongoing call is listed once it has ended."""
        sid = await ask.sid()

        assert await sids(ask) == set()
        await sim.advance(minutes=1)
        assert await sids(ask) == {sid}

    async def test_sid(self, sim, ask):
        """One or several Sids are chosen."""
        one, two, _ = (sim.add_call() for _ in range(3))

        assert await sids(ask, Sid=one) == {one}
        assert await sids(ask, Sid=f"{one},{two},unknown") == {one, two}

    @pytest.mark.parametrize("name", ["To", "From", "PhoneNumber"])
    async def test_numbers(self, sim, ask, name):
        """Numbers are found in any spelling, up to five of them."""
        field = {"To": "to", "From": "from_", "PhoneNumber": "phone_number"}[name]
        wanted = sim.add_call(**{field: "09812399999"})
        sim.add_call()

        assert await sids(ask, **{name: "+919812399999"}) == {wanted}
        assert await sids(ask, **{name: "+919812388888,09812399999"}) == {wanted}

    async def test_status(self, sim, ask):
        """One or several final statuses are chosen."""
        made = {
            status: sim.add_call(status=status)
            for status in ("completed", "failed", "no-answer", "busy", "canceled")
        }

        assert await sids(ask, Status="completed") == {made["completed"]}
        chosen = await sids(ask, Status="failed,no-answer,busy,canceled")
        assert chosen == set(made.values()) - {made["completed"]}

    async def test_direction(self, sim, ask):
        """One or several directions are chosen."""
        inbound = sim.add_call(direction="inbound")
        dial = sim.add_call(direction="outbound-dial")
        sim.add_call()

        assert await sids(ask, Direction="inbound") == {inbound}
        assert await sids(ask, Direction="outbound-dial,inbound") == {inbound, dial}

    @pytest.mark.parametrize(
        ("duration", "found"),
        [
            ("eq:30s", {30}),
            ("30s", {30}),
            ("30", {30}),
            ("gte:30s", {30, 60}),
            ("lte:30s", {10, 30}),
            ("gte:11s;lte:59s", {30}),
        ],
    )
    async def test_duration(self, sim, ask, duration, found):
        """Durations are compared in seconds, the page's `s` left out or not."""
        made = {seconds: sim.add_call(duration=seconds) for seconds in (10, 30, 60)}

        assert await sids(ask, Duration=duration) == {made[seconds] for seconds in found}

    @pytest.mark.parametrize(
        ("price", "found"),
        [("eq:0.5", {"0.50"}), ("gte:0.10;lte:1.0", {"0.50"}), ("gte:0.5", {"0.50", "2"})],
    )
    async def test_price(self, sim, ask, price, found):
        """Prices are compared as amounts, not as texts."""
        made = {text: sim.add_call(price=Decimal(text)) for text in ("0.05", "0.50", "2")}

        assert await sids(ask, Price=price) == {made[text] for text in found}

    async def test_unsettled(self, sim, ask):
        """Until a record has settled it has no duration to be found by."""
        sid = await ask.sid()
        await sim.advance(minutes=1)

        assert await sids(ask, Duration="gte:0s") == set()
        await sim.advance(minutes=3)
        assert await sids(ask, Duration="gte:0s") == {sid}

    async def test_date_created(self, sim, ask):
        """Both limits of a range belong to it."""
        first, second, third = (
            sim.add_call(date_created=datetime(2026, 10, 1, 12, 0, second, tzinfo=IST))
            for second in (1, 2, 3)
        )

        assert await sids(ask, DateCreated="gte:2026-10-01 12:00:01;lte:2026-10-01 12:00:02") == {
            first,
            second,
        }
        assert await sids(ask, DateCreated="lte:2026-10-31 00:00:00;gte:2026-10-01 12:00:02") == {
            second,
            third,
        }

    async def test_one_limit(self, sim, ask):
        """An open end is now, an open start is a month before the end."""
        old = sim.add_call(date_created=NOW - timedelta(days=40))
        new = sim.add_call(date_created=NOW - timedelta(days=5))

        assert await sids(ask, DateCreated="gte:2026-10-20 00:00:00") == {new}
        assert await sids(ask, DateCreated="lte:2026-10-01 00:00:00") == {old}

    async def test_default_range(self, sim, ask):
        """Without DateCreated the last 31 days are searched, for Sids as well."""
        old = sim.add_call(date_created=NOW - timedelta(days=32))
        new = sim.add_call(date_created=NOW - timedelta(days=30))

        assert await sids(ask) == {new}
        assert await sids(ask, Sid=old) == set()
        ranged = "gte:2026-09-30 00:00:00;lte:2026-10-02 00:00:00"
        assert await sids(ask, Sid=old, DateCreated=ranged) == {old}

    async def test_plus_for_a_blank(self, sim, ask):
        """The page's own examples write blanks as +."""
        sid = sim.add_call(date_created=datetime(2026, 10, 1, 12, 0, tzinfo=IST))
        query = "DateCreated=gte:2026-10-01+00:00:00%3Blte:2026-10-02+00:00:00"

        said = await ask.send("GET", f"{ask.account}/Calls.json?{query}")

        assert [record["Sid"] for record in said.json["Calls"]] == [sid]

    async def test_numbers_in_e164(self, sim, ask):
        """The page's table promises E.164 here, whatever was dialled."""
        sim.add_call(from_="09812300001", to="9812300002", phone_number="08040001234")

        record = (await ask.get("/Calls.json")).json["Calls"][0]

        assert (record["From"], record["To"]) == ("+919812300001", "+919812300002")
        assert (record["PhoneNumber"], record["PhoneNumberSid"]) == (
            "+918040001234",
            "08040001234",
        )


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "value", "wanted"),
        [
            ("Direction", "outgoing", "inbound,outbound-dial,outbound-api"),
            ("Status", "in-progress", "completed,failed,busy,no-answer"),
            ("Sid", ",".join(["s"] * 101), "maximum allowed is 100"),
            ("Sid", "", "a value is empty"),
            ("To", ",".join(["+919812300001"] * 6), "maximum allowed is 5"),
            ("From", ",".join(["+919812300001"] * 6), "maximum allowed is 5"),
            ("PhoneNumber", ",".join(["+919812300001"] * 6), "maximum allowed is 5"),
            ("PageSize", "0", "from 1 to 100"),
            ("PageSize", "101", "from 1 to 100"),
            ("PageSize", "ten", "from 1 to 100"),
            ("SortBy", "DateCreated", "DateCreated:asc"),
            ("SortBy", "Price:asc", "DateCreated:asc"),
            ("details", "yes", "true,false"),
            ("After", "not a cursor", "as it is"),
            ("Before", "MTIz!", "as it is"),
            ("Duration", "gt:10s", "eq, gte, lte"),
            ("Duration", "10m", "gte:10s"),
            ("Duration", "gte:1s;gte:2s", "gte:10s"),
            ("Price", "lte:cheap", "gte:0.10"),
            ("DateCreated", "2026-10-01 00:00:00", "gte, lte"),
            ("DateCreated", "eq:2026-10-01 00:00:00", "gte, lte"),
            ("DateCreated", "gte:2026-10-01", "2019-01-01 00:00:00"),
            ("DateCreated", "gte:2026-10-02 00:00:00;lte:2026-10-01 00:00:00", "before it starts"),
            ("DateCreated", "gte:2026-09-01 00:00:00;lte:2026-10-02 00:00:01", "1 month"),
            ("DateCreated", "gte:2026-09-01 00:00:00", "1 month"),
            ("DateCreated", "gte:2026-05-02 09:59:59;lte:2026-05-20 00:00:00", "6 months"),
            ("RecordingUrlValidity", "3", "from 5 to 60"),
        ],
    )
    async def test_refused(self, ask, name, value, wanted):
        """A wrong filter is 400; the message names it and says what the page wants."""
        said = await ask.get("/Calls.json", **{name: value})

        assert said.status == 400
        assert name in said.message
        assert wanted in said.message

    async def test_bounds_are_inside(self, ask):
        """A range of 31 days and an age of six months are still allowed."""
        ranged = "gte:2026-05-02 10:00:00;lte:2026-06-02 10:00:00"

        assert (await ask.get("/Calls.json", DateCreated=ranged)).status == 200
        hundred = ",".join(["s"] * 100)
        assert (await ask.get("/Calls.json", Sid=hundred, PageSize="100")).status == 200

    async def test_both_cursors(self, ask):
        """One page lies after one record or before one."""
        said = await ask.get("/Calls.json", After="MSxh", Before="MSxh")

        assert "exclude each other" in said.message

    async def test_twice(self, ask):
        """Two DateCreated are not a range."""
        query = "DateCreated=gte:2026-10-01%2000:00:00&DateCreated=lte:2026-10-02%2000:00:00"

        said = await ask.send("GET", f"{ask.account}/Calls.json?{query}")

        assert "DateCreated must be given once" in said.message

    def test_end_of_month(self):
        """Six months before the last of August is the last of February."""
        now = datetime(2026, 8, 31, tzinfo=IST)

        assert bulk._months_before(now) == datetime(2026, 2, 28, tzinfo=IST)


class TestCursors:
    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_walk(self, sim, ask, order):
        """Following NextPageUri gives every record once, in order."""
        made = [sim.add_call(date_created=NOW - timedelta(seconds=n // 3)) for n in range(25)]

        seen, pages = [], 0
        uri = f"{ask.account}/Calls.json?PageSize=10&SortBy=DateCreated:{order}"
        while uri:
            body = (await ask.send("GET", uri)).json
            seen += [(record["DateCreated"], record["Sid"]) for record in body["Calls"]]
            uri, pages = body["Metadata"]["NextPageUri"], pages + 1

        assert pages == 3
        assert seen == sorted(seen, reverse=order == "desc")
        assert sorted(sid for _, sid in seen) == sorted(made)

    async def test_back(self, sim, ask):
        """PrevPageUri leads back to the page one came from."""
        for n in range(6):
            sim.add_call(date_created=NOW - timedelta(minutes=n))

        first = (await ask.get("/Calls.json", PageSize="2")).json
        second = (await ask.send("GET", first["Metadata"]["NextPageUri"])).json
        back = (await ask.send("GET", second["Metadata"]["PrevPageUri"])).json

        assert back["Calls"] == first["Calls"]
        assert first["Metadata"]["PrevPageUri"] is None

    async def test_default_size(self, sim, ask):
        """Fifty records make a page."""
        for _ in range(51):
            sim.add_call()

        body = (await ask.get("/Calls.json")).json

        assert (body["Metadata"]["PageSize"], body["Metadata"]["Total"]) == (50, 51)

    async def test_new_calls_do_not_shift(self, sim, ask):
        """A cursor names a record: calls that end meanwhile repeat nothing."""
        made = {sim.add_call(date_created=NOW - timedelta(minutes=n)) for n in range(1, 5)}

        first = (await ask.get("/Calls.json", PageSize="2")).json
        sim.add_call(date_created=NOW)
        second = (await ask.send("GET", first["Metadata"]["NextPageUri"])).json

        shown = [record["Sid"] for record in first["Calls"] + second["Calls"]]
        assert len(shown) == 4
        assert set(shown) == made

    async def test_opaque_like_the_samples(self, sim, ask):
        """A cursor holds second and Sid, as those printed on the page do."""
        sid = sim.add_call(date_created=datetime(2026, 11, 1, tzinfo=IST))
        sim.add_call(date_created=datetime(2026, 10, 31, tzinfo=IST))

        uri = (await ask.get("/Calls.json", PageSize="1")).json["Metadata"]["NextPageUri"]

        cursor = parse_qs(urlsplit(uri).query)["After"][0]
        parsed = bulk.parse((("After", cursor),), now=NOW)
        assert parsed.after == (int(datetime(2026, 11, 1, tzinfo=IST).timestamp()), sid)

    def test_samples_cursor(self):
        """A cursor printed on the page can be read."""
        printed = "MTU3Nzk4NjAwNixhZmQ4MGJhNzI1MzA5YmU2MjM0MTA2YjY5ZGVmMTQxMg=="

        parsed = bulk.parse((("Before", printed),), now=NOW)

        assert parsed.before == (1577986006, "afd80ba725309be6234106b69def1412")

    @given(
        seconds=st.lists(st.integers(0, 5), max_size=30),
        size=st.integers(1, 7),
        order=st.sampled_from(["asc", "desc"]),
    )
    def test_any_walk(self, seconds, size, order):
        """Whatever was created when, forward and backward walks see each record once."""
        calls = [call(f"{n:x}", NOW - timedelta(seconds=s)) for n, s in enumerate(seconds)]

        def ask_for(**cursor: str) -> bulk.Page:
            pairs = {"PageSize": str(size), "SortBy": f"DateCreated:{order}", **cursor}
            return bulk.page(*shelved(calls), bulk.parse(tuple(pairs.items()), now=NOW))

        forward = [ask_for()]
        while forward[-1].after is not None:
            forward.append(ask_for(After=forward[-1].after))
        backward = [forward[-1]]
        while backward[-1].before is not None:
            backward.append(ask_for(Before=backward[-1].before))

        seen = [c.sid for p in forward for c in p.calls]
        assert sorted(seen) == sorted(c.sid for c in calls)
        assert [c.sid for p in reversed(backward) for c in p.calls] == seen


SECONDS = st.integers(0, 8)
SIDS = st.sampled_from("0123456789abcdef")


class TestShelf:
    @given(
        batches=st.lists(
            st.lists(st.tuples(SIDS, SECONDS), max_size=100, unique_by=lambda one: one[0]),
            min_size=1,
            max_size=4,
        ),
        created=st.none() | st.tuples(SECONDS, SECONDS).map(sorted),
        others=st.sampled_from([{}, {"Sid": "0,3,7,a,c"}, {"Direction": "inbound"}]),
        cursors=st.sampled_from([None, "After", "Before"]),
        at=st.tuples(SECONDS, SIDS),
        size=st.integers(1, 7),
        order=st.sampled_from(["asc", "desc"]),
        gone=st.sets(SIDS),
    )
    def test_as_the_plain_way(self, batches, created, others, cursors, at, size, order, gone):
        """Whatever came and went, and whatever is asked: the page is the one that a search finds.

        So is one asked for between what comes, which is put in place one by one or all at once.
        """
        pairs = {"PageSize": str(size), "SortBy": f"DateCreated:{order}", **others}
        if created is not None:
            low, high = (f"{NOW + timedelta(seconds=s - 8):%Y-%m-%d %H:%M:%S}" for s in created)
            pairs["DateCreated"] = f"gte:{low};lte:{high}"
        if cursors is not None:
            pairs[cursors] = cursor(int(NOW.timestamp()) + at[0] - 8, at[1])
        query = bulk.parse(tuple(pairs.items()), now=NOW)
        shelf, calls = shelved([])

        for number, batch in enumerate(batches):
            for sid, second in batch:
                one = call(f"{sid}{number or ''}", NOW + timedelta(seconds=second - 8))
                calls[one.sid] = one
                shelf.put(one)
            assert bulk.page(shelf, calls, query) == plain_page(calls.values(), query)
        for sid in gone & calls.keys():
            shelf.remove(calls.pop(sid))

        assert bulk.page(shelf, calls, query) == plain_page(calls.values(), query)

    def test_many_at_once(self):
        """More calls than are put in place one by one come to stand in the same order."""
        shelf, calls = shelved(
            call(f"{n % 7}{n}", NOW - timedelta(seconds=n % 50)) for n in range(500)
        )

        places = list(shelf.places())

        assert places == sorted((int(c.date_created.timestamp()), c.sid) for c in calls.values())

    def test_parts_of_a_second(self):
        """A range that begins in the middle of a second leaves out what that second began with."""
        shelf, calls = shelved([call("a", NOW - timedelta(days=31))])

        inside = bulk.page(shelf, calls, bulk.parse((), now=NOW))
        outside = bulk.page(shelf, calls, bulk.parse((), now=NOW + timedelta(microseconds=1)))

        assert (inside.total, outside.total) == (1, 0)

    async def test_forgotten(self, asker):
        """What is not kept is not listed, and the count says so."""
        async with Simulator(keep=2) as sim:
            made = [sim.add_call(date_created=NOW - timedelta(minutes=n)) for n in range(5)]

            body = (await asker(sim).get("/Calls.json")).json

        assert [record["Sid"] for record in body["Calls"]] == made[3:]
        assert body["Metadata"]["Total"] == 2

    async def test_once(self, sim, ask):
        """A call that ends and then settles is one record, at its last state."""
        sid = await ask.sid()
        await sim.advance(minutes=1)
        await sim.advance(minutes=5)

        body = (await ask.get("/Calls.json")).json

        assert [record["Sid"] for record in body["Calls"]] == [sid]
        assert body["Metadata"]["Total"] == 1
        assert body["Calls"][0]["Duration"]

    async def test_accounts(self, sim, asker, ask):
        """An account's page and count hold its own calls only."""
        other = sim.add_account(sid="other")
        sim.add_call(account_sid=other["account_sid"])
        own = sim.add_call()

        body = (await ask.get("/Calls.json")).json

        assert [record["Sid"] for record in body["Calls"]] == [own]
        assert body["Metadata"]["Total"] == 1
