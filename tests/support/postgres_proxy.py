"""What can stand between a client and PostgreSQL: a pooler, and a network that fails?

The proxy runs in a thread of its own, and may be told what to do from any other.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

import attrs

T = TypeVar("T")

CANCEL_REQUEST, SSL_REQUEST, GSS_REQUEST = 80_877_102, 80_877_103, 80_877_104
PATIENCE = 10.0  # seconds
BROKEN = (OSError, asyncio.IncompleteReadError)

# What PgBouncer keeps apart for each client; it refuses any other parameter at login.
TRACKED = {
    "application_name",
    "client_encoding",
    "datestyle",
    "intervalstyle",
    "standard_conforming_strings",
    "timezone",
}

ASIDE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
COMMIT = re.compile(r"(COMMIT|END)( WORK| TRANSACTION)?( AND (NO )?CHAIN)?")


def statements(text: str) -> list[str]:
    """List the statements of a query, without what is quoted or commented.

    >>> statements("begin; insert into a values ('; commit');  Commit")
    ['BEGIN', 'INSERT INTO A VALUES ( )', 'COMMIT']
    """
    parts = ASIDE.sub(" ", text).upper().split(";")
    return [" ".join(part.split()) for part in parts if part.strip()]


def commits(text: str) -> bool:
    """Say whether a statement of this query is a COMMIT."""
    return any(COMMIT.fullmatch(statement) for statement in statements(text))


def begins(text: str) -> bool:
    """Say whether a statement of this query is a BEGIN."""
    return any(part.startswith(("BEGIN", "START TRANSACTION")) for part in statements(text))


@attrs.frozen
class Message:
    """One message, as either side sends it after the login."""

    kind: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """How it travels."""
        return self.kind + struct.pack("!i", len(self.body) + 4) + self.body


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read one message."""
    kind, length = struct.unpack("!ci", await reader.readexactly(5))
    return Message(kind, await reader.readexactly(length - 4))


@attrs.frozen
class Startup:
    """The first packet of a connection, which alone has no kind."""

    code: int
    body: bytes

    @property
    def raw(self) -> bytes:
        """How it travels."""
        return struct.pack("!ii", len(self.body) + 8, self.code) + self.body

    @property
    def parameters(self) -> dict[str, str]:
        """What the client wants: user, database, and more."""
        words = self.body.decode().split("\0")
        return dict(
            itertools.takewhile(lambda pair: pair[0], zip(words[::2], words[1::2], strict=False))
        )

    def strange(self) -> list[str]:
        """List the parameters that a transaction pooler refuses."""
        return sorted(
            name
            for name in self.parameters
            if name not in {"user", "database"} and name.lower() not in TRACKED
        )


async def read_startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Startup:
    """Read what a client begins with; decline encryption."""
    while True:
        length, code = struct.unpack("!ii", await reader.readexactly(8))
        startup = Startup(code, await reader.readexactly(length - 8))
        if code not in {SSL_REQUEST, GSS_REQUEST}:
            return startup
        writer.write(b"N")


def fatal(code: str, text: str) -> Message:
    """Word an error that ends a connection."""
    fields = {"S": "FATAL", "V": "FATAL", "C": code, "M": text}
    body = "".join(f"{field}{value}\0" for field, value in fields.items())
    return Message(b"E", body.encode() + b"\0")


@attrs.define
class Conversation:
    """Where a client and its server stand: what is unanswered, which transaction is open."""

    waiting: int = 0  # times the server has still to say that it is ready
    status: bytes = b"I"
    unsynced: bool = False
    begun: bool = False
    text: str | None = None  # of the last message, if it runs something
    said: list[str] = attrs.field(factory=list)  # in this transaction
    verbs: set[str] = attrs.field(factory=set)  # first words, ever
    prepared: dict[bytes, str] = attrs.field(factory=dict)

    def sent(self, message: Message) -> None:
        """Take note of what the client says."""
        self.text = self._text_of(message)
        if message.kind in b"QFS":
            self.waiting += 1
        if message.kind in b"PBDECS":
            self.unsynced = message.kind != b"S"
        if self.text is not None:
            self.said.append(self.text)
            self.begun = self.begun or begins(self.text)
            self.verbs |= {part.split()[0] for part in statements(self.text)}

    def answered(self, message: Message) -> None:
        """Take note of what the server says."""
        if message.kind != b"Z":
            return
        self.waiting -= 1
        self.status = message.body
        if self.idle:
            self.begun = False
            self.said.clear()

    @property
    def quiet(self) -> bool:
        """Whether all that the client said is answered."""
        return self.waiting == 0 and not self.unsynced

    @property
    def idle(self) -> bool:
        """Whether no transaction is open either."""
        return self.quiet and self.status == b"I"

    @property
    def committing(self) -> bool:
        """Whether the last message is a COMMIT, or has one in it."""
        return self.text is not None and commits(self.text)

    @property
    def steps(self) -> int:
        """How many statements followed BEGIN, the last message included, if that is one."""
        open_ = self.begun or self.status != b"I"
        return len(self.said) - 1 if open_ and self.text is not None else 0

    def has_said(self, words: str | None) -> bool:
        """Say whether a statement of this transaction has these words in it."""
        return words is None or any(words.lower() in text.lower() for text in self.said)

    def _text_of(self, message: Message) -> str | None:
        if message.kind == b"Q":
            return message.body.rstrip(b"\0").decode()
        if message.kind == b"P":
            name, text = message.body.split(b"\0")[:2]
            self.prepared[name] = text.decode()
        if message.kind == b"B":
            return self.prepared.get(message.body.split(b"\0")[1])
        return None


class Act(Enum):
    """What becomes of a client's message."""

    PASS = "it goes on to the server"
    EAT = "it goes on, and its answer is not passed back"
    LOSE = "it does not go on, and both sides are closed"


@attrs.define
class Fault:
    """Something that goes wrong a number of times."""

    name: str
    act: Act
    left: int
    fits: Callable[[Conversation], bool]


class Faults:
    """What is still to go wrong, and what went wrong; for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[Fault] = []
        self._fired: list[str] = []

    def arm(self, fault: Fault) -> None:
        """Add one to those that wait."""
        with self._lock:
            self._armed.append(fault)

    def disarm(self) -> None:
        """Forget those that wait."""
        with self._lock:
            self._armed.clear()

    def choose(self, conversation: Conversation) -> Act:
        """Use up the first fault that fits."""
        with self._lock:
            for fault in self._armed:
                if fault.left > 0 and fault.fits(conversation):
                    fault.left -= 1
                    self._fired.append(fault.name)
                    return fault.act
        return Act.PASS

    @property
    def fired(self) -> tuple[str, ...]:
        """Their names, in the order in which they happened."""
        with self._lock:
            return tuple(self._fired)

    @property
    def left(self) -> int:
        """How many times something is still to go wrong."""
        with self._lock:
            return sum(fault.left for fault in self._armed)


@attrs.define(eq=False)
class Client:
    """One client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    conversation: Conversation = attrs.field(factory=Conversation)
    backend: Backend | None = None
    silent: bool = False
    eating: bool = False


@attrs.define(eq=False)
class Backend:
    """One connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    key: bytes = b""
    client: Client | None = None
    pump: asyncio.Task[None] | None = None
    greeting: list[Message] = attrs.field(factory=list)

    @property
    def ended(self) -> bool:
        """Whether the server has gone."""
        return self.pump is not None and self.pump.done()

    def close(self) -> None:
        """Take leave, and do not wait."""
        if not self.writer.is_closing():
            self.writer.write(Message(b"X", b"").raw)
            self.writer.close()

    async def end(self) -> None:
        """Take leave, and wait until the server has rolled back and gone."""
        self.client = None  # who hears of it when this is over
        self.writer.write(Message(b"X", b"").raw)
        if self.pump is not None:
            await asyncio.wait({self.pump}, timeout=PATIENCE)
        self.writer.close()


class LoginError(Exception):
    """The server does not let us in; `message` is what it said."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


class Pool:
    """The server's connections that all clients of one user and database share."""

    def __init__(self, size: int, login: Callable[[], Awaitable[Backend]]) -> None:
        self._login = login
        self._free = asyncio.Semaphore(size)
        self._idle: list[Backend] = []

    async def take(self) -> Backend:
        """Wait for a turn, and for a connection."""
        await self._free.acquire()
        if self._idle:
            return self._idle.pop()
        try:
            return await self._login()
        except BaseException:
            self.lose()
            raise

    def give(self, backend: Backend) -> None:
        """Take a connection back, for the next client."""
        self._idle.append(backend)
        self._free.release()

    def lose(self) -> None:
        """Do without the connection that was lent."""
        self._free.release()

    def forget(self, backend: Backend) -> None:
        """Do without a connection that ended while nobody had it."""
        with suppress(ValueError):
            self._idle.remove(backend)


class Proxy:
    """A way to the server at `dsn`, in mode "session" one to one, or as a pool of `size`.

    In mode "transaction" a client has a server's connection from the first message of a
    transaction to its end, and nothing is put back in between: settings leak to the next client,
    prepared statements and LISTEN are left behind. That is how PgBouncer did it before 1.21.
    """

    def __init__(
        self, dsn: str, *, mode: Literal["session", "transaction"] = "session", size: int = 1
    ) -> None:
        self._server = urlsplit(dsn)
        self._mode = mode
        self._size = size
        self._faults = Faults()
        self._refusing = 0.0
        self._delay = 0.0
        self._port: Future[int] = Future()
        self._clients: set[Client] = set()
        self._backends: set[Backend] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pools: dict[tuple[str, str], Pool] = {}
        self._keys: dict[bytes, Client] = {}
        self._numbers: Iterator[int] = itertools.count(1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="postgres-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._port.result(PATIENCE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    @property
    def dsn(self) -> str:
        """The way to the same database through the proxy."""
        user = f"{self._server.username}@" if self._server.username else ""
        place = f"{user}127.0.0.1:{self._port.result(PATIENCE)}"
        return self._server._replace(netloc=place).geturl()

    @property
    def fired(self) -> tuple[str, ...]:
        """The names of the faults that happened, in their order."""
        return self._faults.fired

    @property
    def armed(self) -> int:
        """How many times something is still to go wrong."""
        return self._faults.left

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return self._ask(lambda: len(self._clients))

    @property
    def backends(self) -> int:
        """How many connections to the server are open."""
        return self._ask(lambda: len(self._backends))

    def eat_commit_answer(
        self, *, committed: bool = True, count: int = 1, within: str | None = None
    ) -> None:
        """Close the client's connection instead of answering its COMMIT.

        `committed`: the server has answered before; else it never saw the COMMIT, and has rolled
        back before the client's connection ends. `within`: only in transactions that have said
        these words.
        """

        def fits(conversation: Conversation) -> bool:
            return conversation.committing and conversation.has_said(within)

        act = Act.EAT if committed else Act.LOSE
        name = "commit answer eaten" if committed else "commit lost"
        self._faults.arm(Fault(name, act, count, fits))

    def lose_before_commit(
        self, *, after: int = 0, count: int = 1, within: str | None = None
    ) -> None:
        """Close both sides in the middle of a transaction, `after` so many statements of it.

        BEGIN does not count, COMMIT is left alone; the statement does not reach the server.
        """

        def fits(conversation: Conversation) -> bool:
            if conversation.committing or conversation.steps <= after:
                return False
            return conversation.has_said(within)

        self._faults.arm(Fault("lost before commit", Act.LOSE, count, fits))

    def disarm(self) -> None:
        """Forget the faults that have not happened yet."""
        self._faults.disarm()

    def silence(self, said: str | None = "LISTEN") -> int:
        """Pass nothing on any more, in either direction, but leave the connections open.

        This is for those clients, connected now, that have sent a statement beginning with this
        word, or for all; return how many. Their server's side stays open after they left.
        """
        return self._ask(lambda: self._silence(said))

    def refuse(self, count: float = math.inf) -> None:
        """Close new connections at once, until `accept`, or so many of them."""
        self._ask(lambda: setattr(self, "_refusing", count))

    def accept(self) -> None:
        """Let new connections in again."""
        self.refuse(0)

    def delay(self, seconds: float) -> None:
        """Hold each question of a client for a while; 0 ends it."""
        self._ask(lambda: setattr(self, "_delay", seconds))

    def close_all(self) -> None:
        """Close every connection, on both sides."""
        self._ask(self._close_all)

    def _ask(self, function: Callable[[], T]) -> T:
        """Run a function in the proxy's thread, which alone touches the connections."""
        assert self._loop is not None
        answer: Future[T] = Future()
        self._loop.call_soon_threadsafe(lambda: _fulfil(answer, function))
        return answer.result(PATIENCE)

    def _silence(self, said: str | None) -> int:
        chosen = [
            client
            for client in self._clients
            if not client.silent and (said is None or said.upper() in client.conversation.verbs)
        ]
        for client in chosen:
            client.silent = True
        return len(chosen)

    def _close_all(self) -> None:
        for client in self._clients:
            client.writer.transport.abort()
        for backend in self._backends:
            backend.writer.transport.abort()

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if self._port.done():
                raise
            self._port.set_exception(error)

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self._port.set_result(server.sockets[0].getsockname()[1])
        await self._stopping.wait()
        server.close()
        self._close_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the closed transports take leave of the loop

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing > 0:
            self._refusing -= 1
            writer.transport.abort()
            return
        self._spawn(self._serve(Client(reader, writer)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, client: Client) -> None:
        """Carry one connection from its first byte to its last."""
        self._clients.add(client)
        try:
            with suppress(*BROKEN):
                await self._welcome(client)
        except LoginError as error:
            client.writer.write(error.message.raw)
        finally:
            self._clients.discard(client)
            client.writer.close()

    async def _welcome(self, client: Client) -> None:
        startup = await read_startup(client.reader, client.writer)
        if startup.code == CANCEL_REQUEST:
            await self._cancel(startup)
        elif self._mode == "session":
            await self._serve_session(client, startup)
        else:
            await self._serve_pooled(client, startup)

    async def _cancel(self, startup: Startup) -> None:
        """Pass a request to cancel on, to the connection that its client has just now."""
        key = startup.body
        if client := self._keys.get(key):
            if client.backend is None:
                return
            key = client.backend.key
        reader, writer = await self._connect()
        try:
            writer.write(Startup(CANCEL_REQUEST, key).raw)
            await reader.read()
        finally:
            writer.close()

    async def _serve_session(self, client: Client, startup: Startup) -> None:
        client.conversation.waiting = 1  # the login ends with "ready"
        backend = await self._open_backend()
        attach(client, backend)
        backend.writer.write(startup.raw)
        backend.pump = self._spawn(self._pump(backend, None))
        try:
            await self._pass_on(client, None)
        finally:
            self._leave(client, None)

    async def _serve_pooled(self, client: Client, startup: Startup) -> None:
        if strange := startup.strange():
            raise LoginError(fatal("08P01", f"unsupported startup parameter: {strange[0]}"))
        pool = self._pool_for(startup)
        greeting = await self._greet(pool)
        key = struct.pack("!ii", next(self._numbers), random.getrandbits(31))
        self._keys[key] = client
        login = [Message(b"R", bytes(4)), *greeting, Message(b"K", key), Message(b"Z", b"I")]
        client.writer.writelines(message.raw for message in login)
        try:
            await self._pass_on(client, pool)
        finally:
            del self._keys[key]
            self._leave(client, pool)

    def _pool_for(self, startup: Startup) -> Pool:
        wanted = startup.parameters
        user = wanted["user"]
        whose = (user, wanted.get("database", user))
        if whose not in self._pools:
            self._pools[whose] = pool = Pool(self._size, lambda: self._login(startup, pool))
        return self._pools[whose]

    async def _greet(self, pool: Pool) -> list[Message]:
        """Learn from a connection of the pool what the server tells at login."""
        backend = await pool.take()
        pool.give(backend)
        return backend.greeting

    async def _login(self, startup: Startup, pool: Pool) -> Backend:
        """Open a connection for the pool, in the name of the first client to need it."""
        backend = await self._open_backend()
        backend.writer.write(startup.raw)
        try:
            await _read_greeting(backend)
        except BaseException:
            self._backends.discard(backend)
            backend.writer.close()
            raise
        backend.pump = self._spawn(self._pump(backend, pool))
        return backend

    async def _open_backend(self) -> Backend:
        backend = Backend(*await self._connect())
        self._backends.add(backend)
        return backend

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._server.hostname, self._server.port)

    async def _pass_on(self, client: Client, pool: Pool | None) -> None:
        """Carry what the client says, until it leaves or something goes wrong."""
        while (message := await read_message(client.reader)).kind != b"X":
            if self._delay and message.kind in b"QS":
                await asyncio.sleep(self._delay)
            if client.silent:
                continue
            if pool is not None and client.backend is None:
                attach(client, await pool.take())
                if client.reader.at_eof():
                    return
            if not await self._deliver(client, message):
                return

    async def _deliver(self, client: Client, message: Message) -> bool:
        """Carry one message; False: it is lost, and with it the connection."""
        backend = client.backend
        assert backend is not None
        client.conversation.sent(message)
        act = self._faults.choose(client.conversation)
        if act is Act.LOSE:
            await backend.end()
            return False
        client.eating = client.eating or act is Act.EAT
        backend.writer.write(message.raw)
        await backend.writer.drain()
        return True

    def _leave(self, client: Client, pool: Pool | None) -> None:
        """Part a client that is gone from its connection; a silent one's stays as it is."""
        backend = client.backend
        if backend is None or client.silent:
            return
        detach(client, backend)
        if pool is not None and client.conversation.idle and not backend.ended:
            pool.give(backend)
            return
        backend.close()
        if pool is not None:
            pool.lose()

    async def _pump(self, backend: Backend, pool: Pool | None) -> None:
        """Carry what the server says to whoever has the connection just now."""
        try:
            with suppress(*BROKEN):
                while True:
                    message = await read_message(backend.reader)
                    if backend.client is not None:  # else it is a NOTIFY or the like: dropped
                        await self._carry_back(backend, backend.client, message, pool)
        finally:
            self._backends.discard(backend)
            backend.writer.close()
            if pool is not None:
                pool.forget(backend)
            if backend.client is not None and not backend.client.silent:
                backend.client.writer.close()

    async def _carry_back(
        self, backend: Backend, client: Client, message: Message, pool: Pool | None
    ) -> None:
        client.conversation.answered(message)
        if not (client.silent or client.eating):
            client.writer.write(message.raw)
            with suppress(OSError):
                await client.writer.drain()
        if message.kind != b"Z" or backend.client is not client:
            return
        if client.eating and client.conversation.quiet:
            client.writer.close()
        elif pool is not None and client.conversation.idle:
            detach(client, backend)
            pool.give(backend)


def attach(client: Client, backend: Backend) -> None:
    """Lend a connection to a client."""
    client.backend, backend.client = backend, client


def detach(client: Client, backend: Backend) -> None:
    """End the loan."""
    client.backend = backend.client = None


async def _read_greeting(backend: Backend) -> None:
    """Read the server's answers to a login until it is ready."""
    while (message := await read_message(backend.reader)).kind != b"Z":
        if message.kind == b"E":
            raise LoginError(message)
        if message.kind == b"R" and any(message.body):
            raise LoginError(fatal("08P01", "the proxy's pool can only log in without a password"))
        if message.kind == b"S":
            backend.greeting.append(message)
        if message.kind == b"K":
            backend.key = message.body


def _fulfil(answer: Future[T], function: Callable[[], T]) -> None:
    try:
        answer.set_result(function())
    except BaseException as error:
        answer.set_exception(error)
