"""The doctor: what is wrong, in words, and what to do."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from socket import gaierror

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from raw_server import answer, close, half_a_head, raw_server

from exotel_async import ClientClosedError, NoAnswerError, NotSentError
from exotel_async.cli.diagnosis import probe_findings, region_finding, settings_findings
from exotel_async.cli.simulate import environ_of
from exotel_async.cli.world import World
from exotel_async.client.probe import Probe, date_of, probe

NOW = datetime(2026, 11, 2, tzinfo=UTC)
PAGE = b'{"Metadata": {}, "Calls": []}'
KEY = ConnectionKey("api.exotel.com", 443, True, True, None, None, None)


def dated(status: str, ahead: float = 0.0, body: bytes = PAGE):
    """Answer with a `Date` that lies so many seconds behind the real time."""
    moment = datetime.now(UTC) - timedelta(seconds=ahead)
    return answer(status, body, headers=f"Date: {moment:%a, %d %b %Y %H:%M:%S} GMT\r\n")


def world_at(url: str) -> World:
    return World(
        environ={
            "EXOTEL_ACCOUNT_SID": "acme1",
            "EXOTEL_API_KEY": "kkkkkkkk",
            "EXOTEL_API_TOKEN": "tttttttt",
            "EXOTEL_SUBDOMAIN": url.removeprefix("http://"),
        }
    )


class TestDoctor:
    async def test_well(self, cli, sim_today):
        """Where all is well, every line says so; one harmless request was made."""
        ran = await cli("doctor", world=World(environ=environ_of(sim_today)))

        assert ran.status == 0, ran.out
        assert "✗" not in ran.out
        assert ran.out.count("✓") == 8
        (request,) = sim_today.requests
        assert (request.method, dict(request.params)) == ("GET", {"PageSize": "1"})

    async def test_json(self, cli, sim_today):
        """As JSON, each finding is an object."""
        found = (await cli("doctor", "--json", world=World(environ=environ_of(sim_today)))).objects

        assert [one["about"] for one in found][-4:] == ["region", "reachable", "credentials",
                                                        "clock"]  # fmt: skip
        assert all(one["well"] for one in found)

    async def test_missing(self, cli):
        """Each missing variable is named, with what it is."""
        ran = await cli("doctor", world=World(environ={"EXOTEL_API_KEY": "k"}))

        assert ran.status == 2
        assert ran.out.count("✗") == 3
        assert "✗ EXOTEL_API_TOKEN is missing: the API token" in ran.out

    @pytest.mark.parametrize(
        ("status", "says"),
        [
            ("401 No", "the other region"),
            ("404 No", "the other region"),
            ("403 No", "IP address"),
            ("429 No", "too many requests"),
            ("503 No", "Exotel itself has trouble"),
            ("302 Off", "does not look like Exotel"),
        ],
    )
    async def test_refused(self, cli, status, says):
        """What an answer means is told in words."""
        async with raw_server(dated(status, body=b"")) as server:
            ran = await cli("doctor", world=world_at(server.url))

        assert ran.status == 1
        assert says in ran.out
        assert len(server.requests) == 1

    async def test_senseless(self, cli):
        """A server that is not Exotel is known as such."""
        async with raw_server(dated("200 OK", body=b"<html>")) as server:
            ran = await cli("doctor", world=world_at(server.url))

        assert ran.status == 1
        assert "does not look like Exotel" in ran.out

    @pytest.mark.parametrize("act", [close, half_a_head])
    async def test_no_answer(self, cli, act):
        """A connection without an answer is another thing than none."""
        async with raw_server(act) as server:
            ran = await cli("doctor", world=world_at(server.url))

        assert ran.status == 4
        assert "no answer came" in ran.out

    async def test_other_host(self, cli, monkeypatch):
        """A host that is not Exotel's own is no error where it answers as Exotel does."""

        async def well(_: object) -> Probe:
            return Probe(status=200, date=None, at=NOW, seconds=0.1, error=None)

        monkeypatch.setattr("exotel_async.cli.doctor.probe", well)
        ran = await cli("doctor", world=world_at("proxy.example"))

        assert ran.status == 0, ran.out
        assert "! proxy.example is no host of Exotel's API" in ran.out
        assert "✗" not in ran.out

    async def test_other_host_not_reached(self, cli):
        """Where it can't be reached, that is how the doctor ends."""
        ran = await cli("doctor", world=world_at("exotel.invalid"))

        assert ran.status == 4
        assert "exotel.invalid is no host of Exotel's API" in ran.out
        assert "DNS" in ran.out

    async def test_loopback_of_ipv6(self, cli):
        """The host is read as the client reads it."""
        ran = await cli("doctor", world=world_at("[::1]:9"))

        assert ran.status == 4
        assert "::1 is this machine" in ran.out

    async def test_clear_text(self, cli):
        """What is to be changed has the name of a variable."""
        ran = await cli("doctor", world=world_at("HTTP://api.exotel.com"))

        assert ran.status == 2
        assert "EXOTEL_SUBDOMAIN names api.exotel.com with http://" in ran.out

    async def test_connection_refused(self, cli):
        """Where nobody listens, it says so."""
        ran = await cli("doctor", world=world_at("127.0.0.1:9"))

        assert ran.status == 4
        assert "nobody listens there" in ran.out

    @pytest.mark.parametrize(("ahead", "says"), [(600, "ahead of"), (-600, "behind")])
    async def test_clock(self, cli, ahead, says):
        """A clock that is wrong is told, with the direction."""
        async with raw_server(dated("200 OK", ahead)) as server:
            ran = await cli("doctor", world=world_at(server.url))

        assert ran.status == 1
        assert f"s {says} Exotel's" in ran.out

    async def test_shows_no_secret(self, cli, sim_today):
        """Neither key nor token is shown, nor what stands before an @ in the host."""
        environ = environ_of(sim_today)
        host = f"https://{environ['EXOTEL_API_KEY']}:{environ['EXOTEL_API_TOKEN']}@api.exotel.com"
        good = await cli("doctor", world=World(environ=environ))
        bad = await cli("doctor", world=World(environ=environ | {"EXOTEL_SUBDOMAIN": host}))

        pasted = host.removeprefix("https://").removesuffix("@api.exotel.com")
        worst = await cli("doctor", world=World(environ=environ | {"EXOTEL_SUBDOMAIN": pasted}))

        shown = "".join(ran.out + ran.err for ran in (good, bad, worst))
        for secret in ("EXOTEL_API_KEY", "EXOTEL_API_TOKEN"):
            assert environ[secret] not in shown
        assert (bad.status, worst.status) == (2, 2)


class TestFindings:
    @pytest.mark.parametrize(
        ("cause", "says"),
        [
            (aiohttp.ClientConnectorDNSError(KEY, gaierror(-2, "unknown")), "DNS"),
            (aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "bad")), "TLS failed"),
            (aiohttp.ClientConnectorCertificateError(KEY, ValueError("bad")), "TLS failed"),
            (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError()), "nobody listens"),
            (aiohttp.ConnectionTimeoutError(), "firewall"),
        ],
    )
    def test_way(self, cause, says):
        """What stood in the way is told apart."""
        error = NotSentError("no connection")
        error.__cause__ = cause
        (found,) = probe_findings(Probe(status=None, date=None, at=NOW, seconds=1.0, error=error))

        assert not found.well
        assert found.status == 4
        assert says in found.advice

    @pytest.mark.parametrize(
        ("host", "well", "says"),
        [
            ("api.exotel.com", True, "Singapore"),
            ("@API.in.exotel.com/", True, "Mumbai"),
            ("https://api.exotel.com", True, "Singapore"),
            ("127.0.0.1:8900", True, "this machine"),
            ("[::1]:8931", True, "this machine"),
            ("https://key:token@api.exotel.com", True, "Singapore"),
        ],
    )
    def test_region(self, host, well, says):
        """The region is told by the host."""
        found = region_finding(host)

        assert found.well is well
        assert says in found.says

    @pytest.mark.parametrize("host", ["my.exotel.com", "0a1b2c:3d4e5f", "0a1b2c"])
    def test_no_region(self, host):
        """Another host is worth a warning; what may be a credential is not shown."""
        found = region_finding(host)

        assert found.well
        assert found.advice
        assert ("0a1b2c" in found.says, "3d4e5f" in found.says) == (False, False)

    def test_quotes(self):
        """A value that was pasted with its quotes is found out."""
        found = {f.about: f for f in settings_findings({"EXOTEL_API_KEY": '"k"'})}

        assert not found["setting EXOTEL_API_KEY"].well
        assert "quotes" in found["setting EXOTEL_API_KEY"].says

    def test_slow_and_without_date(self):
        """A slow answer is named as such; a missing date accuses nobody."""
        reached, _, clock = probe_findings(
            Probe(status=200, date=None, at=NOW, seconds=9.0, error=None)
        )

        assert "slow" in reached.says
        assert clock.well


class TestProbe:
    async def test_raises_nothing(self):
        """What goes wrong is part of what it tells, and nothing is tried again."""
        async with raw_server(close) as server, world_at(server.url).client() as exotel:
            found = await probe(exotel)

        assert isinstance(found.error, NoAnswerError)
        assert (found.status, found.date, found.ahead) == (None, None, None)
        assert len(server.requests) <= 2  # aiohttp itself repeats a GET once, whatever is set

    async def test_asks_once(self):
        """What others would try again is asked once."""
        async with raw_server(answer("503 No")) as server, world_at(server.url).client() as exotel:
            found = await probe(exotel)

        assert found.status == found.error.status == 503
        assert len(server.requests) == 1

    async def test_closed(self):
        """A client that is not open can't probe."""
        with pytest.raises(ClientClosedError):
            await probe(world_at("127.0.0.1:9").client())

    async def test_tells_the_time(self):
        """Exotel's date and ours stand beside each other."""
        async with raw_server(dated("200 OK", 100)) as server:
            async with world_at(server.url).client() as exotel:
                found = await probe(exotel)

        assert found.status == 200
        assert found.error is None
        assert 99 <= found.ahead.total_seconds() <= 110

    @pytest.mark.parametrize("header", ["", "soon", "Mon, 99 Nov 2026 06:30:00 GMT"])
    def test_no_date(self, header):
        """A header that makes no sense is none."""
        assert date_of(header) is None
