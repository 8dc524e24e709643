"""Client and journal joined: at most one dial, and how it ended."""

from exotel_async.wire.connecting import DialOptions, FlowDialOptions

from .dialer import Dialer
from .orders import RetryIf

__all__ = ["DialOptions", "Dialer", "FlowDialOptions", "RetryIf"]
