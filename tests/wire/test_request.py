"""A request as it goes over the wire."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

import attrs
import pytest
from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.errors import InvalidRequestError
from exotel_async.wire.request import Request, encode_segment

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def request(**fields) -> Request[object]:
    fields = {"method": "GET", "path": ("Calls",), "decode": lambda _, tree: tree, **fields}
    return Request(**fields)


class TestTarget:
    @pytest.mark.parametrize(
        ("response_format", "target"),
        [("json", "/v1/Accounts/acc/Calls/a1.json"), ("xml", "/v1/Accounts/acc/Calls/a1")],
    )
    def test_format(self, response_format, target):
        """The format stands at the end of the path: nothing for XML."""
        asked = request(path=("Calls", "a1"))

        assert asked.target(account_sid="acc", response_format=response_format) == target

    def test_query(self):
        """The query is encoded, `;` and all."""
        asked = request(query=(("Duration", "gte:10s;lte:45s"), ("To", "+91")))

        target = asked.target(account_sid="acc", response_format="json")

        assert target == "/v1/Accounts/acc/Calls.json?Duration=gte%3A10s%3Blte%3A45s&To=%2B91"

    def test_account(self):
        """The account's SID is a path value like others."""
        assert request().target(account_sid="a/../b", response_format="xml") == (
            "/v1/Accounts/a%2F..%2Fb/Calls"
        )

    @examples(150)
    @given(texts, st.lists(st.tuples(texts, texts), max_size=3))
    def test_round_trip(self, segment, query):
        """No value reaches another segment, another parameter, or the end of the path."""
        if not segment.strip("."):
            return
        asked = request(path=("Calls", segment), query=tuple(query))

        path, _, sent = asked.target(account_sid="acc", response_format="json").partition("?")

        assert path.count("/") == 5
        assert path.isascii()
        assert unquote(path.rpartition("/")[2].removesuffix(".json")) == segment
        assert parse_qsl(sent, keep_blank_values=True) == query


class TestBody:
    def test_form(self):
        """The form is urlencoded, in the order given, brackets too."""
        form = (("From", "+91 98765"), ("StatusCallbackEvents[0]", "terminal"), ("Note", "é&"))

        assert request(method="POST", form=form).body() == (
            b"From=%2B91+98765&StatusCallbackEvents%5B0%5D=terminal&Note=%C3%A9%26"
        )

    def test_none(self):
        """Without a form there is no body."""
        assert request().body() is None


class TestEncodeSegment:
    @pytest.mark.parametrize(
        ("text", "encoded"),
        [
            ("+919876543210", "%2B919876543210"),
            ("a/b?c#d%e", "a%2Fb%3Fc%23d%25e"),
            ("../x", "..%2Fx"),
            ("a b\n", "a%20b%0A"),
            ("é", "%C3%A9"),
            ("a.b", "a.b"),
        ],
    )
    def test_whole(self, text, encoded):
        """A path value is encoded whole."""
        assert encode_segment(text) == encoded

    @pytest.mark.parametrize("text", ["", ".", "..", "..."])
    def test_dots(self, text):
        """What a server could take for a way up is refused."""
        with pytest.raises(InvalidRequestError, match="only dots"):
            encode_segment(text)


class TestRequest:
    def test_repeatable(self):
        """A question may be repeated unless it says otherwise."""
        assert request().repeatable
        assert not attrs.evolve(request(), repeatable=False).repeatable

    def test_repr(self):
        """Numbers and secrets in it are not shown."""
        asked = request(
            path=("Numbers", "+919876543210"),
            query=(("To", "+919876543210"),),
            form=(("StatusCallback", "https://example.com/s3cret"),),
        )

        assert "98765" not in repr(asked)
        assert "s3cret" not in repr(asked)
