"""What is done with a callback where there is a journal: written down, then answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import tzinfo

from exotel_async.errors import (
    ConfigurationError,
    ExotelError,
    JournalError,
    mask_secrets,
)
from exotel_async.events import CallbackRouter, DeliveryWorker
from exotel_async.events.desk import CallbackDesk
from exotel_async.journal import Journal
from exotel_async.journal.records import Receipt, Recorded
from exotel_async.models.events import StatusCallback

from .reading import Letter

_COMMIT_TIMEOUT = 8.0  # seconds; Exotel waits 15, and reading the body may have taken 5
_GRACE = 10.0  # seconds that handlers have when we close

_logger = logging.getLogger("exotel_async.webhooks")


class Intake:
    """Takes callbacks into a journal, and has them delivered unless another process does."""

    def __init__(
        self,
        journal: Journal,
        router: CallbackRouter,
        *,
        zone: tzinfo,
        handler_timeout: float,
        deliver: bool,
    ) -> None:
        if not isinstance(journal, Journal):
            raise ConfigurationError("journal must be a SQLiteJournal or the like, or None")
        desk = CallbackDesk(router, zone=zone)
        self._journal = journal
        self._deliver = deliver
        self._worker = DeliveryWorker(journal, desk, handler_timeout=handler_timeout)
        self._closed = False
        self._told = False

    async def open(self) -> None:
        """Begin to deliver; raises JournalError where the journal is not open."""
        try:
            if self._deliver:
                await self._worker.start()
            else:
                await self._journal.next_event(())
        except JournalError as error:
            raise JournalError(
                f"StatusCallbacks can't start: {error}. In an application's cleanup_ctx "
                "journal.lifespan must stand before callbacks.lifespan"
            ) from error
        self._closed = self._told = False

    def drain(self) -> None:
        """Claim nothing any more; callbacks are still taken."""
        self._worker.drain()

    async def close(self) -> None:
        """Take nothing any more; give handlers their time to end."""
        self._closed = True
        await self._worker.close(grace=_GRACE)

    @property
    def takes(self) -> bool:
        """Tell whether what is committed now will be delivered."""
        return self._worker.running if self._deliver else not self._closed

    async def record(self, letter: Letter, event: StatusCallback) -> Recorded | None:
        """Commit a callback and tell what it was; None where Exotel has to try again."""
        if not self.takes:
            self._tell_of_no_worker()
            return None
        receipt = Receipt(
            event=event,
            kind=letter.kind,
            ref=letter.ref,
            content_type=letter.content_type,
            query=letter.query,
            body=letter.body,
        )
        try:
            async with asyncio.timeout(_COMMIT_TIMEOUT):
                return await self._journal.record(receipt)
        except TimeoutError:
            _tell_of_no_commit(event, f"it took more than {_COMMIT_TIMEOUT:g} s", None)
        except ExotelError as error:
            _tell_of_no_commit(event, str(error), None)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is promised to Exotel
            _tell_of_no_commit(event, type(error).__name__, error)
        return None

    def stats(self) -> Mapping[str, int]:
        """Count what was delivered."""
        return self._worker.stats()

    def _tell_of_no_worker(self) -> None:
        if self._told:
            return
        self._told = True
        _logger.error(
            "callbacks are answered 503: nobody would deliver them, since StatusCallbacks is %s. "
            "Append callbacks.lifespan to cleanup_ctx, or say deliver=False where another process "
            "delivers",
            "closed" if self._closed else "not started",
            extra={"outcome": "unavailable"},
        )


def _tell_of_no_commit(event: StatusCallback, why: str, error: Exception | None) -> None:
    # The Sid is what a caller of ours chose: no line breaks of theirs in our log.
    call_sid = mask_secrets(ascii(event.call_sid[:64])[1:-1])
    _logger.error(
        "a callback of call %s is answered 503: %s",
        call_sid,
        why,
        exc_info=error,
        extra={"call_sid": call_sid, "outcome": "unavailable"},
    )
