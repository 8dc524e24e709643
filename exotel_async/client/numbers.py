"""What can be asked about phone numbers."""

from __future__ import annotations

import attrs

from exotel_async.models.numbers import NumberMetadata
from exotel_async.wire.looking_up import number_metadata

from .door import Door


@attrs.frozen(eq=False)
class Numbers:
    """Looks numbers up; found at `exotel.numbers`."""

    _door: Door

    async def get(self, number: str) -> NumberMetadata:
        """Look up where a number is at home: circle, operator, do-not-disturb.

        Exotel: Voice v1, "Number Metadata".
        """
        return await self._door.send(number_metadata(number))
