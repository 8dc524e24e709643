"""What is to be dialled, and by which name is it known: arguments checked, nothing sent yet."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from exotel_async.client.settings import Settings
from exotel_async.journal.records import NewDial
from exotel_async.models.calls import Call
from exotel_async.wire import checks, connecting
from exotel_async.wire.callback_url import callback_url
from exotel_async.wire.request import Request
from exotel_async.wire.tokens import CallbackTokens

from .horizon import longest

RetryIf = Literal["refused", "not_sent", "not_placed"]

_RETRY_IF = ("refused", "not_sent", "not_placed")
_LONGEST_KEY = 255  # characters
_REF_BYTES = 12
_OURS = ("status_callback", "status_callback_events", "status_callback_content_type")


@attrs.frozen(kw_only=True)
class Order:
    """One dial as a user wants it."""

    new: NewDial
    text: str = attrs.field(repr=False)  # the caller's own arguments: what its key is bound to
    request: Request[Call]
    retry_if: frozenset[str]


@attrs.frozen(kw_only=True)
class Desk:
    """What all orders of a dialer have in common."""

    settings: Settings
    tokens: CallbackTokens
    public_url: str

    def connect(
        self, *, key: object, retry_if: object, now: datetime, arguments: Mapping[str, Any]
    ) -> Order:
        """Take an order for a call between two numbers."""
        _refuse_ours(arguments)
        ref = new_ref()
        request = connecting.connect(
            **_tagged(arguments, ref),
            status_callback=self._url(ref, now),
            status_callback_events=("terminal", "answered"),
            status_callback_content_type="application/json",
        )
        return self._order(ref, request, key=key, retry_if=retry_if, arguments=arguments)

    def connect_to_flow(
        self, *, key: object, retry_if: object, now: datetime, arguments: Mapping[str, Any]
    ) -> Order:
        """Take an order for a call to a flow."""
        _refuse_ours(arguments)
        ref = new_ref()
        flow = connecting.url_of_flow(
            arguments["flow_id"],
            arguments["url"],
            account_sid=self.settings.account_sid,
            flow_base_url=self.settings.flow_base_url,
        )
        sent = {name: value for name, value in arguments.items() if name not in ("flow_id", "url")}
        request = connecting.connect_to_flow(
            **_tagged(sent, ref), url=flow, status_callback=self._url(ref, now)
        )
        told = {
            **arguments,
            "flow_id": None if arguments["flow_id"] is None else str(arguments["flow_id"]),
        }
        return self._order(ref, request, key=key, retry_if=retry_if, arguments=told)

    def _order(
        self,
        ref: str,
        request: Request[Call],
        *,
        key: object,
        retry_if: object,
        arguments: Mapping[str, Any],
    ) -> Order:
        told = {name: value for name, value in arguments.items() if value is not None}
        text = canonical(told)
        new = NewDial(
            ref=ref,
            account=self.settings.account_sid,
            key=checked_key(key),
            seal=self.tokens.seal(text),
            arguments=json.loads(text),
            longest=longest(
                timeout=self.settings.timeout,
                time_limit=told.get("time_limit"),
                time_out=told.get("time_out"),
            ),
        )
        return Order(new=new, text=text, request=request, retry_if=checked_retry_if(retry_if))

    def _url(self, ref: str, now: datetime) -> str:
        return callback_url(self.public_url, self.tokens, ref=ref, now=now, kind="dial")


def new_ref() -> str:
    """Make up a ref that nobody can guess."""
    return secrets.token_urlsafe(_REF_BYTES)


def _tagged(arguments: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    """Put the ref where a record may show it, unless the user has something to say there."""
    if arguments.get("custom_field") is not None:
        return arguments
    return {**arguments, "custom_field": ref}


def canonical(arguments: Mapping[str, object]) -> str:
    """Spell arguments in the one way that makes equal ones equal texts.

    >>> canonical({"to": "2", "from_": "1", "extra": {"b": "2", "a": "1"}})
    '{"extra": {"a": "1", "b": "2"}, "from_": "1", "to": "2"}'
    """
    plain = {
        name: dict(value) if isinstance(value, Mapping) else value
        for name, value in arguments.items()
    }
    return json.dumps(plain, sort_keys=True)


def checked_key(key: object) -> str:
    """Take an idempotency key: a text that is not blank, and not endless."""
    text = checks.text("idempotency_key", key)
    if len(text) > _LONGEST_KEY:
        checks.refuse("idempotency_key", len(text), f"at most {_LONGEST_KEY} characters long")
    return text


def checked_retry_if(words: object) -> frozenset[str]:
    """Take the states after which the same key may dial anew; an unknown dial never may."""
    if not isinstance(words, str | Iterable):
        checks.refuse("retry_if", words, f"some of {', '.join(_RETRY_IF)}")
    return frozenset(checks.one_of("retry_if", word, _RETRY_IF) for word in _several(words))


def _several(words: str | Collection[object] | Iterable[object]) -> Iterable[object]:
    return (words,) if isinstance(words, str) else words


def _refuse_ours(arguments: Mapping[str, object]) -> None:
    for name in _OURS:
        if name in arguments:
            raise TypeError(
                f"unexpected argument {name!r}: the dialer's callbacks come to its own public_url"
            )
