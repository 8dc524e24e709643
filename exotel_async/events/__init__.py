"""From an event to its handlers; no HTTP."""

from .delivery import deliver
from .router import CallbackRouter

__all__ = ["CallbackRouter", "deliver"]
