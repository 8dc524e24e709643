"""How is a question put to Exotel: the one door that every request goes through."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

import aiohttp
import attrs

from exotel_async.errors import (
    ExotelError,
    NoAnswerError,
    RateLimitedError,
    SentRequest,
    mask_numbers,
)
from exotel_async.models.clock import Clock
from exotel_async.wire.answer import read_answer
from exotel_async.wire.converter import Converter, converter_for
from exotel_async.wire.request import Request

from .pacing import Pacer, PatientPacer
from .policy import HARMLESS, LONGEST_WAIT, SLOW_DOWN, pause, verdict
from .settings import Settings
from .transport import Envelope, Transport

T = TypeVar("T")

AGENT = f"exotel-async aiohttp/{aiohttp.__version__}"

_logger = logging.getLogger("exotel_async.client")


class _FailedTry(Exception):  # noqa: N818 - it never leaves this module
    """One try did not bring what was asked for; `status` is None where no status line came."""

    def __init__(self, error: ExotelError, status: int | None) -> None:
        super().__init__(error, status)
        self.error = error
        self.status = status


class Escort(Protocol):
    """Who goes along with a request that may make a phone ring, and keeps the books of it."""

    async def before_try(self) -> None:
        """Be told that a try begins; what is raised here ends it all, nothing being under way."""
        ...

    def leave(self) -> None:
        """Let it leave at this very moment, or raise NotSentError: it is too late for this try."""
        ...

    async def after_harmless_try(self) -> None:
        """Be told that the try rang no phone for certain; another may follow."""
        ...


def _patient_pacer(door: Door) -> Pacer:
    return PatientPacer(door.pacer, clock=door.clock)


@attrs.frozen(kw_only=True, eq=False)
class Door:
    """Paces, sends, judges and, where it is safe, tries again.

    `patient` paces what can wait, such as the pages of a long list.
    """

    settings: Settings
    transport: Transport
    pacer: Pacer
    clock: Clock
    patient: Pacer = attrs.field(default=attrs.Factory(_patient_pacer, takes_self=True))
    chance: Callable[[], float] = random.random

    async def send(
        self, request: Request[T], *, escort: Escort | None = None, pacer: Pacer | None = None
    ) -> T:
        """Put a question; return the answer or raise what its lack means.

        `pacer`: whom each try waits for, if not for the client's.
        """
        pacer = pacer or self.pacer
        self.transport.require_open()
        # What can't be spelt, or a zone that is none, is refused before anything is paced or sent.
        envelope, converter = self._envelope(request), converter_for(self.settings.zone)
        attempt = 0
        while True:
            attempt += 1
            await pacer.reserve()
            if escort is not None:
                await escort.before_try()
            sent_at = self.clock.now()
            try:
                return await self._try(request, envelope, converter, escort)
            except _FailedTry as failed:
                sent = self._sent(request, sent_at)
                error, wait = self._judge(failed, request, sent, attempt)
                if escort is not None and isinstance(error, HARMLESS):
                    await escort.after_harmless_try()
                await self._hold_others(error, wait)
                if wait is None:
                    error.attempts = attempt
                    cause = failed.error if error is not failed.error else error.__cause__
                    raise error from cause
            _logger.info("try %d failed, next in %.1f s: %s", attempt, wait, error)
            await self.clock.sleep(wait)

    async def _try(
        self, request: Request[T], envelope: Envelope, converter: Converter, escort: Escort | None
    ) -> T:
        """Make one try; every failure of a dial comes back as a _FailedTry, foreseen or not."""
        status: int | None = None
        self.transport.require_open()
        try:
            if escort is not None:
                escort.leave()  # no await between this and the request
            answer = await self.transport.exchange(envelope)
            status = answer.status
            return read_answer(
                request, answer, converter=converter, now=self.clock.now(),
                json_loads=self.settings.json_loads,
            )  # fmt: skip
        except ExotelError as error:
            raise _FailedTry(error, status) from error
        except Exception as error:
            if request.repeatable:
                raise
            # A hook of a user's session, say: whatever it is, the dial may have left.
            raise _FailedTry(_unforeseen(error), None) from error
        finally:
            _log(request, status)

    def _judge(
        self, failed: _FailedTry, request: Request[T], sent: SentRequest, attempt: int
    ) -> tuple[ExotelError, float | None]:
        repeatable = request.repeatable
        error = verdict(failed.error, status=failed.status, repeatable=repeatable, sent=sent)
        wait = pause(
            error,
            repeatable=repeatable,
            attempt=attempt,
            max_retries=self.settings.max_retries,
            chance=self.chance,
        )
        return error, wait

    async def _hold_others(self, error: ExotelError, wait: float | None) -> None:
        if isinstance(error, RateLimitedError):
            asked = error.retry_after
            seconds = asked if asked is not None else wait if wait is not None else SLOW_DOWN
            await self.pacer.hold(min(seconds, LONGEST_WAIT))

    def _envelope(self, request: Request[T]) -> Envelope:
        settings = self.settings
        headers = {"Authorization": settings.authorization, "User-Agent": AGENT}
        body = request.body()
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return Envelope(
            method=request.method,
            url=settings.base_url + self._target(request),
            headers=headers,
            body=body,
            fresh=not request.repeatable,
            timeout=settings.timeout,
        )

    def _sent(self, request: Request[T], sent_at: datetime) -> SentRequest:
        path = self._target(request).partition("?")[0]
        return SentRequest(request.method, path, dict(request.form or request.query), sent_at)

    def _target(self, request: Request[T]) -> str:
        return request.target(
            account_sid=self.settings.account_sid, response_format=self.settings.response_format
        )


def _unforeseen(error: Exception) -> NoAnswerError:
    told = NoAnswerError(f"something unforeseen happened ({type(error).__name__})")
    told.__cause__ = error
    return told


def _log(request: Request[T], status: int | None) -> None:
    if _logger.isEnabledFor(logging.DEBUG):
        path = mask_numbers("/".join(request.path))
        _logger.debug("%s %s: %s", request.method, path, status or "no answer")
