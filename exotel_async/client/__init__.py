"""Outbound: the client, its resources, the one door to Exotel, and pure rules for it."""

from .call_list import CallList
from .client import ClientOptions, ExotelClient
from .pacing import Pacer, SlidingWindowPacer

__all__ = ["CallList", "ClientOptions", "ExotelClient", "Pacer", "SlidingWindowPacer"]
