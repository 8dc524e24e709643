"""How do processes hear of each other's commits."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from .server import PatientConnection, with_patience

_TICK = 1.0  # seconds after which whoever waits looks for himself
_APART = 0.1  # seconds between two words of ours
_PATIENCE = 1.0  # seconds that the server has to take a word: whoever waits must be woken
_PARTING = 1.0  # seconds in which the thread may take its leave


class Hints:
    """A thread that tells other processes of commits, and hears of theirs, as far as that works.

    NOTIFY is a hint and no more: behind a pool of connections it gets lost, and nobody can tell
    when a connection has silently died. So whoever waits is woken once in a while anyway.
    """

    def __init__(
        self,
        dsn: str,
        *,
        channel: str,
        name: str,
        tell: Callable[[], None],
        listened_to: Callable[[], bool],
    ) -> None:
        self._dsn = dsn
        self._channel = channel
        self._name = name
        self._tell = tell
        self._listened_to = listened_to
        self._ending = False
        self._news = threading.Event()
        self._connection: PatientConnection | None = None
        self._thread = threading.Thread(target=self._run, name="exotel-journal-hints", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._thread.start()

    def end(self) -> None:
        """Listen no more; a connection that is silent is not waited for."""
        self._ending = True
        self._poke()
        self._thread.join(timeout=_PARTING)
        self._wake.close()

    def announce(self) -> None:
        """Have others told that something was committed; from any thread."""
        if not self._news.is_set():
            self._news.set()
            self._poke()

    def _poke(self) -> None:
        with suppress(OSError):  # full: it is being woken already
            self._wake.send(b"\0")

    # In the thread.

    def _run(self) -> None:
        next_tick = time.monotonic()
        next_word = 0.0
        while not self._ending:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK
                self._connect()
                if self._listened_to():
                    self._tell()
            if self._news.is_set() and now >= next_word:
                next_word = now + _APART
                self._news.clear()
                self._say()
            until = min(next_tick, next_word) if self._news.is_set() else next_tick
            self._listen(max(0.0, until - time.monotonic()))
        self._woken.close()
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> None:
        if self._connection is not None:
            return
        try:
            self._connection = PatientConnection.connect(
                with_patience(self._dsn, _PATIENCE), autocommit=True, prepare_threshold=None
            )
            self._connection.until = time.monotonic() + _PATIENCE
            self._connection.execute(f'LISTEN "{self._channel}"'.encode())
        except psycopg.Error:
            self._drop()

    def _say(self) -> None:
        if self._connection is None:
            return
        try:
            self._connection.until = time.monotonic() + _PATIENCE
            self._connection.execute("SELECT pg_notify(%s, %s)", [self._channel, self._name])
        except psycopg.Error:
            self._drop()

    def _listen(self, seconds: float) -> None:
        with selectors.DefaultSelector() as heard:  # `select` fails above a thousand open files
            heard.register(self._woken, selectors.EVENT_READ)
            if self._connection is not None:
                heard.register(self._connection, selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in heard.select(seconds)}
        if self._woken in ready:
            with suppress(OSError):
                self._woken.recv(4096)
        if self._connection is not None and self._connection in ready:
            self._hear(self._connection)

    def _hear(self, connection: PatientConnection) -> None:
        try:
            told = list(connection.notifies(timeout=0))
        except psycopg.Error:
            self._drop()
            return
        if any(word.payload != self._name for word in told):
            self._tell()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
