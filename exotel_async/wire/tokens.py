"""Did this callback come to a URL of ours: tokens for callback URLs.

Exotel signs nothing. So the URL carries a secret of its own: one path segment
`{ref}.{expiry}.{mac}`, in which the mac vouches for the rest. It names no host and no prefix, so
that proxies may rewrite both.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, Self

import attrs

from exotel_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    UnverifiedCallbackError,
)

LONGEST_LIFE = timedelta(days=30)
RefKind = Literal["ref", "dial"]  # a text of the user's own, or a dial of the dialer's

_KINDS: tuple[RefKind, ...] = ("ref", "dial")
_VERSION = b"exotel_async callback 1"
_SEAL_VERSION = b"exotel_async seal 1"
_VARIABLE = "EXOTEL_CALLBACK_SECRET"
_LEAST_SECRET = 16  # bytes
_MAC_BYTES = 16
_LONGEST = 200  # characters of a segment
_MISSING = "the URL holds no token"
_FORGED = "the URL holds no token of ours"
_UNKNOWN = "no secret of ours made the URL's token: it is forged, or one was removed too early"
_SEGMENT = re.compile(r"([A-Za-z0-9_-]*)\.([1-9]\d{0,11})\.([A-Za-z0-9_-]{22})", re.ASCII)


@attrs.frozen
class Vouched:
    """What a callback's URL vouches for."""

    ref: str
    kind: RefKind


class CallbackTokens:
    """Makes and checks the secret part of callback URLs.

    `secrets`: the first signs, all are accepted: put a new one in front, drop the old one after
    `lifetime`. Each has at least 16 bytes; `secrets.token_urlsafe(32)` makes a good one.
    `audience` keeps tokens of, say, staging and production apart. `lifetime`: at most 30 days.
    """

    def __init__(
        self,
        secrets: Iterable[str | bytes],
        *,
        audience: str = "production",
        lifetime: timedelta = LONGEST_LIFE,
    ) -> None:
        if isinstance(secrets, str | bytes) or not isinstance(secrets, Iterable):
            raise ConfigurationError("secrets must be a list of secrets, not a single one")
        self._secrets = tuple(_checked_secret(secret) for secret in secrets)
        if not self._secrets:
            raise ConfigurationError("secrets must hold at least one secret")
        if not isinstance(lifetime, timedelta):
            raise ConfigurationError(f"lifetime must be a timedelta, but is {lifetime!r}")
        if not timedelta(seconds=1) <= lifetime <= LONGEST_LIFE:
            raise ConfigurationError(f"lifetime must be at most {LONGEST_LIFE.days} days, above 0")
        if not isinstance(audience, str):
            raise ConfigurationError(f"audience must be a text, but is {audience!r}")
        self._audience = audience.encode()
        self._lifetime = lifetime

    @classmethod
    def from_environ(
        cls, *, environ: Mapping[str, str] | None = None, audience: str = "production"
    ) -> Self:
        """Take the secrets from EXOTEL_CALLBACK_SECRET: one, or several with commas between."""
        found = (os.environ if environ is None else environ).get(_VARIABLE, "")
        secrets = [secret.strip() for secret in found.split(",") if secret.strip()]
        if not secrets:
            raise ConfigurationError(
                f"the environment variable {_VARIABLE} is missing or blank; "
                "secrets.token_urlsafe(32) makes a good secret"
            )
        return cls(secrets, audience=audience)

    @property
    def lifetime(self) -> timedelta:
        """How long a URL is good."""
        return self._lifetime

    def mint(self, ref: str = "", *, now: datetime | None = None, kind: RefKind = "ref") -> str:
        """Make a path segment that vouches for `ref`, any short text of yours, from `now` on.

        The dialer's own have the kind "dial", so that no ref of yours can be taken for one.
        """
        raw = _utf8(ref)
        expiry = str(int(((now or datetime.now(UTC)) + self._lifetime).timestamp()))
        mac = self._mac(self._secrets[0], kind, raw, expiry)
        segment = f"{_encode(raw)}.{expiry}.{_encode(mac)}"
        if len(segment) > _LONGEST:
            raise InvalidRequestError(
                f"ref must fit into a URL: at most {_most_ref_bytes(expiry)} bytes of UTF-8, "
                f"but has {len(raw)}"
            )
        return segment

    def verify(self, segment: str, *, now: datetime | None = None) -> str:
        """Return the ref that a segment vouches for; raise UnverifiedCallbackError otherwise."""
        return self.read(segment, now=now).ref

    def read(self, segment: str, *, now: datetime | None = None) -> Vouched:
        """Return the ref and its kind; raise UnverifiedCallbackError as `verify` does."""
        match = _SEGMENT.fullmatch(segment) if len(segment) <= _LONGEST else None
        if match is None:
            raise UnverifiedCallbackError(
                *((_FORGED,) if "." in segment else (_MISSING, "missing"))
            )
        ref, mac = _decode(match[1]), _decode(match[3])
        # All secrets and kinds are tried: how long it takes must not tell which one fits.
        fits = [
            kind
            for kind in _KINDS
            for secret in self._secrets
            if hmac.compare_digest(mac, self._mac(secret, kind, ref, match[2]))
        ]
        in_date = int(match[2]) >= (now or datetime.now(UTC)).timestamp()
        if not fits:
            raise UnverifiedCallbackError(
                *((_UNKNOWN, "unknown_secret") if in_date else (_FORGED,))
            )
        if not in_date:
            raise UnverifiedCallbackError("the URL's token has expired", "expired")
        return Vouched(ref.decode("utf-8"), fits[0])

    def seal(self, text: str) -> str:
        """Make a keyed fingerprint of a text: it tells whether another is the same, no more."""
        return self._seal(self._secrets[0], text.encode())

    def fits(self, text: str, seal: str) -> bool | None:
        """Tell whether a seal is of this text; None where its secret is no longer known."""
        seals = [self._seal(secret, text.encode()) for secret in self._secrets]
        if any([hmac.compare_digest(one, seal) for one in seals]):  # noqa: C419 - no early exit
            return True
        maker = seal.partition(".")[0]
        return False if maker in {one.partition(".")[0] for one in seals} else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self._secrets)} secrets>"

    def _mac(self, secret: bytes, kind: RefKind, ref: bytes, expiry: str) -> bytes:
        return _digest(secret, _VERSION, self._audience, kind.encode(), ref, expiry.encode())

    @staticmethod
    def _seal(secret: bytes, text: bytes) -> str:
        maker = _digest(secret, _SEAL_VERSION, b"maker")[:6]
        return f"{_encode(maker)}.{_encode(_digest(secret, _SEAL_VERSION, b'text', text))}"


def _digest(secret: bytes, *parts: bytes) -> bytes:
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret, message, "sha256")[:_MAC_BYTES]


def _checked_secret(secret: object) -> bytes:
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(raw, bytes):
        raise ConfigurationError("each secret must be a text or bytes")
    if len(raw.strip()) < _LEAST_SECRET:
        raise ConfigurationError(
            f"each secret must have at least {_LEAST_SECRET} bytes, one has {len(raw.strip())}; "
            "secrets.token_urlsafe(32) makes a good one"
        )
    return raw


def _utf8(ref: object) -> bytes:
    if not isinstance(ref, str):
        raise InvalidRequestError(f"ref must be a text, but is {ref!r}")
    try:
        return ref.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError("ref must be a text without lone surrogates") from error


def _most_ref_bytes(expiry: str) -> int:
    return (_LONGEST - len(expiry) - 22 - 2) * 3 // 4


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Decode what `_encode` makes, and nothing else: base64 itself ignores some last bits."""
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Base64Error, ValueError):
        raw = b""
    if _encode(raw) != text:
        raise UnverifiedCallbackError(_FORGED)
    return raw
