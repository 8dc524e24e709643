"""Accounts, their ExoPhones, and whom they may call."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest

from exotel_async.simulator import Simulator

from .conftest import TWO_NUMBERS

BLOCKED = "+910000000403"


class Owner:
    """Asks in the name of another account."""

    def __init__(self, ask, settings) -> None:
        from base64 import b64encode

        pair = f"{settings['api_key']}:{settings['api_token']}"
        self.account = f"/v1/Accounts/{settings['account_sid']}"
        self.authorization = f"Basic {b64encode(pair.encode()).decode()}"
        self._ask = ask

    async def send(self, method: str, path: str, **options):
        return await self._ask.send(
            method, self.account + path, authorization=self.authorization, **options
        )


class TestAccounts:
    async def test_apart(self, sim, ask):
        """An account sees its own calls, and neither those nor the path of another."""
        owner = Owner(ask, sim.add_account())
        mine = await ask.sid()
        theirs = (await owner.send("POST", "/Calls/connect.json", data=TWO_NUMBERS)).json
        await sim.advance(minutes=5)

        listed = (await owner.send("GET", "/Calls.json")).json["Calls"]

        assert [call["Sid"] for call in listed] == [theirs["Call"]["Sid"]]
        assert (await owner.send("GET", f"/Calls/{mine}.json")).status == 404
        assert (await ask.send("GET", f"{owner.account}/Calls.json")).status == 404

    async def test_limits_apart(self, asker):
        """Each has a limit of its own."""
        async with Simulator(requests_per_minute=1) as sim:
            ask = asker(sim)
            owner = Owner(ask, sim.add_account(requests_per_minute=2))

            mine = [(await ask.get("/Calls.json")).status for _ in range(3)]
            theirs = [(await owner.send("GET", "/Calls.json")).status for _ in range(3)]

        assert (mine, theirs) == ([200, 429, 429], [200, 200, 429])

    async def test_named(self, sim):
        """An account can be given a Sid, once."""
        assert sim.add_account(sid="acme1")["account_sid"] == "acme1"
        with pytest.raises(ValueError, match="acme1"):
            sim.add_account(sid="acme1")

    async def test_repeatable(self):
        """The same seed gives the same credentials."""
        keys = []
        for _ in range(2):
            async with Simulator(seed=5) as sim:
                settings = sim.add_account()
                keys.append((settings["api_key"], settings["api_token"], sim.settings["api_key"]))

        assert keys[0] == keys[1]

    async def test_kyc(self, sim, ask):
        """Who has not shown who he is may read, and not dial."""
        owner = Owner(ask, sim.add_account(kyc=False))

        said = await owner.send("POST", "/Calls/connect.json", data=TWO_NUMBERS)

        assert said.status == 403
        assert "not yet KYC compliant" in said.message
        assert (await owner.send("GET", "/Calls.json")).status == 200
        assert not sim.complaints


class TestExoPhones:
    async def test_own(self, asker):
        """A CallerId is one of the account's ExoPhones, however it is spelled."""
        async with Simulator(exophones=["+918040001234"]) as sim:
            ask = asker(sim)
            good = await ask.connect(CallerId="08040001234")
            bad = await ask.connect(CallerId="08040009999")

        assert (good.status, bad.status) == (200, 400)
        assert "must be one of this account's ExoPhones" in bad.message

    async def test_any(self, ask):
        """Where none are named any will do."""
        assert (await ask.connect(CallerId="08040009999")).status == 200


class TestDnd:
    async def test_blocked(self, sim, ask):
        """A number on the register can't be called, and that is nobody's mistake."""
        said = await ask.connect(To=BLOCKED)

        assert said.status == 403
        assert f"({BLOCKED})" in said.message
        assert "TRAI NDNC" in said.message
        assert not sim.complaints

    async def test_whitelisted(self, sim, ask):
        """Unless it has agreed."""
        sim.whitelist("0" + BLOCKED.removeprefix("+91"))

        assert (await ask.connect(To=BLOCKED)).status == 200

    @pytest.mark.parametrize(("days", "status"), [(182, 200), (184, 403)])
    async def test_called_us(self, sim, ask, days, status):
        """Or has called within the last six months."""
        created = sim.clock.now() - timedelta(days=days)
        sim.add_call(direction="inbound", from_=BLOCKED, date_created=created)

        assert (await ask.connect(To=BLOCKED)).status == status

    async def test_whitelist_of_another(self, sim, ask):
        """Agreements, and calls, are with one account."""
        other = sim.add_account()
        sim.whitelist(BLOCKED, account_sid=other["account_sid"])
        sim.add_call(direction="inbound", from_=BLOCKED, account_sid=other["account_sid"])
        owner = Owner(ask, other)

        form = TWO_NUMBERS | {"To": BLOCKED}
        theirs = await owner.send("POST", "/Calls/connect.json", data=form)

        assert (theirs.status, (await ask.connect(To=BLOCKED)).status) == (200, 403)

    async def test_whitelist_lifts_nothing_else(self, sim, ask):
        """That helps against no other refusal."""
        sim.whitelist("+910000000401")

        assert (await ask.connect(To="+910000000401")).status == 403


class TestComplaints:
    @pytest.mark.parametrize(
        ("changes", "wanted"),
        [
            ({"To": ""}, "Mandatory parameter To is missing"),
            ({"TimeLimit": "20000"}, "must be an integer from 1 to 14400"),
            ({"Record": "True"}, "Allowed values are true,false"),
            ({"StatusCallbackEvents": "terminal"}, "write StatusCallbackEvents[0]=terminal"),
        ],
    )
    async def test_wrong_parameters(self, sim, ask, changes, wanted):
        """A request that the page does not allow is kept, with what the page wants."""
        await ask.connect(**changes)

        [complaint] = sim.complaints
        assert wanted in complaint.message
        assert complaint.request == sim.requests[-1]
        assert str(complaint).startswith("POST /v1/Accounts/simulated1/Calls/connect.json: ")

    @pytest.mark.parametrize(
        ("changes", "doubt"),
        [
            ({"timeout": "20"}, "Parameter timeout is not known: write TimeOut"),
            ({"statuscallback": "http://x/"}, "write StatusCallback"),
            ({"StatusCallbackEvents[0]": "terminal"}, "without StatusCallback"),
            ({"WaitUrl": "http://x/a.mp3?b=c.wav"}, "only wav is supported"),
            (
                {"To": "", "Url": "http://my.exotel.com/simulated1/exoml/start_voice/1",
                 "Record": "true"},
                "Record is for two numbers",
            ),
        ],
    )  # fmt: skip
    async def test_doubts_of_connect(self, sim, ask, changes, doubt):
        """What Exotel lets through but can't be meant is answered, and complained of."""
        said = await ask.connect(**changes)

        assert said.status == 200
        [complaint] = sim.complaints
        assert doubt in complaint.message

    async def test_no_doubts(self, sim, ask):
        """Further parameters may be newer than this."""
        await ask.connect(StreamUrl="wss://x/", WaitUrl="http://x/a.WAV?x=1")

        assert not sim.complaints

    @pytest.mark.parametrize(
        ("query", "doubt"),
        [
            ({"status": "failed"}, "Parameter status is not known: write Status"),
            ({"StartTime": "gte:2026-11-01 00:00:00"}, "Parameter StartTime is not known: known"),
        ],
    )
    async def test_doubts_of_bulk(self, sim, ask, query, doubt):
        """A filter that is none would give the whole account."""
        assert (await ask.get("/Calls.json", **query)).status == 200

        [complaint] = sim.complaints
        assert doubt in complaint.message

    @pytest.mark.parametrize(
        ("path", "doubt"),
        [
            ("/Calls/{sid}.json?Details=true", "write details"),
            ("/Calls/{sid}.json?nonsense=1", "Parameter nonsense is not known"),
            ("/Numbers/+919812300001.json?details=true", "known are none here"),
        ],
    )
    async def test_doubts_of_others(self, sim, ask, path, doubt):
        """Nor do other requests have parameters that nobody knows."""
        said = await ask.send("GET", ask.account + path.format(sid=sim.add_call()))

        assert said.status == 200
        [complaint] = sim.complaints
        assert doubt in complaint.message

    async def test_wrong_behind_a_fault(self, sim, ask):
        """A wrong request is one, although a fault kept Exotel from seeing it."""
        sim.fault("503-json", on="connect")

        await ask.connect(TimeOut="soon")

        [complaint] = sim.complaints
        assert "Invalid TimeOut" in complaint.message

    async def test_json_body(self, sim, ask):
        """Who sends JSON is told where parameters belong."""
        said = await ask.send("POST", ask.account + "/Calls/connect.json", json=TWO_NUMBERS)

        assert said.status == 400
        assert "form-data in the body" in said.message

    async def test_wrong_places(self, sim, ask):
        """So are paths and methods that are not on the page."""
        await ask.get("/Campaigns.json")
        await ask.send("DELETE", ask.account + "/Calls/abc.json")

        assert len(sim.complaints) == 2
        assert all("the page has POST .../Calls/connect" in one.message for one in sim.complaints)

    async def test_no_mistakes(self, sim, ask):
        """Wrong credentials, unknown calls and spent limits are part of life."""
        await ask.get("/Calls/abc.json")
        await ask.send("GET", f"{ask.account}/Calls.json", authorization="Basic eDp5")
        for _ in range(200):
            await ask.get("/Calls.json")

        assert {received.status for received in sim.requests} == {404, 401, 200, 429}
        assert sim.complaints == []


class TestArguments:
    @pytest.mark.parametrize(
        ("method", "arguments", "message"),
        [
            ("script", {"ending": "busy"}, "to or from_ must name the number"),
            ("script", {"to": "hello"}, "to must be a phone number"),
            ("script", {"to": "+91 98123 00002"}, "to must be a phone number without blanks"),
            ("script", {"to": "+919812300002", "rings": -1}, "must not be below 0"),
            ("script", {"to": "+919812300002", "ending": "sad"}, "ending must be answered, busy"),
            ("whitelist", {"number": "garbage"}, "number must be a phone number"),
            ("whitelist", {"number": BLOCKED, "account_sid": "x"}, "account_sid must be one of"),
            ("add_account", {"requests_per_minute": 0}, "requests_per_minute must be a whole"),
            ("add_account", {"requests_per_minute": 0.5}, "requests_per_minute must be a whole"),
            ("script", {"to": 5}, "to must be a phone number without blanks, not 5"),
            ("add_account", {"exophones": ["x"]}, "exophones must be a phone number"),
            ("add_call", {"status": "sad"}, "status must be one of completed, "),
            ("add_call", {"direction": "inbnd"}, "direction must be one of inbound, "),
            ("add_call", {"account_sid": "x"}, "account_sid must be one of simulated1"),
            ("add_call", {"duration": -1}, "must not be below 0"),
            ("add_call", {"date_created": datetime(2026, 11, 1)}, "must be aware"),
        ],
    )
    def test_senseless(self, method, arguments, message):
        """What can't be is refused, with what is allowed."""
        with pytest.raises(ValueError, match=message):
            getattr(Simulator(), method)(**arguments)

    def test_one_exophone(self):
        """Several are wanted."""
        with pytest.raises(TypeError, match="several numbers"):
            Simulator(exophones="08040001234")

    async def test_same_sid(self, sim):
        """A Sid is one call's."""
        sim.add_call(sid="a")
        with pytest.raises(ValueError, match="'a' already"):
            sim.add_call(sid="a")

    def test_nothing_to_record(self):
        """A call that was not answered has no recording."""
        sim = Simulator()
        sid = sim.add_call(status="no-answer", recorded=True)

        assert sim.calls[sid].recording_url is None


class TestKeep:
    async def test_newest(self, asker, receiver):
        """A simulator that runs for long keeps the newest, and every call that goes on."""
        async with Simulator(keep=3, requests_per_minute=None) as sim:
            ask = asker(sim)
            sids = [await ask.sid(StatusCallback=receiver.url) for _ in range(5)]
            going_on = len(sim.calls)
            await sim.advance(minutes=5)
            await ask.get("/Calls.json", PageSize="0")

        assert going_on == 5
        assert list(sim.calls) == sids[-3:]
        assert (len(sim.requests), len(sim.callbacks), len(sim.complaints)) == (3, 3, 1)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"keep": 0},
            {"keep": 0.5},
            {"keep": True},
            {"speed": 0},
            {"speed": -1.0},
            {"speed": math.inf},
            {"patience": math.nan},
        ],
    )
    def test_senseless(self, arguments):
        """What can't be is refused."""
        with pytest.raises(ValueError, match=next(iter(arguments))):
            Simulator(**arguments)

    async def test_watch(self, asker, receiver):
        """Whoever watches is told of each request and each callback as it happens."""
        seen: list[object] = []
        async with Simulator(watch=seen.append) as sim:
            await asker(sim).connect(StatusCallback=receiver.url)
            await sim.advance(minutes=5)

        assert seen == [*sim.requests, *sim.callbacks]
        assert len(seen) == 2
