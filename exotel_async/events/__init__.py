"""From an event to its handlers; no HTTP."""

from .delivery import deliver
from .router import CallbackRouter
from .worker import DeliveryWorker, Desk, Handlers

__all__ = ["CallbackRouter", "DeliveryWorker", "Desk", "Handlers", "deliver"]
