"""How long is waited after a failure: of a handler, and of the journal itself."""

from __future__ import annotations

_DELAYS = (5.0, 30.0, 120.0, 600.0, 1_800.0, 3_600.0, 7_200.0)  # seconds, the last for all further
_SHORTEST, _LONGEST = 0.1, 5.0


def retry_delay(attempts: int, *, tries: int) -> float | None:
    """Tell after how many seconds an event that failed is tried again; None for never.

    >>> [retry_delay(attempts, tries=4) for attempts in (1, 2, 3, 4)]
    [5.0, 30.0, 120.0, None]
    """
    if attempts >= tries:
        return None
    return _DELAYS[min(max(attempts, 1), len(_DELAYS)) - 1]


def journal_delay(failures: int) -> float:
    """Tell after how many seconds a journal that failed so often in a row is asked again.

    >>> [journal_delay(failures) for failures in (1, 2, 3, 9)]
    [0.1, 0.2, 0.4, 5.0]
    """
    return min(_SHORTEST * 2.0 ** min(failures - 1, 30), _LONGEST)
