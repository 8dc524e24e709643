"""Where Exotel posts: a public URL with a token in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from exotel_async import CallbackTokens, InvalidRequestError
from exotel_async.wire.callback_url import callback_url, checked_base

NOW = datetime(2026, 11, 2, tzinfo=UTC)
TOKENS = CallbackTokens(["a secret of sixteen bytes and more"])


class TestCallbackUrl:
    @pytest.mark.parametrize("kind", ["ref", "dial"])
    @pytest.mark.parametrize("slash", ["", "/"])
    def test_token(self, kind, slash):
        """The last segment vouches for the ref and its kind; all else stays as it is."""
        base = f"https://u.example:8443/a%20b{slash}?shop=1"
        url = callback_url(base, TOKENS, ref="order-42", now=NOW, kind=kind)

        before, _, segment = url.partition("?")[0].rpartition("/")
        vouched = TOKENS.read(segment, now=NOW)
        assert (vouched.ref, vouched.kind) == ("order-42", kind)
        assert before == "https://u.example:8443/a%20b"
        assert url.endswith("?shop=1")


class TestCheckedBase:
    @pytest.mark.parametrize("url", ["https://example.com", "http://127.0.0.1:1/exotel/"])
    def test_good(self, url):
        """An absolute URL is taken as it is."""
        assert checked_base(url) == url

    @pytest.mark.parametrize("url", ["", "example.com", "ftp://example.com", "https://", None, 7,
                                     "http://[::1"])  # fmt: skip
    def test_bad(self, url):
        """What Exotel could not post to is refused by the argument's name."""
        with pytest.raises(InvalidRequestError, match="public_url"):
            checked_base(url, name="public_url")
