"""Tokens for callback URLs: what they vouch for, and how little it takes to break them."""

from __future__ import annotations

import hmac
import pickle
import string
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta

import pytest
from campaign import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exotel_async import (
    CallbackTokens,
    ConfigurationError,
    InvalidRequestError,
    UnverifiedCallbackError,
)
from exotel_async.wire.tokens import Vouched

OLD, NEW = "an old secret of mine", "a new secret of mine"
NOW = datetime(2026, 11, 2, 6, 30, 0, 400_000, tzinfo=UTC)
ALPHABET = string.ascii_letters + string.digits + "-_"
TOKENS = CallbackTokens([NEW])


def refusal(
    segment: str, tokens: CallbackTokens = TOKENS, *, now: datetime = NOW
) -> UnverifiedCallbackError:
    with pytest.raises(UnverifiedCallbackError) as caught:
        tokens.read(segment, now=now)
    return caught.value


def reject(segment: str, tokens: CallbackTokens = TOKENS, *, now: datetime = NOW) -> str:
    return str(refusal(segment, tokens, now=now))


class TestRoundTrip:
    @given(ref=st.text(st.characters(exclude_categories=["Cs"]), max_size=124))
    @example(ref="")
    @example(ref="a" * 124)
    @example(ref="☎" * 41)
    @settings(derandomize=True, deadline=None)
    def test_any_ref(self, ref):
        """Whatever ref fits is brought back, in a segment of at most 200 harmless characters."""
        if len(ref.encode()) > 124:
            with pytest.raises(InvalidRequestError, match="at most 124 bytes"):
                TOKENS.mint(ref, now=NOW)
            return

        segment = TOKENS.mint(ref, now=NOW)

        assert TOKENS.verify(segment, now=NOW) == ref
        assert len(segment) <= 200
        assert set(segment) <= {*ALPHABET, "."}

    @pytest.mark.parametrize("ref", ["a" * 125, "☎" * 42, "a" * 10_000])
    def test_too_long(self, ref):
        """A ref that does not fit is refused."""
        with pytest.raises(InvalidRequestError, match="ref must fit"):
            TOKENS.mint(ref, now=NOW)

    @pytest.mark.parametrize("ref", [None, 42, b"x", "\ud800"])
    def test_no_text(self, ref):
        """What is no text can't be a ref."""
        with pytest.raises(InvalidRequestError, match="ref must be a text"):
            TOKENS.mint(ref)

    def test_uses_the_real_time(self):
        """Without a time of ours, it is now."""
        segment = TOKENS.mint("x")

        assert TOKENS.verify(segment) == "x"

    def test_format(self):
        """The mac is HMAC-SHA256 over the length-prefixed parts, cut to 128 bits."""
        segment = TOKENS.mint("order-42", now=NOW)

        ref, expiry, mac = segment.split(".")
        parts = [b"exotel_async callback 1", b"production", b"ref", b"order-42", expiry.encode()]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        wanted = hmac.digest(NEW.encode(), message, "sha256")[:16]
        assert ref == urlsafe_b64encode(b"order-42").decode().rstrip("=")
        assert mac == urlsafe_b64encode(wanted).decode().rstrip("=")
        assert int(expiry) == int(NOW.timestamp()) + 30 * 24 * 3600


class TestForgery:
    @pytest.mark.parametrize("ref", ["", "o", "order-42", "ü"])
    def test_every_single_character(self, ref):
        """Any other character in any place makes a forgery, spare bits of base64 included."""
        segment = TOKENS.mint(ref, now=NOW)

        for place, character in enumerate(segment):
            for other in {*ALPHABET, ".", "=", "+", "/", " ", "%", "٣", "é", "\n"} - {character}:
                reject(segment[:place] + other + segment[place + 1 :])

    def test_insertions_and_deletions(self):
        """A character too many or too few makes a forgery."""
        segment = TOKENS.mint("order-42", now=NOW)

        for place in range(len(segment) + 1):
            for other in "A0.=-\n":
                reject(segment[:place] + other + segment[place:])
            if place < len(segment):
                reject(segment[:place] + segment[place + 1 :])

    @pytest.mark.parametrize(
        "segment",
        [
            "", ".", "..", "a.b.c", "a.1.b", "A" * 200, "A" * 201, "." * 200, "é" * 50, "\ud800",
            "a.٣٣٣٣٣٣٣٣٣٣." + "A" * 22, "a.3333333333." + "é" * 22, "A.1." + "A" * 22,
            "a.9999999999999." + "A" * 22, "a.0999999999." + "A" * 22, "a.-999999999." + "A" * 22,
        ],
    )  # fmt: skip
    def test_nonsense(self, segment):
        """What is no token at all is refused like a forgery."""
        reject(segment)

    def test_over_long(self):
        """What is longer than any token of ours is refused before it is taken apart."""
        raw = b"a" * 200
        expiry = "2000000000"
        mac = TOKENS._mac(TOKENS._secrets[0], "ref", raw, expiry)
        segment = ".".join(
            (
                urlsafe_b64encode(raw).decode().rstrip("="),
                expiry,
                urlsafe_b64encode(mac).decode()[:22],
            )
        )

        reject(segment)

    def test_parts_of_others(self):
        """The parts of two good tokens do not make a third."""
        first, second = TOKENS.mint("a", now=NOW), TOKENS.mint("b", now=NOW + timedelta(1))
        (ref, expiry, mac), (ref2, expiry2, mac2) = first.split("."), second.split(".")

        for mixed in [(ref2, expiry, mac), (ref, expiry2, mac), (ref, expiry, mac2)]:
            reject(".".join(mixed))

    def test_shifted_parts(self):
        """Characters that move from one part to the next break the mac."""
        ref, expiry, mac = TOKENS.mint("abc", now=NOW).split(".")

        reject(f"{ref}{expiry[:4]}.{expiry[4:]}.{mac}")


class TestSecrets:
    def test_old_secret(self):
        """A token made with the old secret is good while the old secret is listed."""
        segment = CallbackTokens([OLD]).mint("x", now=NOW)

        assert CallbackTokens([NEW, OLD]).verify(segment, now=NOW) == "x"
        reject(segment, CallbackTokens([NEW]))

    def test_first_signs(self):
        """The first secret signs."""
        segment = CallbackTokens([NEW, OLD]).mint("x", now=NOW)

        assert CallbackTokens([NEW]).verify(segment, now=NOW) == "x"
        reject(segment, CallbackTokens([OLD]))

    def test_all_are_tried(self, monkeypatch):
        """Every secret and kind is compared in constant time, though the first one fits."""
        compared = []

        def compare(one, other):
            compared.append(one == other)
            return compare_digest(one, other)

        compare_digest = hmac.compare_digest
        tokens = CallbackTokens([NEW, OLD, "a third secret of mine"])
        segment = tokens.mint("x", now=NOW)
        monkeypatch.setattr(hmac, "compare_digest", compare)

        tokens.verify(segment, now=NOW)

        assert compared == [True, *[False] * 5]

    def test_audience(self):
        """A token for staging is none for production."""
        segment = CallbackTokens([NEW], audience="staging").mint("x", now=NOW)

        assert CallbackTokens([NEW], audience="staging").verify(segment, now=NOW) == "x"
        reject(segment)

    def test_bytes_and_text(self):
        """A secret is the same as text and as bytes."""
        segment = CallbackTokens([NEW.encode()]).mint("x", now=NOW)

        assert TOKENS.verify(segment, now=NOW) == "x"

    @pytest.mark.parametrize(
        "secret",
        ["", " " * 40, "\n" * 40, "hunter2", "hunter2-hunter2", b"hunter2", " hunter2 " * 1],
    )
    def test_blank_or_short(self, secret):
        """A blank or short secret is refused, and not shown."""
        with pytest.raises(ConfigurationError, match="at least 16 bytes") as caught:
            CallbackTokens([NEW, secret])

        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in repr(caught.value)

    @pytest.mark.parametrize("secret", [None, 12345678901234567890, ["x" * 20]])
    def test_no_text(self, secret):
        """What is neither text nor bytes is no secret, and not shown."""
        with pytest.raises(ConfigurationError, match="a text or bytes") as caught:
            CallbackTokens([secret])

        assert str(secret) not in str(caught.value)

    @pytest.mark.parametrize("secrets", [NEW, NEW.encode()])
    def test_single_text(self, secrets):
        """A single text instead of a list of them is refused, and not shown."""
        with pytest.raises(ConfigurationError, match="list") as caught:
            CallbackTokens(secrets)

        assert NEW not in str(caught.value)

    def test_none(self):
        """At least one secret is needed."""
        with pytest.raises(ConfigurationError, match="at least one"):
            CallbackTokens([])

    def test_undecodable(self):
        """A secret out of an environment with odd bytes works, and shows in no error."""
        tokens = CallbackTokens([NEW + "\udcff\ud800"])

        assert tokens.verify(tokens.mint("x", now=NOW), now=NOW) == "x"

    def test_repr(self):
        """The repr shows neither secrets nor audience."""
        assert repr(CallbackTokens([NEW, OLD])) == "<CallbackTokens: 2 secrets>"


class TestExpiry:
    TOKENS = CallbackTokens([NEW], lifetime=timedelta(hours=1))

    def test_to_the_second(self):
        """A token is good up to its second, and not a moment longer."""
        now = NOW.replace(microsecond=0)
        segment = self.TOKENS.mint("x", now=now)

        last = now + timedelta(hours=1)
        assert self.TOKENS.verify(segment, now=last) == "x"
        said = reject(segment, self.TOKENS, now=last + timedelta(microseconds=1))
        assert "expired" in said

    def test_fractions_do_not_lengthen(self):
        """A fraction of a second does not lengthen a life."""
        segment = self.TOKENS.mint("x", now=NOW)

        reject(segment, self.TOKENS, now=NOW + timedelta(hours=1))

    def test_forged_before_expired(self):
        """Of a forgery we do not say whether it has expired."""
        segment = self.TOKENS.mint("x", now=NOW - timedelta(days=300))

        assert "expired" not in reject("A" + segment[1:], self.TOKENS)

    @pytest.mark.parametrize("days", [0, -1, 30.001, 400])
    def test_lifetime(self, days):
        """A token lives longer than nothing and at most 30 days."""
        with pytest.raises(ConfigurationError, match="lifetime"):
            CallbackTokens([NEW], lifetime=timedelta(days=days))

    @pytest.mark.parametrize(
        ("name", "value"), [("lifetime", 30), ("audience", None), ("secrets", None)]
    )
    def test_wrong_kind(self, name, value):
        """What can't be one is refused by its name."""
        with pytest.raises(ConfigurationError, match=f"^{name} must be"):
            CallbackTokens(**{"secrets": [NEW], name: value})


class TestKinds:
    @pytest.mark.parametrize("kind", ["ref", "dial"])
    @pytest.mark.parametrize("ref", ["", "order-42", "☎"])
    def test_round_trip(self, kind, ref):
        """A token says whose ref it vouches for."""
        segment = TOKENS.mint(ref, now=NOW, kind=kind)

        assert TOKENS.read(segment, now=NOW) == Vouched(ref, kind)
        assert TOKENS.verify(segment, now=NOW) == ref

    def test_users_by_default(self):
        """Who says no kind mints for a ref of their own."""
        assert TOKENS.mint("x", now=NOW) == TOKENS.mint("x", now=NOW, kind="ref")

    def test_kept_apart(self):
        """The same ref has another mac for each kind: nobody mints a dial by accident."""
        of_user, of_dial = (TOKENS.mint("x", now=NOW, kind=kind) for kind in ("ref", "dial"))

        assert of_user.rpartition(".")[0] == of_dial.rpartition(".")[0]
        assert of_user != of_dial

    @pytest.mark.parametrize("kind", ["ref", "dial"])
    def test_old_secret(self, kind):
        """Kinds are told apart under an old secret too."""
        segment = CallbackTokens([OLD]).mint("x", now=NOW, kind=kind)

        assert CallbackTokens([NEW, OLD]).read(segment, now=NOW).kind == kind


class TestReason:
    GOOD = TOKENS.mint("order-42", now=NOW)

    @pytest.mark.parametrize(
        ("segment", "reason"),
        [
            ("", "missing"),
            ("callbacks", "missing"),
            ("é.1.x", "forged"),
            (GOOD[:-1], "forged"),
            (GOOD[:-1] + ("A" if GOOD[-1] != "A" else "Q"), "unknown_secret"),
            ("B" + GOOD[1:], "unknown_secret"),
            (CallbackTokens([OLD]).mint("x", now=NOW), "unknown_secret"),
            (CallbackTokens([NEW], audience="staging").mint("x", now=NOW), "unknown_secret"),
            (CallbackTokens([OLD]).mint("x", now=NOW - timedelta(days=31)), "forged"),
            (TOKENS.mint("x", now=NOW - timedelta(days=31)), "expired"),
        ],
    )
    def test_words(self, segment, reason):
        """A refusal says in a word what is wrong; a secret removed too early has its own."""
        assert refusal(segment).reason == reason

    def test_pickles(self):
        """The word survives pickling."""
        error = refusal("")

        assert pickle.loads(pickle.dumps(error)).reason == "missing"


class TestFromEnviron:
    @pytest.mark.parametrize(
        ("value", "secrets"),
        [(NEW, [NEW]), (f"{NEW},{OLD}", [NEW, OLD]), (f" {NEW} ,, {OLD} ,", [NEW, OLD])],
    )
    def test_secrets(self, value, secrets):
        """One secret, or several with commas between: the first signs."""
        tokens = CallbackTokens.from_environ(environ={"EXOTEL_CALLBACK_SECRET": value})

        assert tokens.mint("x", now=NOW) == CallbackTokens([NEW]).mint("x", now=NOW)
        for secret in secrets:
            assert tokens.verify(CallbackTokens([secret]).mint("x", now=NOW), now=NOW) == "x"

    def test_of_the_process(self, monkeypatch):
        """By default it is the process's own environment."""
        monkeypatch.setenv("EXOTEL_CALLBACK_SECRET", NEW)

        tokens = CallbackTokens.from_environ(audience="staging")

        good = CallbackTokens([NEW], audience="staging").mint("x", now=NOW)
        assert tokens.verify(good, now=NOW) == "x"

    @pytest.mark.parametrize("environ", [{}, {"EXOTEL_CALLBACK_SECRET": " , ,"}])
    def test_missing(self, environ):
        """A variable that is missing or blank is named."""
        with pytest.raises(ConfigurationError, match="EXOTEL_CALLBACK_SECRET"):
            CallbackTokens.from_environ(environ=environ)

    def test_short(self):
        """A short secret among several is refused, and not shown."""
        with pytest.raises(ConfigurationError, match="at least 16 bytes") as caught:
            CallbackTokens.from_environ(environ={"EXOTEL_CALLBACK_SECRET": f"{NEW},hunter2"})

        assert "hunter2" not in str(caught.value)


class TestSeal:
    TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)

    @given(text=TEXTS, other=TEXTS)
    @examples(100)
    def test_fits_its_own_text(self, text, other):
        """A seal fits the text that it was made of, and no other."""
        seal = TOKENS.seal(text)

        assert TOKENS.fits(text, seal) is True
        assert TOKENS.fits(other, seal) is (text == other)

    def test_old_secret(self):
        """A seal of an old secret is known as long as that is listed; then nobody can tell."""
        seal = CallbackTokens([OLD]).seal("x")

        both = CallbackTokens([NEW, OLD])
        assert (both.fits("x", seal), both.fits("y", seal)) == (True, False)
        assert TOKENS.fits("x", seal) is None
        assert TOKENS.fits("x", "") is None

    def test_gives_nothing_away(self):
        """A seal shows neither the text nor the secret, and is no token's mac."""
        seal = TOKENS.seal("+919876543210")

        assert "9876543210" not in seal
        assert TOKENS.seal("+919876543210") == seal
        assert CallbackTokens([OLD]).seal("+919876543210") != seal
