"""Receive StatusCallbacks in any other framework; here a plain WSGI application.

CALLBACK_SECRET=… PORT=8080 python examples/other_framework.py
"""

from __future__ import annotations

import os
from wsgiref.simple_server import make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from exotel_async import CallbackError, CallbackTokens, decode_callback

tokens = CallbackTokens([os.environ["CALLBACK_SECRET"]])


def receive(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    length = int(environ["CONTENT_LENGTH"] or 0)
    if length > 65_536:
        start_response("413 Content Too Large", [])
        return [b""]
    try:
        ref = tokens.verify(environ["PATH_INFO"].rpartition("/")[2])
        event = decode_callback(
            environ["wsgi.input"].read(length),
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
