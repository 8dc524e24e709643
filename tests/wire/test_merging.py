"""When two callbacks tell of the same thing, and what they say together."""

from __future__ import annotations

from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import decode_callback
from exotel_async.wire.callback import event_of
from exotel_async.wire.converter import converter_for
from exotel_async.wire.merging import digest_of, identity_of, merged
from exotel_async.wire.values import IST

SCOPE = ("default", "ref", "order-42")
NAMES = ("CallSid", "Status", "To", "RecordingUrl", "Legs[0][Status]")
DATES = ("", "2026-11-02 12:00:01", "2026-11-02 12:00:05", "nonsense")

callbacks = st.builds(
    lambda texts, date: (("CallSid", "c1"), *texts, ("DateUpdated", date)),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "a", "b"])), max_size=6),
    st.sampled_from(DATES),
)


def event(*pairs):
    return event_of((("CallSid", "c1"), *pairs), converter=converter_for(IST))


def of(pairs):
    return event_of(pairs, converter=converter_for(IST))


def together(*callbacks):
    return dict(merged(*(event(*pairs) for pairs in callbacks)))


class TestDigestOf:
    def test_order(self):
        """Fields in another order say the same."""
        one, other = (("a", "1"), ("b", "2")), (("b", "2"), ("a", "1"))

        assert digest_of(one, scope=SCOPE) == digest_of(other, scope=SCOPE)

    def test_what_differs(self):
        """Other words, other names, and other borders between them are another callback."""
        spelt = [
            (("a", "1"),), (("a", "2"),), (("b", "1"),), (("a1", ""),), (("a", "1"), ("a", "1")),
            (("a", ""), ("1", "")), (),
        ]  # fmt: skip

        assert len({digest_of(pairs, scope=SCOPE) for pairs in spelt}) == len(spelt)

    def test_scope(self):
        """The same words through another URL are another callback."""
        scopes = [("a", "b", "c"), ("ab", "", "c"), ("a", "b", "d"), ("a", "bc", "")]

        assert len({digest_of((), scope=scope) for scope in scopes}) == len(scopes)

    @examples(200)
    @given(one=callbacks, other=callbacks)
    def test_same_words_only(self, one, other):
        """Two callbacks have one fingerprint exactly where they have the same pairs."""
        same = digest_of(one, scope=SCOPE) == digest_of(other, scope=SCOPE)

        assert same == (sorted(one) == sorted(other))


class TestIdentityOf:
    def test_kinds(self):
        """A call ends once, each leg answers once, and all else is an event of its own."""
        bodies = [
            b"CallSid=c1&EventType=terminal",
            b"CallSid=c1&Status=completed",
            b"CallSid=c1&EventType=answered&Legs[0][Status]=in-progress",
            b"CallSid=c1&EventType=answered&Legs[1][Status]=in-progress&Legs[0][Status]=in-progress",
            b"CallSid=c1&EventType=answered",
            b"CallSid=c1&EventType=odd",
        ]

        names = [identity_of(decode_callback(body), digest=b"\x01") for body in bodies]

        assert names == [
            "terminal", "terminal", "answered 0", "answered 1", "answered None", "other 01",
        ]  # fmt: skip


class TestMerged:
    def test_empty_says_nothing(self):
        """What says something beats what is empty, whichever comes first."""
        assert together([("To", "1")], [("To", "")])["To"] == "1"
        assert together([("To", "")], [("To", "1")])["To"] == "1"

    def test_later_arrival(self):
        """Without dates the later arrival wins."""
        assert together([("To", "1")], [("To", "2")])["To"] == "2"

    def test_later_date(self):
        """With dates the later date wins, though it came first."""
        late, early = ("DateUpdated", DATES[2]), ("DateUpdated", DATES[1])

        assert together([("To", "1"), late], [("To", "2"), early])["To"] == "1"
        assert together([("To", "1"), early], [("To", "2"), late])["To"] == "2"

    def test_same_date(self):
        """Of the same second the later arrival wins."""
        date = ("DateUpdated", DATES[1])

        assert together([("To", "1"), date], [("To", "2"), date])["To"] == "2"

    def test_twins(self):
        """Of twins in one callback the first counts, as it does for the event."""
        assert together([("To", "1"), ("To", "2")], [("From", "3")])["To"] == "1"

    def test_order_of_arrival(self):
        """Names stand in the order in which they came."""
        pairs = merged(event(("A", "1"), ("B", "")), event(("C", "3"), ("B", "2")))

        assert [name for name, _ in pairs] == ["CallSid", "A", "B", "C"]

    @examples(300)
    @given(one=callbacks, other=callbacks)
    def test_nothing_is_forgotten(self, one, other):
        """Whatever either said of a name is kept, unless the other said something else."""
        pairs = merged(of(one), of(other))

        assert {name for name, _ in pairs} == {name for name, _ in (*one, *other)}
        first = dict(reversed(one))
        second = dict(reversed(other))
        for name, text in pairs:
            said = {first.get(name, ""), second.get(name, "")}
            assert text in said
            assert text or said == {""}

    @examples(300)
    @given(one=callbacks, other=callbacks)
    def test_copies_change_nothing(self, one, other):
        """To hear the same again changes nothing."""
        pairs = merged(of(one), of(other))

        assert dict(merged(of(pairs), of(pairs))) == dict(pairs)
