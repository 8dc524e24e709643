"""Says what Exotel writes into a StatusCallback."""

from __future__ import annotations

import json
from hashlib import sha256

import attrs

from .answers import Fields, Value, wall_clock
from .calls import Call, Callback, Event, Leg
from .checks import Pairs

# The page's JSON sample is in this order, its form sample in another.
_JSON_ORDER = (
    *("CallSid", "EventType", "DateCreated", "DateUpdated", "Status", "To", "From"),
    *("PhoneNumberSid", "StartTime", "EndTime", "Direction", "RecordingUrl"),
    *("ConversationDuration", "CustomField", "Legs"),
)
_FORM_ORDER = (
    *("CallSid", "EventType", "From", "To", "PhoneNumberSid", "Status", "Direction"),
    *("DateCreated", "DateUpdated", "StartTime", "EndTime", "RecordingUrl"),
    *("ConversationDuration", "CustomField", "Legs"),
)


@attrs.frozen(kw_only=True)
class Letter:
    """One StatusCallback, ready to be posted."""

    url: str
    content_type: str  # the media type alone
    header: str  # the Content-Type header, with its boundary
    fields: Pairs
    body: bytes


def letter(call: Call, callback: Callback, event: Event) -> Letter | None:
    """Write the StatusCallback of an event; None if nobody asked for it."""
    if not callback.events:
        return _sealed(callback, _short(call)) if event == "terminal" else None
    if event not in callback.events:
        return None
    as_json = callback.content_type == "application/json"
    return _sealed(callback, _long(call, event, as_json=as_json))


def flattened(fields: Fields) -> Pairs:
    """Write fields as a form does: nested names in brackets, null as nothing.

    >>> flattened({"Legs": [{"Status": None, "OnCallDuration": 0}]})
    (('Legs[0][Status]', ''), ('Legs[0][OnCallDuration]', '0'))
    """
    return tuple(pair for name, value in fields.items() for pair in _spread(name, value))


def multipart(pairs: Pairs) -> tuple[str, bytes]:
    """Write pairs as multipart/form-data; give the boundary and the body."""
    boundary = "------------------------" + sha256(repr(pairs).encode()).hexdigest()[:16]
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    ]
    return boundary, f"{''.join(parts)}--{boundary}--\r\n".encode()


def _sealed(callback: Callback, fields: Fields) -> Letter:
    pairs = flattened(fields)
    if callback.content_type == "application/json":
        header, body = callback.content_type, json.dumps(fields).encode()
    else:
        boundary, body = multipart(pairs)
        header = f"{callback.content_type}; boundary={boundary}"
    return Letter(
        url=callback.url,
        content_type=callback.content_type,
        header=header,
        fields=pairs,
        body=body,
    )


def _short(call: Call) -> Fields:
    fields: Fields = {"CallSid": call.sid, "Status": call.status}
    if call.recording_url:  # the page: "link to the call recording (if it exists)"
        fields["RecordingUrl"] = call.recording_url
    fields["DateUpdated"] = wall_clock(call.date_updated)
    return fields


def _long(call: Call, event: Event, *, as_json: bool) -> Fields:
    legs: list[Value] = [_leg(leg, as_json=as_json) for leg in call.legs]
    fields: Fields = {
        "CallSid": call.sid,
        "EventType": event,
        "DateCreated": wall_clock(call.date_created),
        "DateUpdated": wall_clock(call.date_updated),
        "Status": call.status,
        "To": call.to,
        "From": call.from_,
        "PhoneNumberSid": call.phone_number,
        "StartTime": wall_clock(call.start_time),
        "EndTime": wall_clock(call.end_time),
        "Direction": call.direction,
        "RecordingUrl": call.recording_url,
        "ConversationDuration": call.conversation_duration,
        "Legs": legs,
    }
    custom = call.order.custom_field if call.order else None
    if custom is not None and event == "terminal":  # the page: "only via 'terminal'"
        fields["CustomField"] = custom
    order = _JSON_ORDER if as_json else _FORM_ORDER
    return {name: fields[name] for name in order if name in fields}


def _leg(leg: Leg, *, as_json: bool) -> Fields:
    status: Fields = {"Status": leg.status}
    duration: Fields = {"OnCallDuration": leg.on_call_duration}
    return duration | status if as_json else status | duration


def _spread(name: str, value: Value) -> Pairs:
    if isinstance(value, dict):
        return tuple(pair for key in value for pair in _spread(f"{name}[{key}]", value[key]))
    if isinstance(value, list):
        return _spread(name, {str(index): item for index, item in enumerate(value)})
    return ((name, "" if value is None else str(value)),)
