"""Read yesterday's calls that reached nobody: python examples/failed_yesterday.py."""

from __future__ import annotations

import asyncio
from datetime import datetime, time, timedelta

from exotel_async import IST, CallStatus, ExotelClient


async def main() -> None:
    today = datetime.combine(datetime.now(IST).date(), time(), IST)
    async with ExotelClient.from_environ() as exotel:
        calls = exotel.calls.list(
            created_after=today - timedelta(days=1),
            created_before=today - timedelta(seconds=1),
            statuses=(CallStatus.FAILED, CallStatus.BUSY, CallStatus.NO_ANSWER),
            details=True,
        )
        async for call in calls:
            legs = call.details.legs if call.details else ()
            print(call.date_created, call.sid, call.status, *(leg.status for leg in legs))


if __name__ == "__main__":
    asyncio.run(main())
