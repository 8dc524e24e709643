"""Which journal does a command line mean, and how is it opened: a SQLite file, or PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from exotel_async.errors import ConfigurationError, JournalError
from exotel_async.journal import Journal, SQLiteJournal

from .options import world_of
from .screen import Screen

if TYPE_CHECKING:
    from exotel_async.journal import PostgresJournal

F = TypeVar("F", bound=Callable[..., Any])

VARIABLE = "EXOTEL_JOURNAL"

_SCHEMA = "exotel_async"
_SQLITE = b"SQLite format 3\0"
_MOST_NAMES = 20  # namespaces that are named in a note
_POSTGRES = re.compile(r"postgres(?:ql)?://(?P<rest>.*)", re.DOTALL)
_WORDS = re.compile(r"\s*(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=")
# User and password end at the first @ that libpq sees, or aren't there: what follows is shown in
# errors.
_SOUND = re.compile(r"(?:[^@/]*@)?[^@/?]*(?:/[^@?]*)?(?:\?[^@=]*=.*)?", re.DOTALL)


def journal_options(function: F) -> F:
    """Add --journal, --schema and --namespace."""
    for option in (
        click.option("--namespace", default="default", show_default=True, help="Whose, in it."),
        click.option("--schema", help=f"Of the tables in PostgreSQL; {_SCHEMA} if not said."),
        click.option(
            "--journal",
            metavar="FILE|DSN",
            help=f"A SQLite file, or a PostgreSQL database: postgresql://user@host/name, or "
            f"'host=... dbname=...'; else {VARIABLE} says it. All users of this machine can read "
            f"what stands here: give a password by {VARIABLE}, PGPASSWORD or PGSERVICE.",
        ),
    ):
        function = option(function)
    return function


@attrs.frozen(kw_only=True)
class Store:
    """The journal that was meant; nothing is opened yet."""

    journal: SQLiteJournal | PostgresJournal
    name: str  # may be shown

    @property
    def path(self) -> Path | None:
        """The file, where it is one."""
        return self.journal.path if isinstance(self.journal, SQLiteJournal) else None

    def require_file(self) -> None:
        """See that a file is there: whoever only looks makes none."""
        if self.path is not None and not self.path.exists():
            raise click.UsageError(f"File {str(self.path)!r} does not exist.")

    @asynccontextmanager
    async def reached(self, *, making: bool = False) -> AsyncIterator[None]:
        """Say what to look at where the journal fails; a file that is none is left as it is.

        `making`: the file may be one that somebody else is just making, and empty as yet.
        """
        try:
            if self.path is not None and self.path.exists():
                _require_sqlite(self.path, or_empty=making)
            yield
        except (JournalError, OSError) as error:
            text = str(error).rstrip(".")
            raise click.ClickException(f"{text}. {self._advice}") from error

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Journal]:
        """Open a journal that is there; tables in PostgreSQL are left to `journal migrate`."""
        self.require_file()
        async with self.reached():
            if self.path is None and not (await self.journal.standing()).usable:
                raise click.ClickException(f"{self.name} has no tables yet, or old ones. {MIGRATE}")
            async with self.journal:
                yield self.journal

    @property
    def _advice(self) -> str:
        if self.path is not None:
            return (
                f"See that {self.name} is the journal of your service, that you may write to it "
                "and its folder, and that its disk has room."
            )
        return (
            "See that the server runs and lets you in, and that database and --schema are those "
            "of your service."
        )


MIGRATE = "Run: exotel-async journal migrate"


def store_of(
    context: click.Context, *, journal: str | None, schema: str | None, namespace: str
) -> Store:
    """Find the journal that the words, or else the environment, name."""
    where = journal or world_of(context).environ.get(VARIABLE, "").strip()
    if not where:
        raise click.UsageError(f"Say which journal: --journal FILE or DSN, or {VARIABLE}")
    if is_dsn(where):
        return _in_postgres(where, schema=schema or _SCHEMA, namespace=namespace)
    if schema is not None:
        raise click.UsageError("--schema goes with PostgreSQL only")
    path = Path(where)
    return Store(journal=SQLiteJournal(path, namespace=namespace), name=path.name)


def _in_postgres(dsn: str, *, schema: str, namespace: str) -> Store:
    try:
        from exotel_async.journal import PostgresJournal  # only here: it needs an extra
    except ImportError as error:
        raise ConfigurationError(
            'a journal in PostgreSQL needs its extra: pip install "exotel-async[postgres]"'
        ) from error
    journal = PostgresJournal(dsn, schema=schema, namespace=namespace, connections=2, migrate=False)
    return Store(journal=journal, name=f"schema {schema}")


def is_dsn(text: str) -> bool:
    """Tell a DSN of PostgreSQL from the path of a file; what is neither is a UsageError.

    >>> is_dsn("postgresql://me@db/calls"), is_dsn("service=calls"), is_dsn("data/calls.db")
    (True, True, False)
    """
    if (url := _POSTGRES.fullmatch(text)) is not None:
        if not _SOUND.fullmatch(url["rest"]):
            raise click.UsageError(
                "The journal's URL can't be read: in a user name or password spell @ as %40, "
                "/ as %2F, : as %3A and ? as %3F"
            )
        return True
    if "://" in text:  # not shown: there may be a password in it
        raise click.UsageError("The journal must be a SQLite file or a postgresql:// URL")
    return _WORDS.match(text) is not None


async def tell_of_others(journal: Journal, screen: Screen) -> None:
    """Where a namespace holds nothing, say which do: a name may have been mistyped."""
    names = await journal.namespaces()
    if names and journal.namespace not in names:
        screen.note(screen.look.hide(others(journal.namespace, names)), style="yellow")


def others(namespace: str, names: Sequence[str]) -> str:
    """Say that a namespace holds nothing, and which do.

    >>> others("default", ["crm", "shop"])
    "Namespace 'default' holds nothing; these do: crm, shop."
    """
    more = ", …" if len(names) > _MOST_NAMES else "."
    return (
        f"Namespace {namespace!r} holds nothing; these do: {', '.join(names[:_MOST_NAMES])}{more}"
    )


def _require_sqlite(path: Path, *, or_empty: bool) -> None:
    """Keep from making a journal of what is none."""
    with path.open("rb") as file:
        head = file.read(len(_SQLITE))
    if head != _SQLITE and not (or_empty and head == b""):
        raise JournalError(f"{path.name} is no SQLite file")
