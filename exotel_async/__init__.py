"""Exotel's Voice v1 for asyncio: ask it, and be told.

    errors       every error, drawn as a tree
    models/      nouns: frozen values and pure rules about them
    wire/        what Exotel's bytes mean, both ways; no I/O
    client/      outbound: ExotelClient and its one door to Exotel
    events/      an event to its handlers; no HTTP
    webhooks/    the aiohttp sub-app that receives StatusCallbacks
    simulator/   an Exotel to test against

This front door imports what asking takes, and no more: `exotel_async.webhooks` and
`exotel_async.simulator` are imported by those who use them.
"""

from .client import CallList, ClientOptions, ExotelClient, Pacer, SlidingWindowPacer
from .errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    CallbackError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DndBlockedError,
    ExotelError,
    InvalidRequestError,
    KycRequiredError,
    MalformedCallbackError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    SentRequest,
    ServerError,
    UnreadableAnswerError,
    UnverifiedCallbackError,
)
from .models import (
    AnsweredBy,
    Call,
    CallAnswered,
    CallDetails,
    CallPage,
    CallStatus,
    CallTerminated,
    Circle,
    Clock,
    Direction,
    Dnd,
    Leg,
    LegStatus,
    NumberMetadata,
    Operator,
    Range,
    StatusCallback,
    SystemClock,
    UnknownCallback,
)
from .wire import (
    IST,
    BulkFilters,
    CallbackTokens,
    ConnectOptions,
    FlowOptions,
    decode_callback,
)

__version__ = "0.1.0"

__all__ = [
    "IST",
    "AnsweredBy",
    "ApiError",
    "AuthenticationError",
    "BadRequestError",
    "BulkFilters",
    "Call",
    "CallAnswered",
    "CallDetails",
    "CallList",
    "CallPage",
    "CallStatus",
    "CallTerminated",
    "CallbackError",
    "CallbackTokens",
    "Circle",
    "ClientClosedError",
    "ClientOptions",
    "Clock",
    "ConfigurationError",
    "ConflictError",
    "ConnectOptions",
    "Direction",
    "Dnd",
    "DndBlockedError",
    "ExotelClient",
    "ExotelError",
    "FlowOptions",
    "InvalidRequestError",
    "KycRequiredError",
    "Leg",
    "LegStatus",
    "MalformedCallbackError",
    "NoAnswerError",
    "NotFoundError",
    "NotSentError",
    "NumberMetadata",
    "Operator",
    "OutcomeUnknownError",
    "Pacer",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Range",
    "RateLimitedError",
    "SentRequest",
    "ServerError",
    "SlidingWindowPacer",
    "StatusCallback",
    "SystemClock",
    "UnknownCallback",
    "UnreadableAnswerError",
    "UnverifiedCallbackError",
    "decode_callback",
]
