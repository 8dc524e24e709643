"""How a call is asked for: every parameter of both tables, and every refusal."""

from __future__ import annotations

import warnings
from urllib.parse import parse_qsl

import pytest

from exotel_async.errors import InvalidRequestError
from exotel_async.wire.connecting import ConnectOptions, FlowOptions, connect_to_flow, flow_url
from exotel_async.wire.connecting import connect as connect_with

NUMBERS = {"from_": "+919876543210", "to": "+919876543211", "caller_id": "08047112345"}
FLOW = {"from_": "+919876543210", "caller_id": "080", "url": "http://my.exotel.com/a/b/1"}

# argument, what is given, Exotel's parameter, what goes over the wire
EITHER = [
    ("call_type", "trans", "CallType", "trans"),
    ("time_limit", 1, "TimeLimit", "1"),
    ("time_limit", 14_400, "TimeLimit", "14400"),
    ("time_out", 1, "TimeOut", "1"),
    ("time_out", 60, "TimeOut", "60"),
    ("custom_field", "order 42; ünï", "CustomField", "order+42%3B+%C3%BCn%C3%AF"),
    ("custom_field", '{"a": 1}', "CustomField", "%7B%22a%22%3A+1%7D"),
    (
        "status_callback",
        "https://example.com/exotel/?t=a&b",
        "StatusCallback",
        "https%3A%2F%2Fexample.com%2Fexotel%2F%3Ft%3Da%26b",
    ),
]
CONNECT_ONLY = [
    ("wait_url", "HTTP://example.com/a.wav", "WaitUrl", "HTTP%3A%2F%2Fexample.com%2Fa.wav"),
    ("record", True, "Record", "true"),
    ("record", False, "Record", "false"),
    ("recording_channels", "single", "RecordingChannels", "single"),
    ("recording_channels", "dual", "RecordingChannels", "dual"),
    ("recording_format", "mp3", "RecordingFormat", "mp3"),
    ("recording_format", "mp3-hq", "RecordingFormat", "mp3-hq"),
    ("start_playback_to", "Callee", "StartPlaybackTo", "Callee"),
    ("start_playback_to", "Both", "StartPlaybackTo", "Both"),
    ("start_playback_value", "http://e.com", "StartPlaybackValue", "http%3A%2F%2Fe.com"),
    (
        "status_callback_content_type",
        "application/json",
        "StatusCallbackContentType",
        "application%2Fjson",
    ),
    (
        "status_callback_content_type",
        "multipart/form-data",
        "StatusCallbackContentType",
        "multipart%2Fform-data",
    ),
]  # fmt: skip

# argument, what is refused, what the error says is allowed
REFUSED = [
    ("time_limit", 0, "from 1 to 14400"),
    ("time_limit", 14_401, "from 1 to 14400"),
    ("time_limit", "60", "a whole number"),
    ("time_limit", 60.0, "a whole number"),
    ("time_limit", True, "a whole number"),
    ("time_out", 0, "of at least 1"),
    ("time_out", "30", "a whole number"),
    ("call_type", "", "not blank"),
    ("custom_field", " ", "not blank"),
    ("custom_field", 42, "a text"),
    ("custom_field", "\ud800", "UTF-8"),
    ("status_callback", "example.com/hook", "an absolute http"),
    ("status_callback", "ftp://example.com", "an absolute http"),
    ("status_callback", "https://", "an absolute http"),
    ("status_callback", "https:///path", "an absolute http"),
    ("status_callback", "https://?t=1", "an absolute http"),
    ("extra", ["x"], "a mapping"),
]
REFUSED_BY_CONNECT = [
    ("wait_url", "a.wav", "an absolute http"),
    ("start_playback_value", "a.wav", "an absolute http"),
    ("record", "true", "True or False"),
    ("record", 1, "True or False"),
    ("recording_channels", "stereo", "'single', 'dual'"),
    ("recording_format", "wav", "'mp3', 'mp3-hq'"),
    ("recording_format", ["mp3"], "'mp3', 'mp3-hq'"),
    ("start_playback_to", "callee", "'Callee', 'Both'"),
    ("status_callback_content_type", "text/xml", "'multipart/form-data', 'application/json'"),
    ("status_callback_events", "", "not blank"),
    ("status_callback_events", [""], "not blank"),
    ("status_callback_events", 5, "a text or several texts"),
]


class Url:
    """A URL of another library's, such as yarl's."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"Url({self._text!r})"


def connect(**options: object):
    return connect_with(**{**NUMBERS, **options})


def to_flow(**options: object):
    return connect_to_flow(**{**FLOW, **options})


def refusal(ask, **options: object) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        ask(**options)
    return str(caught.value)


def assert_says(text: str, *, name: str, value: object, allowed: str) -> None:
    """An error names the argument, what it was, and what is allowed."""
    assert text.startswith(f"{name} must be ")
    assert allowed in text
    shown = repr(value)[:13] if isinstance(value, str) else repr(value)
    assert shown.rstrip("'") in text


class TestConnect:
    def test_required(self):
        """With nothing but numbers, nothing else is sent; numbers go as they came."""
        request = connect()

        assert request.method == "POST"
        assert request.path == ("Calls", "connect")
        assert request.query == ()
        assert request.body() == (b"From=%2B919876543210&To=%2B919876543211&CallerId=08047112345")

    def test_never_repeatable(self):
        """It may make a phone ring, so nothing may repeat it."""
        assert not connect().repeatable
        assert not to_flow().repeatable

    @pytest.mark.parametrize(("name", "value", "key", "sent"), [*EITHER, *CONNECT_ONLY])
    def test_parameter(self, name, value, key, sent):
        """Each argument is sent under Exotel's name, in Exotel's spelling, and alone."""
        body = connect(**{name: value}).body()

        assert body.decode().split("&")[3:] == [f"{key}={sent}"]

    @pytest.mark.parametrize("name", sorted(ConnectOptions.__annotations__))
    def test_none(self, name):
        """None is the same as leaving it out."""
        value = () if name == "status_callback_events" else None

        assert connect(**{name: value}) == connect()

    def test_table_is_whole(self):
        """Every option there is has its row above."""
        shown = {name for name, *_ in [*EITHER, *CONNECT_ONLY]}

        assert set(ConnectOptions.__annotations__) == shown | {"extra", "status_callback_events"}

    @pytest.mark.parametrize(
        ("events", "sent"),
        [
            ("terminal", "StatusCallbackEvents%5B0%5D=terminal"),
            (
                ["terminal", "answered"],
                "StatusCallbackEvents%5B0%5D=terminal&StatusCallbackEvents%5B1%5D=answered",
            ),
            (iter(["answered", "answered"]), "StatusCallbackEvents%5B0%5D=answered"),
        ],
    )
    def test_events(self, events, sent):
        """Events are spelled with indexes, each once, in the order given."""
        request = connect(status_callback="https://e.com", status_callback_events=events)

        assert request.body().decode().endswith(f"StatusCallback=https%3A%2F%2Fe.com&{sent}")

    def test_extra(self):
        """Further parameters go last, as they are."""
        request = connect(extra={"StreamUrl": "wss://e.com", "MaxRetries": "2", "Blank": ""})

        assert request.form[3:] == (
            ("StreamUrl", "wss://e.com"),
            ("MaxRetries", "2"),
            ("Blank", ""),
        )

    @pytest.mark.parametrize(("name", "value", "allowed"), [*REFUSED, *REFUSED_BY_CONNECT])
    def test_refused(self, name, value, allowed):
        """What can't work is refused with an error that says name, value and what is allowed."""
        text = refusal(connect, **{name: value})

        value = "" if value == [""] else value
        assert_says(text, name=name, value=value, allowed=allowed)

    @pytest.mark.parametrize("name", NUMBERS)
    @pytest.mark.parametrize("value", ["", "  ", None, 919876, b"080"])
    def test_numbers(self, name, value):
        """A missing or blank number is refused."""
        assert_says(refusal(connect, **{name: value}), name=name, value=value, allowed="not blank")

    @pytest.mark.parametrize(
        "name",
        [
            "From",
            "to",
            "CALLERID",
            "Record",
            "record",
            "StatusCallbackEvents",
            "Url",
            "CustomField",
            "StatusCallbackEvents[0]",
            "statuscallbackevents[7]",
            "TimeLimit",
        ],
    )
    def test_extra_repeats(self, name):
        """`extra` may not repeat what has an argument of its own, in any case."""
        text = refusal(connect, extra={"New": "1", name: "x"})

        assert_says(text, name="extra", value=name, allowed="an argument of its own")

    @pytest.mark.parametrize(
        ("extra", "name"),
        [
            ({"New": 1}, "extra['New']"),
            ({"": "x"}, "a name in extra"),
            ({5: "x"}, "a name in"),
            ({"New": "\ud800"}, "extra['New']"),
            ({"\ud800": "x"}, "a name in extra"),
        ],
    )
    def test_extra_texts(self, extra, name):
        """`extra` holds texts under names."""
        assert refusal(connect, extra=extra).startswith(name)

    @pytest.mark.parametrize("ask", [connect, to_flow])
    def test_unknown_argument(self, ask):
        """A mistyped option is an error of the program, and names those there are."""
        with pytest.raises(TypeError, match=r"unexpected argument 'recrod'.*time_limit"):
            ask(recrod=True)

    def test_secret_url_not_shown(self):
        """Of a bad URL no more than its beginning is shown: the rest may be a secret."""
        assert "s3cret" not in refusal(connect, status_callback="example.com/x/s3cret")

    def test_other_url_not_shown(self):
        """A URL that is no text is not shown at all."""

        text = refusal(connect, status_callback=Url("https://example.com/s3cret"))

        assert "s3cret" not in text
        assert "Url" in text.partition("but is")[2]

    def test_number_masked(self):
        """A refused number is masked, even where the error cuts a long value."""
        text = refusal(connect, recording_format="x" * 73 + "9876543210")

        assert "98765" not in text


class TestDoubts:
    @pytest.mark.parametrize(
        ("options", "warning"),
        [
            ({"time_out": 61}, "60 seconds"),
            ({"custom_field": "x" * 129}, "129 characters"),
            ({"call_type": "promo"}, "'promo'"),
        ],
    )
    @pytest.mark.parametrize("ask", [connect, to_flow])
    def test_either(self, ask, options, warning):
        """What Exotel might accept is sent, with a warning."""
        with pytest.warns(UserWarning, match=warning):
            request = ask(**options)

        assert str(*options.values()) in dict(request.form).values()

    @pytest.mark.parametrize(
        ("options", "warning"),
        [
            ({"status_callback_events": ["terminal"]}, "without status_callback"),
            (
                {"status_callback": "https://e.com", "status_callback_events": ["ringing"]},
                "'ringing'",
            ),
        ],
    )
    def test_events(self, options, warning):
        """Events that go nowhere, or that the page does not know, are sent with a warning."""
        with pytest.warns(UserWarning, match=warning):
            request = connect(**options)

        assert request.form[-1][0] == "StatusCallbackEvents[0]"

    def test_no_doubt(self):
        """What the page allows is sent in silence, and so is an unknown parameter."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            connect(custom_field="x" * 128, time_out=60, extra={"New": "1"})


class TestConnectToFlow:
    def test_required(self):
        """A flow is named by its URL."""
        assert to_flow().body() == (
            b"From=%2B919876543210&CallerId=080&Url=http%3A%2F%2Fmy.exotel.com%2Fa%2Fb%2F1"
        )

    @pytest.mark.parametrize(("name", "value", "key", "sent"), EITHER)
    def test_parameter(self, name, value, key, sent):
        """Each argument is sent under Exotel's name, in Exotel's spelling, and alone."""
        body = to_flow(**{name: value}).body()

        assert body.decode().split("&")[3:] == [f"{key}={sent}"]

    def test_table_is_whole(self):
        """Every option there is has its row above."""
        assert set(FlowOptions.__annotations__) == {name for name, *_ in EITHER} | {"extra"}

    @pytest.mark.parametrize(("name", "value", "allowed"), REFUSED)
    def test_refused(self, name, value, allowed):
        """What can't work is refused with an error that says name, value and what is allowed."""
        assert_says(refusal(to_flow, **{name: value}), name=name, value=value, allowed=allowed)

    @pytest.mark.parametrize("name", FLOW)
    @pytest.mark.parametrize("value", ["", " ", None])
    def test_missing(self, name, value):
        """A missing number or URL is refused."""
        text = refusal(to_flow, **{name: value})

        assert text.startswith(f"{name} must be ")

    @pytest.mark.parametrize("name", ["Url", "From", "callerid", "To", "StatusCallback"])
    def test_extra_repeats(self, name):
        """`extra` may not repeat what has an argument of its own, nor make it another call."""
        assert "an argument of its own" in refusal(to_flow, extra={name: "x"})

    def test_extra(self):
        """What only the other table knows may be tried by `extra`."""
        assert to_flow(extra={"Record": "true"}).form[-1] == ("Record", "true")


class TestFlowUrl:
    @pytest.mark.parametrize("flow_id", [926, "926"])
    def test_number(self, flow_id):
        """A flow's number is enough."""
        url = flow_url(flow_id, account_sid="acc", flow_base_url="http://my.in.exotel.com")

        assert url == "http://my.in.exotel.com/acc/exoml/start_voice/926"

    def test_account_encoded(self):
        """The account's SID is encoded whole."""
        assert "/a%2Fb/exoml" in flow_url(1, account_sid="a/b", flow_base_url="http://x")

    @pytest.mark.parametrize("flow_id", ["", "a", "9/6", "-1", -1, 1.5, True, None, "९"])
    def test_refused(self, flow_id):
        """What is no number names no flow."""
        with pytest.raises(InvalidRequestError) as caught:
            flow_url(flow_id, account_sid="a", flow_base_url="http://x")

        assert_says(str(caught.value), name="flow_id", value=flow_id, allowed="number of a flow")


def test_form_is_what_a_server_reads():
    """A server that parses the body finds the parameters as they were meant."""
    request = connect(custom_field="a&b=c+d%20", extra={"New[0]": "é"})

    assert parse_qsl(request.body().decode()) == list(request.form)
