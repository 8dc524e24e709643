"""What can be asked about phone numbers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import TypeVar

import attrs

from exotel_async.errors import (
    AuthenticationError,
    ClientClosedError,
    ExotelError,
    PaymentRequiredError,
)
from exotel_async.models.masks import masked
from exotel_async.models.numbers import NumberMetadata
from exotel_async.wire import checks

from .door import Door
from .lookups import Lookups

T = TypeVar("T")

_AHEAD = 4  # numbers taken up for each request, so that one slow answer does not hold up all
_HITS_ALL = (AuthenticationError, ClientClosedError, PaymentRequiredError)


@attrs.frozen(kw_only=True)
class NumberResult:
    """What came of looking one number up: `metadata` or `error`, the other being None."""

    number: str = attrs.field(repr=masked)  # as it was given
    metadata: NumberMetadata | None = None
    error: ExotelError | None = None


@attrs.frozen(eq=False)
class Numbers:
    """Looks numbers up; found at `exotel.numbers`.

    With `ExotelClient(number_cache=...)` successful answers are kept there, each under the number's
    text as it was given: what Exotel answers may depend on the spelling, so +91..., 91... and 0...
    are numbers of their own. Who asks for a number that is being looked up waits for that answer.
    A cache that fails is passed over.
    """

    _door: Door
    _lookups: Lookups

    async def get(self, number: str) -> NumberMetadata:
        """Look up where a number is at home: circle, operator, do-not-disturb.

        Exotel: Voice v1, "Number Metadata".
        """
        return await self._lookups.get(number, door=self._door)

    async def get_many(self, numbers: Iterable[str], *, concurrency: int = 8) -> list[NumberResult]:
        """Look up many numbers: one result for each given, in that order.

        A number that comes again, spelled the same, is asked for once. An error of one is in its
        result, InvalidRequestError too, and spoils no other; only where the client is closed, the
        credentials are wrong or the credit is used up, the rest gets that error without a
        request. At most `concurrency` requests are under way at once, a fiftieth of what the pacer
        allows is left to others. Exotel: Voice v1, "Number Metadata".
        """
        _check(numbers, concurrency)
        places: list[int] = []
        looked_up = self._looked_up(_each_once(numbers, places), concurrency)
        async with aclosing(looked_up):
            results = [result async for result in looked_up]
        return [results[place] for place in places]

    def iter_many(
        self, numbers: Iterable[str], *, concurrency: int = 8
    ) -> AsyncGenerator[NumberResult, None]:
        """Look up more numbers than shall be held at once; results come as in `get_many`.

        `numbers` is read a little ahead of what is given out. Without a cache, a number that comes
        again much later is asked for again. Whoever may leave the loop early wraps this in
        `contextlib.aclosing`, or requests stay under way until it is collected.
        Exotel: Voice v1, "Number Metadata".
        """
        _check(numbers, concurrency)
        return self._looked_up(numbers, concurrency)

    async def _looked_up(
        self, numbers: Iterable[str], concurrency: int
    ) -> AsyncGenerator[NumberResult, None]:
        visit = _Round(self._door, self._lookups, concurrency)
        tasks: deque[asyncio.Task[NumberResult]] = deque()
        try:
            for number in numbers:
                if len(tasks) >= _AHEAD * concurrency:
                    yield await tasks[0]
                    tasks.popleft()
                tasks.append(asyncio.create_task(visit.look_up(number)))
            while tasks:
                yield await tasks[0]
                tasks.popleft()
        finally:
            await _end(tasks)


class _Round:
    """Looks numbers up, so many at once, until something is wrong that hits all of them."""

    def __init__(self, door: Door, lookups: Lookups, concurrency: int) -> None:
        self._door = door
        self._lookups = lookups
        self._slots = asyncio.Semaphore(concurrency)
        self._stopped_by: ExotelError | None = None

    async def look_up(self, number: str) -> NumberResult:
        async with self._slots:
            if self._stopped_by is not None:
                return NumberResult(number=number, error=self._stopped_by)
            try:
                found = await self._lookups.get(number, door=self._door, pacer=self._door.patient)
            except ExotelError as error:
                if isinstance(error, _HITS_ALL):
                    self._stopped_by = error
                return NumberResult(number=number, error=error)
            return NumberResult(number=number, metadata=found)


def _check(numbers: object, concurrency: object) -> None:
    if not isinstance(numbers, Iterable) or isinstance(numbers, str | bytes | bytearray):
        checks.refuse("numbers", numbers, "several texts")
    checks.whole("concurrency", concurrency, least=1)


def _each_once(numbers: Iterable[T], places: list[int]) -> Iterator[T]:
    """Give each number once; note for each that came which of those it is."""
    known: dict[str, int] = {}
    count = 0
    for number in numbers:
        place = known.get(number, count) if isinstance(number, str) else count
        places.append(place)
        if place < count:
            continue
        if isinstance(number, str):  # what is none may not even have a hash
            known[number] = count
        count += 1
        yield number


async def _end(tasks: Iterable[asyncio.Task[NumberResult]]) -> None:
    left = [task for task in tasks if not task.done()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # or asyncio complains that nobody asked
