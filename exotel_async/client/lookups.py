"""Has a number been looked up already, or is it being looked up right now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping

from exotel_async.errors import ConfigurationError, ExotelError
from exotel_async.models.numbers import NumberMetadata
from exotel_async.wire.looking_up import number_metadata

from .door import Door
from .pacing import Pacer
from .settings import Settings

NumberCache = MutableMapping[str, NumberMetadata]

_Found = NumberMetadata | ExotelError | None  # None: whoever asked gave up

_logger = logging.getLogger("exotel_async.client")


class Lookups:
    """What a client and its views know of numbers: a cache, if there is one, and who asks now."""

    def __init__(self, cache: NumberCache | None) -> None:
        if cache is not None and not isinstance(cache, MutableMapping):
            raise ConfigurationError(
                f"number_cache must be a mutable mapping or None, but is a {type(cache).__name__}"
            )
        self._cache = cache
        # By settings, too: a view with less patience must not spoil what others wait for.
        self._under_way: dict[tuple[str, Settings], asyncio.Future[_Found]] = {}

    async def get(self, number: str, *, door: Door, pacer: Pacer | None = None) -> NumberMetadata:
        """Look a number up, unless it is known or somebody else is about to tell."""
        number_metadata(number)  # refuses what is none
        door.transport.require_open()
        key = number, door.settings
        while (known := self._remembered(number)) is None:
            told = self._under_way.get(key)
            if told is None:
                return await self._ask(number, door=door, pacer=pacer)
            found = await asyncio.shield(told)
            if isinstance(found, ExotelError):
                raise found
            if found is not None:
                return found
        return known

    async def _ask(self, number: str, *, door: Door, pacer: Pacer | None) -> NumberMetadata:
        key, told = (number, door.settings), asyncio.get_running_loop().create_future()
        self._under_way[key] = told
        outcome: _Found = None
        try:
            outcome = found = await door.send(number_metadata(number), pacer=pacer)
        except ExotelError as error:
            outcome = error
            raise
        else:
            self._remember(number, found)
            return found
        finally:
            del self._under_way[key]
            told.set_result(outcome)

    def _remembered(self, number: str) -> NumberMetadata | None:
        if self._cache is None:
            return None
        try:
            known: object = self._cache.get(number)
        except Exception as error:  # noqa: BLE001 - a cache is a help, never a hindrance
            self._complain("read", error)
            return None
        return known if isinstance(known, NumberMetadata) else None

    def _remember(self, number: str, found: NumberMetadata) -> None:
        if self._cache is None:
            return
        try:
            self._cache[number] = found
        except Exception as error:  # noqa: BLE001 - as above
            self._complain("written", error)

    def _complain(self, done: str, error: Exception) -> None:
        # Its text may hold the number, as a KeyError's does.
        _logger.warning("number_cache could not be %s: %s", done, type(error).__name__)
