"""The service under examples/click_to_call passes its own tests, as its author would run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = "examples/click_to_call"


def test_passes() -> None:
    """All of its tests pass, from a clone, with the package installed."""
    options = ["-q", "-p", "exotel_async.testing", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, EXAMPLE],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in ", done.stdout, re.MULTILINE)


def test_mocks_nothing() -> None:
    """Neither aiohttp nor anything of ours is replaced in them."""
    text = (ROOT / EXAMPLE / "test_shop.py").read_text(encoding="utf8")

    assert not re.findall(r"\bmock\b|monkeypatch|aioresponses|patch\(", text.partition('"""\n')[2])
