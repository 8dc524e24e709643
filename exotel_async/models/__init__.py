"""The nouns: frozen values and the pure rules about them; no JSON, no XML, no HTTP."""

from .calls import Call, CallDetails, CallPage, Leg, Range
from .clock import Clock, SystemClock
from .dials import CallOutcome, Dial, DialState, OutcomeSource, OutcomeState
from .events import CallAnswered, CallTerminated, StatusCallback, UnknownCallback
from .numbers import NumberMetadata
from .vocabulary import AnsweredBy, CallStatus, Circle, Direction, Dnd, LegStatus, Operator

__all__ = [
    "AnsweredBy",
    "Call",
    "CallAnswered",
    "CallDetails",
    "CallOutcome",
    "CallPage",
    "CallStatus",
    "CallTerminated",
    "Circle",
    "Clock",
    "Dial",
    "DialState",
    "Direction",
    "Dnd",
    "Leg",
    "LegStatus",
    "NumberMetadata",
    "Operator",
    "OutcomeSource",
    "OutcomeState",
    "Range",
    "StatusCallback",
    "SystemClock",
    "UnknownCallback",
]
