"""Are the three standard streams there, and can they be written to whatever comes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def make_sound() -> None:
    """Stand in for streams that were closed, and have odd characters replaced, not refused."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # in this order each takes the number of the one that is missing
            nowhere = os.open(os.devnull, os.O_RDWR)
            stand_in = os.fdopen(
                nowhere, mode, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, stand_in)
        elif mode == "w" and (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")


def write_nowhere() -> None:
    """Drop what standard output could not take, so that Python does not complain at its end."""
    with suppress(OSError, ValueError, AttributeError):
        output, nowhere = sys.stdout.fileno(), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)
