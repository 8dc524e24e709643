"""The shop against a simulated Exotel: how a call can go, and what can go wrong.

The fixtures that begin with exotel_ come with exotel_async: there is nothing to import or mock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from shop import Shop

from exotel_async import CallbackTokens, ExotelClient
from exotel_async.simulator import Simulator
from exotel_async.testing import MountCallbacks, payloads

PUBLIC_URL = "https://shop.example/exotel/"
AGENT, CUSTOMER, EXOPHONE = "+919812300001", "+919812300002", "08040001234"
UNKNOWN = "unknown: being looked into"


class Website:
    """What the shop's website does."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session

    async def call(self, customer: str = CUSTOMER, *, status: int = 202) -> str:
        """Press the button of order 42."""
        body = {"customer": customer}
        async with self.session.post("/orders/42/call", json=body) as answer:
            assert answer.status == status
            return str((await answer.json())["standing"])

    async def standing(self) -> str:
        """Look how it stands with order 42."""
        async with self.session.get("/orders/42") as answer:
            assert answer.status == 200
            return str((await answer.json())["standing"])


@pytest.fixture
async def website(
    exotel_client: ExotelClient, exotel_callbacks: MountCallbacks
) -> AsyncIterator[Website]:
    """Run the shop where Exotel finds it."""
    tokens = CallbackTokens(["a secret of the shop's, for tests"])
    shop = Shop(exotel_client, tokens, url=PUBLIC_URL, exophone=EXOPHONE, agent=AGENT)
    async with (
        exotel_callbacks(shop.app(), public_url=PUBLIC_URL) as url,
        ClientSession(url) as session,
    ):
        yield Website(session)


async def test_answered(website: Website, exotel_simulator: Simulator) -> None:
    """The agent answers, then the customer; they talk, and hang up."""
    exotel_simulator.script(from_=AGENT, rings=3)
    exotel_simulator.script(to=CUSTOMER, rings=5, talks=125)

    assert await website.call() == "dialling"
    await exotel_simulator.advance(seconds=6)
    assert await website.standing() == "agent answered"
    await exotel_simulator.advance(seconds=6)
    assert await website.standing() == "talking"
    await exotel_simulator.advance(minutes=3)
    assert await website.standing() == "talked 125 s"


@pytest.mark.parametrize(
    ("customer", "standing"),
    [
        ("+910000000486", "customer busy"),
        ("+910000000480", "customer did not answer"),
        ("+910000000404", "customer could not be reached"),
    ],
)
async def test_customer_not_reached(
    customer: str, standing: str, website: Website, exotel_simulator: Simulator
) -> None:
    """The agent answers, and waits for nobody."""
    await website.call(customer)
    await exotel_simulator.advance(minutes=5)

    assert await website.standing() == standing


async def test_agent_never_answers(website: Website, exotel_simulator: Simulator) -> None:
    """No customer is called for an agent who is not there."""
    exotel_simulator.script(from_=AGENT, ending="no-answer")

    await website.call()
    await exotel_simulator.advance(minutes=5)

    assert await website.standing() == "agent did not answer"


async def test_do_not_disturb(website: Website, exotel_simulator: Simulator) -> None:
    """A refusal is told at once, and the order may be called about again."""
    number = "+910000000403"

    assert await website.call(number) == "refused: do not disturb"
    exotel_simulator.whitelist(number)
    assert await website.call(number) == "dialling"


async def test_pressed_twice(website: Website, exotel_simulator: Simulator) -> None:
    """Whoever presses the button twice has one call placed."""
    await website.call()

    assert await website.call(status=409) == "dialling"
    assert len(exotel_simulator.calls) == 1


@pytest.mark.exotel(speed=1000)  # the client tries again after a while: let time pass by itself
async def test_nobody_there(website: Website, exotel_simulator: Simulator) -> None:
    """Where Exotel can't be reached nothing is dialled, and the button works again."""
    exotel_simulator.fault("connection-refused")

    assert await website.call() == "not dialled: try again"
    exotel_simulator.clear_faults()
    await website.call()

    assert len(exotel_simulator.calls) == 1


async def test_answer_lost(website: Website, exotel_simulator: Simulator) -> None:
    """Nobody knows whether phones ring, nobody dials again, and the callbacks tell."""
    exotel_simulator.fault("reset-after-read", on="connect")

    assert await website.call() == UNKNOWN
    assert await website.call(status=409) == UNKNOWN
    await exotel_simulator.advance(minutes=5)

    assert await website.standing() == "talked 30 s"
    assert len(exotel_simulator.calls) == 1


async def test_callback_before_the_answer(website: Website, exotel_simulator: Simulator) -> None:
    """A callback that overtakes connect's answer is not forgotten."""
    exotel_simulator.fault("callback-early", on="answered")

    assert await website.call() == "agent answered"


async def test_callback_before_a_lost_answer(website: Website, exotel_simulator: Simulator) -> None:
    """What a callback told is no longer unknown."""
    exotel_simulator.fault("callback-early", on="answered")
    exotel_simulator.fault("close-after-read", on="connect")

    assert await website.call() == "agent answered"


@pytest.mark.parametrize("fault", ["callback-twice", "callback-out-of-order", "callback-late"])
async def test_odd_callbacks(fault: str, website: Website, exotel_simulator: Simulator) -> None:
    """Callbacks that come twice, late or in another order end in the same."""
    exotel_simulator.fault(fault, times=None)

    await website.call()
    await exotel_simulator.advance(minutes=30)

    assert await website.standing() == "talked 30 s"
    assert all(told.status == 200 for told in exotel_simulator.callbacks)


async def test_late_answered(website: Website, exotel_simulator: Simulator) -> None:
    """An 'answered' that comes after the end does not undo it."""
    exotel_simulator.fault("callback-late", on="answered", times=None)

    await website.call()
    await exotel_simulator.advance(minutes=2)
    assert await website.standing() == "talked 30 s"
    await exotel_simulator.advance(minutes=30)

    assert [dict(told.fields)["EventType"] for told in exotel_simulator.callbacks] == [
        "terminal",
        "answered",
        "answered",
    ]
    assert await website.standing() == "talked 30 s"


async def test_forged_callback(website: Website) -> None:
    """Whoever has no token tells us nothing."""
    forged = payloads.terminal(Status="busy")
    headers = {"Content-Type": forged.content_type}

    await website.call()
    async with website.session.post("/exotel/42", data=forged.body, headers=headers) as answer:
        assert answer.status == 404
    assert await website.standing() == "dialling"
