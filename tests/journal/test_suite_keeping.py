"""What is kept, what is erased, what is counted, what is copied."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from books import ACCOUNT, answered, claim, claims, intend, new_dial, outcome, receipt

from exotel_async import ConfigurationError, JournalError, KeyReusedError
from exotel_async.journal import MemoryJournal, SQLiteJournal, keeping
from exotel_async.journal.records import Answered, Recorded
from exotel_async.models.dials import DialState

DAY = 86_400.0
REFUSED = Answered(state=DialState.REFUSED)


async def send(journal, ref="d1", *, key="order-1", answer):
    await intend(journal, ref, key=key)
    await journal.sending(ref, patience=5.0)
    await journal.answered(ref, answer)


async def deliver_all(journal):
    while taken := await claims(journal):
        for one in taken:
            await journal.finish(one)


async def rows(journal, sql):
    return await journal._read(lambda tx: tx.rows(sql))


class TestEvents:
    async def test_young(self, journal, clock):
        """What is younger than asked for stays."""
        await journal.record(receipt())
        clock.elapsed += 29 * DAY

        assert set((await journal.prune()).values()) == {0}
        assert len(await claims(journal)) == 1

    async def test_old(self, journal, clock):
        """Old events go, with what callbacks said; that they came is remembered."""
        await journal.record(receipt(From="+919876543210"))
        await deliver_all(journal)
        clock.elapsed += 8 * DAY

        pruned = await journal.prune(older_than=timedelta(days=7))

        assert (pruned["events"], pruned["bodies"], pruned["receipts"]) == (1, 1, 0)
        assert await rows(journal, "SELECT body, query, content_type FROM receipts") == [
            (None, None, None)
        ]

    async def test_replayed_callback(self, journal, clock):
        """A copy that comes after pruning is a copy as long as its URL is good."""
        await journal.record(receipt())
        clock.elapsed += 29 * DAY
        await journal.prune(older_than=timedelta())

        assert await journal.record(receipt()) == Recorded.DUPLICATE
        assert await claims(journal) == ()

    async def test_url_is_good_no_more(self, journal, clock):
        """What no URL can bring again is forgotten."""
        await journal.record(receipt())
        clock.elapsed += 31 * DAY

        assert (await journal.prune())["receipts"] == 1
        assert (await journal.stats())["receipts"] == 0

    async def test_under_way(self, journal, clock):
        """What somebody works on stays until it is done."""
        await journal.record(receipt())
        taken = await claim(journal)
        clock.elapsed += 31 * DAY

        assert (await journal.prune())["events"] == 0
        assert await journal.finish(taken)

    async def test_merged(self, journal, clock):
        """What was merged goes with the event."""
        await journal.record(receipt())
        await journal.record(receipt(To="+919876543210"))
        clock.elapsed += 31 * DAY

        pruned = await journal.prune()

        assert (pruned["events"], pruned["receipts"]) == (1, 2)

    async def test_update_of_an_erased_one(self, journal, clock):
        """Where the body of an event is erased, nobody can tell what is new; nothing breaks."""
        await journal.record(receipt())
        await journal._write(lambda tx: tx.change("UPDATE receipts SET body = NULL"))

        assert await journal.record(receipt(To="1")) == Recorded.DUPLICATE
        assert (await claim(journal)).pairs == ()

    async def test_slices(self, journal, clock, monkeypatch):
        """Much goes in many small transactions, and all of it goes."""
        monkeypatch.setattr(keeping, "SLICE", 3)
        for i in range(10):
            await journal.record(receipt(f"c{i}"))
            await send(journal, f"d{i}", key=f"k{i}", answer=REFUSED)
        await deliver_all(journal)
        clock.elapsed += 401 * DAY

        pruned = await journal.prune()

        assert pruned == {"events": 20, "bodies": 10, "receipts": 10, "dials": 10, "keys": 10}
        assert set((await journal.stats()).values()) == {0}

    async def test_others_namespace(self, store, journal, clock):
        """Each service prunes what is its own."""
        other = await store.open(namespace="other")
        await other.record(receipt())
        clock.elapsed += 500 * DAY

        assert set((await journal.prune()).values()) == {0}
        assert (await other.stats())["receipts"] == 1


class TestDials:
    async def test_tombstone(self, journal, clock):
        """A key outlives its dial: it dials no second time, and remembers how it ended."""
        await send(journal, answer=Answered(state=DialState.PLACED, call_sid="c1"))
        await journal.conclude(outcome((await journal.look("d1"))[0]))
        await deliver_all(journal)
        clock.elapsed += 31 * DAY

        assert (await journal.prune())["dials"] == 1

        again = await intend(journal, "d2")
        assert not again.fresh
        assert (again.record.ref, again.record.state, again.record.call_sid) == (
            "d1",
            "placed",
            "c1",
        )
        assert again.outcome.state == "ended"
        assert (await journal.find(ACCOUNT, "order-1"))[1].state == "ended"
        assert await journal.look("d1") is None

    async def test_tombstone_with_other_arguments(self, journal, clock):
        """A tombstone remembers the arguments, too."""
        await send(journal, answer=REFUSED)
        await deliver_all(journal)
        clock.elapsed += 31 * DAY
        await journal.prune()

        with pytest.raises(KeyReusedError):
            await journal.intend(new_dial("d2"), retry_if=(), fits=lambda seal: seal == "another")

    async def test_retry_of_a_tombstone(self, journal, clock):
        """What was refused may be tried again even then."""
        await send(journal, answer=REFUSED)
        await deliver_all(journal)
        clock.elapsed += 31 * DAY
        await journal.prune()

        again = await intend(journal, "d2", retry_if={"refused"})

        assert (again.fresh, again.record.attempt) == (True, 2)

    async def test_forgotten_key(self, journal, clock):
        """After 400 days a key is forgotten."""
        await send(journal, answer=REFUSED)
        await deliver_all(journal)
        clock.elapsed += 401 * DAY

        assert (await journal.prune())["keys"] == 1
        assert (await intend(journal, "d2")).fresh

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            Answered(state=DialState.UNKNOWN),
            Answered(state=DialState.PLACED, call_sid="c1"),
        ],
        ids=["sending", "unknown", "placed"],
    )
    async def test_open(self, journal, clock, answer):
        """Open dials are never touched, nor is what came for them, nor their key."""
        await intend(journal)
        await journal.sending("d1", patience=5.0)
        if answer is not None:
            await journal.answered("d1", answer)
        await journal.record(answered("c1", dial="d1"))
        clock.elapsed += 500 * DAY

        assert set((await journal.prune()).values()) == {0}
        assert await journal.look("d1") is not None

    async def test_intended(self, journal, clock):
        """A dial that was never sent is open as long as its owner lives."""
        await intend(journal)
        clock.elapsed += 500 * DAY

        assert (await journal.prune())["dials"] == 0
        assert await journal.sending("d1", patience=5.0) is not None

    async def test_outcome_that_waits(self, journal, clock):
        """A dial whose outcome was told to nobody yet stays, so that it can be told whole."""
        await send(journal, answer=REFUSED)
        clock.elapsed += 10.0
        await journal._write(lambda tx: tx.change("UPDATE events SET made_at = ?", tx.now + 1e9))
        clock.elapsed += 31 * DAY

        assert (await journal.prune())["dials"] == 0
        await deliver_all(journal)
        assert (await journal.prune())["dials"] == 1

    async def test_earlier_attempt(self, journal, clock):
        """An attempt that another followed leaves no trace in the key."""
        await send(journal, answer=REFUSED)
        await intend(journal, "d2", retry_if={"refused"})
        await deliver_all(journal)
        clock.elapsed += 31 * DAY

        assert (await journal.prune())["dials"] == 1
        assert (await intend(journal, "d3")).record.ref == "d2"


class TestSettings:
    @pytest.mark.parametrize(("older_than", "keys_older_than"), [(-1, 400), (30, 29), (401, 400)])
    async def test_impossible(self, journal, older_than, keys_older_than):
        """Keys are kept at least as long as their dials."""
        with pytest.raises(ConfigurationError, match="older_than"):
            await journal.prune(
                older_than=timedelta(days=older_than),
                keys_older_than=timedelta(days=keys_older_than),
            )

    @pytest.mark.parametrize("name", ["older_than", "keys_older_than"])
    async def test_no_ages(self, journal, name):
        """Thirty what?"""
        with pytest.raises(ConfigurationError, match=f"^{name} must be a timedelta"):
            await journal.prune(**{name: 30})

    @pytest.mark.parametrize("namespace", ["", " ", None, 7])
    def test_namespace(self, namespace):
        """A namespace is a text that is not blank."""
        with pytest.raises(ConfigurationError, match="namespace"):
            MemoryJournal(namespace=namespace)

    @pytest.mark.parametrize("name", ["lease", "commit_timeout", "most_waiting"])
    @pytest.mark.parametrize("value", [0, -1, True, "8", float("nan"), None])
    def test_limits(self, name, value):
        """Limits are numbers above 0."""
        with pytest.raises(ConfigurationError, match=name):
            SQLiteJournal("calls.db", **{name: value})

    def test_most_waiting(self):
        """Half a write can't wait."""
        with pytest.raises(ConfigurationError, match="most_waiting"):
            SQLiteJournal("calls.db", most_waiting=0.5)

    @pytest.mark.parametrize("path", [None, 7, b"calls.db", "a\0b"])
    def test_no_path(self, path):
        """What can't be a path is refused by its name."""
        with pytest.raises(ConfigurationError, match="path must be"):
            SQLiteJournal(path)

    @pytest.mark.parametrize("path", ["", ":memory:"])
    def test_path(self, path):
        """A journal in a file has a file."""
        with pytest.raises(ConfigurationError, match="MemoryJournal"):
            SQLiteJournal(path)


class TestStats:
    async def test_all(self, journal):
        """Everything that somebody may want to watch is counted."""
        for i in range(3):
            await journal.record(receipt(f"c{i}"))
        await journal.fail(
            (await journal.claim(("callback.terminal",), most=1, tries=3))[0],
            error="no", wait=None, done=(),
        )  # fmt: skip
        await journal.claim(("callback.terminal",), most=1, tries=3)
        await send(journal, answer=Answered(state=DialState.UNKNOWN))
        await send(journal, "d2", key="k2", answer=Answered(state=DialState.UNKNOWN))
        await journal.conclude(outcome((await journal.look("d2"))[0], "unresolved"))

        assert await journal.stats() == {
            "receipts": 3, "events_waiting": 2, "updates_waiting": 0, "outcomes_waiting": 1,
            "events_dead": 1, "events_claimed": 1,
            "dials": 2, "dials_open": 1, "keys": 2, "unresolved": 1,
        }  # fmt: skip

    async def test_nothing(self, journal):
        """Of an empty journal all counts are there, and 0."""
        assert set((await journal.stats()).values()) == {0}


class TestBackup:
    async def test_whole(self, journal, tmp_path):
        """A backup is a journal like any other, for its owner's eyes only."""
        await journal.record(receipt())
        await journal.backup(tmp_path / "copy.db")

        async with SQLiteJournal(tmp_path / "copy.db") as copy:
            assert await copy.record(receipt()) == Recorded.DUPLICATE
            assert len(await claims(copy)) == 1
        assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600

    async def test_onto_a_file(self, journal, tmp_path):
        """No file is overwritten."""
        (tmp_path / "copy.db").write_text("mine")

        with pytest.raises(JournalError, match="back up"):
            await journal.backup(tmp_path / "copy.db")

        assert (tmp_path / "copy.db").read_text() == "mine"

    async def test_half_a_copy(self, journal, store, tmp_path, monkeypatch):
        """Half a copy is not left behind."""

        def fail(*_args):
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(store.copies, fail)

        with pytest.raises(JournalError, match="disk I/O"):
            await journal.backup(tmp_path / "copy.db")

        assert not (tmp_path / "copy.db").exists()


class TestLife:
    async def test_not_open(self, tmp_path):
        """Who forgot to open a journal is told how."""
        for journal in (MemoryJournal(), SQLiteJournal(tmp_path / "a.db")):
            with pytest.raises(JournalError, match="async with"):
                await journal.record(receipt())
            with pytest.raises(JournalError, match="async with"):
                await journal.stats()
            with pytest.raises(JournalError, match="async with"):
                await journal.backup(tmp_path / "copy.db")
        assert list(tmp_path.iterdir()) == []

    async def test_nested(self, store):
        """Whoever opens closes: a journal that somebody else still uses stays open."""
        journal = await store.open()
        async with journal:
            pass

        assert await journal.record(receipt()) == Recorded.NEW

    async def test_lifespan(self, tmp_path):
        """An application's `cleanup_ctx` opens and closes it."""
        journal = SQLiteJournal(tmp_path / "a.db")
        life = journal.lifespan()
        await anext(life)
        assert await journal.record(receipt()) == Recorded.NEW
        with pytest.raises(StopAsyncIteration):
            await anext(life)

        with pytest.raises(JournalError):
            await journal.stats()
        with closing(sqlite3.connect(tmp_path / "a.db")) as file:
            assert file.execute("SELECT count(*) FROM owners").fetchone() == (0,)
