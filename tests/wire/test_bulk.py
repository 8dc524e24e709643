"""How records are asked for in bulk: every filter, every border, and no gap in between."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.errors import InvalidRequestError
from exotel_async.models import Range
from exotel_async.wire.bulk import (
    BulkFilters,
    bulk_calls,
    bulk_query,
    call_details,
    parts_of,
    refuse_splitting,
    split,
    zone_given,
)
from exotel_async.wire.values import IST

NOW = datetime(2026, 11, 2, 10, 0, 30, 999_999, tzinfo=UTC)
SECOND = timedelta(seconds=1)
NEW_YORK = ZoneInfo("America/New_York")

# argument, what is given, Exotel's parameter, what goes over the wire
ENCODED = [
    ("sids", "a1", "Sid", "a1"),
    ("sids", ["a1", "b2", "a1"], "Sid", "a1%2Cb2"),
    ("to", "+919876543210", "To", "%2B919876543210"),
    ("to", iter(["080", "081"]), "To", "080%2C081"),
    ("from_", ("080", "081"), "From", "080%2C081"),
    ("phone_numbers", "080 47", "PhoneNumber", "080+47"),
    ("statuses", "completed", "Status", "completed"),
    ("statuses", ["failed", "no_answer", "Cancelled"], "Status", "failed%2Cno-answer%2Ccanceled"),
    ("statuses", "brand-new", "Status", "brand-new"),
    ("statuses", "NA", "Status", "NA"),
    ("directions", ["inbound", "Outbound_API"], "Direction", "inbound%2Coutbound-api"),
    ("duration", 30, "Duration", "eq%3A30s"),
    ("duration", 0, "Duration", "eq%3A0s"),
    ("duration", Range(at_least=10), "Duration", "gte%3A10s"),
    ("duration", Range(at_most=45), "Duration", "lte%3A45s"),
    ("duration", Range(at_least=10, at_most=45), "Duration", "gte%3A10s%3Blte%3A45s"),
    ("duration", Range(at_least=10, at_most=10), "Duration", "gte%3A10s%3Blte%3A10s"),
    ("price", Decimal("0.300030"), "Price", "eq%3A0.300030"),
    ("price", 0, "Price", "eq%3A0"),
    ("price", 0.1, "Price", "eq%3A0.1"),
    ("price", Decimal("1E+2"), "Price", "eq%3A100"),
    ("price", 1e-7, "Price", "eq%3A0.0000001"),
    ("price", Range(at_least=0.10, at_most=Decimal("1.0")), "Price", "gte%3A0.1%3Blte%3A1.0"),
    ("details", True, "details", "true"),
    ("ascending", True, "SortBy", "DateCreated%3Aasc"),
    ("extra", {"NumbersMetadata": "true"}, "NumbersMetadata", "true"),
    ("extra", {"RecordingUrlValidity": "5"}, "RecordingUrlValidity", "5"),
]

# argument, what is refused, what the error says is allowed
REFUSED = [
    ("page_size", 0, "from 1 to 100"),
    ("page_size", 101, "from 1 to 100"),
    ("page_size", "50", "a whole number"),
    ("page_size", True, "a whole number"),
    ("page_size", None, "a whole number"),
    ("created_after", datetime(2026, 11, 1), "a datetime with a time zone"),
    ("created_before", datetime(2026, 11, 1), "a datetime with a time zone"),
    ("created_after", date(2026, 11, 1), "a datetime with a time zone"),
    ("created_before", "2026-11-01", "a datetime with a time zone"),
    ("details", "true", "True or False"),
    ("ascending", 1, "True or False"),
    ("duration", -1, "of at least 0"),
    ("duration", 1.5, "a whole number"),
    ("duration", "30", "a whole number"),
    ("duration", True, "a whole number"),
    ("duration", Range(), "at least one bound"),
    ("duration", Range(at_least=46, at_most=45), "not above its at_most"),
    ("price", -1, "of at least 0"),
    ("price", float("nan"), "a finite number"),
    ("price", Decimal("sNaN"), "a finite number"),
    ("price", float("inf"), "a finite number"),
    ("price", "1.5", "a number"),
    ("price", True, "a number"),
    ("price", Range(), "at least one bound"),
    ("price", Range(at_least=2, at_most=1.5), "not above its at_most"),
    ("extra", ["x"], "a mapping"),
    ("extra", 5, "a mapping"),
]
LISTS = ["sids", "to", "from_", "phone_numbers", "statuses", "directions"]


def query(**filters: object):
    return bulk_query(**{"now": NOW, **filters})


def target(asked, *, zone=IST, **cursors: str) -> str:
    return bulk_calls(asked, zone=zone, **cursors).target(account_sid="a", response_format="json")


def params(asked, **more: object) -> dict[str, str]:
    return dict(parse_qsl(target(asked, **more).partition("?")[2]))


def refusal(ask=query, **options: object) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        ask(**options)
    return str(caught.value)


class TestEncoding:
    def test_nothing_asked(self):
        """Without filters only the size of a page is sent."""
        assert target(query()) == "/v1/Accounts/a/Calls.json?PageSize=100"

    @pytest.mark.parametrize(("name", "value", "key", "sent"), ENCODED)
    def test_filter(self, name, value, key, sent):
        """Each filter is sent under Exotel's name, in Exotel's encoding, and alone."""
        sent_pairs = set(target(query(**{name: value})).partition("?")[2].split("&"))

        assert sent_pairs == {"PageSize=100", f"{key}={sent}"}

    def test_table_is_whole(self):
        """Every filter there is has its row above, or a test of its own."""
        own = {"created_after", "created_before", "page_size"}

        assert set(BulkFilters.__annotations__) == {name for name, *_ in ENCODED} | own

    @pytest.mark.parametrize("size", [1, 100])
    def test_page_size(self, size):
        """The size of a page goes as it is."""
        assert params(query(page_size=size)) == {"PageSize": str(size)}

    @pytest.mark.parametrize("cursor", ["after", "before"])
    def test_cursor(self, cursor):
        """A cursor goes under its own name, encoded."""
        assert target(query(), **{cursor: "MTU3+=="}).endswith(f"&{cursor.title()}=MTU3%2B%3D%3D")

    def test_all_together(self):
        """Filters go together."""
        asked = query(
            created_after=datetime(2026, 10, 1, tzinfo=IST),
            created_before=datetime(2026, 10, 2, 23, 59, 59, tzinfo=IST),
            statuses=["busy"],
            details=True,
            page_size=50,
        )

        assert target(asked) == (
            "/v1/Accounts/a/Calls.json?DateCreated=gte%3A2026-10-01+00%3A00%3A00%3B"
            "lte%3A2026-10-02+23%3A59%3A59&Status=busy&details=true&PageSize=50"
        )

    @pytest.mark.parametrize(
        ("zone", "text"),
        [
            (IST, "gte:2026-10-01 05:30:00;lte:2026-10-01 06:30:00"),
            (UTC, "gte:2026-10-01 00:00:00;lte:2026-10-01 01:00:00"),
            (ZoneInfo("Asia/Kolkata"), "gte:2026-10-01 05:30:00;lte:2026-10-01 06:30:00"),
            (NEW_YORK, "gte:2026-09-30 20:00:00;lte:2026-09-30 21:00:00"),
            (timezone(timedelta(hours=-8)), "gte:2026-09-30 16:00:00;lte:2026-09-30 17:00:00"),
        ],
    )
    def test_zone(self, zone, text):
        """Times are spelled as the wall clock of the client's zone, whatever their own."""
        asked = query(
            created_after=datetime(2026, 10, 1, tzinfo=UTC),
            created_before=datetime(2026, 10, 1, 10, 0, tzinfo=timezone(timedelta(hours=9))),
        )

        assert params(asked, zone=zone)["DateCreated"] == text

    def test_microseconds(self):
        """Parts of a second are cut off."""
        asked = query(
            created_after=datetime(2026, 10, 1, 0, 0, 1, 999_999, tzinfo=IST),
            created_before=datetime(2026, 10, 1, 0, 0, 2, 1, tzinfo=IST),
        )

        assert params(asked)["DateCreated"] == "gte:2026-10-01 00:00:01;lte:2026-10-01 00:00:02"

    def test_same_second(self):
        """A range of one second is a range."""
        moment = datetime(2026, 10, 1, tzinfo=IST)

        asked = query(created_after=moment, created_before=moment)

        assert params(asked)["DateCreated"] == "gte:2026-10-01 00:00:00;lte:2026-10-01 00:00:00"


class TestHalfRanges:
    def test_only_after(self):
        """Without an end the range ends now: half a range is said to return everything."""
        asked = query(created_after=datetime(2026, 10, 30, tzinfo=IST))

        assert params(asked)["DateCreated"] == "gte:2026-10-30 00:00:00;lte:2026-11-02 15:30:30"

    def test_only_before(self):
        """Without a beginning the range begins thirty days before its end."""
        asked = query(created_before=datetime(2026, 10, 31, tzinfo=IST))

        assert params(asked)["DateCreated"] == "gte:2026-10-01 00:00:00;lte:2026-10-31 00:00:00"
        assert refuse_splitting(asked) is asked

    def test_only_before_near_the_border(self):
        """Nor does it then begin before what Exotel keeps."""
        asked = query(created_before=datetime(2026, 5, 10, tzinfo=UTC))

        assert asked.created == (
            datetime(2026, 5, 2, tzinfo=UTC),
            datetime(2026, 5, 10, tzinfo=UTC),
        )

    def test_end_in_the_future(self):
        """An end far in the future is tomorrow: there are no calls beyond."""
        asked = query(created_after=NOW, created_before=datetime.max.replace(tzinfo=UTC))

        assert asked.created == (
            NOW.replace(microsecond=0),
            NOW.replace(microsecond=0) + timedelta(days=1),
        )


class TestRefusals:
    @pytest.mark.parametrize(("name", "value", "allowed"), REFUSED)
    def test_refused(self, name, value, allowed):
        """What can't work is refused with an error that says name, value and what is allowed."""
        text = refusal(**{name: value})

        assert text.startswith(f"{name} must be ")
        assert allowed in text
        assert f"but is {value!r}" in text

    @pytest.mark.parametrize("name", LISTS)
    @pytest.mark.parametrize("value", ["", " ", "a,b", "a;b", ["a", "b,c"], ["a", ""], [None], [5]])
    def test_values(self, name, value):
        """A blank value is refused, and one that holds what joins values."""
        text = refusal(**{name: value})
        bad = value if isinstance(value, str) else value[-1]

        assert text.startswith(f"{name} must be ")
        assert text.endswith(f"but is {bad!r}")

    @pytest.mark.parametrize("name", LISTS)
    @pytest.mark.parametrize("value", [None, 5, b"080", True])
    def test_no_values(self, name, value):
        """What is neither a text nor several is refused."""
        assert refusal(**{name: value}) == (
            f"{name} must be a text or several texts, but is {value!r}"
        )

    def test_surrogates(self):
        """Half a character can't be sent."""
        assert refusal(sids="\ud800").startswith("sids must be a text that UTF-8 can spell")

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (Range(at_least=-1), "duration.at_least"),
            (Range(at_most="x"), "duration.at_most"),
            (Range(at_least=1.5), "duration.at_least"),
        ],
    )
    def test_bounds(self, value, name):
        """A bound that can't work is named."""
        assert refusal(duration=value).startswith(f"{name} must be a whole number of at least 0")

    @pytest.mark.parametrize(
        "name",
        [
            "Sid",
            "DateCreated",
            "to",
            "From",
            "status",
            "Duration",
            "Price",
            "Direction",
            "PhoneNumber",
            "pagesize",
            "SortBy",
            "Before",
            "After",
            "Details",
        ],
    )
    def test_extra_repeats(self, name):
        """`extra` may not repeat what has an argument of its own, in any case."""
        assert refusal(extra={name: "x"}).startswith("extra must be without a parameter that has")

    def test_both_cursors(self):
        """A page has one cursor."""
        assert "after and before" in refusal(target, asked=query(), after="a", before="b")

    @pytest.mark.parametrize("cursor", ["after", "before"])
    @pytest.mark.parametrize("value", ["", " ", 5])
    def test_blank_cursor(self, cursor, value):
        """A blank cursor would begin anew: refused."""
        text = refusal(target, asked=query(), **{cursor: value})

        assert text == f"{cursor} must be a text that is not blank, but is {value!r}"

    def test_backwards(self):
        """A range that ends before it starts is refused, with both its ends."""
        text = refusal(
            created_after=datetime(2026, 10, 2, tzinfo=IST),
            created_before=datetime(2026, 10, 1, tzinfo=IST),
        )

        assert text.startswith("created_after (2026-10-02T00:00:00+05:30) must not lie after")
        assert "created_before (2026-10-01T00:00:00+05:30)" in text

    @pytest.mark.parametrize("before", [None, datetime.max.replace(tzinfo=UTC)])
    def test_future(self, before):
        """A range that begins in the future is refused."""
        after = NOW + timedelta(days=2)

        told = refusal(created_after=after, created_before=before)

        assert after.isoformat() in told
        assert before is not None or f"now ({NOW.isoformat()} by the client's clock)" in told

    @pytest.mark.parametrize("name", ["created_after", "created_before"])
    @pytest.mark.parametrize(
        "moment",
        [
            datetime(2026, 5, 1, 23, 59, 59, tzinfo=UTC),
            datetime(2026, 5, 2, 5, 29, 59, tzinfo=IST),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(1, 1, 1, tzinfo=IST),
        ],
    )
    def test_too_old(self, name, moment):
        """What is older than six months is refused; the error says what would do."""
        text = refusal(**{name: moment})

        assert text.startswith(f"{name} is {moment.isoformat()}, but Exotel keeps six months")
        told = datetime.fromisoformat(text.rpartition(" ")[2])
        assert (told, told.utcoffset()) == (datetime(2026, 5, 2, tzinfo=UTC), moment.utcoffset())
        assert query(**{name: told}).created is not None


class TestSixMonths:
    @pytest.mark.parametrize(
        ("now", "oldest"),
        [
            ("2026-11-02", "2026-05-02"),
            ("2026-12-31", "2026-07-01"),  # June has 30 days
            ("2026-08-31", "2026-03-01"),  # February has 28
            ("2026-08-29", "2026-03-01"),
            ("2026-08-28", "2026-02-28"),
            ("2028-08-29", "2028-02-29"),  # a leap year
            ("2028-08-30", "2028-03-01"),
            ("2026-10-31", "2026-05-01"),  # April has 30
            ("2026-05-31", "2025-12-01"),  # November has 30
            ("2026-06-30", "2025-12-30"),
            ("2026-01-01", "2025-07-01"),
            ("2026-07-15", "2026-01-15"),
        ],
    )
    def test_border(self, now, oldest):
        """Months are months, whatever their length: the border works, a second less does not."""
        now_ = datetime.fromisoformat(f"{now} 18:00:00+00:00")
        border = datetime.fromisoformat(f"{oldest} 00:00:00+00:00")

        assert query(now=now_, created_after=border).created[0] == border
        assert oldest in refusal(now=now_, created_after=border - SECOND)

    @examples(200)
    @given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
    def test_any_day(self, now):
        """On any day the border is 181 to 184 days back, or some hours more."""
        oldest = query(now=now, created_after=now - timedelta(days=180)).created[0]

        assert oldest == (now - timedelta(days=180)).replace(microsecond=0)
        assert refusal(now=now, created_after=now - timedelta(days=186))


aware = st.datetimes(
    datetime(2026, 5, 3),
    datetime(2026, 11, 2),
    timezones=st.sampled_from([UTC, IST, NEW_YORK, ZoneInfo("Europe/Berlin")]),
)


class TestSplit:
    def test_whole(self):
        """What fits into one request is one request."""
        asked = query(sids=["a"], to=["1"], created_after=NOW - timedelta(days=30))

        assert list(split(asked)) == [asked]
        assert parts_of(asked) == (asked,)

    @examples(150)
    @given(aware, aware, st.booleans())
    def test_days(self, one, other, ascending):
        """Windows cover a range; neighbours share a second; they come in the order asked for."""
        start, end = sorted((one, other), key=datetime.timestamp)
        asked = query(created_after=start, created_before=end, ascending=ascending)

        windows = [part.created for part in split(asked)]

        windows = windows if ascending else windows[::-1]
        assert windows[0][0].timestamp() == int(start.timestamp())
        assert windows[-1][1].timestamp() == int(end.timestamp())
        for earlier, later in pairwise(windows):
            assert later[0] == earlier[1]
        for first, last in windows:
            assert timedelta(0) <= last - first <= timedelta(days=30)

    def test_repeated_hour(self):
        """In the hour that comes twice, later is later although its wall clock is earlier."""
        first = datetime(2026, 11, 1, 1, 50, tzinfo=NEW_YORK)
        second = datetime(2026, 11, 1, 1, 10, tzinfo=NEW_YORK, fold=1)

        (start, end) = query(created_after=first, created_before=second).created

        assert end - start == timedelta(minutes=20)

    def test_summer_time(self):
        """No hour is left out where clocks are turned back between two windows."""
        start = datetime(2026, 10, 2, 1, 59, 59, tzinfo=NEW_YORK)
        end = datetime(2026, 11, 2, 0, 0, tzinfo=NEW_YORK)

        windows = sorted(part.created for part in split(query(
            now=NOW, created_after=start, created_before=end
        )))  # fmt: skip

        assert windows[1][0] == windows[0][1]

    @examples(60)
    @given(st.integers(0, 350), st.integers(0, 12), st.integers(0, 7), st.integers(0, 6))
    def test_values(self, sids, to, from_, phone_numbers):
        """Every combination of values is asked for once, none of them in too large a request."""
        numbers = {"sids": sids, "to": to, "from_": from_, "phone_numbers": phone_numbers}
        values = {name: [f"{name}{n}" for n in range(count)] for name, count in numbers.items()}
        most = {"sids": 100, "to": 5, "from_": 5, "phone_numbers": 5}

        parts = parts_of(query(**values))

        combinations = 1
        for name, all_values in values.items():
            chunks = list(dict.fromkeys(getattr(part, name) for part in parts))
            assert [value for chunk in chunks for value in chunk] == all_values
            assert all(len(chunk) <= most[name] for chunk in chunks)
            combinations *= len(chunks)
        assert len(set(parts)) == len(parts) == combinations

    def test_the_rest_stays(self):
        """All else is the same in every part."""
        asked = query(to=[str(n) for n in range(6)], statuses="busy", page_size=7, details=True)

        one, other = parts_of(asked)

        assert attrs.evolve(one, to=()) == attrs.evolve(other, to=()) == attrs.evolve(asked, to=())


class TestRefuseSplitting:
    @pytest.mark.parametrize(
        ("name", "most"), [("sids", 100), ("to", 5), ("from_", 5), ("phone_numbers", 5)]
    )
    def test_values(self, name, most):
        """A page holds as many values as one request may carry; the error says how many."""
        values = [str(n) for n in range(most + 1)]
        fitting = query(**{name: values[:-1]})

        assert refuse_splitting(fitting) is fitting
        text = refusal(refuse_splitting, query=query(**{name: values}))
        assert text.startswith(f"{name} may hold at most {most} values")
        assert f"holds {most + 1}" in text

    def test_days(self):
        """A page spans at most thirty days."""
        start = datetime(2026, 9, 1, tzinfo=IST)
        fitting = query(created_after=start, created_before=start + timedelta(days=30))
        longer = query(created_after=start, created_before=start + timedelta(days=30) + SECOND)

        assert refuse_splitting(fitting) is fitting
        assert "at most 30 days apart" in refusal(refuse_splitting, query=longer)

    def test_dates_that_work(self):
        """What is too long names both dates that would do, in the zone given; and they do."""
        # Clocks change within: 30 days are so many hours, not so many midnights.
        first = datetime(2026, 10, 1, tzinfo=ZoneInfo("Europe/Berlin"))
        last = datetime(2026, 11, 2, tzinfo=ZoneInfo("Europe/Berlin"))

        zone = zone_given({"created_after": first, "created_before": last})
        asked = query(created_after=first, created_before=last)
        text = refusal(refuse_splitting, query=asked, zone=zone)
        latest = re.search(r"created_before (\S+) at the latest", text)[1]
        earliest = re.search(r"created_after (\S+) at the earliest", text)[1]

        assert (latest, earliest) == ("2026-10-30T23:00:00+01:00", "2026-10-03T01:00:00+02:00")
        for one, other in (
            (first, datetime.fromisoformat(latest)),
            (datetime.fromisoformat(earliest), last),
        ):
            fitting = query(created_after=one, created_before=other)
            assert refuse_splitting(fitting) is fitting
            longer = query(created_after=one - SECOND, created_before=other)
            assert "at most 30 days apart" in refusal(refuse_splitting, query=longer)


class TestCallDetails:
    @pytest.mark.parametrize(
        ("options", "query_"),
        [
            ({}, ""),
            ({"details": True}, "?details=true"),
            ({"recording_url_validity": 5}, "?RecordingUrlValidity=5"),
            ({"recording_url_validity": 60}, "?RecordingUrlValidity=60"),
            (
                {"details": True, "recording_url_validity": 30},
                "?details=true&RecordingUrlValidity=30",
            ),
        ],
    )
    def test_target(self, options, query_):
        """One call is asked for by its Sid."""
        request = call_details("a/1", **options)

        assert request.target(account_sid="acc", response_format="xml") == (
            f"/v1/Accounts/acc/Calls/a%2F1{query_}"
        )
        assert (request.method, request.repeatable) == ("GET", True)

    @pytest.mark.parametrize(
        ("options", "allowed"),
        [
            ({"sid": ""}, "sid must be a text that is not blank, but is ''"),
            ({"sid": None}, "sid must be a text that is not blank, but is None"),
            ({"sid": "\ud800"}, "sid must be a text that UTF-8 can spell"),
            ({"details": 1}, "details must be True or False, but is 1"),
            ({"recording_url_validity": 4}, "recording_url_validity must be a whole number from 5"),
            ({"recording_url_validity": 61}, "from 5 to 60, but is 61"),
            ({"recording_url_validity": "5"}, "from 5 to 60, but is '5'"),
        ],
    )
    def test_refused(self, options, allowed):
        """What can't work is refused by name."""
        with pytest.raises(InvalidRequestError) as caught:
            call_details(**{"sid": "a", **options})

        assert allowed in str(caught.value)
