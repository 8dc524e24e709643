"""The nouns: values that can be trusted to stay what they are, and to hide what is personal."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest

from exotel_async.models import (
    AnsweredBy,
    Call,
    CallAnswered,
    CallDetails,
    CallPage,
    CallStatus,
    CallTerminated,
    Circle,
    Clock,
    Direction,
    Dnd,
    Leg,
    LegStatus,
    NumberMetadata,
    Operator,
    Range,
    StatusCallback,
    SystemClock,
    UnknownCallback,
)
from exotel_async.models.extra import NOTHING, Extra
from exotel_async.models.vocabulary import FINAL_STATUSES

MOMENT = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
LEG = Leg(status="completed", on_call_duration=8, extra=Extra({"Cause": "9876543210"}))
DETAILS = CallDetails(conversation_duration=8, legs=(LEG,), extra=Extra({"New": ["x"]}))
CALL = Call(
    sid="b6cfaf5f5cef3ca0fc937749ef960e25",
    from_="+919876543210",
    to="098765 43211",
    start_time=MOMENT,
    duration=17,
    price=Decimal("1.500"),
    recording_url="https://recordings.example/+919876543210.mp3?Signature=s3cret",
    pre_signed_recording_url="https://s3.example/a.mp3?Signature=s3cret",
    details=DETAILS,
    extra=Extra({"New": {"deep": "s3cret"}}),
)
EVENT = {
    "call_sid": "492205107c5fb48f4ac25d1f77759339",
    "from_": "+919876543210",
    "to": "+919876543211",
    "custom_field": "for 9876543212",
    "ref": "order-9876543213",
    "recording_url": "https://recordings.example/a.mp3?Signature=s3cret",
    "legs": (LEG,),
    "extra": Extra({"Odd": "s3cret"}),
    "pairs": (("CallSid", "492205107c5fb48f4ac25d1f77759339"), ("Odd", "s3cret")),
}
MODELS = [
    Range(at_least=1, at_most=Decimal("2.5")),
    LEG,
    DETAILS,
    CALL,
    CallPage(calls=(CALL,), total=1027, after="cursor", skipped=1),
    NumberMetadata(phone_number="09876543210", circle="GJ", extra=Extra({"New": "s3cret"})),
    CallAnswered(**EVENT),
    CallTerminated(**EVENT),
    UnknownCallback(**EVENT),
]
with_all_models = pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)

CIRCLES = {
    "AP": "Andhra Pradesh Telecom Circle",
    "AS": "Assam Telecom Circle",
    "BR": "Bihar & Jharkhand Telecom Circle",
    "CH": "Chennai Metro Telecom Circle (includes Chennai, MEPZ & Mahabalipuram)",
    "DL": "Delhi Metro Telecom Circle (includes NCR, Faridabad, Ghaziabad, Gurgaon & Noida)",
    "GJ": "Gujarat Telecom Circle (includes Daman & Diu, Dadra & Nagar Haveli)",
    "HP": "Himachal Pradesh Telecom Circle",
    "HR": "Haryana Telecom Circle (excludes Faridabad, Gurgaon & Panchkula)",
    "JK": "Jammu & Kashmir Telecom Circle",
    "KL": "Kerala Telecom Circle (includes Lakshadeep)",
    "KA": "Karnataka Telecom Circle",
    "KO": "Kolkata Metro Telecom Circle (includes parts of Haora, Hooghly, "
    "North & South 24 Parganas and Nadia Districts)",
    "MH": "Maharashtra Telecom Circle (includes Goa but excludes Mumbai, Navi Mumbai & Kalyan)",
    "MP": "Madhya Pradesh & Chhattisgarh Telecom Circle",
    "MU": "Mumbai Metro Telecom Circle (includes Navi Mumbai & Kalyan)",
    "NE": "North East India Telecom Circle (includes Arunachal Pradesh, Meghalaya, Mizoram, "
    "Nagaland, Manipur & Tripura)",
    "OR": "Orissa Telecom Circle",
    "PB": "Punjab Telecom Circle (includes Chandigarh & Panchkula)",
    "RJ": "Rajasthan Telecom Circle",
    "TN": "Tamil Nadu Telecom Circle (excludes CH Chennai, MEPZ, Mahabalipuram & Minjur and "
    "includes Pondicherry except Yanam & Mahe)",
    "UE": "Uttar Pradesh (East) Telecom Circle",
    "UW": "Uttar Pradesh (West) & Uttarakhand Telecom Circle (excludes Ghaziabad & Noida)",
    "WB": "West Bengal Telecom Circle (includes Andaman & Nicobar,Sikkim excludes "
    "Calcutta Telecom District)",
    "AN": "Andaman & Nicobar",
    "BY": "Mumbai Metro Telecom Circle (includes Navi Mumbai & Kalyan)",
    "HA": "Haryana Telecom Circle (excludes Faridabad, Gurgaon & Panchkula)",
    "ND": "Delhi Metro Telecom Circle (includes NCR, Faridabad, Ghaziabad, Gurgaon & Noida)",
    "UPE": "Uttar Pradesh (East) Telecom Circle",
    "UPW": "Uttar Pradesh (West) & Uttarakhand Telecom Circle (excludes Ghaziabad & Noida)",
}
OPERATORS = {
    "AC": "Aircel",
    "A": "Airtel",
    "AL": "Allianz",
    "B": "BSNL",
    "D": "Dishnet",
    "E": "Etisalat",
    "H": "HFCL",
    "I": "Idea",
    "LO": "Loop",
    "MT": "MTNL",
    "P": "Ping",
    "R": "Reliance",
    "S": "Sistema",
    "ST": "S Tel",
    "T": "Tata",
    "U": "Unitech",
    "VI": "Videocon",
    "V": "Vodafone",
}


class TestEveryModel:
    @with_all_models
    def test_frozen(self, model):
        """Nothing about it can be changed."""
        for field in attrs.fields(type(model)):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(model, field.name, None)

    @with_all_models
    def test_slotted(self, model):
        """It carries no dict: a page of records stays small."""
        assert not hasattr(model, "__dict__")

    @with_all_models
    def test_keyword_only(self, model):
        """Its fields are given by name."""
        with pytest.raises(TypeError):
            type(model)("x")

    @with_all_models
    @pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
    def test_pickles(self, model, again):
        """Pickled or copied, it is equal."""
        twin = again(model)

        assert twin == model
        assert hash(twin) == hash(model)
        assert repr(twin) == repr(model)

    @pytest.mark.parametrize(
        "model", [model for model in MODELS if hasattr(model, "extra")], ids=type
    )
    def test_extra_compared_not_hashed(self, model):
        """What has no field counts for equality, and may be unhashable."""
        other = attrs.evolve(model, extra=Extra({"Other": ["unhashable"]}))

        assert other != model
        assert hash(other) == hash(model)

    @with_all_models
    def test_repr(self, model):
        """Its `repr` shows neither a whole number, nor a value of extra, nor a URL's query."""
        shown = repr(model)

        assert "98765" not in shown
        assert "s3cret" not in shown
        assert "?" not in shown

    def test_repr_says_enough(self):
        """What is no secret is shown: Sid, the ends of numbers, names in extra, times."""
        shown = repr(CALL)

        assert "sid='b6cfaf5f5cef3ca0fc937749ef960e25'" in shown
        assert "from_='***3210', phone_number=None" in shown
        assert "extra=<New>" in shown
        assert "recording_url='https://recordings.example/***3210.mp3'" in shown
        assert "pre_signed_recording_url" not in shown

    def test_kinds_differ(self):
        """Two events of different kinds are never equal, whatever they say."""
        assert CallAnswered(**EVENT) != CallTerminated(**EVENT)


class TestCall:
    def test_only_sid(self):
        """Only a Sid is needed; all else is None."""
        call = Call(sid="a1")

        filled = {k: v for k, v in attrs.asdict(call, recurse=False).items() if v is not None}
        assert filled == {"sid": "a1", "extra": {}}


class TestRange:
    def test_bounds(self):
        """Either bound may be left open."""
        assert Range(at_least=1) == Range(at_least=1, at_most=None)
        assert Range(at_most=1) != Range(at_least=1)


class TestStatusCallback:
    def test_raw(self):
        """`raw` holds every pair, twins too, and can't be changed."""
        event = StatusCallback(call_sid="a", pairs=(("Odd", "1"), ("Odd", "2"), ("CallSid", "a")))

        assert event.raw.getall("Odd") == ["1", "2"]
        with pytest.raises(TypeError):
            event.raw["Odd"] = "3"  # type: ignore[index]

    def test_raw_not_compared(self):
        """Two encodings of one event are one event."""
        assert StatusCallback(call_sid="a", pairs=(("a", "b"),)) == StatusCallback(call_sid="a")

    @pytest.mark.parametrize(
        ("statuses", "index"),
        [
            (("in-progress", None), 0),
            (("in-progress", "in-progress"), 1),
            (("completed", "in-progress", "busy"), 1),
            (("completed", "busy"), None),
            ((), None),
        ],
    )
    def test_answered_leg(self, statuses, index):
        """The leg that answered is the last one in progress."""
        legs = tuple(Leg(status=status) for status in statuses)

        assert CallAnswered(call_sid="a", legs=legs).answered_leg == index


class TestExtra:
    def test_equals_dict(self):
        """It compares as the mapping it is."""
        assert Extra({"a": 1}) == {"a": 1}
        assert Extra({"a": 1}) != {"a": 2}
        assert {**Extra({"a": 1})} == {"a": 1}
        assert Extra() == NOTHING == {}

    def test_mapping(self):
        """It reads like a dict."""
        extra = Extra({"a": 1})

        assert isinstance(extra, Mapping)
        assert (extra["a"], extra.get("b"), len(extra), list(extra)) == (1, None, 1, ["a"])

    def test_unchangeable(self):
        """Nothing can be put in, nor changed from behind."""
        source = {"a": 1}
        extra = Extra(source)
        source["a"] = 2

        with pytest.raises(TypeError):
            extra["a"] = 2  # type: ignore[index]
        with pytest.raises(AttributeError):
            extra.other = 1  # type: ignore[attr-defined]
        assert extra == {"a": 1}

    def test_repr(self):
        """Names are shown, values are not."""
        assert repr(Extra({"a": "s3cret", "b": 2})) == "<a, b>"


class TestVocabularies:
    def test_circles(self):
        """Circles are those of Exotel's page, by their names there."""
        assert {str(circle): circle.circle_name for circle in Circle} == CIRCLES

    def test_operators(self):
        """Operators are those of Exotel's page, by their names there."""
        assert {str(operator): operator.operator_name for operator in Operator} == OPERATORS

    @pytest.mark.parametrize(
        ("vocabulary", "words"),
        [
            (
                CallStatus,
                "queued ringing in-progress completed failed busy no-answer canceled",
            ),
            (LegStatus, "queued ringing in-progress completed failed busy no-answer canceled"),
            (Direction, "inbound outbound-dial outbound-api"),
            (AnsweredBy, "human"),
            (Dnd, "Yes No Unavailable"),
        ],
    )
    def test_words(self, vocabulary, words):
        """The words are Exotel's."""
        assert {str(word) for word in vocabulary} == set(words.split())

    @pytest.mark.parametrize("vocabulary", [CallStatus, Circle, Operator, Dnd])
    def test_members(self, vocabulary):
        """A member is its text, is found by it, and pickles."""
        for word in vocabulary:
            assert vocabulary(str(word)) is word
            assert pickle.loads(pickle.dumps(word)) is word
            assert word == word.value == f"{word}"

    def test_final(self):
        """Final is what no call leaves again."""
        assert set(CallStatus) - FINAL_STATUSES == {"queued", "ringing", "in-progress"}


class TestSystemClock:
    async def test_time(self):
        """The machine's own time: aware, and steady."""
        clock: Clock = SystemClock()
        before = clock.monotonic()

        await clock.sleep(0)

        assert clock.now().tzinfo is UTC
        assert clock.monotonic() >= before
