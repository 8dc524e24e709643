"""Durable receivers as processes that share a journal, and that die."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import attrs
import pytest
from deliveries import PATIENCE, tell, until_stats
from receivers import FORM, SECRET

from exotel_async import CallbackTokens
from exotel_async.journal import SQLiteJournal

SCRIPT = Path(__file__).parent.parent / "support" / "durable_process.py"
TOKENS = CallbackTokens([SECRET])


@attrs.define(eq=False)
class Process:
    """A running process and the lines that it wrote."""

    process: asyncio.subprocess.Process
    lines: list[str]

    async def until(self, word: str, *, times: int = 1) -> list[str]:
        """Read until so many lines began with a word; returns what follows it in them."""
        async with asyncio.timeout(PATIENCE):
            while len(self.said(word)) < times:
                line = await self.process.stdout.readline()
                assert line, f"it ended before it said {word!r}: {self.lines}"
                self.lines.append(line.decode().rstrip())
        return self.said(word)

    def said(self, word: str) -> list[str]:
        begin = f"{word} "
        return [line.removeprefix(begin) for line in self.lines if f"{line} ".startswith(begin)]

    async def end(self) -> int:
        """Wait for its end by itself; returns its exit status."""
        async with asyncio.timeout(PATIENCE):
            rest = await self.process.stdout.read()
            self.lines.extend(rest.decode().splitlines())
            return await self.process.wait()

    async def stop(self) -> int:
        """Have it end as a service does."""
        self.process.stdin.close()
        return await self.end()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.db"


@pytest.fixture
async def run(path):
    """Start processes; those that live on are killed at the end."""
    started = []

    async def start(*words):
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), str(path), *words,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return Process(process, [])

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def post(session, receiver, call_sid, *, ref="order-42"):
    """Post that a call is over; returns the status, None where the process is gone."""
    [port] = receiver.said("port")
    url = f"http://127.0.0.1:{port}/exotel/{TOKENS.mint(ref)}"
    body = f"CallSid={call_sid}&Status=completed"
    try:
        async with session.post(url, data=body, headers={"Content-Type": FORM}) as answer:
            return answer.status
    except (aiohttp.ClientError, OSError):
        return None


async def stats(path):
    async with SQLiteJournal(path) as journal:
        return await journal.stats(), await journal.dead_letters()


class TestPoison:
    async def test_two_tries(self, run, path):
        """A handler that kills its process is a dead letter in the end; other calls go on."""
        async with SQLiteJournal(path) as journal:
            for sid in ("poison1", "c2", "c3"):
                await tell(journal, sid)

        for _ in range(2):
            assert await (await run("work", "poison")).end() == 9
        third = await run("work", "poison")
        handled = await third.until("handled", times=2)
        assert await third.stop() == 0

        counts, dead = await stats(path)
        assert [line.split()[0] for line in handled] == ["c2", "c3"]
        assert [(letter.call_sid, letter.attempts) for letter in dead] == [("poison1", 2)]
        assert "process ended" in dead[0].error
        assert counts["events_waiting"] == counts["events_claimed"] == 0


class TestReceiversAndWorker:
    async def test_one_file(self, run, path):
        """Two processes receive, a third delivers: each event once, whoever took it."""
        one, two = await run("receive"), await run("receive")
        await asyncio.gather(one.until("port"), two.until("port"))
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession())
            first = [await post(session, (one, two)[n % 2], f"c{n}") for n in range(6)]
            worker = await run("work")
            more = await asyncio.gather(
                *(post(session, (one, two)[n % 2], f"c{n}", ref=f"o{n}") for n in range(6, 30))
            )
            # each of them once more, by way of the other
            again = await asyncio.gather(
                *(post(session, (two, one)[n % 2], f"c{n}", ref=f"o{n}") for n in range(6, 30))
            )
            handled = await worker.until("handled", times=30)

        assert set(first) | set(more) | set(again) == {200}
        assert [await each.stop() for each in (one, two, worker)] == [0, 0, 0]
        sids = Counter(line.split()[0] for line in handled)
        assert sids == {f"c{n}": 1 for n in range(30)}
        counts, _ = await stats(path)
        assert counts["events_waiting"] == counts["events_claimed"] == 0
        assert one.said("handled") == two.said("handled") == []

    async def test_worker_dies(self, run, path):
        """A worker that is killed leaves nothing behind that the next one does not deliver."""
        receiver, first = await run("receive"), await run("work")
        await asyncio.gather(receiver.until("port"), first.until("works"))
        async with aiohttp.ClientSession() as session:
            for n in range(3):
                assert await post(session, receiver, f"c{n}") == 200
            await first.until("handled")
            first.process.kill()
            await first.end()
            for n in range(3, 6):
                assert await post(session, receiver, f"c{n}") == 200
        second = await run("work")
        async with SQLiteJournal(path) as journal:
            await until_stats(journal, events_waiting=0, events_claimed=0)
        await second.stop()

        handled = {line.split()[0] for line in first.said("handled") + second.said("handled")}
        assert handled == {f"c{n}" for n in range(6)}


class TestKilledReceiver:
    async def test_what_was_answered_200(self, run, path):
        """What was answered 200 is delivered, though the process is killed at any moment."""
        answered, handled = set(), set()
        async with aiohttp.ClientSession() as session:
            for n in range(3):
                receiver = await run("both")
                await receiver.until("port")
                posts = [
                    asyncio.create_task(post(session, receiver, f"c{n}-{k}", ref=f"o{n}-{k}"))
                    for k in range(40)
                ]
                await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
                receiver.process.kill()
                await receiver.end()
                statuses = await asyncio.gather(*posts)
                answered |= {f"c{n}-{k}" for k, status in enumerate(statuses) if status == 200}
                handled |= {line.split()[0] for line in receiver.said("handled")}
        worker = await run("work")
        async with SQLiteJournal(path) as journal:
            await until_stats(journal, events_waiting=0, events_claimed=0)
        await worker.stop()

        handled |= {line.split()[0] for line in worker.said("handled")}
        assert answered
        assert answered <= handled
