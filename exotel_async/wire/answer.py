"""What does an answer of Exotel's say: a value, a refusal, or nothing that makes sense."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import attrs

from exotel_async.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    DndBlockedError,
    KycRequiredError,
    NoAnswerError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    UnreadableAnswerError,
)

from .converter import Converter, Tree
from .request import Request
from .values import read_text
from .xml import read_xml

T = TypeVar("T")

JsonLoads = Callable[[bytes], object]

_BODY_KEPT = 4_096
_DECODER = json.JSONDecoder(parse_float=Decimal)  # json.loads would make one each time
_MESSAGE_KEPT = 500
_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
}


@attrs.frozen(kw_only=True, eq=False)
class Answer:
    """An HTTP answer; `problem` is what went wrong while its body was read."""

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = attrs.field(default=b"", repr=False)
    problem: BaseException | None = None


def load_exactly(body: bytes) -> object:
    """Read JSON; numbers with a fraction keep every digit."""
    text = body.decode(json.detect_encoding(body), "surrogatepass")  # as json.loads does
    return _DECODER.decode(text)


def read_answer(
    request: Request[T],
    answer: Answer,
    *,
    converter: Converter,
    now: datetime,
    json_loads: JsonLoads = load_exactly,
) -> T:
    """Decode what was asked for.

    Raises ApiError where Exotel refused, UnreadableAnswerError where the answer makes no sense,
    and NoAnswerError where it broke off. A refusal stands by its status, body or no body.
    """
    tree, trouble = _read_tree(answer.body, json_loads)
    if answer.status >= 400:
        raise refusal(answer, tree, now=now)
    if answer.problem is not None:
        raise NoAnswerError("Exotel's answer broke off") from answer.problem
    if "RestException" in tree:
        raise refusal(answer, tree, now=now)
    if answer.status >= 300:
        raise _unreadable(answer, "a redirect, which is never followed; check base_url and region")
    if trouble is not None:
        raise _unreadable(answer, str(trouble)) from trouble
    try:
        return request.decode(converter, tree)
    except ValueError as error:
        raise _unreadable(answer, str(error)) from error


def refusal(answer: Answer, tree: Tree, *, now: datetime) -> ApiError:
    """Name what Exotel refused with, by the HTTP status and by the message's text."""
    told = tree.get("RestException")
    told = told if isinstance(told, dict) else {}
    text = answer.body[:_BODY_KEPT].decode("utf-8", "replace")
    message = _text_of(told.get("Message"))[:_MESSAGE_KEPT] or _first_words(text)
    status = answer.status
    if status < 400:  # a RestException in an answer that pretends to be a success
        status = _status_of(told.get("Status")) or status
    known = (message, status, _code_of(told.get("Code")), text)
    kind = _kind_of(status, message)
    if issubclass(kind, RateLimitedError | ServerError):
        return kind(*known, retry_after=retry_after(answer.headers, now=now))
    return kind(*known)


def retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Read `Retry-After`, in seconds from now; None where it is missing or makes no sense."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (OverflowError, TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _read_tree(body: bytes, json_loads: JsonLoads) -> tuple[Tree, ValueError | None]:
    try:
        return _read_object(body, json_loads), None
    except ValueError as error:
        return {}, error
    except RecursionError:
        return {}, ValueError("nested too deep")
    except InvalidOperation:
        return {}, ValueError("a number beyond all bounds")


def _read_object(body: bytes, json_loads: JsonLoads) -> dict[str, Any]:
    """Read JSON or XML, whichever it is: asked for one, Exotel may answer with the other."""
    body = body.removeprefix(BOM_UTF8).strip()  # XML must not begin with a blank line, PHP does
    if not body:
        raise ValueError("an empty answer")
    if body.startswith(b"<"):
        return read_xml(body)
    tree = json_loads(body)
    if not isinstance(tree, dict):
        raise ValueError("JSON, but not an object")  # noqa: TRY004 - it was read, not passed
    return tree


def _unreadable(answer: Answer, why: str) -> UnreadableAnswerError:
    text = answer.body[:_BODY_KEPT].decode("utf-8", "replace")
    message = f"Exotel's answer ({answer.status}) can't be read: {why}"
    return UnreadableAnswerError(message, answer.status, text)


def _kind_of(status: int, message: str) -> type[ApiError]:
    if status == 403:
        if "TRAI NDNC" in message.upper():
            return DndBlockedError
        if "NOT YET KYC COMPLIANT" in message.upper():
            return KycRequiredError
    return ServerError if status >= 500 else _BY_STATUS.get(status, ApiError)


def _text_of(value: object) -> str:
    try:
        return (read_text(value) or "").strip()
    except ValueError:
        return ""


def _status_of(value: object) -> int | None:
    text = _text_of(value)
    return int(text) if len(text) == 3 and text.isascii() and text.isdecimal() else None


def _code_of(value: object) -> int | str | None:
    text = _text_of(value)
    if text.isascii() and text.isdecimal() and len(text) <= 18:
        return int(text)
    return text or None


def _first_words(text: str) -> str:
    words = " ".join(text.split())
    if not words or words.startswith("<"):
        return "no reason given"
    return words if len(words) <= _MESSAGE_KEPT else words[:_MESSAGE_KEPT] + "…"
