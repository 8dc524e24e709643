"""The one textual normal form of all encodings."""

from __future__ import annotations

import pytest

from exotel_async import MalformedCallbackError
from exotel_async.wire.pairs import MOST_FIELDS, read_pairs


class TestReadPairs:
    @pytest.mark.parametrize(
        ("body", "read"),
        [
            (b'{"a":"1"}', [("a", "1")]),
            (b' \r\n{"a": 1}', [("a", "1")]),
            (b'{"a":[1,[2,{"b":null}]]}', [("a[0]", "1"), ("a[1][0]", "2"), ("a[1][1][b]", "")]),
            (b'{"a":[],"b":{},"c":[[]]}', [("a", ""), ("b", ""), ("c[0]", "")]),
            (b'{"a":[{}]}', [("a[0]", "")]),
            (b'{"a":1,"a":2}', [("a", "1"), ("a", "2")]),
            (b'{"a":NaN,"b":-Infinity}', [("a", "NaN"), ("b", "-Infinity")]),
            (b'{"a":-0.0,"b":1E5}', [("a", "-0.0"), ("b", "1E5")]),
            (b'{"a":true,"b":false}', [("a", "true"), ("b", "false")]),
            (b"{}", []),
            (b"a=1&b=&c&a=2", [("a", "1"), ("b", ""), ("c", ""), ("a", "2")]),
            (b"a=%C3%BC+%2B%26&b=\xc3\xbc", [("a", "ü +&"), ("b", "ü")]),
            (b"a=%FF\xff&b=%", [("a", "��"), ("b", "%")]),
            (b"a=1;b=2\r\n", [("a", "1;b=2")]),
            (b"", []),
        ],
    )  # fmt: skip
    def test_normal_form(self, body, read):
        """Names and texts come in the order in which they stood."""
        assert read_pairs(body) == tuple(read)

    def test_query_after_body(self):
        """The query's pairs follow the body's."""
        assert read_pairs(b"a=1", query="?b=2") == (("a", "1"), ("b", "2"))

    @pytest.mark.parametrize("depth", [1, 8])
    def test_nesting(self, depth):
        """Nesting is flattened as deep as is allowed."""
        [(name, value)] = read_pairs(b'{"a":' + b"[" * depth + b"1" + b"]" * depth + b"}")

        assert (name, value) == ("a" + "[0]" * depth, "1")

    def test_too_deep(self):
        """One level more is refused."""
        with pytest.raises(MalformedCallbackError, match="nested too deep"):
            read_pairs(b'{"a":' + b"[" * 9 + b"1" + b"]" * 9 + b"}")

    def test_work_is_bounded(self):
        """Flattening stops at the limit, not at the end of what came."""
        body = b'{"a":[' + b"[1]," * 15_000 + b"1]}"

        with pytest.raises(MalformedCallbackError, match=f"more than {MOST_FIELDS} fields"):
            read_pairs(body)

    @pytest.mark.parametrize("empty", [b"[],", b"{},", b"null,", b'"",'])
    def test_empties_count(self, empty):
        """What is empty counts as a field."""
        body = b'{"a":[' + empty * MOST_FIELDS + b"1]}"

        with pytest.raises(MalformedCallbackError):
            read_pairs(body)

    def test_json_claimed(self):
        """JSON that does not begin like an object is refused, not taken for a form."""
        with pytest.raises(MalformedCallbackError, match="JSON"):
            read_pairs(b'"a=1"', content_type="application/json")

    def test_preamble(self):
        """Multipart with words before the first boundary is read where the content type says so."""
        body = b'words\r\n--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--'

        assert read_pairs(body, content_type="multipart/form-data; boundary=b") == (("a", "1"),)
