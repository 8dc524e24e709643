"""Recordings: who may hear them, from when on, and what there is to hear."""

from __future__ import annotations

from base64 import b64encode

import aiohttp
import pytest
from yarl import URL

from exotel_async.simulator.recordings import silence


@pytest.fixture
def fetch(ask, session):
    async def fetch(url: str, *, mine: bool = True, **options) -> tuple[int, str, bytes]:
        headers = {"Authorization": ask.authorization} if mine else {}
        async with session.get(URL(url, encoded=True), headers=headers, **options) as answer:
            return answer.status, answer.content_type, await answer.read()

    return fetch


class TestRecording:
    async def test_basic_authentication_only(self, sim, ask, fetch):
        """A recording is its account's, and nobody else's."""
        sid = await ask.sid(Record="true")
        await sim.advance(minutes=5)
        url = (await ask.get(f"/Calls/{sid}.json")).json["Call"]["RecordingUrl"]
        other = sim.add_account()

        status, kind, body = await fetch(url)
        pair = f"{other['api_key']}:{other['api_token']}".encode()
        stranger = {"Authorization": f"Basic {b64encode(pair).decode()}"}

        assert (status, kind) == (200, "audio/mpeg")
        assert body == silence(30)
        assert (await fetch(url, mine=False))[0] == 401
        async with ask.session.get(url, headers=stranger) as refused:
            assert refused.status == 401

    async def test_not_there_yet(self, sim, ask, receiver, fetch):
        """It comes with the settled record; the callback names it before."""
        await ask.connect(Record="true", StatusCallback=receiver.url)
        await sim.advance(minutes=1)
        url = receiver.got[0][1]["RecordingUrl"]

        early = await fetch(url)
        await sim.advance(minutes=5)
        late = await fetch(url)

        assert (early[0], late[0]) == (404, 200)

    @pytest.mark.parametrize("path", ["x.mp3", "simulated1/x.mp3", "simulated1/{sid}.mp3", "a/b/c"])
    async def test_nowhere(self, sim, ask, fetch, path):
        """What was not recorded is not there."""
        sid = sim.add_call(recorded=False)

        assert (await fetch(f"{ask.host}/recordings/{path.format(sid=sid)}"))[0] == 404

    async def test_only_read(self, sim, ask):
        """Nobody can write one."""
        sid = sim.add_call(recorded=True)
        url = sim.calls[sid].recording_url

        said = await ask.send("DELETE", url.removeprefix(ask.host))

        assert said.status == 404

    def test_plays(self):
        """It is an MP3: frame after frame of silence, as long as the conversation."""
        sound = silence(7.2)

        frames = [sound[at : at + 72] for at in range(0, len(sound), 72)]
        assert len(frames) == 100
        assert {frame[:4].hex() for frame in frames} == {"ffe318c0"}


class TestParts:
    @pytest.fixture
    async def hear(self, sim, ask):
        """Ask for a recording of 33 s with these headers."""
        sid = sim.add_call(recorded=True)
        url = sim.calls[sid].recording_url.removeprefix(ask.host)

        async def hear(**headers: str):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            host = URL(ask.host + url)
            own = {"Authorization": ask.authorization}
            async with ask.session.get(host, headers=own | named) as answer:
                return answer.status, answer.headers, await answer.read()

        return hear

    @pytest.mark.parametrize(
        ("asked", "said", "first", "end"),
        [
            ("bytes=100-", "bytes 100-32975/32976", 100, 32976),
            ("bytes=0-99", "bytes 0-99/32976", 0, 100),
            ("bytes=32975-99999", "bytes 32975-32975/32976", 32975, 32976),
            ("bytes=-76", "bytes 32900-32975/32976", 32900, 32976),
        ],
    )
    async def test_part(self, hear, asked, said, first, end):
        """A Range is answered with that part, and 206."""
        status, headers, body = await hear(Range=asked)

        assert (status, headers["Content-Range"]) == (206, said)
        assert body == silence(33)[first:end]

    @pytest.mark.parametrize("asked", ["bytes=5-2", "lines=1-2", "bytes=", "bytes=1-2,4-5", "x"])
    async def test_senseless(self, hear, asked):
        """A Range that makes no sense is not heeded."""
        status, headers, body = await hear(Range=asked)

        assert (status, body) == (200, silence(33))
        assert "Content-Range" not in headers

    @pytest.mark.parametrize("asked", ["bytes=32976-", "bytes=-0"])
    async def test_beyond(self, hear, asked):
        """Beyond the end there is nothing: 416, with the size."""
        status, headers, _ = await hear(Range=asked)

        assert (status, headers["Content-Range"]) == (416, "bytes */32976")

    @pytest.mark.parametrize("name", ["ETag", "Last-Modified"])
    async def test_same_version(self, hear, name):
        """With If-Range the part comes of the same version only; of another, all."""
        _, headers, _ = await hear()

        same = await hear(Range="bytes=100-", If_Range=headers[name])
        other = await hear(Range="bytes=100-", If_Range='"other"')

        assert (same[0], other[0]) == (206, 200)

    async def test_cut_off(self, sim, hear):
        """A part can break off as well."""
        sim.fault("truncated-200", on="recording")

        with pytest.raises(aiohttp.ClientPayloadError):
            await hear(Range="bytes=100-")


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "status"),
        [("recording-moved", 302), ("recording-private", 403), ("recording-gone", 410)],
    )
    async def test_on_recordings_only(self, sim, ask, fetch, fault, status):
        """What can go wrong with recordings does with nothing else."""
        sid = sim.add_call(recorded=True)
        sim.fault(fault, times=None)

        read = await ask.get(f"/Calls/{sid}.json")
        said = await fetch(sim.calls[sid].recording_url, allow_redirects=False)

        assert (read.status, said[0]) == (200, status)

    def test_nowhere_else(self, sim):
        """Nor can it be laid down elsewhere."""
        with pytest.raises(ValueError, match="on must be one of recording"):
            sim.fault("recording-gone", on="details")

    async def test_moved(self, sim, fetch):
        """The other host needs no credentials: the URL is signed."""
        sid = sim.add_call(recorded=True)
        sim.fault("recording-moved")

        status, _, body = await fetch(sim.calls[sid].recording_url)

        assert (status, body) == (200, silence(33))

    async def test_not_moved_for_strangers(self, sim, fetch):
        """Who may not hear it is not led there."""
        sid = sim.add_call(recorded=True)
        sim.fault("recording-moved")

        assert (await fetch(sim.calls[sid].recording_url, mine=False))[0] == 401


class TestPresigned:
    @pytest.fixture
    async def url(self, sim, ask) -> str:
        sid = sim.add_call(recorded=True)
        said = await ask.get(f"/Calls/{sid}.json", RecordingUrlValidity="5")
        return said.json["Call"]["PreSignedRecordingUrl"]

    async def test_anybody(self, url, fetch):
        """Who has the URL may fetch it."""
        assert (await fetch(url, mine=False))[0] == 200

    async def test_expires(self, sim, url, fetch):
        """For as long as was asked."""
        await sim.advance(minutes=5)
        last = await fetch(url, mine=False)
        await sim.advance(seconds=1)

        assert (last[0], (await fetch(url, mine=False))[0]) == (200, 403)

    @pytest.mark.parametrize(
        ("old", "new"),
        [("Expires=300", "Expires=3000"), ("Signature=", "Signature=0"), ("X-Amz-Date", "Date"),
         (".mp3", "0.mp3")],
    )  # fmt: skip
    async def test_forged(self, url, fetch, old, new):
        """Nobody can prolong it, or use it for another."""
        assert (await fetch(url.replace(old, new), mine=False))[0] == 403

    async def test_bulk(self, sim, ask, fetch):
        """Bulk records have such URLs as well."""
        sim.add_call(recorded=True)
        sim.add_call(recorded=False)

        said = await ask.get("/Calls.json", RecordingUrlValidity="60", SortBy="DateCreated:asc")

        urls = [call["PreSignedRecordingUrl"] for call in said.json["Calls"]]
        assert urls.count("") == 1
        assert (await fetch(max(urls), mine=False))[0] == 200
