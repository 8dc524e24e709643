"""What can be asked about calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

import attrs

from exotel_async.models.calls import Call, CallPage
from exotel_async.wire import bulk, checks, connecting
from exotel_async.wire.bulk import BulkFilters, BulkQuery
from exotel_async.wire.connecting import ConnectOptions, FlowOptions

from .call_list import CallList, Order
from .door import Door
from .pacing import Announcing
from .positions import go_on, read_position


@attrs.frozen(eq=False)
class Calls:
    """Places calls and reads their records; found at `exotel.calls`."""

    _door: Door

    async def connect(
        self, *, from_: str, to: str, caller_id: str, **options: Unpack[ConnectOptions]
    ) -> Call:
        """Call `from_`, and when that is answered connect it with `to`; `caller_id` is an ExoPhone.

        At most one request that could ring a phone reaches Exotel. The status of the call that
        comes back is "in-progress": it is being dialled, not answered. `options` are those of
        `ConnectOptions`.

        Raises InvalidRequestError before anything is sent, NotSentError where nothing was sent,
        an ApiError where Exotel refused, and OutcomeUnknownError where nobody can tell whether
        phones ring. Exotel: Voice v1, "Outgoing call to connect two numbers".
        """
        return await self._door.send(
            connecting.connect(from_=from_, to=to, caller_id=caller_id, **options)
        )

    async def connect_to_flow(
        self,
        *,
        from_: str,
        caller_id: str,
        flow_id: int | str | None = None,
        url: str | None = None,
        **options: Unpack[FlowOptions],
    ) -> Call:
        """Call `from_`, and when that is answered connect it with a flow (an applet).

        The flow is named by its number or by its whole URL. Only the four-field StatusCallback
        comes for such a call. Raises what `connect` raises.
        Exotel: Voice v1, "Outgoing call to connect number to a call flow".
        """
        settings = self._door.settings
        flow = connecting.url_of_flow(
            flow_id,
            url,
            account_sid=settings.account_sid,
            flow_base_url=settings.flow_base_url,
        )
        return await self._door.send(
            connecting.connect_to_flow(from_=from_, caller_id=caller_id, url=flow, **options)
        )

    async def get(
        self, sid: str, *, details: bool = False, recording_url_validity: int | None = None
    ) -> Call:
        """Read one call; `details` adds its legs and talk time.

        `recording_url_validity` (5 to 60 minutes) asks for a `pre_signed_recording_url`, which
        comes where the account has that feature. Raises NotFoundError for an unknown sid.
        Exotel: Voice v1, "Call Details".
        """
        return await self._door.send(
            bulk.call_details(sid, details=details, recording_url_validity=recording_url_validity)
        )

    def list(
        self,
        *,
        limit: int | None = None,
        concurrency: int = 8,
        position: str | None = None,
        **filters: Unpack[BulkFilters],
    ) -> CallList:
        """Read call records, newest first; ongoing calls are not among them.

        `filters` are those of `BulkFilters`. More sids, numbers or days than one request may
        carry are split and merged in order. Without times, Exotel looks 31 days back; with only
        `created_before` we look 30 days back, with only `created_after` up to now.

        `concurrency`: at most so many requests are under way at once. Where there are more than a
        few pages, the range of time is cut into windows that are read side by side and come out
        in order; at most six pages for each request wait to be read. One request at a time waits
        for the pacer, and a fiftieth of what it allows is left to others. With 1, page follows
        page.

        `position`: that of a list with the same filters, which this one goes on from; times are
        those that it began with. Exotel: Voice v1, "Bulk Call Details".
        """
        query = self._query(filters)
        checks.whole("concurrency", concurrency, least=1)
        if limit is not None:
            checks.whole("limit", limit, least=0)
            query = attrs.evolve(query, page_size=max(1, min(query.page_size, limit)))
        start = None if position is None else read_position(position, query)
        order = Order(
            query=query if start is None else go_on(query, start),
            fetch=self._paced_page,
            asked_at=self._door.clock.now(),
            concurrency=concurrency,
            limit=limit,
            start=start,
        )
        return CallList(order)

    async def page(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        **filters: Unpack[BulkFilters],
    ) -> CallPage:
        """Read one page of call records; `after` or `before` is a cursor out of another page.

        Refuses what would need several requests. Exotel: Voice v1, "Bulk Call Details".
        """
        query = bulk.refuse_splitting(self._query(filters), zone=bulk.zone_given(filters))
        return await self._page(query, after=after, before=before)

    def _query(self, filters: BulkFilters) -> BulkQuery:
        return bulk.bulk_query(now=self._door.clock.now(), **filters)

    async def _paced_page(
        self, query: BulkQuery, after: str | None, leaves: Callable[[], None]
    ) -> CallPage:
        request = bulk.bulk_calls(query, zone=self._door.settings.zone, after=after)
        return await self._door.send(request, pacer=Announcing(self._door.patient, leaves))

    async def _page(self, query: BulkQuery, *, after: str | None, before: str | None) -> CallPage:
        zone = self._door.settings.zone
        return await self._door.send(bulk.bulk_calls(query, zone=zone, after=after, before=before))
