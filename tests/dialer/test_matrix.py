"""Every fault that strikes a connect, times how its callbacks come: one dial, the right end."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from dialling import World, on_disk, world

from exotel_async import Dial, DialState, OutcomeSource, OutcomeState
from exotel_async.simulator import FAULTS

PLACED, UNKNOWN = DialState.PLACED, DialState.UNKNOWN


@attrs.frozen
class Expected:
    """What a fault that strikes once leads to."""

    state: str
    rings: bool = True


EXPECTED: dict[str, Expected] = {
    "none": Expected(PLACED),
    "connection-refused": Expected(DialState.NOT_SENT, rings=False),
    "reset-on-connect": Expected(UNKNOWN, rings=False),
    "close-after-read": Expected(UNKNOWN),
    "reset-after-read": Expected(UNKNOWN),
    "hang": Expected(UNKNOWN),
    "half-a-head": Expected(UNKNOWN),
    "no-http": Expected(UNKNOWN),
    "latency": Expected(PLACED),
    "slow-body": Expected(PLACED),
    "hang-in-body": Expected(UNKNOWN),
    "redirect": Expected(UNKNOWN, rings=False),
    "408-empty": Expected(UNKNOWN, rings=False),
    "429": Expected(PLACED),
    "429-retry-after": Expected(PLACED),
    "500-json": Expected(UNKNOWN),
    "500-html": Expected(UNKNOWN),
    "500-empty": Expected(UNKNOWN),
    "502-html": Expected(UNKNOWN, rings=False),
    "503-json": Expected(UNKNOWN, rings=False),
    "503-retry-after": Expected(UNKNOWN, rings=False),
    "504-empty": Expected(UNKNOWN),
    "truncated-200": Expected(UNKNOWN),
    "cut-off-200": Expected(UNKNOWN),
    "empty-200": Expected(UNKNOWN),
    "senseless-200": Expected(UNKNOWN),
    "no-sid-200": Expected(UNKNOWN),
    "exception-200": Expected(UNKNOWN),
    "xml-for-json": Expected(PLACED),
}
CALLBACKS = ("in time", "early", "late", "twice", "out-of-order", "lost")
HANGING = ("hang", "hang-in-body")


def lay_down(made: World, fault: str, callbacks: str) -> None:
    """Have the connect fail, and its callbacks come as said."""
    if callbacks != "in time":
        on = "terminal" if callbacks == "early" else None
        made.sim.fault(f"callback-{callbacks}", on=on, times=None)
    if fault == "connection-refused":
        made.sim.fault(fault)
    elif fault != "none":
        on = "connect" if fault != "reset-on-connect" else None
        made.sim.fault(fault, on=on, seconds=0.05 if fault in ("latency", "slow-body") else None)


async def dialled(made: World, fault: str, callbacks: str) -> Dial:
    """Dial under a fault, which is gone afterwards."""
    lay_down(made, fault, callbacks)
    # What hangs does so in real time: no call must be over meanwhile.
    dial = await made.connect(time_limit=60, step=1e-4 if fault in HANGING else 0.5)
    for one in made.sim.faults:
        if not one.name.startswith("callback-"):
            made.sim.clear_faults()
    return dial


async def assert_right(made: World, fault: str, callbacks: str, dial: Dial) -> None:
    """Hold what was learnt against what the simulator knows."""
    outcome = await made.outcome(dial)
    await made.until(lambda: made.told)
    await made.pass_time(hours=1, step=300)  # what is late still comes
    calls = list(made.sim.calls.values())
    again = await made.connect(time_limit=60)

    assert len(made.dangerous) <= 1
    assert len(calls) == EXPECTED[fault].rings
    assert again.ref == dial.ref
    if dial.state == DialState.NOT_SENT:
        assert outcome.state == OutcomeState.NOT_PLACED
    elif calls:
        assert (outcome.state, outcome.call_sid) == (OutcomeState.ENDED, calls[0].sid)
        assert outcome.status == calls[0].status == "completed"
        assert outcome.confirmed
        assert [leg.on_call_duration for leg in outcome.legs] == [35, 30]
        assert outcome.conversation_duration == 30
    else:
        assert (outcome.state, outcome.call_sid) == (OutcomeState.UNRESOLVED, None)
    if callbacks in ("lost", "late") and outcome.state == OutcomeState.ENDED:
        known = EXPECTED[fault].state == PLACED
        assert outcome.source == (OutcomeSource.POLL if known else OutcomeSource.MATCH)
    assert [told.revision for told in made.told] == [outcome.revision] == [1]
    assert (await made.journal.stats())["dials_open"] == 0


def test_all_faults():
    """No fault of a connection or an answer is left out."""
    assert {*EXPECTED} == {
        "none",
        *(f for f in FAULTS if not f.startswith(("callback-", "recording-"))),
    }


def test_all_callbacks():
    """No way in which a callback may come, or not, is left out; its spelling is another matter."""
    others = {f"callback-{way}" for way in ("as", "odd")}
    ways = {f for f in FAULTS if f.startswith("callback-") and f.rsplit("-", 1)[0] not in others}

    assert {f"callback-{way}" for way in CALLBACKS[1:]} == ways


@pytest.mark.parametrize("callbacks", CALLBACKS)
@pytest.mark.parametrize("fault", EXPECTED)
async def test_in_memory(fault: str, callbacks: str):
    """Whatever becomes of the answer and the callbacks, nobody is dialled twice."""
    async with world(timeout=0.3 if fault in HANGING else 10.0) as made:
        dial = await dialled(made, fault, callbacks)

        early = callbacks == "early" and EXPECTED[fault].rings
        assert dial.state == (PLACED if early else EXPECTED[fault].state)
        await assert_right(made, fault, callbacks, dial)


@pytest.mark.parametrize(
    ("fault", "callbacks"),
    [("none", "in time"), ("429", "early"), ("reset-after-read", "lost"), ("hang", "late"),
     ("500-json", "twice"), ("connection-refused", "lost"), ("no-sid-200", "out-of-order")],
)  # fmt: skip
async def test_on_disk(fault: str, callbacks: str, tmp_path: Path):
    """The same with a file."""
    timeout = 0.3 if fault in HANGING else 10.0
    async with world(on_disk(tmp_path), timeout=timeout) as made:
        dial = await dialled(made, fault, callbacks)

        await assert_right(made, fault, callbacks, dial)
