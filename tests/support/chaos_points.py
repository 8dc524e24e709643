"""The steps at which a process may end: all that it does to its journal, to Exotel and to others.

Each has a name and comes twice: before and after. `hit` is called there, counts, and where the
plan says so does not come back.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from chaos_plan import HIT, Plan

from exotel_async.client.transport import Transport
from exotel_async.journal import delivering, dialling, pacing, receiving
from exotel_async.journal.journal import Journal
from exotel_async.journal.writer import Writer

ORDERS = {
    "record": (receiving, "record"),
    "claim": (delivering, "claim"),
    "progress": (delivering, "progress"),
    "finish": (delivering, "finish"),
    "fail": (delivering, "fail"),
    "release": (delivering, "release"),
    "intend": (dialling, "intend"),
    "sending": (dialling, "sending"),
    "unsent": (dialling, "unsent"),
    "answered": (dialling, "answered"),
    "due": (dialling, "due"),
    "put_off": (dialling, "put_off"),
    "reject": (dialling, "reject"),
    "conclude": (dialling, "ended"),
    "reserve": (pacing, "reserve"),
    "hold": (pacing, "hold"),
}
"""By the name of the journal's method: the operation that it has carried out."""


class Points:
    """Counts the steps of a process, and ends it at one of them."""

    def __init__(self, plan: Plan) -> None:
        self._at = plan.point
        self._counts: Counter[tuple[str, str]] = Counter()
        self._guard = threading.Lock()
        self.commits = threading.Lock()  # held while the journal commits
        self._trace: int | None = None
        if plan.traced:
            self._trace = appending(Path(plan.folder, "trace"))

    def hit(self, name: str, when: str) -> None:
        """Be at a step."""
        with self._guard:
            self._counts[name, when] += 1
            occurrence = self._counts[name, when]
        if self._trace is not None:
            os.write(self._trace, f"{name}\t{when}\n".encode())
        at = self._at
        if at is None or (at.name, at.when, at.occurrence) != (name, when, occurrence):
            return
        if at.act == "stop":
            with self.commits:  # or it would stand still with the file locked
                os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os._exit(HIT)


def appending(path: Path) -> int:
    """Open a file in which several processes may write lines at once."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def install(points: Points, *, folder: Path) -> None:
    """Put the points into all that this process will do."""
    _note_marks(appending(folder / "marks"))
    for name in ORDERS:
        _around_order(points, name)
    _around_commit(points)
    _around_exchange(points)
    _around_answer(points)


def _note_marks(file: int) -> None:
    """Write down what was marked as done: a delivery once, and no handler runs after its mark."""
    _note_mark(file, "finish", lambda done: [])
    _note_mark(file, "progress", lambda done: [name.rpartition(".")[2] for name in done])


def _note_mark(file: int, method: str, handlers: Callable[[Any], list[str]]) -> None:
    mark: Callable[..., Any] = getattr(Journal, method)

    def marked(self: Journal, claim: Any, *, done: Any = ()) -> Any:
        def note(future: Any) -> None:
            if not future.cancelled() and future.exception() is None and future.result():
                line = {
                    "mark": method,
                    "delivery": claim.delivery_id,
                    "handlers": handlers(done),
                    "at": time.monotonic(),
                }
                os.write(file, json.dumps(line).encode() + b"\n")

        future = mark(self, claim, **({"done": done} if method == "progress" else {}))
        future.add_done_callback(note)
        return future

    setattr(Journal, method, marked)


def _around_order(points: Points, name: str) -> None:
    """Before an order is given, and after whoever gave it may know that it is committed."""
    give: Callable[..., Any] = getattr(Journal, name)

    def ordered(self: Journal, *args: Any, **kwargs: Any) -> Any:
        points.hit(name, "before")
        future = give(self, *args, **kwargs)
        future.add_done_callback(lambda _: points.hit(name, "after"))
        return future

    setattr(Journal, name, ordered)


def _around_commit(points: Points) -> None:
    """Before and after the COMMIT itself, named after each operation that it makes last."""
    names = {getattr(module, function): name for name, (module, function) in ORDERS.items()}
    batch: list[str] = []  # only the writer's thread works on it
    commit = Writer._commit

    def committed(self: Writer, orders: Any, **options: Any) -> None:
        batch[:] = sorted({names[one.operation] for one in orders if one.operation in names})
        with points.commits:
            commit(self, orders, **options)

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql != "COMMIT":
                return super().execute(sql, *parameters)
            for name in batch:
                points.hit(f"commit of {name}", "before")
            done = super().execute(sql, *parameters)
            for name in batch:
                points.hit(f"commit of {name}", "after")
            return done

    connect = sqlite3.connect
    Writer._commit = committed  # type: ignore[method-assign]
    sqlite3.connect = lambda *args, **kwargs: connect(*args, **kwargs, factory=Connection)  # type: ignore[assignment]


def _around_exchange(points: Points) -> None:
    exchange = Transport.exchange

    async def exchanged(self: Transport, envelope: Any) -> Any:
        name = "dialling" if envelope.method == "POST" else "asking"
        points.hit(name, "before")
        try:
            return await exchange(self, envelope)
        finally:
            points.hit(name, "after")

    Transport.exchange = exchanged  # type: ignore[method-assign]


def _around_answer(points: Points) -> None:
    """Before and after the 200 for a callback leaves."""
    write_eof = web.Response.write_eof

    async def written(self: web.Response, data: bytes = b"") -> None:
        points.hit("the 200", "before")
        await write_eof(self, data)
        points.hit("the 200", "after")

    async def plainly(self: web.Response, data: bytes = b"") -> None:
        await (written if self.status == 200 else write_eof)(self, data)

    web.Response.write_eof = plainly  # type: ignore[method-assign]
