"""An access log that gives nothing away."""

from __future__ import annotations

import doctest
import logging
import re

import aiohttp
import pytest
from clocks import NOON
from receivers import BODY, FORM, SECRET, receiving, request

from exotel_async import CallbackTokens
from exotel_async.webhooks import access_log
from exotel_async.webhooks.access_log import mask_path

TOKEN = CallbackTokens([SECRET]).mint("order-42", now=NOON)  # always the same: it names tests


@pytest.fixture
async def receiver(caplog):
    caplog.set_level(logging.DEBUG)
    async with receiving() as running:
        yield running


def lines(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "aiohttp.access"]


class TestMaskingAccessLogger:
    async def test_line(self, receiver, caplog):
        """A line says who, what, status, bytes and seconds, and neither token nor query."""
        url = receiver.base + receiver.path() + "?From=%2B919876543210&sig=secret"
        async with aiohttp.ClientSession() as session:
            await session.post(url, data=BODY, headers={"Content-Type": FORM})

        [line] = lines(caplog)
        assert re.fullmatch(r'127\.0\.0\.1 "POST /exotel/\{token\}" 200 \d+ \d+\.\d{3}', line)

    async def test_wrong_tokens_too(self, receiver, caplog):
        """Tokens that were refused are masked like good ones: they may be good elsewhere."""
        await receiver.talk(request(f"/exotel/{TOKEN}x", "Content-Length: 0"))

        [line] = lines(caplog)
        assert '"POST /exotel/{token}" 404' in line

    async def test_encoded_tokens(self, receiver, caplog):
        """A token whose characters were percent-encoded on the way is masked as well."""
        encoded = "".join(f"%{ord(character):02X}" for character in TOKEN)

        await receiver.talk(request(f"/exotel/{encoded}", method="GET"))
        await receiver.talk(request(f"/other/{TOKEN.replace('.', '%2e')}", method="GET"))

        assert [line.split()[2] for line in lines(caplog)] == [
            '/exotel/{token}"',
            '/other/{token}"',
        ]

    async def test_line_breaks(self, receiver, caplog):
        """A path with line breaks does not write lines of its own."""
        await receiver.talk(request("/exotel/%0Aforged%20%22%0D", method="GET"))

        [line] = lines(caplog)
        assert '"GET /exotel/%0Aforged%20%22%0D" 200' in line

    async def test_other_requests(self, receiver, caplog):
        """Requests that are not ours are logged as well."""
        await receiver.talk(request("/other/path?x=y", method="GET"))

        [line] = lines(caplog)
        assert '"GET /other/path" 404' in line


class TestMaskPath:
    @pytest.mark.parametrize(
        ("path", "masked"),
        [
            ("/", "/"),
            ("", ""),
            ("/exotel/", "/exotel/"),
            (f"/exotel/{TOKEN}", "/exotel/{token}"),
            (f"/exotel/{TOKEN}/", "/exotel/{token}/"),
            (f"/{TOKEN}/x/{TOKEN}", "/{token}/x/{token}"),
            (f"/exotel/{TOKEN[:-10]}", "/exotel/{token}"),
            (f"/exotel/=={TOKEN}==", "/exotel/{token}"),
            ("/v1.2/x", "/v1.2/x"),
            ("/calls/+919876543210/x", "/calls/***3210/x"),
            ("/calls/%2B919876543210", "/calls/%2B***3210"),
            ("/calls/09876543210", "/calls/***3210"),
            ("/calls/492205107c5fb48f4ac25d1f77759339", "/calls/492205107c5fb48f4ac25d1f77759339"),
        ],
    )
    def test_table(self, path, masked):
        """Tokens and numbers are hidden, all else is shown."""
        assert mask_path(path) == masked

    @pytest.mark.parametrize("unit", ["a", "1", ".1", "1 ", "a."])
    def test_work_grows_with_the_path(self, unit):
        """A path of a megabyte is masked; a pattern that goes back over it would take hours."""
        assert mask_path("/" + unit * (1_000_000 // len(unit))).startswith("/")

    def test_doctests(self):
        """What the docstrings show is so."""
        assert doctest.testmod(access_log).failed == 0
