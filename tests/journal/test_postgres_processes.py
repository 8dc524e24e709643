"""A journal in PostgreSQL: many processes at once, killed, frozen, and with clocks of their own."""

from __future__ import annotations

import asyncio
import itertools
import signal
from contextlib import closing

import psycopg
import pytest
from books import ACCOUNT, TOPICS, claim, claims, intend, new_dial, receipt, same, state_of
from postgres_child import PATIENCE, TOGETHER, Child, Gate, ask, waits_for_rows

from exotel_async.journal import PostgresJournal
from exotel_async.journal.delivering import claim as claim_now
from exotel_async.journal.dialling import intend as intend_now
from exotel_async.journal.records import Answered
from exotel_async.models.dials import DialState

HAMMER = (
    TOGETHER
    + """
import random
KINDS = ("answered", "odd", "terminal")

async def main(number):
    chance = random.Random(number)
    dies_after = chance.randint(3, 12) if number % 2 else None
    async with PostgresJournal(dsn, lease=0.6, connections=3) as journal:
        audit = psycopg.connect(dsn, autocommit=True)
        await enter()
        await asyncio.gather(
            record_some(journal, audit, number), work(journal, audit, chance, dies_after)
        )

async def record_some(journal, audit, number):
    for call in range(12):
        for kind in KINDS:
            told = await journal.record(receipt(f"{number}-{call}", EventType=kind))
            audit.execute("INSERT INTO kept VALUES (%s, %s, %s)", [f"{number}-{call}", kind, told])
            await asyncio.sleep(0)

async def work(journal, audit, chance, dies_after):
    idle = 0
    while idle < 3:
        taken = await journal.claim(TOPICS, most=chance.randint(1, 6), tries=50)
        if not taken:
            counts = await journal.stats()
            idle = 0 if counts["events_waiting"] or counts["events_claimed"] else idle + 1
            await asyncio.sleep(0.02)
        for claim in taken:
            audit.execute(
                "INSERT INTO holds (fence, lane, event, owner) VALUES (%s, %s, %s, %s)",
                [claim.fence, claim.delivery_id.rsplit(" ", 2)[0], claim.event_id, os.getpid()],
            )
        for claim in taken:
            if dies_after is not None and (dies_after := dies_after - 1) == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            how = chance.choice(["finish"] * 5 + ["fail", "release"])
            audit.execute(
                "UPDATE holds SET ended = clock_timestamp(), how = %s WHERE fence = %s",
                [how, claim.fence],
            )
            if how == "finish":
                good = await journal.finish(claim)
            elif how == "fail":
                good = await journal.fail(claim, error="odd", wait=0.0, done=())
            else:
                good = await journal.release(claim, done=())
            audit.execute("UPDATE holds SET good = %s WHERE fence = %s", [good, claim.fence])
"""
)
AUDIT = """
CREATE TABLE kept (sid TEXT, kind TEXT, told TEXT);
CREATE TABLE holds (
    fence BIGINT PRIMARY KEY, lane TEXT, event BIGINT, owner BIGINT,
    began TIMESTAMPTZ DEFAULT clock_timestamp(), ended TIMESTAMPTZ, how TEXT, good BOOLEAN
)
"""
OVERLAPS = """
SELECT count(*) FROM holds a JOIN holds b ON a.lane = b.lane AND a.fence < b.fence
WHERE a.ended > b.began AND b.ended > a.began
"""
LOST = """
SELECT count(*) FROM kept k WHERE told = 'new' AND NOT EXISTS (
    SELECT 1 FROM exotel_async.events e JOIN exotel_async.receipts r ON r.id = e.receipt
    WHERE e.call_sid = k.sid AND e.state = 'done')
"""
DISORDER = """
SELECT count(*) FROM (SELECT event, lane, min(fence) AS first FROM holds GROUP BY 1, 2) a
JOIN (SELECT event, lane, min(fence) AS first FROM holds GROUP BY 1, 2) b
ON a.lane = b.lane AND a.event < b.event AND a.first > b.first
"""
# Claims of events that somebody had before who never said how it went.
SUSPECTS = """
WITH suspects AS (
    SELECT b.* FROM holds b JOIN holds a ON a.event = b.event AND a.fence < b.fence
    WHERE a.ended IS NULL AND NOT EXISTS (
        SELECT 1 FROM holds c WHERE c.event = b.event AND c.fence > a.fence AND c.fence < b.fence)
)
SELECT count(*) FROM suspects a JOIN suspects b ON a.fence < b.fence
WHERE a.ended > b.began AND b.ended > a.began
"""


class TestHammer:
    async def test_events(self, postgres_dsn):
        """Six processes, of which half are killed, deliver all of it, each call by one at a time.

        Events of a call come in their order, and suspects one at a time.
        """
        async with PostgresJournal(postgres_dsn):
            with closing(psycopg.connect(postgres_dsn, autocommit=True)) as connection:
                connection.execute(AUDIT)
        with Gate(postgres_dsn) as gate, Child(HAMMER, postgres_dsn, count=6) as processes:
            await gate.open(processes, count=6)
            await processes.rest()

        def count(sql):
            return ask(postgres_dsn, sql)[0][0]

        assert count("SELECT count(*) FROM kept WHERE told <> 'new'") == 0
        assert count("SELECT count(*) FROM kept") >= 3 * 36
        assert count("SELECT count(DISTINCT owner) FROM holds WHERE ended IS NULL") == 3
        assert count("SELECT count(*) FROM holds WHERE ended IS NOT NULL AND NOT good") == 0
        assert count(LOST) == 0
        assert count(OVERLAPS) == 0
        assert count(DISORDER) == 0
        assert count(SUSPECTS) == 0
        assert (
            count("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0
        )


RACES = (
    TOGETHER
    + """
async def main(number):
    async with PostgresJournal(dsn) as journal:
        await enter()
        for i in range(15):
            told = await intend(journal, f"{number}-{i}", key=f"k{i}")
            fresh = int(told.fresh)
            if fresh:
                await journal.answered(
                    told.record.ref, Answered(state=DialState.REFUSED, error=None)
                )
            say("intend", i, fresh)
        for i in range(15):
            told = await intend(journal, f"{number}-{i}-again", key=f"k{i}", retry_if=("refused",))
            say("retry", i, int(told.fresh), told.record.attempt)
            say("record", i, await journal.record(receipt(f"c{i}")))
"""
)


def by_name(said, name):
    """List what was said about each number under a name."""
    told = sorted((int(i), rest) for word, i, *rest in said if word == name)
    return {i: [rest for _, rest in of] for i, of in itertools.groupby(told, lambda one: one[0])}


class TestOnce:
    async def test_keys_and_callbacks(self, postgres_dsn):
        """Of six at once one finds a key new, one retries it, and one a callback new."""
        async with PostgresJournal(postgres_dsn):
            pass
        with Gate(postgres_dsn) as gate, Child(RACES, postgres_dsn, count=6) as processes:
            await gate.open(processes, count=6)
            said = await processes.rest()

        intended, retried = by_name(said, "intend"), by_name(said, "retry")
        recorded = by_name(said, "record")
        assert [sum(int(fresh) for (fresh,) in intended[i]) for i in range(15)] == [1] * 15
        assert [sum(int(fresh) for fresh, _ in retried[i]) for i in range(15)] == [1] * 15
        assert {attempt for i in range(15) for _, attempt in retried[i]} == {"2"}
        told = [sorted(word for (word,) in recorded[i]) for i in range(15)]
        assert told == [["duplicate"] * 5 + ["new"]] * 15

    async def test_one_dial(self, postgres_dsn):
        """Answer, callback and the owner's death at once: whatever comes last, nothing is lost."""
        async with (
            PostgresJournal(postgres_dsn, lease=60) as mine,
            PostgresJournal(postgres_dsn, lease=60) as other,
            PostgresJournal(postgres_dsn, lease=60) as heir,
        ):
            refs = [f"d{i}" for i in range(25)]
            for ref in refs:
                await intend(mine, ref, key=ref)
                await mine.sending(ref, patience=5.0)

            async def each(journal, what):
                for ref in refs:
                    await what(journal, ref)

            await asyncio.gather(
                each(mine, lambda journal, ref: journal.answered(ref, placed(ref))),
                each(other, lambda journal, ref: journal.record(receipt(f"c{ref}", dial=ref))),
                asyncio.to_thread(heir._engine._bury, mine._engine.owner, 2**62),
            )
            states = [await state_of(mine, ref) for ref in refs]
            due = await heir.due(ACCOUNT, most=100)

        assert {record.state for record in states} == {DialState.PLACED}
        assert [record.call_sid for record in states] == [f"c{ref}" for ref in refs]
        assert {record.sid_source for record in states} <= {"answer", "callback"}
        assert all(one.ending is not None for one in due)
        assert len(due) == 25  # the end that the callbacks told makes each due at once

    @pytest.mark.parametrize("first", ["answer", "callback", "death"])
    async def test_interleaved(self, postgres_dsn, first):
        """Who comes second looks at what the first one wrote, not at what was there before."""
        async with (
            PostgresJournal(postgres_dsn, lease=60) as mine,
            PostgresJournal(postgres_dsn, lease=60) as other,
        ):
            await intend(mine)
            await mine.sending("d1", patience=5.0)
            owner = mine._engine.owner
            moves = {
                "answer": lambda: mine.answered("d1", placed("d1")),
                "callback": lambda: other.record(receipt("cd1", dial="d1")),
                "death": lambda: asyncio.to_thread(other._engine._bury, owner, 2**62),
            }
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("SELECT 1 FROM exotel_async.dials FOR UPDATE")
                running = [asyncio.ensure_future(moves.pop(first)())]
                await waits_for_rows(postgres_dsn, 1)
                running += [asyncio.ensure_future(move()) for move in moves.values()]
                await waits_for_rows(postgres_dsn, 2)
                holder.rollback()
            await asyncio.gather(*running)
            record = await state_of(mine)

        assert (record.state, record.call_sid) == (DialState.PLACED, "cd1")
        assert record.next_check == 0.0

    async def test_claims(self, postgres_dsn):
        """Who claims passes by what another is just claiming, and does not wait for him."""

        def work(tx):
            taken = claim_now(tx, TOPICS, most=2, tries=3)
            tx.rows("SELECT 1 FROM dials FOR UPDATE")
            return taken

        async with (
            PostgresJournal(postgres_dsn, lease=60) as one,
            PostgresJournal(postgres_dsn, lease=60) as other,
        ):
            await intend(one)
            for i in range(5):
                await one.record(receipt(f"c{i}"))
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("SELECT 1 FROM exotel_async.dials FOR UPDATE")
                working = asyncio.ensure_future(one._write(work))
                await waits_for_rows(postgres_dsn, 1)
                passed_by = await claims(other, *TOPICS)
                assert not working.done()
                holder.rollback()
            taken = await working

        sids = [[dict(claim.pairs)["CallSid"] for claim in some] for some in (taken, passed_by)]
        assert sids == [["c0", "c1"], ["c2", "c3", "c4"]]

    async def test_merged_while_finished(self, postgres_dsn):
        """What a repeated callback adds while a handler's end is written down is told later."""
        async with PostgresJournal(postgres_dsn, lease=60) as journal:
            await journal.record(receipt(Status="completed"))
            taken = await claim(journal)
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("SELECT 1 FROM exotel_async.events FOR UPDATE")
                more = asyncio.ensure_future(journal.record(receipt(To="1")))
                await waits_for_rows(postgres_dsn, 1)
                done = asyncio.ensure_future(journal.finish(taken, done=["handler"]))
                await waits_for_rows(postgres_dsn, 2)
                holder.rollback()

            assert (await more, await done) == ("update", True)
            again = await claim(journal, "update.terminal")
            assert (again.revision, dict(again.pairs)["To"]) == (2, "1")

    async def test_two_merges(self, postgres_dsn):
        """Of two callbacks that add something at the same moment neither is lost."""
        async with (
            PostgresJournal(postgres_dsn, lease=60) as one,
            PostgresJournal(postgres_dsn, lease=60) as other,
        ):
            await one.record(receipt())
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("SELECT 1 FROM exotel_async.events FOR UPDATE")
                both = [
                    asyncio.ensure_future(one.record(receipt(To="1"))),
                    asyncio.ensure_future(other.record(receipt(Direction="outbound-api"))),
                ]
                await waits_for_rows(postgres_dsn, 2)
                holder.rollback()
            told = await asyncio.gather(*both)
            taken = await claim(one)

        assert told == ["update", "update"]
        assert taken.revision == 3
        assert {"To", "Direction"} <= set(dict(taken.pairs))

    async def test_pruned_while_claimed(self, postgres_dsn):
        """An event that was pruned at the moment at which it was claimed is over, whatever else."""
        async with PostgresJournal(postgres_dsn, lease=60) as journal:
            await journal.record(receipt())
            taken = await claim(journal)
            await journal._write(lambda tx: tx.change("DELETE FROM events"))

            assert await journal.progress(taken, done=["handler"])
            assert await journal.finish(taken)
            assert not await journal.finish(taken)

    async def test_key_revived_while_pruned(self, postgres_dsn):
        """A key that is used again while it is pruned is not forgotten."""
        async with PostgresJournal(postgres_dsn, lease=60) as journal:
            await intend(journal)
            await journal._write(
                lambda tx: tx.change("UPDATE keys SET state = 'refused', made_at = 1")
            )
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute(
                    "UPDATE exotel_async.keys SET state = NULL, made_at = made_at + 1e10"
                )
                pruning = asyncio.ensure_future(journal.prune())
                await waits_for_rows(postgres_dsn, 1)
                holder.commit()

            assert (await pruning)["keys"] == 0
            assert not (await intend(journal, "d2")).fresh


def placed(ref):
    return Answered(state=DialState.PLACED, call_sid=f"c{ref}")


FROZEN = """
async def main():
    async with PostgresJournal(sys.argv[1], lease=1.0, commit_timeout=4.0) as journal:
        await intend(journal, "d1", key="k1")
        await intend(journal, "d2", key="k2")
        await journal.sending("d2", patience=5.0)
        await journal.record(receipt())
        taken = await claim(journal)
        if sys.argv[2] == "busy":
            stood = []
            def stands_still(tx):
                tx.rows(f"SELECT 1 FROM dials WHERE ref = 'd1'{tx.for_update}")
                if not stood:
                    stood.append(say("holds"))
                    sys.stdin.readline()
            working = asyncio.ensure_future(journal._write(stands_still))
            await asyncio.wait({working}, timeout=20)
            say(type(working.exception()).__name__)
        else:
            say("holds")
            await told()
        say(await journal.finish(taken), await journal.sending("d1", patience=5.0))
        again = await intend(journal, "d3", key="k3")
        say(again.fresh, await journal.sending("d3", patience=5.0) is not None)
        await told()
"""


class TestFrozen:
    async def recovered(self, journal, *expected):
        async with asyncio.timeout(PATIENCE):
            while [(await state_of(journal, f"d{i}")).state for i in (1, 2)] != [*expected]:
                await asyncio.sleep(0.02)

    async def test_idle(self, postgres_dsn):
        """Who stands still beyond its lease has lost what it held, and goes on under a new name."""
        async with PostgresJournal(postgres_dsn, lease=1.0) as journal:
            with Child(FROZEN, postgres_dsn, "idle") as child:
                await child.says()
                child.signal(signal.SIGSTOP)
                await self.recovered(journal, "not_sent", "unknown")
                again = await claim(journal, *TOPICS)

                child.signal(signal.SIGCONT)
                child.tell()
                assert await child.says() == ["False", "None"]
                assert await child.says() == ["True", "True"]
                assert await journal.finish(again)
                assert (await state_of(journal, "d3")).state == "sending"

    async def test_in_a_transaction(self, postgres_dsn):
        """Rows that somebody kept who stands still are free again by and by."""
        async with PostgresJournal(postgres_dsn, lease=1.0, commit_timeout=PATIENCE) as journal:
            with Child(FROZEN, postgres_dsn, "busy") as child:
                await child.says()
                child.signal(signal.SIGSTOP)
                await self.recovered(journal, "not_sent", "unknown")

                child.signal(signal.SIGCONT)
                child.tell()
                assert await child.says() == ["NoneType"]  # done anew, under another name
                assert await child.says() == ["False", "None"]
                assert await child.says() == ["True", "True"]

    async def test_warning(self, postgres_dsn, caplog):
        """Who was taken for dead says so, once, and does what it was asked in its new name."""
        async with (
            PostgresJournal(postgres_dsn, lease=60) as mine,
            PostgresJournal(postgres_dsn, lease=60) as other,
        ):
            former = mine._engine.owner
            await asyncio.to_thread(other._engine._bury, former, 2**62)
            told = await asyncio.gather(*(intend(mine, f"d{i}", key=f"k{i}") for i in range(12)))
            begun = [await mine.sending(f"d{i}", patience=5.0) for i in range(12)]

        assert mine._engine is None
        assert {one.record.owner for one in told}.isdisjoint({former})
        assert len({one.record.owner for one in told}) == 1
        assert None not in begun
        assert caplog.text.count("others took over our work") == 1

    async def test_just_committing(self, postgres_dsn):
        """What somebody thought dead is just committing is taken over as well."""

        def work(tx):
            intended = intend_now(tx, new_dial("d1", key="k1"), retry_if=(), fits=same)
            tx.rows("SELECT 1 FROM dials WHERE ref = 'd0' FOR UPDATE")
            return intended.fresh

        async with (
            PostgresJournal(postgres_dsn, lease=60) as mine,
            PostgresJournal(postgres_dsn, lease=60) as other,
        ):
            await intend(mine, "d0", key="k0")
            owner = mine._engine.owner
            with closing(psycopg.connect(postgres_dsn)) as holder:
                holder.execute("SELECT 1 FROM exotel_async.dials FOR UPDATE")
                working = asyncio.ensure_future(mine._write(work))
                await waits_for_rows(postgres_dsn, 1)
                burying = asyncio.create_task(asyncio.to_thread(other._engine._bury, owner, 2**62))
                await waits_for_rows(postgres_dsn, 2)
                holder.rollback()
            told = await asyncio.gather(working, burying)
            states = [(await state_of(other, ref)).state for ref in ("d0", "d1")]

        assert told == [True, True]
        assert states == ["not_sent", "not_sent"]

    async def test_server_gone_while_renamed(self, postgres_dsn):
        """Who can't take a new name just now takes it at the next try."""
        async with PostgresJournal(postgres_dsn, lease=60) as journal:
            await journal._write(lambda tx: tx.change("UPDATE slots SET token = token"))
            owner = journal._engine.owner
            with closing(psycopg.connect(postgres_dsn, autocommit=True)) as other:
                other.execute("DELETE FROM exotel_async.slots")
                other.execute("ALTER TABLE exotel_async.owners RENAME TO aside")
                told = await asyncio.gather(intend(journal), return_exceptions=True)
                other.execute("ALTER TABLE exotel_async.aside RENAME TO owners")

            assert isinstance(told[0], Exception)
            assert journal._engine.owner == owner
            assert (await intend(journal)).fresh
            assert journal._engine.owner != owner
