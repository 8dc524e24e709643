"""What is a call: its record, its legs, and a page of such records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import attrs

from .extra import NOTHING
from .masks import masked, masked_url


@attrs.frozen(kw_only=True)
class Range:
    """Bounds for a filter, both inclusive, one of them enough.

    >>> Range(at_least=10, at_most=45)
    Range(at_least=10, at_most=45)
    """

    at_least: int | float | Decimal | None = None
    at_most: int | float | Decimal | None = None


@attrs.frozen(kw_only=True)
class Leg:
    """One attempt to reach one number of a call.

    Index 0 is the From leg and 1 the To leg; more follow where numbers were tried again.
    Exotel: Voice v1, "Call Details", Legs, and "StatusCallback", Legs.
    """

    status: str | None = None  # a `LegStatus`, or a newer word; None: not even attempted
    on_call_duration: int | None = None  # seconds
    extra: Mapping[str, object] = attrs.field(default=NOTHING, hash=False)


@attrs.frozen(kw_only=True)
class CallDetails:
    """What `details=True` adds to a call. Exotel: Voice v1, "Call Details", Details."""

    conversation_duration: int | None = None  # seconds in which both parties were on the call
    legs: tuple[Leg, ...] = ()
    extra: Mapping[str, object] = attrs.field(default=NOTHING, hash=False)


@attrs.frozen(kw_only=True)
class Call:
    """One call's record. Exotel: Voice v1, "Call Details" and "Bulk Call Details".

    `duration`, `price`, `end_time` and `recording_url` settle about two minutes after the call,
    up to fifteen. All times are aware.
    """

    sid: str
    parent_call_sid: str | None = None
    date_created: datetime | None = None
    date_updated: datetime | None = None
    account_sid: str | None = None
    to: str | None = attrs.field(default=None, repr=masked)
    from_: str | None = attrs.field(default=None, repr=masked)
    phone_number: str | None = attrs.field(default=None, repr=masked)  # the ExoPhone, bulk only
    phone_number_sid: str | None = attrs.field(default=None, repr=masked)
    status: str | None = None  # a `CallStatus`, or a word newer than this release
    start_time: datetime | None = None
    end_time: datetime | None = None
    duration: int | None = None  # seconds, ringing included; talk time stands in `details`
    price: Decimal | None = None  # in the currency of the account, INR or USD
    direction: str | None = None  # a `Direction`, or a newer word
    answered_by: str | None = None  # an `AnsweredBy`, or a newer word
    forwarded_from: str | None = attrs.field(default=None, repr=masked)
    caller_name: str | None = attrs.field(default=None, repr=masked)
    uri: str | None = attrs.field(default=None, repr=masked)  # not fetchable as connect sends it
    custom_field: str | None = attrs.field(default=None, repr=masked)
    recording_url: str | None = attrs.field(default=None, repr=masked_url)
    pre_signed_recording_url: str | None = attrs.field(default=None, repr=False)
    details: CallDetails | None = None  # only when asked for
    extra: Mapping[str, object] = attrs.field(default=NOTHING, hash=False)


@attrs.frozen(kw_only=True)
class CallPage:
    """One page of records. Exotel: Voice v1, "Bulk Call Details", Metadata.

    `after` and `before` are the cursors of the neighbouring pages, None where there is none.
    """

    calls: tuple[Call, ...] = ()
    total: int | None = None  # records that match, on all pages
    page_size: int | None = None
    after: str | None = None
    before: str | None = None
    skipped: int = 0  # entries without a Sid, left out of `calls`
