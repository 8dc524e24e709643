"""Makes aioresponses 0.7.9 work with aiohttp 3.14 and later; acts only where the fault is.

Its answers lack the `stream_writer` that ClientResponse wants since 3.14, and bodies over 128 KiB
stop in a reader that has no transport to pause.
"""

from __future__ import annotations

import inspect
from typing import Any
from unittest.mock import Mock

import aiohttp
import aioresponses.core
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

_LIMIT = 2**30


def install() -> None:
    """Patch aioresponses, once, where it needs it."""
    wants = inspect.signature(aiohttp.ClientResponse.__init__).parameters
    if "stream_writer" not in wants or hasattr(aioresponses.core, "_exotel_async_shim"):
        return
    aioresponses.core._exotel_async_shim = True  # type: ignore[attr-defined]
    aioresponses.core.ClientResponse = _Response  # type: ignore[misc]
    aioresponses.core.stream_reader_factory = _stream_reader


class _Response(aiohttp.ClientResponse):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream_writer", Mock(output_size=0))
        super().__init__(*args, **kwargs)


def _stream_reader(loop: Any = None) -> StreamReader:
    return StreamReader(ResponseHandler(loop=loop), limit=_LIMIT, loop=loop)
