"""A journal in PostgreSQL: values, limits, threads, copies, and how it opens and closes."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import closing
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from books import ACCOUNT, TOPICS, claim, claims, intend, receipt, state_of
from postgres_child import Child

from exotel_async import ConfigurationError, JournalError
from exotel_async.journal import PostgresJournal, SQLiteJournal, delivering
from exotel_async.journal.postgres import hints
from exotel_async.journal.postgres.transaction import PostgresTransaction
from exotel_async.journal.records import Answered, NewDial, Receipt, Recorded
from exotel_async.models.dials import DialState
from exotel_async.models.events import CallTerminated

PATIENCE = 30.0  # seconds after which what does not happen has failed
ODD = "a\0b\ud800c"


@pytest.fixture
async def journal(postgres_dsn):
    async with PostgresJournal(postgres_dsn, lease=60) as journal:
        yield journal


def locked(dsn):
    """Keep all dials, as the transaction of another process would."""
    holder = psycopg.connect(dsn)
    holder.execute("SELECT 1 FROM exotel_async.dials FOR UPDATE")
    return closing(holder)


async def until(condition):
    """Wait until something is the case."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def waits(dsn):
    """Count transactions that wait for each other."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    with closing(psycopg.connect(dsn)) as connection:
        return connection.execute(sql).fetchone()[0]


class TestValues:
    def odd_receipt(self):
        pairs = (("CallSid", ODD), ("EventType", "terminal"), (ODD, ODD))
        event = CallTerminated(call_sid=ODD, status=ODD, pairs=pairs, event_type="terminal")
        return Receipt(
            event=event, kind="ref", ref=ODD, content_type=ODD, query=ODD, body=bytes(range(256))
        )

    async def test_callback(self, journal):
        """A callback whose texts no database can hold is kept as far as one can, and once."""
        told = [await journal.record(self.odd_receipt()) for _ in range(2)]
        taken = await claim(journal, *TOPICS)

        assert told == ["new", "duplicate"]
        assert taken.ref == "a\ufffdb\ufffdc"
        assert await journal.fail(taken, error=ODD, wait=None, done=[ODD])
        (letter,) = await journal.dead_letters()
        assert letter.error == "a\ufffdb\ufffdc"

    async def test_many_callbacks(self, journal):
        """Such a one among others is no harm to them."""
        coming = [receipt("c1"), self.odd_receipt(), receipt("c2"), self.odd_receipt()]
        told = await asyncio.gather(*map(journal.record, coming))

        assert sorted(told) == ["duplicate", "new", "new", "new"]

    async def test_dial(self, journal):
        """A dial whose arguments are odd is found again by its key."""
        new = NewDial(ref="d1", account=ODD, key=ODD, seal=ODD, arguments={ODD: ODD}, longest=60.0)
        fresh = [
            (await journal.intend(new, retry_if=(), fits=lambda _: True)).fresh for _ in range(2)
        ]
        found, _ = await journal.find(ODD, ODD)

        assert fresh == [True, False]
        assert found.ref == "d1"
        assert await journal.reserve(ODD, most=1) == 0.0

    async def test_large_body(self, journal):
        """A body as large as a receiver takes comes back as it was."""
        await journal.record(receipt(Note="x" * 65_536))

        taken = await claim(journal)
        assert len(dict(taken.pairs)["Note"]) == 65_536

    async def test_namespaces(self, journal, postgres_dsn):
        """Two services in one database see nothing of each other's, but the pace of an account."""
        async with PostgresJournal(postgres_dsn, namespace='it\'s; "other" %s ?') as other:
            told = [await one.record(receipt()) for one in (journal, other)]
            fresh = [(await intend(one, ref)).fresh for one, ref in ((journal, "a"), (other, "b"))]
            taken = [len(await claims(one)) for one in (journal, other)]
            wait = [await one.reserve(ACCOUNT, most=1) > 0 for one in (journal, other)]

        assert told == ["new", "new"]
        assert fresh == [True, True]
        assert taken == [1, 1]
        assert wait == [False, True]


class TestBackup:
    async def test_goes_on(self, journal, postgres_dsn, tmp_path):
        """What was copied goes on in a file: what waited, waits, and keys are known."""
        await asyncio.gather(*(journal.record(receipt(f"c{i}")) for i in range(1_200)))
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        await claims(journal, most=5)
        await journal.backup(tmp_path / "calls.db")

        async with SQLiteJournal(tmp_path / "calls.db", lease=0.1) as copy:
            assert (await copy.stats())["receipts"] == 1_200
            assert await copy.record(receipt("c7")) == Recorded.DUPLICATE
            assert not (await intend(copy, "d2")).fresh
            async with asyncio.timeout(PATIENCE):  # whoever sent it is not here
                while (await state_of(copy)).state != DialState.UNKNOWN:
                    await asyncio.sleep(0.01)
            assert len(await claims(copy, *TOPICS, most=2_000)) == 1_196  # suspects one by one
            assert await copy.record(receipt("new")) == Recorded.NEW

    async def test_stats(self, journal):
        """What is there is counted."""
        await journal.record(receipt())
        await claim(journal)
        await intend(journal)

        counts = await journal.stats()
        assert {name: counts[name] for name in ("receipts", "events_claimed", "dials", "keys")} == {
            "receipts": 1, "events_claimed": 1, "dials": 1, "keys": 1
        }  # fmt: skip


class TestPrune:
    async def test_beside_claims(self, journal, postgres_dsn):
        """What is pruned while others claim and finish was finished, or is theirs."""
        await asyncio.gather(*(journal.record(receipt(f"c{i}")) for i in range(200)))
        async with PostgresJournal(postgres_dsn, lease=60) as other:
            pruning = asyncio.ensure_future(journal.prune(older_than=timedelta()))
            done = 0
            while taken := await claims(other, most=10):
                done += sum([await other.finish(one) for one in taken])
            pruned = await pruning
            again = await journal.prune(older_than=timedelta())

        assert pruned["events"] + again["events"] == 200
        assert (await journal.stats())["events_waiting"] == 0
        assert done <= 200


class TestLimits:
    async def test_two_connections(self, postgres_dsn):
        """Two connections are enough for two hundred who wait at once."""
        async with PostgresJournal(postgres_dsn, connections=2, lease=60) as journal:
            fresh = await asyncio.gather(
                *(intend(journal, f"d{i}", key=f"k{i % 100}") for i in range(200))
            )
            with closing(psycopg.connect(postgres_dsn)) as connection:
                sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                ((used,),) = connection.execute(sql).fetchall()

        assert sum(one.fresh for one in fresh) == 100
        assert used <= 2 + 1 + 1 + 1  # one for heartbeats, one for hints, and our own

    async def test_most_waiting(self, postgres_dsn):
        """More than may wait are told at once."""
        async with PostgresJournal(postgres_dsn, most_waiting=3, lease=60) as journal:
            told = await asyncio.gather(
                *(journal.record(receipt(f"c{i}")) for i in range(5)), return_exceptions=True
            )
            assert await journal.record(receipt("c9")) == Recorded.NEW

        assert told[:3] == ["new"] * 3
        assert ["too many" in str(one) for one in told[3:]] == [True, True]

    @pytest.mark.parametrize(
        "options",
        [{"connections": 1}, {"connections": True}, {"lease": 0}, {"commit_timeout": -1.0},
         {"most_waiting": 0}, {"commit_timeout": "8"}],
    )  # fmt: skip
    def test_settings(self, options):
        """A setting that can't work is refused and named."""
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            PostgresJournal("postgresql://h/d", **options)


class TestLife:
    async def test_not_open(self, postgres_dsn):
        """Before it is open, and after, nothing is done."""
        journal = PostgresJournal(postgres_dsn)
        with pytest.raises(JournalError, match="not open"):
            await journal.record(receipt())
        async with journal:
            pass
        with pytest.raises(JournalError, match="not open"):
            await journal.record(receipt())

    async def test_nothing_left(self, postgres_dsn):
        """Who closes leaves no thread, no name and no connection behind."""
        async with PostgresJournal(postgres_dsn) as journal:
            await journal.record(receipt())
        threads = {thread.name for thread in threading.enumerate()}
        with closing(psycopg.connect(postgres_dsn)) as connection:
            owners = connection.execute("SELECT count(*) FROM exotel_async.owners").fetchone()
            slots = connection.execute("SELECT count(*) FROM exotel_async.slots").fetchone()

        assert not [name for name in threads if name.startswith("exotel-journal")]
        assert owners == slots == (0,)

    async def test_closed_while_operations_wait(self, postgres_dsn):
        """What was asked before closing is done; what it held goes to others."""
        journal = PostgresJournal(postgres_dsn, connections=2, lease=60)
        async with journal:
            await intend(journal)
            with locked(postgres_dsn):
                placed = Answered(state=DialState.PLACED, call_sid="c1")
                given = [asyncio.ensure_future(journal.answered("d1", placed))]
                for i in range(9):
                    given.append(asyncio.ensure_future(intend(journal, f"e{i}", key=f"e{i}")))
                await until(lambda: waits(postgres_dsn) == 1)
                closing_it = asyncio.ensure_future(journal._close())
            told = await asyncio.gather(*given)
            await closing_it

        assert told[0].state == DialState.PLACED
        assert all(one.fresh for one in told[1:])
        async with PostgresJournal(postgres_dsn) as other:
            assert (await state_of(other, "e1")).state == "not_sent"

    async def test_cancelled(self, journal, postgres_dsn):
        """Who is cancelled while it is written down undoes nothing."""
        await intend(journal)
        with locked(postgres_dsn):
            waiting = asyncio.ensure_future(
                journal.answered("d1", Answered(state=DialState.PLACED, call_sid="c1"))
            )
            await until(lambda: waits(postgres_dsn) == 1)
            waiting.cancel()
            await asyncio.wait({waiting})
        async with asyncio.timeout(PATIENCE):
            while (await state_of(journal)).state != DialState.PLACED:
                await asyncio.sleep(0.01)

    @pytest.mark.parametrize("moment", [0, 0.03, 0.06, 0.1])
    def test_opening_cancelled(self, postgres_dsn, moment):
        """Who is cancelled while it opens leaves nothing running, even if its loop ends at once."""
        journal = PostgresJournal(postgres_dsn)

        async def give_up():
            opening = asyncio.ensure_future(journal.__aenter__())
            await asyncio.sleep(moment)
            opening.cancel()
            await asyncio.wait({opening})
            if not opening.cancelled():  # it was quicker
                await journal.__aexit__(None, None, None)

        asyncio.run(give_up())  # and waits for the thread that opens

        patience = time.monotonic() + PATIENCE
        while any("exotel-journal" in thread.name for thread in threading.enumerate()):
            assert time.monotonic() < patience
            time.sleep(0.01)

    async def test_claims_of_the_cancelled(self, postgres_dsn):
        """What was claimed for somebody who waits no more is given back."""
        async with PostgresJournal(postgres_dsn, lease=0.6) as journal:
            await journal.record(receipt())
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("LOCK TABLE exotel_async.lanes")
                waiting = asyncio.ensure_future(claims(journal))
                await until(lambda: waits(postgres_dsn) >= 1)
                waiting.cancel()
                await asyncio.wait({waiting})
            async with asyncio.timeout(PATIENCE):
                while not (taken := await claims(journal)):
                    await asyncio.sleep(0.01)

        assert taken[0].attempts == 1

    async def test_several_loops(self, postgres_dsn):
        """A journal serves the loops of several threads at once."""
        told = []

        async def use(who):
            told.extend(
                await asyncio.gather(*(journal.record(receipt(f"{who}-{i}")) for i in range(20)))
            )

        async with PostgresJournal(postgres_dsn) as journal:
            await asyncio.gather(
                *(asyncio.to_thread(lambda who=who: asyncio.run(use(who))) for who in range(3))
            )
            assert (await journal.stats())["receipts"] == 60
        assert told == [Recorded.NEW] * 60

    async def test_forked(self, postgres_dsn):
        """A journal that was opened before a fork is refused in the child, and not harmed."""
        code = """
async def main():
    async with PostgresJournal(sys.argv[1]) as journal:
        await journal.record(receipt())
        child = os.fork()
        if child == 0:
            try:
                journal._write(lambda tx: None)
            except JournalError as error:
                os._exit(7 if "forked" in str(error) else 8)
            os._exit(9)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        say(await journal.record(receipt()))
"""
        with Child(code, postgres_dsn) as child:
            assert await child.says() == ["7"]
            assert await child.says() == ["duplicate"]

    async def test_many_open_files(self, postgres_dsn):
        """A service with more than a thousand open files is woken as any other."""
        files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1_100)]
        try:
            async with (
                PostgresJournal(postgres_dsn) as one,
                PostgresJournal(postgres_dsn) as other,
            ):
                for _ in range(2):
                    version = one.version
                    await other.record(receipt(f"c{version}"))
                    async with asyncio.timeout(PATIENCE):
                        assert await one.changed(since=version, within=None)
        finally:
            for file in files:
                os.close(file)

    async def test_hints(self, postgres_dsn, monkeypatch):
        """Other processes are told of a commit at once, not only by and by."""
        monkeypatch.setattr(hints, "_TICK", 10 * PATIENCE)
        async with PostgresJournal(postgres_dsn) as one, PostgresJournal(postgres_dsn) as other:
            await until(lambda: listeners(postgres_dsn) == 2)
            version = one.version
            await other.record(receipt())

            async with asyncio.timeout(PATIENCE):
                assert await one.changed(since=version, within=None)


def listeners(dsn):
    """Count the connections that listen for hints, each of which has nothing else to do."""
    sql = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND query LIKE 'LISTEN%'"
        " AND datname = current_database()"
    )
    with closing(psycopg.connect(dsn)) as connection:
        return connection.execute(sql).fetchone()[0]


def plans_of(dsn, operation):
    """List how PostgreSQL looks for the rows of an operation's queries."""
    plans = []
    execute = PostgresTransaction._execute

    def explained(tx, sql, parameters):
        if sql.startswith(("SELECT", "WITH")):
            execute(tx, f"EXPLAIN {sql}", parameters)
            plans.extend(line for (line,) in tx._cursor.fetchall())
        execute(tx, sql, parameters)

    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        connection.execute("SET search_path TO exotel_async")
        tx = PostgresTransaction(connection, namespace="default", owner="o", now=1.0, clock=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PostgresTransaction, "_execute", explained)
            operation(tx)
    return plans


class TestPlans:
    @pytest.fixture
    async def full(self, postgres_dsn):
        """A store in which fifty thousand events wait."""
        async with PostgresJournal(postgres_dsn):
            with closing(psycopg.connect(postgres_dsn, autocommit=True)) as connection:
                connection.execute("SET search_path TO exotel_async")
                connection.execute(
                    "INSERT INTO events (ns, lane, identity, topic, revision, delivered, state,"
                    " attempts, done, run_at, made_at) SELECT 'default', 'lane' || i, 'terminal',"
                    " 'callback.terminal', 1, 0, 'waiting', 0, '', 0, 0"
                    " FROM generate_series(1, 50000) i"
                )
                connection.execute("ANALYZE")
            yield postgres_dsn

    @pytest.mark.parametrize(
        "operation",
        [
            partial(delivering.claim, topics=TOPICS, most=9, tries=3),
            partial(delivering.next_due, topics=TOPICS),
        ],
        ids=["claim", "next_due"],
    )
    def test_claiming(self, full, operation):
        """Who looks for work looks at the first that wait, however many there are."""
        plans = plans_of(full, operation)

        assert any("Index" in plan and "events_due" in plan for plan in plans)
        assert not [
            plan for plan in plans if "Seq Scan on events" in plan or "Sort Key: e.run_at" in plan
        ]


class TestSecrets:
    @pytest.mark.parametrize("secret", ["p@ss", "p/ss", "p?ss"])
    def test_password_that_is_not_escaped(self, secret):
        """What libpq would take for a host, and name in its errors, is refused."""
        with pytest.raises(ConfigurationError, match="%40") as caught:
            PostgresJournal(f"postgresql://me:{secret}@db/calls")

        assert "ss" not in str(caught.value).replace("password", "")

    @pytest.mark.parametrize(
        "dsn",
        ["postgresql://u:p%40ss@db/calls?application_name=a@b", "postgresql:///calls",
         "postgresql://db1:1,db2:2/calls", "postgresql://[::1]/calls", "host=/run dbname=a@b"],
    )  # fmt: skip
    def test_sound(self, dsn):
        """Every way that libpq knows is taken."""
        PostgresJournal(dsn)

    async def test_errors(self, journal, caplog):
        """What the server quotes of a value is neither shown nor logged."""
        caplog.set_level(logging.DEBUG)

        def odd(tx):
            tx.rows("SELECT ?::text::bigint", "+919876543210 x")

        with pytest.raises(JournalError) as caught:
            await journal._write(odd)

        assert "9876543210" not in str(caught.value) + repr(caught.value) + caplog.text
