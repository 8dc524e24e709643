"""How records become models: what is read, what is kept, and that nothing is lost."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import attrs
import pytest
from campaign import examples
from hypothesis import example, given
from hypothesis import strategies as st
from samples import sample

from exotel_async.models import Call, CallDetails, Leg, NumberMetadata
from exotel_async.wire import fields
from exotel_async.wire.converter import MOST_LEGS, _details_as_printed, converter_for
from exotel_async.wire.fields import MissingSidError
from exotel_async.wire.values import IST, NO_VALUE

convert = converter_for(IST)

PRINTED = {
    "ConversationDuration": 33,
    "Legs": [{"Leg": {"Id": 1, "OnCallDuration": 43}}, {"Leg": {"Id": 2, "OnCallDuration": 33}}],
    "Leg1Status": "completed",
    "Leg2Status": "no-answer",
}
CALL_KEYS = [key for key, _ in fields.call_fields(lambda v, _: v, lambda v, _: v).values()]
NAMES = [key for key in CALL_KEYS if not key.startswith("$")]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.decimals(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "null", "N/A", "completed", "4.39", "17", "1970-01-01 05:30:00"])
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
odd_names = st.text(max_size=9) | st.sampled_from(["$extra", "$legs", "sid", "extra", "Id"])
printed_trees = st.fixed_dictionaries(
    dict.fromkeys(sorted(fields.PRINTED_CALL_KEYS), scalars | anything),
    optional={
        "Details": st.just(PRINTED) | anything,
        "CustomField": scalars,
        "$extra": scalars,
        "New": scalars,
    },
)
trees = st.dictionaries(st.sampled_from(NAMES) | odd_names, anything, max_size=8)

durations = st.sampled_from([None, "", 0, 8, "17", "29.0", "4.39", -1, True, [], "soon"])
statuses = st.sampled_from([None, "", "null", "completed", "No_Answer", "new", 0, False, {}])
ids = st.sampled_from([1, 2, "1", "2", 3, "x", True, None, Decimal(1), Decimal("2.0"), [], 65])
bare_legs = st.fixed_dictionaries(
    {"Id": ids, "OnCallDuration": durations},
    optional={"Status": statuses, "Cause": st.just("NORMAL")},
)
leg_entries = (
    bare_legs.map(lambda leg: {"Leg": leg})
    | bare_legs
    | bare_legs.map(lambda leg: {"Leg": leg, "Beside": 1})
    | st.sampled_from(["", None, "x", 5, {}, {"Leg": ""}, {"Leg": None}, {"Leg": []}])
)
details_trees = st.fixed_dictionaries(
    {
        "ConversationDuration": durations,
        "Legs": st.lists(leg_entries, max_size=3)
        | st.sampled_from([None, "", "x", 5, {}])
        | leg_entries.map(lambda entry: {"Leg": entry}),
        "Leg1Status": statuses,
        "Leg2Status": statuses,
    },
    optional={"Leg3Status": statuses, "New": st.just(1), "$legs": st.just(5)},
)


def says_nothing(value: object) -> bool:
    return value is None or (isinstance(value, str) and value in NO_VALUE)


class TestCall:
    @examples(500)
    @given(printed_trees, st.sets(st.sampled_from(sorted(fields.PRINTED_CALL_KEYS)), max_size=2))
    def test_quick_and_slow_agree(self, raw, missing):
        """A record with all that the page prints is read quicker, not otherwise."""
        raw = {key: value for key, value in raw.items() if key not in missing}
        try:
            slow = convert.odd_call(raw)
        except MissingSidError:
            with pytest.raises(MissingSidError):
                convert.call(raw)
        else:
            assert convert.call(raw) == slow

    def test_every_field(self):
        """Every field of the page finds its place."""
        raw = json.loads(sample("bulk_details.json"))["Calls"][0]

        call = convert.call(raw)

        assert call == Call(
            sid="b6cfaf5f5cef3ca0fc937749ef960e25",
            date_created=datetime(2016, 11, 29, 15, 58, 45, tzinfo=IST),
            date_updated=datetime(2016, 11, 29, 16, 0, 9, tzinfo=IST),
            account_sid="Exotel",
            to="0XXXXX20000",
            from_="0XXXXX30240",
            phone_number_sid="0XXXXXX4890",
            status="completed",
            start_time=datetime(2016, 11, 29, 15, 59, 10, tzinfo=IST),
            end_time=datetime(2016, 11, 29, 15, 59, 57, tzinfo=IST),
            duration=47,
            price=Decimal("1.500"),
            direction="outbound-api",
            answered_by="human",
            uri="/v1/Accounts/<your_sid>/Calls/b6cfaf5f5cef3ca0fc937749ef960e25",
            recording_url="https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/<your_sid>/"
            "b6cfaf5f5cef3ca0fc937749ef960e25.mp3",
            details=CallDetails(
                conversation_duration=33,
                legs=(
                    Leg(status="completed", on_call_duration=43),
                    Leg(status="no-answer", on_call_duration=33),
                ),
            ),
        )

    def test_every_name(self):
        """Each of Exotel's names fills the field of the same name in snake_case."""
        values = {name: f"text of {name}" for name in NAMES}

        call = convert.call(values)

        texts = {name for name, value in attrs.asdict(call).items() if isinstance(value, str)}
        unread = {"DateCreated", "DateUpdated", "StartTime", "EndTime", "Duration", "Price"}
        assert set(call.extra) == unread | {"Details"}
        assert len(texts) == len(NAMES) - len(call.extra)
        assert call.pre_signed_recording_url == "text of PreSignedRecordingUrl"
        assert call.phone_number == "text of PhoneNumber"
        assert call.custom_field == "text of CustomField"

    def test_unknown(self):
        """What this release does not know is kept as it came."""
        call = convert.call({"Sid": "a", "Duration": "17", "New": {"deep": [1]}, "sid": "b"})

        assert call.duration == 17
        assert call.extra == {"New": {"deep": [1]}, "sid": "b"}

    @pytest.mark.parametrize(
        ("name", "field", "text"),
        [
            ("StartTime", "start_time", "yesterday"),
            ("Duration", "duration", "long"),
            ("Price", "price", "INR 1"),
            ("Details", "details", ["x"]),
            ("To", "to", {"number": "x"}),
            ("Status", "status", True),
            ("RecordingUrl", "recording_url", []),
        ],
    )
    def test_unreadable(self, name, field, text):
        """A known field that can't be read is None, its text is kept, the rest is read."""
        call = convert.call({"Sid": "a", name: text, "From": "080", "New": 1})

        assert getattr(call, field) is None
        assert call.extra == {name: text, "New": 1}
        assert call.from_ == "080"

    def test_parts_of_a_second(self):
        """Parts of a second are kept beside the whole ones."""
        call = convert.call({"Sid": "a", "Duration": "4.39"})

        assert (call.duration, call.extra) == (4, {"Duration": "4.39"})

    def test_contradictions(self):
        """Fields are never checked against each other: Exotel's samples contradict themselves."""
        raw = {
            "Sid": "a",
            "StartTime": "2024-07-31 16:42:56",
            "EndTime": "2024-07-31 16:42:55",
            "DateUpdated": "2024-07-31 16:42:50",
            "Status": "no-answer",
            "Details": {**PRINTED, "Leg2Status": "completed"},
        }

        call = convert.call(raw)

        assert call.end_time < call.start_time
        assert (call.status, call.details.legs[1].status) == ("no-answer", "completed")

    def test_null_custom_field(self):
        """A CustomField of "null" may be the user's data."""
        assert convert.call({"Sid": "a", "CustomField": "null"}).custom_field == "null"

    @pytest.mark.parametrize("raw", [{}, {"Sid": None}, {"Sid": ""}, {"Sid": []}, {"sid": "a"}])
    @pytest.mark.parametrize("more", [{}, {"Duration": "soon"}, {"New": 1}])
    def test_without_sid(self, raw, more):
        """A record without a Sid is no call, whatever else it holds."""
        with pytest.raises(MissingSidError):
            convert.call({**more, **raw})

    @pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-8))])
    def test_zone(self, zone):
        """Naive times are the wall clock of the converter's zone."""
        call = converter_for(zone).call({"Sid": "a", "StartTime": "2024-07-31 16:42:56"})

        assert call.start_time == datetime(2024, 7, 31, 16, 42, 56, tzinfo=zone)

    def test_made_once(self):
        """There is one converter for a zone."""
        assert converter_for(IST) is convert

    @pytest.mark.parametrize("value", [5, "x", None, {}, []])
    @pytest.mark.parametrize("more", [{}, {"New": 1}, {"Duration": "soon"}])
    def test_our_own_names(self, value, more):
        """What looks like a thing we prepared is one more unknown."""
        call = convert.call({"Sid": "a", "$extra": value, **more})

        assert call.extra == {"$extra": value, **more}

    @examples(150)
    @given(trees)
    @example({"$extra": 5, "New": 1})
    def test_nothing_is_lost(self, tree):
        """Whatever JSON brings is read, or says nothing, or is kept."""
        raw = {**tree, "Sid": "a"}

        call = convert.call(raw)

        read = {key: getattr(call, name) for name, (key, _) in CALL_FIELDS.items()}
        for key, value in raw.items():
            assert read.get(key) is not None or key in call.extra or nothing_in(key, value)
        for key, value in call.extra.items():
            assert raw[key] == value
        assert pickle.loads(pickle.dumps(call)) == call
        hash(call)


CALL_FIELDS = {
    name: field for name, field in fields.call_fields(None, None).items() if name != "extra"
}


def nothing_in(key: str, value: object) -> bool:
    """Tell whether a value is one of Exotel's ways to say nothing."""
    blank_word = isinstance(value, str) and value.strip().casefold() in {"", "na"}
    placeholder = isinstance(value, str) and value.startswith("1970-01-01")
    return (
        says_nothing(value)
        or (blank_word and key in {"Status", "Direction", "AnsweredBy"})
        or (placeholder and key.endswith(("Time", "Created", "Updated")))
    )


class TestDetails:
    @pytest.mark.parametrize("value", ["", None])
    def test_none(self, value):
        """Details may be missing although they were asked for."""
        assert convert.call({"Sid": "a", "Details": value}).details is None

    def test_printed(self):
        """The page's own shape is read the quick way."""
        details = _details_as_printed(PRINTED)

        assert details == convert.odd_details(PRINTED) == convert.details(PRINTED)
        assert [leg.status for leg in details.legs] == ["completed", "no-answer"]

    @pytest.mark.parametrize(
        "legs",
        [
            [
                {"Leg": {"Id": "1", "OnCallDuration": 43}},
                {"Leg": {"Id": "2", "OnCallDuration": 33}},
            ],
            [{"Leg": {"Id": 2, "OnCallDuration": 33}}, {"Leg": {"Id": 1, "OnCallDuration": 43}}],
            [{"Id": 1, "OnCallDuration": "43"}, {"Id": 2, "OnCallDuration": "33.0"}],
            [{"OnCallDuration": 43}, {"OnCallDuration": 33}],
            {"Leg": [{"Id": "1", "OnCallDuration": "43"}, {"Id": "2", "OnCallDuration": "33"}]},
        ],
    )
    def test_shapes(self, legs):
        """Ids may be texts or missing, legs in any order, wrapped or not, from JSON or XML."""
        details = convert.details({**PRINTED, "Legs": legs})

        assert details == convert.details(PRINTED)

    def test_null_status(self):
        """A second leg that was never tried has no status."""
        details = convert.details({**PRINTED, "Leg2Status": None})

        assert details.legs[1] == Leg(status=None, on_call_duration=33)

    def test_status_alone(self):
        """A leg may be known by its status only."""
        details = convert.details({"Leg2Status": "busy"})

        assert details.legs == (Leg(), Leg(status="busy"))

    def test_one_leg_in_xml(self):
        """XML with one leg gives no list."""
        details = convert.details({"Legs": {"Leg": {"Id": "1", "OnCallDuration": "4"}}})

        assert details.legs == (Leg(on_call_duration=4),)

    def test_more_legs(self):
        """Numbers that were tried again are further legs."""
        entries = [{"Leg": {"Id": n, "OnCallDuration": n}} for n in range(1, 5)]

        details = convert.details({"Legs": entries, "Leg3Status": "busy"})

        assert [leg.on_call_duration for leg in details.legs] == [1, 2, 3, 4]
        assert details.legs[2].status == "busy"

    def test_unknown(self):
        """What this release does not know is kept: of the details, and of a leg."""
        legs = [{"Leg": {"Id": 1, "OnCallDuration": 4, "Cause": "NORMAL"}}]

        details = convert.details({"Legs": legs, "New": 1})

        assert details.extra == {"New": 1}
        assert details.legs[0].extra == {"Cause": "NORMAL"}

    @pytest.mark.parametrize(
        "odd",
        [
            {"Legs": 5},
            {"Legs": ["x"]},
            {"Legs": {"Leg": [], "Beside": 1}},
            {"Legs": {"Leg": {"Id": 1}, "Beside": 1}},
            {"Legs": [{"Leg": {"Id": 1}, "Beside": 1}]},
            {"Legs": [{"Leg": ["x"]}]},
            {"Legs": [{"Id": "B", "OnCallDuration": 4}]},
            {"Legs": [{"Id": 1, "OnCallDuration": 4}, {"Id": 1, "OnCallDuration": 5}]},
            {"Legs": [{"Id": {}, "OnCallDuration": 4}]},
            {"Legs": [{"Id": 1, "Status": "busy"}], "Leg1Status": "completed"},
            {"Legs": [{"OnCallDuration": 4}] * (MOST_LEGS + 1), "Leg1Status": "busy"},
            {"Legs": 5, "Leg1Status": "busy"},
        ],
    )
    def test_odd_legs_are_kept(self, odd):
        """What does not fit into legs is kept as it came."""
        assert convert.details(odd).extra == odd

    def test_twins(self):
        """Two legs of one Id are two legs."""
        twins = [{"Id": 2, "OnCallDuration": 4}, {"Id": 2, "OnCallDuration": 5}]

        assert [leg.on_call_duration for leg in convert.details({"Legs": twins}).legs] == [4, 5]

    def test_own_status_first(self):
        """What a leg says of itself is believed before what stands beside it."""
        odd = {"Legs": [{"Id": 1, "Status": "busy"}], "Leg1Status": "completed"}

        assert convert.details(odd).legs[0].status == "busy"

    def test_ten_thousand_legs(self):
        """A flood of legs makes no legs; it is kept as it came."""
        flood = {"Legs": [{}] * 10_000, "Leg9999Status": "busy"}

        details = convert.details(flood)

        assert (details.legs, details.extra) == ((), flood)

    @examples(500)
    @given(details_trees)
    @example(PRINTED)
    @example({**PRINTED, "Legs": [{"Leg": {"Id": True, "OnCallDuration": 1}}] * 2})
    @example({**PRINTED, "Legs": [{**entry, "Beside": 1} for entry in PRINTED["Legs"]]})
    def test_quick_and_slow_agree(self, raw):
        """Where the quick way knows a shape, the slow way says the same."""
        slow = convert.odd_details(raw)
        try:
            quick = _details_as_printed(raw)
        except (AttributeError, LookupError, TypeError, ValueError):
            quick = slow

        assert quick == slow

    @examples(300)
    @given(bare_legs | st.fixed_dictionaries({"Status": statuses, "OnCallDuration": durations}))
    def test_quick_and_slow_leg_agree(self, raw):
        """A leg as callbacks have it is read quicker, not otherwise."""
        assert convert.leg(raw) == convert.odd_leg(raw)

    @examples(400)
    @given(details_trees)
    def test_nothing_is_lost(self, raw):
        """All that legs say stands in a leg, or is kept."""
        details = convert.details(raw)

        texts = repr([dict(leg.extra) for leg in details.legs]) + repr(dict(details.extra))
        for word in ("NORMAL", "Beside"):
            assert (word in repr(raw)) <= (word in texts)
        for key in ("Leg1Status", "Leg2Status", "Leg3Status"):
            leg = details.legs[int(key[3]) - 1] if len(details.legs) >= int(key[3]) else Leg()
            told = leg.status is not None or "Status" in leg.extra or key in details.extra
            assert told or says_nothing(raw.get(key))


class TestNumber:
    def test_every_field(self):
        """Every field of the page finds its place."""
        raw = json.loads(sample("number_metadata.json"))["Numbers"]

        assert convert.number(raw) == NumberMetadata(
            phone_number="0XXXXX30240",
            circle="GJ",
            circle_name="Gujarat Telecom Circle (includes Daman & Diu, Dadra & Nagar Haveli)",
            type="Mobile",
            operator="R",
            operator_name="Reliance",
            dnd="Yes",
        )

    def test_unknown(self):
        """Codes and fields newer than this release are kept."""
        number = convert.number({"Circle": "ZZ", "Operator": "JIO", "Ported": True, "DND": []})

        assert (number.circle, number.operator, number.dnd) == ("ZZ", "JIO", None)
        assert number.extra == {"Ported": True, "DND": []}

    @examples(150)
    @given(st.dictionaries(st.sampled_from(["Circle", "DND", "Type", "$extra", "x"]), anything))
    def test_anything(self, raw):
        """Whatever JSON brings makes a number of which nothing is lost."""
        number = convert.number(raw)

        assert number.extra.keys() <= raw.keys()
        assert {key for key in raw if key in ("x", "$extra")} <= number.extra.keys()
