"""Which handlers want which events, and in which order."""

from __future__ import annotations

import functools
import itertools

import pytest

from exotel_async import (
    CallAnswered,
    CallTerminated,
    ConfigurationError,
    StatusCallback,
    UnknownCallback,
)
from exotel_async.events import CallbackRouter

ANSWERED = CallAnswered(call_sid="a1")
TERMINATED = CallTerminated(call_sid="a1")
UNKNOWN = UnknownCallback(call_sid="a1")


def make(name: str):
    async def handler(event: StatusCallback) -> None: ...

    handler.__name__ = name
    return handler


def names(router: CallbackRouter, event: StatusCallback) -> list[str]:
    return [handler.__name__ for handler in router.handlers_for(event)]


class TestOn:
    def test_order(self):
        """Handlers come in the order in which they were registered."""
        router = CallbackRouter()
        for name in "cabd":
            router.on(CallTerminated)(make(name))

        assert names(router, TERMINATED) == ["c", "a", "b", "d"]

    def test_one_kind(self):
        """A handler of one kind sees no other."""
        router = CallbackRouter()
        router.on(CallTerminated)(make("a"))

        assert names(router, TERMINATED) == ["a"]
        assert names(router, ANSWERED) == []
        assert names(router, UNKNOWN) == []

    def test_two_kinds(self):
        """A handler of two kinds sees both, and each event once."""
        router = CallbackRouter()
        router.on(CallAnswered, CallTerminated)(make("a"))

        assert names(router, TERMINATED) == ["a"]
        assert names(router, ANSWERED) == ["a"]
        assert names(router, UNKNOWN) == []

    @pytest.mark.parametrize("event", [ANSWERED, TERMINATED, UNKNOWN])
    def test_all_kinds(self, event):
        """A handler of StatusCallback sees all, among the others in its own place."""
        router = CallbackRouter()
        router.on(type(event))(make("a"))
        router.on(StatusCallback)(make("all"))
        router.on(type(event))(make("b"))

        assert names(router, event) == ["a", "all", "b"]

    def test_returns_the_handler(self):
        """The decorated function stays what it is, and may be decorated again."""
        router, handler = CallbackRouter(), make("a")

        again = router.on(CallAnswered)(router.on(CallTerminated)(handler))

        assert again is handler
        assert names(router, TERMINATED) == names(router, ANSWERED) == ["a"]

    def test_callables(self):
        """Methods, partials and objects that are called with await are handlers as well."""

        class Handler:
            async def __call__(self, event: StatusCallback) -> None: ...

            async def method(self, event: StatusCallback) -> None: ...

        handlers = [Handler(), Handler().method, functools.partial(make("a"))]
        router = CallbackRouter()
        for handler in handlers:
            router.on(StatusCallback)(handler)

        assert list(router.handlers_for(ANSWERED)) == handlers

    def test_sync_handlers(self):
        """What is not awaited is refused."""

        def function(event): ...

        async def generator(event):
            yield

        class Sync:
            def __call__(self, event): ...

        for handler in (function, generator, Sync(), Sync, print, None, lambda event: None):
            with pytest.raises(ConfigurationError, match="async function"):
                CallbackRouter().on(CallTerminated)(handler)

    @pytest.mark.parametrize(
        "kinds", [(), (None,), ("terminal",), (Exception,), (CallTerminated, dict), (ANSWERED,)]
    )
    def test_no_kinds(self, kinds):
        """What is no kind of StatusCallback is refused."""
        with pytest.raises(ConfigurationError, match="kinds of StatusCallback"):
            CallbackRouter().on(*kinds)

    def test_bare_decorator(self):
        """A decorator without its kinds is refused, as soon as it is used."""
        with pytest.raises(ConfigurationError):
            CallbackRouter().on(make("a"))


class TestInclude:
    def test_order(self):
        """An included router's handlers stand where it was included, later ones too."""
        outer, inner, innermost = CallbackRouter(), CallbackRouter(), CallbackRouter()
        outer.on(CallTerminated)(make("a"))
        outer.include(inner)
        outer.on(CallTerminated)(make("e"))
        inner.on(CallTerminated)(make("b"))
        inner.include(innermost)
        inner.on(CallTerminated)(make("d"))
        innermost.on(StatusCallback)(make("c"))

        assert names(outer, TERMINATED) == ["a", "b", "c", "d", "e"]
        assert names(outer, ANSWERED) == ["c"]

    def test_twice(self):
        """A router may be part of several others."""
        shared, one, two = CallbackRouter(), CallbackRouter(), CallbackRouter()
        one.include(shared)
        two.include(shared)
        shared.on(CallTerminated)(make("a"))

        assert names(one, TERMINATED) == names(two, TERMINATED) == ["a"]

    @pytest.mark.parametrize("between", [0, 1, 3])
    def test_cycles(self, between):
        """A router that would come to include itself is refused, and nothing has changed."""
        chain = [CallbackRouter() for _ in range(between + 1)]
        for outer, inner in itertools.pairwise(chain):
            outer.include(inner)

        with pytest.raises(ConfigurationError, match="itself"):
            chain[-1].include(chain[0])

        assert names(chain[0], TERMINATED) == []
