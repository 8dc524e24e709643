"""A journal in PostgreSQL: what becomes of a write whose server or connection is lost."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from contextlib import closing, contextmanager

import psycopg
import pytest
from books import ACCOUNT, claim, claims, intend, receipt, state_of
from postgres_proxy import Proxy
from postgres_server import Server

from exotel_async import ConfigurationError, JournalError
from exotel_async.journal import PostgresJournal
from exotel_async.journal.postgres import migrating
from exotel_async.journal.records import Answered, Recorded
from exotel_async.models.dials import DialState

PATIENCE = 30.0  # seconds after which what does not happen has failed
PLACED = Answered(state=DialState.PLACED, call_sid="c1")


@pytest.fixture(scope="module")
def server():
    """A server of which each acknowledged commit is on the disk."""
    with Server.start_new(durable=True) as made:
        yield made


@pytest.fixture
def proxy(postgres_dsn):
    with Proxy(postgres_dsn) as proxy:
        yield proxy


@contextmanager
def locked(dsn, statement):
    """Keep a row, as the transaction of another process would."""
    with closing(psycopg.connect(dsn)) as other:
        other.execute("SET search_path TO exotel_async")
        other.execute(statement)
        yield other


async def blocked(dsn, *, amount=1):
    """Wait until so many transactions wait for a row; list their backends."""
    sql = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    with closing(psycopg.connect(dsn, autocommit=True)) as looking:
        async with asyncio.timeout(PATIENCE):
            while len(found := looking.execute(sql).fetchall()) < amount:
                await asyncio.sleep(0.01)
    return [pid for (pid,) in found]


# Each operation, what its transaction says, and how it is seen that it was done exactly once.


async def record(journal, meanwhile):
    with meanwhile("INSERT INTO receipts"):
        assert await journal.record(receipt()) == Recorded.NEW
    assert await journal.record(receipt()) == Recorded.DUPLICATE


async def record_many(journal, meanwhile):
    with meanwhile("INSERT INTO receipts"):
        told = await asyncio.gather(*(journal.record(receipt(f"c{i}")) for i in range(5)))
    assert told == [Recorded.NEW] * 5
    assert (await journal.stats())["receipts"] == 5


async def record_more(journal, meanwhile):
    coming = [receipt("c1"), receipt("c2"), receipt("c1"), receipt("c2", To="1")]
    with meanwhile("INSERT INTO receipts"):
        told = await asyncio.gather(*map(journal.record, coming))
    assert told == [Recorded.NEW, Recorded.NEW, Recorded.DUPLICATE, Recorded.UPDATE]


async def intend_one(journal, meanwhile):
    with meanwhile("INSERT INTO keys"):
        assert (await intend(journal)).fresh
    assert not (await intend(journal, "d2")).fresh


async def sending(journal, meanwhile):
    await intend(journal)
    with meanwhile("UPDATE dials"):
        assert await journal.sending("d1", patience=5.0) is not None
    assert await journal.sending("d1", patience=5.0) is None
    assert (await state_of(journal)).state == "sending"


async def answer(journal, meanwhile):
    await intend(journal)
    await journal.sending("d1", patience=5.0)
    with meanwhile("UPDATE dials"):
        assert (await journal.answered("d1", PLACED)).call_sid == "c1"
    assert (await state_of(journal)).state == DialState.PLACED


async def claim_one(journal, meanwhile):
    await journal.record(receipt())
    with meanwhile("INSERT INTO lanes"):
        taken = await claim(journal)
    assert taken.attempts == 1
    assert await journal.finish(taken)


async def finish(journal, meanwhile):
    await journal.record(receipt())
    taken = await claim(journal)
    with meanwhile("DELETE FROM lanes"):
        assert await journal.finish(taken)
    assert await claims(journal) == ()


async def release(journal, meanwhile):
    await journal.record(receipt())
    taken = await claim(journal)
    with meanwhile("DELETE FROM lanes"):
        assert await journal.release(taken, done=())
    assert (await claim(journal)).attempts == 1


async def fail(journal, meanwhile):
    await journal.record(receipt())
    taken = await claim(journal)
    with meanwhile("DELETE FROM lanes"):
        assert await journal.fail(taken, error="odd", wait=None, done=())
    assert [letter.error for letter in await journal.dead_letters()] == ["odd"]


async def reserve(journal, meanwhile):
    with meanwhile("UPDATE pacing"):
        assert await journal.reserve(ACCOUNT, most=2) == 0.0
    assert await journal.reserve(ACCOUNT, most=2) == 0.0
    assert await journal.reserve(ACCOUNT, most=2) > 0.0


OPERATIONS = (
    record, record_many, record_more, intend_one, sending, answer, claim_one, finish, release,
    fail, reserve,
)  # fmt: skip
FATES = ("answer eaten", "commit lost", "lost before")


class TestLostConnection:
    @pytest.mark.parametrize("fate", FATES)
    @pytest.mark.parametrize("operation", OPERATIONS)
    async def test_once(self, proxy, operation, fate):
        """Whenever a connection is lost, what was asked is done once, and told as it is."""

        @contextmanager
        def meanwhile(words):
            if fate == "lost before":
                proxy.lose_before_commit(within=words)
            else:
                proxy.eat_commit_answer(committed=fate == "answer eaten", within=words)
            yield
            assert proxy.fired

        async with PostgresJournal(proxy.dsn) as journal:
            await operation(journal, meanwhile)

    async def test_all_at_once(self, proxy):
        """Where all connections are lost in their commits, each finds out what became of it."""
        async with PostgresJournal(proxy.dsn, connections=2) as journal:
            proxy.eat_commit_answer(count=3, within="INSERT INTO keys")
            told = await asyncio.gather(*(intend(journal, f"d{i}", key=f"k{i}") for i in range(6)))

        assert all(one.fresh for one in told)
        assert len(proxy.fired) == 3

    async def test_terminated(self, postgres_dsn):
        """A connection that the server ends while it waits for a row is another's turn."""
        async with PostgresJournal(postgres_dsn) as journal:
            await intend(journal)
            with locked(postgres_dsn, "SELECT 1 FROM dials FOR UPDATE") as other:
                waiting = asyncio.ensure_future(journal.answered("d1", PLACED))
                (pid,) = await blocked(postgres_dsn)
                other.execute("SELECT pg_terminate_backend(%s)", [pid])
                await blocked(postgres_dsn)
                other.rollback()

            assert (await waiting).state == DialState.PLACED

    async def test_terminated_all_the_time(self, postgres_dsn):
        """Connections that are ended again and again lose nothing and do nothing twice."""
        async with PostgresJournal(postgres_dsn) as journal:
            recording = asyncio.gather(*(journal.record(receipt(f"c{i}")) for i in range(20)))
            with closing(psycopg.connect(postgres_dsn, autocommit=True)) as other:
                for i in range(20):
                    other.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    await journal.record(receipt(f"d{i}"))

            assert await recording == [Recorded.NEW] * 20
            assert (await journal.stats())["receipts"] == 40


class TestInDoubt:
    @contextmanager
    def gone(self, proxy, *, within, committed=True):
        """Lose the answer to a commit, and whatever could tell what became of it."""
        proxy.eat_commit_answer(committed=committed, within=within)
        proxy.lose_before_commit(within="token FROM slots", after=-1, count=1_000)
        yield
        assert len(proxy.fired) > 1
        proxy.disarm()

    @pytest.mark.parametrize(("committed", "again"), [(True, "duplicate"), (False, "new")])
    async def test_record(self, proxy, committed, again):
        """A callback that may be written or not is an error; when it comes again, all is told."""
        async with PostgresJournal(proxy.dsn, commit_timeout=1.0, lease=60) as journal:
            with self.gone(proxy, within="INSERT INTO receipts", committed=committed):
                with pytest.raises(JournalError, match="can't be told"):
                    await journal.record(receipt())

            assert await journal.record(receipt()) == again

    async def test_claim(self, proxy):
        """A claim that nobody was told of is given back."""
        async with PostgresJournal(proxy.dsn, commit_timeout=1.0, lease=1.2) as journal:
            await journal.record(receipt())
            with self.gone(proxy, within="INSERT INTO lanes"):
                with pytest.raises(JournalError):
                    await claims(journal)

            async with asyncio.timeout(PATIENCE):
                while not (taken := await claims(journal)):
                    await asyncio.sleep(0.01)
            assert taken[0].attempts == 1

    async def test_sending(self, proxy):
        """A try that may be written down did not begin: the dialer takes it back."""
        async with PostgresJournal(proxy.dsn, commit_timeout=1.0, lease=60) as journal:
            await intend(journal)
            with self.gone(proxy, within="UPDATE dials"):
                with pytest.raises(JournalError):
                    await journal.sending("d1", patience=5.0)
            await journal.answered("d1", Answered(state=DialState.NOT_SENT))

            assert (await state_of(journal)).state == DialState.NOT_SENT
            assert await journal.sending("d1", patience=5.0) is None


class TestStoppedServer:
    @pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
    async def test_back_in_time(self, server, how):
        """What is asked while the server is down is done as soon as it is back; nothing is lost."""
        told = {}

        async def write(journal, who):
            for i in range(40):
                told[who, i] = await journal.record(receipt(f"{who}-{i}"))

        dsn = server.create_database()
        async with PostgresJournal(dsn, commit_timeout=PATIENCE) as journal:
            async with asyncio.TaskGroup() as group:
                for who in range(4):
                    group.create_task(write(journal, who))
                async with asyncio.timeout(PATIENCE):
                    while len(told) < 20:
                        await asyncio.sleep(0.001)
                await asyncio.to_thread(stop, server, how)
                assert len(told) < 160
                await asyncio.to_thread(server.start)

            assert set(told.values()) == {Recorded.NEW}
            assert (await journal.stats())["receipts"] == 160

    async def test_only_one_waits(self, server, caplog):
        """Who waits alone is served when the server is back, though the pool gave up before."""
        dsn = server.create_database()
        async with PostgresJournal(dsn, commit_timeout=8.0, lease=600) as journal:
            server.stop()
            waiting = asyncio.ensure_future(journal.record(receipt()))
            async with asyncio.timeout(PATIENCE):
                while "reconnection attempt" not in caplog.text:
                    await asyncio.sleep(0.01)
            await asyncio.to_thread(server.start)

            assert await waiting == Recorded.NEW

    async def test_down_for_longer(self, server):
        """Whoever waits too long is told; it works again at once when the server is back."""
        dsn = server.create_database()
        async with PostgresJournal(dsn, commit_timeout=1.0) as journal:
            await journal.record(receipt("before"))
            server.stop("immediate")
            began = time.monotonic()
            with pytest.raises(JournalError, match="could not be reached"):
                await journal.record(receipt("during"))
            took = time.monotonic() - began
            waiting = asyncio.ensure_future(journal.record(receipt("during")))
            await asyncio.wait({waiting})  # its last try to connect is just over
            server.start()

            assert took < 3.0
            assert isinstance(waiting.exception(), JournalError)
            assert await journal.record(receipt("before")) == Recorded.DUPLICATE

    async def test_opened_while_down(self, server, caplog):
        """Why a journal can't be opened is told, without the password."""
        caplog.set_level(logging.DEBUG)
        dsn = server.create_database().replace("exotel@", "exotel:sesame@")
        server.stop()
        journal = PostgresJournal(dsn)
        with pytest.raises(JournalError, match="refused") as caught:
            await journal.__aenter__()
        server.start()

        shown = [str(caught.value), repr(caught.value.__cause__), repr(journal), caplog.text]
        assert "sesame" not in "".join(shown) + repr(vars(journal))
        async with journal:
            assert await journal.record(receipt()) == Recorded.NEW

    @pytest.mark.parametrize(
        "dsn", ["postgrsql://u:sesame@h/d", "host=h sesame", "postgresql://u:%zzsesame@h/d"]
    )
    async def test_unreadable_dsn(self, dsn):
        """What libpq can't read is not quoted: it may be a password."""
        with pytest.raises(JournalError, match="dsn") as caught:
            await PostgresJournal(dsn).__aenter__()

        assert "sesame" not in str(caught.value)
        assert caught.value.__suppress_context__

    @pytest.mark.parametrize("dsn", ["", " ", None, "host=a\0b", 7])
    def test_no_dsn(self, dsn):
        """What is no text at all is refused at once."""
        with pytest.raises(ConfigurationError, match="dsn"):
            PostgresJournal(dsn)


def stop(server, how):
    if how == "kill":
        server.kill()
    else:
        server.stop(how)


async def until_it_works(journal):
    """Have each silent connection found out."""
    while True:
        try:
            return await journal.stats()
        except JournalError:
            continue


class TestSilence:
    async def test_whole_network(self, proxy):
        """A server that answers no more is given up in time, and closing does not wait for it."""
        journal = PostgresJournal(proxy.dsn, commit_timeout=1.0, lease=60)
        async with asyncio.timeout(PATIENCE):
            async with journal:
                await journal.record(receipt("before"))
                proxy.silence(None)
                with pytest.raises(JournalError):
                    await journal.record(receipt("during"))
                await until_it_works(journal)
                proxy.silence(None)

    async def test_deaf_listener(self, proxy, postgres_dsn):
        """Who waits for a change is woken though the connection that hears of it has died."""
        async with PostgresJournal(proxy.dsn) as one, PostgresJournal(postgres_dsn) as other:
            async with asyncio.timeout(PATIENCE):
                while not proxy.silence():
                    await asyncio.sleep(0.01)
                version = one.version
                await other.record(receipt())

                assert await one.changed(since=version, within=None)

    async def test_mute_listener(self, proxy, postgres_dsn):
        """Nor does a word to others that is never taken keep anybody from being woken."""
        async with PostgresJournal(proxy.dsn) as one, PostgresJournal(postgres_dsn) as other:
            async with asyncio.timeout(PATIENCE):
                while not proxy.silence():
                    await asyncio.sleep(0.01)
                for i in range(3):  # whose word the second and third are does not matter
                    await one.record(receipt(f"a{i}"))
                    version = one.version
                    await other.record(receipt(f"b{i}"))
                    assert await one.changed(since=version, within=None)


class TestPooler:
    @pytest.fixture
    def pooler(self, postgres_dsn):
        with Proxy(postgres_dsn, mode="transaction", size=2) as proxy:
            yield proxy

    async def test_two_journals(self, pooler):
        """Behind a pooler in transaction mode all is as ever, with two connections for two."""
        async with PostgresJournal(pooler.dsn) as one, PostgresJournal(pooler.dsn) as other:
            both = (one, other)
            told = await asyncio.gather(
                *(journal.record(receipt(f"c{i}")) for i in range(30) for journal in both)
            )
            fresh = await asyncio.gather(
                *(intend(journal, f"{journal is one}{i}", key=f"k{i}")
                  for i in range(10) for journal in both)
            )  # fmt: skip
            taken = [(journal, await claims(journal, most=20)) for journal in (*both, *both)]
            marks = [await journal.finish(one) for journal, some in taken for one in some]
            waits = [await journal.reserve(ACCOUNT, most=5) for journal in both for _ in range(3)]

        assert sorted(told) == ["duplicate"] * 30 + ["new"] * 30
        assert sum(one.fresh for one in fresh) == 10
        assert marks == [True] * 30
        assert [wait > 0 for wait in waits] == [False] * 5 + [True]
        assert pooler.backends <= 2

    async def test_lost_answer(self, pooler):
        """An answer that is lost behind a pooler is found out about as well."""
        async with PostgresJournal(pooler.dsn) as journal:
            pooler.eat_commit_answer(within="INSERT INTO receipts")
            assert await journal.record(receipt()) == Recorded.NEW
        assert pooler.fired

    async def test_woken(self, pooler, postgres_dsn):
        """Where no NOTIFY comes through, whoever waits is woken by and by."""
        async with PostgresJournal(pooler.dsn) as one, PostgresJournal(postgres_dsn) as other:
            version = one.version
            await other.record(receipt())

            async with asyncio.timeout(PATIENCE):
                assert await one.changed(since=version, within=None)


class TestSynchronousCommit:
    @pytest.mark.parametrize("scope", ["ROLE exotel", "DATABASE {name}"])
    async def test_off(self, server, scope):
        """A server that acknowledges what it may forget is refused."""
        dsn = server.create_database()
        what = scope.format(name=dsn.rpartition("/")[2])
        server._execute(f"ALTER {what} SET synchronous_commit = off")
        try:
            with pytest.raises(JournalError, match="synchronous_commit is off"):
                await PostgresJournal(dsn).__aenter__()
        finally:
            server._execute(f"ALTER {what} RESET synchronous_commit")

    async def test_off_by_dsn(self, postgres_dsn):
        """Nor may the DSN ask for that."""
        dsn = f"{postgres_dsn}?options=-csynchronous_commit%3Doff"
        with pytest.raises(JournalError, match="synchronous_commit is off"):
            await PostgresJournal(dsn).__aenter__()

    @pytest.mark.parametrize("how", ["local", "remote_write", "remote_apply"])
    async def test_all_else(self, postgres_dsn, how):
        """How far a commit has to get before it is acknowledged is for the server to say."""
        dsn = f"{postgres_dsn}?options=-csynchronous_commit%3D{how}"
        async with PostgresJournal(dsn) as journal:
            assert await journal.record(receipt()) == Recorded.NEW

    async def test_switched_off(self, server):
        """What is switched off while it runs is refused from the next write on."""
        dsn = server.create_database()
        async with PostgresJournal(dsn, lease=60) as journal:
            await journal.record(receipt())
            try:
                server._execute("ALTER SYSTEM SET synchronous_commit = off")
                server._execute("SELECT pg_reload_conf()")
                with pytest.raises(JournalError, match="synchronous_commit is off"):
                    await asyncio.wait_for(self.write_for_ever(journal), PATIENCE)
            finally:
                server._execute("ALTER SYSTEM RESET synchronous_commit")
                server._execute("SELECT pg_reload_conf()")

    async def write_for_ever(self, journal):
        """Go on until it fails: the server's processes hear of a change one by one."""
        for i in itertools.count():
            await journal.record(receipt(f"c{i}"))

    async def test_isolation_of_the_database(self, server):
        """Whatever isolation a database prefers, a transaction sees what it waited for."""
        dsn = server.create_database()
        name = dsn.rpartition("/")[2]
        server._execute(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable")
        async with PostgresJournal(dsn) as journal:
            shown = await journal._write(lambda tx: tx.rows("SHOW transaction_isolation"))

        assert shown == [("read committed",)]


class TestOldServers:
    @pytest.mark.parametrize(("version", "good"), [(12_22_00, False), (13_00_00, True)])
    def test_version(self, version, good):
        """PostgreSQL 13 is the oldest that will do."""

        class Connection:
            class info:  # noqa: N801 - as psycopg has it
                server_version = version

        if good:
            migrating.refuse_old_servers(Connection)
        else:
            with pytest.raises(JournalError, match="13 or later"):
                migrating.refuse_old_servers(Connection)


class TestBlocked:
    async def test_others_go_on(self, postgres_dsn):
        """What waits for another's row holds up nothing else, and no heartbeat."""
        async with PostgresJournal(postgres_dsn, connections=2, lease=0.6) as journal:
            await intend(journal)
            with locked(postgres_dsn, "SELECT 1 FROM dials FOR UPDATE") as other:
                waiting = asyncio.ensure_future(journal.answered("d1", PLACED))
                await blocked(postgres_dsn)

                assert await journal.record(receipt()) == Recorded.NEW
                assert await journal.finish(await claim(journal))
                before = beats(postgres_dsn)
                async with asyncio.timeout(PATIENCE):
                    while beats(postgres_dsn) < before + 2:
                        await asyncio.sleep(0.01)
                assert not waiting.done()
                other.rollback()

            assert (await waiting).state == DialState.PLACED

    async def test_hearts_of_busy_ones(self, postgres_dsn):
        """Where every thread waits for a row, hearts beat nevertheless."""
        async with PostgresJournal(postgres_dsn, connections=2, lease=0.6) as journal:
            for i in range(2):
                await intend(journal, f"d{i}", key=f"k{i}")
            with locked(postgres_dsn, "SELECT 1 FROM dials FOR UPDATE") as other:
                waiting = [
                    asyncio.ensure_future(journal.answered(f"d{i}", PLACED)) for i in range(2)
                ]
                await blocked(postgres_dsn, amount=2)
                before = beats(postgres_dsn)
                async with asyncio.timeout(PATIENCE):
                    while beats(postgres_dsn) < before + 2:
                        await asyncio.sleep(0.01)
                assert not any(one.done() for one in waiting)
                other.rollback()
            await asyncio.gather(*waiting)

    async def test_for_too_long(self, postgres_dsn):
        """A row that nobody lets go of is an error in time, and the journal goes on."""
        async with PostgresJournal(postgres_dsn, commit_timeout=0.5, lease=60) as journal:
            await intend(journal)
            with locked(postgres_dsn, "SELECT 1 FROM dials FOR UPDATE"):
                with pytest.raises(JournalError):
                    await journal.answered("d1", PLACED)

            assert (await journal.answered("d1", PLACED)).state == DialState.PLACED

    async def test_waited_too_long(self, postgres_dsn):
        """What had no turn in time is not done later, when nobody waits for it any more."""
        async with PostgresJournal(
            postgres_dsn, commit_timeout=0.5, connections=2, lease=60
        ) as journal:
            await intend(journal)
            await journal.record(receipt())
            with locked(postgres_dsn, "SELECT 1 FROM dials FOR UPDATE"):
                given = [journal.answered("d1", PLACED) for _ in range(2)]
                late = [intend(journal, f"late{i}", key=f"late{i}") for i in range(3)]
                told = await asyncio.gather(*given, *late, return_exceptions=True)

            assert [type(one) for one in told] == [JournalError] * 5
            assert (await journal.stats())["dials"] == 1


def beats(dsn):
    with closing(psycopg.connect(dsn)) as looking:
        ((beat,),) = looking.execute("SELECT sum(beat) FROM exotel_async.owners").fetchall()
    return beat
