"""The plain functions of the command line."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exotel_async import (
    IST,
    ApiError,
    Call,
    CallDetails,
    ConfigurationError,
    InvalidRequestError,
    Leg,
    NoAnswerError,
    NotSentError,
    OutcomeUnknownError,
    decode_callback,
    errors,
)
from exotel_async.cli import exit_status, plain, rows, urls
from exotel_async.cli.exit_status import ExitStatus, status_of
from exotel_async.cli.saved import Saved, add_line, from_line, open_for_saving, to_line
from exotel_async.cli.wording import told
from exotel_async.cli.world import World
from exotel_async.errors import mask_secrets

NUMBER = "+919812300001"
SID = "5f0c1d2e3b4a59687786a5b4c3d2e1f0"
RECORD = Call(
    sid="call-1234567890",
    from_=NUMBER,
    date_created=datetime(2026, 11, 1, 10, tzinfo=IST),
    price=Decimal("1E+1"),
    recording_url=f"https://x/{NUMBER}.mp3",
    custom_field="order 9812300001",
    details=CallDetails(legs=(Leg(status="completed", on_call_duration=3, extra={"N": NUMBER}),)),
    extra={"New": {"Deep": [919812300001, Decimal("1.0"), True, None]}},
)
LOOK = rows.Look(zone=IST, hide=mask_secrets)


def strict(text: str) -> object:
    """Read JSON as strict readers do: no NaN, no half surrogate pairs."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    tree = json.loads(text, parse_constant=refuse)
    json.dumps(tree, ensure_ascii=False).encode("utf-8")
    return tree


class TestExitStatus:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (ConfigurationError("a"), 2),
            (InvalidRequestError("a"), 2),
            (OutcomeUnknownError("a"), 3),
            (NotSentError("a"), 4),
            (NoAnswerError("a"), 4),
            (ApiError("a", 403), 1),
            (OSError("a"), 1),
        ],
    )
    def test_status_of(self, error, status):
        """Each error has its number."""
        assert status_of(error) == status

    def test_every_error(self):
        """None of our errors is taken for success."""
        kinds = [k for k in vars(errors).values() if isinstance(k, type)]

        assert all(status_of(kind("a")) for kind in kinds if issubclass(kind, errors.ExotelError))

    def test_explained(self):
        """The help text names them all."""
        text = exit_status.explained()

        assert all(f"{status.value}  {status.meaning}" in text for status in ExitStatus)


class TestPlain:
    def test_values(self):
        """Times have their zone, prices their text, what is unknown is kept, None is null."""
        tree = json.loads(plain.to_json(RECORD, hide=str))

        assert tree["date_created"] == "2026-11-01T10:00:00+05:30"
        assert tree["price"] == "1E+1"
        assert tree["to"] is None
        assert tree["from"] == NUMBER
        assert tree["extra"] == {"New": {"Deep": [919812300001, "1.0", True, None]}}

    def test_masked(self):
        """Personal texts are masked wherever they stand, Sids never."""
        text = plain.to_json(RECORD, hide=mask_secrets)
        tree = json.loads(text)

        assert "98123" not in text
        assert tree["sid"] == "call-1234567890"
        assert tree["from"] == "***0001"
        assert tree["extra"]["New"]["Deep"] == ["***0001", "1.0", True, None]

    def test_every_personal_field(self):
        """No field that a model hides in its repr goes out unmasked."""
        whole = decode_callback(
            f"CallSid={SID}&From={NUMBER}&To={NUMBER}&PhoneNumberSid={NUMBER}"
            f"&CustomField={NUMBER}&New={NUMBER}&RecordingUrl=https://x/{NUMBER}".replace("+", "")
        )

        assert "98123" not in plain.to_json(whole, hide=mask_secrets)
        assert SID in plain.to_json(whole, hide=mask_secrets)
        assert plain.to_json(whole, hide=str).count("919812300001") == 6

    @pytest.mark.parametrize("name", ["direction", "answered_by", "status", "parent_call_sid"])
    def test_texts_and_names(self, name):
        """A number is masked in whatever field or name it stands."""
        odd = Call(sid=SID, **{name: NUMBER}, extra={NUMBER: {NUMBER: NUMBER}})
        text = plain.to_json(odd, hide=mask_secrets)
        fields = list(rows.call_fields(odd, LOOK))

        assert "98123" not in text + str(fields) + str(rows.call_cells(odd, LOOK, details=False))
        assert "***0001" in text

    def test_account(self):
        """The account's Sid, on old accounts the API key, is for those who ask for it."""
        record = Call(
            sid=SID, account_sid="s3cret", uri="/v1/Accounts/s3cret/Calls/a",
            extra={"AccountSid": "s3cret"},
        )  # fmt: skip
        fields = list(rows.call_fields(record, LOOK))

        assert "s3cret" not in plain.to_json(record, hide=mask_secrets) + str(fields)
        assert plain.to_json(record, hide=str).count("s3cret") == 3

    @given(
        extra=st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(st.characters()),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
            max_leaves=5,
        )
    )
    @example(extra={"\ud800": ["\udc80", float("nan"), float("inf")]})
    def test_strict(self, extra):
        """Whatever Exotel sends, what we write is read by strict readers."""
        strict(plain.to_json(Call(sid="a\ud800", extra={"New": extra}), hide=str))

    def test_spelt_out(self):
        """What JSON has no word for is text."""
        tree = strict(plain.to_json(Call(sid="a\ud800", extra={"N": float("-inf")}), hide=str))

        assert (tree["sid"], tree["extra"]["N"]) == ("a\\ud800", "-inf")


class TestRows:
    def test_call_cells(self):
        """A record has a cell for each column."""
        cells = rows.call_cells(RECORD, LOOK, details=True)

        assert len(cells) == len(rows.CALL_COLUMNS + rows.DETAIL_COLUMNS)
        assert cells[:3] == ("2026-11-01 10:00:00", "call-1234567890", "***0001")
        assert cells[7] == "10"
        assert cells[-1] == "From completed (3 s)"

    def test_empty_call(self):
        """A record of which nothing is known has empty cells."""
        assert set(rows.call_cells(Call(sid="a"), LOOK, details=True)) == {"", "a"}

    def test_call_fields(self):
        """What is known is listed, with what this release does not know."""
        fields = dict(rows.call_fields(RECORD, LOOK))

        assert fields["from"] == "***0001"
        assert fields["extra New"].startswith("{'Deep': ['***0001'")
        assert "to" not in fields

    @given(text=st.text())
    def test_printable(self, text):
        """Nothing that a terminal would obey is left, and plain text stays."""
        shown = rows.printable(text)

        assert shown.isprintable()
        assert shown == text or not text.isprintable()

    @pytest.mark.parametrize(
        ("status", "legs", "answered"),
        [
            ("completed", (), True),
            ("completed", ("completed", "completed"), True),
            ("completed", ("completed", "no-answer"), False),
            ("completed", ("completed", "a newer word"), True),
            ("busy", (), False),
            ("no-answer", ("completed", "completed"), False),
        ],
    )
    def test_was_answered(self, status, legs, answered):
        """Completed is not enough where a leg says that nobody answered."""
        details = CallDetails(legs=tuple(Leg(status=leg) for leg in legs))

        assert rows.was_answered(Call(sid="a", status=status, details=details)) is answered

    @pytest.mark.parametrize("status", ["queued", "in-progress", None, "a newer word"])
    def test_not_over(self, status):
        """An unknown word does not mean that a call has ended."""
        assert not rows.is_over(Call(sid="a", status=status))

    @pytest.mark.parametrize(
        ("status", "legs", "ended", "over", "answered"),
        [
            ("a newer word", ("completed", "completed"), False, True, True),
            ("a newer word", ("completed", "busy"), False, True, False),
            ("a newer word", ("completed", "in-progress"), False, False, False),
            ("a newer word", ("completed", None), False, False, False),
            ("a newer word", (), True, True, False),
            (None, (), True, True, False),
            ("in-progress", ("completed", "completed"), True, False, True),
        ],
    )
    def test_newer_status(self, status, legs, ended, over, answered):
        """Of a status nobody knows, the end of the call or of its legs tells; of others not."""
        call = Call(
            sid="a", status=status, end_time=datetime(2026, 11, 1, tzinfo=UTC) if ended else None,
            details=CallDetails(legs=tuple(Leg(status=leg) for leg in legs)),
        )  # fmt: skip

        assert rows.is_over(call) is over
        assert not over or rows.was_answered(call) is answered

    def test_event_line(self):
        """A callback's texts are masked, its Sid is not."""
        event = decode_callback(f"CallSid=call-1234567890&Status={NUMBER}".replace("+", ""))

        assert rows.event_line(event, hide=mask_secrets).endswith("***0001  call-1234567890")

    def test_more_legs(self):
        """Numbers that were tried again have legs without a side."""
        assert rows.spell_legs([Leg(), Leg(), Leg(status="busy")]).endswith("leg 3 busy")


class TestSaved:
    @given(
        body=st.binary(max_size=60) | st.text("aé\r\n\x00\u2028", max_size=20).map(str.encode),
        content_type=st.text(max_size=20),
        query=st.text(max_size=20),
    )  # fmt: skip
    def test_round_trip(self, body, content_type, query):
        """What was saved comes back byte for byte, out of one line."""
        at = datetime(2026, 11, 1, tzinfo=UTC)
        one = Saved(at=at, content_type=content_type, query=query, status=400, body=body)
        line = to_line(one)

        assert from_line(line) == one
        assert line.isascii()
        assert "\n" not in line

    @pytest.mark.parametrize(
        "line", ["", "{}", "[]", "1", '{"at": 1}', "[" * 10**5,
                 '{"at":"2026-11-01","content_type":"","query":"","status":200,"body":5}'],
    )  # fmt: skip
    def test_nonsense(self, line):
        """Other lines are refused."""
        with pytest.raises(ValueError, match="not a line"):
            from_line(line)

    def test_repr(self):
        """A body is personal."""
        one = Saved(at=datetime(2026, 11, 1, tzinfo=UTC), content_type="", body=NUMBER.encode())

        assert NUMBER not in repr(one)

    def test_file(self, tmp_path):
        """Lines are added at once, to a file that nobody else may read, old or new."""
        path = tmp_path / "saved.jsonl"
        path.write_text("old\n")
        path.chmod(0o644)
        one = Saved(at=datetime(2026, 11, 1, tzinfo=UTC), content_type="", body=b"\xff")
        with open_for_saving(path) as file:
            add_line(file, one)
            lines = path.read_text().splitlines()

        assert lines[0] == "old"
        assert from_line(lines[1]).body == b"\xff"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


class TestUrls:
    @pytest.mark.parametrize("url", ["", "a", "ftp://a", "http://", "http://[", "http://a:0/"])
    def test_refused(self, url):
        """What no callback can go to is refused."""
        with pytest.raises(ValueError, match="absolute http"):
            urls.http_url(url)

    @pytest.mark.parametrize(
        ("url", "query", "both"),
        [
            ("http://a/b", "c=1", "http://a/b?c=1"),
            ("http://a/b?c=1", "", "http://a/b?c=1"),
            ("http://a/b?c=%zz", "a=%zz&b=%2b+%20", "http://a/b?c=%zz&a=%zz&b=%2b+%20"),
        ],
    )
    def test_exact(self, url, query, both):
        """A query is added where there is one; nothing is spelt in another way."""
        assert str(urls.exact(url, query)) == both

    def test_what_cannot_travel(self):
        """What could not be sent as it stands is spelt so that it can."""
        assert str(urls.exact("http://a/ü", "b=\r\nX")) == "http://a/%C3%BC?b=X"

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://me:pw@a/b/?key=1", "https://a/b/?…"),
            (
                "http://a:80/cb/b3JkZXI.1790000000.K2bLh9bL3mJ1y0bqv2nW8w/",
                "http://a:80/cb/{token}/",
            ),
            ("http://a/0123456789abcdef0123456789abcdef", "http://a/{token}"),
            ("http://a/exotel/callbacks", "http://a/exotel/callbacks"),
            ("http://a", "http://a"),
            ("http://a/+919812300001", "http://a/***0001"),
        ],
    )
    def test_discreet(self, url, shown):
        """Of a URL that may open a door only the way to it is shown."""
        assert urls.discreet(url) == shown


class TestTold:
    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (InvalidRequestError("time_limit must be 1"), "--time-limit must be 1"),
            (InvalidRequestError("duration.at_most must be 1"), "--duration must be 1"),
            (InvalidRequestError("from_ must be a text"), "From must be a text"),
            (InvalidRequestError("created_after is 2020"), "--created is 2020"),
            (ConfigurationError("base_url must be https"), "EXOTEL_SUBDOMAIN must be https"),
            (ConfigurationError("a secret must have"), "a secret must have"),
            (OSError("it must be"), "it must be"),
        ],
    )
    def test_names(self, error, says):
        """Arguments and settings have the names that users know."""
        assert told(error) == says

    def test_clear_text(self):
        """Who wrote http:// is told what to write, in words of the environment."""
        environ = {
            "EXOTEL_ACCOUNT_SID": "a", "EXOTEL_API_KEY": "b", "EXOTEL_API_TOKEN": "c",
            "EXOTEL_SUBDOMAIN": "http://api.exotel.com",
        }  # fmt: skip
        with pytest.raises(ConfigurationError) as caught:
            World(environ=environ).client()

        assert "EXOTEL_SUBDOMAIN names api.exotel.com with http://" in told(caught.value)
        assert "allow_http" not in told(caught.value)
