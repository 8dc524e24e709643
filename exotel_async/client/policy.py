"""What does a failed try mean, and may it be made again.

Plain functions over what is known: the request, what went wrong, and the HTTP status if one came.
"""

from __future__ import annotations

from collections.abc import Callable

from exotel_async.errors import (
    ApiError,
    ExotelError,
    NoAnswerError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    SentRequest,
    ServerError,
)

SLOW_DOWN = 2.0  # seconds, the least after a 429 that names no time
LONGEST_WAIT = 60.0  # seconds; who is asked to wait longer is told so by the error
_BACKOFF = 0.5  # seconds before the first further try, at most; doubled each time
_LONGEST_BACKOFF = 20.0
_DOUBLINGS = 10  # enough to reach it
HARMLESS = (NotSentError, RateLimitedError)  # no phone rang, and another try may ring one
_NO_REFUSAL = frozenset({408, 409, 425, 499})  # 4xx that do not prove that nothing was done


def verdict(
    error: ExotelError, *, status: int | None, repeatable: bool, sent: SentRequest
) -> ExotelError:
    """Name what a failed try means for the caller: most failures of a connect leave it open.

    `status` is the HTTP status, None where no status line came.
    """
    if repeatable or isinstance(error, NotSentError) or _is_refusal(status):
        return error
    if status is None:
        return OutcomeUnknownError(f"The request left, but {error.message}.", sent)
    return OutcomeUnknownError(f"The request left, but its answer ({status}) proves nothing.", sent)


def pause(
    error: ExotelError,
    *,
    repeatable: bool,
    attempt: int,
    max_retries: int,
    chance: Callable[[], float],
) -> float | None:
    """Tell how many seconds to wait before the next try; None if there must be none.

    What may have rung a phone is never tried again. `chance` gives a number from 0 to 1: the
    wait is drawn from the whole of an interval that doubles with each try.
    """
    if attempt > max_retries or not _may_repeat(error, repeatable=repeatable):
        return None
    asked = error.retry_after if isinstance(error, RateLimitedError | ServerError) else None
    if asked is not None:
        return asked if asked <= LONGEST_WAIT else None
    jitter = chance() * min(_LONGEST_BACKOFF, _BACKOFF * 2.0 ** min(attempt - 1, _DOUBLINGS))
    return jitter + SLOW_DOWN if isinstance(error, RateLimitedError) else jitter


def _may_repeat(error: ExotelError, *, repeatable: bool) -> bool:
    if isinstance(error, HARMLESS):
        return True
    passing = isinstance(error, NoAnswerError | ServerError)
    return repeatable and (passing or (isinstance(error, ApiError) and error.status == 408))


def _is_refusal(status: int | None) -> bool:
    return status is not None and 400 <= status < 500 and status not in _NO_REFUSAL
