"""The commands for deliveries that were given up, at a journal in a file."""

from __future__ import annotations

import sqlite3

import pytest
from deliveries import tell

from exotel_async.cli.world import World
from exotel_async.journal import PostgresJournal, SQLiteJournal

TOPICS = ["callback.terminal"]
ERROR = "shop:ended: RuntimeError: no line to +919876543210"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.db"


@pytest.fixture
async def dead(path):
    """A file with three dead letters, and one in another namespace."""
    await give_up(SQLiteJournal(path), "c1", "c2", "c3")
    await give_up(SQLiteJournal(path, namespace="shop"), "c9")
    return path


async def give_up(journal, *sids):
    """Have deliveries fail for good."""
    async with journal:
        for sid in sids:
            await tell(journal, sid, ref="+919876543210")
            [claim] = await journal.claim(TOPICS, most=1, tries=9)
            await journal.fail(claim, error=ERROR, wait=None, done=())


@pytest.fixture
def run(cli, path):
    """Run a command at the file."""

    async def at(verb, *words, namespace="default"):
        return await cli(
            "deadletters", verb, "--journal", str(path), "--namespace", namespace, *words
        )

    return at


async def waiting(path):
    async with SQLiteJournal(path) as journal:
        stats = await journal.stats()
        return stats["events_waiting"], stats["events_dead"]


class TestList:
    async def test_lines(self, run, dead):
        """Off a terminal they are lines with tabs, oldest first, numbers masked."""
        ran = await run("list")

        head, *lines = [line.split("\t") for line in ran.out.splitlines()]
        assert (ran.status, ran.err) == (0, "")
        assert head == ["ID", "RECEIVED", "TOPIC", "CALL SID", "REF", "ATTEMPTS", "ERROR"]
        assert [line[3] for line in lines] == ["c1", "c2", "c3"]
        assert {line[4] for line in lines} == {"***3210"}
        assert {line[6] for line in lines} == {ERROR.replace("+919876543210", "***3210")}

    async def test_json(self, run, dead):
        """As JSON each is an object, numbers masked, times with their zone."""
        ran = await run("list", "--json")

        assert [letter["call_sid"] for letter in ran.objects] == ["c1", "c2", "c3"]
        first = ran.objects[0]
        assert first["attempts"] == 1
        assert first["received_at"].endswith("+00:00")
        assert "9876543210" not in ran.out

    async def test_show_numbers(self, run, dead):
        """With --show-numbers a ref is shown whole; errors were masked when they were kept."""
        ran = await run("list", "--json", "--show-numbers")

        assert {letter["ref"] for letter in ran.objects} == {"+919876543210"}

    async def test_namespace(self, run, dead):
        """Each service has its own."""
        ran = await run("list", "--json", namespace="shop")

        assert [letter["call_sid"] for letter in ran.objects] == ["c9"]

    async def test_limit(self, run, dead):
        """A list that was cut says so."""
        ran = await run("list", "--limit", "2")

        assert len(ran.out.splitlines()) == 3
        assert "Stopped at 2" in ran.err

    async def test_none(self, run, path):
        """Where there are none, nothing is shown."""
        async with SQLiteJournal(path):
            pass

        ran = await run("list")

        assert (ran.status, ran.out, ran.err) == (0, "", "")


class TestReplay:
    async def test_by_id(self, run, dead):
        """Those that are named wait for their handlers again."""
        first, _, third = [letter["id"] for letter in (await run("list", "--json")).objects]

        ran = await run("replay", str(first), str(third), str(first))

        assert (ran.status, ran.out, ran.err) == (0, "To be delivered again: 2.\n", "")
        assert await waiting(dead) == (2, 1)

    async def test_all(self, run, dead):
        """--all takes all of this namespace."""
        ran = await run("replay", "--all", "--json")

        assert (ran.status, ran.objects) == (0, [{"replayed": 3}])
        assert await waiting(dead) == (3, 0)

    async def test_unknown_ids(self, run, dead):
        """An id that is no dead letter's is told, and the status shows it."""
        first = (await run("list", "--json")).objects[0]["id"]

        ran = await run("replay", str(first), "4711")

        assert ran.status == 1
        assert ran.out == "To be delivered again: 1.\n"
        assert ran.err == "Not found among the dead letters: 1 of 2.\n"

    @pytest.mark.parametrize("words", [(), ("1", "--all")])
    async def test_which(self, run, dead, words):
        """Nothing is replayed unless it is said which."""
        ran = await run("replay", *words)

        assert ran.status == 2
        assert "--all" in ran.err
        assert await waiting(dead) == (0, 3)


class TestOtherNamespace:
    @pytest.mark.parametrize("verb", [("list",), ("replay", "--all")])
    async def test_mistyped(self, run, dead, verb):
        """A namespace that holds nothing is told of those that do."""
        ran = await run(*verb, namespace="shpo")

        assert ran.status == 0
        assert ran.err == "Namespace 'shpo' holds nothing; these do: default, shop.\n"

    async def test_no_dead_letters(self, run, path):
        """One that holds something, but no dead letters, is told nothing."""
        async with SQLiteJournal(path) as journal:
            await tell(journal, "c1")

        assert (await run("list")).err == ""


class TestPostgres:
    @pytest.fixture
    def run(self, cli, postgres_dsn):
        """Run a command at the database, named by the environment."""

        async def at(verb, *words):
            world = World(environ={"EXOTEL_JOURNAL": postgres_dsn})
            return await cli("deadletters", verb, *words, world=world)

        return at

    async def test_list_and_replay(self, run, postgres_dsn):
        """They are listed and replayed as those of a file."""
        await give_up(PostgresJournal(postgres_dsn), "c1", "c2")

        listed = await run("list", "--json")
        first = listed.objects[0]
        replayed = await run("replay", str(first["id"]))

        assert [letter["call_sid"] for letter in listed.objects] == ["c1", "c2"]
        assert (replayed.status, replayed.out) == (0, "To be delivered again: 1.\n")
        assert [letter["call_sid"] for letter in (await run("list", "--json")).objects] == ["c2"]

    async def test_namespace(self, run, postgres_dsn):
        """A namespace that holds nothing is told of those that do."""
        await give_up(PostgresJournal(postgres_dsn, namespace="shop"), "c1")

        assert (await run("list")).err == "Namespace 'default' holds nothing; these do: shop.\n"

    async def test_no_tables(self, run):
        """Tables are not made by the way."""
        ran = await run("list")

        assert ran.status == 1
        assert "Run: exotel-async journal migrate" in ran.err


class TestNoJournal:
    @pytest.mark.parametrize("verb", [("list",), ("replay", "--all")])
    async def test_missing(self, run, path, verb):
        """A file that is not there is not made."""
        ran = await run(*verb)

        assert ran.status == 2
        assert "does not exist" in ran.err
        assert list(path.parent.iterdir()) == []

    @pytest.mark.parametrize("content", [b"", b"no journal of anybody's", b"SQLite format 3\0x"])
    async def test_something_else(self, run, path, content):
        """What is no journal is left as it is, and the error says what to look at."""
        path.write_bytes(content)

        ran = await run("list")

        assert ran.status == 1
        assert "is the journal of your service" in ran.err
        assert path.read_bytes() == content

    async def test_locked(self, run, dead, monkeypatch):
        """A journal that somebody else has locked is told."""
        monkeypatch.setattr(SQLiteJournal.__init__, "__kwdefaults__", {
            **SQLiteJournal.__init__.__kwdefaults__, "commit_timeout": 0.05,
        })  # fmt: skip
        other = sqlite3.connect(dead, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        ran = await run("replay", "--all")

        other.execute("ROLLBACK")
        other.close()
        assert ran.status == 1
        assert "locked" in ran.err
