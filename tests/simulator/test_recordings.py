"""Recordings: who may hear them, from when on, and what there is to hear."""

from __future__ import annotations

from base64 import b64encode

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

        assert (last[0], (await fetch(url, mine=False))[0]) == (200, 401)

    @pytest.mark.parametrize(
        ("old", "new"),
        [("Expires=300", "Expires=3000"), ("Signature=", "Signature=0"), ("X-Amz-Date", "Date"),
         (".mp3", "0.mp3")],
    )  # fmt: skip
    async def test_forged(self, url, fetch, old, new):
        """Nobody can prolong it, or use it for another."""
        assert (await fetch(url.replace(old, new), mine=False))[0] == 401

    async def test_bulk(self, sim, ask, fetch):
        """Bulk records have such URLs as well."""
        sim.add_call(recorded=True)
        sim.add_call(recorded=False)

        said = await ask.get("/Calls.json", RecordingUrlValidity="60", SortBy="DateCreated:asc")

        urls = [call["PreSignedRecordingUrl"] for call in said.json["Calls"]]
        assert urls.count("") == 1
        assert (await fetch(max(urls), mine=False))[0] == 200
