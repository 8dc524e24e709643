"""How does a journal in PostgreSQL stand, as seen by somebody who takes no part in it."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from exotel_async.journal.standing import Standing, stand_of

from .engine import reaching
from .migrating import known_schema
from .server import Settings, with_patience
from .transaction import PostgresTransaction


def look(settings: Settings) -> Standing:
    """Read how the store stands, on a connection of its own; nothing is changed."""
    with reaching():
        dsn = with_patience(settings.dsn, settings.timeout)
        with psycopg.connect(dsn, prepare_threshold=None) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            return _look(connection, settings)


def _look(connection: Connection[Any], settings: Settings) -> Standing:
    limit = int(settings.timeout * 1000)
    connection.execute(f"SET LOCAL statement_timeout = {limit}".encode())
    connection.execute(f'SET LOCAL search_path TO "{settings.schema}"'.encode())
    row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    now = settings.clock.now().timestamp() if settings.clock else float(row[0] if row else 0)
    tx = PostgresTransaction(
        connection, namespace=settings.namespace, owner="", now=now, clock=None
    )
    version = psycopg.pq.version_pretty(connection.info.server_version)
    return stand_of(
        tx,
        engine=f"PostgreSQL {version}",
        schema=known_schema(connection, settings.schema),
    )
