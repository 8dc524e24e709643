"""One unknown dial, one record that is its call, and the spellings in which numbers come."""

from __future__ import annotations

from datetime import UTC, datetime

from exotel_async import Call, DialState
from exotel_async.dialer.horizon import longest
from exotel_async.journal.records import DialRecord

SENT = 1_800_000_000.0
SKEW = 60.0
TIMEOUT = 10.0
LAST = int(SENT) + 5 + 10 + 300  # the last second of the window
ARGUMENTS = {"from_": "+919812300001", "to": "+919812300002", "caller_id": "08040001234"}
RECORD = DialRecord(
    ref="r1", account="a", key="k", attempt=1, state=DialState.UNKNOWN, owner="o",
    arguments=ARGUMENTS, longest=longest(timeout=TIMEOUT), intended_at=SENT, sent_at=SENT,
    not_after=SENT + 5, settle_by=SENT + 5 + longest(timeout=TIMEOUT),
)  # fmt: skip


def at(second: float) -> datetime:
    """Spell a moment."""
    return datetime.fromtimestamp(second, UTC)


CALL = Call(
    sid="s1", from_="09812300001", to="09812300002", direction="outbound-api",
    date_created=at(SENT + 1), status="completed",
)  # fmt: skip


def spellings(number: str) -> list[str]:
    """Spell an Indian number of ten digits in all the ways that were met."""
    return [
        number, f"0{number}", f"91{number}", f"+91{number}", f"0091{number}", f"+91-{number}",
        f"+91 {number[:5]} {number[5:]}", f"0{number[:2]}-{number[2:]}", f"(+91) {number}",
        f"+91 (0){number}",
    ]  # fmt: skip
