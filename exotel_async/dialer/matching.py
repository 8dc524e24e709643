"""Whose is which record of a window, and which dial has none: plain functions of what was read.

A match needs one record and one dial that fit only each other, among all dials of the account. A
denial needs the whole window, shown to be readable, without a record that could be the dial's.
"""

from __future__ import annotations

import attrs

from exotel_async.journal.records import DialRecord, Neighbour, Neighbours
from exotel_async.models.calls import Call
from exotel_async.models.dials import DialState

from .likeness import could_be, fits, shows_ref
from .windows import Window, created, window_of


@attrs.frozen(kw_only=True)
class View:
    """All that was read of a window: first Exotel's list, then what our books say of it."""

    window: Window
    calls: tuple[Call, ...]
    began: float  # seconds since the epoch: when the first page was asked for
    skew: float
    neighbours: Neighbours
    witnesses: tuple[DialRecord, ...] = ()  # whose calls the list should have


@attrs.frozen
class Match:
    """A record and a dial that fit only each other."""

    ref: str
    call: Call


def matches(view: View) -> list[Match]:
    """Pair what belongs together; nothing where the list's times are not what we take them for."""
    if _is_contradicted(view):
        return []
    ours = [one for one in view.neighbours.rivals if one.ours and _is_open(one.record)]
    pairs = ((one.record.ref, _call_of(one.record, view)) for one in ours)
    return [Match(ref, call) for ref, call in pairs if call is not None]


def was_never_placed(record: DialRecord, view: View) -> bool:
    """Tell whether the list proves that there was no call; any doubt, and it does not."""
    window = window_of(record, skew=view.skew)
    horizon = record.settle_by
    itself = [one for one in view.neighbours.rivals if one.record.ref == record.ref]
    return (
        window is not None
        and view.window.covers(window)
        and horizon is not None
        and view.began >= horizon
        and len(itself) == 1
        and not itself[0].heard
        and _is_readable(view)
        and not _candidates(record, view)
    )


def _is_open(record: DialRecord) -> bool:
    return record.state == DialState.UNKNOWN and record.call_sid is None


def _call_of(record: DialRecord, view: View) -> Call | None:
    """Give the one call that is this dial's and no other's."""
    window = window_of(record, skew=view.skew)
    if window is None or not view.window.covers(window):
        return None
    shown = [call for call in _free(view) if shows_ref(record, call)]
    likely = shown or _candidates(record, view)
    if len(likely) != 1 or likely[0].sid in _claimed(view.neighbours):
        return None
    (call,) = likely
    if shown or (fits(record, call, skew=view.skew) and not _has_rival(record, call, view)):
        return call
    return None


def _candidates(record: DialRecord, view: View) -> list[Call]:
    return [call for call in _free(view) if could_be(record, call, skew=view.skew)]


def _has_rival(record: DialRecord, call: Call, view: View) -> bool:
    return any(
        could_be(other.record, call, skew=view.skew)
        for other in view.neighbours.rivals
        if other.record.ref != record.ref
    )


def _free(view: View) -> list[Call]:
    """Leave out calls that are another dial's by Exotel's own word."""
    taken = {one.record.call_sid for one in view.neighbours.owners if one.sure}
    return [call for call in view.calls if call.sid not in taken]


def _claimed(neighbours: Neighbours) -> frozenset[str]:
    """List the sids that no other dial may be given, whether theirs is sure or not."""
    return neighbours.pruned.union(
        one.record.call_sid for one in neighbours.owners if one.record.call_sid
    )


def _is_readable(view: View) -> bool:
    """Tell whether the list shows what it should: a call of ours in its time, and none amiss."""
    return (
        any(True in _in_time(one, view) for one in view.neighbours.owners)
        and not _is_contradicted(view)
        and not _is_lacking(view)
    )


def _is_contradicted(view: View) -> bool:
    """Tell whether a call of ours shows another time than it has: another zone, or clock."""
    return any(False in _in_time(one, view) for one in view.neighbours.owners)


def _in_time(owner: Neighbour, view: View) -> list[bool]:
    """Tell of a known call in the list whether it was created when its dial was sent."""
    window = window_of(owner.record, skew=view.skew)
    if owner.record.sid_source != "answer" or window is None:
        return []
    seconds = [created(call) for call in view.calls if call.sid == owner.record.call_sid]
    return [window.holds(second) for second in seconds if second is not None]


def _is_lacking(view: View) -> bool:
    """Tell whether a call of ours is not there that has been over for long."""
    listed = {call.sid for call in view.calls}
    return any(
        record.call_sid not in listed
        for record in view.witnesses
        if record.settle_by is not None
        and record.settle_by <= view.began
        and (window := window_of(record, skew=view.skew)) is not None
        and view.window.covers(window)
    )
