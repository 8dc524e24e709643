"""The policy is a table: what a failed try means, and whether it may be made again."""

from __future__ import annotations

import pytest
from clocks import NOON
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    ExotelError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    SentRequest,
    ServerError,
    UnreadableAnswerError,
)
from exotel_async.client.policy import LONGEST_WAIT, SLOW_DOWN, pause, verdict

SENT = SentRequest("POST", "/v1/Accounts/acme1/Calls/connect.json", {"From": "1"}, NOON)


def api(kind: type[ApiError], status: int) -> ApiError:
    return kind("no", status)


class TestVerdict:
    """What a failed try means for the caller."""

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (NotSentError("no connection"), None),
            (api(BadRequestError, 400), 400),
            (api(AuthenticationError, 401), 401),
            (api(PaymentRequiredError, 402), 402),
            (api(PermissionDeniedError, 403), 403),
            (api(NotFoundError, 404), 404),
            (api(ApiError, 405), 405),
            (api(ApiError, 422), 422),
            (api(RateLimitedError, 429), 429),
        ],
    )
    def test_connect_proven(self, error: ExotelError, status: int | None) -> None:
        """What proves that no phone rings is told as it is."""
        assert verdict(error, status=status, repeatable=False, sent=SENT) is error

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (NoAnswerError("no answer within 30 s"), None),
            (UnreadableAnswerError("a redirect", 302), 302),
            (api(ApiError, 408), 408),
            (api(ConflictError, 409), 409),
            (api(ApiError, 425), 425),
            (api(ApiError, 499), 499),
            (api(ServerError, 500), 500),
            (api(ServerError, 503), 503),
            (UnreadableAnswerError("not JSON", 200), 200),
            (NoAnswerError("Exotel's answer broke off"), 200),
            (api(PermissionDeniedError, 403), 200),  # a RestException in a 200
            (api(RateLimitedError, 429), 200),
        ],
    )
    def test_connect_open(self, error: ExotelError, status: int | None) -> None:
        """What proves nothing leaves the outcome of a connect unknown."""
        told = verdict(error, status=status, repeatable=False, sent=SENT)

        assert isinstance(told, OutcomeUnknownError)
        assert told.request is SENT

    @given(status=st.integers(100, 599))
    def test_repeatable_as_it_is(self, status: int) -> None:
        """What may be repeated has no unknown outcome."""
        error = ApiError("no", status)

        assert verdict(error, status=status, repeatable=True, sent=SENT) is error

    def test_says_what_was_lost(self) -> None:
        """The text of an unknown outcome tells why it is unknown and what to do."""
        told = verdict(
            NoAnswerError("no answer within 5 s"), status=None, repeatable=False, sent=SENT
        )

        assert str(told).startswith("The request left, but no answer within 5 s.")
        assert "before you repeat it" in str(told)


class TestPause:
    """Whether, and after how many seconds, a try is made again."""

    @pytest.mark.parametrize(
        ("error", "get", "connect"),
        [
            (NotSentError("x"), True, True),
            (api(RateLimitedError, 429), True, True),
            (NoAnswerError("x"), True, False),
            (api(ServerError, 500), True, False),
            (api(ServerError, 503), True, False),
            (api(ApiError, 408), True, False),
            (api(BadRequestError, 400), False, False),
            (api(AuthenticationError, 401), False, False),
            (api(PermissionDeniedError, 403), False, False),
            (api(NotFoundError, 404), False, False),
            (UnreadableAnswerError("x", 200), False, False),
            (OutcomeUnknownError("x", SENT), False, False),
        ],
    )
    def test_table(self, error: ExotelError, *, get: bool, connect: bool) -> None:
        """Each failure is repeated or not, by what was asked."""

        def again(*, repeatable: bool) -> bool:
            wait = pause(error, repeatable=repeatable, attempt=1, max_retries=1, chance=lambda: 1.0)
            return wait is not None

        assert again(repeatable=True) is get
        assert again(repeatable=False) is connect

    @given(attempt=st.integers(1, 50), max_retries=st.integers(0, 49))
    def test_at_most_max_retries(self, attempt: int, max_retries: int) -> None:
        """There are at most max_retries further tries."""
        wait = pause(
            NotSentError("x"),
            repeatable=True,
            attempt=attempt,
            max_retries=max_retries,
            chance=lambda: 0.0,
        )

        assert (wait is not None) == (attempt <= max_retries)

    @given(attempt=st.integers(1, 2_000), luck=st.floats(0, 1))
    def test_full_jitter(self, attempt: int, luck: float) -> None:
        """The wait is drawn from all of an interval that doubles up to twenty seconds."""
        wait = pause(
            NotSentError("x"),
            repeatable=True,
            attempt=attempt,
            max_retries=5_000,
            chance=lambda: luck,
        )

        assert wait == pytest.approx(luck * min(20.0, 0.5 * 2.0 ** min(attempt - 1, 20)))

    @given(luck=st.floats(0, 1))
    def test_slow_down(self, luck: float) -> None:
        """After a 429 that names no time there are two seconds at least."""
        error = RateLimitedError("slow down", 429)

        wait = pause(error, repeatable=True, attempt=1, max_retries=1, chance=lambda: luck)

        assert wait == pytest.approx(SLOW_DOWN + luck * 0.5)

    @pytest.mark.parametrize(
        ("repeatable", "wait"), [(True, 7.0), (False, None)], ids=["get", "connect"]
    )
    def test_busy_server(self, repeatable: bool, wait: float | None) -> None:
        """A 503 that names a time is waited for, where it may be asked again at all."""
        error = ServerError("busy", 503, retry_after=7.0)

        told = pause(error, repeatable=repeatable, attempt=1, max_retries=1, chance=lambda: 0.0)

        assert told == wait

    def test_retry_after_is_kept(self) -> None:
        """Who is asked to wait, waits as long as asked."""
        error = RateLimitedError("slow down", 429, retry_after=7.0)

        assert pause(error, repeatable=False, attempt=1, max_retries=1, chance=lambda: 0.0) == 7.0

    def test_retry_after_has_a_bound(self) -> None:
        """Who is asked to wait longer than a minute is told so instead."""
        error = RateLimitedError("slow down", 429, retry_after=LONGEST_WAIT + 1)

        assert pause(error, repeatable=True, attempt=1, max_retries=9, chance=lambda: 0.0) is None
