"""What would Exotel answer? A Voice v1 to test against, as a real server on this machine.

It is written from Exotel's page alone and imports nothing else of this package,
so that it can disagree with the client and the receiver.

    clock      time that moves only when told to
    numbers    telephone numbers: spellings, metadata, who behaves how
    calls      the life of a call, as values and pure steps
    checks     what a connect may carry
    bulk       filters, cursors and pages of the bulk answer
    answers    the bodies of answers, JSON and XML
    callbacks  the bodies of StatusCallbacks
    delivery   bringing StatusCallbacks to their URL, with Exotel's retries
    carrier    the account: a request in, an answer out, calls that live on the clock
    server     the HTTP server around it: `Simulator`
"""

from __future__ import annotations

from .calls import Call, Leg
from .carrier import Received
from .clock import VirtualClock
from .delivery import Delivered
from .server import Settings, Simulator

__all__ = ["Call", "Delivered", "Leg", "Received", "Settings", "Simulator", "VirtualClock"]
