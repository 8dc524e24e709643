"""Records in files: whole or not there, the same whatever interrupted it."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import stat
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import attrs
import pyarrow.parquet as pq
import pytest
from campaign import examples
from cli_processes import environ_for, process
from hypothesis import given
from hypothesis import strategies as st

from exotel_async import IST, Call, CallDetails, Leg
from exotel_async.cli import export as exporting
from exotel_async.cli.export_columns import ALL, Spelling, choose
from exotel_async.cli.export_files import Part, Target

FORMATS = ("csv", "jsonl", "parquet")


@pytest.fixture
def calls(sim):
    """A thousand calls, newest first."""
    now = sim.clock.now()
    return [
        sim.add_call(
            sid=f"s{n:04}",
            date_created=now - timedelta(minutes=n + 1),
            status="busy" if n % 3 else "completed",
            recorded=n < 10,
            price=Decimal("0.40"),
        )
        for n in range(1000)
    ]


def rows_of(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return pq.read_table(path).to_pylist()


class TestFormats:
    @pytest.mark.parametrize("ending", FORMATS)
    async def test_all_there(self, cli, calls, tmp_path, ending):
        """All records stand in it, in order, each once; only its owner may read it."""
        path = tmp_path / f"calls.{ending}"

        ran = await cli("calls", "export", "--from", "2d", "--out", str(path))

        assert (ran.status, ran.out) == (0, f"1000 records in {path}.\n")
        assert [row["sid"] for row in rows_of(path)] == calls
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [one.name for one in tmp_path.iterdir()] == [path.name]

    async def test_values(self, cli, sim, tmp_path):
        """Times stand in the account's zone, prices as decimals, numbers as they are."""
        created = datetime(2026, 11, 2, 9, 0, tzinfo=IST)
        sim.add_call(
            sid="a", price=Decimal("0.40"), duration=47, talked=33, date_created=created,
            from_="+919812300001",
        )  # fmt: skip
        wanted = "sid,date_created,duration,price,end_time,from,answered_by,conversation_duration"
        found = {}

        for ending in FORMATS:
            path = tmp_path / f"calls.{ending}"
            await cli("calls", "export", "--columns", wanted, "--details",
                      "--time-zone", "Europe/Berlin", "--out", str(path))  # fmt: skip
            (found[ending],) = rows_of(path)

        assert list(found["csv"]) == wanted.split(",")
        assert found["csv"]["date_created"] == "2026-11-02T09:00:00+01:00"
        assert found["jsonl"]["duration"] == 47
        assert Decimal(found["jsonl"]["price"]) == Decimal("0.40")
        assert found["jsonl"]["from"] == "+919812300001"
        assert found["parquet"]["date_created"] == created.replace(tzinfo=ZoneInfo("Europe/Berlin"))
        assert str(found["parquet"]["date_created"].tzinfo) == "Europe/Berlin"
        assert found["parquet"]["price"] == Decimal("0.40")
        assert found["parquet"]["conversation_duration"] == 33

    async def test_filters(self, cli, calls, tmp_path):
        """Filters and masks are those that were asked for."""
        path = tmp_path / "calls.jsonl"

        await cli("calls", "export", "--status", "completed", "--ascending", "--mask-numbers",
                  "--out", str(path))  # fmt: skip

        rows = rows_of(path)
        assert [row["sid"] for row in rows] == calls[::-3]
        assert "98123" not in path.read_text()

    async def test_json(self, cli, calls, tmp_path):
        """--json tells what was done, for programs."""
        path = tmp_path / "calls.csv"

        ran = await cli("--json", "calls", "export", "--from", "1h", "--out", str(path))

        (told,) = ran.objects
        assert (told["file"], told["records"]) == (str(path), 60)

    odd = st.text(max_size=8) | st.sampled_from(
        ["a\x85b\u2028c\u2029d", "=1+1", "-2+3", "@x", "\tx", "\r\n", '"', "+91 98", "None"]
    )

    @given(st.lists(st.builds(
        Call, sid=st.text(min_size=1, max_size=4), custom_field=st.none() | odd, caller_name=odd,
        duration=st.none() | st.integers(0, 10**9),
        price=st.none() | st.decimals(0, 10**9, places=4),
        date_created=st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
            lambda at: at.replace(microsecond=0, tzinfo=IST)
        ),
        details=st.none() | st.builds(
            CallDetails, conversation_duration=st.integers(0, 99),
            legs=st.lists(st.builds(Leg, status=odd), max_size=3).map(tuple),
        ),
    ), max_size=6))  # fmt: skip
    @examples(60)
    def test_reads_back(self, tmp_path_factory, calls):
        """Whatever stands in a record comes back out of each format."""
        columns = choose(None, details=True)
        folder = tmp_path_factory.mktemp("odd")
        spelling = Spelling(zone=IST, defuses=False)
        rows = [[spelling.cell(column.read(call)) for column in columns] for call in calls]
        expected = [{column.name: column.read(call) for column in columns} for call in calls]

        found = {}
        for ending in FORMATS:
            target = Target(
                path=folder / f"x.{ending}", format=ending, columns=columns, spelling=spelling
            )
            part = Part.begin(target, words={})
            part.append(rows)
            part.finish()
            found[ending] = rows_of(target.path)

        assert found["parquet"] == expected
        assert found["jsonl"] == [
            {name: spelling.cell(value) for name, value in row.items()} for row in expected
        ]
        assert found["csv"] == [
            {
                name: "" if value is None else str(spelling.cell(value))
                for name, value in row.items()
            }
            for row in expected
        ]


class TestFormulas:
    @pytest.mark.parametrize("text", ["=1+1", "+1+1|x", "-2+3+cmd|", "@sum(a)", "\t=1", "\r=1"])
    def test_defused(self, text):
        """What a spreadsheet would run begins with an apostrophe."""
        assert Spelling(zone=IST).csv([text]) == [f"'{text}"]

    @pytest.mark.parametrize("text", ["+919812300001", "-5", "abc", "1=1", "", "+91 98123 00001"])
    def test_harmless(self, text):
        """Numbers of phones, amounts and all else stay as they are."""
        assert Spelling(zone=IST).csv([text]) == [text]

    def test_raw(self):
        """--raw leaves all as it is."""
        assert Spelling(zone=IST, defuses=False).csv(["=1"]) == ["=1"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            (("--out", "x.txt"), "must end in .csv, .jsonl or .parquet"),
            (("--out", "x.csv", "--columns", "sid,nope"), "'nope' is none of them; there are sid"),
            (("--out", "x.csv", "--columns", "conversation_duration"), "need --details"),
            (("--out", "no/such/x.csv"), "is no directory"),
            (("--out", "x.csv", "--from", "tomorrowish"), "is no range of time"),
        ],
    )
    async def test_words(self, cli, sim, tmp_path, monkeypatch, argv, told):
        """What can't be done is refused before anything is asked, and says what can."""
        monkeypatch.chdir(tmp_path)

        ran = await cli("calls", "export", *argv)

        assert ran.status == 2
        assert told in ran.err
        assert sim.requests == []
        assert list(tmp_path.iterdir()) == []

    async def test_there_already(self, cli, calls, tmp_path):
        """A file that is there stays, unless --force is given."""
        path = tmp_path / "calls.csv"
        path.write_text("mine")

        refused = await cli("calls", "export", "--out", str(path))
        kept = path.read_text()
        forced = await cli("calls", "export", "--out", str(path), "--force")

        assert (refused.status, kept, forced.status) == (2, "mine", 0)
        assert "--force replaces it" in refused.err
        assert len(rows_of(path)) == 1000


class TestResume:
    @pytest.mark.parametrize("ending", FORMATS)
    async def test_after_an_error(self, cli, sim, calls, tmp_path, ending):
        """What was read before an error is not read again; the file is as if there were none."""
        path = tmp_path / f"calls.{ending}"
        words = ("calls", "export", "--from", "2d", "--concurrency", "1", "--out", str(path))
        await cli(*words[:-1], str(tmp_path / f"whole.{ending}"))
        whole = rows_of(tmp_path / f"whole.{ending}")
        sim.fault("503-json", on="bulk", times=None, probability=0.75)

        runs = [await cli(*words, "--resume")]
        while runs[-1].status != 0 and len(runs) < 100:
            assert "--resume goes on" in runs[-1].err
            assert not path.exists()
            runs.append(await cli(*words, "--resume"))

        assert len(runs) > 1
        assert runs[-1].out == f"1000 records in {path}.\n"
        assert rows_of(path) == whole

    async def test_other_words(self, cli, sim, calls, tmp_path):
        """It goes on only with what it was begun with."""
        path = tmp_path / "calls.csv"
        words = ("calls", "export", "--from", "2d", "--out", str(path))
        sim.fault("503-json", on="bulk", times=None)
        await cli(*words)
        sim.clear_faults()

        again = await cli(*words)
        other = await cli(*words, "--resume", "--status", "busy")
        anew = await cli(*words, "--force")

        assert "an export that did not end: --resume goes on" in again.err
        assert "--status was not given when this export was begun" in other.err
        assert anew.status == 0
        assert [one.name for one in tmp_path.iterdir()] == ["calls.csv"]

    async def test_damaged(self, cli, sim, tmp_path):
        """What somebody changed meanwhile is not gone on with."""
        path = tmp_path / "calls.csv"
        words = ("calls", "export", "--out", str(path))
        sim.fault("503-json", on="bulk", times=None)
        await cli(*words)
        part, notes = (tmp_path / f"calls.csv.{end}" for end in ("part", "part.json"))

        part.write_text("")
        shorter = await cli(*words, "--resume")
        notes.unlink()
        alone = await cli(*words, "--resume")

        assert "is shorter than it was: begin anew (--force)" in shorter.err
        assert "nobody can go on without 'calls.csv.part' and 'calls.csv.part.json'" in alone.err
        assert (shorter.status, alone.status) == (2, 2)

    async def test_killed(self, sim_today, tmp_path):
        """Whenever its process is killed, nothing is lost and nothing stands there twice."""
        now, chance = sim_today.clock.now(), Random(7)
        expected = [
            sim_today.add_call(sid=f"s{n:04}", date_created=now - timedelta(minutes=n + 1))
            for n in range(1500)
        ]
        sim_today.fault("latency", on="bulk", times=None, seconds=0.15)
        path = tmp_path / "calls.csv"
        words = ["calls", "export", "--from", f"{now - timedelta(days=3):%Y-%m-%d}",
                 "--concurrency", "1", "--out", str(path)]  # fmt: skip
        kills, status = 0, None

        while status != 0 and not path.exists():
            async with process(*words, "--resume", environ=environ_for(sim_today)) as running:
                try:
                    async with asyncio.timeout(chance.uniform(1.2, 2.6) if kills < 5 else 60):
                        _, said = await running.communicate()
                    status = running.returncode
                    assert status == 0, said
                except TimeoutError:
                    running.kill()
                    await running.wait()
                    kills += 1

        assert kills > 0
        assert [row["sid"] for row in rows_of(path)] == expected

    async def test_interrupted(self, sim_today, tmp_path):
        """Ctrl-C says how to go on."""
        now = sim_today.clock.now()
        for n in range(900):
            sim_today.add_call(sid=f"s{n:04}", date_created=now - timedelta(minutes=n + 1))
        sim_today.fault("latency", on="bulk", times=None, seconds=1.0)
        path = tmp_path / "calls.csv"
        words = ("calls", "export", "--concurrency", "1", "--out", str(path))

        async with process(*words, environ=environ_for(sim_today)) as running:
            while sum(request.status == 200 for request in sim_today.requests) < 2:
                await asyncio.sleep(0.01)
            running.send_signal(signal.SIGINT)
            _, said = await running.communicate()

        assert running.returncode == 130
        assert b"--resume goes on" in said
        assert not path.exists()


class TestRecordings:
    SAVED = ("s0000.mp3", "s0003.mp3", "s0006.mp3", "s0009.mp3")

    async def test_saved(self, cli, sim, calls, tmp_path):
        """Recordings lie beside, each under its Sid; a second export fetches none again."""
        folder = tmp_path / "sounds"
        words = ("calls", "export", "--from", "3h", "--recordings", str(folder))

        first = await cli(*words, "--out", str(tmp_path / "one.csv"))
        fetched = sum("recordings" in request.path for request in sim.requests)
        await cli(*words, "--out", str(tmp_path / "two.csv"))

        assert first.status == 0
        assert sorted(path.name for path in folder.iterdir()) == sorted(self.SAVED)
        assert fetched == 4
        assert sum("recordings" in request.path for request in sim.requests) == 4

    async def test_failed(self, cli, sim, calls, tmp_path):
        """What can't be saved is named in the end, and the file is whole nevertheless."""
        sim.fault("recording-gone", on="recording", times=1)
        path = tmp_path / "calls.csv"

        ran = await cli("calls", "export", "--from", "3h", "--recordings", str(tmp_path / "sounds"),
                        "--out", str(path))  # fmt: skip

        assert ran.status == 1
        assert "1 recordings could not be saved." in ran.err
        assert len(rows_of(path)) == 180

    async def test_odd_sid(self, cli, sim, tmp_path):
        """A Sid that would lead elsewhere names no file, and is told of."""
        recordings = exporting._Recordings(object(), tmp_path / "sounds")

        await recordings.save([
            Call(sid=sid, recording_url="https://recordings.exotel.com/a.mp3")
            for sid in ("../a", "a/b", "..", "a\0b", "\x1b[2J")
        ])  # fmt: skip

        assert len(recordings.failed) == 5
        assert all("no Sid that a file can be named after" in text for text in recordings.failed)
        assert "\x1b" not in "".join(recordings.failed)

    async def test_cancelled_amid(self, cli, sim, calls, tmp_path):
        """Who is cancelled while a recording comes finds its record in the file all the same."""
        sim.fault("latency", on="recording", times=None, seconds=3600)
        path = tmp_path / "calls.csv"
        words = ("calls", "export", "--from", "2d", "--recordings", str(tmp_path / "sounds"),
                 "--out", str(path))  # fmt: skip

        running = asyncio.create_task(cli(*words))
        while not any("recordings" in request.path for request in sim.requests):
            assert not running.done()
            await asyncio.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        sim.clear_faults()
        again = await cli(*words, "--resume")

        assert again.out == f"1000 records in {path}.\n"
        assert [row["sid"] for row in rows_of(path)] == calls


class TestWriting:
    COLUMNS = choose("sid,price", details=False)

    def target(self, tmp_path, ending):
        return Target(
            path=tmp_path / f"x.{ending}", format=ending, columns=self.COLUMNS,
            spelling=Spelling(zone=IST),
        )  # fmt: skip

    def test_at_once(self, tmp_path):
        """Two can't write the same file."""
        target = self.target(tmp_path, "csv")
        part = Part.begin(target, words={})
        part.save("here")

        for begin in (Part.begin, Part.resume):
            with pytest.raises(ValueError, match="another process is writing"):
                begin(attrs.evolve(target, force=True), words={})
        part.finish()

        assert target.path.read_text() == "sid,price\n"

    def test_too_large_for_parquet(self, tmp_path):
        """What Parquet can't hold is not rounded; all that was read stays."""
        target = self.target(tmp_path, "parquet")
        part = Part.begin(target, words={})
        part.append([["a", "1" * 60]])

        with pytest.raises(ValueError, match="is whole, as JSON Lines"):
            part.finish()

        assert [one.name for one in tmp_path.iterdir()] == ["x.parquet.part"]
        assert json.loads(target.part.read_text())["price"] == "1" * 60


class TestColumns:
    def test_every_field(self):
        """Whatever a call has can be exported, but for what nobody knows."""
        fields = {field.rstrip("_") for field in Call.__annotations__}

        assert fields - set(ALL) == {"pre_signed_recording_url", "details", "extra"}

    def test_twice(self):
        """No column comes twice."""
        with pytest.raises(ValueError, match="a column twice"):
            choose("sid,sid", details=False)


def test_saves_often():
    """Not much is lost by a kill."""
    assert exporting._SAVED_EVERY <= 1.0
