"""The commands for a journal, at a file and at a real PostgreSQL."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime

import attrs
import psycopg
import pytest
from books import claims, receipt
from cli_processes import end_of, environ_for, on_terminal, process, run_process
from clocks import NOON, FakeClock

from exotel_async import ConfigurationError
from exotel_async.cli.journals import is_dsn
from exotel_async.cli.running import explain
from exotel_async.cli.world import World
from exotel_async.journal import PostgresJournal, SQLiteJournal, keeping

DAY = 86_400.0
PASSWORD = "opensesame"
COUNTS = {"events_waiting", "events_dead", "receipts", "dials", "keys", "unresolved"}


def days_ago(days):
    """Make a clock by which it is so many days earlier."""
    clock = FakeClock()
    clock.elapsed = (datetime.now(UTC) - NOON).total_seconds() - days * DAY
    return clock


@attrs.frozen
class Where:
    """A store that is not there yet."""

    name: str  # as it is given to --journal

    def journal(self, **options):
        """Make a journal on it."""
        return (PostgresJournal if is_dsn(self.name) else SQLiteJournal)(self.name, **options)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path):
    if request.param == "postgres":
        return Where(request.getfixturevalue("postgres_dsn"))
    return Where(str(tmp_path / "calls.db"))


@pytest.fixture
def run(cli, where):
    """Run a command at the store, named by the environment."""

    async def at(*words):
        return await cli("journal", *words, world=World(environ={"EXOTEL_JOURNAL": where.name}))

    return at


async def fill(where, *sids, days=0.0, namespace="default"):
    """Put callbacks into it that came so many days ago."""
    async with where.journal(clock=days_ago(days), namespace=namespace) as journal:
        for sid in sids:
            await journal.record(receipt(sid, From="+919876543210"))


class TestMigrate:
    async def test_made(self, run):
        """Where there are no tables they are made."""
        ran = await run("migrate")

        assert (ran.status, ran.err) == (0, "")
        assert ran.out.startswith("The tables are made: ")
        assert ran.out.endswith(", schema 1.\n")

    async def test_again(self, run):
        """Where they are there nothing is done."""
        await run("migrate")

        ran = await run("migrate")

        assert ran.status == 0
        assert ran.out.startswith("Nothing to do: ")

    async def test_json(self, run):
        """As JSON it says from which schema to which."""
        first, again = [(await run("migrate", "--json")).objects[0] for _ in range(2)]

        assert (first["from_schema"], first["to_schema"]) == (0, 1)
        assert (again["from_schema"], again["to_schema"]) == (1, 1)
        assert first["engine"].startswith(("SQLite 3.", "PostgreSQL "))

    async def test_keeps(self, run, where):
        """What is there stays."""
        await fill(where, "c1")

        await run("migrate")

        assert (await run("status", "--json")).objects[0]["counts"]["events_waiting"] == 1

    async def test_five_at_once(self, where):
        """Five at once make them once."""
        environ = environ_for(EXOTEL_JOURNAL=where.name)

        ran = await asyncio.gather(
            *(run_process("journal", "migrate", environ=environ) for _ in range(5))
        )

        assert [one.err for one in ran] == [""] * 5
        assert sum(one.out.startswith("The tables are made") for one in ran) == 1

    async def test_other_schema(self, cli, postgres_dsn):
        """--schema names where in the database they stand."""
        words = ("--journal", postgres_dsn, "--schema", "shop")

        await cli("journal", "migrate", *words)

        assert (await cli("journal", "status", *words)).status == 0
        assert (await cli("journal", "status", "--journal", postgres_dsn)).status == 1


class TestStatus:
    async def test_human(self, run, where):
        """It shows what is there, and for how long the oldest has waited."""
        await fill(where, "c1", days=2.1)
        await fill(where, "c2", "c3")

        ran = await run("status")

        assert (ran.status, ran.err) == (0, "")
        lines = [" ".join(line.split()) for line in ran.out.splitlines()]
        assert "schema 1 (this release knows 1)" in lines
        assert "events waiting 3, the oldest for 2 d 2 h" in lines
        assert "dead letters 0" in lines
        assert "owners 0" in lines

    async def test_json(self, run, where):
        """As JSON it is one object."""
        await fill(where, "c1", days=1)

        (found,) = (await run("status", "--json")).objects

        assert found["counts"].keys() > COUNTS
        assert found["counts"]["events_waiting"] == 1
        assert found["waiting"]["events_waiting"] == pytest.approx(DAY, abs=600)
        assert (found["schema"], found["needed"], found["namespace"]) == (1, 1, "default")
        assert found["namespaces"] == ["default"]

    async def test_large_counts(self, run, where):
        """A count as long as a phone number is no phone number."""
        await fill(where, "c1", days=200)

        (found,) = (await run("status", "--json")).objects

        assert found["waiting"]["events_waiting"] > 10_000_000

    async def test_owners(self, run, where):
        """Whoever has work in hand is counted; whoever looks is none of them."""
        await fill(where, "c1")
        async with where.journal() as journal:
            await claims(journal)
            (found,) = (await run("status", "--json")).objects

        (after,) = (await run("status", "--json")).objects
        assert (found["owners"], found["counts"]["events_claimed"]) == (1, 1)
        assert after["owners"] == 0

    async def test_nothing_is_taken_over(self, cli, tmp_path):
        """Who is dead is not counted, and stays as it is: it is not for us to take over."""
        path = tmp_path / "calls.db"
        insert = "INSERT INTO owners (owner, beat, since) VALUES ('dead', 0, 0)"
        async with SQLiteJournal(path) as journal:
            await journal._write(lambda tx: tx.change(insert))
            (tmp_path / "calls.db-owner-dead").touch()

            first, second = [
                (await cli("journal", "status", "--json", "--journal", str(path))).objects[0]
                for _ in range(2)
            ]
            rows = await journal._read(lambda tx: tx.rows("SELECT owner FROM owners"))

        assert first["owners"] == second["owners"] == 1
        assert len(rows) == 2

    async def test_other_namespace(self, run, where):
        """A namespace that holds nothing is told of those that do."""
        await fill(where, "c1", namespace="shop")

        ran = await run("status")

        assert ran.status == 0
        assert ran.err == "Namespace 'default' holds nothing; these do: shop.\n"

    async def test_no_file(self, cli, tmp_path):
        """A file that is not there is not made."""
        ran = await cli("journal", "status", "--journal", str(tmp_path / "calls.db"))

        assert ran.status == 1
        assert "Run: exotel-async journal migrate" in ran.err
        assert list(tmp_path.iterdir()) == []

    async def test_no_tables(self, cli, postgres_dsn):
        """A database without tables gets none, and is told what is needed."""
        ran = await cli("journal", "status", "--json", "--journal", postgres_dsn)

        assert ran.status == 1
        assert "Run: exotel-async journal migrate" in ran.err
        assert (ran.objects[0]["schema"], ran.objects[0]["counts"]) == (0, {})
        with psycopg.connect(postgres_dsn) as connection:
            found = connection.execute("SELECT to_regnamespace('exotel_async')").fetchone()
        assert found == (None,)

    async def test_too_new(self, run, where):
        """Tables that need a newer release are told."""
        await run("migrate")
        async with where.journal() as journal:
            await journal._write(lambda tx: tx.change("UPDATE meta SET schema = 9, min_reader = 9"))

        ran = await run("status")

        assert ran.status == 1
        assert "needs a newer release" in ran.err

    async def test_newer(self, run, where):
        """Tables of a newer release that this one can live with are fine."""
        await run("migrate")
        async with where.journal() as journal:
            await journal._write(lambda tx: tx.change("UPDATE meta SET schema = 9"))

        assert (await run("status")).status == 0
        assert (await run("migrate", "--json")).objects[0]["to_schema"] == 9

    async def test_server_is_down(self, cli):
        """A server that can't be reached is told, its password is not."""
        ran = await cli(
            "journal", "status", "--journal", f"postgresql://me:{PASSWORD}@127.0.0.1:1/calls"
        )

        assert ran.status == 1
        assert "See that the server runs and lets you in" in ran.err
        assert PASSWORD not in ran.err


class TestPrune:
    async def test_old(self, run, where):
        """What is old goes, and what is young stays."""
        await fill(where, "c1", "c2", days=31)
        await fill(where, "c3")

        ran = await run("prune")

        assert (ran.status, ran.err) == (0, "")
        assert ran.out == "Erased: events 2, bodies 2, receipts 2.\n"
        assert (await run("status", "--json")).objects[0]["counts"]["receipts"] == 1

    async def test_older_than(self, run, where):
        """--older-than says what is old."""
        await fill(where, "c1", days=3)

        kept = await run("prune", "--older-than", "1w")
        erased = await run("prune", "--older-than", "2d", "--json")

        assert kept.out == "Erased: nothing.\n"
        assert erased.objects == [
            {"erased": {"events": 1, "bodies": 1, "receipts": 0, "dials": 0, "keys": 0}}
        ]

    @pytest.mark.parametrize("age", ["0d", "-1d", "6m", "30", "d", "1e3d", "999999w", "", "٣d"])
    async def test_nonsense(self, run, age):
        """An age that is none is refused; minutes are, since they may be meant as months."""
        ran = await run("prune", "--older-than", age)

        assert ran.status == 2
        assert "write 36h, 30d or 52w" in ran.err

    async def test_keys_before_dials(self, run):
        """A key must not be forgotten before its dial."""
        ran = await run("prune", "--older-than", "30d", "--keys-older-than", "7d")

        assert ran.status == 2
        assert "--keys-older-than must not be shorter than --older-than" in ran.err

    async def test_no_file(self, cli, tmp_path):
        """A file that is not there is not made."""
        ran = await cli("journal", "prune", "--journal", str(tmp_path / "calls.db"))

        assert ran.status == 2
        assert "does not exist" in ran.err
        assert list(tmp_path.iterdir()) == []

    async def test_no_tables(self, cli, postgres_dsn):
        """Tables are not made by the way."""
        ran = await cli("journal", "prune", "--journal", postgres_dsn)

        assert ran.status == 1
        assert "Run: exotel-async journal migrate" in ran.err

    async def test_other_namespace(self, run, where):
        """A namespace that holds nothing is told of those that do."""
        await fill(where, "c1", namespace="shop")

        ran = await run("prune", "--namespace", "shpo")

        assert ran.out == "Erased: nothing.\n"
        assert ran.err == "Namespace 'shpo' holds nothing; these do: shop.\n"

    async def test_progress(self, where, monkeypatch):
        """On a terminal it shows how far it is."""
        monkeypatch.setattr(keeping, "SLICE", 1)
        await fill(where, "c1", "c2", days=31)
        world = World(environ={"EXOTEL_JOURNAL": where.name})

        status, shown = await on_terminal("journal", "prune", world=world)

        assert status == 0
        assert "Erasing: 6" in shown
        assert "Erased: events 2, bodies 2, receipts 2." in shown

    @pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    async def test_interrupted(self, postgres_dsn, cli, how, status):
        """Ctrl-C ends it between two slices; what is done is told, and the rest is for later."""
        where = Where(postgres_dsn)
        await fill(where, "c1", "c2", days=31)
        words = ("journal", "prune", "--journal", postgres_dsn)
        with closing(psycopg.connect(postgres_dsn)) as connection:
            connection.execute("SELECT 1 FROM exotel_async.receipts FOR UPDATE")
            async with process(*words, environ=environ_for()) as started:
                await until_one_waits(postgres_dsn)
                started.send_signal(how)
                ending = asyncio.create_task(end_of(started))
                await asyncio.sleep(0)
                connection.rollback()
                ran = await ending

        assert ran.status == status
        assert ran.err == "Stopped. Erased: events 2. The next run goes on from there.\n"
        again = (await cli(*words, "--json")).objects[0]["erased"]
        assert (again["events"], again["receipts"]) == (0, 2)


async def until_one_waits(dsn):
    """Wait until a transaction waits for another."""
    sql = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        async with asyncio.timeout(20):
            while connection.execute(sql).fetchone() == (0,):
                await asyncio.sleep(0.01)


class TestWhich:
    @pytest.mark.parametrize(
        ("text", "dsn"),
        [
            ("calls.db", False),
            ("/var/lib/host/calls.db", False),
            ("./host=a", False),
            ("postgresql://me@db.example/calls", True),
            ("postgres:///calls?user=me@tenant", True),
            ("postgresql://me:a%40b@[::1]:5432,other:5433/calls?sslmode=require", True),
            ("host=db dbname=calls", True),
            (" service = calls", True),
        ],
    )
    def test_is_dsn(self, text, dsn):
        """A file is told from a database by how it is spelt."""
        assert is_dsn(text) is dsn

    @pytest.mark.parametrize("verb", ["status", "migrate", "prune"])
    @pytest.mark.parametrize(
        "dsn",
        [
            f"postgresql://me:a@{PASSWORD}@db/calls",
            f"postgresql://me:a/{PASSWORD}@db/calls",
            f"postgresql://me:{PASSWORD}%zz@db/calls",
            f"postgresql://me:a/{PASSWORD}?@db/calls",
            f"mysql://me:{PASSWORD}@db/calls",
            f"host=db {PASSWORD}",
            f"host=127.0.0.1 port=1 password='{PASSWORD}'",
        ],
    )
    async def test_passwords_are_not_shown(self, cli, verb, dsn):
        """Whatever is wrong with a DSN, nothing of its password is shown."""
        ran = await cli("journal", verb, "--journal", dsn)

        assert ran.status in (1, 2)
        assert ran.err.startswith("exotel-async: ")
        assert PASSWORD not in ran.out + ran.err

    async def test_none(self, cli):
        """Without any journal it says how to name one."""
        ran = await cli("journal", "status", world=World(environ={"EXOTEL_JOURNAL": " "}))

        assert ran.status == 2
        assert "--journal FILE or DSN, or EXOTEL_JOURNAL" in ran.err

    async def test_words_beat_the_environment(self, cli, tmp_path):
        """--journal counts more than the variable."""
        world = World(environ={"EXOTEL_JOURNAL": str(tmp_path / "other.db")})

        ran = await cli("journal", "migrate", "--journal", str(tmp_path / "calls.db"), world=world)

        assert ran.status == 0
        assert (tmp_path / "calls.db").exists()
        assert not (tmp_path / "other.db").exists()

    async def test_schema_of_a_file(self, cli, tmp_path):
        """A file has no --schema."""
        ran = await cli(
            "journal", "status", "--journal", str(tmp_path / "calls.db"), "--schema", "shop"
        )

        assert ran.status == 2
        assert "--schema goes with PostgreSQL only" in ran.err

    @pytest.mark.parametrize("words", [("--schema", "No; such"), ("--namespace", " ")])
    async def test_names(self, cli, postgres_dsn, words):
        """A schema or namespace that can be none is wrong usage."""
        ran = await cli("journal", "migrate", "--journal", postgres_dsn, *words)

        assert ran.status == 2
        assert words[0].removeprefix("--") in ran.err

    async def test_something_else(self, cli, tmp_path):
        """A file that is no journal is left as it is."""
        path = tmp_path / "notes.txt"
        path.write_bytes(b"no journal of anybody's")

        for verb in ("migrate", "status", "prune"):
            ran = await cli("journal", verb, "--journal", str(path))
            assert ran.status == 1
            assert "is no SQLite file" in ran.err
        assert path.read_bytes() == b"no journal of anybody's"

    @pytest.mark.parametrize("lacking", ["psycopg", "psycopg_pool"])
    def test_without_the_extra(self, lacking):
        """Without its driver, one line says what to install."""
        program = (
            "import sys\n"
            f"sys.modules[{lacking!r}] = None\n"
            "from exotel_async.cli import main\n"
            "sys.exit(main(['journal', 'status', '--journal', 'postgresql://db/calls']))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "exotel-async: a journal in PostgreSQL needs its extra: "
            'pip install "exotel-async[postgres]"\n'
        )

    async def test_password_by_the_environment(self, postgres_dsn):
        """What a DSN leaves out comes from libpq's own variables."""
        found = psycopg.conninfo.conninfo_to_dict(postgres_dsn)
        environ = environ_for(
            EXOTEL_JOURNAL="dbname=" + found["dbname"], PGHOST=found["host"],
            PGPORT=str(found["port"]), PGUSER=found["user"], PGPASSWORD=PASSWORD,
        )  # fmt: skip

        ran = await run_process("journal", "migrate", environ=environ)

        assert (ran.status, ran.err) == (0, "")


def test_a_wrong_setting_is_wrong_usage(capsys):
    """A setting that the journal refuses ends with 2."""
    assert explain(ConfigurationError("schema must be a name")) == 2
    assert capsys.readouterr().err == "exotel-async: schema must be a name\n"
