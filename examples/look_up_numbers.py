"""Look numbers up: python examples/look_up_numbers.py NUMBER..."""

from __future__ import annotations

import asyncio
import sys

from exotel_async import ApiError, ExotelClient


async def main(*numbers: str) -> None:
    async with ExotelClient.from_environ() as exotel:
        for number in numbers:
            try:
                known = await exotel.numbers.get(number)
            except ApiError as refused:
                print(f"{number}: {refused}")
            else:
                print(f"{number}: {known.circle_name}, {known.operator_name}, DND: {known.dnd}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
