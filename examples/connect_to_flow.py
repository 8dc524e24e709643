"""Call a number and play it a flow: python examples/connect_to_flow.py NUMBER EXOPHONE FLOW."""

from __future__ import annotations

import asyncio
import sys

from exotel_async import ExotelClient


async def main(number: str, caller_id: str, flow_id: str) -> None:
    async with ExotelClient.from_environ() as exotel:
        call = await exotel.calls.connect_to_flow(
            from_=number, caller_id=caller_id, flow_id=flow_id, custom_field="order-42"
        )
        print(f"{call.sid}: {call.status}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
