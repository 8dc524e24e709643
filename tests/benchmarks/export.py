"""How much memory does `exotel-async calls export` take for a million records, and how long.

The carrier is a process of its own, and so is each export; pacing is as good as off. Prints a
table; what a command takes that only shows its help is the first row.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
from pull import RANGE, START, carrier

FORMATS = ("csv", "jsonl", "parquet")


@attrs.frozen
class Ran:
    """What one run of the command took."""

    seconds: float
    memory: float  # MB at most


def run(*argv: str, settings: str = "{}") -> Ran:
    """Run the command to its end."""
    given = json.loads(settings)
    environ = {
        "EXOTEL_ACCOUNT_SID": given.get("account_sid", ""),
        "EXOTEL_API_KEY": given.get("api_key", ""),
        "EXOTEL_API_TOKEN": given.get("api_token", ""),
        "EXOTEL_SUBDOMAIN": given.get("base_url", "").removeprefix("http://"),
    }
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "exotel_async", *argv],
        stdout=subprocess.DEVNULL, env=os.environ | environ,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"it ended with {process.returncode}")
    return Ran(time.perf_counter() - begun, usage.ru_maxrss / 1024)


def measure(records: int, formats: Sequence[str]) -> str:
    """Export in each format, and tell."""
    lines = [
        "| command | records | seconds | MB at most |",
        "| --- | ---: | ---: | ---: |",
        f"| --help | | | {run('calls', 'export', '--help').memory:.0f} |",
    ]
    with carrier(records) as settings, tempfile.TemporaryDirectory() as folder:
        for format_ in formats:
            path = Path(folder) / f"calls.{format_}"
            ran = run(
                "calls", "export", "--from", f"{START:%Y-%m-%d}",
                "--to", f"{START + RANGE:%Y-%m-%d}", "--details",
                "--requests-per-minute", "1000000", "--out", str(path), settings=settings,
            )  # fmt: skip
            lines.append(
                f"| export to .{format_} | {records:,} | {ran.seconds:.0f} | {ran.memory:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=FORMATS)
    asked = parser.parse_args()
    print(measure(asked.records, asked.formats))


if __name__ == "__main__":
    main()
