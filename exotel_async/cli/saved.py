"""How is a received callback kept as one line of a file, so that it can be sent again as it came.

A body is text where it is UTF-8, and base64 where it is not: either way byte for byte.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from datetime import datetime
from pathlib import Path
from typing import IO

import attrs


@attrs.frozen(kw_only=True)
class Saved:
    """A callback as it came, and what it was answered with."""

    at: datetime
    content_type: str
    query: str = attrs.field(default="", repr=False)
    status: int = 200
    body: bytes = attrs.field(repr=False)


def to_line(saved: Saved) -> str:
    """Write a callback as one line of JSON."""
    try:
        body = {"body": saved.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": b64encode(saved.body).decode("ascii")}
    head = {
        "at": saved.at.isoformat(),
        "content_type": saved.content_type,
        "query": saved.query,
        "status": saved.status,
    }
    return json.dumps({**head, **body})


def from_line(line: str) -> Saved:
    """Read what `to_line` wrote; ValueError where it is something else."""
    try:
        tree = json.loads(line)
        encoded = tree.get("body_base64")
        return Saved(
            at=datetime.fromisoformat(tree["at"]),
            content_type=str(tree["content_type"]),
            query=str(tree["query"]),
            status=int(tree["status"]),
            body=tree["body"].encode() if encoded is None else b64decode(encoded, validate=True),
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError("not a line that `listen --save` wrote") from error


def open_for_saving(path: Path) -> IO[str]:
    """Open a file to add lines to; nobody else may read it: it holds phone numbers."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    if hasattr(os, "fchmod"):  # it may have been there before
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8")


def add_line(file: IO[str], saved: Saved) -> None:
    """Add a callback to a file, at once."""
    file.write(to_line(saved) + "\n")
    file.flush()
