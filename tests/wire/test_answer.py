"""What an answer says: Exotel's own samples, refusals of all kinds, and nonsense."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from campaign import examples
from hypothesis import example, given
from hypothesis import strategies as st
from samples import FOLDER, sample

from exotel_async import errors
from exotel_async.errors import (
    ApiError,
    DndBlockedError,
    ExotelError,
    KycRequiredError,
    NoAnswerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableAnswerError,
)
from exotel_async.models import Call, CallPage, NumberMetadata
from exotel_async.wire.answer import Answer, read_answer, refusal, retry_after
from exotel_async.wire.bulk import bulk_calls, bulk_query, call_details
from exotel_async.wire.connecting import connect
from exotel_async.wire.converter import converter_for
from exotel_async.wire.looking_up import number_metadata
from exotel_async.wire.values import IST

NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
CALL = call_details("a")
PAGE = bulk_calls(bulk_query(now=NOW), zone=IST)
NUMBER = number_metadata("+919876543210")
CONNECT = connect(from_="1", to="2", caller_id="3")
REQUESTS = {"bulk": PAGE, "call": CALL, "connect": CONNECT, "number": NUMBER}

SAMPLES = sorted(
    path.name for path in FOLDER.iterdir() if not path.name.startswith("statuscallback")
)
BROKEN = [name for name in SAMPLES if name.replace(".", ".mended.", 1) in SAMPLES]
SOUND = [name for name in SAMPLES if name not in BROKEN]


def read(request, body: bytes | str, *, status: int = 200, **more):
    body = body.encode() if isinstance(body, str) else body
    answer = Answer(status=status, body=body, **more)
    return read_answer(request, answer, converter=converter_for(IST), now=NOW)


class TestJsonLoads:
    """A JSON reader of the user's own."""

    @pytest.mark.parametrize(
        ("request_", "name"),
        [(PAGE, "bulk_details"), (CALL, "call_details"), (NUMBER, "number_metadata")],
    )
    def test_samples(self, request_, name):
        """Exotel's samples say the same in whatever reader."""
        body = sample(f"{name}.json")

        assert self.read(request_, body) == read(request_, body)

    @pytest.mark.parametrize(
        ("price", "meant"), [("1.50", "1.5"), ("1e-7", None), ("3", "3"), ('"1.50"', "1.50")]
    )
    def test_numbers(self, price, meant):
        """A price that is a number is read exactly, but for zeros at its end; else it is kept."""
        call = self.read(CALL, b'{"Call":{"Sid":"a","Price":%b}}' % price.encode())

        assert call.price == (None if meant is None else Decimal(meant))
        assert call.extra == ({"Price": float(price)} if meant is None else {})

    @pytest.mark.parametrize("body", [b"{", b"[]", b"\xff{}", b'{"Call": NaN}', b""])
    def test_nonsense(self, body):
        """What it can't read is unreadable."""
        with pytest.raises(UnreadableAnswerError):
            self.read(CALL, body)

    @staticmethod
    def read(request, body):
        answer = Answer(status=200, body=body)
        return read_answer(
            request, answer, converter=converter_for(IST), now=NOW, json_loads=orjson.loads
        )


def refused(request, body: bytes | str, **more) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(request, body, **more)
    return caught.value


def rest_exception(**told: object) -> str:
    return json.dumps({"RestException": told})


def request_of(name: str):
    return REQUESTS[name.partition("_")[0].partition(".")[0]]


class TestSamples:
    @pytest.mark.parametrize("name", SOUND)
    def test_decodes(self, name):
        """Every sample of the page that is well-formed decodes, and nothing in it is unknown."""
        value = read(request_of(name), sample(name))

        records = value.calls if isinstance(value, CallPage) else (value,)
        assert records
        for record in records:
            assert isinstance(record, Call | NumberMetadata)
            assert record.extra == {}

    @pytest.mark.parametrize("name", BROKEN)
    def test_broken(self, name):
        """A sample that is broken as printed is unreadable, and its body can be looked at."""
        with pytest.raises(UnreadableAnswerError, match="can't be read") as caught:
            read(request_of(name), sample(name))

        assert caught.value.body == sample(name).decode()[:4096]

    def test_which_are_broken(self):
        """One JSON sample lacks a comma, two XML ones hold a bare <your_sid>."""
        assert BROKEN == ["bulk.xml", "call_details.xml", "call_details_legs.json"]

    @pytest.mark.parametrize("name", BROKEN)
    def test_mended(self, name):
        """The mended twin of a broken sample differs by what was broken only."""
        mended = sample(name.replace(".", ".mended.", 1))
        if name.endswith(".json"):
            mended = mended.replace(b'"completed", "Legs"', b'"completed" "Legs"')
        else:
            mended = mended.replace(b"&lt;your_sid&gt;", b"<your_sid>")

        assert mended == sample(name)

    @pytest.mark.parametrize(
        ("name", "request_"),
        [("number_metadata", NUMBER), ("call_details_legs", CALL)],
    )
    def test_twins(self, name, request_):
        """JSON and XML of the same thing give equal objects."""
        as_json = f"{name}.mended.json" if name == "call_details_legs" else f"{name}.json"

        assert read(request_, sample(as_json)) == read(request_, sample(f"{name}.xml"))

    def test_connect(self):
        """Connect's answer: dialling, with nothing measured yet."""
        call = read(CONNECT, sample("connect_two_numbers.json"))

        assert call.sid == "c5797dcbaaeed7678c4062a4a3ed2f8a"
        assert call.status == "in-progress"
        assert (call.end_time, call.duration, call.price) == (None, None, None)

    @pytest.mark.parametrize("name", ["bulk.json", "bulk.mended.xml", "bulk_details.json"])
    def test_page(self, name):
        """A page knows its cursors and what it is part of."""
        page = read(PAGE, sample(name))

        assert (page.total, page.page_size, page.skipped) == (1027, 1, 0)
        assert page.after == "MTU3Nzk4NDQwNywwNmQ4ZmI0MDdlZWY5N2YxZmI0OTllNjZjOTI5MTQxMg=="
        assert page.before == "MTU3Nzk4NjAwNixhZmQ4MGJhNzI1MzA5YmU2MjM0MTA2YjY5ZGVmMTQxMg=="

    def test_details(self):
        """Details bring talk time and both legs."""
        call = read(CALL, sample("call_details_legs.xml"))

        assert call.details.conversation_duration == 8
        assert [leg.on_call_duration for leg in call.details.legs] == [21, 8]
        assert (call.duration, call.price) == (17, Decimal("1.500"))


class TestRefusal:
    @pytest.mark.parametrize(
        ("status", "name"),
        [
            (400, "BadRequestError"),
            (401, "AuthenticationError"),
            (402, "PaymentRequiredError"),
            (403, "PermissionDeniedError"),
            (404, "NotFoundError"),
            (409, "ConflictError"),
            (429, "RateLimitedError"),
            (500, "ServerError"),
            (503, "ServerError"),
            (599, "ServerError"),
            (405, "ApiError"),
            (408, "ApiError"),
        ],
    )
    @pytest.mark.parametrize("body", ["", "no", "<html><body>no", rest_exception(Message="no")])
    def test_by_status(self, status, name, body):
        """The HTTP status says what kind of refusal it is, whatever the body."""
        error = refused(CALL, body, status=status)

        assert type(error) is getattr(errors, name)
        assert (error.status, error.body) == (status, body)

    def test_envelope(self):
        """The envelope gives message and code."""
        error = refused(
            CALL, rest_exception(Status=403, Message="Forbidden ", Code=35008), status=403
        )

        assert (error.message, error.code) == ("Forbidden", 35008)

    def test_envelope_in_xml(self):
        """In XML too, where the numbers are texts."""
        body = (
            "<TwilioResponse><RestException><Status>404</Status>"
            "<Message>No matching results</Message></RestException></TwilioResponse>"
        )

        error = refused(CALL, body, status=404)

        assert (type(error), error.message, error.code) == (
            NotFoundError,
            "No matching results",
            None,
        )

    @pytest.mark.parametrize(
        ("code", "read_as"),
        [
            (35008, 35008),
            ("35008", 35008),
            ("E-1", "E-1"),
            (None, None),
            ("", None),
            ({}, None),
            (True, None),
            ("9" * 60, "9" * 60),
            (10**300, str(10**300)),
        ],
    )
    def test_code(self, code, read_as):
        """A code may be an int, a text, or missing."""
        assert refused(CALL, rest_exception(Code=code), status=400).code == read_as

    @pytest.mark.parametrize(
        ("message", "kind"),
        [
            ("Call to 09876543210 not allowed as per TRAI NDNC regulations", DndBlockedError),
            ("call blocked (trai ndnc) [09876543210]", DndBlockedError),
            ("This account is not yet KYC compliant", KycRequiredError),
            ("IP not allow-listed", PermissionDeniedError),
            ("Account suspended", PermissionDeniedError),
        ],
    )
    def test_forbidden(self, message, kind):
        """403 has several meanings, told apart by the message; its number is not shown."""
        error = refused(CONNECT, rest_exception(Status=403, Message=message), status=403)

        assert type(error) is kind
        assert error.message == message
        assert "9876543210" not in str(error)

    def test_meaning_needs_its_status(self):
        """The words of a 403 mean nothing elsewhere."""
        assert type(refused(CALL, rest_exception(Message="TRAI NDNC"), status=500)) is ServerError

    def test_plain_text(self):
        """A 401 may be plain text; its first words are the message."""
        error = refused(CALL, "Authentication\n  required " + "x" * 900, status=401)

        assert error.message.startswith("Authentication required xxx")
        assert len(error.message) == 501

    @pytest.mark.parametrize("body", ["", "   ", "<html><h1>502", "<TwilioResponse/>"])
    def test_no_words(self, body):
        """A page of HTML is no message."""
        assert refused(CALL, body, status=502).message == "no reason given"

    def test_observed(self):
        """A 503 as it was observed."""
        error = refused(
            CALL,
            rest_exception(Status=503, Message="Service Unavailable; ", Code=35008),
            status=503,
        )

        assert str(error) == "Exotel answered 503: Service Unavailable (code 35008)."

    @pytest.mark.parametrize(
        ("told", "kind", "status"),
        [
            ({"Status": 404, "Message": "No matching results"}, NotFoundError, 404),
            ({"Status": "429"}, RateLimitedError, 429),
            ({"Status": "many"}, ApiError, 200),
            ({}, ApiError, 200),
            (None, ApiError, 200),
            (["x"], ApiError, 200),
        ],
    )
    def test_under_200(self, told, kind, status):
        """A RestException under 200 is a refusal, by the status that it names."""
        error = refused(CALL, json.dumps({"RestException": told}))

        assert (type(error), error.status) == (kind, status)

    def test_http_status_wins(self):
        """Where HTTP says 4xx, the status in the body changes nothing."""
        assert refused(CALL, rest_exception(Status=200), status=404).status == 404

    def test_body_is_cut(self):
        """Of a long body the beginning is kept."""
        assert len(refused(CALL, b"\xff" * 10_000, status=500).body) == 4096

    def test_message_is_cut(self):
        """Of a long message the beginning is told."""
        assert len(refused(CALL, rest_exception(Message="no " * 9_000), status=400).message) == 500

    def test_stands_without_body(self):
        """A refusal whose body broke off is a refusal."""
        assert refused(CALL, "{", status=404, problem=ConnectionResetError()).status == 404

    def test_retry_after(self):
        """A 429 says when to come back."""
        error = refused(CALL, "", status=429, headers={"Retry-After": "7"})

        assert error.retry_after == 7.0

    def test_plain_function(self):
        """It needs nothing but the answer."""
        assert type(refusal(Answer(status=402), {}, now=NOW)) is errors.PaymentRequiredError


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("0", 0.0),
            ("7", 7.0),
            (" 120 ", 120.0),
            ("Mon, 02 Nov 2026 10:01:00 GMT", 60.0),
            ("Mon, 02 Nov 2026 10:01:00", 60.0),
            ("Mon, 02 Nov 2026 15:31:30 +0530", 90.0),
            ("Mon, 02 Nov 2026 09:00:00 GMT", 0.0),
        ],
    )
    def test_read(self, text, seconds):
        """Seconds or an HTTP date; a moment that has passed is no wait."""
        assert retry_after({"Retry-After": text}, now=NOW) == seconds

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-5",
            "1.5",
            "soon",
            "९",
            "9" * 40,
            "Mon, 02 Nov 99999 10:00:00 GMT",
            " , ",
            "Mon, 02 Nov 2026 10:01:00 +99999999999999999999",
        ],
    )
    def test_garbage(self, text):
        """What makes no sense says nothing."""
        assert retry_after({"Retry-After": text}, now=NOW) is None

    def test_missing(self):
        """No header, no time."""
        assert retry_after({}, now=NOW) is None

    @examples(150)
    @given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d\d Nov \d{4} \d\d:\d\d:\d\d.{0,30}"))
    def test_anything(self, text):
        """Whatever stands there is a wait or nothing."""
        wait = retry_after({"Retry-After": text}, now=NOW)

        assert wait is None or wait >= 0


class TestUnreadable:
    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ("", "an empty answer"),
            (" \n", "an empty answer"),
            ("{}", "it holds no Call"),
            ('{"Call": {}}', "there is no Sid"),
            ('{"Call": {"Sid": null}}', "there is no Sid"),
            ('{"Call": {"Sid": "", "Duration": "soon"}}', "there is no Sid"),
            ('{"Call": {"Duration": "soon"}}', "there is no Sid"),
            ('{"Call": [{"Sid": "a"}]}', "it holds no Call"),
            ('{"Call": {"Sid": "a"', "Expecting"),
            ('[{"Call": {"Sid": "a"}}]', "not an object"),
            ("NaN", "not an object"),
            ('"Call"', "not an object"),
            (b'{"Call": {"Sid": "\xff"}}', "utf-8"),
            (b"\xff\xfe", "Expecting"),
            ("<html>", "not well-formed"),
            ("<html/>", "without a TwilioResponse"),
            ('{"a":' * 100_000, "nested too deep"),
            ("[" * 100_000, "nested too deep"),
            ('{"Call": {"Sid": "a", "Duration": %s}}' % ("9" * 60_000), "digits"),
            ('{"Call": {"Sid": "a", "New": 1e99999999999999999999}}', "beyond all bounds"),
        ],
    )
    def test_nonsense(self, body, why):
        """An answer that makes no sense says why."""
        with pytest.raises(UnreadableAnswerError, match=why) as caught:
            read(CALL, body)

        assert caught.value.status == 200

    @pytest.mark.parametrize("status", [301, 302, 304, 307, 308])
    def test_redirect(self, status):
        """A redirect is never followed, even if a fine call stands in it."""
        with pytest.raises(UnreadableAnswerError, match="redirect"):
            read(CALL, '{"Call": {"Sid": "a"}}', status=status)

    def test_broke_off(self):
        """An answer that broke off is none, whatever had come by then."""
        problem = ConnectionResetError()

        with pytest.raises(NoAnswerError) as caught:
            read(CALL, '{"Call": {"Sid": "a"}}', problem=problem)

        assert caught.value.__cause__ is problem

    def test_wrong_noun(self):
        """A call is no number, and no page."""
        for request in (NUMBER, PAGE):
            with pytest.raises(UnreadableAnswerError, match="it holds no"):
                read(request, sample("connect_flow.json")[:0] + b'{"Other": {}}')


class TestLenience:
    def test_other_format(self):
        """Asked for one format, Exotel may answer in the other; blanks in front do no harm."""
        call = read(CALL, sample("connect_flow.xml"))

        assert read(CALL, b"\n " + sample("connect_flow.xml")) == call
        assert read(CALL, b"\xef\xbb\xbf" + sample("connect_flow.xml")) == call
        assert read(CALL, b"\xef\xbb\xbf" + sample("connect_flow.json")).status == "in-progress"

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_success(self, status):
        """Any 2xx with a call in it is that call."""
        assert read(CONNECT, '{"Call": {"Sid": "a"}}', status=status).sid == "a"

    def test_digits(self):
        """A price that comes as a JSON number keeps its digits."""
        assert str(read(CALL, '{"Call": {"Sid": "a", "Price": 1.500}}').price) == "1.500"

    @pytest.mark.parametrize("bomb", ["9" * 4000, "9" * 60_000 + ".5", "1e999999", "-1e999999"])
    @pytest.mark.parametrize("name", ["Duration", "Price"])
    def test_number_bombs(self, bomb, name):
        """A number beyond all bounds is no value; it is kept as it came."""
        call = read(CALL, f'{{"Call": {{"Sid": "a", "{name}": {bomb}}}}}')

        assert (call.duration, call.price) == (None, None)
        assert call.extra.keys() == {name}

    def test_lone_surrogate(self):
        """Half a character does no harm."""
        assert read(CALL, '{"Call": {"Sid": "a", "To": "\\ud800"}}').to == "\ud800"

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Call",
                        "Calls",
                        "Metadata",
                        "Numbers",
                        "RestException",
                        "Status",
                        "Message",
                        "Sid",
                        "Details",
                        "Legs",
                        "Leg",
                        "Id",
                        "NextPageUri",
                        "Total",
                        "$extra",
                        "x",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )

    @examples(400)
    @given(json_values, st.sampled_from(list(REQUESTS.values())), st.sampled_from([200, 302, 404]))
    @example({"Call": {"Sid": "a", "$extra": 5, "x": 1}}, CALL, 200)
    def test_any_json(self, tree, request_, status):
        """Whatever JSON comes, it is a value or an error of ours."""
        with suppress(ExotelError):
            value = read(request_, json.dumps(tree), status=status)

            assert isinstance(value, Call | CallPage | NumberMetadata)
            assert hash(value) == hash(value)

    @examples(200)
    @given(st.binary(max_size=60), st.sampled_from(SOUND), st.integers(0, 2000))
    def test_any_bytes(self, noise, name, place):
        """Samples with noise in them are read or refused, never more."""
        body = sample(name)
        place %= len(body)
        with suppress(ExotelError):
            read(request_of(name), body[:place] + noise + body[place + len(noise) :])


class TestPage:
    def test_without_sid(self):
        """Entries without a Sid are left out and counted."""
        entries = [{"Sid": "a"}, {}, {"Sid": ""}, 5, None, {"Duration": "soon"}, {"Sid": 7}]

        page = read(PAGE, json.dumps({"Calls": entries}))

        assert [call.sid for call in page.calls] == ["a", "7"]
        assert page.skipped == 5

    @pytest.mark.parametrize(
        "body",
        [
            '{"Calls": []}',
            '{"Calls": null, "Metadata": {}}',
            '{"Metadata": []}',
            "<TwilioResponse><Metadata><Total/></Metadata></TwilioResponse>",
        ],
    )
    def test_empty(self, body):
        """A page of nothing is a page."""
        assert read(PAGE, body) == CallPage()

    @pytest.mark.parametrize(
        "body",
        [
            '{"Calls": {"Sid": "a"}}',
            "<TwilioResponse><Call><Sid>a</Sid></Call></TwilioResponse>",
            "<TwilioResponse><Call><Sid>a</Sid></Call><Metadata/></TwilioResponse>",
        ],
    )
    def test_one(self, body):
        """One record may come without a list around it."""
        assert read(PAGE, body) == CallPage(calls=(Call(sid="a"),))

    @pytest.mark.parametrize("body", ["{}", '{"Calls": "x"}', '{"Calls": 5}', '{"Number": {}}'])
    def test_no_page(self, body):
        """What holds no records is no page."""
        with pytest.raises(UnreadableAnswerError, match="Calls"):
            read(PAGE, body)

    @pytest.mark.parametrize(
        ("uri", "cursor"),
        [
            ("/v1/Accounts/a/Calls.json?After=MTU3==&PageSize=2", "MTU3=="),
            ("https://elsewhere.example/x?PageSize=2&After=MTU3%3D%3D", "MTU3=="),
            ("/v1/Accounts/a/Calls?PageSize=2&amp;After=MTU3", "MTU3"),
            ("?After=a+b", "a+b"),
            ("?After=a%2Bb", "a+b"),
            ("?PageSize=2", None),
            ("?after=x", None),
            ("?After=", None),
            ("After=x", None),
            ("", None),
            (None, None),
            (5, None),
            ({}, None),
        ],
    )
    def test_cursor(self, uri, cursor):
        """Of a page's URI only the cursor is taken, however it is spelled."""
        metadata = {"NextPageUri": uri, "PrevPageUri": uri}

        page = read(PAGE, json.dumps({"Calls": [], "Metadata": metadata}))

        assert (page.after, page.before) == (cursor, None)

    @pytest.mark.parametrize("total", ["many", True, [], -1, None, "", "4.5"])
    def test_counts(self, total):
        """A count that makes no sense is None."""
        metadata = {"Total": total, "PageSize": "2"}

        page = read(PAGE, json.dumps({"Calls": [], "Metadata": metadata}))

        assert (page.total, page.page_size) == (None, 2)


def test_answer_hides_body():
    """What was answered does not show in a `repr`: it is full of numbers."""
    assert "secret" not in repr(Answer(status=200, body=b"secret"))


def test_naive_dates_are_utc():
    """An HTTP date without a zone is UTC, as all HTTP dates are."""
    now = NOW.astimezone(IST) - timedelta(seconds=5)

    assert retry_after({"Retry-After": "Mon, 02 Nov 2026 10:00:00"}, now=now) == 5.0
