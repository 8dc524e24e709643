"""Numbers: spellings and metadata."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.simulator.numbers import CIRCLES, OPERATORS, e164, key, metadata

DIGITS = st.text("0123456789", min_size=10, max_size=10)


class TestKey:
    @given(DIGITS)
    def test_spellings(self, digits):
        """All spellings of an Indian number share one key."""
        spellings = [digits, f"0{digits}", f"91{digits}", f"+91{digits}"]

        assert {key(spelling) for spelling in spellings} == {digits}

    def test_foreign(self):
        """Numbers of other countries, and SIP addresses, are left whole."""
        assert key("+4930123456") == "4930123456"
        assert key("sip:Agent@example.com") == "sip:agent@example.com"


class TestE164:
    def test_left_alone(self):
        """What is not an Indian number stays as it is."""
        assert e164("+4930123456") == "+4930123456"
        assert e164("1800") == "1800"


class TestMetadata:
    @given(DIGITS)
    def test_words(self, digits):
        """Every number has words from the page's tables, always the same ones."""
        found = metadata(digits)

        assert found == metadata(f"+91{digits}") or digits.startswith("080")
        assert found.circle in CIRCLES
        assert found.operator in OPERATORS
        assert found.kind in ("Mobile", "Landline")
        assert found.dnd in ("Yes", "No", "Unavailable")

    @pytest.mark.parametrize(
        ("number", "kind", "circle"),
        [
            ("02212345678", "Landline", "MU"),
            ("+911112345678", "Landline", "DL"),
            ("08012345678", "Landline", "KA"),
        ],
    )
    def test_landlines(self, number, kind, circle):
        """A metro's code tells the circle."""
        found = metadata(number)

        assert (found.kind, found.circle) == (kind, circle)

    def test_unknown(self):
        """Of other countries' numbers nothing is known."""
        assert metadata("+4930123456").dnd == "Unavailable"

    def test_dnd_number(self):
        """The number that connect refuses is on the DND list."""
        assert metadata("+910000000403").dnd == "Yes"
