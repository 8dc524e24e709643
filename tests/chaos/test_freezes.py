"""A process stands still longer than its lease, or its loop does, or its handler ends it."""

from __future__ import annotations

import signal

import pytest
from campaign import TIMES
from chaos_plan import Point
from chaos_run import Run, Scene

LEASE = 0.3  # seconds of real time


async def thaw_after_takeover(run: Run, *, at: Point, mutant: str | None = None):
    """Stop a process at a step, let another take over, and let the first go on."""
    first = run.start(point=at, mutant=mutant)
    await run.until(lambda: first.is_stopped)
    second = run.start(seat=1, mutant=mutant)
    await run.until(lambda: run.says(second, "took over the work"))
    await run.pass_time(10)  # no try may begin so late
    return first, second


class TestStandingStill:
    @pytest.mark.parametrize("number", range(TIMES))
    @pytest.mark.parametrize("name", ["claim", "the handler", "progress", "record", "conclude"])
    async def test_late_mark(self, stage, table, name, number):
        """Whoever wakes up late does not mark what is somebody else's by now."""
        scene = Scene(dials=2, lease=LEASE, patience=0.3)

        async with stage(scene, name=f"{name} {number}") as run:
            at = Point(name=name, when="after", act="stop")
            first, second = await thaw_after_takeover(run, at=at)
            first.signal(signal.SIGCONT)
            await run.until(lambda: None not in (first.status, second.status))
            assert (first.status, second.status) == (0, 0), run.output(first)
            verdict = run.verdict(second, killed=True, frozen=True)

        table.add("SIGSTOP beyond the lease", verdict)
        assert verdict.violations == []

    async def test_late_mark_is_refused(self, stage):
        """The refusal is counted, and only one of the two has marked the delivery as done."""
        late = {}
        for mutant in ("mark without a fence", None):
            async with stage(Scene(dials=1, lease=LEASE, patience=0.3), name=str(mutant)) as run:
                at = Point(name="the handler", when="after", act="stop")
                first, second = await thaw_after_takeover(run, at=at, mutant=mutant)
                await run.until(run.is_settled)
                first.signal(signal.SIGCONT)
                await run.until(lambda f=first, s=second: None not in (f.status, s.status))
                verdict = run.verdict(second, killed=True, frozen=True)
                late[mutant] = (
                    run.report(first)["callbacks"]["lost_leases_total"],
                    verdict.violations,
                )

        assert late[None] == (1, [])
        lost, violations = late["mark without a fence"]
        assert lost == 0
        assert any("a fence was ignored" in one for one in violations)

    async def test_late_dial_is_not_sent(self, stage, table):
        """Whoever wakes up between writing a try down and making it, does not make it."""
        posts = {}
        for mutant in ("a late dial sent all the same", None):
            async with stage(Scene(dials=1, lease=LEASE, patience=0.3), name=str(mutant)) as run:
                at = Point(name="sending", when="after", act="stop")
                first, second = await thaw_after_takeover(run, at=at, mutant=mutant)
                first.signal(signal.SIGCONT)
                await run.until(lambda f=first, s=second: None not in (f.status, s.status))
                verdict = run.verdict(second, killed=True, frozen=True)
                posts[mutant] = sum(one.method == "POST" for one in run.sim.requests)
                if mutant is None:
                    table.add("SIGSTOP beyond the lease", verdict)
                    assert verdict.violations == []

        assert posts == {"a late dial sent all the same": 1, None: 0}


class TestBlockedLoop:
    async def test_no_lease_is_lost(self, stage, table):
        """Heartbeats come from another thread: a handler that blocks the loop keeps its lease."""
        scene = Scene(dials=1, lease=4 * LEASE, patience=4.0, quirks=("blocks",))

        async with stage(scene) as run:
            first, second = run.start(), run.start(seat=1, quirks=())
            await run.until(lambda: None not in (first.status, second.status))
            verdict = run.verdict(second, killed=False)

        table.add("event loop blocked beyond the lease", verdict)
        assert verdict.violations == []
        assert not run.says(second, "took over the work")


class TestPoison:
    async def test_is_given_up(self, stage, table):
        """A handler that ends its process does so eight times; then its event is a dead letter."""
        async with stage(Scene(dials=2, quirks=("poison",))) as run:
            verdict = await run.to_the_end(killed=True)
            ended = [process.status for process in run.processes]
            dead = run.report(run.processes[-1])["dead"]

        table.add("handler that ends its process", verdict)
        assert verdict.violations == []
        assert ended == [*[66] * 8, 0]
        assert len(dead) == 1

    async def test_counted_at_the_end(self, stage):
        """Were tries counted when they are over, it would go on for ever."""
        async with stage(Scene(dials=1, quirks=("poison",))) as run:
            with pytest.raises(TimeoutError, match="none gets through"):
                await run.to_the_end(killed=True, mutant="attempts counted at the end")
