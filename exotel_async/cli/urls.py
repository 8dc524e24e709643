"""Is it a URL that was typed, and how is a query added to one."""

from __future__ import annotations

from urllib.parse import urlsplit

from .options import Reading


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


def with_query(url: str, query: str) -> str:
    """Add a query to a URL that may have one.

    >>> with_query("http://a/b?c=1", "d=2")
    'http://a/b?c=1&d=2'
    """
    parts = urlsplit(url)
    return parts._replace(query="&".join(q for q in (parts.query, query) if q)).geturl()


URL = Reading("url", http_url)
