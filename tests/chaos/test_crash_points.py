"""A process ends at each step that it makes, before and after it; the next one loses nothing.

The steps are enumerated, not sampled: a run that goes through writes down which there are, and
the lists below must name them all.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from math import ceil
from pathlib import Path
from typing import Any

import attrs
import pytest
from campaign import TIMES
from chaos_oracle import Verdict
from chaos_plan import Point
from chaos_run import Process, Run, Scene, running, several
from chaos_table import SEED
from chaos_zygote import Zygote

FAILING = {"name": "503-json", "carried_out": False}
SCENES = {
    # One dial is answered 429 first, one gets no answer, one is overtaken by its callback; an end
    # is told twice, one never; and of the two handlers of an end one fails at first.
    "calls": Scene(
        dials=4,
        faults=(
            {"name": "429-retry-after", "on": "connect", "seconds": 0.5},
            {"name": "reset-after-read", "on": "connect"},
            {"name": "callback-early", "on": "answered"},
            {"name": "callback-twice", "on": "terminal"},
            {"name": "callback-lost", "on": "terminal"},
        ),
        quirks=("fails",),
    ),
    # No end is ever told, and Exotel is out of order when it is asked for the first time.
    "silence": Scene(
        dials=2,
        faults=(
            {"name": "callback-lost", "times": None},
            {**FAILING, "on": "bulk", "times": 3},
            {**FAILING, "on": "details", "times": 3},
        ),
    ),
    # An answer is lost, and somebody tells of a call that there is not.
    "forgery": Scene(
        dials=1,
        faults=(
            {"name": "reset-after-read", "on": "connect"},
            {"name": "callback-lost", "times": None},
        ),
        forged=True,
    ),
    # The process is asked to end while a handler takes long.
    "closing": Scene(dials=1, quirks=("hangs",)),
}

ORDERS = {
    "calls": (
        "record", "claim", "progress", "finish", "fail", "intend", "sending", "unsent", "answered",
        "due", "conclude", "reserve", "hold",
    ),
    "silence": ("put_off",),
    "forgery": ("reject",),
    "closing": ("release",),
}  # fmt: skip
OTHERS = ("dialling", "asking", "the 200", "the handler")

CASES = [
    (scene, name, when, which)
    for scene, orders in ORDERS.items()
    for name in (
        *orders,
        *(f"commit of {order}" for order in orders),
        *(OTHERS if scene == "calls" else ()),
    )
    for when in ("before", "after")
    for which in (
        ("first", "last")
        if scene == "calls" and (TIMES > 1 or not name.startswith("commit"))
        else ("first",)
    )
]


Case = tuple[str, str, str, str]
Counts = dict[str, Counter[tuple[str, str]]]


@attrs.frozen
class Played:
    """How often each step is made where nobody ends at it, and what came of ending there."""

    counts: Counts
    verdicts: dict[Case, Verdict | BaseException]


@pytest.fixture(scope="module")
def played(asked: list[Case], zygote: Zygote, folder: Path) -> Played:
    """What came of all runs that are asked for."""
    return asyncio.run(play(asked, zygote, folder / "crashes"))


async def play(cases: Sequence[Case], zygote: Zygote, folder: Path) -> Played:
    counts = {scene: await traced(scene, zygote, folder / scene) for scene in SCENES}

    async def play_one(case: Case) -> Verdict:
        return await crash(case, counts, zygote, folder / " ".join(case))

    return Played(counts, await several(cases, play_one))


async def traced(scene: str, zygote: Zygote, folder: Path) -> Counter[tuple[str, str]]:
    """Count the steps of a run that goes through."""
    async with running(zygote, folder, SCENES[scene], seed=SEED) as run:
        await through(run, scene, traced=True)
        lines = (run.folder / "trace").read_text().splitlines()
    return Counter((name, when) for name, when in (line.split("\t") for line in lines))


async def crash(case: Case, counts: Counts, zygote: Zygote, folder: Path) -> Verdict:
    """Let a process end at a step, and others after it get through."""
    scene, name, when, which = case
    occurrence = 1 if which == "first" else counts[scene][name, when]
    while True:
        point = Point(name=name, when=when, occurrence=occurrence)
        async with running(zygote, folder / str(point), SCENES[scene], seed=SEED) as run:
            process = await through(run, scene, point=point)
            if process.was_hit:
                return await run.to_the_end(killed=True, quirks=())
        assert occurrence > 1, f"never came to {point}: {run.output(process)}"
        occurrence = ceil(occurrence / 2)  # how often a step is made may vary a little


async def through(run: Run, scene: str, **changes: Any) -> Process:
    """Let the first process of a scene come to its end."""
    process = run.start(**changes)
    if scene == "closing":
        await run.until(lambda: process.status is not None or run.says(process, "hanging"))
        process.signal(signal.SIGTERM)
    await run.until_over(process)
    return process


class TestCrashPoints:
    def test_all_are_named(self, played):
        """No step that a process makes is left out, and none is named that it does not make."""
        made = {name for counts in played.counts.values() for name, _ in counts}

        assert made == {name for _, name, _, _ in CASES}

    @pytest.mark.parametrize("case", CASES, ids=" ".join)
    def test_nothing_is_lost(self, played, table, case):
        """Whoever comes after finds out what there was, and no phone rings twice."""
        verdict = played.verdicts[case]

        if isinstance(verdict, BaseException):
            raise verdict
        table.add("crash at a named step", verdict)
        assert verdict.violations == []
