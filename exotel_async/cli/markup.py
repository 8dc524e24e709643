"""How does text become markup: always escaped, unless this module made it."""

from __future__ import annotations

from html import escape

from .rows import printable


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: object) -> Markup:
    """Make an element; `class_` is written class, `text_anchor` text-anchor, None left out.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{together(*children)}</{name}>")


def together(*children: str) -> Markup:
    """Put markup and texts after each other."""
    return Markup("".join(c if isinstance(c, Markup) else escaped(c) for c in children))


def escaped(value: object) -> Markup:
    """Write a value as text in which nothing is markup, and nothing turns the line around."""
    return Markup(escape(printable(str(value)), quote=True))
