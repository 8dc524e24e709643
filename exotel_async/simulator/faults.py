"""Says which faults are laid down, and when each strikes."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from random import Random
from typing import TypeGuard

import attrs

from .catalogue import KINDS, Kind, Place, Reply


@attrs.define(kw_only=True)
class Fault:
    """A fault that was laid down, and how often it struck."""

    name: str = attrs.field(init=False)
    kind: Kind = attrs.field(repr=lambda kind: kind.does)
    on: str | None
    times: int | None  # still to come; None: always
    probability: float
    seconds: float
    carried_out: bool
    struck: int = 0

    def __attrs_post_init__(self) -> None:
        self.name = self.kind.name

    def concerns(self, on: str | None) -> bool:
        """Tell whether it may strike this kind of request or event."""
        only_on = self.kind.only_on
        return self.on in (None, on) and (only_on is None or on in only_on)

    def spoil(self, reply: Reply) -> Reply:
        """Make the bad reply of a good one."""
        return self.kind.spoil(reply, self.seconds) if self.kind.spoil else reply


class FaultBook:
    """The faults that are laid down, asked in the order in which they were."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._faults: list[Fault] = []

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults)

    def add(
        self,
        name: str,
        *,
        on: str | None,
        times: int | None,
        probability: float,
        seconds: float | None,
        carried_out: bool | None,
    ) -> Fault:
        """Lay down a fault; ValueError says what is allowed."""
        kind = KINDS.get(name)
        if kind is None:
            raise ValueError(f"name must be one of {', '.join(KINDS)}, not {name!r}")
        _check_on(kind, on)
        _check_chance(kind, times, probability)
        _check_seconds(kind, seconds)
        _check_carried_out(kind, carried_out)
        fault = Fault(
            kind=kind,
            on=on,
            times=None if kind.lasts else times,
            probability=probability,
            seconds=(kind.seconds or 0.0) if seconds is None else seconds,
            carried_out=kind.carried_out if carried_out is None else carried_out,
        )
        self._faults.append(fault)
        return fault

    def made(self, name: str) -> Fault:
        """Make a fault that is not laid down but strikes now."""
        kind = KINDS[name]
        return Fault(
            kind=kind,
            on=None,
            times=1,
            probability=1.0,
            seconds=kind.seconds or 0.0,
            carried_out=kind.carried_out,
        )

    def discard(self, fault: Fault) -> None:
        """Take a fault away; harmless if it is gone."""
        self._faults = [one for one in self._faults if one is not fault]

    def clear(self) -> None:
        """Take all faults away."""
        self._faults = []

    def may_strike(self, place: Place) -> bool:
        """Tell whether anything at all can fail there now."""
        return any(fault.kind.place == place for fault in self._faults)

    def strike(self, place: Place, on: str | None = None) -> Fault | None:
        """Draw whether something fails now: the first fault that does."""
        return next(self._striking(place, on), None)

    def strike_all(self, place: Place, on: str | None = None) -> list[Fault]:
        """Draw which faults strike now, together."""
        return list(self._striking(place, on))

    def _striking(self, place: Place, on: str | None) -> Iterator[Fault]:
        for fault in list(self._faults):
            if fault.kind.place == place and fault.concerns(on) and self._hits(fault):
                yield fault

    def _hits(self, fault: Fault) -> bool:
        if fault.probability < 1.0 and self._chance.random() >= fault.probability:
            return False
        fault.struck += 1
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.discard(fault)
        return True


def _check_on(kind: Kind, on: str | None) -> None:
    allowed = kind.may_be_on
    if on is not None and on not in allowed:
        words = f"one of {', '.join(allowed)} or None" if allowed else "None"
        raise ValueError(f"on must be {words} for {kind.name}, not {on!r}")


def _check_chance(kind: Kind, times: object, probability: object) -> None:
    if kind.lasts:
        if times not in (None, 1) or probability != 1.0:
            raise ValueError(f"{kind.name} has neither times nor probability: it lasts")
        return
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise ValueError(f"times must be 1 or more, or None for always, not {times!r}")
    if not _is_number(probability) or not 0.0 < probability <= 1.0:
        raise ValueError(f"probability must be above 0 and at most 1, not {probability!r}")


def _check_seconds(kind: Kind, seconds: object) -> None:
    if seconds is None:
        return
    if kind.seconds is None:
        raise ValueError(f"{kind.name} has no duration: seconds must be left out")
    if not _is_number(seconds) or seconds < 0:
        raise ValueError(f"seconds must be a number that is not below 0, not {seconds!r}")


def _check_carried_out(kind: Kind, carried_out: object) -> None:
    if carried_out is None:
        return
    if kind.place != "answer":
        raise ValueError(f"carried_out concerns answers, and {kind.name} is none")
    if not isinstance(carried_out, bool):
        raise ValueError(f"carried_out must be True, False or None, not {carried_out!r}")  # noqa: TRY004


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
