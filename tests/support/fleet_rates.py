"""What several processes bring against one: callbacks and deliveries a second, in real time.

One and several take turns, so that whatever else the machine does slows both. The load comes from
the process that measures; it says nothing about machines that have more cores than this one.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import attrs
from fleet_plan import SECRET, Plan, Role
from fleet_run import reserved
from fleet_zygote import Zygote
from postgres_server import Server

from exotel_async import CallbackTokens
from exotel_async.simulator import payloads

_CONNECTIONS = 32
_PATIENCE = 30.0  # seconds without any answer
_LOOK = 0.01
_TOKENS = CallbackTokens([SECRET])
_NUMBERS = count()


@attrs.frozen
class Rates:
    """Callbacks received, and delivered, in a second."""

    received: float
    delivered: float


@attrs.frozen
class Compared:
    """What one process of each role did, and several, round by round."""

    several: int
    alone: Sequence[Rates]
    together: Sequence[Rates]

    def medians(self, name: str) -> tuple[float, float, float]:
        """Tell the median of one process, of several, and of the rounds' ratios."""
        alone = [getattr(one, name) for one in self.alone]
        together = [getattr(one, name) for one in self.together]
        ratios = [many / one for one, many in zip(alone, together, strict=True)]
        return median(alone), median(together), median(ratios)


def compare(
    server: Server,
    zygote: Zygote,
    folder: Path,
    *,
    several: int,
    rounds: int,
    warm: int,
    callbacks: int,
) -> Compared:
    """Measure one process of each role and several in turn, first a few times for warming up."""
    found: dict[int, list[Rates]] = {1: [], several: []}
    for number in range(warm + rounds):
        for processes, rates in found.items():
            place = folder / f"{processes}-{number}"
            rates.append(measure(server, zygote, place, processes=processes, callbacks=callbacks))
    return Compared(several, found[1][warm:], found[several][warm:])


def measure(
    server: Server, zygote: Zygote, folder: Path, *, processes: int, callbacks: int
) -> Rates:
    """Have so many receivers take callbacks in, and then so many workers deliver them."""
    folder.mkdir(parents=True)
    dsn = server.create_database()
    start = partial(_started, zygote, folder, dsn)
    try:
        with ExitStack() as stack:
            ports = stack.enter_context(reserved(processes))
            messages = [_message() for _ in range(callbacks)]
            received = _received(start("receiver", ports), zygote, ports, messages)
            delivered = _delivered(start("worker", [0] * processes), zygote, folder, callbacks)
        return Rates(received, delivered)
    finally:
        server.drop_database(dsn)


def _started(zygote: Zygote, folder: Path, dsn: str, role: Role, ports: Sequence[int]) -> list[int]:
    return [
        zygote.fork(
            Plan(
                role=role, number=place, place=place, folder=str(folder), dsn=dsn, port=port,
                public_url="http://127.0.0.1/exotel/", lease=30.0,
            ).to_text()
        )
        for place, port in enumerate(ports)
    ]  # fmt: skip


def _received(
    pids: Sequence[int], zygote: Zygote, ports: Sequence[int], messages: Sequence[bytes]
) -> float:
    try:
        load = _Load(ports)
        try:
            return len(messages) / load.send(messages)
        finally:
            load.close()
    finally:
        _end(zygote, pids)


def _delivered(pids: Sequence[int], zygote: Zygote, folder: Path, callbacks: int) -> float:
    """Wait until all is delivered; the time is that from the first handler to the last."""
    try:
        lines = _lines_of(folder, callbacks)
    finally:
        _end(zygote, pids)
    times = [line["at"] for line in lines if line["what"] == "mark"]
    return (len(times) - 1) / (max(times) - min(times))


def _lines_of(folder: Path, callbacks: int) -> list[dict[str, float | str]]:
    path, until = folder / "lines", time.monotonic() + 2 * _PATIENCE
    while time.monotonic() < until:
        text = path.read_text() if path.exists() else ""
        if text.count('"what": "mark"') >= callbacks:
            return [json.loads(line) for line in text.splitlines()]
        time.sleep(10 * _LOOK)
    raise TimeoutError("not all was delivered")


def _end(zygote: Zygote, pids: Sequence[int]) -> None:
    for pid in pids:
        zygote.signal(pid, signal.SIGTERM)
    until = time.monotonic() + _PATIENCE
    while any(pid not in zygote.ended for pid in pids):
        if time.monotonic() > until:
            raise TimeoutError("a process did not end")
        time.sleep(_LOOK)
        zygote.listen()


def _message() -> bytes:
    """Spell a request about a call of its own, to a URL of its own."""
    sent = payloads.terminal(CallSid=os.urandom(16).hex())
    head = (
        f"POST /exotel/{_TOKENS.mint(f'order-{next(_NUMBERS)}')} HTTP/1.1\r\nHost: shop.example\r\n"
        f"Content-Type: {sent.content_type}\r\nContent-Length: {len(sent.body)}\r\n\r\n"
    )
    return head.encode() + sent.body


class _Load:
    """Connections to receivers, on each of which one request follows the other's answer."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._selector = selectors.DefaultSelector()
        for number in range(_CONNECTIONS):
            connection = _connected(ports[number % len(ports)])
            self._selector.register(connection, selectors.EVENT_READ)

    def send(self, messages: Sequence[bytes]) -> float:
        """Have all of them answered with 200; return the seconds it took."""
        waiting, unanswered = iter(messages), len(messages)
        begun = time.perf_counter()
        for key, message in zip(self._keys(), waiting, strict=False):
            key.fileobj.sendall(message)
        while unanswered:
            for key in self._answered():
                unanswered -= 1
                if message := next(waiting, b""):
                    key.fileobj.sendall(message)
        return time.perf_counter() - begun

    def close(self) -> None:
        """Hang up."""
        for key in self._keys():
            key.fileobj.close()
        self._selector.close()

    def _keys(self) -> list[Any]:
        return list(self._selector.get_map().values())

    def _answered(self) -> Iterator[Any]:
        ready = self._selector.select(_PATIENCE)
        if not ready:
            raise TimeoutError("no answer")
        for key, _ in ready:
            answer = key.fileobj.recv(4096)
            while answer and not answer.endswith(b"OK"):  # it may come in two pieces
                more = key.fileobj.recv(4096)
                answer = answer + more if more else b""
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"answered with {answer[:40]!r}")
            yield key


def _connected(port: int) -> socket.socket:
    """Connect as soon as a receiver listens."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_PATIENCE)
            return connection
