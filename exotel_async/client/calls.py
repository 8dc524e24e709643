"""What can be asked about calls."""

from __future__ import annotations

from typing import Unpack

import attrs

from exotel_async.models.calls import Call, CallPage
from exotel_async.wire import bulk, checks, connecting
from exotel_async.wire.bulk import BulkFilters, BulkQuery
from exotel_async.wire.connecting import ConnectOptions, FlowOptions

from .call_list import CallList
from .door import Door


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

    def list(self, *, limit: int | None = None, **filters: Unpack[BulkFilters]) -> CallList:
        """Read call records, newest first; ongoing calls are not among them.

        `filters` are those of `BulkFilters`. More sids, numbers or days than one request may
        carry are split and merged in order. Without times, Exotel looks 31 days back; with only
        `created_before` we look 30 days back, with only `created_after` up to now.
        Exotel: Voice v1, "Bulk Call Details".
        """
        query = self._query(filters)
        if limit is not None:
            checks.whole("limit", limit, least=0)
            query = attrs.evolve(query, page_size=max(1, min(query.page_size, limit)))
        return CallList(query, fetch=self._page_after, limit=limit)

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
        query = bulk.refuse_splitting(self._query(filters))
        return await self._page(query, after=after, before=before)

    def _query(self, filters: BulkFilters) -> BulkQuery:
        return bulk.bulk_query(now=self._door.clock.now(), **filters)

    async def _page_after(self, query: BulkQuery, after: str | None) -> CallPage:
        return await self._page(query, after=after, before=None)

    async def _page(self, query: BulkQuery, *, after: str | None, before: str | None) -> CallPage:
        zone = self._door.settings.zone
        return await self._door.send(bulk.bulk_calls(query, zone=zone, after=after, before=before))
