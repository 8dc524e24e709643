"""`exotel-async calls report`: what is counted, and what a terminal shows of it."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from datetime import datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from cli_processes import on_terminal
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from exotel_async import IST, Call, CallDetails, NumberMetadata
from exotel_async.cli import tallying
from exotel_async.cli.charts import draw, lines_of
from exotel_async.cli.report_figures import (
    Rate,
    Report,
    circles_of,
    percent,
    report_of,
    word,
)
from exotel_async.cli.rows import Look
from exotel_async.cli.tallying import Few, Tallies, other_party, quantile, tallied
from exotel_async.cli.whole_file import check_writable, write_whole
from exotel_async.errors import mask_secrets

LOOK = Look(zone=IST, hide=mask_secrets)
BARE = Look(zone=IST, hide=str)
EXOPHONE, TO = "08040001234", "+919812300002"
NINE = datetime(2026, 11, 2, 9, 30, tzinfo=IST)


def call(**fields) -> Call:
    given = {
        "sid": "c", "status": "completed", "direction": "outbound-api", "date_created": NINE,
        "phone_number": EXOPHONE, "to": TO, **fields,
    }  # fmt: skip
    return Call(**given)


def talked(seconds: int | None, **fields) -> Call:
    return call(details=CallDetails(conversation_duration=seconds), **fields)


def report(*calls: Call, look: Look = LOOK, **more) -> Report:
    return report_of(tallied(calls, zone=look.zone), look, **more)


def drawn(found: Report, *, width: int = 100, **options) -> str:
    return "\n".join(line.plain for line in lines_of(found, width, **options))


WORDS = st.sampled_from(
    [None, "", "completed", "busy", "no-answer", *(f"new-{i}" for i in range(30))]
)
CALLS = st.lists(
    st.builds(
        call,
        status=WORDS,
        direction=st.sampled_from([None, "inbound", "outbound-api", "outbound-dial", "odd"]),
        phone_number=st.sampled_from([None, *(f"0804000{i:04}" for i in range(12))]),
        to=st.sampled_from([None, "sip:a@b", *(f"+9198{i:08}" for i in range(12))]),
        date_created=st.none()
        | st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1)).map(
            lambda at: at.replace(tzinfo=IST)
        ),
        details=st.none()
        | st.builds(CallDetails, conversation_duration=st.none() | st.integers(0, 100_000)),
    ),
    max_size=60,
)


class TestTallies:
    @given(parts=st.lists(CALLS, max_size=4), most=st.integers(0, 5))
    def test_sum(self, parts, most):
        """The tallies of parts add up to those of the whole, whatever had to be put together."""
        whole = tallied([one for part in parts for one in part], zone=IST, most_numbers=most)

        found = tallied([], zone=IST, most_numbers=most)
        for part in parts:
            found = found.plus(tallied(part, zone=IST, most_numbers=most))

        assert found == whole

    @given(calls=CALLS, most=st.integers(0, 5))
    def test_counts(self, calls, most):
        """Every record is counted once, under its status and in its hour or in none."""
        found = tallied(calls, zone=IST, most_numbers=most)

        cells = sum(found.statuses.known.values(), Counter(found.statuses.rest))
        ended = [one for one in calls if tallying.is_ended_outbound(one)]
        answered = [one for one in ended if one.status == "completed"]
        assert found.records == len(calls) == cells.total()
        assert found.undated == cells[None] == sum(one.date_created is None for one in calls)
        for few in (found.exophones, found.numbers):
            counts = sum(few.known.values(), Counter(few.rest))
            assert tallying.rate(counts) == (len(answered), len(ended))

    @given(calls=CALLS, most=st.integers(0, 5), order=st.randoms())
    def test_order(self, calls, most, order):
        """The order in which records come does not matter."""
        shuffled = order.sample(calls, len(calls))

        found = tallied(shuffled, zone=IST, most_numbers=most)

        assert found == tallied(calls, zone=IST, most_numbers=most)

    def test_made_up_words(self):
        """Of words that anybody may make up only so many are told apart; Exotel's own always."""
        calls = [call(status=f"word-{i}", phone_number=f"{i:08}") for i in range(2_000)]
        ends = [call(status="busy", phone_number=f"{i:08}") for i in range(2_000)]

        found = tallied(calls + ends, zone=IST, most_numbers=7)

        assert len(found.statuses.known) == tallying.MOST_STATUSES
        assert found.statuses.known["busy"].total() == 2_000
        assert len(found.exophones.known) == tallying.MOST_EXOPHONES
        assert len(found.numbers.known) <= 7

    def test_hour_is_of_the_zone(self):
        """An hour is one of the wall clock that is asked for."""
        at = datetime(2026, 11, 2, 20, 0, tzinfo=IST)

        found = tallied([call(date_created=at)], zone=ZoneInfo("Asia/Tokyo"))

        (hour,) = found.statuses.known["completed"]
        assert hour == (datetime(2026, 11, 2).date(), 23)

    def test_endless_talk(self):
        """What claims to have lasted longer than a day counts as a day."""
        found = tallied([talked(10**9), talked(10**8)], zone=IST)

        assert found.talk == {tallying.LONGEST_TALK: 2}

    @pytest.mark.parametrize(
        ("fields", "party"),
        [
            ({"to": TO, "from_": "09800000001"}, TO),
            ({"to": EXOPHONE, "from_": "09800000001"}, "09800000001"),
            ({"to": "sip:desk123456789@example.com", "from_": "09800000001"}, "09800000001"),
            ({"to": "a flow", "from_": None}, ""),
        ],
    )
    def test_other_party(self, fields, party):
        """The other party is whom the call rang second, or the only one it rang."""
        assert other_party(call(**fields)) == party

    @given(st.lists(st.integers(1, 50), min_size=1), st.sampled_from([0.5, 0.9]))
    def test_quantile(self, values, share):
        """So large a share of all is not above it, and no smaller value does that."""
        found = quantile(Counter(values), share)

        enough = [v for v in values if sum(w <= v for w in values) >= share * len(values)]
        assert found == min(enough)


class TestReport:
    def test_answer_rate(self):
        """An answer rate is of outbound calls that ended; others do not count."""
        found = report(
            call(), call(status="busy"), call(status="no-answer"), call(status="failed"),
            call(direction="inbound"), call(status="in-progress"), call(direction=None),
        )  # fmt: skip

        assert (found.answered.answered, found.answered.ended) == (1, 4)
        assert found.exophones == (Rate(name="***1234", answered=1, ended=4),)

    def test_busiest_first(self):
        """The ExoPhone with most calls stands first."""
        found = report(call(), call(phone_number=None), call(phone_number=None))

        assert [rate.name for rate in found.exophones] == ["none", "***1234"]

    def test_same_mask(self):
        """ExoPhones that look the same when masked stay apart."""
        found = report(call(), call(phone_number="02240001234", status="busy"))

        assert [(rate.name, rate.ended) for rate in found.exophones] == [("***1234", 1)] * 2

    @pytest.mark.parametrize(("days", "rows"), [(1, 0), (2, 0), (3, 3), (31, 31), (32, 7)])
    def test_days(self, days, rows):
        """Up to two days have no map, up to a month has its days, more the days of the week."""
        found = report(call(), call(date_created=NINE + timedelta(days=days - 1)))

        assert len(found.days) == rows
        assert sum(sum(row.by_hour) for row in found.days) == (2 if rows else 0)

    def test_unknown_status(self):
        """A word newer than this release keeps its count, and is drawn among the others."""
        found = report(call(status="held"), call(status="parked"), call())

        assert [one.status for one in found.statuses] == ["completed", "held", "parked"]
        assert [(one.status, one.calls) for one in found.series] == [("completed", 1), ("other", 2)]

    def test_talk(self):
        """Talk times have a median, a 90th percentile and buckets; no talk is not among them."""
        found = report(*(talked(s) for s in (5, 15, 45, 61, 4000)), talked(0), talked(None))

        assert found.talk is not None
        assert (found.talk.median, found.talk.ninetieth) == (45, 4000)
        assert (found.talk.calls, found.talk.without_talk) == (5, 1)
        assert [one.calls for one in found.talk.buckets] == [1, 1, 1, 1, 0, 0, 0, 0, 1]

    @given(st.lists(st.integers(1, 100_000), min_size=1))
    def test_every_talk_has_a_bucket(self, seconds):
        """Each talk time falls into one bucket."""
        found = report(*map(talked, seconds))

        assert found.talk is not None
        assert sum(one.calls for one in found.talk.buckets) == len(seconds)

    def test_without_details(self):
        """Without details there are no talk times, rather than none of any length."""
        assert report(call()).talk is None

    def test_circles(self):
        """Circles sum up what their numbers had; what is not known stands apart."""
        calls = [
            call(to=f"+9198123000{i:02}", status="busy" if i else "completed") for i in range(4)
        ]
        numbers = tallied(calls, zone=IST, most_numbers=10).numbers
        delhi = NumberMetadata(circle="DL", circle_name="Delhi Metro Telecom Circle (includes NCR)")
        metadata = dict.fromkeys(numbers.known, delhi) | {"+919812300003": None}

        found = circles_of(numbers, metadata, LOOK)

        assert found.rates == (
            Rate(name="Delhi Metro", answered=1, ended=3),
            Rate(name="not known", answered=0, ended=1),
        )
        assert (found.looked_up, found.failed, found.calls_left_out) == (4, 1, 0)

    def test_sample_of_circles(self):
        """Calls to numbers beyond the most are told, not guessed."""
        calls = [call(to=f"+9198123000{i:02}") for i in range(9)]
        numbers = tallied(calls, zone=IST, most_numbers=4).numbers

        found = circles_of(numbers, dict.fromkeys(numbers.known, NumberMetadata(circle="DL")), LOOK)

        assert (found.looked_up, found.calls_left_out) == (4, 5)

    def test_word(self):
        """A word from elsewhere can't move the cursor, nor be endless, nor be a number."""
        shown = word("\x1b[2J\u202e" + TO + "x" * 500, LOOK)

        assert shown.isprintable()
        assert len(shown) == 40
        assert TO[3:] not in word(TO, LOOK)

    @pytest.mark.parametrize(
        ("share", "text"), [(0, "0 %"), (1, "100 %"), (0.999, "99 %"), (0.001, "1 %")]
    )
    def test_percent(self, share, text):
        """What is not all is never 100 %, what is not nothing never 0 %."""
        assert percent(share) == text


class TestDraw:
    FULL = report(
        talked(70), talked(7), call(status="busy"), call(status="<b>"),
        call(date_created=NINE + timedelta(days=3, hours=5)),
    )  # fmt: skip

    @pytest.mark.parametrize("width", [40, 60, 80, 200])
    def test_fits(self, width):
        """No line is wider than the terminal."""
        assert max(map(len, drawn(self.FULL, width=width).splitlines())) <= width

    def test_headings(self):
        """Each chart is there."""
        shown = drawn(self.FULL)

        for heading in ("Calls by hour", "day and hour", "rate by ExoPhone", "Talk time  median"):
            assert heading in shown

    def test_bars_add_up(self):
        """The longest bar takes the room there is, each status its share."""
        found = report(*[call()] * 3, call(status="busy"))

        (nine,) = [line for line in drawn(found, width=48).splitlines() if line.startswith("09")]
        assert (nine.count("█"), nine.count("▒")) == (31, 10)

    def test_ascii(self):
        """Where there are no blocks, letters do."""
        shown = drawn(self.FULL, ascii_only=True)

        assert shown.isascii()

    def test_no_colours_when_piped(self):
        """Off a terminal no colour is written; on one it is."""
        piped, shown = StringIO(), StringIO()
        draw(self.FULL, Console(file=piped))
        draw(self.FULL, Console(file=shown, force_terminal=True, color_system="standard"))

        assert "\x1b" not in piped.getvalue()
        assert "\x1b[34m" in shown.getvalue()

    def test_nothing(self):
        """No calls are told as such."""
        assert drawn(report()) == "No calls."

    def test_nothing_dated(self):
        """Records without a time are counted, and no chart breaks."""
        assert "Without a time: 1" in drawn(report(call(date_created=None)))


class TestCommand:
    async def test_charts(self, cli, sim):
        """Charts are drawn of what is found, numbers masked, and what is missing is told."""
        sim.add_call(phone_number=EXOPHONE, talked=33)
        sim.add_call(phone_number=EXOPHONE, status="busy")

        ran = await cli("calls", "report")

        assert ran.status == 0
        assert "Answer rate by ExoPhone  50 % of 2" in ran.out
        assert "***1234" in ran.out
        assert EXOPHONE not in ran.out
        assert "median 33 s" in ran.out
        assert "--circles 500" in ran.err

    async def test_json(self, cli, sim):
        """As JSON it is one object."""
        sim.add_call(phone_number=EXOPHONE, talked=33)

        ran = await cli("calls", "report", "--json")

        (found,) = ran.objects
        assert found["records"] == 1
        assert found["answered"] == {"name": "all", "answered": 1, "ended": 1}
        assert found["exophones"] == [{"name": "***1234", "answered": 1, "ended": 1}]
        assert (found["talk"]["median"], found["circles"]) == (33, None)

    async def test_filters(self, cli, sim):
        """The filters of `calls list` are there."""
        sim.add_call(status="busy")
        sim.add_call()

        ran = await cli("calls", "report", "--json", "--status", "busy", "--created", "2h")

        assert [one["status"] for one in ran.objects[0]["statuses"]] == ["busy"]

    async def test_all_pages(self, cli, sim):
        """All records are counted, however many pages they fill."""
        for _ in range(230):
            sim.add_call()

        ran = await cli("calls", "report", "--json")

        assert ran.objects[0]["records"] == 230

    async def test_time_zone(self, cli, sim):
        """Hours are those of the account, in whose zone Exotel writes times."""
        sim.add_call(date_created=sim.clock.now().astimezone(IST).replace(hour=0, minute=10))

        ran = await cli("calls", "report", "--json", "--time-zone", "Asia/Tokyo")

        (found,) = ran.objects
        assert found["statuses"][0]["by_hour"][0] == 1
        assert (found["time_zone"], found["last"][-6:]) == ("Asia/Tokyo", "+09:00")

    async def test_circles(self, cli, sim):
        """Circles cost one request for each number, told before, and never more than allowed."""
        for i in range(5):
            sim.add_call(to=f"+9198123000{i:02}")

        ran = await cli("calls", "report", "--json", "--circles", "3")

        asked = [one for one in sim.requests if "/Numbers/" in one.path]
        circles = ran.objects[0]["circles"]
        assert len(asked) == circles["looked_up"] == 3
        assert circles["calls_left_out"] == 2
        assert "Looking up the circles of 3 numbers, one request each" in ran.err

    async def test_circles_refused(self, cli, sim):
        """A number of which Exotel tells nothing is counted as such, and the report is there."""
        sim.add_call()
        sim.fault("senseless-200", on="number")

        ran = await cli("calls", "report", "--json", "--circles", "3")

        assert ran.status == 0
        assert ran.objects[0]["circles"]["failed"] == 1
        assert "Not looked up: 1" in ran.err

    async def test_no_details(self, cli, sim):
        """Without details Exotel is not asked for them."""
        sim.add_call()

        ran = await cli("calls", "report", "--no-details")

        assert all("details" not in dict(one.params) for one in sim.requests)
        assert "--details" in ran.err

    async def test_page(self, cli, sim, tmp_path):
        """The page holds the report, is for its owner only, and shows whole numbers when asked."""
        sim.add_call(phone_number=EXOPHONE)
        masked, whole = tmp_path / "masked.html", tmp_path / "whole.html"

        ran = await cli("calls", "report", "--html", str(masked))
        await cli("calls", "report", "--html", str(whole), "--show-numbers")

        assert (ran.status, ran.out) == (0, "")
        assert "Report of 1 calls written to" in ran.err
        assert EXOPHONE[1:] not in masked.read_text("utf-8")
        assert EXOPHONE[1:] in whole.read_text("utf-8")
        assert sorted(tmp_path.iterdir()) == [masked, whole]
        if os.name == "posix":
            assert stat.S_IMODE(masked.stat().st_mode) == 0o600

    async def test_page_is_there(self, cli, sim, tmp_path):
        """A file that is there is not replaced, and nothing is asked; --force replaces it."""
        path = tmp_path / "report.html"
        path.write_text("mine", "utf-8")

        refused = await cli("calls", "report", "--html", str(path))

        assert refused.status == 2
        assert "is there already; --force replaces it" in refused.err
        assert (path.read_text("utf-8"), sim.requests) == ("mine", [])
        assert (await cli("calls", "report", "--html", str(path), "--force")).status == 0
        assert path.read_text("utf-8").startswith("<!DOCTYPE html>")

    @pytest.mark.parametrize(
        "argv", [("--force",), ("--circles", "0"), ("--html", "nowhere/at/all/r.html")]
    )
    async def test_usage(self, cli, sim, argv):
        """What makes no sense is refused before anything is asked."""
        ran = await cli("calls", "report", *argv)

        assert ran.status == 2
        assert argv[0] in ran.err
        assert sim.requests == []

    async def test_failure_leaves_no_page(self, cli, sim, tmp_path):
        """Where Exotel refuses, no file appears."""
        sim.fault("exception-200", on="bulk", times=None)

        ran = await cli("calls", "report", "--html", str(tmp_path / "report.html"))

        assert ran.status != 0
        assert list(tmp_path.iterdir()) == []

    async def test_on_terminal(self, world, sim):
        """On a terminal the charts are as wide as it is, and coloured."""
        sim.add_call()

        status, shown = await on_terminal("calls", "report", world=world, columns=60)

        assert status == 0
        assert "\x1b[34m█" in shown


class TestWriteWhole:
    def test_never_replaces(self, tmp_path):
        """A file that came meanwhile stays, and no part is left."""
        path = tmp_path / "a"
        path.write_text("theirs", "utf-8")

        with pytest.raises(ValueError, match="is there already"):
            write_whole(path, "ours", force=False)

        assert [one.name for one in tmp_path.iterdir()] == ["a"]
        assert path.read_text("utf-8") == "theirs"

    def test_disk_full(self, tmp_path, monkeypatch):
        """Where the disk refuses, the old file stays and no part is left."""
        path = tmp_path / "a"
        path.write_text("old", "utf-8")
        monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("full")))

        with pytest.raises(OSError, match="full"):
            write_whole(path, "new", force=True)

        assert [one.name for one in tmp_path.iterdir()] == ["a"]
        assert path.read_text("utf-8") == "old"

    def test_no_file(self, tmp_path):
        """What is no file is never replaced, --force or not."""
        with pytest.raises(ValueError, match="no file"):
            check_writable(tmp_path, force=True)


def test_json_of_all() -> None:
    """A report is plain JSON, whatever stands in it."""
    from exotel_async.cli.plain import to_json

    tree = json.loads(to_json(TestDraw.FULL, hide=mask_secrets))

    assert tree["records"] == 5
    assert len(tree["days"]) == 4
    assert isinstance(tallied([], zone=IST), Tallies)
    assert Few(most=0, known={}, rest=Counter()).rest == {}
