"""How are StatusCallbacks received: verify, decode, hand over, answer; nothing else.

Exotel: Voice v1, "StatusCallback". It takes 200 for an answer and tries others again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import tzinfo
from urllib.parse import urlsplit

from aiohttp import web

from exotel_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    MalformedCallbackError,
    UnverifiedCallbackError,
)
from exotel_async.events import CallbackRouter, deliver
from exotel_async.models.clock import Clock, SystemClock
from exotel_async.models.events import StatusCallback
from exotel_async.wire.tokens import CallbackTokens
from exotel_async.wire.values import IST
from exotel_async.wire.zones import zone_of

from .reading import callback_url, greeting, read_letter

_logger = logging.getLogger("exotel_async.webhooks")


class StatusCallbacks(CallbackRouter):
    """Receives StatusCallbacks in an aiohttp application and hands them to async handlers.

    - `tokens`: what vouches for the URLs; None takes callbacks from anybody, and says so.
    - `time_zone`: what time stamps without a zone mean, a tzinfo or a zone's name.
    - `handler_timeout`: seconds for all handlers of one event together. Exotel waits 15.
    - `max_body`: bytes of the largest body that is read.
    - `clock`: where time comes from; for tests.

    Handlers are awaited before the answer: 200 when all did well, 500 otherwise, and then Exotel
    tries again. Mount it with `app.add_subapp("/exotel/", callbacks.app)`.
    """

    def __init__(
        self,
        *,
        tokens: CallbackTokens | None,
        time_zone: tzinfo | str = IST,
        handler_timeout: float = 10.0,
        max_body: int = 65_536,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        _check_tokens(tokens)
        _check_amount("handler_timeout", handler_timeout, "seconds")
        _check_amount("max_body", max_body, "bytes")
        self._tokens = tokens
        self._zone = zone_of(time_zone)
        self._handler_timeout = handler_timeout
        self._max_body = max_body
        self._clock = clock or SystemClock()
        self._ready = False
        if tokens is None:
            _logger.warning(
                "StatusCallbacks has no tokens: whoever finds its URL can forge how a call ended"
            )

    def url(self, base: str, *, ref: str = "") -> str:
        """Spell the URL to give to Exotel, with a token in it that vouches for `ref`.

        `base` is where the outside world finds this sub-app. Make one for each call: a token
        lives as long as `CallbackTokens` says, and events carry its `ref`.
        """
        _check_base(base)
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
        """Be ready while an application lives: `app.cleanup_ctx.append(callbacks.lifespan)`."""
        self._ready = True
        yield
        self._ready = False

    def ready(self) -> bool:
        """Tell whether callbacks are welcome: from start-up until shutdown begins."""
        return self._ready

    async def _drain(self, _app: web.Application) -> None:
        self._ready = False

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; the token, if any, is the last segment of its path."""
        try:
            if (answer := greeting(request)) is not None:
                return answer
            event = await self._read(request)
        except web.HTTPMethodNotAllowed:
            _logger.warning("refused a %s from %s", request.method, request.remote)
            raise
        except web.HTTPRequestEntityTooLarge:
            _logger.warning("refused a callback from %s: more than max_body", request.remote)
            raise
        except UnverifiedCallbackError as error:
            _logger.warning("refused a callback from %s: %s", request.remote, error)
            return web.Response(status=404, text="Not found")
        except MalformedCallbackError as error:
            _logger.warning("refused a callback from %s: %s", request.remote, error)
            return web.Response(status=400, text="Not a StatusCallback")
        if await deliver(event, self, within=self._handler_timeout):
            return web.Response(text="OK")
        return web.Response(status=500, text="Try again")

    async def _read(self, request: web.Request) -> StatusCallback:
        letter = await read_letter(
            request, tokens=self._tokens, now=self._clock.now(), max_body=self._max_body
        )
        return letter.event(zone=self._zone)


def _check_base(base: str) -> None:
    try:
        parts = urlsplit(base)
    except ValueError as error:  # brackets of an IPv6 address
        raise InvalidRequestError("base must be a URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidRequestError("base must be an absolute http:// or https:// URL")


def _check_tokens(tokens: object) -> None:
    if tokens is not None and not isinstance(tokens, CallbackTokens):
        raise ConfigurationError("tokens must be CallbackTokens or None")


def _check_amount(name: str, value: object, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise ConfigurationError(f"{name} must be a number of {unit} above 0, but is {value!r}")
