"""How long does a pull of many records take, by one cursor and by windows side by side.

The carrier is a process of its own and answers each request 100 ms later; half of the records lie
in a hundredth of the range, and thousands in one second. Readers are processes too, so that each
starts with clean memory; they take turns. Prints a table with medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from statistics import median
from typing import Any

import attrs

from exotel_async import ExotelClient
from exotel_async.simulator import Simulator

RANGE = timedelta(days=29)
LATENCY = 0.1  # seconds
START = datetime(2026, 10, 1, tzinfo=UTC)


@attrs.frozen
class Pulled:
    """What one reader saw."""

    records: int
    seconds: float
    memory: float  # MB over what it took before the first record
    digest: str  # of all sids, in order


def seconds_of(records: int) -> list[int]:
    """Draw when calls were: half of them in a hundredth of the range, many in one second."""
    chance, span = Random(7), int(RANGE.total_seconds())
    burst, heavy = span * 2 // 5, records // 40
    drawn = [burst + chance.randrange(span // 100) for _ in range(records // 2 - heavy)]
    drawn += [burst + span // 300] * heavy
    return drawn + [chance.randrange(span) for _ in range(records - len(drawn))]


async def carry(records: int) -> None:
    """Be Exotel until standard input ends."""
    sim = Simulator(start=START + RANGE + timedelta(hours=1), requests_per_minute=None)
    async with sim:
        for n, at in enumerate(seconds_of(records)):
            sim.add_call(sid=f"s{n:08}", date_created=START + timedelta(seconds=at), recorded=True)
        sim.fault("latency", on="bulk", times=None, seconds=LATENCY)
        settings = {name: value for name, value in sim.settings.items() if name != "clock"}
        print(json.dumps(settings), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def read(settings: dict[str, Any], *, concurrency: int) -> Pulled:
    """Read all records once, streamed."""
    async with ExotelClient(**settings, requests_per_minute=None) as exotel:
        await exotel.calls.page(
            created_after=START, created_before=START + timedelta(days=1), page_size=1
        )
        idle, begun = _memory(), time.perf_counter()
        digest, count = sha256(), 0
        async for call in exotel.calls.list(
            created_after=START, created_before=START + RANGE, details=True,
            concurrency=concurrency,
        ):  # fmt: skip
            digest.update(call.sid.encode())
            count += 1
        seconds = time.perf_counter() - begun
    return Pulled(count, seconds, _memory() - idle, digest.hexdigest())


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def carrier(records: int) -> Iterator[str]:
    """Run an Exotel; give its settings as text."""
    command = [sys.executable, __file__, "--carry", str(records)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        settings = process.stdout.readline()
        if not settings:
            raise RuntimeError("the carrier did not start")
        yield settings
    finally:
        process.stdin.close()
        process.wait(timeout=30)


def pulled(settings: str, *, concurrency: int) -> Pulled:
    """Have a process read all records."""
    command = [sys.executable, __file__, "--read", settings, "--concurrency", str(concurrency)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    return Pulled(**json.loads(done.stdout))


def compare(records: int, *, rounds: int) -> str:
    """Measure in turns, and tell."""
    found: dict[int, list[Pulled]] = {1: [], 8: []}
    with carrier(records) as settings:
        for _ in range(rounds):
            for concurrency, some in found.items():
                some.append(pulled(settings, concurrency=concurrency))
    if len({one.digest for some in found.values() for one in some}) != 1:
        raise AssertionError("they did not give the same records in the same order")
    lines = [
        "| requests at once | records | seconds | MB over idle |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for concurrency, some in found.items():
        seconds, memory = (
            median(getattr(one, name) for one in some) for name in ("seconds", "memory")
        )
        lines.append(f"| {concurrency} | {some[0].records:,} | {seconds:.1f} | {memory:.1f} |")
    ratios = [one.seconds / many.seconds for one, many in zip(*found.values(), strict=True)]
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    return "\n".join([*lines, f"\nEight are {median(ratios):.1f} times as fast ({spread})."])


def main() -> None:
    """Play the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--carry", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--concurrency", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.carry:
        asyncio.run(carry(asked.carry))
    elif asked.read:
        result = asyncio.run(read(json.loads(asked.read), concurrency=asked.concurrency))
        print(json.dumps(attrs.asdict(result)))
    else:
        print(compare(asked.records, rounds=asked.rounds))


if __name__ == "__main__":
    main()
