"""Says how programs in any language steer a running simulator: JSON under `/_simulator/`.

GET    now, numbers, faults, requests, callbacks, calls, complaints
POST   advance    {"minutes": 5}
POST   script     {"to": "+91...", "ending": "busy"}
POST   fault      {"name": "hang", "on": "connect", "times": 1}
POST   whitelist  {"number": "+91..."}
DELETE faults, complaints
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs
from aiohttp import web

from .catalogue import Kind

PREFIX = "/_simulator/"

Commands = Mapping[str, Callable[..., object]]  # by method and name: "POST advance"


async def handle(commands: Commands, request: web.Request) -> web.Response:
    """Answer one request for the control of a simulator."""
    command = commands.get(f"{request.method} {request.path.removeprefix(PREFIX)}")
    if command is None:
        return _said({"error": "no such command", "commands": sorted(commands)}, status=404)
    try:
        done = command(**_bound(command, await _arguments(request)))
        return _said(await done if inspect.isawaitable(done) else done)
    except (TypeError, ValueError, RuntimeError) as error:
        return _said({"error": str(error)}, status=400)


async def _arguments(request: web.Request) -> dict[str, Any]:
    """Read a command's arguments; only as JSON, which no web page can send here unasked."""
    if request.method != "POST":
        return {}
    if request.content_type != "application/json":
        raise ValueError("arguments must be sent as application/json")
    arguments = json.loads(await request.read())
    if not isinstance(arguments, dict):
        raise TypeError("arguments must be a JSON object")
    return arguments


def _bound(command: Callable[..., object], arguments: dict[str, Any]) -> dict[str, Any]:
    """See that a command takes these arguments; the TypeError names what is wrong."""
    inspect.signature(command).bind(**arguments)
    return arguments


def _said(content: object, *, status: int = 200) -> web.Response:
    return web.json_response(text=json.dumps(content, default=_plain), status=status)


def _plain(value: object) -> object:
    """Turn what JSON does not know into what it knows."""
    if attrs.has(type(value)):
        shown = attrs.filters.exclude(Kind)
        return attrs.asdict(value, recurse=False, filter=shown)  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else list(value)  # type: ignore[call-overload]
