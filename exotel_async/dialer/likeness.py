"""May a record be a dial's call: what its numbers, words and times say for it and against it.

Two strengths. `could_be` is generous: where it says no, the record is certainly another's call.
`fits` is strict: all that can be known is known, and agrees.
"""

from __future__ import annotations

import re

from exotel_async.journal.records import DialRecord
from exotel_async.models.calls import Call
from exotel_async.models.vocabulary import Direction

from .windows import created, window_of

_SPELLING = re.compile(r"[+0-9\s().-]+")
_LEAST = 6  # digits that tell numbers apart, and that all spellings of a number end in
_INDIAN = 10  # digits of an Indian number, without country code or trunk prefix
_OTHERS_CALLS = frozenset({Direction.INBOUND, Direction.OUTBOUND_DIAL})


def could_be(record: DialRecord, call: Call, *, skew: float) -> bool:
    """Tell whether a record could be a dial's call, for all that anybody knows."""
    if shows_ref(record, call) is False or call.direction in _OTHERS_CALLS:
        return False
    window = window_of(record, skew=skew)
    at = created(call)
    if window is None or (at is not None and not window.holds(at)):
        return False
    return _numbers_could_be(record, call)


def fits(record: DialRecord, call: Call, *, skew: float) -> bool:
    """Tell whether all that a record shows is known and is that of a dial."""
    return (
        created(call) is not None
        and call.direction == Direction.OUTBOUND_API
        and could_be(record, call, skew=skew)
        and _numbers_fit(record, call)
    )


def shows_ref(record: DialRecord, call: Call) -> bool | None:
    """Tell whether a record shows the dial's ref; None where it shows nothing, or can't.

    The dialer puts the ref into CustomField where the user left that unused.
    """
    if record.arguments.get("custom_field") is not None or not (call.custom_field or "").strip():
        return None
    return call.custom_field == record.ref


def could_be_same(one: object, other: object) -> bool:
    """Tell whether two texts could be spellings of one number.

    Indian numbers are told apart by their ten digits. Others' prefixes are nobody's to guess, so
    only the last digits count, which all spellings share; what is no number could be any.

    >>> could_be_same("+91 98123 00001", "09812300001")
    True
    >>> could_be_same("+91 98123 00001", "09912300001")
    False
    >>> could_be_same("sip:someone", "09912300001")
    True
    """
    mine, theirs = _digits(one), _digits(other)
    if mine is None or theirs is None:
        return True
    if _indian(mine) and _indian(theirs):
        return _indian(mine) == _indian(theirs)
    return mine[-_LEAST:] == theirs[-_LEAST:]


def _numbers_could_be(record: DialRecord, call: Call) -> bool:
    """Compare as sets; the ExoPhone may stand on either side, and hide a number.

    A flow may connect its caller with anybody.
    """
    arguments = record.arguments
    sides = (call.from_, call.to)
    if arguments.get("to") is None:
        return any(could_be_same(side, arguments.get("from_")) for side in sides)
    ours = [arguments.get(name) for name in ("from_", "to", "caller_id")]
    return all(any(could_be_same(side, number) for number in ours) for side in sides)


def _numbers_fit(record: DialRecord, call: Call) -> bool:
    arguments = record.arguments
    if call.phone_number and not could_be_same(call.phone_number, arguments.get("caller_id")):
        return False
    sides = {_known(side) for side in (call.from_, call.to)}
    from_, exophone = _known(arguments.get("from_")), _known(arguments.get("caller_id"))
    if arguments.get("to") is None:
        blank = {None} if not (call.from_ and call.to) else set[None]()
        return from_ is not None and from_ in sides and sides <= {from_, exophone} | blank
    wanted = {from_, _known(arguments.get("to"))}
    return None not in wanted and sides == wanted


def _known(number: object) -> str | None:
    """Spell a number in one way; None where it can't be known."""
    digits = _digits(number)
    return None if digits is None else _indian(digits) or digits


def _digits(number: object) -> str | None:
    """Take a number's digits without the zeros in front; None where it could be any number."""
    if not isinstance(number, str) or not _SPELLING.fullmatch(number.strip()):
        return None
    digits = re.sub(r"[^0-9]", "", number).lstrip("0")
    return digits if len(digits) >= _LEAST else None


def _indian(digits: str) -> str | None:
    """Take the ten digits of what looks like an Indian number."""
    for prefix in ("", "91", "910"):
        if len(digits) == len(prefix) + _INDIAN and digits.startswith(prefix):
            return digits[len(prefix) :]
    return None
