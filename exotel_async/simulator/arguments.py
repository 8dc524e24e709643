"""Says whether a test may steer the simulator so, and if not, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from . import numbers


def key(name: str, number: str) -> str:
    """Give what all spellings of a number share; refuse what is no number."""
    if not numbers.is_number(str(number)):  # from outside anything may come
        raise ValueError(f"{name} must be a phone number without blanks, not {number!r}")
    return numbers.key(str(number))


def check_word(name: str, word: str, allowed: Iterable[str]) -> None:
    """Refuse a word that means nothing here."""
    if word not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {word!r}")


def check_amount(name: str, amount: object) -> None:
    """Refuse what is no number above 0."""
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 < amount < inf:
        raise ValueError(f"{name} must be a number above 0, not {amount!r}")


def check_count(name: str, count: object) -> None:
    """Refuse what is no whole number of at least 1."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {count!r}")
