"""How does a value of ours look to a human: as one line, as a row of cells, as a list of fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo

import attrs

from exotel_async.models.calls import Call, Leg
from exotel_async.models.events import CallTerminated, StatusCallback
from exotel_async.models.numbers import NumberMetadata
from exotel_async.models.vocabulary import FINAL_STATUSES, CallStatus

from .plain import Hide, number_text, plain

CALL_COLUMNS = ("created", "sid", "from", "to", "direction", "status", "duration", "price")
DETAIL_COLUMNS = ("talk", "legs")
NUMBER_COLUMNS = ("number", "type", "circle", "operator", "dnd")

_SIDES = ("From", "To")
_STYLES = {
    "completed": "green",
    "in-progress": "cyan",
    "ringing": "yellow",
    "queued": "yellow",
    "busy": "red",
    "failed": "red",
    "no-answer": "red",
    "canceled": "red",
}


@attrs.frozen(kw_only=True)
class Look:
    """How values are shown: whose wall clock, and what masks numbers."""

    zone: tzinfo
    hide: Hide

    @property
    def masks(self) -> bool:
        """Tell whether anything is masked at all."""
        return self.hide is not str

    def moment(self, at: datetime | None) -> str:
        """Write a date and time."""
        return "" if at is None else f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    def time(self, at: datetime) -> str:
        """Write a time of the day."""
        return f"{at.astimezone(self.zone):%H:%M:%S}"


def printable(text: str) -> str:
    r"""Spell out what a terminal would obey: nobody who calls us may move its cursor.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def style_of(status: str | None) -> str:
    """Choose the colour of a status; an unknown one has none."""
    return _STYLES.get(status or "", "")


def style_of_answer(status: int | None) -> str:
    """Choose the colour of an HTTP status; None is no answer at all."""
    return "" if status == 200 else "red" if status is None or status >= 500 else "yellow"


def call_cells(call: Call, look: Look, *, details: bool) -> tuple[str, ...]:
    """Write a call as cells under CALL_COLUMNS, and DETAIL_COLUMNS where asked for."""
    cells = (
        look.moment(call.date_created),
        call.sid,
        look.hide(call.from_ or ""),
        look.hide(call.to or ""),
        look.hide(call.direction or ""),
        look.hide(call.status or ""),
        _seconds(call.duration),
        number_text(call.price),
    )
    if not details:
        return cells
    known = call.details
    return (
        *cells,
        _seconds(known.conversation_duration if known else None),
        look.hide(spell_legs(known.legs if known else ())),
    )


def number_cells(number: NumberMetadata, asked: str, look: Look) -> tuple[str, ...]:
    """Write what is known of a number as cells under NUMBER_COLUMNS."""
    cells = (
        number.phone_number or asked,
        number.type or "",
        _both(number.circle, number.circle_name),
        _both(number.operator, number.operator_name),
        number.dnd or "",
    )
    return tuple(look.hide(cell) for cell in cells)


def call_fields(call: Call, look: Look) -> Iterator[tuple[str, str]]:
    """Write a call as names and texts; what is not known is left out."""
    bare = plain(call, hide=look.hide)
    extra = bare.pop("extra")
    for name, text in bare.items():
        value = getattr(call, "from_" if name == "from" else name)
        if name in ("details", "sid") or value is None:
            continue
        shown = look.moment(value) if isinstance(value, datetime) else str(text)
        yield name.replace("_", " "), f"{shown} s" if name == "duration" else shown
    if call.details is not None:
        yield "talk", _seconds(call.details.conversation_duration)
        yield "legs", look.hide(spell_legs(call.details.legs))
    yield from ((f"extra {name}", str(value)) for name, value in extra.items())


def spell_legs(legs: Sequence[Leg]) -> str:
    """Say how the legs of a call stand.

    >>> spell_legs([Leg(status="completed", on_call_duration=34), Leg()])
    'From completed (34 s), To not tried'
    """
    return ", ".join(_spell_leg(i, leg) for i, leg in enumerate(legs))


def _spell_leg(place: int, leg: Leg) -> str:
    name = _SIDES[place] if place < len(_SIDES) else f"leg {place + 1}"
    talk = f" ({leg.on_call_duration} s)" if leg.on_call_duration is not None else ""
    return f"{name} {leg.status or 'not tried'}{talk}"


def stand_of(call: Call) -> str:
    """Say how a call stands, with its legs where they are known.

    >>> stand_of(Call(sid="a", status="ringing"))
    'ringing'
    """
    legs = spell_legs(call.details.legs) if call.details else ""
    status = call.status or "no status"
    return f"{status}: {legs}" if legs else status


def is_over(call: Call) -> bool:
    """Tell whether a call's status will not change any more.

    Of a status newer than this release nobody knows; then its end, or that of its legs, tells.
    """
    if call.status in list(CallStatus):
        return call.status in FINAL_STATUSES
    legs = call.details.legs if call.details else ()
    return call.end_time is not None or (
        bool(legs) and all(leg.status in FINAL_STATUSES for leg in legs)
    )


def was_answered(call: Call) -> bool:
    """Tell whether a call that is over brought people together.

    A call is "completed" as soon as From was on the line: whoever did not answer is seen at the
    legs, where they are known. A status newer than this release proves nothing; its legs do.
    """
    legs = call.details.legs if call.details else ()
    if call.status not in list(CallStatus):
        return bool(legs) and all(leg.status == "completed" for leg in legs)
    unanswered = FINAL_STATUSES - {"completed"}
    return call.status == "completed" and not any(leg.status in unanswered for leg in legs)


def event_line(event: StatusCallback, *, hide: Hide) -> str:
    """Say in a line what a callback told."""
    talk = event.conversation_duration if isinstance(event, CallTerminated) else None
    legs = spell_legs(event.legs)
    stand = ": ".join(hide(part) for part in (event.status or "no status", legs) if part)
    parts = [
        f"{type(event).__name__:<14}  {stand}",
        f"talk {talk} s" if talk is not None else "",
        event.call_sid,
    ]
    return "  ".join(part for part in parts if part)


def joined(cells: Sequence[str], clean: Callable[[str], str] = printable) -> str:
    """Write cells as one line for programs: with a tab between."""
    return "\t".join(clean(cell) for cell in cells)


def _seconds(value: int | None) -> str:
    return "" if value is None else str(value)


def _both(code: str | None, name: str | None) -> str:
    return f"{code}: {name}" if code and name else code or name or ""
