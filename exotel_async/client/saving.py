"""How does what arrives become a file: under its name only when it is whole."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from io import FileIO
from pathlib import Path
from secrets import token_hex
from typing import TypeVar

from exotel_async.errors import InvalidRequestError

T = TypeVar("T")

_WRITTEN_AT_ONCE = 2**18  # bytes; a trip to a thread for each chunk would take longer than it
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def part_path(path: Path, *, url: str, version: str | None) -> Path:
    """Name the partial file of one version of one recording, beside where it will be.

    >>> part_path(Path("a.mp3"), url="https://x/1", version=None).name
    'a.mp3.93a38c31178c.part'
    """
    known = f"{url.partition('?')[0]}\n{version or ''}"  # a signature changes each time
    return path.with_name(f"{path.name}.{sha256(known.encode()).hexdigest()[:12]}.part")


async def check_path(path: Path, *, overwrite: bool) -> None:
    """Refuse a path under which no file can appear, before anything is asked."""
    await in_thread(lambda: _check_path(path, overwrite=overwrite))


def _check_path(path: Path, *, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise InvalidRequestError(
            f"path must be in a directory that is there, but is {str(path)!r}"
        )
    if path.is_dir():
        raise InvalidRequestError(f"path must name a file, but {str(path)!r} is a directory")
    if not overwrite and path.exists():
        raise _taken(path)


def _taken(path: Path) -> InvalidRequestError:
    return InvalidRequestError(
        f"path must not be there yet unless overwrite=True, but {str(path)!r} is"
    )


class PartFile:
    """A partial file; nothing is open until `open`, and `close` keeps what came.

    Whoever finds another writing it writes one of its own, which does not outlast it.
    """

    def __init__(self, part: Path, *, resume: bool) -> None:
        self._part = part
        self._resume = resume
        self._shared = True
        self._file: FileIO | None = None
        self._buffer = bytearray()
        self._written = 0  # bytes

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self._written + len(self._buffer)

    async def open(self) -> None:
        """Open it, where it was left or anew."""
        await in_thread(self._open)

    async def write(self, chunk: bytes, *, at: int) -> None:
        """Add what comes next; what is said to come earlier begins it anew."""
        if at != self.size:
            self._buffer.clear()
            await in_thread(lambda: self._cut(at))
        self._buffer += chunk
        if len(self._buffer) >= _WRITTEN_AT_ONCE:
            await in_thread(self._flush)

    async def finish(self, path: Path, *, overwrite: bool) -> None:
        """See that it is on the disk, and give it its name."""
        await in_thread(lambda: self._finish(path, overwrite=overwrite))

    async def close(self, *, keep: bool = True) -> None:
        """Close it; what came stays for another time, unless it is of no use."""
        await in_thread(lambda: self._close(keep=keep))

    def _open(self) -> None:
        self._file = _locked(self._part)
        if self._file is None:
            self._shared = False
            self._part = self._part.with_name(f"{self._part.stem}.{token_hex(4)}.part")
            self._file = FileIO(os.open(self._part, _FLAGS | os.O_EXCL, 0o666), "r+")
        self._written = self._file.seek(0, os.SEEK_END)
        if not self._resume:
            self._cut(0)

    def _cut(self, at: int) -> None:
        assert self._file is not None  # noqa: S101 - opened before it is written
        self._file.truncate(at)
        self._file.seek(at)
        self._written = at

    def _flush(self) -> None:
        assert self._file is not None  # noqa: S101
        while self._buffer:  # a raw file may take less than it is given
            taken = self._file.write(bytes(self._buffer)) or 0
            self._written += taken
            del self._buffer[:taken]

    def _finish(self, path: Path, *, overwrite: bool) -> None:
        assert self._file is not None  # noqa: S101
        self._flush()
        os.fsync(self._file.fileno())
        if os.name == "nt":
            self._file.close()  # or it can't be renamed
        if overwrite:
            self._part.replace(path)
        else:
            _rename_if_free(self._part, path)
        _sync_directory(path.parent)
        self._file.close()
        self._file = None

    def _close(self, *, keep: bool) -> None:
        if self._file is None:
            return
        try:
            if keep and self._shared:
                with suppress(OSError):  # a full disk was told of already
                    self._flush()
            if not (keep and self._shared and self._written):
                self._part.unlink(missing_ok=True)
        finally:
            self._file.close()
            self._file = None


def _locked(part: Path) -> FileIO | None:
    """Open a partial file for oneself; None where another is at it."""
    file = FileIO(os.open(part, _FLAGS, 0o666), "r+")
    try:
        _lock(file)
        # Who held it may just have given it its name: then it is no partial file any more.
        if os.path.samestat(os.fstat(file.fileno()), part.stat()):
            return file
    except OSError:
        pass
    file.close()
    return None


def _lock(file: FileIO) -> None:
    try:
        import fcntl
    except ImportError:
        return  # there two must not write the same file at once
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _rename_if_free(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # fails where there is a file by now; a rename would replace it
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError:  # a file system without links
        if path.exists():
            raise _taken(path) from None
        part.replace(path)
    else:
        part.unlink()


def _sync_directory(folder: Path) -> None:
    with suppress(OSError):  # not every system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


async def in_thread(act: Callable[[], T]) -> T:
    """Act in a thread; who is cancelled meanwhile leaves when it is done, and not before."""
    acting = asyncio.ensure_future(asyncio.to_thread(act))
    try:
        return await asyncio.shield(acting)
    except asyncio.CancelledError:
        while not acting.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({acting})
        if not acting.cancelled():
            acting.exception()  # seen: the cancellation counts
        raise
