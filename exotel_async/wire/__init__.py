"""The sans-I/O core: what Exotel's bytes mean, both ways."""

from .bulk import BulkFilters
from .callback import decode_callback
from .connecting import ConnectOptions, FlowOptions
from .tokens import CallbackTokens
from .values import IST

__all__ = [
    "IST",
    "BulkFilters",
    "CallbackTokens",
    "ConnectOptions",
    "FlowOptions",
    "decode_callback",
]
