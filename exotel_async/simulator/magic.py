"""Says which telephone numbers behave in a known way, as test cards do in payment.

They end in the code that telephones (SIP) or HTTP use for it, after `+91 00000 00`, where
no Indian subscriber can be. Every other number answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import MappingProxyType

import attrs

from .calls import Script


@attrs.frozen(kw_only=True)
class Refusal:
    """What connect is answered with when it names a number; no phone rings."""

    status: int
    message: str  # {number} stands for the number
    lifted_by_whitelist: bool = False


@attrs.frozen
class MagicNumber:
    """A number, and what it does when a connect names it as From or To."""

    number: str
    does: str
    script: Script | None = None
    refusal: Refusal | None = None
    fault: str | None = None

    @property
    def key(self) -> str:
        """Give what all spellings of the number share."""
        return self.number.removeprefix("+91")


DND = Refusal(
    status=403,
    message="Calls to ({number}) are blocked by TRAI NDNC rules",
    lifted_by_whitelist=True,
)
KYC = Refusal(status=403, message="Account is not yet KYC compliant")
_INVALID = Refusal(status=400, message="Invalid number {number}: it can not be dialled")
_BROKE = Refusal(status=402, message="Insufficient balance to make this call")

MAGIC_NUMBERS = (
    MagicNumber("+910000000200", "answers after 4 s, hangs up after 30 s", Script()),
    MagicNumber("+910000000180", "answers after a long ring of 28 s", Script(rings=28)),
    MagicNumber("+910000000183", "answers, and the call never ends but by TimeLimit",
                Script(talks=inf)),
    MagicNumber("+910000000404", "cannot be reached: failed", Script(ending="failed")),
    MagicNumber("+910000000408", "an agent who never answers, when given as From",
                Script(ending="no-answer")),
    MagicNumber("+910000000480", "does not answer", Script(ending="no-answer")),
    MagicNumber("+910000000486", "is busy", Script(ending="busy")),
    MagicNumber("+910000000487", "as From, hangs up while To rings: To's leg is canceled",
                Script(waits=2)),
    MagicNumber("+910000000603", "answers and hangs up at once", Script(talks=1)),
    MagicNumber("+910000000400", "connect is refused: 400, not a number to dial",
                refusal=_INVALID),
    MagicNumber("+910000000401", "connect is refused: 403, KYC", refusal=KYC),
    MagicNumber("+910000000402", "connect is refused: 402, no balance", refusal=_BROKE),
    MagicNumber("+910000000403", "connect is refused: 403, DND (unless whitelisted)",
                refusal=DND),
    MagicNumber("+910000000429", "connect is answered 429 with Retry-After; no phone rings",
                fault="429-retry-after"),
    MagicNumber("+910000000500", "connect is answered 500, and the phones ring all the same",
                fault="500-json"),
    MagicNumber("+910000000503", "connect is answered 503; no phone rings", fault="503-json"),
    MagicNumber("+910000000504", "connect gets no answer, and the phones ring",
                fault="hang"),
)  # fmt: skip

BY_KEY: Mapping[str, MagicNumber] = MappingProxyType({one.key: one for one in MAGIC_NUMBERS})
