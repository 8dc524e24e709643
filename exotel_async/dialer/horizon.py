"""Until when must a call be over: the horizon beyond which nobody waits for it."""

from __future__ import annotations

from collections.abc import Mapping

QUEUE = 10 * 60.0  # seconds that a call may wait at Exotel before a phone rings
SETTLING = 15 * 60.0  # seconds until a record says all; Exotel's page: two minutes, up to fifteen
SKEW = 60.0  # seconds by which clocks may differ
RING = 60  # seconds, the most that regulation lets a phone ring
LONGEST_CALL = 14_400  # seconds; Exotel cuts every call after four hours
_ATTEMPTS = 4  # to reach one party: an ExoPhone may be set up to try again
_LEGS = 2


def longest(*, timeout: float, time_limit: int | None = None, time_out: int | None = None) -> float:
    """Tell how many seconds after the last moment of sending a call must be over and settled.

    `timeout`: seconds for the request; `time_limit`, `time_out`: as connect was told. Without a
    time limit that is about 4.6 hours.

    >>> round(longest(timeout=30) / 3600, 1)
    4.6
    """
    rings = _ATTEMPTS * _LEGS * (RING if time_out is None else time_out)
    talks = LONGEST_CALL if time_limit is None else time_limit
    return timeout + QUEUE + rings + talks + SETTLING + SKEW


def timeout_of(total: float, arguments: Mapping[str, object]) -> float:
    """Tell the time-out of the request of a dial that may take so long in all.

    >>> timeout_of(longest(timeout=12.5, time_limit=60), {"time_limit": 60})
    12.5
    """
    limits = {
        name: value
        for name in ("time_limit", "time_out")
        if isinstance(value := arguments.get(name), int)
    }
    return max(0.0, round(total - longest(timeout=0, **limits), 3))
