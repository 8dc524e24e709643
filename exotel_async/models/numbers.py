"""What is known of a phone number."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .extra import NOTHING
from .masks import masked


@attrs.frozen(kw_only=True)
class NumberMetadata:
    """Where a number is at home. Exotel: Voice v1, "Number Metadata"."""

    phone_number: str | None = attrs.field(default=None, repr=masked)  # as Exotel rewrote it
    circle: str | None = None  # a `Circle`, or a newer code
    circle_name: str | None = None
    type: str | None = None  # "Mobile" or "Landline"
    operator: str | None = None  # an `Operator`, or a newer code
    operator_name: str | None = None
    dnd: str | None = None  # a `Dnd`, or a newer word
    extra: Mapping[str, object] = attrs.field(default=NOTHING, hash=False)
