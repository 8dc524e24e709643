"""Every way in which Exotel spells a value, or the lack of one."""

from __future__ import annotations

import doctest
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from campaign import examples
from hypothesis import example, given
from hypothesis import strategies as st

from exotel_async import errors
from exotel_async.errors import ConfigurationError
from exotel_async.models import (
    AnsweredBy,
    CallStatus,
    Circle,
    Direction,
    Dnd,
    LegStatus,
    Operator,
    calls,
)
from exotel_async.wire import connecting, request, values
from exotel_async.wire.fields import MissingSidError, read_event_type, read_sid
from exotel_async.wire.values import (
    IST,
    InexactError,
    fold,
    read_custom_field,
    read_price,
    read_seconds,
    read_text,
    time_reader,
    word_reader,
)
from exotel_async.wire.zones import zone_of

NO_VALUES = ["", None, "null", "N/A"]
JSON_SCALARS = st.none() | st.booleans() | st.integers() | st.text() | st.decimals() | st.floats()
JSON_ODDITIES = st.lists(JSON_SCALARS, max_size=2) | st.dictionaries(
    st.text(), JSON_SCALARS, max_size=2
)

read_time = time_reader(IST)
read_status = word_reader(CallStatus)


def ist(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=IST)


class TestReadText:
    @pytest.mark.parametrize("value", NO_VALUES)
    def test_no_value(self, value):
        """No value is spelled in four ways."""
        assert read_text(value) is None

    @pytest.mark.parametrize(
        "number",
        ["0XXXXX30240", "09876543210", "+919876543210", "919876543210", "9876543210", "sip:a@b"],
    )
    def test_numbers_raw(self, number):
        """Phone numbers stay as they came."""
        assert read_text(number) == number

    @pytest.mark.parametrize(("value", "text"), [(0, "0"), (80, "80"), (Decimal("1.50"), "1.50")])
    def test_scalars(self, value, text):
        """A JSON number becomes its text, digit for digit."""
        assert read_text(value) == text

    @pytest.mark.parametrize("value", [True, False, [], {}, ["x"], {"a": 1}, float("nan")])
    def test_wrong_type(self, value):
        """What is no text is not made into one."""
        with pytest.raises(ValueError):
            read_text(value)


class TestReadCustomField:
    @pytest.mark.parametrize("text", ["null", "N/A", " ", '{"order": 1}'])
    def test_kept(self, text):
        """The user's own text is kept, even if it looks like no value."""
        assert read_custom_field(text) == text

    @pytest.mark.parametrize("value", ["", None])
    def test_no_value(self, value):
        """Nothing is nothing."""
        assert read_custom_field(value) is None


class TestReadSeconds:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (17, 17),
            ("17", 17),
            ("29.0", 29),
            (Decimal("29.0"), 29),
            ("0", 0),
            (0, 0),
            (" 17 ", 17),
            ("999999999999", 999_999_999_999),
        ],
    )
    def test_whole(self, value, seconds):
        """Whole seconds read as int, however they are spelled."""
        result = read_seconds(value)

        assert (result, type(result)) == (seconds, int)

    @pytest.mark.parametrize("value", NO_VALUES)
    def test_no_value(self, value):
        """No value is spelled in four ways."""
        assert read_seconds(value) is None

    @pytest.mark.parametrize("value", ["4.39", Decimal("4.39")])
    def test_parts(self, value):
        """Parts of a second are cut off, and it is said that they were."""
        with pytest.raises(InexactError) as caught:
            read_seconds(value)

        assert caught.value.value == 4

    @pytest.mark.parametrize(
        "value",
        [
            "-1",
            -1,
            "17 s",
            "1e3",
            "0x1",
            "1,000",
            "9" * 13,
            10**12,
            "9" * 60_000,
            10**4000,
            True,
            "4." + "9" * 60_000,
            Decimal("1E+999999"),
            1e-7,
            [],
            {},
        ],
    )
    def test_unreadable(self, value):
        """What is no duration, or beyond all bounds, is refused."""
        with pytest.raises(ValueError) as caught:
            read_seconds(value)

        assert not isinstance(caught.value, InexactError)


class TestReadPrice:
    @pytest.mark.parametrize(
        ("value", "price"),
        [
            ("1.500", "1.500"),
            ("0.300030", "0.300030"),
            (0, "0"),
            ("0", "0"),
            (Decimal("0.10"), "0.10"),
            ("-0.5", "-0.5"),
            ("123456789012345.5", "123456789012345.5"),
            (" 1.5 ", "1.5"),
        ],
    )
    def test_digits(self, value, price):
        """A price is a Decimal, digit for digit."""
        result = read_price(value)

        assert type(result) is Decimal
        assert str(result) == price

    @pytest.mark.parametrize("value", NO_VALUES)
    def test_no_value(self, value):
        """No value is spelled in four ways."""
        assert read_price(value) is None

    @pytest.mark.parametrize(
        "value",
        [
            "NaN",
            "Infinity",
            "1e5",
            "1,5",
            "INR 1",
            ".",
            "9" * 60_000,
            Decimal("1E+999999"),
            Decimal("NaN"),
            float("nan"),
            1e-7,
            True,
            [],
            {},
        ],
    )
    def test_unreadable(self, value):
        """What is no amount is refused; no Decimal is built from a bomb."""
        with pytest.raises(ValueError):
            read_price(value)


class TestReadTime:
    @pytest.mark.parametrize(
        "text",
        [
            "2024-07-31 16:42:56",
            "2024-07-31T16:42:56",
            "2024-07-31T16:42:56+05:30",
            "2024-07-31 16:42:56 05:30",
            "2024-07-31T11:12:56Z",
            "2024-07-31T11:12:56+00:00",
            "Wed, 31 Jul 2024 16:42:56",
            "Wed, 31 Jul 2024 16:42:56 +0530",
            "Wed, 31 Jul 2024 11:12:56 GMT",
            " 2024-07-31 16:42:56 ",
        ],
    )
    def test_spellings(self, text):
        """All spellings met in the wild mean the same moment; naive ones are Indian."""
        stamp = read_time(text)

        assert stamp == ist(2024, 7, 31, 16, 42, 56)
        assert stamp.utcoffset() is not None

    @pytest.mark.parametrize(
        "value",
        [
            *NO_VALUES,
            "1970-01-01 05:30:00",
            "1970-01-01 05:30:00+05:30",
            "1970-01-01T05:30:00+05:30",
            "1970-01-01T00:00:00Z",
            "0000-00-00 00:00:00",
            "0001-01-01T00:00:00Z",
            "Thu, 01 Jan 1970 05:30:00",
        ],
    )
    def test_no_value(self, value):
        """Placeholders are no times."""
        assert read_time(value) is None

    @pytest.mark.parametrize(
        "value",
        [
            "soon",
            "2024-07-31",
            "2024-07-31 16:42",
            "2024-13-31 16:42:56",
            "31/07/2024 16:42:56",
            "Wed, 31 Jul 2024 99:99:99",
            "Wed, 31 Jul 2024 16:42:56 +9999",
            "Wed, 31 Jul 2024 16:42:56 +99999999999999999999",
            "\ud800" * 19,
            1_722_424_376,
            10**18,
            True,
            [],
            {},
        ],
    )
    def test_unreadable(self, value):
        """What is no whole time stamp is refused."""
        with pytest.raises(ValueError):
            read_time(value)

    def test_microseconds(self):
        """Parts of a second are kept."""
        assert read_time("2024-07-31 16:42:56.250000") == ist(2024, 7, 31, 16, 42, 56, 250_000)

    def test_zone(self):
        """A naive stamp is the wall clock of the zone that was set, summer time included."""
        read = time_reader(ZoneInfo("America/New_York"))

        assert read("2024-07-31 12:00:00") == datetime(2024, 7, 31, 16, 0, tzinfo=UTC)
        assert read("2024-01-31 12:00:00") == datetime(2024, 1, 31, 17, 0, tzinfo=UTC)

    def test_own_offset_wins(self):
        """An offset in the stamp is believed before the zone that was set."""
        read = time_reader(timezone(timedelta(hours=-8)))

        assert read("2024-07-31T16:42:56+05:30") == ist(2024, 7, 31, 16, 42, 56)

    @examples(200)
    @given(st.datetimes(datetime(1971, 1, 1), timezones=st.sampled_from([UTC, IST])))
    def test_round_trip(self, moment):
        """What `isoformat` writes is read back."""
        assert read_time(moment.isoformat()) == moment
        assert read_time(moment.isoformat(" ")) == moment

    @examples(150)
    @given(
        JSON_SCALARS
        | JSON_ODDITIES
        | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} Jul \d{4} \d\d:\d\d:\d\d.{0,25}")
        | st.from_regex(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d.{0,12}")
    )
    @example("Wed, 31 Jul 2024 16:42:56 -99999999999999999999999")
    def test_anything(self, value):
        """Whatever comes is an aware time, no value, or refused."""
        try:
            stamp = read_time(value)
        except ValueError:
            return

        assert stamp is None or stamp.utcoffset() is not None


class TestWords:
    @pytest.mark.parametrize(
        ("spelling", "word"),
        [
            ("canceled", "canceled"),
            ("cancelled", "canceled"),
            ("CANCELLED", "canceled"),
            ("no-answer", "no-answer"),
            ("no_answer", "no-answer"),
            ("no answer", "no-answer"),
            ("No-Answer ", "no-answer"),
            ("In_Progress", "in-progress"),
        ],
    )
    def test_status(self, spelling, word):
        """A known word in any spelling becomes the vocabulary's, as a plain text."""
        status = read_status(spelling)

        assert status == CallStatus(word)
        assert type(status) is str

    @pytest.mark.parametrize(
        "vocabulary", [CallStatus, LegStatus, Direction, AnsweredBy, Dnd, Circle, Operator]
    )
    @pytest.mark.parametrize("spell", [str, str.upper, str.lower, str.title])
    def test_every_word(self, vocabulary, spell):
        """No two words of a vocabulary are mixed up, whatever their case."""
        read = word_reader(vocabulary)

        assert [read(spell(str(word))) for word in vocabulary] == [str(w) for w in vocabulary]

    @pytest.mark.parametrize("word", ["ringing-out", "Busy!", "¿", "\ud800", "completed2"])
    def test_unknown(self, word):
        """A word newer than this release stays as it came."""
        assert read_status(word) == word

    @pytest.mark.parametrize("value", [*NO_VALUES, "NA", "na", " "])
    def test_no_value(self, value):
        """AnsweredBy says "NA" where it has nothing to say."""
        assert word_reader(AnsweredBy)(value) is None

    @pytest.mark.parametrize("spelling", ["HUMAN", "Human", "human"])
    def test_answered_by(self, spelling):
        """A person may be spelled in three ways."""
        assert word_reader(AnsweredBy)(spelling) == AnsweredBy.HUMAN

    @pytest.mark.parametrize("value", [True, [], {}, ["busy"]])
    def test_wrong_type(self, value):
        """What is no text is no word."""
        with pytest.raises(ValueError):
            read_status(value)

    @examples(200)
    @given(st.text())
    def test_fold_twice(self, word):
        """Folding settles after one time."""
        assert fold(fold(word)) == fold(word)


class TestReadSid:
    @pytest.mark.parametrize("sid", ["b6cfaf5f5cef3ca0fc937749ef960e25", "a-1", "NA", "x" * 500])
    def test_opaque(self, sid):
        """A Sid may be of any letters and length."""
        assert read_sid(sid) == sid

    def test_number(self):
        """A Sid of digits may come as a number."""
        assert read_sid(17) == "17"

    @pytest.mark.parametrize("value", [*NO_VALUES, True, [], {}, Decimal("1.5"), 1.5])
    def test_missing(self, value):
        """What identifies nothing is no Sid."""
        with pytest.raises(MissingSidError):
            read_sid(value)


class TestReadEventType:
    @pytest.mark.parametrize(
        ("value", "word"),
        [("Terminal", "terminal"), ("ANSWERED", "answered"), ("Ringing", "Ringing"), ("", None)],
    )
    def test_case(self, value, word):
        """The two documented ones in any case, others as they came."""
        assert read_event_type(value) == word


@examples(150)
@given(JSON_SCALARS | JSON_ODDITIES)
@pytest.mark.parametrize(
    "read", [read_text, read_custom_field, read_seconds, read_price, read_status, read_sid]
)
def test_readers_raise_value_error_only(read, value):
    """Whatever JSON brings, a reader reads it or raises ValueError."""
    with suppress(ValueError):
        read(value)


class TestZoneOf:
    @pytest.mark.parametrize("zone", [IST, UTC, ZoneInfo("Asia/Kolkata")])
    def test_tzinfo(self, zone):
        """A tzinfo is taken as it is."""
        assert zone_of(zone) is zone

    def test_name(self):
        """A zone may be named."""
        assert zone_of("Asia/Dubai") == ZoneInfo("Asia/Dubai")

    @pytest.mark.parametrize(
        "name",
        ["Mars/Olympus", "Asia", "", "../../etc/passwd", "/etc/passwd", "a\0b", "\ud800", 5, None],
    )
    def test_refused(self, name):
        """What names no zone is refused, with words."""
        with pytest.raises(ConfigurationError, match="time_zone must be") as caught:
            zone_of(name)

        assert repr(name) in str(caught.value)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("module", [errors, calls, values, request, connecting])
def test_examples(module):
    """The examples in the docstrings are true."""
    result = doctest.testmod(module)

    assert result.attempted
    assert result.failed == 0
