"""What does `python -m exotel_async` do: the same as `exotel-async`."""

from __future__ import annotations

import sys

from exotel_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
