"""How is kept what Exotel sent and this release has no field for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

V = TypeVar("V", covariant=True)


class Extra(Mapping[str, V]):
    """An unchangeable mapping; its `repr` shows names only, since values may be personal."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, name: str) -> V:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<{', '.join(self._items)}>"


NOTHING: Extra[str] = Extra()  # shared by the many records that bring nothing unknown
