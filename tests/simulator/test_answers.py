"""The bodies of answers, against the samples printed on Exotel's page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from datetime import datetime

import pytest

from exotel_async.simulator import Simulator
from exotel_async.simulator.clock import IST

FLOW = {"From": "09812300001", "CallerId": "08040001234"}


@pytest.fixture
def flow(sim: Simulator) -> dict[str, str]:
    sid = sim.settings["account_sid"]
    return {**FLOW, "Url": f"http://my.exotel.com/{sid}/exoml/start_voice/926"}


@pytest.fixture
async def ended(sim: Simulator, ask) -> str:
    """A recorded call that has ended and settled."""
    sid = await ask.sid(Record="true")
    await sim.advance(minutes=5)
    return sid


@pytest.fixture
def three_pages(sim: Simulator) -> str:
    """Three calls, and the name of the middle one's page."""
    for day in (1, 2, 3):
        sim.add_call(recorded=True, date_created=datetime(2026, 10, day, 12, 0, tzinfo=IST))
    return "gte:2026-10-01 00:00:00;lte:2026-10-03 23:59:59"


class TestConnect:
    async def test_two_numbers_json(self, ask, sample, shape):
        """Keys, their order, nulls and texts are the sample's."""
        said = await ask.connect()

        assert said.status == 200
        assert said.headers["Content-Type"] == "application/json; charset=utf-8"
        assert shape(said.json) == shape(json.loads(sample("connect_two_numbers.json")))

    async def test_two_numbers_xml(self, ask, sample, outline):
        """Without .json the answer is the sample's XML."""
        said = await ask.post("/Calls/connect", {**FLOW, "To": "09812300002"})

        assert said.headers["Content-Type"] == "application/xml; charset=utf-8"
        assert outline(said.xml) == outline(ET.fromstring(sample("connect_two_numbers.xml")))

    async def test_flow_json(self, ask, flow, sample, shape):
        """A call to a flow is answered as the sample is."""
        said = await ask.post("/Calls/connect.json", flow)

        assert shape(said.json) == shape(json.loads(sample("connect_flow.json")))

    async def test_flow_xml(self, ask, flow, sample, outline):
        """Likewise in XML."""
        said = await ask.post("/Calls/connect", flow)

        assert outline(said.xml) == outline(ET.fromstring(sample("connect_flow.xml")))

    async def test_values(self, ask):
        """What was sent comes back, at the time at which it was sent."""
        call = (await ask.connect()).json["Call"]

        assert (call["From"], call["To"]) == ("+919812300001", "+919812300002")
        assert call["PhoneNumberSid"] == "08040001234"
        assert call["Status"] == "in-progress"
        assert call["DateCreated"] == "2026-11-02 10:00:00"
        assert call["Uri"] == f"{ask.account}/Calls.json/{call['Sid']}"

    async def test_empty_elements(self, ask):
        """Connect's XML closes empty elements at once, as printed."""
        said = await ask.post("/Calls/connect", {**FLOW, "To": "09812300002"})

        assert "<ParentCallSid/>" in said.text
        assert f"<Uri>{ask.account}/Calls/" in said.text


class TestDetails:
    async def test_json(self, ask, ended, sample, shape):
        """One call reads as the sample does."""
        said = await ask.get(f"/Calls/{ended}.json")

        assert shape(said.json) == shape(json.loads(sample("call_details.json")))

    async def test_xml(self, ask, ended, sample, outline):
        """Likewise in XML, with empty elements opened and closed."""
        said = await ask.get(f"/Calls/{ended}")

        assert outline(said.xml) == outline(ET.fromstring(sample("call_details.mended.xml")))
        assert "<ParentCallSid></ParentCallSid>" in said.text

    async def test_legs_json(self, ask, ended, sample, shape):
        """The legs' Ids are text here."""
        said = await ask.get(f"/Calls/{ended}.json", details="true")

        assert shape(said.json) == shape(json.loads(sample("call_details_legs.mended.json")))

    async def test_legs_xml(self, ask, ended, sample, outline):
        """Likewise in XML."""
        said = await ask.get(f"/Calls/{ended}", details="true")

        assert outline(said.xml) == outline(ET.fromstring(sample("call_details_legs.xml")))

    async def test_without_second_leg(self, sim, ask):
        """A leg that was not even attempted is null."""
        sid = await ask.sid(From="+910000000486")
        await sim.advance(minutes=5)

        details = (await ask.get(f"/Calls/{sid}.json", details="true")).json["Call"]["Details"]
        twin = (await ask.get(f"/Calls/{sid}", details="true")).text

        assert (details["Leg1Status"], details["Leg2Status"]) == ("busy", None)
        assert "<Leg2Status/>" in twin

    async def test_flow(self, sim, ask, flow):
        """A call to a flow has one leg."""
        sid = (await ask.post("/Calls/connect.json", flow)).json["Call"]["Sid"]
        await sim.advance(minutes=5)

        details = (await ask.get(f"/Calls/{sid}.json", details="true")).json["Call"]["Details"]

        assert details["Legs"] == [{"Leg": {"Id": "1", "OnCallDuration": 30}}]
        assert details["Leg2Status"] is None

    async def test_ongoing(self, ask):
        """A call that has not ended can be read."""
        sid = await ask.sid()

        call = (await ask.get(f"/Calls/{sid}.json")).json["Call"]

        assert (call["Status"], call["EndTime"], call["Duration"]) == ("queued", "", "")

    async def test_unknown(self, ask):
        """An unknown Sid is 404 in both formats."""
        said = await ask.get("/Calls/0123456789abcdef.json")
        twin = await ask.get("/Calls/0123456789abcdef")

        assert said.status == twin.status == 404
        assert said.json == {"RestException": {"Status": 404, "Message": "No matching results"}}
        assert twin.xml.findtext("RestException/Status") == "404"
        assert twin.xml.findtext("RestException/Message") == "No matching results"

    async def test_presigned_url(self, ask, ended):
        """RecordingUrlValidity adds a URL that holds its own signature."""
        call = (await ask.get(f"/Calls/{ended}.json", RecordingUrlValidity="5")).json["Call"]

        assert list(call)[-1] == "PreSignedRecordingUrl"
        assert call["PreSignedRecordingUrl"].startswith(call["RecordingUrl"] + "?")
        assert "Expires=300" in call["PreSignedRecordingUrl"]

    async def test_presigned_without_recording(self, sim, ask):
        """Where nothing was recorded there is nothing to sign."""
        sid = sim.add_call()

        call = (await ask.get(f"/Calls/{sid}.json", RecordingUrlValidity="60")).json["Call"]

        assert call["PreSignedRecordingUrl"] == ""

    @pytest.mark.parametrize("minutes", ["4", "61", "", "five", "5.5"])
    async def test_validity(self, ask, ended, minutes):
        """The page wants 5 to 60 minutes."""
        said = await ask.get(f"/Calls/{ended}.json", RecordingUrlValidity=minutes)

        assert said.status == 400
        assert "RecordingUrlValidity" in said.message
        assert "from 5 to 60" in said.message

    async def test_details_flag(self, ask, ended):
        """Details is true or false."""
        assert (await ask.get(f"/Calls/{ended}.json", details="yes")).status == 400
        assert (await ask.get(f"/Calls/{ended}.json", details="false")).status == 200


class TestBulk:
    async def test_json(self, ask, three_pages, sample, shape):
        """A page reads as the sample does; PhoneNumber is in the page's table only."""
        after = await self.first_cursor(ask, three_pages)
        said = await ask.get("/Calls.json", DateCreated=three_pages, PageSize="1", After=after)

        body = said.json
        assert body["Calls"][0].pop("PhoneNumber") == "+918040000000"
        assert shape(body) == shape(json.loads(sample("bulk.json")))

    async def test_xml(self, ask, three_pages, sample, outline):
        """Likewise in XML, with no element around the calls."""
        after = await self.first_cursor(ask, three_pages)
        said = await ask.get("/Calls", DateCreated=three_pages, PageSize="1", After=after)

        body = said.xml
        call = body.find("Call")
        call.remove(call.find("PhoneNumber"))
        assert outline(body) == outline(ET.fromstring(sample("bulk.mended.xml")))

    async def test_details_json(self, ask, three_pages, sample, shape):
        """The legs stand before their statuses, and their Ids are numbers."""
        after = await self.first_cursor(ask, three_pages)
        said = await ask.get(
            "/Calls.json", DateCreated=three_pages, PageSize="1", After=after, details="true"
        )

        body = said.json
        del body["Calls"][0]["PhoneNumber"]
        assert shape(body) == shape(json.loads(sample("bulk_details.json")))

    async def test_details_xml(self, ask, three_pages, sample, outline):
        """In XML they stand behind them."""
        after = await self.first_cursor(ask, three_pages)
        said = await ask.get(
            "/Calls", DateCreated=three_pages, PageSize="1", After=after, details="true"
        )

        body = said.xml
        call = body.find("Call")
        call.remove(call.find("PhoneNumber"))
        assert outline(body) == outline(ET.fromstring(sample("bulk_details.xml")))

    async def test_uris(self, ask, three_pages):
        """The URIs repeat the query in the sample's order and encoding."""
        after = await self.first_cursor(ask, three_pages)
        said = await ask.get(
            "/Calls.json", details="true", After=after, DateCreated=three_pages, PageSize="1"
        )

        first = (
            f"{ask.account}/Calls.json?PageSize=1"
            "&DateCreated=gte%3A2026-10-01+00%3A00%3A00%3Blte%3A2026-10-03+23%3A59%3A59"
            "&SortBy=DateCreated:desc&details=true"
        )
        metadata = said.json["Metadata"]
        assert metadata["FirstPageUri"] == first
        assert metadata["PrevPageUri"].startswith(f"{first}&Before=")
        assert metadata["NextPageUri"].startswith(f"{first}&After=")
        assert (metadata["Total"], metadata["PageSize"]) == (3, 1)

    async def test_uris_of_other_filters(self, ask):
        """Filters and unknown parameters stand between SortBy and details."""
        said = await ask.get(
            "/Calls", Status="completed", NumbersMetadata="true", details="true", PageSize="100"
        )

        assert said.xml.findtext("Metadata/FirstPageUri") == (
            f"{ask.account}/Calls?PageSize=100&SortBy=DateCreated:desc"
            "&Status=completed&details=true&NumbersMetadata=true"
        )

    async def test_presigned_url(self, sim, ask):
        """RecordingUrlValidity works in bulk too."""
        sim.add_call(recorded=True)

        call = (await ask.get("/Calls.json", RecordingUrlValidity="60")).json["Calls"][0]

        assert "Expires=3600" in call["PreSignedRecordingUrl"]

    async def test_no_calls(self, ask):
        """An account without calls has an empty page and no further ones."""
        body = (await ask.get("/Calls.json")).json

        assert body["Calls"] == []
        assert body["Metadata"]["Total"] == body["Metadata"]["PageSize"] == 0
        assert body["Metadata"]["PrevPageUri"] is body["Metadata"]["NextPageUri"] is None

    @staticmethod
    async def first_cursor(ask, created: str) -> str:
        """Give the cursor behind the first record."""
        said = await ask.get("/Calls.json", DateCreated=created, PageSize="1")
        return said.json["Metadata"]["NextPageUri"].rpartition("&After=")[2]


class TestNumber:
    async def test_json(self, ask, sample):
        """The page's number has the page's metadata."""
        said = await ask.get("/Numbers/XXXXX30240.json")

        printed = json.loads(sample("number_metadata.json"))
        assert list(said.json["Numbers"].items()) == list(printed["Numbers"].items())

    async def test_xml(self, ask, sample):
        """Likewise in XML."""
        said = await ask.get("/Numbers/XXXXX30240")

        assert texts(said.xml) == texts(ET.fromstring(sample("number_metadata.xml")))

    async def test_encoded(self, ask):
        """A number's + may be percent-encoded or not."""
        said = await ask.send("GET", f"{ask.account}/Numbers/+919812300001.json")
        twin = await ask.get("/Numbers/%2B919812300001.json")

        assert said.json == twin.json
        assert said.json["Numbers"]["PhoneNumber"] == "09812300001"

    async def test_not_a_number(self, ask):
        """What is no number is refused."""
        assert (await ask.get("/Numbers/hello.json")).status == 400


def texts(root: ET.Element) -> list[tuple[str, str | None]]:
    return [(element.tag, (element.text or "").strip()) for element in root.iter()]
