"""Each way to build it wrong ends badly in some run: so the runs can tell right from wrong."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest
from chaos_mutants import MUTANTS
from chaos_plan import Point
from chaos_run import Run, Scene, running, several
from chaos_table import SEED
from chaos_zygote import Zygote

_LIMIT, _HANGING = 20.0, 4.0  # seconds of real time for a run, and for one that never ends

RESET = {"name": "reset-after-read", "on": "connect"}
ALL_LOST = {"name": "callback-lost", "times": None}


@attrs.frozen(kw_only=True)
class Case:
    """The run in which a mutant shows itself, and how."""

    mutant: str
    sign: str  # what a violation begins with
    point: Point | None = None
    scene: Scene = attrs.field(factory=lambda: Scene(dials=2))


def _at(name: str, when: str, act: str = "exit") -> Point:
    return Point(name=name, when=when, act=act)


# One for each kind of step at which a process may end.
CASES = (
    Case(mutant="commit after the 200", sign="lost", point=_at("the 200", "after")),
    Case(mutant="200 without a commit", sign="lost"),
    Case(mutant="told before the COMMIT", sign="lost", point=_at("the 200", "after")),
    Case(mutant="no dedupe", sign="handled twice",
         scene=Scene(faults=({"name": "callback-twice", "times": None},))),
    Case(mutant="done before its handlers", sign="lost", point=_at("the handler", "before")),
    Case(mutant="progress forgotten", sign="wrong", point=_at("progress", "after")),
    Case(mutant="failure taken for success", sign="lost", scene=Scene(quirks=("fails",))),
    Case(mutant="intent after the POST", sign="dialled twice", point=_at("dialling", "after")),
    Case(mutant="sending not committed", sign="dialled twice", point=_at("dialling", "after")),
    Case(mutant="a dead owner's sending taken for not sent", sign="dialled twice",
         point=_at("dialling", "after")),
    Case(mutant="the dead not buried", sign="hangs", point=_at("intend", "after")),
    Case(mutant="unknown taken for unsent", sign="wrong", scene=Scene(faults=(RESET,))),
    Case(mutant="a reset taken for not sent", sign="dialled twice", scene=Scene(faults=(RESET,))),
    Case(mutant="a sid forgotten", sign="hangs", scene=Scene(faults=(ALL_LOST,))),
    Case(mutant="a look that is the last", sign="hangs", point=_at("due", "after"),
         scene=Scene(faults=(ALL_LOST,))),
    Case(mutant="put off for ever", sign="hangs",
         scene=Scene(faults=(ALL_LOST, {"name": "503-json", "on": "bulk", "times": 3}))),
    Case(mutant="a forgery never taken back", sign="hangs",
         scene=Scene(dials=1, faults=(RESET, ALL_LOST), forged=True)),
    Case(mutant="an outcome not announced", sign="lost"),
)  # fmt: skip


BY_MUTANT = {case.mutant: case for case in CASES}
Found = list[str]


@pytest.fixture(scope="module")
def played(
    asked: list[str], zygote: Zygote, folder: Path
) -> dict[tuple[str, bool], Found | BaseException]:
    """What was found wrong in all runs that are asked for, with each mutant and without."""

    async def play(what: tuple[str, bool]) -> Found:
        case, mutated = BY_MUTANT[what[0]], what[1]
        place = folder / "mutants" / f"{case.mutant}, {mutated}"
        async with running(zygote, place, case.scene, seed=SEED) as run:
            run.limit(_HANGING if mutated and case.sign == "hangs" else _LIMIT)
            mutant = case.mutant if mutated else None
            return await violations(run, mutant=mutant, point=case.point)

    both = [(mutant, mutated) for mutant in dict.fromkeys(asked) for mutated in (True, False)]
    return asyncio.run(several(both, play))


class TestMutants:
    @pytest.mark.parametrize("case", BY_MUTANT)
    def test_is_found(self, played, case):
        """It is told apart from what is right."""
        found = played[case, True]

        assert any(one.startswith(BY_MUTANT[case].sign) for one in found), found

    @pytest.mark.parametrize("case", BY_MUTANT)
    def test_is_the_culprit(self, played, case):
        """Without it the same run ends well."""
        assert played[case, False] == []

    def test_all_are_tried(self):
        """No mutant is left out; those of freezes and poison are tried with these."""
        elsewhere = {
            "attempts counted at the end",  # test_freezes
            "mark without a fence",
            "a late dial sent all the same",
            "released for good",
        }

        assert set(BY_MUTANT) | elsewhere == set(MUTANTS)

    async def test_released_for_good(self, stage):
        """Who gives an event back at the end must not mark it as done."""
        found = {}
        for mutant in ("released for good", None):
            async with stage(Scene(dials=1, quirks=("hangs",)), name=str(mutant)) as run:
                process = run.start(mutant=mutant)
                await run.until(lambda run=run, process=process: run.says(process, "hanging"))
                process.signal(signal.SIGTERM)
                await run.until_over(process)
                verdict = await run.to_the_end(killed=False, quirks=(), mutant=mutant)
                found[mutant] = verdict.violations

        assert any(one.startswith("lost") for one in found["released for good"])
        assert found[None] == []


async def violations(run: Run, *, point: Point | None, **changes: Any) -> list[str]:
    """Run it with a mutant in all processes, or none; tell what is wrong in the end."""
    try:
        verdict = await run.to_the_end(killed=False, point=point, then={"point": None}, **changes)
    except TimeoutError as error:
        return [f"hangs: {error}"]
    return verdict.violations
