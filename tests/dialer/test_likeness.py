"""Which records may be a dial's call: numbers in every spelling, words, and seconds."""

from __future__ import annotations

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st
from traffic import ARGUMENTS, CALL, LAST, RECORD, SENT, SKEW, at, spellings

from exotel_async import Call
from exotel_async.dialer.likeness import could_be, could_be_same, fits, shows_ref
from exotel_async.journal.records import DialRecord

FLOW = {"from_": "+919812300001", "caller_id": "08040001234", "flow_id": "926"}
TO_FLOW = attrs.evolve(RECORD, arguments=FLOW)


def verdict(record: DialRecord, call: Call) -> tuple[bool, bool]:
    return could_be(record, call, skew=SKEW), fits(record, call, skew=SKEW)


class TestCouldBeSame:
    @pytest.mark.parametrize("one", spellings("9812300001"))
    @pytest.mark.parametrize("other", spellings("9812300001"))
    def test_indian(self, one, other):
        """An Indian number is the same in all its spellings."""
        assert could_be_same(one, other)

    @pytest.mark.parametrize("one", spellings("9812300001"))
    @pytest.mark.parametrize("other", spellings("9912300001"))
    def test_other_indian(self, one, other):
        """One that differs in a single digit is another, in all its spellings."""
        assert not could_be_same(one, other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("+1 415 555 0134", "415-555-0134"), ("+44 20 7946 0001", "020 7946 0001"),
            ("+44 (0)20 7946 0001", "+442079460001"), ("+49 30 123456", "030 123456"),
            ("+65 6123 4567", "61234567"), ("0065 6123 4567", "+6561234567"),
        ],
    )  # fmt: skip
    def test_other_countries(self, one, other):
        """Nobody guesses the prefixes of other countries: spellings that may be the same are."""
        assert could_be_same(one, other)

    @pytest.mark.parametrize(
        "unknown",
        [None, "", "sip:user@example.com", "anonymous", "98123XXXXX", "100", "0000000000", "NA",
         "०९८१२३००००१"],
    )  # fmt: skip
    def test_anything(self, unknown):
        """What is withheld, masked or no number could be any."""
        assert could_be_same(unknown, "+919812300001")
        assert could_be_same("+919812300001", unknown)


class TestNumbers:
    @examples(100)
    @given(
        ours=st.tuples(*(st.sampled_from(spellings(f"981230000{i}")) for i in (1, 2))),
        theirs=st.permutations([1, 2]).flatmap(
            lambda order: st.tuples(*(st.sampled_from(spellings(f"981230000{i}")) for i in order))
        ),
    )
    def test_every_spelling(self, ours, theirs):
        """From and To are compared as a set, however each is spelt."""
        record = attrs.evolve(
            RECORD, arguments=ARGUMENTS | dict(zip(("from_", "to"), ours, strict=True))
        )
        call = attrs.evolve(CALL, from_=theirs[0], to=theirs[1])

        assert verdict(record, call) == (True, True)

    @pytest.mark.parametrize(
        ("from_", "to"),
        [("09812300001", "08040001234"), ("+918040001234", "9812300002"), ("09812300001", None),
         (None, None), ("09812300001", "sip:them"), ("09812300001", "09812300001")],
    )  # fmt: skip
    def test_possible(self, from_, to):
        """What hides a number could be ours, but is no match."""
        assert verdict(RECORD, attrs.evolve(CALL, from_=from_, to=to)) == (True, False)

    @pytest.mark.parametrize(
        ("from_", "to"),
        [("09812300001", "09812300003"), ("09812300003", None), ("09812300009", "08040001234")],
    )
    def test_others(self, from_, to):
        """One number that is neither ours nor the ExoPhone is enough to be another's call."""
        assert verdict(RECORD, attrs.evolve(CALL, from_=from_, to=to)) == (False, False)

    @pytest.mark.parametrize(
        ("from_", "to", "expected"),
        [
            ("09812300001", "08040001234", (True, True)),
            ("08040001234", "09812300001", (True, True)),
            ("09812300001", None, (True, True)), ("09812300001", "09812300009", (True, False)),
            ("09812300001", "sip:agent", (True, False)), ("08040001234", None, (True, False)),
            ("08040001234", "09812300009", (False, False)),
        ],
    )  # fmt: skip
    def test_flow(self, from_, to, expected):
        """A call to a flow has no To of its own; the flow may connect with anybody."""
        assert verdict(TO_FLOW, attrs.evolve(CALL, from_=from_, to=to)) == expected

    def test_other_exophone(self):
        """From another ExoPhone the same two are no match, but nobody may be sure."""
        call = attrs.evolve(CALL, phone_number="08040009999")

        assert verdict(RECORD, call) == (True, False)

    def test_erased(self):
        """A dial whose numbers are erased may have been any call, and matches none."""
        assert verdict(attrs.evolve(RECORD, arguments={}), CALL) == (True, False)


class TestWords:
    @pytest.mark.parametrize(
        ("direction", "expected"),
        [("outbound-api", (True, True)), ("inbound", (False, False)),
         ("outbound-dial", (False, False)), ("outbound-new", (True, False)), (None, (True, False))],
    )  # fmt: skip
    def test_direction(self, direction, expected):
        """Only calls by API are ours; a word that nobody knows may mean anything."""
        assert verdict(RECORD, attrs.evolve(CALL, direction=direction)) == expected

    @pytest.mark.parametrize(
        ("text", "shown", "expected"),
        [("r1", True, (True, True)), ("r2", False, (False, False)), ("", None, (True, True)),
         (" ", None, (True, True)), (None, None, (True, True))],
    )  # fmt: skip
    def test_custom_field(self, text, shown, expected):
        """Our ref in it speaks for us, another text against us, none for nobody."""
        call = attrs.evolve(CALL, custom_field=text)

        assert shows_ref(RECORD, call) is shown
        assert verdict(RECORD, call) == expected

    def test_users_own_custom_field(self):
        """Where the user wrote something, no text is evidence."""
        record = attrs.evolve(RECORD, arguments=ARGUMENTS | {"custom_field": "order-42"})

        assert verdict(record, attrs.evolve(CALL, custom_field="order 42")) == (True, True)


class TestSeconds:
    @pytest.mark.parametrize(
        ("second", "expected"),
        [
            (SENT - 61, False),
            (SENT - 60, True),
            (LAST, True),
            (LAST + 0.9, True),
            (LAST + 1, False),
        ],
    )
    def test_borders(self, second, expected):
        """Both ends are whole seconds, and belong to it."""
        assert verdict(RECORD, attrs.evolve(CALL, date_created=at(second))) == (expected, expected)

    def test_unreadable(self):
        """A time that can't be read could be any, and is no match."""
        assert verdict(RECORD, attrs.evolve(CALL, date_created=None)) == (True, False)

    def test_never_sent(self):
        """What was never sent has no call."""
        assert verdict(attrs.evolve(RECORD, sent_at=None), CALL) == (False, False)
