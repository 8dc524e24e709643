"""What a careful user would write by hand: one record decoded by one function, field by field.

It does all conversions that a record needs, and none of what else ours does: no keeping of what it
does not know, no second reading where a field is odd.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

from exotel_async.models.calls import Call, CallDetails, Leg

_NOTHING = frozenset({"", "null", "NULL", "Null", "N/A", "n/a"})


def _text(value: Any) -> str | None:
    return None if value is None or value in _NOTHING else value


def _seconds(value: Any) -> int | None:
    return None if value is None or value in _NOTHING else int(float(value))


def _price(value: Any) -> Decimal | None:
    return None if value is None or value in _NOTHING else Decimal(value)


def _time(value: Any, zone: tzinfo) -> datetime | None:
    if value is None or value in _NOTHING or value.startswith("0000"):
        return None
    stamp = datetime.fromisoformat(value)
    return datetime.combine(stamp.date(), stamp.time(), stamp.tzinfo or zone)


def _leg(entry: dict[str, Any], status: Any) -> Leg:
    return Leg(status=_text(status), on_call_duration=_seconds(entry["Leg"]["OnCallDuration"]))


def _details(raw: dict[str, Any] | None) -> CallDetails | None:
    if not raw:
        return None
    statuses = (raw["Leg1Status"], raw["Leg2Status"])
    return CallDetails(
        conversation_duration=_seconds(raw["ConversationDuration"]),
        legs=tuple(_leg(leg, status) for leg, status in zip(raw["Legs"], statuses, strict=False)),
    )


def call_of(raw: dict[str, Any], zone: tzinfo) -> Call:
    """Decode a record of a call, details included."""
    get = raw.get
    return Call(
        sid=raw["Sid"],
        parent_call_sid=_text(get("ParentCallSid")),
        date_created=_time(get("DateCreated"), zone),
        date_updated=_time(get("DateUpdated"), zone),
        account_sid=_text(get("AccountSid")),
        to=_text(get("To")),
        from_=_text(get("From")),
        phone_number=_text(get("PhoneNumber")),
        phone_number_sid=_text(get("PhoneNumberSid")),
        status=_text(get("Status")),
        start_time=_time(get("StartTime"), zone),
        end_time=_time(get("EndTime"), zone),
        duration=_seconds(get("Duration")),
        price=_price(get("Price")),
        direction=_text(get("Direction")),
        answered_by=_text(get("AnsweredBy")),
        forwarded_from=_text(get("ForwardedFrom")),
        caller_name=_text(get("CallerName")),
        uri=_text(get("Uri")),
        custom_field=_text(get("CustomField")),
        recording_url=_text(get("RecordingUrl")),
        pre_signed_recording_url=_text(get("PreSignedRecordingUrl")),
        details=_details(get("Details")),
    )
