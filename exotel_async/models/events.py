"""What does Exotel tell us while a call lives: the typed StatusCallbacks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs
from multidict import MultiDict, MultiDictProxy

from .calls import Leg
from .extra import NOTHING
from .masks import masked, masked_url
from .vocabulary import LegStatus


@attrs.frozen(kw_only=True)
class StatusCallback:
    """What all callbacks have in common. Exotel: Voice v1, "StatusCallback".

    Only `call_sid` is sure to come; flow calls and calls without StatusCallbackEvents bring four
    fields. Times are aware. Two events are equal when they say the same, in whatever encoding.
    """

    call_sid: str
    event_type: str | None = None  # "terminal", "answered", or a newer word
    status: str | None = None  # a `CallStatus`, or a newer word
    date_created: datetime | None = None
    date_updated: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    from_: str | None = attrs.field(default=None, repr=masked)
    to: str | None = attrs.field(default=None, repr=masked)
    phone_number_sid: str | None = attrs.field(default=None, repr=masked)
    direction: str | None = None  # a `Direction`, or a newer word
    recording_url: str | None = attrs.field(default=None, repr=masked_url)
    conversation_duration: int | None = None  # seconds in which both parties were on the call
    custom_field: str | None = attrs.field(default=None, repr=masked)  # with "terminal" only
    legs: tuple[Leg, ...] = ()  # 0 is the From leg, 1 the To leg
    ref: str | None = attrs.field(default=None, repr=masked)  # ours, out of a verified URL
    # With a journal: the same for every try of one delivery, another where there is more to tell.
    delivery_id: str | None = attrs.field(default=None, eq=False, repr=masked)
    extra: Mapping[str, str] = attrs.field(default=NOTHING, hash=False)
    pairs: tuple[tuple[str, str], ...] = attrs.field(default=(), eq=False, repr=False)

    @property
    def raw(self) -> MultiDictProxy[str]:
        """All that came, as names and texts: body first, then the URL's query."""
        return MultiDictProxy(MultiDict(self.pairs))


# The kinds below have no fields of their own: to have attrs build them anew would only cost time
# at import.


class CallAnswered(StatusCallback):
    """A leg was answered; comes once for each leg. Exotel: EventType "answered"."""

    __slots__ = ()

    @property
    def answered_leg(self) -> int | None:
        """The index of the last leg in progress: 0 the From leg, 1 the To leg, None if unsaid."""
        answered = [i for i, leg in enumerate(self.legs) if leg.status == LegStatus.IN_PROGRESS]
        return answered[-1] if answered else None


class CallTerminated(StatusCallback):
    """The call is over. Exotel: EventType "terminal", or no EventType and a final Status."""

    __slots__ = ()


class UnknownCallback(StatusCallback):
    """A callback of a kind that is newer than this release, or that does not say its kind."""

    __slots__ = ()
