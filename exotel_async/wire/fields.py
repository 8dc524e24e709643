"""Which record has which fields, and how is each read.

Tables of our name: (Exotel's name, reader). A name that begins with a $ is no name of Exotel's:
what stands under it was prepared by us and is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from exotel_async.models.extra import Extra
from exotel_async.models.vocabulary import (
    AnsweredBy,
    CallStatus,
    Circle,
    Direction,
    Dnd,
    LegStatus,
    Operator,
)

from .values import (
    NO_VALUE,
    Reader,
    fold,
    read_custom_field,
    read_price,
    read_seconds,
    read_text,
    word_reader,
)

Fields = Mapping[str, tuple[str, Reader]]

EXTRA, LEGS, REF, PAIRS = "$extra", "$legs", "$ref", "$pairs"


class MissingSidError(ValueError):
    """A call without a Sid is no call."""

    def __init__(self) -> None:
        super().__init__("there is no Sid")


def read_sid(value: object, _: object = None) -> str:
    """Read what identifies a call; nothing else about it may be relied on."""
    if type(value) is str and value not in NO_VALUE:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise MissingSidError


_EVENT_TYPES = ("answered", "terminal")


def read_event_type(value: object, _: object = None) -> str | None:
    """Read an EventType: the two that Exotel documents in any case, others as they came."""
    if value in _EVENT_TYPES:
        return str(value)
    text = read_text(value)
    folded = None if text is None else fold(text)
    return folded if folded in _EVENT_TYPES else text


def as_it_is(value: object, _: object = None) -> object:
    """Take what was prepared."""
    return value


def prepared(kind: type) -> Reader:
    """Make a reader of what was prepared, for where Exotel could send a twin of its name."""

    def read_prepared(value: object, _: object = None) -> object:
        if type(value) is not kind:
            raise ValueError("not prepared by us")
        return value

    return read_prepared


read_call_status: Callable[[object, object], str | None] = word_reader(CallStatus)
read_direction: Callable[[object, object], str | None] = word_reader(Direction)

read_leg_status: Callable[[object, object], str | None] = word_reader(LegStatus)

read_extra: Reader = prepared(Extra)
read_legs: Reader = prepared(tuple)

LEG: Fields = {
    "status": ("Status", read_leg_status),
    "on_call_duration": ("OnCallDuration", read_seconds),
    "extra": (EXTRA, read_extra),
}

DETAILS: Fields = {
    "conversation_duration": ("ConversationDuration", read_seconds),
    "legs": (LEGS, read_legs),
    "extra": (EXTRA, read_extra),
}

NUMBER: Fields = {
    "phone_number": ("PhoneNumber", read_text),
    "circle": ("Circle", word_reader(Circle)),
    "circle_name": ("CircleName", read_text),
    "type": ("Type", read_text),
    "operator": ("Operator", word_reader(Operator)),
    "operator_name": ("OperatorName", read_text),
    "dnd": ("DND", word_reader(Dnd)),
    "extra": (EXTRA, read_extra),
}


LEG_KEYS = ("Status", "OnCallDuration")
CALLBACK_KEYS = (
    "CallSid",
    "EventType",
    "Status",
    "DateCreated",
    "DateUpdated",
    "StartTime",
    "EndTime",
    "From",
    "To",
    "PhoneNumberSid",
    "Direction",
    "RecordingUrl",
    "ConversationDuration",
    "CustomField",
)


# What each record has that Exotel's page prints, in whatever answer.
PRINTED_CALL_KEYS = frozenset({
    "Sid", "ParentCallSid", "DateCreated", "DateUpdated", "AccountSid", "To", "From",
    "PhoneNumberSid", "Status", "StartTime", "EndTime", "Duration", "Price", "Direction",
    "AnsweredBy", "ForwardedFrom", "CallerName", "Uri", "RecordingUrl",
})  # fmt: skip


def call_fields(read_time: Reader, read_details: Reader) -> Fields:
    """List the fields of a call's record."""
    return {
        "sid": ("Sid", read_sid),
        "parent_call_sid": ("ParentCallSid", read_text),
        "date_created": ("DateCreated", read_time),
        "date_updated": ("DateUpdated", read_time),
        "account_sid": ("AccountSid", read_text),
        "to": ("To", read_text),
        "from_": ("From", read_text),
        "phone_number": ("PhoneNumber", read_text),
        "phone_number_sid": ("PhoneNumberSid", read_text),
        "status": ("Status", read_call_status),
        "start_time": ("StartTime", read_time),
        "end_time": ("EndTime", read_time),
        "duration": ("Duration", read_seconds),
        "price": ("Price", read_price),
        "direction": ("Direction", read_direction),
        "answered_by": ("AnsweredBy", word_reader(AnsweredBy)),
        "forwarded_from": ("ForwardedFrom", read_text),
        "caller_name": ("CallerName", read_text),
        "uri": ("Uri", read_text),
        "custom_field": ("CustomField", read_custom_field),
        "recording_url": ("RecordingUrl", read_text),
        "pre_signed_recording_url": ("PreSignedRecordingUrl", read_text),
        "details": ("Details", read_details),
        "extra": (EXTRA, read_extra),
    }


def callback_fields(read_time: Reader) -> Fields:
    """List the fields of a StatusCallback."""
    return {
        "call_sid": ("CallSid", read_sid),
        "event_type": ("EventType", read_event_type),
        "status": ("Status", read_call_status),
        "date_created": ("DateCreated", read_time),
        "date_updated": ("DateUpdated", read_time),
        "start_time": ("StartTime", read_time),
        "end_time": ("EndTime", read_time),
        "from_": ("From", read_text),
        "to": ("To", read_text),
        "phone_number_sid": ("PhoneNumberSid", read_text),
        "direction": ("Direction", read_direction),
        "recording_url": ("RecordingUrl", read_text),
        "conversation_duration": ("ConversationDuration", read_seconds),
        "custom_field": ("CustomField", read_custom_field),
        "legs": (LEGS, read_legs),
        "ref": (REF, as_it_is),
        "pairs": (PAIRS, as_it_is),
        "extra": (EXTRA, read_extra),
    }
