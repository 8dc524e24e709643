"""A page of bulk records with details: what does it cost to decode, and to keep.

Beside ours stand a constructor written by hand, msgspec and pydantic, which all do the same
conversions. Each is asked first to read odd pages, and must find the same in them.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import attrs
import msgspec
import orjson
import pydantic
from handwritten import (
    ANSWERED_BY,
    CALL_STATUS,
    DIRECTION,
    LEG_STATUS,
    NOTHING,
    call_of,
    moment,
    odd_word,
    seconds,
)
from measuring import Line, compared, cpu_of
from pydantic.alias_generators import to_pascal
from samples import sample

from exotel_async import IST, Call
from exotel_async.wire.answer import Answer, JsonLoads, load_exactly, read_answer
from exotel_async.wire.bulk import read_page
from exotel_async.wire.converter import converter_for
from exotel_async.wire.request import Request

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ASKED = Request(method="GET", path=("Calls",), decode=read_page)
ROUNDS = 60
KEPT = 20_000  # records


# Pages.


def page(records: Sequence[object]) -> bytes:
    return json.dumps({"Metadata": {"Total": len(records)}, "Calls": records}).encode()


def usual_page() -> bytes:
    """Make a page of a hundred different records of the usual kind."""
    (record,) = [c for c in json.loads(sample("bulk_details.json"))["Calls"] if c["Details"]][:1]
    return page(
        [
            record
            | {
                "Sid": f"{n:032x}",
                "To": f"0{9_000_000_000 + n}",
                "DateCreated": f"2026-10-01 10:{n // 60:02}:{n % 60:02}",
                "Price": f"{n / 4:.6f}",
                "Duration": str(n),
            }
            for n in range(100)
        ]
    )


def odd_page() -> bytes:
    """Make a page of what Exotel was seen to send besides."""
    (record,) = [c for c in json.loads(sample("bulk_details.json"))["Calls"] if c["Details"]][:1]
    odd: list[dict[str, object]] = [
        dict.fromkeys(("To", "From", "Price", "Duration", "EndTime", "Status", "Details"), nothing)
        for nothing in (None, "")
    ]
    odd += [dict.fromkeys(("Direction", "Price", "Duration", "StartTime"), "N/A")]
    odd += [{"Status": word} for word in ("No_Answer", "cancelled", "Completed", "brand-new")]
    odd += [{"Duration": 17, "Price": "1.500"}, {"EndTime": "0000-00-00 00:00:00"}]
    odd += [{"EndTime": "1970-01-01 05:30:00"}, {"EndTime": "2026-10-01 10:00:00+05:30"}]
    return page([record | changes for changes in odd])


# Ours, and by hand.


def ours(body: bytes, json_loads: JsonLoads = load_exactly) -> Sequence[Any]:
    answer = Answer(status=200, body=body)
    return read_answer(
        ASKED, answer, converter=converter_for(IST), now=NOW, json_loads=json_loads
    ).calls


def with_orjson(body: bytes) -> Sequence[Any]:
    return ours(body, orjson.loads)


def by_hand(body: bytes) -> Sequence[Any]:
    return [call_of(raw, IST) for raw in json.loads(body)["Calls"]]


def as_dicts(body: bytes) -> Sequence[Any]:
    calls: list[Any] = json.loads(body)["Calls"]
    return calls


# msgspec: what a field means is a type of its own, which dec_hook reads.


class Meaning(type):
    """A type for the decoder alone: what comes out is a value, or None."""

    def __instancecheck__(cls, _: object) -> bool:
        return True


class Text(metaclass=Meaning):
    pass


class Own(metaclass=Meaning):
    pass


class Moment(metaclass=Meaning):
    pass


class Seconds(metaclass=Meaning):
    pass


class Price(metaclass=Meaning):
    pass


class StatusWord(metaclass=Meaning):
    pass


class DirectionWord(metaclass=Meaning):
    pass


class AnsweredByWord(metaclass=Meaning):
    pass


class LegWord(metaclass=Meaning):
    pass


class Details(metaclass=Meaning):
    pass


def _text(value: Any) -> str | None:
    return None if value in NOTHING else value


def _own(value: Any) -> str | None:
    return value or None


def _moment(value: Any) -> datetime | None:
    return moment(value, IST)


def _price(value: Any) -> Decimal | None:
    return None if value in NOTHING else Decimal(value)


def _word(known: Any, value: Any) -> str | None:
    return known[value] if value in known else odd_word(value, known)


class LegStruct(msgspec.Struct, frozen=True, kw_only=True):
    status: str | None = None
    on_call_duration: int | None = None


class DetailsStruct(msgspec.Struct, frozen=True, kw_only=True):
    conversation_duration: int | None = None
    legs: tuple[LegStruct, ...] = ()


def _leg(entry: Any, status: Any) -> LegStruct:
    return LegStruct(
        status=_word(LEG_STATUS, status),
        on_call_duration=seconds(entry["Leg"]["OnCallDuration"]),
    )


def _details(raw: Any) -> DetailsStruct | None:
    if not raw:
        return None
    first, second = raw["Legs"]
    return DetailsStruct(
        conversation_duration=seconds(raw["ConversationDuration"]),
        legs=(_leg(first, raw["Leg1Status"]), _leg(second, raw["Leg2Status"])),
    )


READERS: dict[object, Callable[[Any], object]] = {
    Text: _text,
    Own: _own,
    Moment: _moment,
    Seconds: seconds,
    Price: _price,
    StatusWord: partial(_word, CALL_STATUS),
    DirectionWord: partial(_word, DIRECTION),
    AnsweredByWord: partial(_word, ANSWERED_BY),
    Details: _details,
}


class CallStruct(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    sid: str
    parent_call_sid: Text | None = None
    date_created: Moment | None = None
    date_updated: Moment | None = None
    account_sid: Text | None = None
    to: Text | None = None
    from_: Text | None = msgspec.field(default=None, name="From")
    phone_number: Text | None = None
    phone_number_sid: Text | None = None
    status: StatusWord | None = None
    start_time: Moment | None = None
    end_time: Moment | None = None
    duration: Seconds | None = None
    price: Price | None = None
    direction: DirectionWord | None = None
    answered_by: AnsweredByWord | None = None
    forwarded_from: Text | None = None
    caller_name: Text | None = None
    uri: Text | None = None
    custom_field: Own | None = None
    recording_url: Text | None = None
    pre_signed_recording_url: Text | None = None
    details: Details | None = None


class PageStruct(msgspec.Struct, rename="pascal"):
    calls: list[CallStruct]


_decoder = msgspec.json.Decoder(PageStruct, dec_hook=lambda kind, value: READERS[kind](value))


def with_msgspec(body: bytes) -> Sequence[Any]:
    return _decoder.decode(body).calls


# pydantic.

_Str = Annotated[str | None, pydantic.BeforeValidator(_text)]
_When = Annotated[datetime | None, pydantic.PlainValidator(_moment)]
_Secs = Annotated[int | None, pydantic.PlainValidator(seconds)]


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)


class LegModel(_Model):
    status: str | None
    on_call_duration: int | None


class DetailsModel(_Model):
    conversation_duration: int | None
    legs: tuple[LegModel, ...]


def _details_model(raw: Any) -> DetailsModel | None:
    struct = _details(raw)
    if struct is None:
        return None
    legs = [
        LegModel.model_construct(status=leg.status, on_call_duration=leg.on_call_duration)
        for leg in struct.legs
    ]
    return DetailsModel.model_construct(
        conversation_duration=struct.conversation_duration, legs=tuple(legs)
    )


class CallModel(_Model):
    model_config = pydantic.ConfigDict(frozen=True, alias_generator=to_pascal)

    sid: str
    parent_call_sid: _Str = None
    date_created: _When = None
    date_updated: _When = None
    account_sid: _Str = None
    to: _Str = None
    from_: _Str = pydantic.Field(default=None, alias="From")
    phone_number: _Str = None
    phone_number_sid: _Str = None
    status: Annotated[str | None, pydantic.BeforeValidator(READERS[StatusWord])] = None
    start_time: _When = None
    end_time: _When = None
    duration: _Secs = None
    price: Annotated[Decimal | None, pydantic.PlainValidator(_price)] = None
    direction: Annotated[str | None, pydantic.BeforeValidator(READERS[DirectionWord])] = None
    answered_by: Annotated[str | None, pydantic.BeforeValidator(READERS[AnsweredByWord])] = None
    forwarded_from: _Str = None
    caller_name: _Str = None
    uri: _Str = None
    custom_field: Annotated[str | None, pydantic.BeforeValidator(_own)] = None
    recording_url: _Str = None
    pre_signed_recording_url: _Str = None
    details: Annotated[DetailsModel | None, pydantic.PlainValidator(_details_model)] = None


class PageModel(pydantic.BaseModel):
    calls: list[CallModel] = pydantic.Field(alias="Calls")


def with_pydantic(body: bytes) -> Sequence[Any]:
    return PageModel.model_validate_json(body).calls


# The measurement.

READ: dict[str, Callable[[bytes], Sequence[Any]]] = {
    "ours": ours,
    "with orjson": with_orjson,
    "by hand": by_hand,
    "msgspec": with_msgspec,
    "pydantic": with_pydantic,
}


def values(record: Any, like: type[attrs.AttrsInstance] = Call) -> dict[str, object]:
    """Take a record apart, whatever it is made of."""
    found = {
        field.name: getattr(record, field.name)
        for field in attrs.fields(like)
        if field.name not in ("extra", "details")
    }
    told = record.details
    legs = [(leg.status, leg.on_call_duration) for leg in told.legs] if told else None
    return {**found, "legs": legs, "talked": told.conversation_duration if told else None}


def check() -> None:
    """See that all read the same from the same."""
    for body in (usual_page(), odd_page()):
        expected = [values(call) for call in ours(body)]
        for name, read in READ.items():
            found = [values(record) for record in read(body)]
            for one, other in zip(found, expected, strict=True):
                if one != other:
                    raise AssertionError(f"{name} reads {one}, ours {other}")


def memory(read: Callable[[bytes], Sequence[Any]]) -> float:
    """Tell how many bytes a record takes that is kept."""
    bodies = usual_page()
    read(bodies)
    gc.collect()
    tracemalloc.start()
    kept = [list(read(bodies)) for _ in range(KEPT // 100)]
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / (len(kept) * 100)


def measure() -> Iterable[Line]:
    """Measure; give the lines of the table."""
    check()
    body = usual_page()
    pieces = {name: partial(read, body) for name, read in READ.items()}
    costs = cpu_of(pieces, rounds=ROUNDS, repeat=3)
    quicker = costs.pop("with orjson")
    yield from compared(
        "decode a bulk record with details", "us", costs, scale=1e4,
        bounds={"by hand": ("at most", 1.15), "pydantic": ("at most", 1.0)},
    )  # fmt: skip
    yield from compared(
        "the same with json_loads=orjson.loads", "us",
        {"ours": quicker, "msgspec": costs["msgspec"]}, scale=1e4,
        bounds={"msgspec": ("at most", 1.8)},
    )  # fmt: skip
    kept = {name: [memory(read)] for name, read in (READ | {"dict": as_dicts}).items()}
    del kept["by hand"], kept["with orjson"]  # the same objects
    yield from compared(
        "memory of a bulk record", "B", kept,
        bounds={"msgspec": ("at most", 1.1), "pydantic": ("at most", 0.25)},
    )  # fmt: skip
