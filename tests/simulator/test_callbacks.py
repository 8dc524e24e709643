"""StatusCallbacks: what they say, how they come, and when they come again."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import aiohttp
import pytest

from exotel_async.simulator import Simulator
from exotel_async.simulator.callbacks import multipart
from exotel_async.simulator.clock import IST

START = datetime(2026, 11, 2, 10, 0, tzinfo=IST)
BOTH = {"StatusCallbackEvents[0]": "terminal", "StatusCallbackEvents[1]": "answered"}
TERMINAL = {"StatusCallbackEvents[0]": "terminal"}
JSON = {"StatusCallbackContentType": "application/json"}


class TestPayloads:
    async def test_terminal_json(self, sim, ask, receiver, sample, shape):
        """The JSON form has the sample's keys in the sample's order."""
        await ask.connect(StatusCallback=receiver.url, Record="true", **TERMINAL, **JSON)

        await sim.advance(minutes=2)

        [(content_type, body)] = receiver.got
        assert content_type == "application/json"
        assert shape(body) == shape(json.loads(sample("statuscallback_terminal.json")))

    async def test_terminal_multipart(self, sim, ask, receiver, sample):
        """The multipart form, too; it is the default."""
        await ask.connect(StatusCallback=receiver.url, From="+910000000480", **TERMINAL)

        await sim.advance(minutes=2)

        [(content_type, body)] = receiver.got
        lines = sample("statuscallback_terminal.form.txt").splitlines()
        printed = dict(line.split(":", 1) for line in lines)
        assert content_type == "multipart/form-data"
        assert list(body) == list(printed)
        same = ("EventType", "Status", "Direction", "RecordingUrl", "ConversationDuration")
        legs = [name for name in printed if name.startswith("Legs")]
        assert {n: body[n] for n in (*same, *legs)} == {
            n: printed[n].strip() for n in (*same, *legs)
        }

    async def test_terminal_values(self, sim, ask, receiver):
        """The end is told at once, with times, durations and both legs."""
        sid = await ask.sid(StatusCallback=receiver.url, **TERMINAL, **JSON)

        await sim.advance(minutes=2)

        [(_, body)] = receiver.got
        assert (body["CallSid"], body["Status"]) == (sid, "completed")
        assert body["StartTime"] == "2026-11-02 10:00:00"
        assert body["EndTime"] == body["DateUpdated"] == "2026-11-02 10:00:41"
        assert body["Legs"] == [
            {"OnCallDuration": 35, "Status": "completed"},
            {"OnCallDuration": 30, "Status": "completed"},
        ]
        assert body["ConversationDuration"] == 30

    async def test_two_answered(self, sim, ask, receiver):
        """Each leg's answer is told, then the end."""
        await ask.connect(StatusCallback=receiver.url, **BOTH)

        await sim.advance(minutes=2)

        told = [
            (body["EventType"], body["Legs[0][Status]"], body["Legs[1][Status]"])
            for _, body in receiver.got
        ]
        assert told == [
            ("answered", "in-progress", ""),
            ("answered", "in-progress", "in-progress"),
            ("terminal", "completed", "completed"),
        ]

    async def test_not_attempted_json(self, sim, ask, receiver):
        """In JSON a leg that was not attempted is null."""
        await ask.connect(StatusCallback=receiver.url, **BOTH, **JSON)

        await sim.advance(seconds=7)

        [(_, body)] = receiver.got
        assert [leg["Status"] for leg in body["Legs"]] == ["in-progress", None]
        assert body["EndTime"] is None

    async def test_only_subscribed(self, sim, ask, receiver):
        """Who wants answers only is not told of the end."""
        await ask.connect(StatusCallback=receiver.url, **{"StatusCallbackEvents[0]": "answered"})

        await sim.advance(minutes=30)

        assert [body["EventType"] for _, body in receiver.got] == ["answered", "answered"]

    async def test_four_fields(self, sim, ask, receiver):
        """Without events only the end is told, in four fields."""
        sid = await ask.sid(StatusCallback=receiver.url, Record="true")

        await sim.advance(minutes=30)

        [(content_type, body)] = receiver.got
        assert content_type == "multipart/form-data"
        assert list(body) == ["CallSid", "Status", "RecordingUrl", "DateUpdated"]
        assert (body["CallSid"], body["Status"]) == (sid, "completed")

    async def test_four_fields_json(self, sim, ask, receiver):
        """Those come as JSON as well; without a recording they are three."""
        await ask.connect(StatusCallback=receiver.url, **JSON)

        await sim.advance(minutes=2)

        [(_, body)] = receiver.got
        assert list(body) == ["CallSid", "Status", "DateUpdated"]

    async def test_flow(self, sim: Simulator, ask, receiver):
        """A call to a flow tells its end in the short form, whatever was asked for."""
        url = f"http://my.exotel.com/{sim.settings['account_sid']}/exoml/start_voice/926"
        await ask.connect(
            To="", Url=url, StatusCallback=receiver.url, Record="true", **BOTH, **JSON
        )

        await sim.advance(minutes=2)

        [(content_type, body)] = receiver.got
        assert content_type == "multipart/form-data"
        assert list(body) == ["CallSid", "Status", "DateUpdated"]

    async def test_custom_field(self, sim, ask, receiver):
        """The CustomField comes back with the end only, as it was sent."""
        given = 'order "42"\r\n--ü'
        await ask.connect(StatusCallback=receiver.url, CustomField=given, **BOTH)

        await sim.advance(minutes=2)

        assert [body.get("CustomField") for _, body in receiver.got] == [None, None, given]

    async def test_without_url(self, sim, ask):
        """Who names no URL is not told."""
        await ask.connect(**BOTH)

        await sim.advance(minutes=30)

        assert not sim.callbacks

    def test_multipart_bytes(self):
        """The body is plain multipart, as a form is sent."""
        boundary, body = multipart((("Legs[0][Status]", "completed"),))

        assert (
            body
            == (
                f"--{boundary}\r\n"
                'Content-Disposition: form-data; name="Legs[0][Status]"\r\n'
                "\r\n"
                "completed\r\n"
                f"--{boundary}--\r\n"
            ).encode()
        )


class TestDelivery:
    @pytest.mark.parametrize("refusal", [500, 404, 302, 204])
    async def test_second_try(self, sim, ask, receiver, refusal):
        """Anything but 200 makes Exotel try again 5 minutes later, with the same body."""
        receiver.statuses = [refusal]
        await ask.connect(StatusCallback=receiver.url, **TERMINAL)

        await sim.advance(seconds=41)
        assert len(receiver.got) == 1
        await sim.advance(minutes=5)

        first, second = receiver.got
        assert first == second
        assert [tried.status for tried in sim.callbacks] == [refusal, 200]

    async def test_gives_up(self, sim, ask, receiver):
        """Three tries: at once, after 5 and after 15 minutes."""
        receiver.statuses = [500] * 10
        await ask.connect(StatusCallback=receiver.url, **TERMINAL)

        await sim.advance(hours=2)

        end = START + timedelta(seconds=41)
        assert [(tried.at - end) / timedelta(minutes=1) for tried in sim.callbacks] == [0, 5, 15]
        assert sim.clock.pending == 0

    async def test_nobody_there(self, sim, ask, unused_tcp_port):
        """A refused connection is a failure like any other."""
        await ask.connect(StatusCallback=f"http://127.0.0.1:{unused_tcp_port}/")

        await sim.advance(hours=1)

        assert [tried.status for tried in sim.callbacks] == [None, None, None]

    async def test_journal(self, sim, ask, receiver):
        """The journal shows what was sent, the same way for both content types."""
        await ask.connect(StatusCallback=receiver.url, **TERMINAL, **JSON)

        await sim.advance(minutes=2)

        [told] = sim.callbacks
        assert told.url == receiver.url
        assert told.content_type == "application/json"
        assert dict(told.fields)["Legs[1][Status]"] == "completed"
        assert (told.status, told.at) == (200, START + timedelta(seconds=41))

    @pytest.mark.parametrize("url", ["https://example.com/told", "http://192.0.2.1/told"])
    async def test_other_machines(self, sim, ask, url):
        """The simulator does not write to the internet."""
        await ask.connect(StatusCallback=url)

        await sim.advance(hours=1)

        assert [(told.url, told.status) for told in sim.callbacks] == [(url, None)]

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
    async def test_this_machine(self, sim, ask, receiver, host):
        """This machine has more than one name."""
        await ask.connect(StatusCallback=receiver.url.replace("127.0.0.1", host))

        await sim.advance(minutes=2)

        assert [told.status for told in sim.callbacks] == [200]

    async def test_allowed(self, asker, monkeypatch, receiver):
        """Unless it is told to."""
        monkeypatch.setattr("exotel_async.simulator.delivery.is_loopback", lambda url: False)
        async with Simulator(allow_remote_callbacks=True) as sim:
            await asker(sim).connect(StatusCallback=receiver.url)
            await sim.advance(minutes=2)

        assert [told.status for told in sim.callbacks] == [200]

    async def test_after_the_end(self, ask, sim, asker, receiver):
        """A simulator that has been closed delivers nothing any more."""
        async with Simulator() as other:
            await asker(other).connect(StatusCallback=receiver.url)

        await other.advance(minutes=2)

        assert [told.status for told in other.callbacks] == [None]
        assert not receiver.got

    async def test_deadline(self, sim, ask, monkeypatch, hanging_url):
        """A receiver that does not answer in time is a failed one."""
        sim._courier._session._timeout = aiohttp.ClientTimeout(total=0.05)
        await ask.connect(StatusCallback=hanging_url)

        await sim.advance(seconds=41)

        assert [told.status for told in sim.callbacks] == [None]
