"""Spells one StatusCallback in the ways that clients, languages and frameworks do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote_plus, urlencode

from hypothesis import strategies as st
from samples import multipart

Tree = dict[str, object]
Pairs = list[tuple[str, str]]
Spelt = tuple[bytes, str]  # body, content type

TREE: Tree = {
    "CallSid": "492205107c5fb48f4ac25d1f77759339",
    "EventType": "answered",
    "DateCreated": "2019-04-08 03:10:55",
    "Status": "in-progress",
    "From": "+919413740001",
    "RecordingUrl": "https://example.com/a.mp3?x=1&y=%2B",
    "ConversationDuration": "32",
    "CustomField": '{"order": "ü & 50 % + \\"more\\""}',
    "Legs": [
        {"Status": "in-progress", "OnCallDuration": "7"},
        {"Status": "", "AnsweredBy": "human"},
    ],
}


def flat(value: object, name: str = "") -> Pairs:
    """Flatten a tree as PHP's http_build_query does, but keep what is empty."""
    if isinstance(value, dict):
        members: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list):
        members = enumerate(value)
    else:
        return [(name, str(value))]
    return [
        pair
        for key, member in members
        for pair in flat(member, f"{name}[{key}]" if name else str(key))
    ]


def as_json(tree: Tree) -> Spelt:
    return json.dumps(tree).encode(), "application/json"


def as_multipart(tree: Tree) -> Spelt:
    return multipart(flat(tree), boundary="zYxW7f3c1d")


def as_urlencoded(tree: Tree) -> Spelt:
    return urlencode(flat(tree)).encode(), "application/x-www-form-urlencoded"


def as_php(tree: Tree) -> Spelt:
    """Spell it as PHP's http_build_query: brackets percent-encoded, blanks as plus signs."""
    body = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in flat(tree))
    return body.encode(), "application/x-www-form-urlencoded"


def as_php_raw(tree: Tree) -> Spelt:
    """Spell it as PHP scripts do by hand: brackets as they are, blanks as %20."""
    body = "&".join(f"{name}={quote_plus(value).replace('+', '%20')}" for name, value in flat(tree))
    return body.encode(), "application/x-www-form-urlencoded; charset=UTF-8"


def _parts(tree: Tree, part: str, *, content_type: str, boundary: str) -> Spelt:
    body = "".join(
        f"--{boundary}\r\n" + part.format(name=name, size=len(value.encode())) + value + "\r\n"
        for name, value in flat(tree)
    )
    return f"{body}--{boundary}--\r\n".encode(), content_type


def as_requests(tree: Tree) -> Spelt:
    """Spell it as Python's requests and httpx do."""
    return _parts(
        tree,
        'Content-Disposition: form-data; name="{name}"\r\n\r\n',
        content_type="multipart/form-data; boundary=0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        boundary="0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    )


def as_guzzle(tree: Tree) -> Spelt:
    """Spell it as PHP's Guzzle does: with lengths."""
    return _parts(
        tree,
        'Content-Disposition: form-data; name="{name}"\r\nContent-Length: {size}\r\n\r\n',
        content_type="multipart/form-data; boundary=5f8a1c0e7d",
        boundary="5f8a1c0e7d",
    )


def as_dotnet(tree: Tree) -> Spelt:
    """Spell it as .NET does: names without quotes, the boundary within."""
    return _parts(
        tree,
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Disposition: form-data; name={name}\r\n\r\n",
        content_type='multipart/form-data; boundary="6c1f-4b2a"',
        boundary="6c1f-4b2a",
    )


def as_java(tree: Tree) -> Spelt:
    """Spell it as Apache's HttpClient does: three headers, a boundary of odd characters."""
    return _parts(
        tree,
        'Content-Disposition: form-data; name="{name}"\r\n'
        "Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
        content_type='multipart/form-data; charset=UTF-8; boundary="----=_Part_0_12.34"',
        boundary="----=_Part_0_12.34",
    )


SPELLINGS = [
    as_json, as_multipart, as_urlencoded, as_php, as_php_raw, as_requests, as_guzzle, as_dotnet,
    as_java,
]  # fmt: skip

# Any text that can be stored, often with what forms are made of.
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text(st.sampled_from("a1 +%&=;\"'\\\r\n[]{}\0ü☎\u2028\x85"), max_size=12),
    st.sampled_from(["", "null", "completed", "in-progress", "17", "29.0", "2019-04-08 03:10:55"]),
)
_unknown = st.text("abXYZ01_-.%;äß☎ ", min_size=1, max_size=8).map(lambda name: f"X{name}")
_legs = st.lists(
    st.dictionaries(
        st.sampled_from(["Status", "OnCallDuration", "Cause", "DisconnectedBy"]), texts, min_size=1
    ),
    max_size=3,
)
events = st.builds(
    lambda sid, known, unknown, legs: (
        {"CallSid": sid, **known, **unknown} | ({"Legs": legs} if legs else {})
    ),
    st.text("0123456789abcdef", min_size=1, max_size=32),
    st.dictionaries(
        st.sampled_from(
            ["EventType", "Status", "DateCreated", "StartTime", "From", "To", "CustomField",
             "RecordingUrl", "ConversationDuration", "Direction"]
        ),
        texts,
    ),
    st.dictionaries(_unknown, texts, max_size=3),
    _legs,
)  # fmt: skip
