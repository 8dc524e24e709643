"""What happened: everything that was asked, told and wrong, for assertions and for the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import attrs

from .checks import Pairs
from .delivery import Delivered

T = TypeVar("T")

_logger = logging.getLogger("exotel_async.simulator")


@attrs.frozen(kw_only=True)
class Received:
    """One request that was made to the simulator."""

    method: str
    path: str
    params: Pairs  # of query and form
    at: datetime
    status: int | None  # what it was answered with; None: with nothing that has a status
    fault: str | None = None  # the name of the fault that struck it


@attrs.frozen
class Complaint:
    """A request that Exotel's page does not allow, and what the page wants."""

    request: Received
    message: str

    def __str__(self) -> str:
        return f"{self.request.method} {self.request.path}: {self.message}"


Watch = Callable[[Received | Delivered], None]


class Journals:
    """Lists of what happened, oldest first; the newest `keep` of each, or all."""

    def __init__(self, *, keep: int | None, watch: Watch | None) -> None:
        self.requests: list[Received] = []
        self.callbacks: list[Delivered] = []
        self.complaints: list[Complaint] = []
        self._keep = keep
        self._watch = watch

    def received(self, request: Received) -> None:
        """Note a request."""
        self._add(self.requests, request)
        self._tell(request)

    def delivered(self, attempt: Delivered) -> None:
        """Note an attempt to deliver a StatusCallback."""
        self._add(self.callbacks, attempt)
        self._tell(attempt)

    def complain(self, request: Received, message: str) -> None:
        """Note that a request was one that the page does not allow."""
        self._add(self.complaints, Complaint(request, message))

    def _tell(self, entry: Received | Delivered) -> None:
        if self._watch is not None:
            try:
                self._watch(entry)
            except Exception:
                _logger.exception("the simulator's watch failed")

    def _add(self, entries: list[T], entry: T) -> None:
        entries.append(entry)
        if self._keep is not None and len(entries) > self._keep:
            del entries[0]
