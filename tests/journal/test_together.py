"""What waits together is written together, and nobody can tell the difference."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from books import answered, claims, intend, receipt, state_of
from campaign import examples
from clocks import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.journal import MemoryJournal, SQLiteJournal
from exotel_async.journal.database import SQLiteTransaction, connect, migrate
from exotel_async.journal.receiving import MOST_BODIES
from exotel_async.journal.records import Answered, Recorded
from exotel_async.journal.together import NotTogetherError, record_together
from exotel_async.journal.writer import Writer
from exotel_async.models.dials import DialState

SIDS = ("c1", "c2", "c3")
URLS = ({}, {"ref": "a"}, {"ref": "d1"}, {"dial": "d1"}, {"dial": "d2"}, {"dial": "unknown"})


@st.composite
def callbacks(draw):
    """Few calls, few URLs, few words: most callbacks have something to do with each other."""
    url = draw(st.sampled_from(URLS))
    sid = draw(st.sampled_from(SIDS))
    more = {"To": draw(st.sampled_from((None, "1", "2")))} | url
    if draw(st.booleans()):
        return answered(sid, leg=draw(st.integers(0, 1)), **more)
    return receipt(sid, EventType=draw(st.sampled_from(("terminal", "odd"))), **more)


@asynccontextmanager
async def books(journal):
    """Two dials, of which one is known to be call c1 and the other's answer is not there yet."""
    async with journal:
        for ref in ("d1", "d2"):
            await intend(journal, ref, key=ref)
            await journal.sending(ref, patience=5.0)
        await journal.answered("d1", Answered(state=DialState.PLACED, call_sid="c1"))
        yield journal


async def what_is_known(journal):
    """List what is to be delivered, and what became of the dials."""
    events = [
        (claim.delivery_id, claim.pairs)
        for _ in range(10)
        for claim in await claims(journal)
        if await journal.finish(claim)
    ]
    dials = [await state_of(journal, ref) for ref in ("d1", "d2")]
    told = [(dial.state, dial.call_sid, dial.sid_source) for dial in dials]
    return sorted(events), told, dict(await journal.stats())


class Counting(SQLiteTransaction):
    """A transaction in memory that counts its statements."""

    def __init__(self):
        self.connection = connect(None)
        migrate(self.connection)
        super().__init__(self.connection, namespace="default", owner="o", now=1.0)
        self._run, self._execute, self.statements = self._execute, self._count, 0

    def _count(self, *args):
        self.statements += 1
        return self._run(*args)


@pytest.fixture
def tx():
    tx = Counting()
    yield tx
    tx.connection.close()


class TestTheSame:
    @examples(40)
    @given(batches=st.lists(st.lists(callbacks(), min_size=1, max_size=4), max_size=8))
    def test_as_one_by_one(self, batches):
        """What came together is told, kept and applied as if each had come alone, in that order."""

        async def compare():
            clock = FakeClock()
            with tempfile.TemporaryDirectory() as folder:
                async with (
                    books(SQLiteJournal(Path(folder) / "calls.db", clock=clock)) as together,
                    books(MemoryJournal(clock=clock)) as alone,
                ):
                    for coming in batches:
                        told = await asyncio.gather(*map(together.record, coming))
                        expected = [await alone.record(one) for one in coming]

                        assert told == expected
                    assert await what_is_known(together) == await what_is_known(alone)

        asyncio.run(compare())

    async def test_failure(self, tmp_path):
        """What fails among others fails alone."""

        def fail(tx):
            tx.change("DELETE FROM receipts")
            raise RuntimeError("mine alone")

        async with SQLiteJournal(tmp_path / "calls.db") as journal:
            told = await asyncio.gather(
                journal.record(receipt("c1")),
                journal._write(fail),
                journal.record(receipt("c2")),
                return_exceptions=True,
            )

            assert told[::2] == [Recorded.NEW, Recorded.NEW]
            assert repr(told[1]) == "RuntimeError('mine alone')"
            assert (await journal.stats())["receipts"] == 2

    @pytest.mark.parametrize(("last_took", "expected"), [(0.0, [20]), (0.005, [8, 8, 4])])
    async def test_wake_ups(self, tmp_path, monkeypatch, last_took, expected):
        """All tasks that have their turn in one pass of the loop wake the writer once.

        A slow disk is given something to do earlier.
        """
        passes = []
        put = Writer._put

        def noted(writer, loop):
            passes.append(len(writer._given.get(loop, ())))
            put(writer, loop)

        async with SQLiteJournal(tmp_path / "calls.db") as journal:
            with monkeypatch.context() as patch:
                patch.setattr(Writer, "_put", noted)
                journal._writer._last_took = last_took
                await asyncio.gather(*(journal.record(receipt(f"c{i}")) for i in range(20)))

        assert [amount for amount in passes if amount] == expected


class TestRecordTogether:
    @pytest.mark.parametrize("amount", [1, 20, 32])
    def test_statements(self, tx, amount):
        """New callbacks cost three statements, however many they are."""
        coming = [receipt(f"c{i}", ref=f"order-{i}") for i in range(amount)]

        told = record_together(tx, coming)

        assert told == [Recorded.NEW] * amount
        assert tx.statements == 3

    def test_more_than_a_statement_takes(self, tx):
        """A thousand are written in pieces."""
        coming = [receipt(f"c{i}", ref=f"order-{i}") for i in range(1000)]

        assert record_together(tx, coming) == [Recorded.NEW] * 1000

        assert tx.rows("SELECT count(*) FROM events") == [(1000,)]

    def test_none(self, tx):
        """Where none came, nothing is asked."""
        assert record_together(tx, []) == []
        assert tx.statements == 0

    @pytest.mark.parametrize(
        "coming",
        [
            pytest.param([receipt(), receipt()], id="copy"),
            pytest.param([receipt(), receipt(To="1")], id="update"),
            pytest.param(
                [receipt(dial="d1", EventType="odd", Try=i) for i in range(MOST_BODIES + 1)],
                id="too many of a dial",
            ),
            pytest.param(
                [receipt(ref="a", EventType="odd", Try=i) for i in range(MOST_BODIES + 1)],
                id="too many of a call",
            ),
        ],
    )
    def test_more_than_new(self, tx, coming):
        """What is more than new is left to be looked at one by one."""
        with pytest.raises(NotTogetherError):
            record_together(tx, coming)

    def test_copy_of_what_was_pruned(self, tx):
        """A copy is known even when the event that was made of it is gone."""
        record_together(tx, [receipt()])
        tx.change("DELETE FROM events")

        with pytest.raises(NotTogetherError):
            record_together(tx, [receipt()])

    def test_as_many_as_may_be(self, tx):
        """The last that is kept for a ref is no exception."""
        coming = [receipt(ref="a", EventType="odd", Try=i) for i in range(MOST_BODIES)]

        assert record_together(tx, coming) == [Recorded.NEW] * MOST_BODIES
