"""How does a store stand, as seen by somebody who takes no part in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from . import keeping, owners, schema
from .transaction import Transaction


@attrs.frozen(kw_only=True)
class Standing:
    """How a store stands, and what a namespace of it holds."""

    engine: str  # with its version
    namespace: str
    schema: int  # that of the tables; 0 where there are none
    needed: int  # by this release
    counts: Mapping[str, int] = attrs.field(factory=dict)  # none where `schema` is too old
    waiting: Mapping[str, float] = attrs.field(factory=dict)  # seconds, of the oldest of a kind
    owners: int = 0  # opened journals that are at work, or are not known to be gone
    namespaces: tuple[str, ...] = ()  # that hold anything

    @property
    def usable(self) -> bool:
        """Tell whether this release can work with the tables as they are."""
        return self.schema >= self.needed


def stand_of(
    tx: Transaction, *, engine: str, schema: int, lives: Callable[[str], bool] = lambda _: True
) -> Standing:
    """Read how a store stands; tables that are too old are not read."""
    bare = Standing(engine=engine, namespace=tx.namespace, schema=schema, needed=NEWEST)
    if not bare.usable:
        return bare
    return attrs.evolve(
        bare,
        counts=keeping.stats(tx),
        waiting=keeping.waiting(tx),
        owners=sum(map(lives, owners.known(tx))),
        namespaces=keeping.namespaces(tx),
    )


NEWEST = len(schema.STEPS)
