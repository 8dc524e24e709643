"""Many processes on one PostgreSQL, some of which die all the time: nothing is lost or doubled.

A small fleet for some minutes of Exotel's time; in a campaign a large one for half an hour.
"""

from __future__ import annotations

import attrs
import pytest
from campaign import TIMES
from chaos_table import SEED
from fleet_mutants import MUTANTS
from fleet_oracle import judge
from fleet_rates import compare
from fleet_run import FULL, SMALL, play
from fleet_table import rates_to_markdown, to_markdown

SIZE = FULL if TIMES > 1 else SMALL
RATES = (
    {"several": 4, "warm": 1, "rounds": 5, "callbacks": 2000}
    if TIMES > 1
    else {"several": 2, "warm": 0, "rounds": 1, "callbacks": 40}
)


class TestFleet:
    async def test_nothing_is_lost(self, server, zygote, folder, tables):
        """Whoever is killed, whenever the server stops: a key rings once, and each end is told."""
        played = await play(SIZE, seed=SEED, server=server, zygote=zygote, folder=folder / "run")

        verdict = judge(played.evidence)
        tables.append(to_markdown(played, verdict))
        assert verdict.violations == []
        assert played.kills["stopped"] > 0
        assert {"receiver", "worker", "dialer"} <= played.kills.keys()
        assert played.restarts.total() == len(SIZE.restarts)


class TestRates:
    def test_several_against_one(self, server, zygote, folder, tables):
        """What all receivers take in is delivered by all workers, at rates that can be compared."""
        compared = compare(server, zygote, folder, **RATES)

        tables.append(rates_to_markdown(compared))
        assert min(compared.medians("received")) > 0
        assert min(compared.medians("delivered")) > 0


if TIMES > 1:

    class TestMutants:
        @pytest.mark.parametrize("mutant", MUTANTS)
        async def test_is_seen(self, server, zygote, folder, mutant):
            """A fleet that is built wrong is found out, in one of a few runs."""
            size = attrs.evolve(SMALL, mutant=mutant, minutes=4, dials_a_minute=12, limit=30)
            violations: list[str] = []

            for number in range(3):
                place = folder / str(number)
                played = await play(
                    size, seed=SEED + number, server=server, zygote=zygote, folder=place
                )
                violations += judge(played.evidence).violations

            assert violations != []
