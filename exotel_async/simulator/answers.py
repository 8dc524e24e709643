"""Says what Exotel writes into the body of an answer.

Orders of keys, and null against "", are those of the page's sample for each request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias
from xml.sax.saxutils import escape

from .bulk import Page, Query
from .calls import Call, Leg
from .clock import IST
from .numbers import CIRCLES, OPERATORS, Metadata, e164

Value: TypeAlias = "str | int | list[Value] | dict[str, Value] | None"
Fields: TypeAlias = dict[str, Value]
Sign: TypeAlias = Callable[[str], str]  # makes a recording's URL one that anybody may fetch


def wall_clock(at: datetime | None) -> str | None:
    """Write a time as Exotel does: Indian wall clock, no zone."""
    return None if at is None else at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def connect(call: Call, *, as_json: bool) -> str:
    """Answer a connect."""
    folder = "Calls.json" if as_json else "Calls"
    # In the page's samples it is this before anything rings.
    fields = _record(call) | {"Status": "in-progress"}
    fields["Uri"] = f"/v1/Accounts/{call.account_sid}/{folder}/{call.sid}"
    return _body({"Call": fields}, as_json=as_json)


def details(call: Call, *, with_legs: bool, sign: Sign | None, as_json: bool) -> str:
    """Answer a request for one call."""
    fields = _blank(_record(call))
    _add_presigned(fields, sign)
    if with_legs:
        legs = _legs(call, first=1 if not as_json else "1")
        fields["Details"] = {
            "ConversationDuration": call.conversation_duration,
            **_leg_statuses(call),
            "Legs": legs,
        }
    return _body({"Call": fields}, as_json=as_json)


def bulk(page: Page, query: Query, *, account_sid: str, sign: Sign | None, as_json: bool) -> str:
    """Answer a bulk request."""
    records: list[Value] = [
        _bulk_record(call, query, sign=sign, as_json=as_json) for call in page.calls
    ]
    metadata = _metadata(page, query, account_sid=account_sid, as_json=as_json)
    if as_json:
        return json.dumps({"Metadata": metadata, "Calls": records})
    # The page's XML has no element around its calls.
    calls: list[Value] = [{"Call": record} for record in records]
    return _xml([{"Metadata": metadata}, *calls])


def number(found: Metadata, *, as_json: bool) -> str:
    """Answer a request for a number's metadata."""
    fields: Fields = {
        "PhoneNumber": found.phone_number,
        "Circle": found.circle,
        "CircleName": CIRCLES.get(found.circle, ""),
        "Type": found.kind,
        "Operator": found.operator,
        "OperatorName": OPERATORS.get(found.operator, ""),
        "DND": found.dnd,
    }
    return _body({"Numbers": fields}, as_json=as_json)


def refusal(status: int, message: str, *, as_json: bool) -> str:
    """Answer what can't be done."""
    return _body({"RestException": {"Status": status, "Message": message}}, as_json=as_json)


def _record(call: Call) -> Fields:
    settled = call.settled
    return {
        "Sid": call.sid,
        "ParentCallSid": None,
        "DateCreated": wall_clock(call.date_created),
        "DateUpdated": wall_clock(call.date_updated),
        "AccountSid": call.account_sid,
        "To": call.to,
        "From": call.from_,
        "PhoneNumberSid": call.phone_number,
        "Status": call.status,
        "StartTime": wall_clock(call.start_time),
        "EndTime": wall_clock(call.end_time) if settled else None,
        "Duration": str(call.duration) if settled and call.duration is not None else None,
        "Price": f"{call.price:.3f}" if settled and call.price is not None else None,
        "Direction": call.direction,
        "AnsweredBy": call.answered_by,
        "ForwardedFrom": None,
        "CallerName": None,
        "Uri": f"/v1/Accounts/{call.account_sid}/Calls/{call.sid}",
        "RecordingUrl": call.recording_url if settled else None,
    }


def _blank(fields: Fields) -> Fields:
    return {name: "" if value is None else value for name, value in fields.items()}


def _bulk_record(call: Call, query: Query, *, sign: Sign | None, as_json: bool) -> Fields:
    fields: Fields = {}
    for name, value in _blank(_record(call)).items():
        if name == "PhoneNumberSid":  # the table has PhoneNumber, the samples lack it
            fields["PhoneNumber"] = e164(call.phone_number)
        fields[name] = value
    fields["To"], fields["From"] = e164(call.to), e164(call.from_)
    _add_presigned(fields, sign)
    if query.details:
        fields["Details"] = _bulk_details(call, as_json=as_json)
    return fields


def _bulk_details(call: Call, *, as_json: bool) -> Fields:
    talk: Fields = {"ConversationDuration": call.conversation_duration}
    legs: Fields = {"Legs": _legs(call, first=1)}
    if as_json:
        return talk | legs | _leg_statuses(call)
    return talk | _leg_statuses(call) | legs


def _legs(call: Call, *, first: int | str) -> list[Value]:
    """Write the legs; their Id is text where `first` is (the page has both)."""
    return [_leg(leg, type(first)(n)) for n, leg in enumerate(call.legs, start=int(first))]


def _leg(leg: Leg, number_of_leg: int | str) -> Fields:
    return {"Leg": {"Id": number_of_leg, "OnCallDuration": leg.on_call_duration}}


def _leg_statuses(call: Call) -> Fields:
    first, second = (*call.legs, None, None)[:2]
    return {
        "Leg1Status": first.status if first else None,
        "Leg2Status": second.status if second else None,
    }


def _add_presigned(fields: Fields, sign: Sign | None) -> None:
    if sign is not None:
        url = fields["RecordingUrl"]
        fields["PreSignedRecordingUrl"] = sign(url) if isinstance(url, str) and url else ""


def _metadata(page: Page, query: Query, *, account_sid: str, as_json: bool) -> Fields:
    first = f"/v1/Accounts/{account_sid}/Calls{'.json' if as_json else ''}?{query.echo}"
    return {
        "Total": page.total,
        "PageSize": len(page.calls),
        "FirstPageUri": first,
        "PrevPageUri": f"{first}&Before={page.before}" if page.before else None,
        "NextPageUri": f"{first}&After={page.after}" if page.after else None,
    }


def _body(content: Fields, *, as_json: bool) -> str:
    return json.dumps(content) if as_json else _xml(content)


def _xml(content: Value) -> str:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + _element("TwilioResponse", content)


def _element(tag: str, value: Value) -> str:
    return f"<{tag}/>" if value is None else f"<{tag}>{_inside(value)}</{tag}>"


def _inside(value: Value) -> str:
    if isinstance(value, dict):
        return "".join(_element(tag, inner) for tag, inner in value.items())
    if isinstance(value, list):
        return "".join(_inside(item) for item in value)
    return escape(str(value))
