"""How do the tables get out of PostgreSQL into a file that can be looked at elsewhere."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

from exotel_async.journal.database import connect, created, migrate, told_as_ours

from .server import Settings
from .transaction import failure

_AT_ONCE = 1_000  # rows
_OWN = {"meta"}  # what the file has by itself


def copy_into_sqlite(settings: Settings, path: Path) -> None:
    """Copy all tables, as they are at one moment, into a new file."""
    with told_as_ours("back up"), created(path), closing(connect(path)) as target:
        migrate(target)
        try:
            _copy(settings, target)
        except psycopg.Error as error:
            raise failure("back up", error) from error


def _copy(settings: Settings, target: sqlite3.Connection) -> None:
    with psycopg.connect(settings.dsn, prepare_threshold=None) as source:
        source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        target.execute("BEGIN IMMEDIATE")
        for table in _tables(target):
            _copy_table(table, settings.schema, source, target)
        target.execute("COMMIT")


def _tables(target: sqlite3.Connection) -> list[str]:
    found = target.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in found if name not in _OWN and not name.startswith("sqlite_")]


def _copy_table(
    table: str, schema: str, source: psycopg.Connection[Any], target: sqlite3.Connection
) -> None:
    names = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    columns = ", ".join(names)
    insert = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})"
    with source.cursor(name="backup") as rows:
        rows.execute(f'SELECT {columns} FROM "{schema}".{table}'.encode())
        while some := rows.fetchmany(_AT_ONCE):
            target.executemany(insert, some)
