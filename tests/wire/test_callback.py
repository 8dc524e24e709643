"""What a StatusCallback says, however it is spelt."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import pickle
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from campaign import examples
from hypothesis import example, given
from hypothesis import strategies as st
from samples import form_sample, multipart, sample
from spellings import SPELLINGS, TREE, as_json, as_multipart, as_urlencoded, events, flat

from exotel_async import (
    IST,
    CallAnswered,
    CallTerminated,
    Leg,
    MalformedCallbackError,
    UnknownCallback,
    decode_callback,
)

FORM = "application/x-www-form-urlencoded"
SID = "CallSid=a1"


def decode(text: str, **kwargs):
    return decode_callback(text.encode(), content_type=FORM, **kwargs)


def decode_tree(**members):
    return decode_callback(json.dumps({"CallSid": "a1", **members}).encode())


def node(script: str) -> list[bytes]:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    done = subprocess.run(
        ["node", "--no-warnings", "-e", script, json.dumps(flat(TREE))],
        capture_output=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.splitlines()


class TestSamples:
    def test_json_sample(self):
        """The page's JSON sample becomes a typed event."""
        event = decode_callback(
            sample("statuscallback_terminal.json"), content_type="application/json"
        )

        assert isinstance(event, CallTerminated)
        assert event.call_sid == "492205107c5fb48f4ac25d1f77759339"
        assert event.event_type == "terminal"
        assert event.status == "no-answer"
        assert event.direction == "outbound-api"
        assert event.start_time == datetime(2019, 4, 8, 3, 17, 59, tzinfo=IST)
        assert event.conversation_duration == 32
        assert event.from_ == "+91941374XXXX"
        assert event.recording_url.endswith("/492205107c5fb48f4ac25d1f77759339.mp3")
        assert event.legs == (
            Leg(status="completed", on_call_duration=41),
            Leg(status="completed", on_call_duration=32),
        )
        assert dict(event.extra) == {}

    @pytest.mark.parametrize("spell", [multipart, lambda p: (urlencode(p).encode(), FORM)])
    def test_form_sample(self, spell):
        """The page's form sample becomes a typed event, in both encodings of a form."""
        body, content_type = spell(form_sample("statuscallback_terminal.form.txt"))

        event = decode_callback(body, content_type=content_type)

        assert isinstance(event, CallTerminated)
        assert event.recording_url is None
        assert event.conversation_duration == 0
        assert event.end_time - event.start_time == timedelta(seconds=35)
        assert event.legs == (
            Leg(status="no-answer", on_call_duration=0),
            Leg(status=None, on_call_duration=0),
        )


class TestSpellings:
    @pytest.mark.parametrize("spell", SPELLINGS, ids=lambda spell: spell.__name__)
    def test_same_event(self, spell):
        """An event is the same, whoever spelt it."""
        body, content_type = spell(TREE)

        event = decode_callback(body, content_type=content_type)

        assert event == decode_callback(*as_json(TREE)[:1])
        assert event.pairs == tuple(flat(TREE))
        assert event.custom_field == TREE["CustomField"]
        assert event.answered_leg == 0

    @pytest.mark.parametrize("spell", SPELLINGS, ids=lambda spell: spell.__name__)
    @pytest.mark.parametrize("wrong", ["", "text/plain", FORM, "application/json", "garbage;;="])
    def test_wrong_content_type(self, spell, wrong):
        """A missing or wrong content type does not matter where the body shows what it is."""
        body, _ = spell(TREE)

        event = decode_callback(body, content_type=wrong)

        assert event.pairs == tuple(flat(TREE))

    @pytest.mark.parametrize("claim", ["multipart/form-data; boundary=x", "multipart/form-data"])
    @pytest.mark.parametrize("spell", [as_json, as_urlencoded])
    def test_wrongly_claimed_multipart(self, spell, claim):
        """What calls itself multipart, and is not, is read as what it is."""
        event = decode_callback(spell(TREE)[0], content_type=claim)

        assert event.pairs == tuple(flat(TREE))

    @given(tree=events)
    @example(
        tree={"CallSid": "a", "From": "+91 98%", "Xä;☎": '"\r\n\\', "Legs": [{"Status": "\r"}]}
    )
    @examples(250)
    def test_any_event(self, tree):
        """Any event is equal, hashes and pickles alike in JSON, multipart and urlencoded."""
        spelt = [spell(tree) for spell in (as_json, as_multipart, as_urlencoded)]

        first, *others = [decode_callback(body, content_type=claim) for body, claim in spelt]

        assert first.pairs == tuple(flat(tree))
        for other in others:
            assert other == first
            assert type(other) is type(first)
            assert hash(other) == hash(first)
            assert other.pairs == first.pairs
            assert pickle.loads(pickle.dumps(other)) == first

    def test_numbers_and_null(self):
        """JSON's numbers, booleans and nulls become what a form would have said."""
        event = decode_callback(
            b'{"CallSid":"a1","ConversationDuration":29.0,"To":null,"X":true,"Y":1e400,"Z":[]}'
        )

        assert event.conversation_duration == 29
        assert event.to is None
        assert dict(event.extra) == {"X": "true", "Y": "1e400", "Z": ""}

    def test_time_zone(self):
        """Times without a zone are in the zone that was named."""
        event = decode(f"{SID}&StartTime=2024-07-01+10:00:00", time_zone="Europe/London")

        assert event.start_time.astimezone(UTC).hour == 9

    def test_text_body(self):
        """A body may be a text, even with what surrogates smuggle."""
        escaped = "CallSid=a1&CustomField=ü".encode().decode("ascii", "surrogateescape")

        assert decode_callback("CallSid=a1&CustomField=ü").custom_field == "ü"
        assert decode_callback(escaped).custom_field == "ü"
        assert decode_callback("CallSid=a1&CustomField=\ud800").custom_field == "?"

    def test_lone_surrogates(self):
        """Lone surrogates, which nothing can store, come out as a mark."""
        event = decode_callback(rb'{"CallSid":"a1","X\ud800":"\udfff"}', query="Y=\ud800")

        assert dict(event.extra) == {"X�": "�", "Y": "�"}

    def test_odd_json(self):
        """JSON in UTF-16, with a BOM, with broken UTF-8 or with twins is read."""
        text = '{"CallSid":"a1","CustomField":"ü","CustomField":"x"}'
        claim = {"content_type": "application/json"}

        assert decode_callback(text.encode("utf-16"), **claim).custom_field == "ü"
        assert decode_callback(text.encode("utf-8-sig"), **claim).custom_field == "ü"
        assert decode_callback(text.encode("latin-1"), **claim).custom_field == "�"


async def written(payload: aiohttp.payload.Payload) -> bytes:
    """Have aiohttp write a payload, as it would onto a connection."""
    got = bytearray()

    class Writer:
        async def write(self, chunk: bytes) -> None:
            got.extend(chunk)

    await payload.write(Writer())  # type: ignore[arg-type]
    return bytes(got)


class TestClients:
    async def test_curl(self):
        """What curl sends with -F is read."""
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        got = []

        async def receive(request):
            got.append((await request.read(), request.headers["Content-Type"]))
            return web.Response()

        app = web.Application()
        app.router.add_post("/", receive)
        options = [x for name, value in flat(TREE) for x in ("--form-string", f"{name}={value}")]
        async with TestServer(app) as server:
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sf", *options, str(server.make_url("/"))
            )
            assert await curl.wait() == 0

        [(body, content_type)] = got
        assert decode_callback(body, content_type=content_type).pairs == tuple(flat(TREE))

    async def test_curl_urlencoded(self):
        """What curl sends with --data-urlencode is read."""
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        got = []

        async def receive(request):
            got.append((await request.read(), request.headers["Content-Type"]))
            return web.Response()

        app = web.Application()
        app.router.add_post("/", receive)
        options = [x for name, value in flat(TREE) for x in ("--data-urlencode", f"{name}={value}")]
        async with TestServer(app) as server:
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sf", *options, str(server.make_url("/"))
            )
            assert await curl.wait() == 0

        [(body, content_type)] = got
        assert decode_callback(body, content_type=content_type).pairs == tuple(flat(TREE))

    @pytest.mark.parametrize("options", [{}, {"default_to_multipart": True}, {"charset": "utf-8"}])
    async def test_aiohttp(self, options):
        """What aiohttp's FormData sends is read."""
        form = aiohttp.FormData(flat(TREE), **options)
        payload = form()

        event = decode_callback(await written(payload), content_type=payload.content_type)

        assert event.pairs == tuple(flat(TREE))

    async def test_aiohttp_headers(self):
        """A form whose fields name their own types is read."""
        form = aiohttp.FormData()
        for name, value in flat(TREE):
            form.add_field(name, value, content_type="text/plain; charset=utf-8")
        payload = form()

        event = decode_callback(
            await written(payload), content_type=payload.headers["Content-Type"]
        )

        assert event.pairs == tuple(flat(TREE))

    def test_node_form_data(self):
        """What Node's FormData and fetch send is read."""
        content_type, body = node(
            "const form = new FormData();"
            "for (const [k, v] of JSON.parse(process.argv[1])) form.append(k, v);"
            "const r = new Response(form); r.arrayBuffer().then(b => console.log("
            "r.headers.get('content-type') + '\\n' + Buffer.from(b).toString('base64')))"
        )

        event = decode_callback(base64.b64decode(body), content_type=content_type.decode())

        assert event.pairs == tuple(flat(TREE))

    def test_node_url_search_params(self):
        """What Node's URLSearchParams spell is read."""
        [body] = node("console.log(new URLSearchParams(JSON.parse(process.argv[1])).toString())")

        event = decode_callback(body, content_type=f"{FORM};charset=UTF-8")

        assert event.pairs == tuple(flat(TREE))

    def test_php_query(self):
        """What PHP's http_build_query spells is read, with brackets encoded and empties kept."""
        event = decode(
            "CallSid=a1&Legs%5B0%5D%5BStatus%5D=completed&Legs%5B0%5D%5BOnCallDuration%5D=41"
            "&Legs%5B1%5D%5BStatus%5D=&Legs%5B1%5D%5BInsights%5D%5BStatus%5D=x&From=%2B91+98"
        )

        assert event.legs[0] == Leg(status="completed", on_call_duration=41)
        assert event.legs[1].status is None
        assert dict(event.legs[1].extra) == {"Insights[Status]": "x"}
        assert event.from_ == "+91 98"


class TestKinds:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("EventType=terminal", CallTerminated),
            ("EventType=TERMINAL&Status=in-progress", CallTerminated),
            ("EventType=answered", CallAnswered),
            ("EventType=Answered&Status=completed", CallAnswered),
            ("EventType=ringing&Status=completed", UnknownCallback),
            ("Status=completed", CallTerminated),
            ("Status=No_Answer", CallTerminated),
            ("Status=cancelled", CallTerminated),
            ("EventType=null&Status=busy", CallTerminated),
            ("EventType=&Status=FAILED", CallTerminated),
            ("Status=in-progress", UnknownCallback),
            ("Status=exploded", UnknownCallback),
            ("", UnknownCallback),
        ],
    )
    def test_kind(self, text, kind):
        """The EventType says which kind it is, or else a final status does."""
        event = decode(f"{SID}&{text}")

        assert type(event) is kind

    def test_unknown_event_type(self):
        """An EventType newer than this release survives as it came."""
        event = decode(f"{SID}&EventType=Leg_Ringing")

        assert event.event_type == "Leg_Ringing"

    @pytest.mark.parametrize(
        ("legs", "answered"),
        [
            (["in-progress", ""], 0),
            (["in-progress", "in-progress"], 1),
            (["completed", "In_Progress"], 1),
            (["completed", "completed"], None),
            ([], None),
        ],
    )
    def test_answered_leg(self, legs, answered):
        """The last leg in progress is the one that answered."""
        legs = [{"Status": status} for status in legs]

        event = decode_tree(EventType="answered", Legs=legs)

        assert event.answered_leg == answered

    def test_two_answers_differ(self):
        """The two answered events of a call are not equal, though all but the legs is."""
        legs = [{"Status": "in-progress"}, {"Status": ""}]
        both = [{"Status": "in-progress"}, {"Status": "in-progress"}]

        first = decode_tree(EventType="answered", Status="in-progress", Legs=legs)
        second = decode_tree(EventType="answered", Status="in-progress", Legs=both)

        assert first != second


class TestLegs:
    TWO = (Leg(status="completed", on_call_duration=41), Leg(status="busy"))

    @pytest.mark.parametrize(
        "legs",
        [
            [{"Status": "completed", "OnCallDuration": 41}, {"Status": "busy"}],
            {"0": {"Status": "completed", "OnCallDuration": 41}, "1": {"Status": "busy"}},
            {"1": {"Status": "completed", "OnCallDuration": 41}, "2": {"Status": "busy"}},
            {"1": {"Status": "busy"}, "0": {"Status": "completed", "OnCallDuration": 41}},
            [{"Leg": {"Status": "completed", "OnCallDuration": 41}}, {"Leg": {"Status": "busy"}}],
            [{"status": "Completed", "oncallduration": "41"}, {"STATUS": "BUSY"}],
            [{"Status": ["completed"], "OnCallDuration": [41]}, {"Status": "['busy']"}],
            [
                {"Id": 1, "Status": "completed", "OnCallDuration": "41.0"},
                {"Id": 2, "Status": "busy"},
            ],
        ],
    )
    def test_shapes(self, legs):
        """Legs are read from lists and maps, wrapped or not, counted from zero or one."""
        event = decode_tree(Legs=legs)

        assert event.legs == self.TWO

    @pytest.mark.parametrize("legs", [None, [], {}, ""])
    def test_no_legs(self, legs):
        """No legs, in any spelling, are none, and nothing unknown."""
        event = decode_tree(Legs=legs)

        assert event.legs == ()
        assert dict(event.extra) == {}

    @pytest.mark.parametrize("empty", [None, {}, {"Leg": None}, {"Leg": {}}, ""])
    def test_empty_leg(self, empty):
        """A leg of which nothing is said is still a leg."""
        event = decode_tree(Legs=[empty, {"Status": "busy"}])

        assert event.legs == (Leg(), Leg(status="busy"))

    def test_gap(self):
        """A gap among the legs is a leg of which nothing is known."""
        event = decode(f"{SID}&Legs[0][Status]=busy&Legs[2][Status]=completed")

        assert event.legs == (Leg(status="busy"), Leg(), Leg(status="completed"))

    def test_more_than_two(self):
        """Numbers that were tried again are more legs."""
        event = decode_tree(Legs=[{"Status": "no-answer"}] * 5)

        assert len(event.legs) == 5

    def test_three_levels(self):
        """What lies deeper in a leg is kept under its whole name."""
        event = decode(f"{SID}&Legs[1][Insights][Status]=x&Legs[0][Insights][Who][Name]=y")

        assert dict(event.legs[0].extra) == {"Insights[Who][Name]": "y"}
        assert dict(event.legs[1].extra) == {"Insights[Status]": "x"}

    def test_unknown_fields(self):
        """Fields of legs that the page does not name are kept."""
        unknown = {"AnsweredBy": "human", "Cause": "NORMAL", "CauseCode": "16", "Type": "pstn"}

        event = decode_tree(Legs=[{"Status": "completed", **unknown}])

        assert dict(event.legs[0].extra) == unknown

    @pytest.mark.parametrize(
        ("legs", "name", "value"),
        [
            (["completed"], "Legs[0]", "completed"),
            ([{"Leg": "x"}], "Legs[0][Leg]", "x"),
            ([{"": "x"}], "Legs[0][]", "x"),
            ([{"$extra": "x"}], "Legs[0][$extra]", "x"),
            ([{"$extra": ""}], "Legs[0][$extra]", ""),
            ("completed", "Legs", "completed"),
            ({"first": "x"}, "Legs[first]", "x"),
            ({"64": {"Status": "x"}}, "Legs[64][Status]", "x"),
            ({"-1": {"Status": "x"}}, "Legs[-1][Status]", "x"),
            ({"999999999": {"Status": "busy"}}, "Legs[999999999][Status]", "busy"),
            ({"٣": {"Status": "busy"}}, "Legs[٣][Status]", "busy"),
        ],
    )
    def test_no_leg(self, legs, name, value):
        """What is no leg, or out of reach, is kept as it came."""
        event = decode_tree(Legs=legs)

        assert event.legs == ()
        assert event.extra[name] == value

    def test_our_own_names(self):
        """No name that somebody sends gets into what we prepare for the converter."""
        names = ["$extra", "$legs", "$ref", "$pairs"]

        event = decode_tree(**dict.fromkeys(names, "x"), Legs=[dict.fromkeys(names, "x")])

        assert event.ref is None
        assert len(event.extra) == 8
        assert all(isinstance(value, str) for value in event.extra.values())


class TestFields:
    def test_four_fields(self):
        """The four fields of a flow's call are enough."""
        event = decode(
            f"{SID}&Status=completed&RecordingUrl=https://x/a.mp3&DateUpdated=2024-01-02+03:04:05"
        )

        assert isinstance(event, CallTerminated)
        assert event.event_type is None
        assert event.recording_url == "https://x/a.mp3"
        assert event.date_updated == datetime(2024, 1, 2, 3, 4, 5, tzinfo=IST)

    def test_missing_recording(self):
        """A missing RecordingUrl is None, as an empty one is."""
        assert decode(f"{SID}&Status=completed").recording_url is None
        assert decode(f"{SID}&Status=completed&RecordingUrl=").recording_url is None

    def test_only_sid(self):
        """A CallSid alone is enough."""
        assert decode(SID).call_sid == "a1"

    @pytest.mark.parametrize("sid", ["", "null", "{{CallSid}}", "N/A"])
    def test_no_sid(self, sid):
        """Without a CallSid it is no StatusCallback."""
        with pytest.raises(MalformedCallbackError):
            decode(urlencode({"CallSid": sid, "Status": "completed"}))

    def test_lower_case_keys(self):
        """Keys count in any case."""
        event = decode("callsid=a1&status=completed&conversationduration=3&LEGS[0][status]=busy")

        assert event.status == "completed"
        assert event.conversation_duration == 3
        assert event.legs == (Leg(status="busy"),)
        assert dict(event.extra) == {}

    @pytest.mark.parametrize("value", ["['completed']", '["completed"]', "[ 'completed' ]"])
    def test_list_of_one_in_a_text(self, value):
        """A list of one, as Python prints it, is what it holds."""
        assert decode(urlencode({"CallSid": "['a1']", "Status": value})).status == "completed"

    def test_list_of_one(self):
        """A list of one in JSON, and PHP's spelling of it, is what it holds."""
        assert decode_tree(Status=["Completed"]).status == "completed"
        assert decode(f"{SID}&Status[0]=Completed").status == "completed"

    @pytest.mark.parametrize("value", ["['a', 'b']", "['a]", "['a\"]", "[a]", "[]"])
    def test_other_lists(self, value):
        """A list of several is left as it came, as is what only looks like one."""
        assert decode(urlencode({"CallSid": "a1", "Status": value})).status == value

    def test_template_nobody_filled(self):
        """A template that nobody filled in is no value, and is kept."""
        event = decode(urlencode({"CallSid": "a1", "Status": "{{Status}}"}))

        assert event.status is None
        assert dict(event.extra) == {"Status": "{{Status}}"}

    @pytest.mark.parametrize("text", ['{"a": [1]}', "['x']", "{{x}}", "null", "N/A ", "[1]"])
    def test_custom_field(self, text):
        """A CustomField is the user's own text, whatever it looks like."""
        assert decode(urlencode({"CallSid": "a1", "CustomField": text})).custom_field == text

    @pytest.mark.parametrize(
        "text",
        [
            "2024-07-31T16:42:56 05:30",
            "2024-07-31T16:42:56+05:30",
            "2024-07-31 16:42:56",
            "2024-07-31T11:12:56Z",
            "Wed, 31 Jul 2024 16:42:56",
        ],
    )
    def test_times(self, text):
        """A time is the same in all its spellings, one that lost its plus among them."""
        event = decode(urlencode({"CallSid": "a1", "StartTime": text}))

        assert event.start_time == datetime(2024, 7, 31, 16, 42, 56, tzinfo=IST)

    def test_lost_plus(self):
        """An offset whose plus was never encoded arrives as a blank, and is read all the same."""
        event = decode(f"{SID}&StartTime=2024-07-31T16:42:56+05:30")

        assert event.start_time == datetime(2024, 7, 31, 16, 42, 56, tzinfo=IST)

    def test_unreadable(self):
        """What can't be read is None and kept, and the rest is read."""
        event = decode(f"{SID}&StartTime=soon&ConversationDuration=4.39&Status=busy")

        assert event.start_time is None
        assert event.conversation_duration == 4
        assert event.status == "busy"
        assert dict(event.extra) == {"StartTime": "soon", "ConversationDuration": "4.39"}

    def test_repr(self):
        """The repr shows neither numbers nor the user's own data in full."""
        event = decode(f"{SID}&From=%2B919876543210&X=y&RecordingUrl=https://x/?sig=secret")

        assert "9876543210" not in repr(event)
        assert "secret" not in repr(event)

    def test_twins(self):
        """Of fields that come twice the first counts, in whatever case they are spelt."""
        event = decode(f"{SID}&status=busy&STATUS=failed&Status=completed&X=1&X=2&CallSid=b2")

        assert event.call_sid == "a1"
        assert event.status == "busy"
        assert dict(event.extra) == {"X": "1"}
        assert event.raw.getall("X") == ["1", "2"]


class TestQuery:
    def test_body_wins(self):
        """What the body says counts, not what the URL's query says."""
        event = decode(f"{SID}&Status=busy", query="CallSid=b2&Status=completed&order=7")

        assert event.call_sid == "a1"
        assert event.status == "busy"
        assert dict(event.extra) == {"order": "7"}
        assert event.raw.getall("CallSid") == ["a1", "b2"]

    def test_body_wins_in_any_case(self):
        """Odd keys in the body count more than proper ones in the query."""
        event = decode(
            "callsid=a1&legs[0][status]=busy&status[0]=busy",
            query="CallSid=b2&Legs[0][Status]=completed&Status=completed",
        )

        assert event.call_sid == "a1"
        assert event.status == "busy"
        assert event.legs == (Leg(status="busy"),)

    def test_query_alone(self):
        """A query counts where there is no body."""
        assert decode_callback(b"", query="?CallSid=a1").call_sid == "a1"

    def test_query_beside_json(self):
        """JSON and a query go together."""
        event = decode_callback(b'{"CallSid":"a1"}', query="EventType=terminal&X=%C3%BC")

        assert isinstance(event, CallTerminated)
        assert event.extra["X"] == "ü"


class TestBadBodies:
    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"", ""),
            (b"hello", ""),
            (b"[]", "application/json"),
            (b'["CallSid"]', "application/json"),
            (b'"CallSid=a1"', "application/json"),
            (b"null", "application/json"),
            (b'{"CallSid":"a1"', "application/json"),
            (b'{"CallSid":"a1"} x', ""),
            (b'{"CallSid":{"a":"1"}}', ""),
            (b"\xff\xfe{", "application/json"),
            (b"", "multipart/form-data; boundary=b"),
            (b"--", "multipart/form-data"),
            (b"--b--\r\n", "multipart/form-data; boundary=b"),
            (b"&" * 600, FORM),
        ],
    )
    def test_malformed(self, body, content_type):
        """What is no StatusCallback is refused."""
        with pytest.raises(MalformedCallbackError):
            decode_callback(body, content_type=content_type)

    @given(
        body=st.binary(max_size=200),
        content_type=st.one_of(
            st.text(max_size=60),
            st.sampled_from(["application/json", FORM, "multipart/form-data; boundary=b"]),
        ),
        query=st.text(max_size=20),
    )
    @examples(400)
    def test_anything(self, body, content_type, query):
        """Whatever comes is decoded or refused, and nothing else happens."""
        with contextlib.suppress(MalformedCallbackError):
            decode_callback(body, content_type=content_type, query=query)

    @given(
        name=st.one_of(
            st.text(max_size=12),
            st.sampled_from(["From", "StartTime", "ConversationDuration", "Legs", "EventType"]),
            st.from_regex(r"\ALegs\[[0-9]{0,3}\](\[[A-Za-z\0]{0,6}\]){0,3}\Z"),
        ),
        value=st.one_of(
            st.text(max_size=30),
            st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,2} Jul 2024 16:\d\d:56( [+-]?\d{1,30})?\Z"),
            st.from_regex(r"\A\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?([ +-]\d\d:?\d\d)?\Z"),
        ),
    )
    @examples(400)
    def test_any_value(self, name, value):
        """Whatever stands in a field, the event is built and survives being hashed and stored."""
        body = urlencode({"CallSid": "a1", name: value}, errors="replace")

        event = decode(body)

        assert isinstance(hash(event), int)
        assert pickle.loads(pickle.dumps(event)) == event
        assert isinstance(repr(event), str)


class TestLimits:
    def test_many_fields(self):
        """More fields than any callback has are refused, in every encoding."""
        tree = {"CallSid": "a1", **{f"X{i}": "" for i in range(10_000)}}

        for spell in SPELLINGS:
            body, content_type = spell(tree)
            with pytest.raises(MalformedCallbackError, match="more than 512 fields"):
                decode_callback(body, content_type=content_type)

    def test_just_enough_fields(self):
        """As many fields as are allowed are read, in every encoding."""
        tree = {"CallSid": "a1", **{f"X{i}": "" for i in range(511)}}

        for spell in SPELLINGS:
            body, content_type = spell(tree)
            assert len(decode_callback(body, content_type=content_type).pairs) == 512

    def test_fields_of_query_count(self):
        """Body and query share the limit."""
        half = "&".join(f"X{i}=" for i in range(300))

        with pytest.raises(MalformedCallbackError, match="more than 512 fields"):
            decode(f"{SID}&{half}", query=half)

    def test_ten_thousand_legs(self):
        """Ten thousand legs are refused."""
        for spell in SPELLINGS:
            body, content_type = spell({"CallSid": "a1", "Legs": [{"Status": "x"}] * 10_000})
            with pytest.raises(MalformedCallbackError):
                decode_callback(body, content_type=content_type)

    def test_far_leg(self):
        """A leg far away makes no legs in between."""
        assert decode(f"{SID}&Legs[999999999][Status]=x").legs == ()
        assert len(decode(f"{SID}&Legs[63][Status]=x").legs) == 64

    def test_long_number(self):
        """A number of sixty thousand digits stays a text."""
        digits = "9" * 60_000

        event = decode_callback(f'{{"CallSid":"a1","ConversationDuration":{digits}}}'.encode())

        assert event.conversation_duration is None
        assert event.extra["ConversationDuration"] == digits

    @pytest.mark.parametrize(
        "deep", [b"[" * 60_000, b'{"a":' * 12_000, b'{"a":' * 12 + b"1" + b"}" * 12]
    )
    def test_deep_nesting(self, deep):
        """Nesting deeper than any callback's is refused."""
        with pytest.raises(MalformedCallbackError):
            decode_callback(b'{"CallSid":"a1","X":' + deep + b"}")

    def test_long_names_are_not_repeated(self):
        """A long name with many members does not multiply."""
        body = json.dumps({"CallSid": "a1", "k" * 60_000: [1] * 500}).encode()

        with pytest.raises(MalformedCallbackError):
            decode_callback(body)
