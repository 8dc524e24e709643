"""What does durability cost: callbacks a second, with a journal and without.

`python noxfile.py -s sizing` prints the ratios. Each server is a process of its own, and so is the
load. All servers are up at once and take turns, so that whatever else the machine does slows all
of them; a ratio is the median of those that single rounds had.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import selectors
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import attrs
from aiohttp import web

from exotel_async import CallbackTokens, StatusCallback, decode_callback
from exotel_async.journal import Journal, MemoryJournal, SQLiteJournal, writer
from exotel_async.simulator import payloads
from exotel_async.webhooks import StatusCallbacks

CONNECTIONS = 32
COMMIT = 0.005  # seconds that the slow disk takes for one
MEMORY = Path("/dev/shm")  # what the slow disk is made of, where there is such a thing
TOKENS = CallbackTokens(["no secret: nothing but this measurement uses it"])
PATIENCE = 30.0  # seconds without any answer


# A server.


class SlowCommits(sqlite3.Connection):
    """A connection to a disk that takes its time."""

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if sql == "COMMIT":
            time.sleep(COMMIT)
        return super().execute(sql, *parameters)


def on_slow_disk(path: Path) -> Journal:
    sqlite3.connect = partial(sqlite3.connect, factory=SlowCommits)
    return SQLiteJournal(path)


def with_one_commit_each(path: Path) -> Journal:
    writer._MOST_TOGETHER = 1
    return on_slow_disk(path)


@attrs.frozen
class Kind:
    """A way to receive; `share`: of a round's callbacks, so that all take about as long."""

    title: str
    journal: Callable[[Path], Journal] | None
    deliver: bool = False
    share: float = 1.0
    disk: Path | None = None  # None: where temporary files are


KINDS: Mapping[str, Kind] = {
    "none": Kind("no journal, handler awaited", None),
    "memory": Kind("MemoryJournal, received", lambda _: MemoryJournal()),
    "sqlite": Kind("SQLiteJournal, received", SQLiteJournal),
    "delivering": Kind("SQLiteJournal, and delivered", SQLiteJournal, deliver=True),
    "slow": Kind("5 ms a commit, shared", on_slow_disk, disk=MEMORY),
    "slow-alone": Kind("5 ms a commit, one each", with_one_commit_each, share=0.1, disk=MEMORY),
}


def receiver(kind: Kind, journal: Journal | None) -> StatusCallbacks:
    """Make the receiver; its handler does nothing."""
    if journal is None:
        callbacks = StatusCallbacks(tokens=TOKENS)
    else:
        callbacks = StatusCallbacks(tokens=TOKENS, journal=journal, deliver=kind.deliver)

    @callbacks.on(StatusCallback)
    async def ignore(event: StatusCallback) -> None:
        pass

    return callbacks


async def serve(kind: Kind, folder: Path) -> None:
    """Serve until standard input ends; say the port first, and for each line the CPU time."""
    journal = None if kind.journal is None else kind.journal(folder / "calls.db")
    callbacks = receiver(kind, journal)
    app = web.Application()
    app.add_subapp("/exotel/", callbacks.app)
    app.cleanup_ctx.extend([] if journal is None else [journal.lifespan])
    app.cleanup_ctx.append(callbacks.lifespan)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(time.process_time(), flush=True)


# The load.


def requests() -> Iterator[bytes]:
    """Spell requests without end, each about another call and to a URL of its own."""
    body = payloads.terminal()
    sid = decode_callback(body.body, content_type=body.content_type).call_sid
    for number in count():
        text = body.body.replace(sid.encode(), secrets.token_hex(16).encode())
        head = (
            f"POST /exotel/{TOKENS.mint(f'order-{number}')} HTTP/1.1\r\nHost: shop.example\r\n"
            f"Content-Type: {body.content_type}\r\nContent-Length: {len(text)}\r\n\r\n"
        )
        yield head.encode() + text


class Load:
    """Connections to a server, on each of which one request follows the other's answer."""

    def __init__(self, port: int) -> None:
        self._selector = selectors.DefaultSelector()
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(PATIENCE)
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
                for message in waiting:
                    key.fileobj.sendall(message)
                    break
        return time.perf_counter() - begun

    def _keys(self) -> list[selectors.SelectorKey]:
        return list(self._selector.get_map().values())

    def _answered(self) -> Iterator[selectors.SelectorKey]:
        ready = self._selector.select(PATIENCE)
        if not ready:
            raise TimeoutError("no answer")
        for key, _ in ready:
            answer = key.fileobj.recv(4096)
            while answer and not answer.endswith(b"OK"):  # older aiohttp sends it in two pieces
                more = key.fileobj.recv(4096)
                answer = answer + more if more else b""
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(f"answered with {answer[:40]!r}")
            yield key

    def close(self) -> None:
        for key in self._keys():
            key.fileobj.close()
        self._selector.close()


class Server:
    """A server in a process of its own, and what was measured of it, round by round."""

    def __init__(self, name: str) -> None:
        self.kind = KINDS[name]
        self.rates: list[float] = []
        self.cpu: list[float] = []
        disk = self.kind.disk
        self._folder = TemporaryDirectory(dir=disk if disk and disk.is_dir() else None)
        command = [sys.executable, __file__, "--serve", name, "--folder", self._folder.name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, text=True, bufsize=1, **pipes)
        self._port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(PATIENCE)
        self._folder.cleanup()

    def measure(self, messages: Sequence[bytes]) -> None:
        """Send them; note how many a second were answered, and the server's CPU for each."""
        load = Load(self._port)
        before = self._cpu_time()
        try:
            took = load.send(messages)
        finally:
            load.close()
        self.rates.append(len(messages) / took)
        self.cpu.append((self._cpu_time() - before) / len(messages))

    def _cpu_time(self) -> float:
        self._process.stdin.write("\n")
        return float(self._process.stdout.readline())


# The report.


def measure(names: Sequence[str], *, rounds: int, callbacks: int) -> dict[str, Server]:
    """Let the servers take turns; the first round is for warming up."""
    source = requests()
    with ExitStack() as stack:
        servers = {name: stack.enter_context(Server(name)) for name in names}
        for number in range(rounds + 1):
            for server in servers.values():
                least = callbacks if number else callbacks / 4
                amount = max(CONNECTIONS, int(least * server.kind.share))
                server.measure([next(source) for _ in range(amount)])
    for server in servers.values():
        del server.rates[0], server.cpu[0]
    return servers


def ratio(above: Server, below: Server) -> str:
    """Tell the median of the rounds' ratios, and their range."""
    ratios = [one / other for one, other in zip(above.rates, below.rates, strict=True)]
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def report(servers: Mapping[str, Server]) -> None:
    print(f"{'':30}{'callbacks/s':>12}{'CPU each':>10}   of what no journal does")
    for server in servers.values():
        rate, cpu = f"{median(server.rates):,.0f}", f"{median(server.cpu) * 1e6:.0f} us"
        part = ratio(server, servers["none"]) if "none" in servers else ""
        print(f"{server.kind.title:30}{rate:>12}{cpu:>10}   {part}")
    if {"slow", "slow-alone"} <= set(servers):
        times = ratio(servers["slow"], servers["slow-alone"])
        print(f"With 5 ms a commit, sharing it makes this many times as many: {times}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; default: all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--callbacks", type=int, default=3000, help="in a round, to each server")
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(KINDS[options.serve], options.folder))
    else:
        names = options.kinds or list(KINDS)
        report(measure(names, rounds=options.rounds, callbacks=options.callbacks))


if __name__ == "__main__":
    main()
