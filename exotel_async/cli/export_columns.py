"""What does a file of call records hold: columns with names, kinds, and a cell for each call."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Literal

import attrs

from exotel_async.errors import mask_numbers
from exotel_async.models.calls import Call, Leg

Kind = Literal["text", "whole", "decimal", "time"]
Value = str | int | Decimal | datetime | None
Cell = str | int | None

_FORMULA = re.compile(r"[=+\-@\t\r]")  # with which a spreadsheet begins to reckon
_LINE_END = re.compile("[\x85\u2028\u2029]")  # beside those that JSON escapes anyway
_NUMBER = re.compile(r"[+-]?[0-9][0-9 .]*", re.ASCII)


@attrs.frozen
class Column:
    """One column: what it is called, what it holds, and where that stands in a call."""

    name: str
    kind: Kind
    read: Callable[[Call], Value]


def _field(name: str, kind: Kind = "text") -> Column:
    attribute = "from_" if name == "from" else name
    return Column(name, kind, lambda call: getattr(call, attribute))


def _talk(call: Call) -> int | None:
    return None if call.details is None else call.details.conversation_duration


def _leg(call: Call, index: int) -> Leg:
    legs = () if call.details is None else call.details.legs
    return legs[index] if index < len(legs) else Leg()


_CALL = (
    _field("sid"),
    _field("date_created", "time"),
    _field("from"),
    _field("to"),
    _field("phone_number"),
    _field("direction"),
    _field("status"),
    _field("start_time", "time"),
    _field("end_time", "time"),
    _field("duration", "whole"),
    _field("price", "decimal"),
    _field("answered_by"),
    _field("date_updated", "time"),
    _field("recording_url"),
    _field("custom_field"),
    _field("parent_call_sid"),
    _field("account_sid"),
    _field("phone_number_sid"),
    _field("forwarded_from"),
    _field("caller_name"),
    _field("uri"),
)
_DETAILS = (
    Column("conversation_duration", "whole", _talk),
    Column("from_leg_status", "text", lambda call: _leg(call, 0).status),
    Column("from_leg_on_call_duration", "whole", lambda call: _leg(call, 0).on_call_duration),
    Column("to_leg_status", "text", lambda call: _leg(call, 1).status),
    Column("to_leg_on_call_duration", "whole", lambda call: _leg(call, 1).on_call_duration),
)
ALL: Mapping[str, Column] = {column.name: column for column in (*_CALL, *_DETAILS)}


def choose(names: str | None, *, details: bool) -> tuple[Column, ...]:
    """Find columns by their names; ValueError lists what there is.

    >>> [column.name for column in choose("sid, price", details=False)]
    ['sid', 'price']
    """
    if names is None:
        return (*_CALL, *_DETAILS) if details else _CALL
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in ALL]
    if unknown or len(set(wanted)) < len(wanted):
        odd = unknown[0] if unknown else "a column twice"
        raise ValueError(f"{odd!r} is none of them; there are {', '.join(ALL)}")
    if not details and any(ALL[name] in _DETAILS for name in wanted):
        raise ValueError("durations of legs and talk need --details")
    return tuple(ALL[name] for name in wanted)


@attrs.frozen(kw_only=True)
class Spelling:
    """How values are written."""

    zone: tzinfo
    masks: bool = False  # phone numbers
    defuses: bool = True  # CSV cells that a spreadsheet would run as a formula

    def cell(self, value: Value) -> Cell:
        """Write a value as text or a whole number: times as ISO 8601, amounts as they came."""
        if value is None or isinstance(value, int):
            return value
        if isinstance(value, datetime):
            return value.astimezone(self.zone).isoformat()
        if isinstance(value, Decimal):
            return f"{value:f}"
        return mask_numbers(value) if self.masks else value

    def csv(self, cells: Sequence[Cell]) -> list[str]:
        """Write a row for CSV; None is empty."""
        return ["" if cell is None else self._safe(str(cell)) for cell in cells]

    def _safe(self, text: str) -> str:
        harmless = not self.defuses or not _FORMULA.match(text) or _NUMBER.fullmatch(text)
        return text if harmless else f"'{text}"


def json_line(columns: Sequence[Column], cells: Sequence[Cell]) -> str:
    """Write a row as one line of JSON.

    >>> json_line(choose("sid,price", details=False), ["a", "0.40"]).rstrip()
    '{"sid": "a", "price": "0.40"}'
    """
    names = (column.name for column in columns)
    text = json.dumps(dict(zip(names, cells, strict=True)), ensure_ascii=False)
    return _LINE_END.sub(_escaped, text) + "\n"


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
