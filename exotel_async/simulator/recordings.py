"""Says what a recording sounds like, who may hear it, and how a part of it is asked for."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from urllib.parse import urlencode, urlsplit

import attrs

from .catalogue import Reply

PATH = "recordings"

_STAMP = "%Y%m%dT%H%M%SZ"
# One frame of silence: MPEG 2.5, layer III, 8 kbit/s, 8 kHz, mono; 72 bytes, 72 ms.
_FRAME = bytes.fromhex("ffe318c0") + bytes(68)
_FRAME_SECONDS = 0.072
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


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


def elsewhere(url: str) -> str:
    """Name a recording on this machine's other name, which is another host to everybody.

    >>> elsewhere("http://127.0.0.1:8900/recordings/a/b.mp3")
    'http://localhost:8900/recordings/a/b.mp3'
    """
    return url.replace("//127.0.0.1:", "//localhost:", 1)


def is_signed(query: Mapping[str, str]) -> bool:
    """Tell whether a query claims to let anybody in."""
    return "X-Amz-Signature" in query


def sounding(sound: bytes, *, since: datetime, wanted: str, if_range: str, elsewhere: str) -> Reply:
    """Answer with a recording, or with the part of it that a Range header names.

    `if_range`: an ETag or a date; where it is not this recording's, the whole comes.
    """
    tag = f'"{sha256(sound).hexdigest()[:32]}"'
    changed = format_datetime(since.astimezone(UTC), usegmt=True)
    known = {"Accept-Ranges": "bytes", "ETag": tag, "Last-Modified": changed}
    whole = Reply(
        status=200, content_type="audio/mpeg", body=sound, headers=known, elsewhere=elsewhere
    )
    if not _makes_sense(wanted) or if_range not in ("", tag, changed):
        return whole
    bounds = part_of(wanted, len(sound))
    if bounds is None:
        headers = {**known, "Content-Range": f"bytes */{len(sound)}"}
        return Reply(status=416, content_type="text/plain", headers=headers)
    first, end = bounds
    span = f"bytes {first}-{end - 1}/{len(sound)}"
    return attrs.evolve(
        whole, status=206, body=sound[first:end], headers={**known, "Content-Range": span}
    )


def part_of(wanted: str, size: int) -> tuple[int, int] | None:
    """Tell from where to where a Range header reaches; None where there is nothing.

    >>> part_of("bytes=2-5", 10), part_of("bytes=8-", 10), part_of("bytes=-3", 10)
    ((2, 6), (8, 10), (7, 10))
    >>> part_of("bytes=10-", 10)
    """
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return 0, size
    if match[3]:
        first, end = max(0, size - int(match[3])), size
    else:
        first = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
    return (first, end) if first < size else None


def _makes_sense(wanted: str) -> bool:
    """Tell whether a Range header is to be heeded: the standard lets pass what is none."""
    match = _RANGE.fullmatch(wanted)
    return match is not None and not (match[2] and int(match[2]) < int(match[1]))


def _signature(path: str, query: Mapping[str, str], *, secret: str) -> str:
    told = [path, query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")]
    return hmac.new(secret.encode(), "\n".join(told).encode(), sha256).hexdigest()
