"""Steering a simulator from another process, in whatever language."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from typing import Any

import pytest

from exotel_async.simulator import FAULTS, MAGIC_NUMBERS, Simulator

EVENTS = {"StatusCallbackEvents[0]": "terminal"}


@pytest.fixture
def control(sim, session):
    async def control(method: str, command: str, /, **arguments: Any) -> tuple[int, Any]:
        body = {"json": arguments} if method == "POST" else {}
        url = f"{sim.base_url}/_simulator/{command}"
        async with session.request(method, url, **body) as answer:
            return answer.status, await answer.json()

    return control


class TestControl:
    async def test_advance(self, sim, ask, control):
        """Time can be advanced from outside."""
        sid = await ask.sid()

        status, said = await control("POST", "advance", minutes=5)

        assert (status, said) == (200, None)
        assert sim.calls[sid].status == "completed"
        assert await control("GET", "now") == (200, "2026-11-02T10:05:00+05:30")

    async def test_fault(self, sim, ask, control):
        """Faults can be laid down, listed and taken away."""
        status, laid = await control("POST", "fault", name="500-empty", on="bulk", times=None)
        struck = (await ask.get("/Calls.json")).status
        _, listed = await control("GET", "faults")
        await control("DELETE", "faults")

        assert status == 200
        assert (laid["name"], laid["on"], laid["struck"]) == ("500-empty", "bulk", 0)
        assert struck == 500
        assert listed["known"] == dict(FAULTS)
        assert [fault["struck"] for fault in listed["laid_down"]] == [1]
        assert (await ask.get("/Calls.json")).status == 200

    async def test_refuse_connections(self, session):
        """A refusal of connections is answered before it begins, and ends by itself."""
        async with Simulator(speed=1000.0) as sim:
            url = f"{sim.base_url}/_simulator"
            fault = {"name": "connection-refused", "seconds": 200}
            async with session.post(f"{url}/fault", json=fault) as answer:
                assert answer.status == 200
            with pytest.raises(OSError):
                await session.get(f"{url}/now")
            await sim.clock.sleep(201)
            async with session.get(f"{url}/now") as answer:
                assert answer.status == 200

    @pytest.mark.parametrize("arguments", [{}, {"seconds": 30}])
    async def test_refuse_for_good(self, control, arguments):
        """Nobody shuts himself out for good: time stands still here."""
        status, said = await control("POST", "fault", name="connection-refused", **arguments)

        assert status == 400
        assert "let time run by itself" in said["error"]

    async def test_script_and_whitelist(self, sim, ask, control):
        """So can scripts and the whitelist."""
        await control("POST", "script", to="+919812300002", ending="busy")
        await control("POST", "whitelist", number="+910000000403")
        busy, allowed = await ask.sid(), await ask.connect(To="+910000000403")
        await sim.advance(minutes=5)

        assert sim.calls[busy].status == "busy"
        assert allowed.status == 200

    async def test_journals(self, sim, ask, receiver, control):
        """The journals can be read; tokens are not in them."""
        await ask.connect(StatusCallback=receiver.url, **EVENTS)
        await ask.connect(TimeOut="soon")
        await sim.advance(minutes=5)

        _, requests = await control("GET", "requests")
        _, callbacks = await control("GET", "callbacks")
        _, calls = await control("GET", "calls")
        _, complaints = await control("GET", "complaints")
        await control("DELETE", "complaints")

        assert [request["status"] for request in requests] == [200, 400]
        assert dict(callbacks[0]["fields"])["Status"] == "completed"
        assert [call["price"] for call in calls.values()] == ["1.500"]
        assert "Invalid TimeOut" in complaints[0]["message"]
        assert complaints[0]["request"]["status"] == 400
        assert sim.complaints == []
        assert sim.settings["api_token"] not in json.dumps([requests, callbacks, calls])

    async def test_numbers(self, control):
        """The magic numbers can be asked for."""
        _, numbers = await control("GET", "numbers")

        assert numbers == {magic.number: magic.does for magic in MAGIC_NUMBERS}

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("fault", {"name": "explode"}, "name must be one of"),
            ("fault", {"named": "hang"}, "'name'"),
            ("advance", {"seconds": -1}, "backwards"),
            ("advance", {"seconds": 1e14}, "does not reach so far"),
            ("advance", {"minutes": 1e300}, "does not reach so far"),
            ("advance", {"hours": math.inf}, "finite"),
            ("advance", {"seconds": "ten"}, "by numbers, not by 'ten'"),
            ("script", {"ending": "sad"}, "ending must be"),
            ("script", {"colour": "red"}, "unexpected keyword"),
        ],
    )
    async def test_senseless(self, control, name, arguments, message):
        """What can't be done is told in words."""
        status, said = await control("POST", name, **arguments)

        assert status == 400
        assert message in said["error"]

    @pytest.mark.parametrize("body", [b"", b"[1]", b"{"])
    async def test_no_arguments(self, sim, session, body):
        """Arguments are a JSON object."""
        headers = {"Content-Type": "application/json"}
        url = f"{sim.base_url}/_simulator/advance"
        async with session.post(url, data=body, headers=headers) as answer:
            assert answer.status == 400

    async def test_no_page_may(self, sim, session):
        """What a page in a browser can send here without being asked is refused."""
        url = f"{sim.base_url}/_simulator/advance"
        async with session.post(url, data='{"seconds": 60}') as answer:
            assert answer.status == 400

        assert sim.clock.monotonic() == 0

    async def test_nowhere(self, control):
        """An unknown command is told which there are."""
        status, said = await control("GET", "weather")

        assert status == 404
        assert "POST advance" in said["commands"]

    async def test_not_in_the_journal(self, sim, control):
        """Steering is no request to Exotel."""
        await control("GET", "now")

        assert not sim.requests


def installed(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


SERVER = """
import asyncio, json, sys
from exotel_async.simulator import Simulator

async def main():
    async with Simulator(speed=200.0) as sim:
        settings = {k: v for k, v in sim.settings.items() if isinstance(v, str)}
        print(json.dumps(settings), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""
NODE = """
import http from "node:http";
const [base, sid, key, token] = process.argv.slice(1);
const headers = {Authorization: "Basic " + Buffer.from(`${key}:${token}`).toString("base64")};
const api = `${base}/v1/Accounts/${sid}`;
const told = [];
let over;
const done = new Promise((resolve) => (over = resolve));
const server = http.createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    response.end("OK");
    told.push(JSON.parse(body));
    if (told.at(-1).EventType === "terminal") over();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const form = new FormData();
form.set("From", "+919812300001");
form.set("To", "+910000000486");
form.set("CallerId", "08040001234");
form.set("StatusCallback", `http://127.0.0.1:${server.address().port}/`);
form.set("StatusCallbackContentType", "application/json");
form.set("StatusCallbackEvents[0]", "terminal");
form.set("StatusCallbackEvents[1]", "answered");
const placed = await fetch(`${api}/Calls/connect.json`, {method: "POST", headers, body: form});
const call = (await placed.json()).Call;
await done;
const read = await (await fetch(`${api}/Calls/${call.Sid}.json?details=true`, {headers})).json();
console.log(JSON.stringify({events: told.map((t) => t.EventType), status: read.Call.Status,
                            leg: read.Call.Details.Leg2Status}));
server.close();
process.exit(0);
"""


@pytest.fixture
def running():
    """A simulator in a process of its own, whose time runs; gives its settings."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


class TestOtherLanguages:
    @installed("curl")
    def test_curl(self, running):
        """The page's own curl command places a call, and reads it."""
        api = f"{running['base_url']}/v1/Accounts/{running['account_sid']}"
        pair = f"{running['api_key']}:{running['api_token']}"
        curl = ("curl", "--silent", "--user", pair)

        placed = json.loads(
            run(
                *curl, "--location", "--request", "POST", f"{api}/Calls/connect.json",
                "--form", "From=+919812300001", "--form", "To=+919812300002",
                "--form", "CallerId=08040001234", "--form", "Record=true",
                "--form", "StatusCallback=http://127.0.0.1:1/",
                "--form", "StatusCallbackContentType=application/json",
                "--form", "StatusCallbackEvents[0]=terminal",
                "--form", "StatusCallbackEvents[1]=answered",
            )
        )["Call"]  # fmt: skip
        run(
            *curl, f"{running['base_url']}/_simulator/advance",
            "--header", "Content-Type: application/json", "--data", '{"minutes": 5}',
        )  # fmt: skip
        read = json.loads(run(*curl, f"{api}/Calls/{placed['Sid']}.json"))["Call"]
        sound = run(*curl, "--output", "-", "--head", read["RecordingUrl"])

        assert placed["Status"] == "in-progress"
        assert (read["Status"], read["Price"]) == ("completed", "1.500")
        assert "200 OK" in sound
        assert "audio/mpeg" in sound

    @installed("node")
    def test_node(self, running):
        """Node's own fetch and http server do as well; time passes by itself."""
        names = ("base_url", "account_sid", "api_key", "api_token")
        out = run(
            "node", "--input-type=module", "--eval", NODE, "--", *(running[name] for name in names)
        )

        assert json.loads(out) == {
            "events": ["answered", "terminal"],
            "status": "busy",
            "leg": "busy",
        }
