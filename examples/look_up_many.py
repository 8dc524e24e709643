"""Look up the numbers in a file, one a line, and keep what is found for a day.

Run it with `python examples/look_up_many.py < numbers.txt`; needs `pip install cachetools`.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from cachetools import TTLCache

from exotel_async import ExotelClient, NumberMetadata

DAY = 86_400.0  # seconds


async def main() -> None:
    cache: TTLCache[str, NumberMetadata] = TTLCache(maxsize=100_000, ttl=DAY)
    numbers = (line.strip() for line in sys.stdin if line.strip())
    async with (
        ExotelClient.from_environ(number_cache=cache) as exotel,
        aclosing(exotel.numbers.iter_many(numbers)) as results,
    ):
        async for result in results:
            known = result.metadata
            print(f"{result.number}: {known.circle_name if known else result.error}")


if __name__ == "__main__":
    asyncio.run(main())
