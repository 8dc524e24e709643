"""How is a personal value shown: made for `attrs.field(repr=...)`."""

from __future__ import annotations

from exotel_async.errors import mask_numbers


def masked(value: object) -> str:
    """Show a value with its phone numbers masked."""
    return mask_numbers(repr(value))


def masked_url(url: str | None) -> str:
    """Show a URL without its query, which may be a signature."""
    return masked(None if url is None else url.partition("?")[0])
