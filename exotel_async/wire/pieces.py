"""What does an answer say that brings a recording, the rest of one, or none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

import attrs

from exotel_async.errors import ExotelError, RecordingError, UnreadableAnswerError

from .answer import Answer, refusal
from .recordings import Way

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.IGNORECASE)
_NO_SOUND = ("text/", "application/json", "application/xml", "application/xhtml")
_ASK_ANEW = "a fresh one comes with calls.get(sid, recording_url_validity=60)"
_OPEN_UP = (
    "recordings are private: check the API key and token, have Exotel allow this machine's "
    "address, or ask for a pre-signed URL with calls.get(sid, recording_url_validity=60)"
)


@attrs.frozen(kw_only=True)
class Held:
    """What is there of a recording already, and of which version."""

    size: int = 0  # bytes
    total: int | None = None  # bytes of the whole, where that was said
    version: str | None = None  # a strong ETag or a Last-Modified
    content_type: str | None = None

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is missing."""
        return self.size > 0 and self.size == self.total


class StartAnewError(Exception):
    """What came does not go on where we stand: ask for the whole."""


def asking_for(held: Held) -> dict[str, str]:
    """Spell the headers that ask for what is still missing.

    >>> asking_for(Held(size=10, version='"a1"'))
    {'Accept-Encoding': 'identity', 'Range': 'bytes=10-', 'If-Range': '"a1"'}
    """
    headers = {"Accept-Encoding": "identity"}  # a compressed part could not be put together
    if held.size:
        headers["Range"] = f"bytes={held.size}-"
        if held.version:
            headers["If-Range"] = held.version
    return headers


def begun(held: Held, status: int, headers: Mapping[str, str]) -> Held:
    """Tell where the body of a good answer begins, and what is known of the whole.

    Raises StartAnewError where it is not what was asked for, UnreadableAnswerError where it is no
    recording.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.startswith(_NO_SOUND):
        raise UnreadableAnswerError(f"what came is no recording but {kind}", status)
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise UnreadableAnswerError("the recording came compressed, which was not asked", status)
    length = _number(headers.get("Content-Length"))
    version, kind_or_none = version_of(headers), kind or None
    if status == 200:
        if length == 0:
            raise UnreadableAnswerError("the recording came empty", status)
        return Held(total=length, version=version, content_type=kind_or_none)
    if status == 206:
        total = _goes_on(held, headers, length)
        return Held(
            size=held.size,
            total=total,
            version=version or held.version,
            content_type=kind_or_none or held.content_type,
        )
    raise UnreadableAnswerError("neither a recording nor a refusal", status)


def _goes_on(held: Held, headers: Mapping[str, str], length: int | None) -> int | None:
    """Check that a part goes on just where we stand; give the size of the whole."""
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not held.size or match is None or match[1] is None:
        raise StartAnewError
    first, last = int(match[1]), int(match[2])
    total, version = _number(match[3]), version_of(headers)
    goes_on = first == held.size and first <= last and (total is None or last < total)
    if not (
        goes_on
        and length in (None, last - first + 1)
        and (None in (total, held.total) or total == held.total)
        and (None in (version, held.version) or version == held.version)
    ):
        raise StartAnewError
    return total if total is not None else held.total


def is_whole_after_416(held: Held, headers: Mapping[str, str]) -> bool:
    """Tell whether a 416 means that there is no more than what we hold.

    >>> is_whole_after_416(Held(size=10), {"Content-Range": "bytes */10"})
    True
    """
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    total = _number(match[3]) if match is not None and match[1] is None else None
    return total == held.size and held.total in (None, total)


def version_of(headers: Mapping[str, str]) -> str | None:
    """Read what tells one version of a file from another, byte by byte.

    >>> version_of({"ETag": 'W/"1"', "Last-Modified": "Mon, 02 Nov 2026 04:30:00 GMT"})
    'Mon, 02 Nov 2026 04:30:00 GMT'
    """
    tag = headers.get("ETag", "").strip()
    if len(tag) > 2 and tag[0] == tag[-1] == '"':
        return tag
    return headers.get("Last-Modified", "").strip() or None


def refused(answer: Answer, way: Way, *, now: datetime, is_late: bool) -> ExotelError:
    """Name what it means that a recording is refused; `is_late`: it should be there by now."""
    status = answer.status
    if status == 404:
        return _missing(way, is_late=is_late)
    if status == 410:
        return RecordingError(f"{way.host} says that the recording is gone (410)", "gone", status)
    if status in (401, 403):
        return _closed(way, status)
    return refusal(answer, {}, now=now)


def _missing(way: Way, *, is_late: bool) -> RecordingError:
    if is_late:
        why = "although its call ended more than 15 minutes ago: it was deleted, or never made"
        return RecordingError(f"{way.host} has no such recording (404), {why}", "gone", 404)
    why = "it comes about 2 minutes after the call ends, up to 15: wait=900 waits for it"
    return RecordingError(f"{way.host} has no such recording yet (404): {why}", "not_ready", 404)


def _closed(way: Way, status: int) -> RecordingError:
    if way.signed:
        told = f"{way.host} refuses the pre-signed URL ({status}): it has expired, most likely"
        return RecordingError(f"{told}; {_ASK_ANEW}", "expired", status)
    what = "our credentials" if way.authorized else "to give it to anybody (it got no credentials)"
    return RecordingError(f"{way.host} refuses {what} ({status}): {_OPEN_UP}", "private", status)


def unavailable(sid: str | None, *, is_late: bool) -> RecordingError:
    """Say that a call has no URL of a recording; without a sid there was no call at all."""
    if sid is None:
        return RecordingError("there was no call that could have been recorded", "not_recorded")
    call = f"call {sid}"
    if is_late:
        return RecordingError(f"{call} ended without a recording", "not_recorded")
    return RecordingError(
        f"{call} has no recording's URL: it was not recorded, or is not settled yet, which takes "
        "up to 15 minutes after its end; wait=900 waits and asks Exotel again",
        "not_ready",
    )


def too_large(size: int, most: int) -> RecordingError:
    """Say that a recording is larger than allowed."""
    return RecordingError(
        f"the recording has {size} bytes or more, and max_size allows {most}", "too_large"
    )


def _number(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
