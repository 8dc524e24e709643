"""How is a request logged without giving away its token."""

from __future__ import annotations

import re
from urllib.parse import quote

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import BaseRequest, StreamResponse

from exotel_async.errors import mask_numbers

_TOKEN_LIKE = re.compile(r"\.\d+\.")


class MaskingAccessLogger(AbstractAccessLogger):
    """An access logger that shows neither callback tokens, nor queries, nor phone numbers.

    `web.run_app(app, access_log_class=MaskingAccessLogger)`: aiohttp's own prints whole paths.
    """

    def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
        """Write one line: who, what, status, bytes, seconds."""
        self.logger.info(
            '%s "%s %s" %d %d %.3f',
            request.remote,
            request.method,
            quote(mask_path(request.path), safe="/{}*"),  # line breaks stay encoded
            response.status,
            response.body_length,
            time,
        )


def mask_path(path: str) -> str:
    """Hide what looks like a token, and phone numbers.

    >>> mask_path("/exotel/b3JkZXI.1790000000.K2bLh9bL3mJ1y0bqv2nW8w")
    '/exotel/{token}'
    """
    segments = ["{token}" if _TOKEN_LIKE.search(part) else part for part in path.split("/")]
    return mask_numbers("/".join(segments))
