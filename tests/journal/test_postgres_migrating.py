"""A journal in PostgreSQL: how its tables come into a database, and who may use them."""

from __future__ import annotations

import asyncio
from contextlib import closing

import psycopg
import pytest
from books import intend, receipt
from postgres_child import Child

from exotel_async import ConfigurationError, JournalError
from exotel_async.journal import PostgresJournal, schema
from exotel_async.journal.records import Recorded

NEXT = "ALTER TABLE receipts ADD COLUMN note TEXT NOT NULL DEFAULT 'none'"


def run(dsn, *statements):
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


async def opens(dsn, **options):
    """Open a journal, write to it, and close it."""
    async with PostgresJournal(dsn, **options) as journal:
        return await journal.record(receipt())


@pytest.fixture
def next_release(monkeypatch):
    """A release with one more step, which older ones can live with."""
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, NEXT))


class TestMigrate:
    async def test_five_at_once(self, postgres_dsn):
        """Five processes that open an empty database at the same moment all get their tables."""
        code = """
async def main(number):
    async with PostgresJournal(sys.argv[1]) as journal:
        say(await journal.record(receipt()))
"""
        with Child(code, postgres_dsn, count=5) as processes:
            said = await processes.rest()

        assert sorted(said) == [["duplicate"]] * 4 + [["new"]]
        assert run(postgres_dsn, "SELECT schema FROM exotel_async.meta") == [(len(schema.STEPS),)]

    async def test_next_release(self, postgres_dsn, request):
        """What an older release has open goes on while a newer one changes the tables."""
        async with PostgresJournal(postgres_dsn) as old:
            await old.record(receipt("before"))
            request.getfixturevalue("next_release")
            async with PostgresJournal(postgres_dsn) as new:
                told = [
                    await journal.record(receipt(sid))
                    for sid in ("before", "after") for journal in (old, new)
                ]  # fmt: skip

        assert told == ["duplicate", "duplicate", "new", "duplicate"]
        notes = run(postgres_dsn, "SELECT note FROM exotel_async.receipts")
        assert notes == [("none",)] * 2

    async def test_older_release(self, postgres_dsn, monkeypatch):
        """An older release opens what a newer one has made, as long as that can live with it."""
        with monkeypatch.context() as patch:
            patch.setattr(schema, "STEPS", (*schema.STEPS, NEXT))
            await opens(postgres_dsn)

        assert await opens(postgres_dsn) == Recorded.DUPLICATE

    async def test_too_new(self, postgres_dsn):
        """Tables that need a newer release are left alone."""
        await opens(postgres_dsn)
        run(postgres_dsn, "UPDATE exotel_async.meta SET schema = 99, min_reader = 98")

        with pytest.raises(JournalError, match="newer release"):
            await opens(postgres_dsn)

    async def test_failing_step(self, postgres_dsn, monkeypatch):
        """Of a step that fails nothing is done, and the next release can take it."""
        await opens(postgres_dsn)
        with monkeypatch.context() as patch:
            patch.setattr(schema, "STEPS", (*schema.STEPS, f"{NEXT}; SELECT nothing"))
            with pytest.raises(JournalError, match="nothing"):
                await opens(postgres_dsn)

        monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, NEXT))
        assert await opens(postgres_dsn) == Recorded.DUPLICATE


class TestNotAllowed:
    async def test_empty(self, postgres_dsn):
        """Where opening may make no tables, the command that does is named."""
        with pytest.raises(JournalError, match="exotel-async journal migrate"):
            await opens(postgres_dsn, migrate=False)

        assert run(postgres_dsn, "SELECT to_regnamespace('exotel_async')::text") == [(None,)]

    async def test_old(self, postgres_dsn, request):
        """Nor may it change those of an older release."""
        await opens(postgres_dsn)
        request.getfixturevalue("next_release")

        with pytest.raises(JournalError, match="exotel-async journal migrate"):
            await opens(postgres_dsn, migrate=False)

    async def test_made(self, postgres_dsn):
        """It opens what another made."""
        await opens(postgres_dsn)

        assert await opens(postgres_dsn, migrate=False) == Recorded.DUPLICATE

    @pytest.fixture
    def role(self, postgres_dsn):
        """The way in for somebody who may do nothing but connect."""
        run(postgres_dsn, "CREATE ROLE clerk LOGIN")
        yield postgres_dsn.replace("exotel@", "clerk@")
        run(postgres_dsn, "DROP OWNED BY clerk", "DROP ROLE clerk")

    async def test_role_without_rights_to_create(self, postgres_dsn, role):
        """A service needs no right to make tables, once they are there."""
        await opens(postgres_dsn)
        run(
            postgres_dsn,
            "GRANT USAGE ON SCHEMA exotel_async TO clerk",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA exotel_async TO clerk",
        )

        assert await opens(role) == Recorded.DUPLICATE
        assert await opens(role, migrate=False) == Recorded.DUPLICATE

    async def test_role_without_rights(self, role):
        """Who may not make the tables that are missing is told so."""
        with pytest.raises(JournalError, match="permission denied"):
            await opens(role)


class TestSchema:
    async def test_two(self, postgres_dsn):
        """Two schemas of a database know nothing of each other."""
        one, other = (PostgresJournal(postgres_dsn, schema=name) for name in ("one", "other"))
        async with one, other:
            told = [await journal.record(receipt()) for journal in (one, other, one)]
            fresh = [(await intend(journal)).fresh for journal in (one, other)]
            version = one.version
            await asyncio.gather(*(other.record(receipt(f"c{i}")) for i in range(3)))
            assert one.version == version  # nobody listens, and no hint is for it

        assert told == ["new", "new", "duplicate"]
        assert fresh == [True, True]

    @pytest.mark.parametrize("name", ["", "Calls", "a b", 'a"b', "1a", "a" * 49, None, "größe"])
    async def test_bad_name(self, postgres_dsn, name):
        """A name that would have to be quoted is refused."""
        with pytest.raises(ConfigurationError, match="schema"):
            PostgresJournal(postgres_dsn, schema=name)

    @pytest.mark.parametrize("name", ["select", "user", "_", "a" * 48])
    async def test_odd_name(self, postgres_dsn, name):
        """A word of SQL is a name like any other."""
        assert await opens(postgres_dsn, schema=name) == Recorded.NEW

    async def test_foreign_table(self, postgres_dsn):
        """Where another program has a table of ours, nothing is changed."""
        run(
            postgres_dsn, "CREATE SCHEMA exotel_async", "CREATE TABLE exotel_async.meta (word TEXT)"
        )

        with pytest.raises(JournalError, match="could not be opened"):
            await opens(postgres_dsn)
        there = run(postgres_dsn, "SELECT tablename FROM pg_tables WHERE schemaname LIKE 'exo%'")
        assert there == [("meta",)]

    async def test_search_path(self, postgres_dsn):
        """What else is on the way to the tables is passed by."""
        run(postgres_dsn, "CREATE TABLE public.receipts (word TEXT)")

        assert await opens(f"{postgres_dsn}?options=-csearch_path%3Dpublic") == Recorded.NEW
