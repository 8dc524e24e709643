"""Exotel's Voice v1 for asyncio: ask it, and be told.

    errors       every error, drawn as a tree
    models/      nouns: frozen values and pure rules about them
    wire/        what Exotel's bytes mean, both ways; no I/O
    client/      outbound: ExotelClient and its one door to Exotel
    journal/     what must survive a crash
    dialer/      client and journal joined: at most one dial, and how it ended
    events/      an event to its handlers; no HTTP
    webhooks/    the aiohttp sub-app that receives StatusCallbacks
    simulator/   an Exotel to test against
    testing      the pytest plugin
    cli/         the command `exotel-async`

This front door leads to what asking takes, and no more: `exotel_async.webhooks`, `.journal`,
`.dialer` and `.simulator` are imported by those who use them. What a name needs is loaded when
it is first asked for, since every pytest run loads `exotel_async.testing` by way of here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import (
        CallList,
        ClientOptions,
        ExotelClient,
        NumberResult,
        Pacer,
        RecordingStream,
        SavedRecording,
        SlidingWindowPacer,
    )
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
        JournalError,
        KeyReusedError,
        KycRequiredError,
        MalformedCallbackError,
        NoAnswerError,
        NotFoundError,
        NotSentError,
        OutcomeUnknownError,
        PaymentRequiredError,
        PermissionDeniedError,
        RateLimitedError,
        RecordingError,
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
        CallOutcome,
        CallPage,
        CallStatus,
        CallTerminated,
        Circle,
        Clock,
        Dial,
        DialState,
        Direction,
        Dnd,
        Leg,
        LegStatus,
        NumberMetadata,
        Operator,
        OutcomeSource,
        OutcomeState,
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
    "CallOutcome",
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
    "Dial",
    "DialState",
    "Direction",
    "Dnd",
    "DndBlockedError",
    "ExotelClient",
    "ExotelError",
    "FlowOptions",
    "InvalidRequestError",
    "JournalError",
    "KeyReusedError",
    "KycRequiredError",
    "Leg",
    "LegStatus",
    "MalformedCallbackError",
    "NoAnswerError",
    "NotFoundError",
    "NotSentError",
    "NumberMetadata",
    "NumberResult",
    "Operator",
    "OutcomeSource",
    "OutcomeState",
    "OutcomeUnknownError",
    "Pacer",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Range",
    "RateLimitedError",
    "RecordingError",
    "RecordingStream",
    "SavedRecording",
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

if not TYPE_CHECKING:  # or every misspelt name would type-check
    _ROOMS = ("errors", "models", "wire", "client")  # the lightest first

    def __getattr__(name: str) -> object:
        """Load what is asked for: a room, or a public name from the room that has it."""
        if name in _ROOMS:
            return import_module(f".{name}", __name__)
        if name in __all__:
            for room in _ROOMS:
                found = vars(import_module(f".{room}", __name__)).get(name)
                if found is not None:
                    globals()[name] = found
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Name what is there, loaded or not."""
        return sorted({*globals(), *_ROOMS, *__all__})
