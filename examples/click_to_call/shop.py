"""Click-to-call for a shop: an agent's phone rings, then the customer's, and both talk.

POST /orders/{order}/call   {"customer": "+91..."} has them called
GET  /orders/{order}        tells how that stands

Beside Exotel's own variables the environment holds CALLBACK_SECRET, PUBLIC_URL (of /exotel/,
as the outside world finds it), EXOPHONE and AGENT: python shop.py
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from aiohttp import web

from exotel_async import (
    ApiError,
    CallAnswered,
    CallbackTokens,
    CallTerminated,
    DndBlockedError,
    ExotelClient,
    InvalidRequestError,
    NotSentError,
    OutcomeUnknownError,
)
from exotel_async.webhooks import MaskingAccessLogger, StatusCallbacks

STEPS = ("dialling", "agent answered", "talking")
WORDS = {"busy": "busy", "no-answer": "did not answer", "canceled": "hung up"}


@dataclass
class Dial:
    """One try to bring an agent and a customer together."""

    step: int = 0
    standing: str = STEPS[0]
    over: bool = False

    def reach(self, step: int) -> None:
        """Go on, never back: callbacks come twice and overtake each other."""
        if step > self.step and not self.over:
            self.step, self.standing = step, STEPS[step]

    def end(self, standing: str) -> None:
        """Stop at what became of it first."""
        if not self.over:
            self.over, self.standing = True, standing


class Shop:
    """Calls about orders, and what Exotel tells of them."""

    def __init__(
        self, exotel: ExotelClient, tokens: CallbackTokens, *, url: str, exophone: str, agent: str
    ) -> None:
        self.exotel = exotel
        self.url, self.exophone, self.agent = url, exophone, agent
        self.dials: dict[str, list[Dial]] = {}  # of each order, oldest first
        self.callbacks = StatusCallbacks(tokens=tokens)
        self.callbacks.on(CallAnswered)(self.answered)
        self.callbacks.on(CallTerminated)(self.ended)

    def app(self) -> web.Application:
        """Make the application."""
        app = web.Application()
        app.router.add_post("/orders/{order:[\\w-]+}/call", self.call)
        app.router.add_get("/orders/{order:[\\w-]+}", self.show)
        app.add_subapp("/exotel/", self.callbacks.app)
        app.cleanup_ctx.extend([self.exotel.lifespan, self.callbacks.lifespan])
        return app

    async def call(self, request: web.Request) -> web.Response:
        """Have an agent and a customer called, unless they are already."""
        order, customer = request.match_info["order"], (await request.json())["customer"]
        dials = self.dials.setdefault(order, [])
        if dials and not dials[-1].over:
            return web.json_response({"standing": dials[-1].standing}, status=409)
        dials.append(Dial())
        # The dial is known before it is placed: a callback may be faster than the answer.
        await self.connect(dials[-1], customer, ref=f"{order}:{len(dials) - 1}")
        return web.json_response({"standing": dials[-1].standing}, status=202)

    async def connect(self, dial: Dial, customer: str, *, ref: str) -> None:
        """Place a call, and note what is known of it then."""
        try:
            await self.exotel.calls.connect(
                from_=self.agent,
                to=customer,
                caller_id=self.exophone,
                status_callback=self.callbacks.url(self.url, ref=ref),
                status_callback_events=("answered", "terminal"),
            )
        except DndBlockedError:
            dial.end("refused: do not disturb")
        except (ApiError, InvalidRequestError) as refused:
            dial.end(f"refused: {refused}")
        except NotSentError:
            dial.end("not dialled: try again")
        except OutcomeUnknownError:  # phones may ring: the callback will tell
            if dial.step == 0 and not dial.over:
                dial.standing = "unknown: being looked into"

    async def show(self, request: web.Request) -> web.Response:
        """Tell how the last call about an order stands."""
        dials = self.dials.get(request.match_info["order"])
        if not dials:
            raise web.HTTPNotFound
        return web.json_response({"standing": dials[-1].standing})

    async def answered(self, event: CallAnswered) -> None:
        """Note that the agent, or the customer too, is on the line."""
        self.dial_of(event).reach(2 if event.answered_leg else 1)

    async def ended(self, event: CallTerminated) -> None:
        """Note how a call ended."""
        if event.status == "completed":
            self.dial_of(event).end(f"talked {event.conversation_duration} s")
            return
        agent_came = event.legs and event.legs[0].status == "completed"
        what = WORDS.get(event.status or "", "could not be reached")
        self.dial_of(event).end(f"{'customer' if agent_came else 'agent'} {what}")

    def dial_of(self, event: CallAnswered | CallTerminated) -> Dial:
        """Find the dial that a callback is about, by the ref that its URL vouches for."""
        order, _, index = (event.ref or "").rpartition(":")
        return self.dials[order][int(index)]


def main() -> None:
    """Run the shop."""
    shop = Shop(
        ExotelClient.from_environ(),
        CallbackTokens([os.environ["CALLBACK_SECRET"]]),
        url=os.environ["PUBLIC_URL"],
        exophone=os.environ["EXOPHONE"],
        agent=os.environ["AGENT"],
    )
    web.run_app(shop.app(), host="127.0.0.1", access_log_class=MaskingAccessLogger)


if __name__ == "__main__":
    main()
