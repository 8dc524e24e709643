"""What a connect may carry, and what it is told when it may not."""

from __future__ import annotations

from io import BytesIO

import aiohttp
import pytest

from exotel_async.simulator import Simulator

WRONG = [
    ("From", "hello", "phone number"),
    ("To", "12", "phone number"),
    ("CallerId", "08040 001234", "phone number"),
    ("CallType", "promo", "trans"),
    ("TimeLimit", "0", "from 1 to 14400"),
    ("TimeLimit", "14401", "from 1 to 14400"),
    ("TimeLimit", "1e3", "from 1 to 14400"),
    ("TimeLimit", "٣", "from 1 to 14400"),
    ("TimeOut", "0", "1 or more"),
    ("TimeOut", "-5", "1 or more"),
    ("Record", "True", "true,false"),
    ("Record", "1", "true,false"),
    ("RecordingChannels", "stereo", "single,dual"),
    ("RecordingFormat", "wav", "mp3,mp3-hq"),
    ("StartPlaybackTo", "both", "Callee,Both"),
    ("StartPlaybackValue", "audio.wav", "http or https URL"),
    ("WaitUrl", "ftp://example.com/a.wav", "http or https URL"),
    ("StatusCallback", "example.com/told", "http or https URL"),
    ("StatusCallback", "http://[", "http or https URL"),
    ("StatusCallbackContentType", "text/plain", "multipart/form-data,application/json"),
    ("StatusCallbackEvents[0]", "ringing", "terminal,answered"),
    ("StatusCallbackEvents", "terminal", "StatusCallbackEvents[0]"),
    ("StatusCallbackEvents[]", "terminal", "StatusCallbackEvents[0]"),
]
RIGHT = [
    ("CallType", "trans"),
    ("TimeLimit", "1"),
    ("TimeLimit", "14400"),
    ("TimeOut", "60"),
    ("Record", "false"),
    ("RecordingChannels", "dual"),
    ("RecordingFormat", "mp3-hq"),
    ("StartPlaybackTo", "Callee"),
    ("StartPlaybackValue", "http://example.com/a.wav"),
    ("WaitUrl", "https://example.com/a.wav"),
    ("CustomField", '{"order": 42}'),
    ("StatusCallback", "https://example.com/told"),
    ("StatusCallbackContentType", "application/json"),
    ("StatusCallbackEvents[1]", "answered"),
    ("StreamUrl", "anything"),
    ("From", " 919812300001"),
    ("To", "sip:agent@example.com"),
]


UNKNOWN_TRANSFER_ENCODING = (
    b'--x\r\nContent-Disposition: form-data; name="From"\r\n'
    b"Content-Transfer-Encoding: klingon\r\n\r\n1\r\n--x--\r\n"
)


class TestConnectChecks:
    @pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
    async def test_refused(self, sim, ask, name, value, wanted):
        """A wrong parameter is 400; the message names it and says what the page wants."""
        said = await ask.connect(**{name: value})

        assert said.status == said.json["RestException"]["Status"] == 400
        assert name.partition("[")[0] in said.message
        assert wanted in said.message
        assert not sim.calls

    @pytest.mark.parametrize(("name", "value"), RIGHT)
    async def test_accepted(self, ask, name, value):
        """What the page allows passes, and so does what it does not mention."""
        assert (await ask.connect(**{name: value})).status == 200

    @pytest.mark.parametrize("name", ["From", "To", "CallerId"])
    async def test_missing(self, ask, name):
        """The three mandatory parameters must be there."""
        said = await ask.connect(**{name: ""})

        assert said.status == 400
        assert f"Mandatory parameter {name} is missing" in said.message

    async def test_blank(self, ask):
        """A blank number is a missing one."""
        assert "From is missing" in (await ask.connect(From=" ")).message

    async def test_twice(self, ask):
        """One parameter has one value."""
        pairs = [("From", "+919812300001"), ("From", "+919812300003"), ("CallerId", "08040001234")]
        said = await ask.post("/Calls/connect.json", aiohttp.FormData(pairs))

        assert said.status == 400
        assert "From must be given once" in said.message

    async def test_multipart(self, ask):
        """A multipart form does as well as a urlencoded one."""
        with aiohttp.MultipartWriter("form-data") as form:
            for name, value in (("From", "+919812300001"), ("To", "+919812300002")):
                form.append(value).set_content_disposition("form-data", name=name)
            form.append("08040001234").set_content_disposition("form-data", name="CallerId")

        assert (await ask.post("/Calls/connect.json", form)).status == 200

    async def test_file(self, ask):
        """A file is not a parameter."""
        form = aiohttp.FormData()
        form.add_field("From", b"+919812300001", filename="from.txt")

        assert (await ask.post("/Calls/connect.json", form)).status == 400

    @pytest.mark.parametrize(
        ("content_type", "body"),
        [
            ("multipart/form-data", b"no boundary"),
            ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
            ("application/x-www-form-urlencoded; charset=klingon", b"From=1"),
            ("multipart/form-data; boundary=x", UNKNOWN_TRANSFER_ENCODING),
        ],
    )
    async def test_broken_form(self, sim, ask, content_type, body):
        """A form that can't be read is refused, and stands in the journal."""
        said = await ask.send(
            "POST",
            f"{ask.account}/Calls/connect.json",
            data=body,
            headers={"Content-Type": content_type},
        )

        assert said.status == 400
        assert [received.status for received in sim.requests] == [400]

    async def test_broken_compression(self, sim, ask):
        """A form that says it is compressed, and is not, is refused."""
        said = await ask.send(
            "POST",
            f"{ask.account}/Calls/connect.json",
            data=b"From=1",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Content-Encoding": "gzip",
            },
        )

        assert said.status == 400

    async def test_impossible_host(self, ask):
        """A URL whose host no resolver could read is refused."""
        assert (await ask.connect(StatusCallback="http://xn--/")).status == 400

    async def test_too_large(self, ask):
        """A form of megabytes is refused."""
        said = await ask.send(
            "POST",
            f"{ask.account}/Calls/connect.json",
            data=BytesIO(b"CustomField=" + b"x" * 2_000_000),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

        assert said.status == 413

    async def test_json_body(self, ask):
        """Parameters in JSON are no parameters."""
        said = await ask.send(
            "POST", f"{ask.account}/Calls/connect.json", json={"From": "+919812300001"}
        )

        assert said.status == 400

    @pytest.mark.parametrize("number", ["+910000000403", "0000000403"])
    async def test_dnd(self, sim, ask, number):
        """A number on the DND list is 403, in brackets, without a Sid."""
        said = await ask.connect(To=number)

        assert said.status == 403
        assert "TRAI NDNC" in said.message
        assert f"({number})" in said.message
        assert not sim.calls

    async def test_errors_in_xml(self, ask):
        """Without .json errors are XML too, whatever the value held."""
        said = await ask.post("/Calls/connect", {"From": "<&\x01>", "To": "+919812300002"})

        assert said.status == 400
        assert said.xml.findtext("RestException/Status") == "400"


class TestFlowChecks:
    @pytest.mark.parametrize(
        "url",
        [
            "http://my.exotel.com/{sid}/exoml/start_voice/926",
            "https://my.in.exotel.com/{sid}/exoml/start_voice/926",
        ],
    )
    async def test_accepted(self, sim, ask, url):
        """A flow of the account's own is called."""
        url = url.format(sid=sim.settings["account_sid"])

        assert (await ask.connect(To="", Url=url)).status == 200

    @pytest.mark.parametrize(
        "url",
        [
            "http://my.exotel.com/somebody/exoml/start_voice/926",
            "http://my.exotel.com/{sid}/exoml/start_voice/",
            "http://my.exotel.com/{sid}/start_voice/926",
            "926",
        ],
    )
    async def test_refused(self, sim, ask, url):
        """The message shows the form that the page wants."""
        said = await ask.connect(To="", Url=url.format(sid=sim.settings["account_sid"]))

        assert said.status == 400
        assert "Url" in said.message

    async def test_both(self, sim: Simulator, ask):
        """A call goes to a number or to a flow."""
        url = f"http://my.exotel.com/{sim.settings['account_sid']}/exoml/start_voice/926"

        assert "exclude each other" in (await ask.connect(Url=url)).message

    async def test_dnd(self, sim: Simulator, ask):
        """A flow can't be brought to a number on the DND list either."""
        url = f"http://my.exotel.com/{sim.settings['account_sid']}/exoml/start_voice/926"

        assert (await ask.connect(To="", Url=url, From="+910000000403")).status == 403
