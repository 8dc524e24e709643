"""The aiohttp sub-app that receives StatusCallbacks."""

from exotel_async.events import CallbackRouter

from .access_log import MaskingAccessLogger
from .callbacks import StatusCallbacks

__all__ = ["CallbackRouter", "MaskingAccessLogger", "StatusCallbacks"]
