"""The measurement itself works; what it measures is no test's business."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("receiver.py")


def test_report():
    """Servers are started, given callbacks, and compared."""
    kinds = ["none", "delivering", "slow", "slow-alone"]

    done = subprocess.run(
        [sys.executable, SCRIPT, *kinds, "--rounds", "1", "--callbacks", "64"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    titles = ["no journal", "SQLiteJournal, and delivered", "5 ms a commit", "5 ms a commit"]
    lines = done.stdout.splitlines()[1:]
    assert [line.startswith(title) for line, title in zip(lines, titles, strict=False)] == [
        True
    ] * 4
    assert lines[4].startswith("With 5 ms a commit")
