"""Connect two numbers: python examples/connect_two_numbers.py FROM TO EXOPHONE."""

from __future__ import annotations

import asyncio
import sys

from exotel_async import ApiError, ExotelClient, NotSentError, OutcomeUnknownError


async def main(from_: str, to: str, caller_id: str) -> None:
    async with ExotelClient.from_environ() as exotel:
        try:
            call = await exotel.calls.connect(
                from_=from_, to=to, caller_id=caller_id, time_limit=600, record=True
            )
        except ApiError as refused:
            sys.exit(f"Refused, no phone rings. {refused}")
        except NotSentError as unsent:
            sys.exit(f"Exotel was not reached, no phone rings; try again. {unsent}")
        except OutcomeUnknownError as unknown:
            sys.exit(f"Phones may ring: do not dial again blindly. {unknown}")
        print(f"{call.sid}: {call.status}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
