"""How are StatusCallbacks received: verify, decode, hand over or commit, answer; nothing else.

Exotel: Voice v1, "StatusCallback". It takes 200 for an answer and tries others again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aiohttp import web

from exotel_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    MalformedCallbackError,
    UnverifiedCallbackError,
)
from exotel_async.events import CallbackRouter, deliver
from exotel_async.events.router import Registration
from exotel_async.models.clock import Clock, SystemClock
from exotel_async.models.events import StatusCallback
from exotel_async.wire.callback_url import callback_url, checked_base
from exotel_async.wire.tokens import CallbackTokens
from exotel_async.wire.values import IST
from exotel_async.wire.zones import zone_of

from .reading import Letter, greeting, read_letter

if TYPE_CHECKING:
    from exotel_async.journal import Journal

    from .durable import Intake

_WITHOUT_JOURNAL, _WITH_JOURNAL = 10.0, 60.0  # seconds that handlers have

_COUNTERS = (
    "received_total", "recorded_new_total", "recorded_update_total", "recorded_duplicate_total",
    "recorded_contradiction_total", "recorded_too_many_total", "unavailable_total",
    "refused_missing_total", "refused_forged_total", "refused_unknown_secret_total",
    "refused_expired_total", "refused_malformed_total", "refused_too_large_total",
    "refused_method_total", "delivered_total", "failed_total",
)  # fmt: skip

_logger = logging.getLogger("exotel_async.webhooks")


class StatusCallbacks(CallbackRouter):
    """Receives StatusCallbacks in an aiohttp application and hands them to async handlers.

    - `tokens`: what vouches for the URLs; None takes callbacks from anybody, and says so.
    - `time_zone`: what time stamps without a zone mean, a tzinfo or a zone's name.
    - `handler_timeout`: seconds for all handlers of one event together, 10 unless given: Exotel
      waits 15. With a journal for each handler of its own, 60 unless given.
    - `max_body`: bytes of the largest body that is read.
    - `journal`: makes it durable, see below.
    - `deliver`: False where this process only takes callbacks in, and another one that has the
      same journal and the handlers delivers them.
    - `clock`: where time comes from; for tests.

    Without a journal handlers are awaited before the answer: 200 when all did well, 500 otherwise,
    and then Exotel tries again. What a handler has not finished when the process ends is lost.

    With a journal a callback is committed, then answered 200, and handlers run afterwards: at
    least once, by this process or, after a crash, by the next one; repetitions that tell nothing
    new reach nobody. `delivery_id` is the same for each try. The events of a call come in order,
    none of them to two handlers at once; one that fails is tried again after 5 s, 30 s, 2 min and
    so on, 8 times in all, without holding up those that follow, and then is a dead letter
    (`journal.dead_letters`, `journal.replay`). Exotel is answered 503 where nothing was committed
    within 8 s, or nobody would deliver it: the lifespan below has to be entered.

    Mount it with `app.add_subapp("/exotel/", callbacks.app)`, and let it live with
    `app.cleanup_ctx.append(callbacks.lifespan)`, or `async with callbacks:`.
    """

    def __init__(
        self,
        *,
        tokens: CallbackTokens | None,
        time_zone: tzinfo | str = IST,
        handler_timeout: float | None = None,
        max_body: int = 65_536,
        journal: Journal | None = None,
        deliver: bool = True,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        if handler_timeout is None:
            handler_timeout = _WITHOUT_JOURNAL if journal is None else _WITH_JOURNAL
        _check_tokens(tokens)
        _check_amount("handler_timeout", handler_timeout, "seconds")
        _check_amount("max_body", max_body, "bytes")
        self._tokens = tokens
        self._zone = zone_of(time_zone)
        self._handler_timeout = handler_timeout
        self._max_body = max_body
        self._intake = self._intake_of(journal, deliver=deliver)
        self._clock = clock or (SystemClock() if journal is None else journal.clock)
        self._counts: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))
        self._ready = False
        if tokens is None:
            _logger.warning(
                "StatusCallbacks has no tokens: whoever finds its URL can forge how a call ended"
            )

    def _intake_of(self, journal: Journal | None, *, deliver: bool) -> Intake | None:
        if journal is not None:
            from .durable import Intake  # only here: most receivers need no database

            return Intake(
                journal,
                self,
                zone=self._zone,
                handler_timeout=self._handler_timeout,
                deliver=deliver,
            )
        if not deliver:
            raise ConfigurationError("deliver=False needs a journal: another process reads it")
        return None

    def include(self, router: CallbackRouter) -> None:
        """Take in another router's handlers, present and future."""
        for registration in router.registrations():
            self._check(registration)
        super().include(router)

    def _add(self, registration: Registration) -> None:
        self._check(registration)
        super()._add(registration)

    def _check(self, registration: Registration) -> None:
        if registration.updates and self._intake is None:
            raise ConfigurationError("updates=True needs a journal: StatusCallbacks(journal=...)")

    def url(self, base: str, *, ref: str = "") -> str:
        """Spell the URL to give to Exotel, with a token in it that vouches for `ref`.

        `base` is where the outside world finds this sub-app. Make one for each call: a token
        lives as long as `CallbackTokens` says, events carry its `ref`, and a journal keeps at
        most 64 different callbacks of one `ref`.
        """
        checked_base(base)
        if self._tokens is None:
            if ref:
                raise InvalidRequestError("ref needs tokens: nothing would vouch for it")
            return base
        return callback_url(base, self._tokens, ref=ref, now=self._clock.now())

    @property
    def app(self) -> web.Application:
        """A new sub-application, to be mounted under any prefix; as many as you like."""
        app = web.Application()
        app.add_routes(self.routes())
        app.on_shutdown.append(self._drain)
        return app

    def routes(self, prefix: str = "") -> list[web.RouteDef]:
        """Spell the routes, to add them to an application of your own below `prefix`."""
        base = prefix.rstrip("/")
        paths = (base, f"{base}/", f"{base}/{{token}}", f"{base}/{{token}}/")
        return [web.route("*", path, self.handle) for path in paths if path or not prefix]

    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Live as long as an application: `app.cleanup_ctx.append(callbacks.lifespan)`.

        With a journal, `journal.lifespan` stands before it.
        """
        async with self:
            yield

    async def __aenter__(self) -> Self:
        """Be ready, and with a journal deliver; raises JournalError where that is not open."""
        for registration in self.registrations():
            self._check(registration)
        if self._intake is not None:
            await self._intake.open()
        self._ready = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ready = False
        if self._intake is not None:
            await self._intake.close()

    def ready(self) -> bool:
        """Tell whether callbacks are welcome: from start-up until shutdown begins."""
        return self._ready and (self._intake is None or self._intake.takes)

    def stats(self) -> Mapping[str, int]:
        """Count what came in, what was refused and why, and how deliveries went, by this object.

        The names that end in "_total" only grow. "refused_unknown_secret_total" counts tokens that
        look good but for their secret: one that was removed too early, or a forger.
        """
        delivered = {} if self._intake is None else self._intake.stats()
        return {**self._counts, **delivered}

    async def _drain(self, _app: web.Application) -> None:
        self._ready = False
        if self._intake is not None:
            self._intake.drain()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; the token, if any, is the last segment of its path."""
        try:
            if (answer := greeting(request)) is not None:
                return answer
            letter = await read_letter(
                request, tokens=self._tokens, now=self._clock.now(), max_body=self._max_body
            )
            event = letter.event(zone=self._zone)
        except web.HTTPMethodNotAllowed:
            self._refuse("method", "refused a %s from %s", request.method, request.remote)
            raise
        except web.HTTPRequestEntityTooLarge:
            self._refuse(
                "too_large", "refused a callback from %s: more than max_body", request.remote
            )
            raise
        except UnverifiedCallbackError as error:
            self._refuse(error.reason, "refused a callback from %s: %s", request.remote, error)
            return web.Response(status=404, text="Not found")
        except MalformedCallbackError as error:
            self._refuse("malformed", "refused a callback from %s: %s", request.remote, error)
            return web.Response(status=400, text="Not a StatusCallback")
        self._counts["received_total"] += 1
        if self._intake is None:
            return await self._deliver(event)
        return await self._commit(self._intake, letter, event)

    def _refuse(self, reason: str, text: str, *args: object) -> None:
        self._counts[f"refused_{reason}_total"] += 1
        _logger.warning(text, *args, extra={"outcome": f"refused_{reason}"})

    async def _deliver(self, event: StatusCallback) -> web.Response:
        done_well = await deliver(event, self, within=self._handler_timeout)
        self._counts["delivered_total" if done_well else "failed_total"] += 1
        if done_well:
            return web.Response(text="OK")
        return web.Response(status=500, text="Try again")

    async def _commit(self, intake: Intake, letter: Letter, event: StatusCallback) -> web.Response:
        recorded = await intake.record(letter, event)
        if recorded is None:
            self._counts["unavailable_total"] += 1
            return web.Response(status=503, text="Try again")
        self._counts[f"recorded_{recorded}_total"] += 1
        if recorded == "too_many":  # not kept: so we must not say that it was
            return web.Response(status=429, text="Too many for one URL")
        return web.Response(text="OK")


def _check_tokens(tokens: object) -> None:
    if tokens is not None and not isinstance(tokens, CallbackTokens):
        raise ConfigurationError("tokens must be CallbackTokens or None")


def _check_amount(name: str, value: object, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ConfigurationError(f"{name} must be a number of {unit} above 0, but is {value!r}")
