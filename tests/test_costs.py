"""Hot paths cost what they did: counted in instructions, as multiples of a record read by hand.

Time would tell more, and something else on every machine. The limits leave a quarter for other
releases of Python and of what we build on; half again as much is noticed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from costs import instructions
from handwritten import call_of
from samples import form_sample, multipart, sample

from exotel_async import IST, ExotelClient, decode_callback
from exotel_async.client.transport import Transport
from exotel_async.wire.answer import Answer
from exotel_async.wire.bulk import read_page
from exotel_async.wire.converter import converter_for

SUPPORT = Path(__file__).parent / "support"
PAGE = json.loads(sample("bulk_details.json"))
RECORDS = [call for call in PAGE["Calls"] if call.get("Details")]


def by_hand() -> None:
    for raw in RECORDS:
        call_of(raw, IST)


def warm(act: Callable[[], object]) -> int:
    """Count what a piece costs once all that is made on first use is there."""
    act()
    return instructions(act)


@pytest.fixture(scope="module")
def unit() -> float:
    """What a record costs by hand."""
    return warm(by_hand) / len(RECORDS)


class TestCosts:
    def test_same_values(self):
        """What is compared does the same."""
        ours = read_page(converter_for(IST), {**PAGE, "Calls": RECORDS}).calls

        assert ours == tuple(call_of(raw, IST) for raw in RECORDS)

    def test_record(self, unit):
        """A record with details costs little more than by hand, though nothing is ever lost."""
        tree = {**PAGE, "Calls": RECORDS * 50}

        cost = warm(lambda: read_page(converter_for(IST), tree)) / len(tree["Calls"])

        assert cost / unit < 1.7

    @pytest.mark.parametrize(("encoding", "most"), [("multipart", 3.9), ("json", 5.0)])
    def test_callback(self, unit, encoding, most):
        """A callback costs a few records."""
        pairs = form_sample("statuscallback_terminal.form.txt")
        body, kind = multipart(pairs)
        if encoding == "json":
            body, kind = sample("statuscallback_terminal.json"), "application/json"

        cost = warm(lambda: decode_callback(body, content_type=kind))

        assert cost / unit < most

    async def test_request(self, unit, monkeypatch):
        """A request and its answer cost a few records, but for what aiohttp takes."""
        answer = Answer(status=200, body=sample("call_details.json"))

        async def exchange(*_: object) -> Answer:
            return answer

        monkeypatch.setattr(Transport, "exchange", exchange)
        async with ExotelClient(account_sid="a", api_key="k", api_token="t") as exotel:
            cost = warm(lambda: driven(exotel.calls.get("b")))

        assert cost / unit < 3.2

    def test_import(self):
        """An import costs little more than those of aiohttp, attrs and cattrs."""
        theirs = imported("import aiohttp, attrs, cattrs")
        ours = imported("from exotel_async import ExotelClient")

        assert ours / theirs < 1.65


def driven(coroutine) -> None:
    """Run what never has to wait."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


def imported(code: str) -> int:
    """Count what an import costs in a process of its own."""
    program = (
        f"import sys; sys.path.insert(0, {str(SUPPORT)!r})\n"
        "from costs import instructions\n"
        f"print(instructions(lambda: exec({code!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return int(done.stdout)
