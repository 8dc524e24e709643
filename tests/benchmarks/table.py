"""This package beside what a user would pick instead, in one run: one table of ratios.

`python noxfile.py -s bench` brings the rivals. Name some of the parts to have only those.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module

from measuring import Line, as_table, versions

PARTS = ("records", "forms", "requests_out", "receivers", "starting")
NAMED = (
    "exotel-async", "aiohttp", "attrs", "cattrs", "msgspec", "pydantic", "orjson", "multipart",
    "python-multipart", "werkzeug", "fastapi", "uvicorn", "twilio", "telnyx", "vonage", "plivo",
    "httpx", "requests",
)  # fmt: skip


def main() -> None:
    """Measure part by part, and print the table at the end."""
    wanted = sys.argv[1:] or PARTS
    if unknown := set(wanted) - set(PARTS):
        sys.exit(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    lines: list[Line] = []
    for part in wanted:
        print(f"measuring {part} ...", file=sys.stderr, flush=True)
        lines += import_module(part).measure()
    print(as_table(lines))
    print(f"\nPython {platform.python_version()}, {versions(*NAMED)};")
    print(f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores.")
    print("Medians; a ratio is the median of those within one round, so of neighbours in time.")


if __name__ == "__main__":
    main()
