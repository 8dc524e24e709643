"""Outbound: the client, its resources, the one door to Exotel, and pure rules for it."""

from .call_list import CallList
from .client import ClientOptions, ExotelClient
from .numbers import NumberResult
from .pacing import Pacer, SlidingWindowPacer
from .recordings import RecordingStream, SavedRecording

__all__ = [
    "CallList",
    "ClientOptions",
    "ExotelClient",
    "NumberResult",
    "Pacer",
    "RecordingStream",
    "SavedRecording",
    "SlidingWindowPacer",
]
