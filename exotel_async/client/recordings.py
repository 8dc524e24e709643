"""What can be done with recordings."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import attrs

from exotel_async.errors import ExotelError, InvalidRequestError, RecordingError
from exotel_async.wire import checks
from exotel_async.wire.pieces import unavailable
from exotel_async.wire.recordings import Recorded, Wanted, wanted_of, way_to

from .calls import Calls
from .door import Door
from .fetching import Fetching
from .saving import PartFile, check_path, part_path

_FIRST_PAUSE = 5.0  # seconds
_LONGEST_PAUSE = 60.0
_LONGEST_WAIT = 86_400.0
_PASSING = {"expired", "private", "redirected"}  # another URL of the same call may do


@attrs.frozen(kw_only=True)
class SavedRecording:
    """A recording that was downloaded."""

    path: Path
    size: int  # bytes
    content_type: str | None = None  # "audio/mpeg", say; None: unsaid
    resumed_at: int = 0  # bytes that were there from another time


class RecordingStream:
    """A recording as it comes: `async for chunk in stream`, once."""

    def __init__(self, fetching: Fetching) -> None:
        self._fetching = fetching
        self._chunks = _in_order(fetching)

    @property
    def content_type(self) -> str | None:
        """What kind of sound it is, like "audio/mpeg"; None: unsaid."""
        return self._fetching.held.content_type

    @property
    def size(self) -> int | None:
        """How many bytes it has; None: unsaid."""
        return self._fetching.held.total

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def _close(self) -> None:
        await self._chunks.aclose()


@attrs.frozen(eq=False)
class Recordings:
    """Fetches recordings; found at `exotel.recordings`.

    Credentials go to `*.exotel.com` over https only, and not along with a pre-signed URL or a
    redirect. Other hosts than Exotel's are asked only if `ExotelClient(recording_hosts=...)` names
    them: that is a matter of the installation, not of a call, whose URL may come from outside.

    Recordings do not count as requests to Exotel's API, so the client's pacer is not asked. A
    client's `timeout` is here the longest silence, and `max_retries` how often a download goes on
    where the connection was lost.
    """

    _door: Door

    async def download(
        self,
        call_or_url: Recorded,
        path: str | os.PathLike[str],
        *,
        wait: float = 0.0,
        overwrite: bool = False,
        max_size: int | None = None,
    ) -> SavedRecording:
        """Save the recording of a call, or what a URL of one leads to.

        Under `path` it appears when it is whole. What came before a failure stays beside it in a
        file that ends in `.part`, where the next try goes on if the server lets it.

        - `wait`: seconds to wait for what is not there yet, asking Exotel again for a call
          without a URL; recordings come about 2 minutes after the call ends, up to 15.
        - `overwrite`: replace a file that is there.
        - `max_size`: bytes above which it is refused.

        Raises RecordingError, whose `reason` says whether it is private, expired, gone, not ready
        and so on; InvalidRequestError, NotSentError, NoAnswerError, an ApiError, and OSError.
        Exotel: Voice v1, "Call Details", RecordingUrl.
        """
        target = Path(path)
        checks.flag("overwrite", overwrite)
        await check_path(target, overwrite=overwrite)
        fetching = await self._begin(call_or_url, wait=wait, max_size=max_size)
        try:
            return await _save(fetching, target, overwrite=overwrite)
        finally:
            await fetching.close()

    @asynccontextmanager
    async def stream(
        self, call_or_url: Recorded, *, wait: float = 0.0, max_size: int | None = None
    ) -> AsyncIterator[RecordingStream]:
        """Read a recording as it comes: `async with ...stream(call) as recording`.

        Goes on where a connection was lost. `wait`, `max_size` and the errors are those of
        `download`. Exotel: Voice v1, "Call Details", RecordingUrl.
        """
        fetching = await self._begin(call_or_url, wait=wait, max_size=max_size)
        stream = RecordingStream(fetching)
        try:
            yield stream
        finally:
            await stream._close()  # noqa: SLF001 - ours
            await fetching.close()

    async def _begin(self, subject: Recorded, *, wait: float, max_size: int | None) -> Fetching:
        """Wait for an answer that brings a recording, as long as is allowed and of any use."""
        _check_wait(wait)
        if max_size is not None:
            checks.whole("max_size", max_size, least=1)
        clock = self._door.clock
        until, seconds = clock.monotonic() + wait, _FIRST_PAUSE
        wanted = wanted_of(subject)
        while True:
            if wait and not wanted.offers and wanted.sid:
                wanted = wanted_of(await Calls(self._door).get(wanted.sid))
            try:
                return await self._open(wanted, max_size=max_size)
            except RecordingError as error:
                left = until - clock.monotonic()
                if error.reason != "not_ready" or left <= 0:
                    raise
            await clock.sleep(min(seconds, left))
            seconds = min(2 * seconds, _LONGEST_PAUSE)

    async def _open(self, wanted: Wanted, *, max_size: int | None) -> Fetching:
        """Open the first URL that works."""
        failure: ExotelError | None = None
        for url, signed in wanted.offers:
            try:
                return await self._open_one(wanted, url, signed=signed, max_size=max_size)
            except (InvalidRequestError, RecordingError) as error:
                if isinstance(error, RecordingError) and error.reason not in _PASSING:
                    raise
                failure = error
        raise failure or unavailable(wanted.sid, is_late=wanted.is_late(self._door.clock.now()))

    async def _open_one(
        self, wanted: Wanted, url: str, *, signed: bool, max_size: int | None
    ) -> Fetching:
        door = self._door
        way = way_to(url, door.settings.trusted, signed=signed)
        is_late = wanted.is_late(door.clock.now())
        fetching = Fetching(door, way, max_size=max_size, is_late=is_late)
        try:
            await fetching.begin()
        except BaseException:
            await fetching.close()
            raise
        return fetching


async def _save(fetching: Fetching, path: Path, *, overwrite: bool) -> SavedRecording:
    """Write what comes beside where it will be, and rename it when it is whole."""
    version = fetching.held.version
    part = PartFile(
        part_path(path, url=fetching.way.url, version=version),
        # Without a version nobody can tell whether what is there is a part of the same.
        resume=version is not None,
    )
    keep = True
    try:
        await part.open()
        resumed_at = await _resume(fetching, part)
        async with aclosing(fetching.pieces()) as incoming:
            async for at, chunk in incoming:
                resumed_at = min(resumed_at, at)
                keep = fetching.held.version == version  # or the file bears the wrong name
                await part.write(chunk, at=at)
        await part.finish(path, overwrite=overwrite)
    except RecordingError:
        keep = False  # too large, gone: nobody will want the rest
        raise
    finally:
        await part.close(keep=keep)
    held = fetching.held
    return SavedRecording(
        path=path, size=held.size, content_type=held.content_type, resumed_at=resumed_at
    )


async def _resume(fetching: Fetching, part: PartFile) -> int:
    """Go on where the partial file ends, if what is there can be the beginning."""
    total = fetching.held.total
    if part.size and total is not None and part.size <= total:
        await fetching.go_on_from(part.size)
    return part.size if fetching.held.size else 0


async def _in_order(fetching: Fetching) -> AsyncGenerator[bytes, None]:
    """Give each byte once, also where the server begins anew after a lost connection."""
    given, version = 0, fetching.held.version
    async with aclosing(fetching.pieces()) as incoming:
        async for at, chunk in incoming:
            if at < given and (version is None or fetching.held.version != version):
                raise RecordingError("the recording changed while it was read", "changed")
            fresh = chunk[max(0, given - at) :]
            if fresh:
                given = at + len(chunk)
                yield fresh


def _check_wait(wait: object) -> None:
    if (
        isinstance(wait, bool)
        or not isinstance(wait, int | float)
        or not (0 <= wait <= _LONGEST_WAIT)
    ):
        checks.refuse("wait", wait, f"a number of seconds from 0 to {_LONGEST_WAIT:g}")
