"""Which settings may a journal have."""

from __future__ import annotations

from exotel_async.errors import ConfigurationError


def check_positive(name: str, value: object) -> None:
    """Refuse what is no number above 0."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value > 0:  # type: ignore[operator]  # a number
        raise ConfigurationError(f"{name} must be a number above 0, but is {value!r}")


def check_whole(name: str, value: object, *, least: int) -> None:
    """Refuse what is no whole number, or too small."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(
            f"{name} must be a whole number of at least {least}, but is {value!r}"
        )
