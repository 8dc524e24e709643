"""Sample bodies, for those who test a handler alone."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from exotel_async import CallAnswered, CallTerminated, decode_callback
from exotel_async.simulator import Payload, payloads
from exotel_async.simulator.payloads import Encoding

ENCODINGS = get_args(Encoding)


def decoded(payload: Payload) -> Any:
    return decode_callback(payload.body, content_type=payload.content_type)


@pytest.mark.parametrize("encoding", ENCODINGS)
class TestEncodings:
    def test_terminal(self, encoding):
        """The end of a call that went well."""
        event = decoded(payloads.terminal(encoding=encoding))

        assert type(event) is CallTerminated
        assert (event.status, event.conversation_duration) == ("completed", 30)
        assert [leg.status for leg in event.legs] == ["completed", "completed"]
        assert event.recording_url.endswith(f"{event.call_sid}.mp3")
        assert not event.extra

    @pytest.mark.parametrize("leg", [0, 1])
    def test_answered(self, encoding, leg):
        """The answer of either leg."""
        event = decoded(payloads.answered(leg=leg, encoding=encoding))

        assert type(event) is CallAnswered
        assert event.answered_leg == leg
        assert event.end_time is None

    def test_default(self, encoding):
        """The four fields that come when no events were asked for."""
        event = decoded(payloads.default(encoding=encoding))

        assert type(event) is CallTerminated
        assert event.event_type is None
        assert event.legs == ()
        assert len(event.raw) == 4

    def test_overridden(self, encoding):
        """Fields are replaced and added by Exotel's own names, nested ones too."""
        event = decoded(
            payloads.terminal(
                {"Legs[1][Status]": "busy", "Legs[2][Status]": "failed", "New": "x"},
                encoding=encoding,
                Status="busy",
                CallSid="other",
                RecordingUrl=None,
            )
        )

        assert (event.call_sid, event.status, event.recording_url) == ("other", "busy", None)
        assert [leg.status for leg in event.legs] == ["completed", "busy", "failed"]
        assert event.extra["New"] == "x"

    def test_all_say_the_same(self, encoding):
        """An encoding is nothing but an encoding."""
        assert decoded(payloads.terminal(encoding=encoding)) == decoded(payloads.terminal())


class TestForms:
    def test_sample_json(self, sample, shape):
        """The JSON body has the page's keys in the page's order."""
        body = json.loads(payloads.terminal(encoding="json").body)

        assert shape(body) == shape(json.loads(sample("statuscallback_terminal.json")))

    def test_sample_form(self, sample):
        """The form has the page's names in the page's order."""
        lines = sample("statuscallback_terminal.form.txt").splitlines()
        body = payloads.terminal(encoding="urlencoded").body.decode()

        names = [pair.partition("=")[0] for pair in body.split("&")]
        encoded = [line.split(":")[0].replace("[", "%5B").replace("]", "%5D") for line in lines]
        assert names == encoded

    def test_content_types(self):
        """The header is what Exotel sends."""
        assert [
            payloads.terminal(encoding=one).content_type.split(";")[0] for one in ENCODINGS
        ] == [
            "multipart/form-data",
            "application/json",
            "application/x-www-form-urlencoded",
        ]

    def test_odd_names(self):
        """A name whose brackets make no sense stays as it is."""
        body = json.loads(payloads.default({"a]b[": "1", "c[d][e]": "2"}, encoding="json").body)

        assert (body["a]b["], body["c"]) == ("1", {"d": {"e": "2"}})

    @pytest.mark.parametrize("name", ["Legs[3][Status]", "Legs[x]"])
    def test_no_place(self, name):
        """A leg that would leave a gap is refused."""
        with pytest.raises(ValueError, match="there are 2 legs"):
            payloads.terminal({name: "busy"})

    def test_unknown_encoding(self):
        """So is an encoding that nobody has."""
        with pytest.raises(ValueError, match="encoding must be one of multipart, json, urlencoded"):
            payloads.terminal(encoding="yaml")
