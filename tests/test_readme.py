"""The README tells the truth: its snippets run, word for word."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from types import CodeType
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from samples import sample

from exotel_async import ExotelClient, OutcomeUnknownError, SentRequest
from exotel_async.simulator import Simulator

from .test_examples import environ_for

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")


def snippet(heading: str) -> str:
    """Take the first Python snippet below a heading."""
    section = README.partition(f"\n## {heading}\n")[2]
    return section.partition("```python\n")[2].partition("```")[0]


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    compiled: CodeType = compile(code, "README.md", "exec")
    exec(compiled, names)
    return names


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A carrier whose clock shows today."""
    async with Simulator(start=datetime.now().astimezone()) as running:
        yield running


class TestReadme:
    """Each snippet, as a reader would run it."""

    async def test_place_a_call(self, sim: Simulator) -> None:
        """The first program places a call, in at most twelve lines of code."""
        code = snippet("Place a call")
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env=environ_for(sim), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await program.communicate()

        (sid,) = sim.calls
        assert out.decode() == f"{sid} in-progress\n"
        assert len([line for line in code.splitlines() if line]) <= 12

    async def test_be_told(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The receiver prints what a callback says, in at most ten lines of code."""
        ran: list[web.Application] = []
        monkeypatch.setattr(web, "run_app", ran.append)
        code = snippet("Be told")
        names = run(code)
        (app,) = ran
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            url = names["callbacks"].url(str(server.make_url("/exotel/")), ref="order-42")
            async with session.post(url, data=sample("statuscallback_terminal.json")) as answer:
                assert answer.status == 200

        assert capsys.readouterr().out == "order-42 no-answer 32\n"
        assert len([line for line in code.splitlines() if line]) <= 10

    async def test_look_for_a_lost_call(self, sim: Simulator) -> None:
        """What was lost can be looked for."""
        candidates = run(snippet("When something goes wrong"))["candidates"]
        sid = sim.add_call(date_created=sim.clock.now())
        sent = SentRequest("POST", "/", {}, sim.clock.now())

        async with ExotelClient(**sim.settings) as exotel:
            found = await candidates(exotel, OutcomeUnknownError("lost", sent))

        assert [call.sid for call in found] == [sid]

    async def test_test_your_own_code(self) -> None:
        """The test of a service passes."""
        await run(snippet("Test your own code"))["test_my_service"]()

    def test_every_snippet_is_run(self) -> None:
        """No snippet is left out."""
        assert README.count("```python") == 4

    @pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
    def test_links(self, link: str) -> None:
        """What the README links to is there."""
        assert (ROOT / link).exists()

    @pytest.mark.parametrize(
        ("number", "ending"), [("486", "busy"), ("480", "no-answer"), ("404", "failed")]
    )
    async def test_numbers_that_behave(self, number: str, ending: str) -> None:
        """The numbers that the README names behave as it says."""
        async with Simulator() as sim, ExotelClient(**sim.settings) as exotel:
            call = await exotel.calls.connect(
                from_="+919812300001", to=f"00000000{number}", caller_id="08040001234"
            )
            await sim.advance(minutes=5)

            assert (await exotel.calls.get(call.sid)).status == ending
