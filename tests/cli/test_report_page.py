"""The page of a report: what stands in it, and what a real browser makes of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from random import Random

import browser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import IST, Call, CallDetails, NumberMetadata
from exotel_async.cli.report_figures import Report, circles_of, report_of
from exotel_async.cli.report_page import Origin, page_of
from exotel_async.cli.report_svg import ticks_up_to
from exotel_async.cli.rows import Look
from exotel_async.cli.tallying import tallied

LOOK = Look(zone=IST, hide=str)
ORIGIN = Origin(made=datetime(2026, 11, 9, 9, 30, tzinfo=IST), version="0.1.0")
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)> \"'&"


def a_week() -> Report:
    """Make the report of a week, in which much is going on."""
    chance, calls = Random(7), []
    monday = datetime(2026, 11, 2, tzinfo=IST)
    for n in range(2000):
        status = chance.choice(["completed"] * 5 + ["busy", "no-answer", "failed", "canceled", "x"])
        talked = chance.randrange(1, 4000) if status == "completed" else 0
        calls.append(
            Call(
                sid=str(n), status=status, direction="outbound-api",
                date_created=monday + timedelta(minutes=chance.randrange(7 * 24 * 60)),
                phone_number=f"0804000{n % 5:04}", to=f"+9198123{n % 40:05}",
                details=CallDetails(conversation_duration=talked),
            )
        )  # fmt: skip
    tallies = tallied(calls, zone=IST, most_numbers=30)
    circle = NumberMetadata(circle="DL", circle_name="Delhi Metro")
    circles = circles_of(tallies.numbers, dict.fromkeys(tallies.numbers.known, circle), LOOK)
    return report_of(tallies, LOOK, circles=circles)


def hostile(text: str) -> str:
    """Make the page of a report in which every word is this text."""
    call = Call(
        sid="a", status=text, direction="outbound-api", to="+919812300001", phone_number=text,
        date_created=datetime(2026, 11, 2, 9, tzinfo=IST),
    )  # fmt: skip
    other = Call(sid="b", status="completed", direction="outbound-api", phone_number=text)
    tallies = tallied([call, other], zone=IST, most_numbers=5)
    circle = NumberMetadata(circle=text, circle_name=text)
    circles = circles_of(tallies.numbers, dict.fromkeys(tallies.numbers.known, circle), LOOK)
    origin = Origin(made=ORIGIN.made, version=text, filters=(text,))
    return page_of(report_of(tallies, LOOK, circles=circles), origin)


class Reader(HTMLParser):
    """Reads the elements and the texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class TestPage:
    def test_loads_nothing(self):
        """Nothing in it names anything outside, nor runs; were there something, it is forbidden."""
        page = page_of(a_week(), ORIGIN)

        found = Reader(page)

        assert found.open == []
        assert not {"script", "img", "link", "iframe", "a", "object"} & set(found.elements)
        assert not {"src", "href", "style"} & found.attributes
        assert not any(name.startswith("on") for name in found.attributes)
        assert "url(" not in page
        assert "@import" not in page
        assert "default-src 'none'" in page

    @given(st.text(st.sampled_from("<>\"'&/=a -!\u202e\x00"), max_size=12) | st.just(HOSTILE))
    def test_no_text_is_markup(self, text):
        """Whatever Exotel tells stays text: the elements are those of a page without it."""
        found, plain = Reader(hostile(text)), Reader(hostile("plain"))

        assert found.open == []
        assert set(found.elements) == set(plain.elements)
        assert found.attributes == plain.attributes

    def test_figures_below(self):
        """Each chart has its figures in a table, and they add up."""
        page = page_of(a_week(), ORIGIN)

        assert page.count("<details>") == page.count("<figure>") == 5
        table = page.partition("Calls by hour of the day</h2>")[2].partition("</table>")[0]
        rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", table)
        cells = [re.findall(r"<td>([\d,]+)</td>", row) for _, row in rows]
        assert len(rows) == 24
        assert sum(int(row[-1].replace(",", "")) for row in cells) == 2000

    def test_nothing(self):
        """A page without calls says so."""
        page = page_of(report_of(tallied([], zone=IST), LOOK), ORIGIN)

        assert "No calls." in page
        assert "<svg" not in page

    @given(st.integers(0, 10**7))
    def test_ticks(self, most):
        """An axis reaches what is drawn, in a few even steps."""
        ticks = ticks_up_to(most)

        assert ticks[0] == 0
        assert ticks[-1] >= most
        assert 2 <= len(ticks) <= 6
        assert len({b - a for a, b in pairwise(ticks)}) == 1


@pytest.mark.skipif(
    browser.BROWSER is None, reason=f"no browser is installed ({', '.join(browser.NAMES)})"
)
class TestBrowser:
    """The page in a real browser."""

    @pytest.fixture
    def page(self, tmp_path):
        """A page in a file."""
        path = tmp_path / "report.html"
        path.write_text(page_of(a_week(), ORIGIN), "utf-8")
        return path

    async def test_reads(self, page):
        """All charts are there, nothing is loaded, and no colour of a status is missing."""
        found = await browser.read(page, width=1100)

        assert found["headings"] == [
            "Calls from 2 to 8 November 2026", "Calls by hour of the day", "Calls by day and hour",
            "Answer rate by ExoPhone", "Answer rate by circle", "Talk time",
        ]  # fmt: skip
        assert found["charts"] == 3 + 5 + 1
        assert found["tables"] == 5
        assert found["marks"] > 7 * 24 + 24 * 5
        assert (found["scripts"], found["loaded"]) == (0, 0)
        assert len(found["fills"]) == 6

    async def test_on_a_phone_in_the_dark(self, page):
        """At 360 pixels nothing sticks out; where all is dark, it is, too."""
        light = await browser.read(page, width=360)
        dark = await browser.read(page, width=360, dark=True)

        assert (light["width"], dark["width"]) == (360, 360)
        assert (light["background"], dark["background"]) == (
            "rgb(246, 246, 244)",
            "rgb(17, 19, 22)",
        )
        assert not set(light["fills"]) & set(dark["fills"])

    async def test_looks(self, page):
        """It can be seen: a screenshot is as large as asked for, and not blank."""
        width, height, kinds = await browser.shoot(page, width=1000, height=2400)

        assert (width, height) == (1000, 2400)
        assert kinds > 100

    async def test_hostile(self, page):
        """What is made up to be markup runs nothing and breaks no chart."""
        page.write_text(hostile(HOSTILE), "utf-8")

        found = await browser.read(page, width=360)

        assert (found["scripts"], found["loaded"], found["width"]) == (0, 0, 360)
        assert len(found["headings"]) >= 4
