"""Where Exotel's own samples lie: each file is named after its place on the page."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "fixtures"


def sample(name: str) -> bytes:
    """Read one sample, byte for byte."""
    return (FOLDER / name).read_bytes()


def form_sample(name: str) -> list[tuple[str, str]]:
    """Read a form that the page prints as one `Key: value` a line."""
    lines = sample(name).decode().strip().splitlines()
    return [(key, value.strip()) for key, _, value in (line.partition(":") for line in lines)]


def multipart(pairs: list[tuple[str, str]], *, boundary: str = "b0undary") -> tuple[bytes, str]:
    """Spell a form as curl does; returns the body and its content type."""
    head = '--{0}\r\nContent-Disposition: form-data; name="{1}"\r\n\r\n{2}\r\n'
    parts = [head.format(boundary, name, value) for name, value in pairs]
    body = "".join(parts) + f"--{boundary}--\r\n"
    return body.encode(), f"multipart/form-data; boundary={boundary}"
