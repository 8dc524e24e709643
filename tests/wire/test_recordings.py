"""Which host gets asked for a recording, which gets our credentials, and what answers say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from exotel_async import (
    Call,
    CallTerminated,
    ConfigurationError,
    InvalidRequestError,
    RateLimitedError,
    RecordingError,
    ServerError,
    UnreadableAnswerError,
)
from exotel_async.wire.answer import Answer
from exotel_async.wire.pieces import (
    Held,
    StartAnewError,
    asking_for,
    begun,
    is_whole_after_416,
    refused,
    version_of,
)
from exotel_async.wire.recordings import (
    Trusted,
    Way,
    check_hosts,
    origin_of,
    redirected,
    wanted_of,
    way_to,
)

NOW = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)
OURS = "https://recordings.exotel.com/exotelrecordings/acme1/x.mp3"
STORE = "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/acme1/x.mp3"
TRUSTED = Trusted(
    hosts=frozenset({"media.example.com", "cdn.example.com:8443", "127.0.0.1:8901"}),
    own="127.0.0.1:8900",
    plain=frozenset({"127.0.0.1:8901"}),
)
HOSTS = [
    "recordings.exotel.com", "RECORDINGS.Exotel.COM", "exotel.com", ".exotel.com", "a.exotel.com.",
    "exotel.com.evil.com", "evilexotel.com", "evil.com", "xn--exotel-9ua.com", "media.example.com",
    "a.media.example.com", "cdn.example.com", "s3-ap-southeast-1.amazonaws.com",
    "s3-ap-south-1.amazonaws.com", "127.0.0.1", "localhost", "[::1]", "2130706433", "a..exotel.com",
    "é.exotel.com", "a%2eexotel.com", "evil.com%23.exotel.com", "",
]  # fmt: skip
AROUND = ["", ":", "/", "//", "\\", "@", "?", "#", "%2f", "%00", "\t", "\n", " ", "\x00", "\r\n"]
WAYS = st.tuples(
    st.sampled_from(["https://", "http://", "HTTPS://", "//", "ftp://", "https:/", "https:"]),
    st.sampled_from([*AROUND, "user@", "user:pw@", "recordings.exotel.com@", "evil.com\\@"]),
    st.sampled_from(HOSTS),
    st.sampled_from([*AROUND, ":443", ":80", ":8443", ":8900", ":8901", ":0", ":99999", ":x"]),
    st.sampled_from([*AROUND, "evil.com", "/exotelrecordings/", "/exotel-mum1-recordings/"]),
    st.sampled_from(["", "a.mp3", "../x", "%2e%2e/x", "..%2fx", "é", "?Signature=x", "#@evil.com"]),
).map("".join)


def is_exotels(url: URL) -> bool:
    """Say in other words which hosts are Exotel's."""
    labels = (url.host or "").split(".")
    return labels[-2:] == ["exotel", "com"] and len(labels) > 2 and all(labels)


class TestWayTo:
    @pytest.mark.parametrize(
        "url",
        [
            OURS,
            "https://recordings.mum1.exotel.com/a.mp3",
            "HTTPS://Recordings.Exotel.com/a.mp3",
            "https://recordings.exotel.com:443/a.mp3",
            "http://127.0.0.1:8900/recordings/a.mp3",
        ],
    )
    def test_authorized(self, url):
        """Exotel's own hosts get credentials over https, and so does the client's own origin."""
        assert way_to(url, TRUSTED).authorized

    @pytest.mark.parametrize(
        "url",
        [
            STORE,
            "https://s3-ap-south-1.amazonaws.com/exotel-mum1-recordings/x.mp3",
            "https://media.example.com/x.mp3",
            "https://cdn.example.com:8443/x.mp3",
            "http://127.0.0.1:8901/x.mp3",
        ],
    )
    def test_asked_without(self, url):
        """Stores of Exotel's and hosts the user named are asked, without credentials."""
        assert not way_to(url, TRUSTED).authorized

    @pytest.mark.parametrize(
        "url",
        [
            "https://evil.com/x",
            "https://exotel.com/x",
            "https://recordings.exotel.com.evil.com/x",
            "https://evilexotel.com/x",
            "https://recordings.exotel.com./x",
            "https://recordings.exotel.com:8443/x",
            "http://recordings.exotel.com/x",
            "http://127.0.0.1:8902/x",
            "http://localhost:8900/x",
            "https://127.0.0.1:8900/x",
            "http://media.example.com/x",
            "https://a.media.example.com/x",
            "https://cdn.example.com/x",
            "https://s3-ap-southeast-1.amazonaws.com/others/x",
            "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/../others/x",
            "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/%2e%2E/others/x",
            "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/..%2fothers/x",
            "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings-evil/x",
            "https://user@recordings.exotel.com/x",
            "https://recordings.exotel.com@evil.com/x",
            "https://evil.com\\@recordings.exotel.com/x",
            "https://evil.com#@recordings.exotel.com/x",
            "https://recordings.exotel.com /x",
            "https://recordings.exotel.com:0/x",
            "https://recordings.exotel.com:99999/x",
            "//recordings.exotel.com/x",
            "file:///etc/passwd",
            "x.mp3",
            "",
        ],
    )
    def test_refused(self, url):
        """All else is not asked at all."""
        with pytest.raises(InvalidRequestError):
            way_to(url, TRUSTED)

    @given(url=WAYS)
    def test_any(self, url):
        """Whatever a URL looks like: credentials reach no host but those, as yarl reads it too."""
        try:
            way = way_to(url, TRUSTED)
        except InvalidRequestError:
            return

        seen = URL(way.url, encoded=True)
        origin = f"{seen.host}:{seen.port}"
        own = seen.scheme == "http" and origin == "127.0.0.1:8900"
        exotels = seen.scheme == "https" and seen.port == 443 and is_exotels(seen)
        store = (
            seen.scheme == "https"
            and (seen.host or "").endswith(".amazonaws.com")
            and seen.raw_path.startswith(("/exotelrecordings/", "/exotel-mum1-recordings/"))
        )
        named = origin in ("media.example.com:443", "cdn.example.com:8443", "127.0.0.1:8901")
        assert seen.user is None
        assert exotels or own or store or named
        assert not way.authorized or exotels or own

    @given(url=WAYS, location=WAYS)
    def test_any_redirect(self, url, location):
        """No redirect is followed with credentials, or from https to http."""
        try:
            first = way_to(url, TRUSTED)
            way = redirected(first, location, TRUSTED)
        except InvalidRequestError:
            return

        assert not way.authorized
        assert not (first.url.startswith("https") and not way.url.startswith("https"))

    def test_strategy_reaches_all(self):
        """The URLs above do get through where they should: a property of nothing holds always."""
        reached = set()

        @settings(derandomize=True, max_examples=1000, database=None)
        @given(url=WAYS)
        def collect(url):
            try:
                reached.add(way_to(url, TRUSTED).authorized)
            except InvalidRequestError:
                reached.add(None)

        collect()

        assert reached == {True, False, None}

    @pytest.mark.parametrize("name", ["X-Amz-Signature", "Signature", "x-amz-signature"])
    def test_signature(self, name):
        """A signature stands for the credentials: none go along with it."""
        way = way_to(f"{OURS}?a=b&{name}=abc", TRUSTED)

        assert (way.authorized, way.signed) == (False, True)

    def test_presigned(self):
        """What Exotel calls pre-signed gets none, whatever its query looks like."""
        assert not way_to(OURS, TRUSTED, signed=True).authorized

    def test_fragment(self):
        """A fragment stays here."""
        assert way_to(f"{OURS}#x", TRUSTED).url == OURS

    @pytest.mark.parametrize(
        "url",
        [
            "https://user:s3cret@evil.com/s3cret?Signature=s3cret",
            "https://evil.com/s3cret?Signature=s3cret#s3cret",
            "http://recordings.exotel.com/s3cret?Signature=s3cret",
            "https://recordings.exotel.com/a b?Signature=s3cret",
        ],
    )
    def test_error_shows_no_secret(self, url):
        """An error names the host and no more."""
        with pytest.raises(InvalidRequestError) as caught:
            way_to(url, TRUSTED)

        assert "s3cret" not in repr(caught.value)

    def test_user_name(self):
        """The error says what to leave out."""
        with pytest.raises(InvalidRequestError, match="must not hold a user name"):
            way_to("https://key:token@recordings.exotel.com/x", TRUSTED)

    def test_repr_shows_no_signature(self):
        """Nor does the way itself."""
        assert "s3cret" not in repr(way_to(f"{OURS}?Signature=s3cret", TRUSTED))


class TestRedirected:
    @pytest.mark.parametrize(
        ("location", "url"),
        [
            (STORE, STORE),
            ("/other.mp3", "https://recordings.exotel.com/other.mp3"),
            ("//media.example.com/x", "https://media.example.com/x"),
        ],
    )
    def test_followed(self, location, url):
        """It leads to allowed hosts, relative or not, and never with credentials."""
        way = redirected(way_to(OURS, TRUSTED), location, TRUSTED)

        assert (way.url, way.authorized) == (url, False)

    @pytest.mark.parametrize(
        "location",
        [None, "", "https://evil.com/", "//evil.com/", "http://127.0.0.1:8900/x", "\\\\evil.com"],
    )
    def test_not_followed(self, location):
        """It leads nowhere else, and not from https to http."""
        with pytest.raises(InvalidRequestError):
            redirected(way_to(OURS, TRUSTED), location, TRUSTED)

    def test_http_to_http(self):
        """On this machine, http leads to http."""
        way = redirected(
            way_to("http://127.0.0.1:8900/x", TRUSTED), "http://127.0.0.1:8901/y", TRUSTED
        )

        assert way.url == "http://127.0.0.1:8901/y"


class TestWantedOf:
    def test_call(self):
        """The pre-signed URL comes first."""
        call = Call(sid="a", recording_url="u", pre_signed_recording_url="p", end_time=NOW)

        wanted = wanted_of(call)

        assert wanted.offers == (("p", True), ("u", False))
        assert (wanted.sid, wanted.ended) == ("a", NOW)

    def test_event(self):
        """An event's URL, and its call for another time."""
        wanted = wanted_of(CallTerminated(call_sid="a"))

        assert (wanted.sid, wanted.offers) == ("a", ())

    def test_nonsense(self):
        """The error says what may be handed in."""
        with pytest.raises(InvalidRequestError, match=r"call_or_url must be a Call, .* int"):
            wanted_of(7)  # type: ignore[arg-type]

    def test_late(self):
        """After 15 minutes all is settled."""
        wanted = wanted_of(Call(sid="a", end_time=NOW))

        assert not wanted.is_late(NOW + timedelta(minutes=15))
        assert wanted.is_late(NOW + timedelta(minutes=15, seconds=1))


class TestCheckHosts:
    @pytest.mark.parametrize(
        "hosts", ["media.example.com", 7, None, [7], [""], ["https://a.b"], ["a.b/c"], ["u@a.b"]]
    )
    def test_refused(self, hosts):
        """A host is a name and perhaps a port."""
        with pytest.raises(ConfigurationError, match="recording_hosts must"):
            check_hosts(hosts)

    def test_usual_port(self):
        """The port that https has anyway changes nothing."""
        assert check_hosts(["A.example.com:443"]) == {"a.example.com"}


class TestOriginOf:
    @pytest.mark.parametrize("url", ["http://[::1]:8900/x/../y", "HTTP://[::1]:8900"])
    def test_path_does_not_matter(self, url):
        """Only host and port count."""
        assert origin_of(url) == "[::1]:8900"


HELD = Held(size=10, total=30, version='"v1"', content_type="audio/mpeg")
GOES_ON = {"Content-Range": "bytes 10-29/30", "Content-Length": "20", "ETag": '"v1"'}


class TestBegun:
    def test_whole(self):
        """A 200 begins at the beginning."""
        headers = {"Content-Type": "audio/mpeg", "Content-Length": "30", "ETag": '"v1"'}

        assert begun(HELD, 200, headers) == attrs.evolve(HELD, size=0)

    def test_goes_on(self):
        """A 206 that says so goes on where we stand."""
        assert begun(HELD, 206, GOES_ON) == HELD

    @pytest.mark.parametrize(
        "odd",
        [
            {"Content-Range": "bytes 9-29/30"},
            {"Content-Range": "bytes 10-29/31"},
            {"Content-Range": "bytes 10-30/30"},
            {"Content-Range": "bytes 10-9/30"},
            {"Content-Range": "bytes */30"},
            {"Content-Range": "lines 10-29/30"},
            {"Content-Range": ""},
            {"Content-Length": "21"},
            {"ETag": '"v2"'},
        ],
    )
    def test_does_not_go_on(self, odd):
        """A part of another place, size or version is none of ours."""
        with pytest.raises(StartAnewError):
            begun(HELD, 206, GOES_ON | odd)

    def test_unasked_part(self):
        """Who asked for all takes no part."""
        with pytest.raises(StartAnewError):
            begun(Held(), 206, {"Content-Range": "bytes 0-29/30"})

    @pytest.mark.parametrize(
        ("status", "headers"),
        [
            (200, {"Content-Type": "text/html; charset=utf-8"}),
            (200, {"Content-Type": "application/json"}),
            (200, {"Content-Encoding": "gzip"}),
            (200, {"Content-Length": "0"}),
            (204, {}),
        ],
    )
    def test_no_recording(self, status, headers):
        """A page, an error that pretends, or nothing is no recording."""
        with pytest.raises(UnreadableAnswerError):
            begun(Held(), status, headers)


class TestAskingFor:
    def test_all(self):
        """Who has nothing asks for all."""
        assert asking_for(Held(version='"v"')) == {"Accept-Encoding": "identity"}

    def test_without_version(self):
        """What is not known is no condition."""
        assert "If-Range" not in asking_for(Held(size=3))


class TestIsWholeAfter416:
    @pytest.mark.parametrize(
        ("held", "said", "whole"),
        [
            (Held(size=10), "bytes */10", True),
            (Held(size=10), "bytes */9", False),
            (Held(size=10, total=11), "bytes */10", False),
            (Held(size=10), "", False),
            (Held(size=10), "bytes */*", False),
            (Held(size=10), "bytes 0-9/10", False),
        ],
    )
    def test_table(self, held, said, whole):
        """Only if it says that there is just what we hold."""
        assert is_whole_after_416(held, {"Content-Range": said}) is whole


class TestVersionOf:
    @pytest.mark.parametrize(
        ("headers", "version"),
        [
            ({"ETag": '"a"'}, '"a"'),
            ({"ETag": 'W/"a"'}, None),
            ({"ETag": "a"}, None),
            ({"ETag": '""'}, None),
            ({"ETag": 'W/"a"', "Last-Modified": "Mon"}, "Mon"),
            ({}, None),
        ],
    )
    def test_table(self, headers, version):
        """A strong ETag, else a date."""
        assert version_of(headers) == version


class TestRefused:
    @pytest.mark.parametrize(
        ("status", "way", "late", "reason"),
        [
            (401, Way(url="", host="h", authorized=True), False, "private"),
            (403, Way(url="", host="h"), False, "private"),
            (403, Way(url="", host="h", signed=True), False, "expired"),
            (404, Way(url="", host="h"), False, "not_ready"),
            (404, Way(url="", host="h"), True, "gone"),
            (410, Way(url="", host="h"), False, "gone"),
        ],
    )
    def test_reason(self, status, way, late, reason):
        """Each refusal has its word."""
        error = refused(Answer(status=status), way, now=NOW, is_late=late)

        assert isinstance(error, RecordingError)
        assert (error.reason, error.status) == (reason, status)

    @pytest.mark.parametrize(("status", "kind"), [(429, RateLimitedError), (503, ServerError)])
    def test_passing(self, status, kind):
        """What passes is what it is anywhere, and says when to come again."""
        error = refused(
            Answer(status=status, headers={"Retry-After": "7"}),
            Way(url="", host="h"),
            now=NOW,
            is_late=False,
        )

        assert type(error) is kind
        assert error.retry_after == 7.0
