"""What a fleet is to do: who calls whom and when, and what one process of it is there for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, Literal, Self

import attrs

SECRET = "a secret of sixteen bytes and more"
CALLER_ID = "08040000000"
IN_VAIN = 75  # the exit status of a process that found no server when it started
LIMITS = {"time_limit": 60, "time_out": 10}  # seconds of each call

Role = Literal["receiver", "worker", "dialer"]
ROLES: tuple[Role, ...] = ("receiver", "worker", "dialer")

# How calls go: numbers that behave in a known way, and None for one that nobody knows.
_ENDS = (
    None, None, None, None,
    "+910000000603",  # answers and hangs up at once
    "+910000000603",
    "+910000000200", "+910000000480", "+910000000486", "+910000000404",
    "+910000000403",  # connect is refused
    "+910000000500",  # connect is answered 500, and the phones ring
    "+910000000503",  # connect is answered 503, and none rings
    "+910000000504",  # connect is never answered, and the phones ring
)  # fmt: skip


@attrs.frozen(kw_only=True)
class Wish:
    """A call that somebody wants, once; maybe two dialers are told so."""

    key: str
    account: int
    at: float  # seconds of the simulator's time
    dialers: tuple[int, ...]
    from_: str
    to: str


def traffic(
    *, accounts: int, minutes: int, dials_a_minute: float, shared: float, dialers: int, seed: int
) -> list[Wish]:
    """Draw who wants to call whom, in bursts, so that accounts come to their limits.

    `shared`: the part of keys that all dialers are told of which know the account.
    """
    chance = Random(f"traffic {seed}")
    moments = sorted(
        (at + chance.uniform(0, 15), account)
        for account in range(accounts)
        for at in _bursts(chance, minutes=minutes, dials_a_minute=dials_a_minute)
    )
    return [
        _wish(
            number, account, at, chance, shared=shared,
            known_to=dialers_of(account, dialers=dialers),
        )
        for number, (at, account) in enumerate(moments)
    ]  # fmt: skip


def _bursts(chance: Random, *, minutes: int, dials_a_minute: float) -> list[float]:
    """Draw the moments of one account's dials: some minutes have none, others many."""
    wanted = round(minutes * dials_a_minute)
    busy = [60.0 * chance.randrange(minutes) for _ in range(max(1, minutes // 3))]
    return [chance.choice(busy) + chance.uniform(0, 40) for _ in range(wanted)]


def _wish(
    number: int, account: int, at: float, chance: Random, *, shared: float,
    known_to: tuple[int, ...],
) -> Wish:  # fmt: skip
    all_of_them = chance.random() < shared
    return Wish(
        key=f"order-{number}",
        account=account,
        at=at,
        dialers=known_to if all_of_them else (chance.choice(known_to),),
        from_=from_of(number),
        to=chance.choice(_ENDS) or f"+9187{number:08d}",
    )


def dialers_of(account: int, *, dialers: int) -> tuple[int, ...]:
    """Tell which dialers know an account: one of them, or for every fourth account all.

    >>> [dialers_of(account, dialers=2) for account in (0, 1, 2, 4)]
    [(0, 1), (1,), (0,), (0, 1)]
    """
    return tuple(range(dialers)) if account % 4 == 0 else (account % dialers,)


def from_of(number: int) -> str:
    """Tell whose phone rings first; no two keys call the same.

    >>> key_of(from_of(42))
    'order-42'
    """
    return f"+9198{number:08d}"


def key_of(from_: str) -> str:
    """Tell the key whose From this is."""
    return f"order-{int(from_[-8:])}"


@attrs.frozen(kw_only=True)
class Plan:
    """One process of a fleet."""

    role: Role
    number: int  # of the process in its run
    place: int  # among those of its role; whoever comes after it has the same
    folder: str
    dsn: str
    public_url: str
    port: int = 0  # a receiver's own
    speed: float = 1.0  # seconds of the simulator's time in one of ours
    start: str | None = None  # what the simulator's clock showed at first; None: it is now
    accounts: dict[str, dict[str, Any]] = attrs.field(factory=dict)  # settings of ExotelClients
    limit: int = 200  # requests a minute of each account
    lease: float = 2.0
    commit_timeout: float = 8.0
    pause: float = 0.0  # seconds that a handler takes at most
    mutant: str | None = None

    @property
    def name(self) -> str:
        """What its files are called after."""
        return f"{self.role}-{self.place}-{self.number}"

    def to_text(self) -> str:
        """Spell it on one line."""
        return json.dumps(attrs.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` spelt."""
        return cls(**json.loads(text))


def wishes_to_text(wishes: Sequence[Wish]) -> str:
    """Spell what is wanted, a line each."""
    return "".join(json.dumps(attrs.asdict(wish)) + "\n" for wish in wishes)


def wishes_from_text(text: str) -> list[Wish]:
    """Read what `wishes_to_text` spelt."""
    rows = (json.loads(line) for line in text.splitlines())
    return [Wish(**{**row, "dialers": tuple(row["dialers"])}) for row in rows]
