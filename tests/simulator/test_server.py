"""The server: who may ask, how often, and what stays to be looked at."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest

from exotel_async.simulator import Simulator
from exotel_async.simulator.clock import IST


class TestAuthentication:
    @pytest.mark.parametrize(
        "authorization",
        [
            "Basic " + b64encode(b"key:token").decode(),
            "Basic nonsense!",
            "Bearer abc",
            "Basic",
        ],
    )
    async def test_refused(self, ask, authorization):
        """Wrong credentials are 401, in the format that was asked for."""
        path = f"{ask.account}/Calls"
        said = await ask.send("GET", f"{path}.json", authorization=authorization)
        twin = await ask.send("GET", path, authorization=authorization)

        assert said.status == twin.status == 401
        assert said.json["RestException"]["Status"] == 401
        assert twin.xml.findtext("RestException/Status") == "401"
        assert said.headers["WWW-Authenticate"].startswith("Basic")

    async def test_without(self, ask):
        """No credentials are wrong ones."""
        async with ask.session.get(f"{ask.host}{ask.account}/Calls") as answer:
            assert answer.status == 401

    async def test_other_account(self, ask):
        """An account that is not one's own is not found."""
        said = await ask.send("GET", "/v1/Accounts/somebody/Calls.json")

        assert said.status == 404

    async def test_settings(self, sim):
        """The settings hold what a client needs, and the clock it shall live by."""
        assert set(sim.settings) == {
            "account_sid",
            "api_key",
            "api_token",
            "base_url",
            "flow_base_url",
            "clock",
        }
        assert sim.settings["base_url"] == sim.settings["flow_base_url"] == sim.base_url
        assert sim.settings["clock"] is sim.clock

    async def test_token_is_not_shown(self, sim):
        """No representation shows the token."""
        token = sim.settings["api_token"]

        assert token not in repr(sim) + repr(sim._account) + repr(sim.requests)


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/Calls/connect.json", 405),
            ("POST", "/Calls.json", 405),
            ("DELETE", "/Calls/abc.json", 405),
            ("POST", "/Numbers/0812345678.json", 405),
            ("GET", "/calls.json", 404),
            ("GET", "/Calls/a/b.json", 404),
            ("GET", "/Campaigns.json", 404),
        ],
    )
    async def test_elsewhere(self, ask, method, path, status):
        """Whatever is not on the page is refused; paths are case-sensitive."""
        said = await ask.send(method, ask.account + path)

        assert said.status == said.json["RestException"]["Status"] == status

    async def test_outside(self, ask):
        """So is everything outside an account."""
        assert (await ask.send("GET", "/")).status == 404
        assert (await ask.send("GET", "/v2/accounts.json")).status == 404


class TestLimit:
    async def test_two_hundred(self, ask):
        """The 201st request of a minute is too many."""
        statuses = [(await ask.get("/Calls.json")).status for _ in range(201)]

        assert statuses == [200] * 200 + [429]

    async def test_window(self, asker):
        """The minute slides: room comes back as requests grow a minute old."""
        async with Simulator(requests_per_minute=2) as sim:
            ask = asker(sim)
            statuses = []
            for wait in (0, 30, 0, 30, 0, 30):
                await sim.advance(seconds=wait)
                statuses.append((await ask.get("/Calls.json")).status)

        assert statuses == [200, 200, 429, 200, 429, 200]

    async def test_message(self, asker):
        """The refusal is a RestException and says the limit."""
        async with Simulator(requests_per_minute=1) as sim:
            ask = asker(sim)
            await ask.get("/Calls.json")
            said = await ask.get("/Calls.json")
            twin = await ask.get("/Calls")

        assert said.json["RestException"]["Status"] == 429
        assert "1 a minute" in said.message
        assert twin.xml.findtext("RestException/Status") == "429"

    async def test_none(self, asker):
        """There may be no limit."""
        async with Simulator(requests_per_minute=None) as sim:
            ask = asker(sim)
            statuses = {(await ask.get("/Calls.json")).status for _ in range(201)}

        assert statuses == {200}

    async def test_strangers_do_not_count(self, asker):
        """Who has no credentials uses nothing up."""
        async with Simulator(requests_per_minute=1) as sim:
            ask = asker(sim)
            await ask.send("GET", f"{ask.account}/Calls.json", authorization="Basic eDp5")

            assert (await ask.get("/Calls.json")).status == 200


class TestSimulator:
    async def test_journal(self, sim, ask):
        """Every request is noted: what was asked, when, and how it was answered."""
        await ask.connect(CustomField="a b")
        await sim.advance(minutes=1)
        await ask.get("/Numbers/%2B919812300001.json", extra="1")

        first, second = sim.requests
        assert (first.method, first.path) == ("POST", f"{ask.account}/Calls/connect.json")
        assert dict(first.params)["CustomField"] == "a b"
        assert (second.path, second.params) == (
            f"{ask.account}/Numbers/+919812300001.json",
            (("extra", "1"),),
        )
        assert second.at - first.at == timedelta(minutes=1)
        assert first.status == second.status == 200

    async def test_seed(self, asker, receiver):
        """The same seed and the same requests give the same Sids and journals."""

        async def run(seed: int) -> tuple[object, ...]:
            async with Simulator(seed=seed) as sim:
                ask = asker(sim)
                events = {"StatusCallbackEvents[0]": "answered"}
                await ask.connect(StatusCallback=receiver.url, **events)
                await ask.connect(To="+910000000486", StatusCallback=receiver.url)
                await sim.advance(minutes=5)
                await ask.get("/Calls.json")
                return dict(sim.calls), list(sim.requests), list(sim.callbacks), sim.add_call()

        assert await run(7) == await run(7)
        assert (await run(7))[0] != (await run(8))[0]

    async def test_sids(self, ask):
        """A Sid is 32 hex digits."""
        sid = await ask.sid()

        assert len(sid) == 32
        assert set(sid) <= set("0123456789abcdef")

    async def test_start(self, asker):
        """The clock can start at any time; records show Indian wall clock."""
        start = datetime(2025, 1, 1, 18, 30, tzinfo=UTC)
        async with Simulator(start=start) as sim:
            call = (await asker(sim).connect()).json["Call"]

        assert call["DateCreated"] == "2025-01-02 00:00:00"

    async def test_advance(self, sim):
        """Hours, minutes and seconds add up, and no real time is slept away."""
        await sim.advance(hours=1, minutes=1, seconds=1)

        assert sim.clock.monotonic() == 3661

    async def test_port(self, unused_tcp_port):
        """The port can be chosen."""
        async with Simulator(port=unused_tcp_port) as sim:
            assert sim.base_url == f"http://127.0.0.1:{unused_tcp_port}"

    async def test_port_beyond(self):
        """A port beyond all ports is refused, and nothing stays open."""
        with pytest.raises(OverflowError):
            async with Simulator(port=80_000):
                pass
        gc.collect()

    async def test_port_taken(self, sim):
        """A port that is taken is an OSError, and nothing stays open."""
        taken = int(sim.base_url.rpartition(":")[2])
        with pytest.raises(OSError):
            async with Simulator(port=taken):
                pass

    async def test_not_running(self):
        """Without `async with` there is no server to name."""
        with pytest.raises(RuntimeError, match="async with"):
            _ = Simulator().settings

    async def test_twice(self, sim):
        """A running simulator can't be started again."""
        with pytest.raises(RuntimeError, match="already"):
            async with sim:
                pass

    async def test_again(self, asker):
        """One that was closed can, and remembers."""
        sim = Simulator()
        async with sim:
            sid = await asker(sim).sid()
        async with sim:
            said = await asker(sim).get(f"/Calls/{sid}.json")

        assert said.status == 200

    async def test_add_call(self, sim, ask):
        """A finished record can be put in ready-made."""
        created = datetime(2026, 10, 1, 12, 0, tzinfo=IST)
        sid = sim.add_call(
            to="09812300002", date_created=created, duration=100, talked=61, recorded=True
        )

        record = (await ask.get(f"/Calls/{sid}.json", details="true")).json["Call"]

        assert record["To"] == "09812300002"
        assert (record["DateCreated"], record["EndTime"]) == (
            "2026-10-01 12:00:00",
            "2026-10-01 12:01:40",
        )
        assert (record["Duration"], record["Price"]) == ("100", "3.000")
        assert record["RecordingUrl"].endswith(f"{sid}.mp3")
        assert record["Details"]["ConversationDuration"] == 61

    def test_add_call_status(self):
        """Only a call that has ended can be put in."""
        with pytest.raises(ValueError, match="in-progress"):
            Simulator().add_call(status="in-progress")

    @pytest.mark.parametrize("script", [{"rings": -1.0}, {"talks": -1.0}])
    async def test_script_below_zero(self, sim, script):
        """Nobody rings or talks for less than no time."""
        with pytest.raises(ValueError, match="below 0"):
            sim.script(to="+919812300002", **script)

    async def test_calls_are_read_only(self, sim):
        """The calls are for looking at."""
        with pytest.raises(TypeError):
            sim.calls["x"] = None

    def test_imports_none_of_ours(self):
        """The simulator is a second opinion: it loads no other room of the package."""
        code = (
            "import sys, exotel_async; before = set(sys.modules);"
            "import exotel_async.simulator;"
            "new = {m for m in set(sys.modules) - before if m.startswith('exotel_async')};"
            "print({m for m in new if not m.startswith('exotel_async.simulator')})"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )

        assert done.stdout.strip() == "set()"
