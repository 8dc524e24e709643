"""What would Exotel answer? A Voice v1 to test against, as a real server on this machine.

It is written from Exotel's page alone and imports nothing else of this package,
so that it can disagree with the client and the receiver.

    clock       time that moves when told to, or by itself
    calls       the life of a call, as values and pure steps
    numbers     telephone numbers: spellings and metadata
    magic       the numbers that behave in a known way
    catalogue   what can go wrong, by name
    faults      which faults are laid down, and when each strikes
    checks      what a connect may carry
    bulk        filters, cursors and pages of the bulk answer
    answers     the bodies of answers, JSON and XML
    callbacks   the bodies of StatusCallbacks
    odd         the same, as others met them
    payloads    the same, to test a handler alone
    recordings  what a recording sounds like, and who may hear it
    accounts    who may ask, and how often
    delivery    bringing StatusCallbacks to their URL, with Exotel's retries
    journals    what happened
    carrier     Exotel itself: a request in, an answer out, calls that live on the clock
    wiring      requests and replies as bytes
    listening   the socket, which can also refuse and cut off
    control     steering it from another process
    arguments   how a test may steer it
    server      all of it together: `Simulator`
    threaded    the same in a thread, for programs with another event loop, or none
"""

from __future__ import annotations

from . import payloads
from .calls import Call, Ending, Leg
from .catalogue import FAULTS
from .clock import VirtualClock
from .delivery import Delivered, post_callback
from .faults import Fault
from .journals import Complaint, Received, Watch
from .magic import MAGIC_NUMBERS, MagicNumber
from .payloads import Payload
from .server import Settings, Simulator
from .threaded import ThreadedSimulator

__all__ = [
    "FAULTS",
    "MAGIC_NUMBERS",
    "Call",
    "Complaint",
    "Delivered",
    "Ending",
    "Fault",
    "Leg",
    "MagicNumber",
    "Payload",
    "Received",
    "Settings",
    "Simulator",
    "ThreadedSimulator",
    "VirtualClock",
    "Watch",
    "payloads",
    "post_callback",
]
