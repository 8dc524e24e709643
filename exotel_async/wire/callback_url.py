"""Where does Exotel post its StatusCallbacks: a public URL with a token as its last segment."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from exotel_async.errors import InvalidRequestError

from .tokens import CallbackTokens, RefKind


def callback_url(
    base: str, tokens: CallbackTokens, *, ref: str, now: datetime, kind: RefKind = "ref"
) -> str:
    """Spell the URL for Exotel below a public one, with a token in it."""
    parts = urlsplit(base)
    segment = tokens.mint(ref, now=now, kind=kind)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{segment}").geturl()


def checked_base(base: object, *, name: str = "base") -> str:
    """Take an absolute http or https URL; raises InvalidRequestError."""
    try:
        parts = urlsplit(base) if isinstance(base, str) else None
    except ValueError as error:  # brackets of an IPv6 address
        raise InvalidRequestError(f"{name} must be a URL") from error
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError(f"{name} must be an absolute http:// or https:// URL")
    return parts.geturl()
