"""What can go wrong, as one tree.

    ExotelError
    ├── ConfigurationError            a setting is missing or impossible       (a ValueError)
    ├── InvalidRequestError           refused here, before anything was sent   (a ValueError)
    ├── ClientClosedError             the client is not open
    ├── NotSentError                  provably never reached Exotel: safe to repeat
    ├── NoAnswerError                 a repeatable request got none            (a TimeoutError)
    ├── OutcomeUnknownError           may have been carried out: look before you repeat
    ├── ApiError                      Exotel refused
    │   ├── BadRequestError           400
    │   ├── AuthenticationError       401
    │   ├── PaymentRequiredError      402
    │   ├── PermissionDeniedError     403
    │   │   ├── DndBlockedError       the number does not want to be disturbed
    │   │   └── KycRequiredError      the account has papers to hand in
    │   ├── NotFoundError             404
    │   ├── ConflictError             409
    │   ├── RateLimitedError          429
    │   └── ServerError               5xx
    ├── UnreadableAnswerError         a repeatable request's answer made no sense
    ├── RecordingError                a recording can't be had: not ready, private, gone, ...
    ├── CallbackError
    │   ├── MalformedCallbackError    a body that is no StatusCallback
    │   └── UnverifiedCallbackError   a callback URL that is not ours, or no longer
    └── JournalError                  nothing could be written down, or read back
        └── KeyReusedError            an idempotency key came back with other arguments

Every error survives pickling (its cause and its notes stay behind), and neither `str` nor `repr`
shows a full phone number or a credential.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

import attrs

# What may hold many digits and is no number is told apart first and kept: a SID of 32 hex digits,
# a time stamp, an IPv4 address, and the digits of percent-encoding.
_SID = r"(?:\b|(?<=%[0-9a-f]{2}))[0-9a-f]{32}\b"
_COLON = r"(?::|%3a)"
_TIME = (
    rf"(?:[ T+]|%20)\d\d{_COLON}\d\d(?:{_COLON}\d\d(?:\.\d{{1,9}})?)?(?!\d)"
    rf"(?:(?:[+-]|%2b)\d\d{_COLON}\d\d)?"
)
_DAY = r"-[01]\d-[0-3]\d"
_STAMP = rf"\d{{4}}{_DAY}{_TIME}|(?:19|20)\d\d{_DAY}(?!\d)"
# Spaces and dashes come in many kinds: raw, percent-encoded, and as `repr` spells them.
_SPACER = r"(?:[\s().+\u2010-\u2015-]|%2[0-9a-f]|%c2%a0|\\xa0|\\u20[0-9a-f]{2})"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# Four bytes, with no further digit that could make a longer number of them.
_IPV4 = rf"(?<![\d.+])(?<!%2b)(?:{_BYTE}\.){{3}}{_BYTE}(?!{_SPACER}{{0,3}}\d)"
_NUMBER_LIKE = re.compile(
    rf"{_SID}|{_STAMP}|{_IPV4}|%[0-9a-f]{{2}}|(?P<number>\+?\d(?:{_SPACER}{{0,3}}\d){{6,}})",
    re.IGNORECASE,
)

_ACCOUNT = re.compile(r"(/Accounts/)[^/?\s]+")
_TOKEN_LIKE = re.compile(
    r"(?:(?<![A-Za-z0-9_%-])[A-Za-z0-9_%-]++)?\.\d{9,12}\.[A-Za-z0-9_%-]{1,100}", re.ASCII
)


def mask_numbers(text: str) -> str:
    """Hide every phone number in a text but for its last digits.

    >>> mask_numbers("no answer from +91 98765 43210")
    'no answer from ***3210'
    """
    return _NUMBER_LIKE.sub(_mask_match, text)


def mask_secrets(text: str) -> str:
    """Hide phone numbers, what looks like the token of a callback URL, and accounts in paths.

    On old accounts the account's sid is the API key.

    >>> mask_secrets("/exotel/b3JkZXI.1790000000.K2bLh9bL3mJ1y0bqv2nW8w")
    '/exotel/{token}'
    """
    return mask_numbers(_TOKEN_LIKE.sub("{token}", _ACCOUNT.sub(r"\1…", text)))


def _mask_match(match: re.Match[str]) -> str:
    number = match["number"]
    if number is None:
        return match[0]
    digits = [character for character in number if character.isdigit()]
    return "***" + "".join(digits[-4:] if len(digits) >= 10 else digits[-2:])


@attrs.frozen
class SentRequest:
    """A request whose answer was lost, as it left: what you need to look for what became of it."""

    method: str
    path: str = attrs.field(repr=lambda path: repr(mask_secrets(path)))
    # Numbers and the secret in a callback URL stand in here: only the names are shown.
    params: Mapping[str, str] = attrs.field(
        repr=lambda params: f"<{', '.join(params)}>", hash=False
    )
    sent_at: datetime  # aware; the moment the last try began


@attrs.define(repr=False, slots=False)
class ExotelError(Exception):
    """Anything this package raises by design."""

    message: str = ""
    attempts = 1  # tries that were made before giving up

    _hint: ClassVar[str] = ""

    def __str__(self) -> str:
        """Say what happened and what to do, with phone numbers masked."""
        parts = [self._what(), self._hint, self._how_often()]
        return mask_secrets(" ".join(part for part in parts if part))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def _what(self) -> str:
        return self.message

    def _how_often(self) -> str:
        return f"(after {self.attempts} tries)" if self.attempts > 1 else ""


class ConfigurationError(ExotelError, ValueError):
    """A setting is missing or impossible; the message names it and what is allowed."""


class InvalidRequestError(ExotelError, ValueError):
    """An argument was refused here, before anything was sent; the message names it."""


class ClientClosedError(ExotelError):
    """The client is not open: use `async with client:` or its `lifespan`."""


class NotSentError(ExotelError):
    """The request provably never reached Exotel: repeating it cannot dial twice."""


class NoAnswerError(ExotelError, TimeoutError):
    """A request that changes nothing got no whole answer in time; asking again is harmless."""


@attrs.define(repr=False, slots=False)
class OutcomeUnknownError(ExotelError):
    """A call may have been placed, or not: the answer was lost or made no sense.

    `request` says what was sent and when; the cause is attached. Do not repeat it blindly: wait
    for the StatusCallback, or look for the call in `calls.list`.
    """

    request: SentRequest | None = None

    _hint: ClassVar[str] = (
        "The call may be ringing: wait for its StatusCallback or look it up before you repeat it."
    )


@attrs.define(repr=False, slots=False)
class ApiError(ExotelError):
    """Exotel refused: `status` (HTTP, or that of a RestException under 200), `message`, `code`.

    `body` is the answer's text, cut at 4,096 characters; it is not part of `str` or `repr`.
    """

    status: int = 0
    code: int | str | None = None
    body: str = ""

    def _what(self) -> str:
        code = "" if self.code is None else f" (code {self.code})"
        return f"Exotel answered {self.status}: {self.message.rstrip(' ;.')}{code}."


class BadRequestError(ApiError):
    """400: Exotel did not understand a parameter."""


class AuthenticationError(ApiError):
    """401: the key and token are wrong, or belong to the other region."""

    _hint: ClassVar[str] = "Check the API key and token, and the region: each has hosts of its own."


class PaymentRequiredError(ApiError):
    """402: the account has no credit left."""


class PermissionDeniedError(ApiError):
    """403: refused for good; asking again does not help."""


class DndBlockedError(PermissionDeniedError):
    """403: the number is on the do-not-disturb register (TRAI NDNC)."""


class KycRequiredError(PermissionDeniedError):
    """403: the account has not finished Know-Your-Customer."""


class NotFoundError(ApiError):
    """404: no such call, number or account here."""

    _hint: ClassVar[str] = "If you are sure it exists, check account_sid and the region."


class ConflictError(ApiError):
    """409: Exotel saw a conflict."""


@attrs.define(repr=False, slots=False)
class RateLimitedError(ApiError):
    """429: too many requests; `retry_after` (seconds) is None where Exotel named no time."""

    retry_after: float | None = None


@attrs.define(repr=False, slots=False)
class ServerError(ApiError):
    """5xx: Exotel stumbled; `retry_after` (seconds) is None where it named no time."""

    retry_after: float | None = None


@attrs.define(repr=False, slots=False)
class UnreadableAnswerError(ExotelError):
    """The answer to a request that changes nothing made no sense.

    `body` is its text, cut at 4,096 characters; it is not part of `str` or `repr`.
    """

    status: int = 0
    body: str = ""


@attrs.define(repr=False, slots=False)
class RecordingError(ExotelError):
    """A recording can't be had; the message says what to do.

    `reason` says why in a word: "not_ready", "not_recorded", "private", "expired" (a pre-signed
    URL), "gone", "too_large", "redirected" (to where nothing is fetched from) or "changed" (while
    it was read). `status` is that of the HTTP answer, None where it was not an answer that said so.
    """

    reason: str = "not_ready"
    status: int | None = None


class CallbackError(ExotelError):
    """Something is wrong with a StatusCallback that came in."""


class MalformedCallbackError(CallbackError):
    """The body is not a StatusCallback; the message says why."""


@attrs.define(repr=False, slots=False)
class UnverifiedCallbackError(CallbackError):
    """The token in a callback's URL is missing, forged or expired; the message says which.

    `reason` does so in a word: "missing", "forged", "expired", or "unknown_secret" where a secret
    that is not listed (any more) may have made it.
    """

    reason: str = "forged"


class JournalError(ExotelError):
    """The journal could not write or read; what was to be written may or may not be there."""


class KeyReusedError(JournalError):
    """An idempotency key came back with other arguments than before; nothing was dialled."""
