"""Says who may ask, how often, and from which ExoPhone."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections import deque

import attrs

from . import numbers
from .checks import RefusedError, bad

_MINUTE = 60.0


@attrs.define(kw_only=True, eq=False)
class Account:
    """One of Exotel's customers."""

    sid: str
    api_key: str = attrs.field(repr=False)
    api_token: str = attrs.field(repr=False)
    requests_per_minute: int | None = 200
    exophones: frozenset[str] = frozenset()  # keys of numbers; none: any number will do
    kyc: bool = True  # whether Exotel knows who this is, as it must before it dials
    whitelist: set[str] = attrs.field(factory=set)  # keys of numbers that may be called in spite
    _recent: deque[float] = attrs.field(factory=deque, init=False, repr=False)

    def admits(self, authorization: str) -> bool:
        """Tell whether an Authorization header is this account's."""
        wanted = f"{self.api_key}:{self.api_token}".encode()
        return hmac.compare_digest(credentials(authorization), wanted)

    def count(self, now: float) -> None:
        """Count a request; refuse it if there were too many within a minute."""
        limit = self.requests_per_minute
        if limit is None:
            return
        while self._recent and self._recent[0] <= now - _MINUTE:
            self._recent.popleft()
        if len(self._recent) >= limit:
            raise RefusedError(429, f"Too many requests: {limit} a minute are allowed")
        self._recent.append(now)

    def check_caller_id(self, caller_id: str) -> None:
        """Refuse a CallerId that is none of this account's ExoPhones."""
        if self.exophones and numbers.key(caller_id) not in self.exophones:
            raise bad(f"Invalid CallerId {caller_id!r}: must be one of this account's ExoPhones")


def credentials(authorization: str) -> bytes:
    """Read the `key:token` of an Authorization header; nothing if there is none in it."""
    scheme, _, encoded = authorization.partition(" ")
    try:
        return b64decode(encoded, validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return b""
