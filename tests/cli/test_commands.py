"""The commands that ask: in-process, at a simulator whose time passes when they sleep."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import attrs
import pytest
from clocks import FakeClock
from raw_server import answer, raw_server

from exotel_async import __version__
from exotel_async.cli.app import app
from exotel_async.cli.call import pauses
from exotel_async.cli.exit_status import ExitStatus
from exotel_async.cli.world import World

FROM, TO, EXOPHONE = "+919812300001", "+919812300002", "08040001234"
CALL = ("call", FROM, TO, "--caller-id", EXOPHONE, "--yes")


def pairs_of(sim) -> dict[str, str]:
    return dict(sim.requests[0].params)


NUMBER = b'{"Numbers": {"PhoneNumber": "09812300002", "Circle": "DL", "DND": "No"}}'


def world_of_server(server) -> World:
    return World(
        environ={
            "EXOTEL_ACCOUNT_SID": "a", "EXOTEL_API_KEY": "b", "EXOTEL_API_TOKEN": "c",
            "EXOTEL_SUBDOMAIN": server.url.removeprefix("http://"),
        }
    )  # fmt: skip


class TestCall:
    async def test_followed(self, cli, sim):
        """Each change is shown, and an answered call ends with 0."""
        ran = await cli(*CALL)

        (sid,) = sim.calls
        assert ran.status == 0
        assert ran.err == ""
        stands = [line.split("  ")[1].split(":")[0] for line in ran.out.splitlines()[1:]]
        assert ran.out.startswith(f"Placed {sid}: in-progress (being dialled)\n")
        assert stands == ["ringing", "in-progress", "in-progress", "completed"]
        assert "To completed (30 s)" in ran.out

    async def test_json(self, cli, sim):
        """As JSON, each look that brought something new is an object, numbers masked."""
        ran = await cli(*CALL, "--json")

        statuses = [call["status"] for call in ran.objects]
        assert statuses == ["in-progress", "ringing", "in-progress", "in-progress", "completed"]
        assert {call["to"] for call in ran.objects} == {"***0002"}
        assert {call["sid"] for call in ran.objects} == set(sim.calls)

    async def test_show_numbers(self, cli):
        """Numbers are whole when asked for, before the command or after it."""
        after = await cli(*CALL, "--no-follow", "--json", "--show-numbers")
        before = await cli("--json", "--show-numbers", *CALL, "--no-follow")

        assert [ran.objects[0]["from"] for ran in (after, before)] == [FROM, FROM]

    async def test_no_follow(self, cli, sim):
        """Not followed, it is placed and that is all."""
        ran = await cli(*CALL, "--no-follow")

        assert ran.status == 0
        assert len(sim.requests) == 1

    @pytest.mark.parametrize("to", ["+910000000486", "+910000000480", "+910000000404"])
    async def test_not_answered(self, cli, to):
        """A call that nobody answers has a status of its own."""
        ran = await cli("call", FROM, to, "--caller-id", EXOPHONE, "--yes")

        assert ran.status == 5

    async def test_options(self, cli, sim):
        """Every parameter of Exotel's has an option."""
        ran = await cli(
            *CALL, "--no-follow", "--time-limit", "60", "--time-out", "20", "--call-type", "trans",
            "--record", "--recording-channels", "dual", "--recording-format", "mp3",
            "--wait-url", "https://x/w.wav", "--start-playback-to", "Both",
            "--start-playback-value", "https://x/p.wav", "--custom-field", "order=42",
            "--status-callback", "http://127.0.0.1:9/cb", "--status-callback-event", "terminal",
            "--status-callback-event", "answered", "--status-callback-content-type", "json",
        )  # fmt: skip

        assert ran.status == 0, ran.err
        assert pairs_of(sim) == {
            "From": FROM, "To": TO, "CallerId": EXOPHONE, "TimeLimit": "60", "TimeOut": "20",
            "CallType": "trans", "Record": "true", "RecordingChannels": "dual",
            "RecordingFormat": "mp3", "WaitUrl": "https://x/w.wav", "StartPlaybackTo": "Both",
            "StartPlaybackValue": "https://x/p.wav", "CustomField": "order=42",
            "StatusCallback": "http://127.0.0.1:9/cb", "StatusCallbackEvents[0]": "terminal",
            "StatusCallbackEvents[1]": "answered",
            "StatusCallbackContentType": "application/json",
        }  # fmt: skip
        assert sim.complaints == []

    async def test_flow(self, cli, sim):
        """A flow is named by its number or its URL."""
        ran = await cli("call", FROM, "--flow", "926", "--caller-id", EXOPHONE, "--yes")

        assert ran.status == 0
        assert pairs_of(sim)["Url"].endswith("/exoml/start_voice/926")

    async def test_flow_url(self, cli):
        """A whole URL is sent as it is."""
        async with raw_server(answer("200 OK", b'{"Call": {"Sid": "a"}}')) as server:
            ran = await cli(
                "call", FROM, "--flow-url", "http://my.exotel.com/a", "--caller-id", EXOPHONE,
                "--yes", "--no-follow", "--extra", "StreamType=x", world=world_of_server(server),
            )  # fmt: skip

        assert ran.status == 0, ran.err
        assert b"Url=http%3A%2F%2Fmy.exotel.com%2Fa&StreamType=x" in server.requests[0]

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (("call", FROM, "--caller-id", "1"), "one of TO, --flow and --flow-url"),
            (("call", FROM, TO, "--flow", "1", "--caller-id", "1"), "one of TO"),
            (("call", FROM, "--flow", "1", "--caller-id", "1", "--record"), "takes no --record"),
            ((*CALL, "--time-limit", "0"), "--time-limit must be"),
            ((*CALL, "--flow", "x"), "one of TO"),
            ((*CALL, "--extra", "To=1"), "extra must be"),
            ((*CALL, "--extra", "a"), "NAME=VALUE"),
            ((*CALL, "--extra", "a=1", "--extra", "a=2"), "a twice"),
            (("call", FROM, TO), "--caller-id"),
        ],
    )
    async def test_wrong_usage(self, cli, sim, argv, says):
        """What is wrong is told in at most two lines, before anything is sent."""
        ran = await cli(*argv)

        assert ran.status == 2
        assert says in ran.err
        assert len(ran.err.splitlines()) <= 2
        assert sim.requests == []

    async def test_nobody_to_ask(self, cli, sim, monkeypatch):
        """Without a terminal, and without --yes, nothing is dialled."""
        monkeypatch.setattr("sys.stdin", StringIO())
        ran = await cli(*CALL[:-1])

        assert ran.status == 2
        assert "--yes" in ran.err
        assert sim.requests == []

    async def test_doubt_is_told_once(self, cli):
        """What Exotel might not take is told, and sent."""
        ran = await cli(*CALL, "--no-follow", "--call-type", "promo")

        assert ran.err.count("knows no call_type") == 1

    async def test_refused(self, cli):
        """A refusal is told in words, masked."""
        ran = await cli("call", FROM, "+910000000403", "--caller-id", EXOPHONE, "--yes")

        assert ran.status == 1
        assert "TRAI NDNC" in ran.err
        assert "0000403" not in ran.err

    @pytest.mark.parametrize("fault", ["500-json", "reset-after-read", "senseless-200"])
    async def test_unknown(self, cli, sim, fault):
        """Where nobody can tell whether a phone rings, it says so, with a status of its own."""
        sim.fault(fault, on="connect")

        ran = await cli(*CALL)

        assert ran.status == 3
        assert "a phone may be ringing" in ran.err
        assert "Do not repeat it blindly" in ran.err
        assert [request.method for request in sim.requests] == ["POST"]

    async def test_not_reached(self, cli, sim, world):
        """Where Exotel can't be reached, nothing was sent."""
        dead = attrs.evolve(world, environ={**world.environ, "EXOTEL_SUBDOMAIN": "127.0.0.1:9"})

        ran = await cli(*CALL, world=dead)

        assert ran.status == 4
        assert sim.requests == []

    async def test_looks_that_fail(self, cli, sim):
        """A look that fails is made again: the call goes on."""
        sim.fault("500-json", on="details", times=4)

        assert (await cli(*CALL)).status == 0

    async def test_lost_sight(self, cli, sim):
        """A call that can't be looked at any more is told as placed, and not to be repeated."""
        sim.fault("500-json", on="details", times=None)

        ran = await cli(*CALL)

        (sid,) = sim.calls
        assert ran.status == 3
        assert f"calls get {sid}" in ran.err

    @pytest.mark.parametrize(("options", "minutes"), [((), 255), (("--time-limit", "60"), 16)])
    async def test_never_over(self, cli, options, minutes):
        """A call that never ends is not followed for ever, but as long as a call can last."""
        clock = FakeClock()
        body = b'{"Call": {"Sid": "a", "Status": "in-progress"}}'
        async with raw_server(answer("200 OK", body)) as server:
            world = attrs.evolve(world_of_server(server), clock=clock)
            ran = await cli(*CALL, *options, world=world)

        assert ran.status == 3
        assert "calls get a" in ran.err
        assert minutes * 60 < clock.elapsed < minutes * 60 + 30

    async def test_newer_status(self, cli):
        """A final status that is newer than this release is known by the call's end."""
        body = (
            b'{"Call": {"Sid": "a", "Status": "declined", "EndTime": "2026-11-02 10:00:00",'
            b' "Details": {"Legs": [{"Leg": {"Status": "busy"}}]}}}'
        )
        async with raw_server(answer("200 OK", body)) as server:
            world = attrs.evolve(world_of_server(server), clock=FakeClock())
            ran = await cli(*CALL, world=world)

        assert ran.status == 5
        assert ran.err == ""

    async def test_cancelled_while_asking(self, cli, sim, capsys):
        """Stopped while Exotel is being asked, it warns that a phone may ring."""
        sim.fault("hang", on="connect")
        running = asyncio.create_task(cli(*CALL))
        async with asyncio.timeout(30):
            while not sim.requests:
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert "a phone may be ringing" in capsys.readouterr().err

    async def test_variables_missing(self, cli):
        """Missing variables are named, before you are asked."""
        ran = await cli(*CALL[:-1], world=World(environ={}))

        assert ran.status == 2
        assert "EXOTEL_API_TOKEN" in ran.err

    def test_pauses(self):
        """Looks become rarer, up to one in ten seconds."""
        waits = pauses()
        first = [next(waits) for _ in range(20)]

        assert first[0] == 2
        assert first[-1] == 10
        assert first == sorted(first)


class TestCallsList:
    async def test_lines(self, cli, sim):
        """Off a terminal it is one line with tabs for each record, below a line of names."""
        sid = sim.add_call(status="busy", price=Decimal("1.500"))

        ran = await cli("calls", "list")

        head, line = (line.split("\t") for line in ran.out.splitlines())
        assert head[:3] == ["CREATED", "SID", "FROM"]
        assert line[1:4] == [sid, "***0001", "***0002"]
        assert line[5] == "busy"
        assert "\x1b" not in ran.out

    async def test_json(self, cli, sim):
        """As JSON, each record is an object."""
        sid = sim.add_call()

        (record,) = (await cli("calls", "list", "--json", "--details")).objects

        assert record["sid"] == sid
        assert record["date_created"].endswith("+05:30")
        assert len(record["details"]["legs"]) == 2

    async def test_filters(self, cli, sim):
        """Every filter reaches Exotel."""
        ran = await cli(
            "calls", "list", "--created", "2026-11-01..2026-11-02", "--sid", "a", "--sid", "b",
            "--from", FROM, "--to", TO, "--phone-number", EXOPHONE, "--status", "busy",
            "--status", "no_answer", "--direction", "inbound", "--duration", "10..45",
            "--price", "..1.50", "--details", "--ascending", "--page-size", "7",
            "--extra", "RecordingUrlValidity=5",
        )  # fmt: skip

        assert ran.status == 0, ran.err
        assert pairs_of(sim) == {
            "DateCreated": "gte:2026-11-01 00:00:00;lte:2026-11-02 23:59:59", "Sid": "a,b",
            "From": FROM, "To": TO, "PhoneNumber": EXOPHONE, "Status": "busy,no-answer",
            "Direction": "inbound", "Duration": "gte:10s;lte:45s", "Price": "lte:1.50",
            "details": "true", "SortBy": "DateCreated:asc", "PageSize": "7",
            "RecordingUrlValidity": "5",
        }  # fmt: skip

    async def test_days_of_the_zone(self, cli, sim):
        """Days are those of the account's zone, and times are shown in it."""
        sim.add_call(date_created=sim.clock.now() - timedelta(hours=1))

        ran = await cli("calls", "list", "--created", "today", "--time-zone", "UTC", "--json")

        assert pairs_of(sim)["DateCreated"].startswith("gte:2026-11-02 00:00:00;")
        assert ran.status == 0

    async def test_limit(self, cli, sim):
        """Fifty come unless more are asked for, and 0 asks for all."""
        for n in range(120):
            sim.add_call(date_created=sim.clock.now() - timedelta(hours=1, seconds=n))

        ran = [
            await cli("calls", "list", "--json", *limit)
            for limit in ((), ("--limit", "3"), ("--limit", "0"))
        ]

        assert [len(one.objects) for one in ran] == [50, 3, 120]
        assert ["there may be more: --limit 0" in one.err for one in ran] == [True, True, False]
        assert len({record["sid"] for record in ran[2].objects}) == 120

    async def test_none(self, cli):
        """Without a record there is no line at all."""
        ran = await cli("calls", "list")

        assert (ran.status, ran.out, ran.err) == (0, "", "")

    async def test_skipped(self, cli):
        """How many entries had no Sid is told."""
        body = b'{"Metadata": {}, "Calls": [{"Sid": "a"}, {"Status": "busy"}, 1]}'
        async with raw_server(answer("200 OK", body)) as server:
            ran = await cli("calls", "list", world=world_of_server(server))

        assert ran.status == 0
        assert len(ran.out.splitlines()) == 2
        assert "Skipped without a Sid: 2." in ran.err

    @pytest.mark.parametrize(
        ("argv", "says"),
        [
            (("--created", "soon"), "write today, yesterday"),
            (("--created", "2020-01-01"), "six months"),
            (("--created", "2030-01-01"), "it lies in the future"),
            (("--duration", "long"), "10..45"),
            (("--duration", "45..10"), "'45..10' ends before"),
            (("--price", "NaN"), "'NaN' is no number"),
            (("--price", "-1"), "'-1' is no number"),
            (("--status", "ringing"), "none of completed, failed, busy, no-answer, canceled"),
            (("--status", "gone"), "none of completed"),
            (("--page-size", "0"), "1<=x<=100"),
            (("--time-zone", "Nowhere/Land"), "time_zone must be"),
            (("--to", "1,2"), "without ',' and ';'"),
        ],
    )
    async def test_wrong_usage(self, cli, sim, argv, says):
        """What is wrong is told, before anything is sent."""
        ran = await cli("calls", "list", *argv)

        assert ran.status == 2
        assert says in ran.err
        assert sim.requests == []

    async def test_control_characters(self, cli, sim):
        """What Exotel sends can't move the cursor of whoever reads it."""
        sim.add_call(from_="sip:\x1b[2J\tx")

        ran = await cli("calls", "list", "--show-numbers")

        assert "\x1b" not in ran.out
        assert all(line.count("\t") == 7 for line in ran.out.splitlines())


class TestCallsGet:
    async def test_fields(self, cli, sim):
        """A record is shown field by field, with its legs."""
        sid = sim.add_call(price=Decimal("1.500"))

        ran = await cli("calls", "get", sid)

        assert ran.out.startswith(f"Record of {sid}\n")
        assert "  from              ***0001\n" in ran.out
        assert "  legs              From completed" in ran.out

    async def test_json(self, cli, sim):
        """As JSON it is one object; without details, it has none."""
        sid = sim.add_call()

        with_legs = (await cli("calls", "get", sid, "--json")).objects
        without = (await cli("calls", "get", sid, "--json", "--no-details")).objects

        assert [record["sid"] for record in with_legs + without] == [sid, sid]
        assert with_legs[0]["details"]
        assert without[0]["details"] is None

    async def test_recording(self, cli, sim):
        """A signed URL is shown whole when it was asked for."""
        sid = sim.add_call(recorded=True)

        ran = await cli("calls", "get", sid, "--json", "--recording-url-validity", "5")

        assert "X-Amz-Signature=" in ran.objects[0]["pre_signed_recording_url"]

    async def test_unknown(self, cli):
        """An unknown Sid is a refusal."""
        ran = await cli("calls", "get", "nosuchcall")

        assert ran.status == 1
        assert "404" in ran.err


class TestNumber:
    async def test_several(self, cli):
        """Each number is a line."""
        ran = await cli("number", FROM, TO)

        assert [line.split("\t")[0] for line in ran.out.splitlines()[1:]] == ["***0001", "***0002"]

    async def test_json(self, cli):
        """As JSON, each is an object."""
        (found,) = (await cli("number", TO, "--json", "--show-numbers")).objects

        assert found["phone_number"].endswith("9812300002")
        assert found["dnd"] == "No"

    @pytest.mark.parametrize("json", [(), ("--json",)])
    async def test_one_is_unknown(self, cli, json):
        """A number that Exotel does not know keeps none of the others from being shown."""
        acts = [answer("404 Not Found"), answer("200 OK", NUMBER)]
        async with raw_server(*acts) as server:
            ran = await cli("number", FROM, TO, *json, world=world_of_server(server))

        assert ran.status == 1
        assert "***0002" in ran.out
        assert "***0001" not in ran.out
        assert ran.err.startswith("exotel-async: ***0001: ")
        assert len(ran.err.splitlines()) == 1

    async def test_lost_on_the_way(self, cli):
        """What was found before all went wrong is shown all the same, and no more is asked."""
        acts = [answer("200 OK", NUMBER), answer("401 Unauthorized"), answer("200 OK", NUMBER)]
        async with raw_server(*acts) as server:
            ran = await cli("number", TO, FROM, TO, world=world_of_server(server))

        assert ran.status == 1
        assert [line.split("\t")[0] for line in ran.out.splitlines()] == ["NUMBER", "***0002"]
        assert "401" in ran.err
        assert len(server.requests) == 2


class TestUsage:
    async def test_help(self, cli):
        """Help names the commands, each with what it does, and the exit statuses."""
        ran = await cli()

        assert ran.status == 0
        listed = dict(re.findall(r"^  (\w+)  +(.*)$", ran.out, re.MULTILINE))
        assert listed == {name: command.short_help for name, command in app.commands.items()}
        for status in ExitStatus:
            assert f"{status.value}  {status.meaning}\n" in ran.out

    @pytest.mark.parametrize("group", ["calls", "deadletters"])
    async def test_half_a_command(self, cli, group):
        """A group alone says in two lines what is missing, and where help is."""
        ran = await cli(group)

        missing, hint = ran.err.splitlines()
        assert (ran.status, ran.out) == (2, "")
        assert missing.startswith("exotel-async: Missing command")
        assert hint.endswith(f"{group} --help")

    async def test_help_of_a_zone(self, cli):
        """What --created means is said, and so is the zone."""
        ran = await cli("calls", "list", "--help")

        text = " ".join(ran.out.split())
        assert "2026-11-01T10:00 (that minute)" in text
        assert "(IST)" not in text

    @pytest.mark.parametrize(
        "path", ["call", "calls list", "calls get", "number", "listen", "trigger", "doctor",
                 "deadletters list", "deadletters replay", "simulate", "demo"],
    )  # fmt: skip
    async def test_common_options(self, cli, path):
        """Every command can speak JSON and show numbers, and none takes a credential."""
        ran = await cli(*path.split(), "--help")

        assert ran.status == 0
        assert "--json" in ran.out
        assert "--show-numbers" in ran.out
        assert not [word for word in ("--api-key", "--token", "--api-token") if word in ran.out]

    async def test_version(self, cli):
        """It knows its version."""
        assert (await cli("--version")).out == f"exotel-async, version {__version__}\n"

    async def test_unknown_command(self, cli):
        """A mistyped command is told, its numbers masked."""
        ran = await cli("9812300001")

        assert ran.status == 2
        assert "98123" not in ran.err
