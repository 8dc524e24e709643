"""The whole tree of errors: its drawing, pickling, and what is never shown."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from datetime import UTC, datetime

import pytest

from exotel_async import errors
from exotel_async.errors import (
    ApiError,
    ConfigurationError,
    ExotelError,
    InvalidRequestError,
    NoAnswerError,
    OutcomeUnknownError,
    RateLimitedError,
    SentRequest,
    UnreadableAnswerError,
    mask_numbers,
)

SENT_AT = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
SENT = SentRequest(
    "POST",
    "/v1/Accounts/acc/Calls/%2B919876543210.json",
    {"From": "+919876543210", "StatusCallback": "https://example.com/s3cret"},
    SENT_AT,
)
TREE = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ExotelError)
]
SPELLINGS = [
    "+919876543210",
    "919876543210",
    "09876543210",
    "9876543210",
    "098765 43210",
    "+91 98765 43210",
    "+91-98765-43210",
    "+91 - 98765 - 43210",
    "(098765) 43210",
    "+91.98765.43210",
    "98765\u00a043210",
    "98765\u201143210",
    r"98765\xa043210",
    "%2B919876543210",
    "%2b91%2098765%2043210",
    "%2B91+98765+43210",
    "91.987.654.3210",
    "98.765.43.210",
    "987.654.32.10",
    "9.8.7.6.5.4.3.2.1.0",
    "91.98.76.54.32.10",
    "098.76.54.32.10",
    "98.76.54.3210",
    "98.76.54.32 10",
    "98765 4.3.2.10",
    "+91%C2%A098765%c2%a043210",
]
READABLE = [
    "b6cfaf5f5cef3ca0fc937749ef960e25",
    "12345678901234567890123456789012",
    "/v1/Accounts/acc/Calls/b6cfaf5f5cef3ca0fc937749ef960e25.json",
    "Sid=a%2C06caf2045009d50fbb1da5b5926d2e2f",
    "2017-03-03 10:48:33",
    "2017-03-03T10:48:33Z",
    "2017-03-03T10:48:33.123456+05:30",
    "9999-12-31T23:59:59+00:00",
    "1970-01-01 05:30:00",
    "2017-03-03",
    "gte:2017-03-03 10:48:33;lte:2017-03-04 10:48:33",
    "gte%3A2017-03-03+10%3A48%3A33%3Blte%3A2017-03-04%2010%3A48%3A33%2B05%3A30",
    "Wed, 31 Jul 2024 16:42:56",
    "192.168.100.200",
    "no connection to 203.0.113.254:8931: refused",
    "('255.255.255.255', 443)",
    "flow 123456",
]


def drawn() -> dict[str, str | None]:
    """Read the module's drawing: each class and the one it hangs under."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}([│ ]*(?:[├└]── )?)([A-Z]\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1])
        path = [step for step in path if step[0] < depth]
        parents[match[2]] = path[-1][1] if path else None
        path.append((depth, match[2]))
    return parents


def make(kind: type[ExotelError]) -> ExotelError:
    """Make an error with every field filled."""
    if issubclass(kind, RateLimitedError):
        error: ExotelError = kind("slow down", 429, 35008, "body", 2.5)
    elif issubclass(kind, ApiError):
        error = kind("refused", 403, "a code", "body")
    elif issubclass(kind, OutcomeUnknownError):
        error = kind("lost", SENT)
    elif issubclass(kind, UnreadableAnswerError):
        error = kind("nonsense", 200, "body")
    else:
        error = kind("a message")
    error.attempts = 3
    return error


class TestTree:
    def test_drawing(self):
        """The drawing in the docstring is the tree."""
        bases = {kind.__name__: kind.__bases__[0].__name__ for kind in TREE}

        assert drawn() == {**bases, "ExotelError": None}

    @pytest.mark.parametrize(
        ("kind", "builtin"),
        [
            (ConfigurationError, ValueError),
            (InvalidRequestError, ValueError),
            (NoAnswerError, TimeoutError),
        ],
    )
    def test_builtin_too(self, kind, builtin):
        """Errors that Python has a word for are that too."""
        assert issubclass(kind, builtin)

    def test_no_other_is_builtin(self):
        """No other error is caught by accident with ValueError or TimeoutError."""
        builtin = {kind for kind in TREE if issubclass(kind, ValueError | OSError)}

        assert builtin == {ConfigurationError, InvalidRequestError, NoAnswerError}

    @pytest.mark.parametrize("kind", TREE)
    def test_documented(self, kind):
        """Every error says in a docstring of its own what it means."""
        assert kind.__dict__["__doc__"].strip().endswith((".", "`."))


class TestPickling:
    @pytest.mark.parametrize("kind", TREE)
    @pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
    def test_survives(self, kind, again):
        """Kind, fields and attempts survive pickling and copying."""
        error = make(kind)

        twin = again(error)

        assert type(twin) is kind
        assert vars(twin) == vars(error)
        assert (str(twin), twin.attempts) == (str(error), 3)

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_every_protocol(self, protocol):
        """No protocol of pickle loses the lost request."""
        error = make(OutcomeUnknownError)

        twin = pickle.loads(pickle.dumps(error, protocol))

        assert twin.request == SENT

    def test_without_arguments(self):
        """An error that was told nothing pickles as well."""
        assert str(pickle.loads(pickle.dumps(ExotelError()))) == ""


class TestStr:
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_every_spelling(self, spelling):
        """Of a number only the end is left, however it is spelled."""
        masked = mask_numbers(f"no route to {spelling}!")

        assert re.fullmatch(r"no route to (%2[Bb]|\()?\*\*\*3210!", masked)

    @pytest.mark.parametrize("address", ["256.168.100.200", "+98.76.54.32", "192.168.100.2000"])
    def test_no_address(self, address):
        """What only looks like an IP address is masked."""
        assert "***" in mask_numbers(address)

    @pytest.mark.parametrize("kind", TREE)
    @pytest.mark.parametrize("show", [str, repr, "{}".format])
    def test_every_error(self, kind, show):
        """No way of showing an error shows a whole number."""
        shown = show(kind("no route to +919876543210"))

        assert "***3210" in shown
        assert "98765" not in shown

    @pytest.mark.parametrize("text", READABLE)
    def test_readable(self, text):
        """SIDs and time stamps are no phone numbers."""
        assert mask_numbers(text) == text

    def test_short(self):
        """Of a number too short to hide among others, less is shown."""
        assert mask_numbers("call 1234567") == "call ***67"

    def test_several(self):
        """Each of several numbers is masked."""
        assert mask_numbers("9876543210, +919876543211") == "***3210, ***3211"

    def test_attempts(self):
        """How many tries were made is said where there were several."""
        error = ExotelError("no luck")
        once = str(error)
        error.attempts = 3

        assert once == "no luck"
        assert str(error) == "no luck (after 3 tries)"

    def test_api_error(self):
        """A refusal tells status, message and code, but not the body."""
        error = ApiError("Service Unavailable; ", 503, 35008, "the body")

        assert str(error) == "Exotel answered 503: Service Unavailable (code 35008)."
        assert repr(error) == f"ApiError({str(error)!r})"

    def test_unreadable_hides_body(self):
        """What could not be read is kept, not shown."""
        error = UnreadableAnswerError("nonsense", 200, "secret")

        assert (error.body, str(error)) == ("secret", "nonsense")

    @pytest.mark.parametrize(
        ("kind", "hint"),
        [
            (errors.AuthenticationError, "region"),
            (errors.NotFoundError, "account_sid"),
            (OutcomeUnknownError, "before you repeat"),
        ],
    )
    def test_hint(self, kind, hint):
        """Where the caller can do something, the error says what."""
        assert hint in str(kind("x"))

    def test_huge_text(self):
        """Masking a long text takes no time to speak of: it ends."""
        assert mask_numbers("1 2 3 4 5 6 x" * 20_000).startswith("1 2 3")
        assert mask_numbers("9" * 100_000) == "***9999"


class TestSentRequest:
    def test_names_only(self):
        """Of the parameters only the names are shown."""
        assert "<From, StatusCallback>" in repr(SENT)
        assert "s3cret" not in repr(SENT)

    def test_path_masked(self):
        """A number in the path is masked, and the account, which may be the API key."""
        assert "/v1/Accounts/…/Calls/%2B***3210.json" in repr(SENT)

    def test_not_in_error(self):
        """The error shows nothing of the request it carries."""
        shown = str(OutcomeUnknownError("lost", SENT)) + repr(OutcomeUnknownError("lost", SENT))

        assert not re.search("s3cret|9876|StatusCallback=", shown)

    def test_value(self):
        """It is a value: equal, hashable, unchangeable."""
        twin = SentRequest(SENT.method, SENT.path, dict(SENT.params), SENT_AT)

        assert twin == SENT
        assert hash(twin) == hash(SENT)
        with pytest.raises(AttributeError):
            twin.path = "/"  # type: ignore[misc]
