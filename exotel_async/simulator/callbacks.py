"""Says what Exotel writes into a StatusCallback."""

from __future__ import annotations

import json
from hashlib import sha256
from urllib.parse import urlencode

import attrs

from .answers import Fields, Value, wall_clock
from .calls import Call, Callback, Event, Leg
from .checks import Pairs

JSON = "application/json"
MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"

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
    """One StatusCallback, not yet encoded."""

    url: str
    call_sid: str
    event: Event
    content_type: str  # the media type alone
    fields: Fields


@attrs.frozen(kw_only=True)
class Payload:
    """The body of a StatusCallback as it is posted, and its Content-Type header."""

    body: bytes
    content_type: str  # with its boundary, if it has one


def letter(call: Call, callback: Callback, event: Event) -> Letter | None:
    """Write the StatusCallback of an event; None if nobody asked for it."""
    if not callback.events:
        if event != "terminal":
            return None
        fields = _short(call)
    elif event in callback.events:
        fields = _long(call, event)
    else:
        return None
    return Letter(
        url=callback.url,
        call_sid=call.sid,
        event=event,
        content_type=callback.content_type,
        fields=fields,
    )


def encode(fields: Fields, content_type: str) -> Payload:
    """Encode a StatusCallback's fields: as JSON, multipart or urlencoded."""
    if content_type == JSON:
        return Payload(body=json.dumps(_in_order(fields, as_json=True)).encode(), content_type=JSON)
    pairs = flattened(_in_order(fields, as_json=False))
    if content_type == URLENCODED:
        return Payload(body=urlencode(pairs).encode(), content_type=URLENCODED)
    boundary, body = multipart(pairs)
    return Payload(body=body, content_type=f"{MULTIPART}; boundary={boundary}")


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


def _in_order(fields: Fields, *, as_json: bool) -> Fields:
    """Put fields into the order of the page's samples; what is not on the page comes last."""
    if "EventType" not in fields:
        return fields
    order = _JSON_ORDER if as_json else _FORM_ORDER
    ordered = {name: fields[name] for name in order if name in fields}
    legs = ordered.get("Legs")
    if isinstance(legs, list) and not as_json:
        ordered["Legs"] = [_leg_as_form(leg) for leg in legs]
    return ordered | {name: fields[name] for name in fields if name not in ordered}


def _leg_as_form(leg: Value) -> Value:
    if not isinstance(leg, dict) or "Status" not in leg:
        return leg
    return {"Status": leg["Status"]} | leg


def _short(call: Call) -> Fields:
    fields: Fields = {"CallSid": call.sid, "Status": call.status}
    if call.recording_url:  # the page: "link to the call recording (if it exists)"
        fields["RecordingUrl"] = call.recording_url
    fields["DateUpdated"] = wall_clock(call.date_updated)
    return fields


def _long(call: Call, event: Event) -> Fields:
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
        "Legs": [_leg(leg) for leg in call.legs],
    }
    custom = call.order.custom_field if call.order else None
    if custom is not None and event == "terminal":  # the page: "only via 'terminal'"
        fields["CustomField"] = custom
    return fields


def _leg(leg: Leg) -> Fields:
    return {"OnCallDuration": leg.on_call_duration, "Status": leg.status}


def _spread(name: str, value: Value) -> Pairs:
    if isinstance(value, dict):
        return tuple(pair for key in value for pair in _spread(f"{name}[{key}]", value[key]))
    if isinstance(value, list):
        return _spread(name, {str(index): item for index, item in enumerate(value)})
    return ((name, "" if value is None else str(value)),)
