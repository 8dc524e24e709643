"""Processes are killed at any moment, again and again; in the end nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import signal
from random import Random

import pytest
from campaign import TIMES
from chaos_run import Process, Run, Scene
from chaos_table import SEED

KILLS = 20 * TIMES
_KILLS_A_TEST = 4

CONNECT = (
    "429-retry-after", "reset-after-read", "close-after-read", "500-json", "502-html",
    "503-json", "truncated-200", "empty-200", "reset-on-connect",
)  # fmt: skip
CALLBACK = (
    "callback-lost", "callback-late", "callback-twice", "callback-out-of-order", "callback-early",
    "callback-as-json", "callback-as-multipart",
)  # fmt: skip


def scene_of(chance: Random) -> Scene:
    """Draw what goes wrong at Exotel besides."""
    faults = [{"name": name, "on": "connect"} for name in chance.sample(CONNECT[:-1], 2)]
    faults += [{"name": name} for name in chance.sample(CALLBACK, 2)]
    if chance.random() < 0.3:
        faults.append({"name": CONNECT[-1]})
    quirks = ("fails",) if chance.random() < 0.5 else ()
    return Scene(dials=4, faults=tuple(faults), quirks=quirks)


async def end_soon(run: Run, process: Process, *, chance: Random, by: int) -> bool:
    """Send a process a signal within a moment; tell whether it still lived."""
    loop = asyncio.get_running_loop()
    at = loop.time() + chance.uniform(0.01, 0.25)
    await run.until(lambda: loop.time() >= at or process.status is not None)
    if process.status is not None:
        return False
    process.signal(by)
    await run.until_over(process)
    return True


class TestKilledAtRandom:
    @pytest.mark.parametrize("number", range(KILLS // _KILLS_A_TEST))
    async def test_sigkill(self, stage, table, number):
        """Processes of one service are killed, one after the other; the last settles all."""
        chance = Random(f"{SEED} {number}")
        kills, runs = 0, 0

        while kills < _KILLS_A_TEST:
            before, runs = kills, runs + 1
            async with stage(scene_of(chance), name=f"run {runs}", seed=SEED) as run:
                process = run.start()
                while kills < _KILLS_A_TEST and await end_soon(
                    run, process, chance=chance, by=signal.SIGKILL
                ):
                    kills += 1
                    process = run.start()
                assert await run.until_over(process) == 0, run.output(process)
                verdict = run.verdict(process, killed=kills > before)
            table.add("SIGKILL at random", verdict, times=kills - before)
            assert verdict.violations == []

    @pytest.mark.parametrize("number", range(3 * TIMES))
    async def test_sigterm(self, stage, table, number):
        """Whoever is asked to end gives back what it has: nothing is even handled twice."""
        chance = Random(f"{SEED} term {number}")

        async with stage(scene_of(chance), seed=SEED + number) as run:
            process = run.start()
            while await end_soon(run, process, chance=chance, by=signal.SIGTERM):
                assert process.status in (0, -signal.SIGTERM), run.output(process)
                process = run.start()
            assert await run.until_over(process) == 0, run.output(process)
            verdict = run.verdict(process, killed=False)

        table.add("SIGTERM at random", verdict)
        assert verdict.violations == []

    @pytest.mark.parametrize("number", range(2 * TIMES))
    async def test_three_processes(self, stage, table, number):
        """Two dial and receive, one delivers, all on one file; any of them is killed."""
        chance = Random(f"{SEED} three {number}")
        roles = (
            {"seat": 0, "handles": False},
            {"seat": 1, "handles": False},
            {"seat": 2, "receives": False, "keys": ()},
        )

        async with stage(scene_of(chance), seed=SEED + number) as run:
            living = [run.start(**role) for role in roles]
            for _ in range(3):
                place = chance.randrange(3)
                await end_soon(run, living[place], chance=chance, by=signal.SIGKILL)
                living[place] = run.start(**roles[place])
            await run.until(lambda: all(one.status is not None for one in living))
            assert [one.status for one in living] == [0, 0, 0], run.output(living[0])
            verdict = run.verdict(living[0], killed=True)

        table.add("three processes, SIGKILL at random", verdict)
        assert verdict.violations == []
