"""Is it a URL that was typed, how is a query added to one, and what of one may be shown."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import yarl

from exotel_async.errors import mask_secrets

from .options import Reading

_TOKEN = re.compile(r"[\w.~%+=-]{16,}", re.ASCII)


def http_url(text: str) -> str:
    """Take an absolute http or https URL; the ValueError does not show it: it may hold a token."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("it must be an absolute http:// or https:// URL")
    return text


def exact(url: str, query: str = "") -> yarl.URL:
    """Add a query to a URL that may have one; what can travel as it stands is not spelt anew.

    >>> str(exact("http://a/b?c=1", "d=%zz"))
    'http://a/b?c=1&d=%zz'
    """
    parts = urlsplit(url)
    both = parts._replace(query="&".join(q for q in (parts.query, query) if q)).geturl()
    plain = both.isascii() and both.isprintable() and " " not in both
    return yarl.URL(both, encoded=plain)


def discreet(url: str) -> str:
    """Take out of a URL what opens doors: user and password, the query, a token at its end.

    >>> discreet("https://me:pw@example.com/exotel/K2bLh9bL3mJ1y0bqv2nW8w?key=1")
    'https://example.com/exotel/{token}?…'
    """
    head, mark, _ = url.partition("?")
    scheme, slashes, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    segments = path.split("/")
    last = next((i for i in reversed(range(len(segments))) if segments[i]), 0)
    if _TOKEN.fullmatch(segments[last]):
        segments[last] = "{token}"
    bare = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{'/'.join(segments)}"
    return mask_secrets(bare + ("?…" if mark else ""))


URL = Reading("url", http_url)
