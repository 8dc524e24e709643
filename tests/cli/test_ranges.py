"""What users type for times and amounts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import IST, Range
from exotel_async.cli.ranges import age, amount_range, created_range

NOW = datetime(2026, 11, 10, 15, 30, 12, 345, tzinfo=IST)
SECOND = timedelta(seconds=1)
DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))
LATER = datetime(2101, 1, 1, tzinfo=UTC)  # all of them lie in the past
NOWS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)) | (
    # around the hour that comes twice in Berlin
    st.integers(-7200, 7200).map(
        lambda seconds: datetime(2026, 10, 25, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    )
)
ZONES = st.sampled_from([IST, UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/Santiago")])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=IST)


class TestCreatedRange:
    @pytest.mark.parametrize(
        ("text", "after", "before"),
        [
            ("today", "2026-11-10", "2026-11-10T23:59:59"),
            ("yesterday", "2026-11-09", "2026-11-09T23:59:59"),
            ("2026-11-01", "2026-11-01", "2026-11-01T23:59:59"),
            ("2026-11-01..2026-11-07", "2026-11-01", "2026-11-07T23:59:59"),
            ("2026-11-01 .. yesterday", "2026-11-01", "2026-11-09T23:59:59"),
            ("2026-11-01..", "2026-11-01", "2026-11-10T15:30:12"),
            ("7d", "2026-11-03T15:30:12", "2026-11-10T15:30:12"),
            ("24h", "2026-11-09T15:30:12", "2026-11-10T15:30:12"),
            ("30m", "2026-11-10T15:00:12", "2026-11-10T15:30:12"),
            ("2w..1w", "2026-10-27T15:30:12", "2026-11-03T15:30:12"),
            ("2026-11-01T10:00..2026-11-01T12:30", "2026-11-01T10:00", "2026-11-01T12:30:59"),
            ("2026-11-01T10:00", "2026-11-01T10:00", "2026-11-01T10:00:59"),
            ("2026-11-01T10", "2026-11-01T10:00", "2026-11-01T10:59:59"),
            ("2026-11-01T10:00:05.5", "2026-11-01T10:00:05", "2026-11-01T10:00:05"),
        ],
    )
    def test_means(self, text, after, before):
        """Both ends belong to it, and a day is whole."""
        assert created_range(text, now=NOW, zone=IST) == (at(after), at(before))

    def test_open_towards_the_past(self):
        """Without a beginning, the client decides how far back."""
        assert created_range("..yesterday", now=NOW, zone=IST)[0] is None

    def test_moment_with_its_own_zone(self):
        """A moment may bring its zone."""
        after, _ = created_range("2026-11-01T10:00Z..", now=NOW, zone=IST)

        assert after == datetime(2026, 11, 1, 10, tzinfo=UTC)

    @pytest.mark.parametrize(
        "text",
        ["", "..", "tomorrow", "2026-13-01", "2026-1-1", "7y", "1e3d", "today..yesterday",
         "2026-11-07..2026-11-01", "999999w", "9999-12-31", "0001-01-01", "2026-11-01...",
         "0001-01-01T00:00..", "T"],
    )  # fmt: skip
    def test_refused(self, text):
        """What makes no sense is refused, with words on what does."""
        with pytest.raises(ValueError, match=r"write today, yesterday"):
            created_range(text, now=NOW, zone=IST)

    @pytest.mark.parametrize("text", ["2026-11-11", "2026-11-10T15:31..", "2030-01-01..2030-02-01"])
    def test_future(self, text):
        """What has not begun yet is named as such."""
        with pytest.raises(ValueError, match="it lies in the future"):
            created_range(text, now=NOW, zone=IST)

    def test_hour_that_comes_twice(self):
        """In the hour after clocks went back, the last minutes are the last minutes."""
        berlin = ZoneInfo("Europe/Berlin")
        now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time

        after, before = created_range("40m..", now=now, zone=berlin)

        assert before.astimezone(UTC) - after.astimezone(UTC) == timedelta(minutes=40)

    def test_says_what_is_wrong(self):
        """A range the wrong way round is named as such."""
        with pytest.raises(ValueError, match="ends before it begins"):
            created_range("today..yesterday", now=NOW, zone=IST)

    @given(day=DAYS, zone=ZONES)
    def test_days_leave_no_gap(self, day, zone):
        """The second after a day's last is the next day's first, whatever clocks do at night."""
        _, end = created_range(day.isoformat(), now=LATER, zone=zone)
        start, _ = created_range((day + timedelta(days=1)).isoformat(), now=LATER, zone=zone)

        assert end.astimezone(UTC) + SECOND == start.astimezone(UTC)

    @given(now=NOWS, zone=ZONES)
    def test_today_holds_now(self, now, zone):
        """Now is today, and was not yesterday."""
        now = now.replace(microsecond=0)
        start, end = created_range("today", now=now, zone=zone)
        _, before = created_range("yesterday", now=now, zone=zone)

        assert start.astimezone(UTC) <= now <= end.astimezone(UTC)
        assert before.astimezone(UTC) < now

    @given(one=DAYS, other=DAYS, zone=ZONES)
    def test_from_day_to_day(self, one, other, zone):
        """A range begins as its first day does, and ends as its last."""
        first, last = sorted((one, other))
        start, end = created_range(f"{first}..{last}", now=LATER, zone=zone)

        assert start == created_range(str(first), now=LATER, zone=zone)[0]
        assert end == created_range(str(last), now=LATER, zone=zone)[1]

    @given(
        text=st.text(max_size=30) | st.from_regex(r"([0-9]{1,2}[mhd])?(\.\.([0-9]{1,2}[mh])?)?",
                                                  fullmatch=True),
        now=NOWS, zone=ZONES,
    )  # fmt: skip
    def test_any_text(self, text, now, zone):
        """Whatever is typed is read, or refused by a ValueError."""
        try:
            after, before = created_range(text, now=now, zone=zone)
        except ValueError:
            return
        assert after is None or after.astimezone(UTC) <= before.astimezone(UTC)

    @given(minutes=st.integers(1, 200), now=NOWS, zone=ZONES)
    def test_minutes_ago(self, minutes, now, zone):
        """So many minutes are as long as they are, whatever clocks do meanwhile."""
        now = now.replace(microsecond=0)

        for text in (f"{minutes}m", f"{minutes}m.."):
            after, before = created_range(text, now=now, zone=zone)
            assert before.astimezone(UTC) == now
            assert after.astimezone(UTC) == now - timedelta(minutes=minutes)


class TestAmountRange:
    @pytest.mark.parametrize(
        ("text", "whole", "meant"),
        [
            ("30", True, 30),
            ("1.50", False, Decimal("1.50")),
            ("10..45", True, Range(at_least=10, at_most=45)),
            ("10..", True, Range(at_least=10)),
            ("..2.5", False, Range(at_most=Decimal("2.5"))),
        ],
    )
    def test_means(self, text, whole, meant):
        """A number, or bounds."""
        assert amount_range(text, whole=whole) == meant

    @pytest.mark.parametrize(("text", "whole"), [("", True), ("..", True), ("1.5", True),
                                                 ("a", False), ("1..b", False),
                                                 ("NaN", False), ("1..Infinity", False),
                                                 ("-1", True), ("45..10", True)])  # fmt: skip
    def test_refused(self, text, whole):
        """What is no number is refused with an example."""
        with pytest.raises(ValueError, match=r"write 30, 10\.\.45"):
            amount_range(text, whole=whole)


class TestAge:
    @pytest.mark.parametrize(
        ("text", "meant"),
        [("36h", timedelta(hours=36)), (" 30d", timedelta(days=30)), ("4w", timedelta(weeks=4))],
    )
    def test_means(self, text, meant):
        """Hours, days or weeks."""
        assert age(text) == meant

    @pytest.mark.parametrize("text", ["", "0d", "6m", "30", "-1d", "1.5d", "36501d"])
    def test_refused(self, text):
        """What is no age is refused with an example; minutes may have been meant as months."""
        with pytest.raises(ValueError, match="write 36h, 30d or 52w"):
            age(text)
