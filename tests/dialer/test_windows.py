"""Which seconds are read, together with which, and how pages join."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st
from traffic import RECORD, SENT

from exotel_async import Call, CallPage
from exotel_async.dialer.windows import (
    Gap,
    Reading,
    Whole,
    Window,
    clusters,
    skew_for,
    take_in,
    widened,
    window_of,
)

WINDOW = Window(1000, 1100)
START = Reading(window=WINDOW, since=1000)


def call(second: int | None, sid: str = "") -> Call:
    made = None if second is None else datetime.fromtimestamp(second, UTC)
    return Call(sid=sid or f"s{second}", date_created=made)


def page(*calls: Call, total: int | None = -1, **changes: object) -> CallPage:
    return CallPage(calls=calls, total=len(calls) if total == -1 else total, **changes)


class TestWindowOf:
    def test_ends(self):
        """From the sending less the skew, to the request's end and five minutes."""
        window = window_of(RECORD, skew=60)

        assert window == Window(int(SENT) - 60, int(SENT) + 5 + 10 + 300)

    def test_clocks_apart(self):
        """Where clocks are further apart both ends give way."""
        assert window_of(RECORD, skew=180) == Window(int(SENT) - 180, int(SENT) + 5 + 10 + 420)

    @pytest.mark.parametrize(
        ("apart", "skew"), [(None, 60), (30, 60), (31, 120), (90, 120), (91, 180)]
    )
    def test_skew(self, apart, skew):
        """A skew is more than what was measured, and never less than a minute."""
        assert skew_for(apart) == skew


class TestClusters:
    def test_together(self):
        """Windows are read together as long as that is not too much at once."""
        near, also, far = Window(0, 400), Window(300, 700), Window(1500, 1900)

        assert clusters([(3, far), (1, near), (2, also)]) == [
            (Window(0, 700), [1, 2]), (far, [3]),
        ]  # fmt: skip

    def test_long_one(self):
        """One that is long by itself is read all the same."""
        assert clusters([(1, Window(0, 9000))]) == [(Window(0, 9000), [1])]

    def test_widened(self):
        """It is stretched over the first known call that is near enough."""
        near = attrs.evolve(RECORD, sent_at=SENT + 2000, not_after=SENT + 2005)
        far = attrs.evolve(RECORD, sent_at=SENT + 3500, not_after=SENT + 3505)
        window = window_of(RECORD, skew=60)

        assert widened(window, [far, near], skew=60) == window.joined(window_of(near, skew=60))
        assert widened(window, [far], skew=60) == window


class TestTakeIn:
    def test_one_page(self):
        """A page that holds all is the whole, in whatever order."""
        assert take_in(START, page(call(1005), call(1001))) == Whole((call(1005), call(1001)))

    def test_next_page(self):
        """The next page begins with the last second once more."""
        read = take_in(START, page(call(1001), call(1005), total=3))
        told = take_in(read, page(call(1005), call(1009)))

        assert read.since == 1005
        assert told == Whole((call(1001), call(1005), call(1009)))

    def test_cursor_that_leads_nowhere(self):
        """A cursor on a page that brings nothing new is no more to read."""
        read = take_in(START, page(call(1001), after="x"))

        assert take_in(read, page(call(1001), after="x")) == Whole((call(1001),))

    def test_no_total(self):
        """Without a total a full page, or a cursor, means that there may be more."""
        full = page(*(call(1000 + i // 2, f"s{i}") for i in range(100)), total=None)

        assert isinstance(take_in(START, full), Reading)
        assert isinstance(take_in(START, page(call(1001), total=None, after="x")), Reading)
        assert isinstance(take_in(START, page(call(1001), total=None)), Whole)

    @pytest.mark.parametrize(
        ("flawed", "why"),
        [
            (page(call(1001), skipped=1), "without a Sid"),
            (page(call(1001), call(1001)), "twice"),
            (page(call(1001), total=0), "in all"),
            (page(call(999)), "not asked for"),
            (page(call(1101)), "not asked for"),
            (page(call(1005), call(1001), total=3), "no order"),
        ],
    )
    def test_flaws(self, flawed, why):
        """A page that can't be trusted to hold all is a gap."""
        told = take_in(START, flawed)

        assert isinstance(told, Gap)
        assert why in told.why

    def test_row_that_is_gone(self):
        """A record that was there and is not any more is a gap: others may have gone, too."""
        read = take_in(START, page(call(1001), call(1005), total=3))

        assert isinstance(take_in(read, page(call(1009))), Gap)

    def test_one_second(self):
        """More in one second than on a page can't be read to its end."""
        crowd = [call(1005, f"s{i}") for i in range(3)]
        read = take_in(START, page(call(1001), *crowd[:2], total=4))
        again = take_in(read, page(*crowd[:2], total=3))

        assert isinstance(again, Gap)

    @examples(300)
    @given(
        there=st.lists(st.integers(1000, 1020), max_size=14),
        changes=st.lists(
            st.tuples(st.sampled_from(["add", "drop"]), st.integers(1000, 1020)), max_size=8
        ),
        size=st.integers(2, 6),
    )
    def test_shifting_rows(self, there, changes, size):
        """Whatever comes and goes between pages, no record that stays is missed."""
        rows = {f"s{i}": second for i, second in enumerate(there)}
        stays = dict(rows)
        reading = START
        for turn in range(40):
            if not isinstance(reading, Reading):
                break
            listed = sorted(
                (second, sid) for sid, second in rows.items() if second >= reading.since
            )
            shown = [call(second, sid) for second, sid in listed[:size]]
            reading = take_in(reading, page(*shown, total=len(listed)))
            for what, second in changes[turn : turn + 1]:
                if what == "add":
                    rows[f"new{turn}"] = second
                elif second % 15 < len(there):
                    rows.pop(f"s{second % 15}", None)
                    stays.pop(f"s{second % 15}", None)

        assert isinstance(reading, Whole | Gap)
        if isinstance(reading, Whole):
            assert stays.keys() <= {one.sid for one in reading.calls}
