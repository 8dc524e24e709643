"""Which handlers want which events."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar, overload

import attrs

from exotel_async.errors import ConfigurationError
from exotel_async.models.events import StatusCallback

A = TypeVar("A", bound=StatusCallback)
B = TypeVar("B", bound=StatusCallback)
C = TypeVar("C", bound=StatusCallback)

Handler = Callable[[A], Awaitable[None]]
AnyHandler = Callable[[Any], Awaitable[None]]


@attrs.frozen
class Registration:
    """One handler, and what it wants."""

    kinds: tuple[type[StatusCallback], ...]
    handler: AnyHandler
    updates: bool


class CallbackRouter:
    """Collects handlers; routers include routers.

    Handlers run in the order in which they were registered; an included router stands where it
    was included, with all that is registered on it later too.
    """

    def __init__(self) -> None:
        self._entries: list[Registration | CallbackRouter] = []

    @overload
    def on(
        self, kind: type[A], /, *, updates: bool = False
    ) -> Callable[[Handler[A]], Handler[A]]: ...
    @overload
    def on(
        self, kind: type[A], other: type[B], /, *, updates: bool = False
    ) -> Callable[[Handler[A | B]], Handler[A | B]]: ...
    @overload
    def on(
        self, kind: type[A], other: type[B], third: type[C], /, *, updates: bool = False
    ) -> Callable[[Handler[A | B | C]], Handler[A | B | C]]: ...
    def on(
        self, *kinds: type[StatusCallback], updates: bool = False
    ) -> Callable[[AnyHandler], AnyHandler]:
        """Register an async handler for one kind of event or several.

        `on(StatusCallback)` sees all events. A handler that fails, or takes too long, lets Exotel
        try again later, or with a journal us, so the same event may come twice. With a journal, a
        handler that asks for `updates` is told again when Exotel tells more, or other, about what
        it has told before: the call's `recording_url`, say. Raises ConfigurationError for what is
        no kind of event or no coroutine function.
        """
        for kind in kinds or (None,):
            if not (isinstance(kind, type) and issubclass(kind, StatusCallback)):
                raise ConfigurationError(f"on() takes kinds of StatusCallback, not {kind!r}")

        def register(handler: AnyHandler) -> AnyHandler:
            if not _is_async(handler):
                raise ConfigurationError(f"a handler must be an async function, not {handler!r}")
            self._add(Registration(kinds, handler, updates))
            return handler

        return register

    def _add(self, registration: Registration) -> None:
        self._entries.append(registration)

    def include(self, router: CallbackRouter) -> None:
        """Take in another router's handlers, present and future."""
        if router is self or self in router.routers():
            raise ConfigurationError("a router must not include itself")
        self._entries.append(router)

    def handlers_for(self, event: StatusCallback) -> Iterator[AnyHandler]:
        """List the handlers that want an event, in order."""
        for entry in self.registrations():
            if isinstance(event, entry.kinds):
                yield entry.handler

    def registrations(self) -> Iterator[Registration]:
        """List all handlers with what they want, in order."""
        for entry in self._entries:
            if isinstance(entry, CallbackRouter):
                yield from entry.registrations()
            else:
                yield entry

    def routers(self) -> Iterator[CallbackRouter]:
        """List the routers that were taken in, with those that they took in."""
        for entry in self._entries:
            if isinstance(entry, CallbackRouter):
                yield entry
                yield from entry.routers()


def _is_async(handler: object) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - the method itself is looked at
    )
