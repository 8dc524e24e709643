"""Is an argument fit to be sent: refuse it here, with words, rather than at Exotel."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import NoReturn

from exotel_async.errors import InvalidRequestError, mask_numbers

_LEAST_PHONE_NUMBER = 10**7
_MOST_SHOWN = 80  # characters of a value in an error


def refuse(name: str, value: object, allowed: str) -> NoReturn:
    """Raise the error that names the argument, what it was and what is allowed."""
    small = type(value) is int and abs(value) < _LEAST_PHONE_NUMBER
    # Masked before it is cut: half a number would not be known as one.
    shown = repr(value) if small else mask_numbers(repr(value))
    shown = shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + "…"
    raise InvalidRequestError(f"{name} must be {allowed}, but is {shown}")


def doubt(what: str) -> None:
    """Warn of what Exotel might accept and we would not bet on."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 - what warnings itself does from 3.12 on
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(
        "exotel_async."
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(what, UserWarning, stacklevel=level)


def text(name: str, value: object) -> str:
    """Take a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        refuse(name, value, "a text that is not blank")
    return sendable(name, value)


def sendable(name: str, value: object) -> str:
    """Take a text that can go over the wire; half a surrogate pair can't."""
    if not isinstance(value, str):
        refuse(name, value, "a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        refuse(name, value, "a text that UTF-8 can spell")
    return value


def url(name: str, value: object) -> str:
    """Take an absolute http or https URL."""
    if not isinstance(value, str):  # not shown: a URL of another type may hold a secret too
        refuse(name, type(value).__name__, "the text of an absolute http:// or https:// URL")
    checked = text(name, value)
    scheme, _, rest = checked.partition("://")
    if scheme.lower() not in {"http", "https"} or rest[:1] in {"", "/", "?", "#"}:
        # Shown no further than its beginning: what follows may be a secret.
        refuse(name, checked[:12] + "…", "an absolute http:// or https:// URL")
    return checked


def one_of(name: str, value: object, allowed: Collection[str]) -> str:
    """Take one of a few words."""
    if not isinstance(value, str) or value not in allowed:
        refuse(name, value, "one of " + ", ".join(repr(word) for word in allowed))
    return str(value)


def whole(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """Take a whole number within bounds."""
    bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
    if not isinstance(value, int) or isinstance(value, bool):
        refuse(name, value, f"a whole number {bounds}")
    if value < least or (most is not None and value > most):
        refuse(name, value, f"a whole number {bounds}")
    return value


def flag(name: str, value: object) -> bool:
    """Take True or False, nothing that merely looks like it."""
    if not isinstance(value, bool):
        refuse(name, value, "True or False")
    return value


def texts(name: str, value: object) -> tuple[str, ...]:
    """Take one text or several, each once, none blank, in the order given."""
    several: object = (value,) if isinstance(value, str) else value
    if not isinstance(several, Iterable) or isinstance(several, bytes | bytearray):
        refuse(name, value, "a text or several texts")
    return tuple(dict.fromkeys(text(name, one) for one in several))


def extra_parameters(
    extra: Mapping[str, str] | None, *, named: Collection[str]
) -> tuple[tuple[str, str], ...]:
    """Take further parameters, none of which has an argument of its own."""
    if extra is None:
        return ()
    if not isinstance(extra, Mapping):
        refuse("extra", extra, "a mapping of texts to texts")
    taken = {name.lower() for name in named}
    for name, value in extra.items():
        text("a name in extra", name)
        if name.partition("[")[0].lower() in taken:
            refuse("extra", name, "without a parameter that has an argument of its own")
        sendable(f"extra[{name!r}]", value)
    return tuple(extra.items())
