"""How does a record of Exotel's become a model of ours: one cattrs converter for a time zone.

A record is decoded the fast way first, by a function that cattrs generates. Only where a field
can't be read, the slow way goes field by field: what can't be read is None, and what stood there
is kept in `extra`, beside all that has no field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import tzinfo
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_structure_fn_from_attrs, override

from exotel_async.models.calls import Call, CallDetails, Leg
from exotel_async.models.events import (
    CallAnswered,
    CallTerminated,
    StatusCallback,
    UnknownCallback,
)
from exotel_async.models.extra import NOTHING, Extra
from exotel_async.models.numbers import NumberMetadata

from . import fields
from .fields import (
    EXTRA,
    LEGS,
    Fields,
    MissingSidError,
    as_it_is,
    read_leg_status,
    read_sid,
)
from .values import InexactError, read_seconds, time_reader

Tree = dict[str, Any]  # an object of Exotel's, out of JSON or XML alike

M = TypeVar("M", bound=attrs.AttrsInstance)

MOST_LEGS = 64  # what lies beyond stays in `extra`
_CALL_KEYS = frozenset(key for key, _ in fields.call_fields(as_it_is, as_it_is).values())
_LEG_IDS = {spelling: n for n in range(1, MOST_LEGS + 1) for spelling in (n, str(n))}
_LEG_STATUS = {f"Leg{n}Status": n for n in range(1, MOST_LEGS + 1)}
_PRINTED_KEYS = ("ConversationDuration", "Legs", "Leg1Status", "Leg2Status")
_printed = itemgetter(*_PRINTED_KEYS)
_PRINTED_SIZES = (len(_PRINTED_KEYS), 1, 2, 1, 2)  # of details, then of each leg without and within
_NO_LEG: Tree = {}
_LEG_SOURCES = frozenset({"Legs", *_LEG_STATUS})
_DETAILS = _LEG_SOURCES | {"ConversationDuration"}


@lru_cache(maxsize=16)
def converter_for(zone: tzinfo) -> Converter:
    """Return the converter for a zone; made once, on first use."""
    return Converter(zone)


class Converter:
    """Builds our models out of Exotel's objects; naive times are the wall clock of one zone."""

    def __init__(self, zone: tzinfo) -> None:
        read_time = time_reader(zone)
        call_fields = fields.call_fields(read_time, self._read_details)
        self._cattrs = cattrs.Converter(detailed_validation=False)
        callback_fields = fields.callback_fields(read_time)
        self.odd_leg: Callable[[Tree], Leg] = self._builder(
            Leg, fields.LEG, also_known=frozenset({"Id"})
        )
        self.number: Callable[[Tree], NumberMetadata] = self._builder(NumberMetadata, fields.NUMBER)
        self.odd_call: Callable[[Tree], Call] = self._builder(Call, call_fields)
        self._call = self._builder_of_printed(Call, call_fields, fields.PRINTED_CALL_KEYS)
        self._details = self._builder(CallDetails, fields.DETAILS, also_known=_DETAILS)
        self.callbacks: Mapping[type[StatusCallback], Callable[[Tree], StatusCallback]] = {
            kind: self._builder(kind, callback_fields)
            for kind in (CallAnswered, CallTerminated, UnknownCallback)
        }

    def leg(self, raw: Tree) -> Leg:
        """Build a leg."""
        try:
            if len(raw) == 2:  # as a callback has it
                return Leg(
                    status=read_leg_status(raw["Status"], None),
                    on_call_duration=read_seconds(raw["OnCallDuration"]),
                )
        except (KeyError, ValueError):
            pass
        return self.odd_leg(raw)

    def call(self, raw: Tree) -> Call:
        """Build a call's record."""
        try:
            if _CALL_KEYS.issuperset(raw):
                return self._call(raw, Call)
        except (KeyError, ValueError):
            pass
        return self.odd_call(raw)

    def details(self, raw: Tree) -> CallDetails:
        """Build what `details=true` adds, its legs put together from both places they stand in."""
        try:
            return _details_as_printed(raw)
        except (AttributeError, LookupError, TypeError, ValueError):
            return self.odd_details(raw)

    def odd_details(self, raw: Tree) -> CallDetails:
        """Build details of any shape; agrees with the quick way where that one knows the shape."""
        legs, whole = _gather_legs(raw)
        prepared = {**raw, LEGS: tuple(self.odd_leg(leg) for leg in legs)}
        if not whole:  # what has no place in a leg is kept as it came
            prepared[EXTRA] = Extra({key: raw[key] for key in raw if key in _LEG_SOURCES})
        return self._details(prepared)

    def _read_details(self, value: object, _: object = None) -> CallDetails | None:
        if value is None or value == "":
            return None
        if not isinstance(value, dict):
            raise ValueError("not an object")  # noqa: TRY004 - readers raise ValueError
        return self.details(value)

    def _builder_of_printed(
        self, model: type[M], table: Fields, printed: Collection[str]
    ) -> Callable[[Tree, type[M]], M]:
        """Make what builds a model where no printed key is missing; KeyError where one is.

        The quicker one: it need not ask which are there.
        """
        attributes = [
            field.evolve(default=attrs.NOTHING)
            if field.name in table and table[field.name][0] in printed
            else field
            for field in attrs.fields(model)
        ]
        return make_dict_structure_fn_from_attrs(
            attributes, model, self._cattrs, _cattrs_detailed_validation=False,
            **_overrides(model, table),
        )  # fmt: skip

    def _builder(
        self, model: type[M], table: Fields, *, also_known: frozenset[str] = frozenset()
    ) -> Callable[[Tree], M]:
        build = make_dict_structure_fn(
            model, self._cattrs, _cattrs_detailed_validation=False, **_overrides(model, table)
        )
        known = also_known.union(key for key, _ in table.values())

        def structure(raw: Tree) -> M:
            if not known.issuperset(raw):
                raw = _with_extra(raw, known)
            try:
                return build(raw, model)
            except (KeyError, ValueError):  # KeyError: the Sid alone has no default
                return model(**_read_one_by_one(table, raw))

        return structure


def _overrides(model: type[attrs.AttrsInstance], table: Fields) -> dict[str, Any]:
    return {
        field.name: override(rename=table[field.name][0], struct_hook=table[field.name][1])
        if field.name in table
        else override(omit=True)  # ours, not Exotel's
        for field in attrs.fields(model)
    }


def _with_extra(raw: Tree, known: frozenset[str]) -> Tree:
    unknown = {key: value for key, value in raw.items() if key not in known}
    return {**raw, EXTRA: Extra({**_prepared_extra(raw), **unknown})}


def _prepared_extra(raw: Tree) -> dict[str, object]:
    """Begin with what was prepared; a twin of its name that Exotel sent is one more unknown."""
    extra = raw.get(EXTRA, NOTHING)
    return dict(extra) if type(extra) is Extra else {EXTRA: extra}


def _read_one_by_one(table: Fields, raw: Tree) -> dict[str, Any]:
    extra = _prepared_extra(raw)
    values = {}
    for name, (key, read) in table.items():
        if key not in raw and read is not read_sid:
            continue
        try:
            values[name] = read(raw.get(key), None)
        except MissingSidError:
            raise
        except InexactError as inexact:
            values[name], extra[key] = inexact.value, raw[key]
        except ValueError:
            extra[key] = raw[key]
    return {**values, "extra": Extra(extra)}


def _details_as_printed(raw: Tree) -> CallDetails:
    """Build details of the very shape that Exotel's page prints; raise for any other."""
    conversation_duration, (first, second), status_1, status_2 = _printed(raw)
    leg_1, leg_2 = first["Leg"], second["Leg"]
    sizes = (len(raw), len(first), len(leg_1), len(second), len(leg_2))
    if sizes != _PRINTED_SIZES or _LEG_IDS[leg_1["Id"]] != 1 or _LEG_IDS[leg_2["Id"]] != 2:
        raise ValueError("more or less than the page prints")
    return CallDetails(
        conversation_duration=read_seconds(conversation_duration),
        legs=(
            Leg(
                status=read_leg_status(status_1, None),
                on_call_duration=read_seconds(leg_1["OnCallDuration"]),
            ),
            Leg(
                status=read_leg_status(status_2, None),
                on_call_duration=read_seconds(leg_2["OnCallDuration"]),
            ),
        ),
    )


def _gather_legs(raw: Tree) -> tuple[list[Tree], bool]:
    """Join `Legs` and `Leg1Status`, `Leg2Status`, … by the leg's Id.

    Tells besides whether the legs now hold all that stood there.
    """
    entries, whole = _list_entries(raw.get("Legs"))
    unwrapped = [_unwrap_leg(entry) for entry in entries]
    numbers = [_number_of(leg, n) for n, (leg, _) in enumerate(unwrapped, start=1)]
    whole = whole and all(fits for _, fits in unwrapped)
    if None in numbers or len(set(numbers)) < len(numbers):  # Ids that tell no leg from another
        numbers, whole = [*range(1, len(unwrapped) + 1)], False
    legs = {n: leg for n, (leg, _) in zip(numbers, unwrapped, strict=True) if n is not None}
    for key in _LEG_STATUS.keys() & raw.keys():
        n, status = _LEG_STATUS[key], raw[key]
        leg = legs.get(n, _NO_LEG)
        if _says_nothing(leg.get("Status")) and not _says_nothing(status):
            legs[n] = {**leg, "Status": status}
        else:
            whole = whole and (_says_nothing(status) or status == leg["Status"])
    return [legs.get(n, _NO_LEG) for n in range(1, max(legs, default=0) + 1)], whole


def _list_entries(value: object) -> tuple[list[Any], bool]:
    """List the legs as JSON has them, and as XML does: one <Leg> or several in <Legs>."""
    if _says_nothing(value):
        return [], True
    whole = True
    if isinstance(value, dict):
        whole = "Leg" not in value or len(value) == 1
        value = value.get("Leg", value)
        value = value if isinstance(value, list) else [value]
    if not isinstance(value, list) or len(value) > MOST_LEGS:
        return [], False
    return value, whole


def _unwrap_leg(entry: object) -> tuple[Tree, bool]:
    leg = entry.get("Leg", entry) if isinstance(entry, dict) else entry
    if not isinstance(leg, dict):
        return _NO_LEG, _says_nothing(leg)
    return leg, leg is entry or entry == {"Leg": leg}


def _number_of(leg: Tree, position: int) -> int | None:
    identity = leg.get("Id", position)
    if _says_nothing(identity):
        return position
    return None if isinstance(identity, dict | list) else _LEG_IDS.get(identity)


def _says_nothing(value: object) -> bool:
    return value is None or value == ""
