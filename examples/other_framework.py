"""Receive StatusCallbacks in any other framework; here a plain WSGI application.

CALLBACK_SECRET=… PORT=8080 python examples/other_framework.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

from exotel_async import CallbackError, CallbackTokens, decode_callback

tokens = CallbackTokens([os.environ["CALLBACK_SECRET"]])


def receive(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    try:
        ref = tokens.verify(environ["PATH_INFO"].rpartition("/")[2])
        event = decode_callback(
            environ["wsgi.input"].read(min(int(environ["CONTENT_LENGTH"] or 0), 65_536)),
            content_type=environ.get("CONTENT_TYPE", ""),
            query=environ.get("QUERY_STRING", ""),
            ref=ref,
        )
    except CallbackError as error:
        print(f"refused: {error}")
        start_response("404 Not Found", [])
        return [b""]
    print(event.ref, type(event).__name__, event.status, flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"OK"]


if __name__ == "__main__":
    make_server("127.0.0.1", int(os.environ.get("PORT", "8080")), receive).serve_forever()
