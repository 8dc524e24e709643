"""What does it cost to start: CPU time of a process up to a client, or up to a mounted receiver.

Every start is a process of its own, with compiled modules in place, and they take turns.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping

from measuring import Costs, Line, compared

ROUNDS = 15

KEYS = "account_sid='a', api_key='k', api_token='t'"
CLIENTS: Mapping[str, str] = {
    "ours": f"from exotel_async import ExotelClient; ExotelClient({KEYS})",
    "import aiohttp, attrs, cattrs": "import aiohttp, attrs, cattrs",
    "twilio async": (
        "from twilio.http.async_http_client import AsyncTwilioHttpClient as H\n"
        "from twilio.rest import Client\n"
        "import asyncio\n"
        "async def main(): Client('a', 't', http_client=H()).calls\n"
        "asyncio.run(main())"
    ),
    "telnyx async": "from telnyx import AsyncTelnyx; AsyncTelnyx(api_key='k').calls",
    "vonage": ("from vonage import Auth, Vonage; Vonage(Auth(api_key='k', api_secret='s')).voice"),
    "plivo": "import plivo; plivo.RestClient('MA' + 'A' * 18, 't').calls",
}
RECEIVERS: Mapping[str, str] = {
    "ours": (
        "from aiohttp import web\n"
        "from exotel_async import CallbackTokens\n"
        "from exotel_async.webhooks import StatusCallbacks\n"
        "callbacks = StatusCallbacks(tokens=CallbackTokens(['no secret: it is never used']))\n"
        "web.Application().add_subapp('/exotel/', callbacks.app)"
    ),
    "the same and aiohttp.web": "import aiohttp, attrs, cattrs, aiohttp.web",
}
_TOLD = "\nimport sys, time; sys.stderr.flush(); print(time.process_time())"


def cost_of(code: str) -> float:
    """Run code in a new process; give the seconds of CPU that this took, Python's start too."""
    command = [sys.executable, "-W", "ignore", "-c", code + _TOLD]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


def costs_of(codes: Mapping[str, str]) -> Costs:
    """Start all in turns; the first round compiles what is not compiled yet."""
    costs: dict[str, list[float]] = {name: [] for name in codes}
    for number in range(ROUNDS + 1):
        for name, code in codes.items():
            cost = cost_of(code)
            if number:
                costs[name].append(cost)
    return dict(costs)


def measure() -> Iterable[Line]:
    """Measure; give the lines of the table."""
    most, less = ("at most", 1.15), ("at most", 1.0)
    yield from compared(
        "CPU time up to a client", "ms", costs_of(CLIENTS), scale=1e3,
        bounds={
            "import aiohttp, attrs, cattrs": most, "twilio async": less, "telnyx async": less,
            "vonage": less,
        },
    )  # fmt: skip
    yield from compared(
        "CPU time up to a mounted receiver", "ms", costs_of(RECEIVERS), scale=1e3,
        bounds={"the same and aiohttp.web": most},
    )  # fmt: skip
