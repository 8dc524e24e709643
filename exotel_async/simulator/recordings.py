"""Says what a recording sounds like, and who may hear it."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import urlencode, urlsplit

PATH = "recordings"

_STAMP = "%Y%m%dT%H%M%SZ"
# One frame of silence: MPEG 2.5, layer III, 8 kbit/s, 8 kHz, mono; 72 bytes, 72 ms.
_FRAME = bytes.fromhex("ffe318c0") + bytes(68)
_FRAME_SECONDS = 0.072


def silence(seconds: float) -> bytes:
    """Make an MP3 of nothing; it plays for about as long as the conversation took.

    >>> len(silence(72))
    72000
    """
    return _FRAME * max(1, round(seconds / _FRAME_SECONDS))


def presigned(url: str, *, minutes: int, at: datetime, secret: str) -> str:
    """Add to a recording's URL what lets anybody fetch it for so many minutes."""
    query = {
        "X-Amz-Date": at.astimezone(UTC).strftime(_STAMP),
        "X-Amz-Expires": str(minutes * 60),
    }
    signature = _signature(urlsplit(url).path, query, secret=secret)
    return f"{url}?{urlencode({**query, 'X-Amz-Signature': signature})}"


def is_presigned(path: str, query: Mapping[str, str], *, now: datetime, secret: str) -> bool:
    """Tell whether a query lets anybody fetch this path now."""
    given = query.get("X-Amz-Signature", "")
    if not hmac.compare_digest(given.encode(), _signature(path, query, secret=secret).encode()):
        return False
    begun = datetime.strptime(query["X-Amz-Date"], _STAMP).replace(tzinfo=UTC)
    return now <= begun + timedelta(seconds=int(query["X-Amz-Expires"]))


def _signature(path: str, query: Mapping[str, str], *, secret: str) -> str:
    told = [path, query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")]
    return hmac.new(secret.encode(), "\n".join(told).encode(), sha256).hexdigest()
