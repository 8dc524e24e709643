"""A file that one process at a time can lock; the system lets go of it when the process ends."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        # flock, not lockf: the latter is dropped as soon as anybody closes the same file.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        # Closing is not enough where a child was forked off meanwhile: it holds a copy.
        fcntl.flock(descriptor, fcntl.LOCK_UN)


_SHORTEST, _LONGEST = 0.0005, 0.002  # seconds between two looks at a lock that is taken
_COURTESY = 0.004  # seconds in which whoever waits already has looked for certain


class FileLock:
    """A lock by the name of a file, which is made for its owner's eyes only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, *, until: float) -> bool:
        """Take it, waiting until then (by `time.monotonic`); False where it stays taken.

        Who wants it again at once lets another go first who waits for it, or that one might look
        for ever at the wrong moments.
        """
        place = FileLock(self._path.with_name(f"{self._path.name}-next"))
        try:
            if not place.try_take():
                time.sleep(_COURTESY)  # no more: its holder may be stopped
            return self._wait_for_it(place, until=until)
        finally:
            place.give_back()

    def _wait_for_it(self, place: FileLock, *, until: float) -> bool:
        pause = _SHORTEST
        while not self.try_take():
            left = until - time.monotonic()
            if left <= 0:
                return False
            place.try_take()
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)
        return True

    def try_take(self) -> bool:
        """Take it if it is free; tell whether it is ours."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _is_locked_now(descriptor):
            return False
        self._descriptor = descriptor
        return True

    def give_back(self) -> None:
        """Let others have it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            _let_go(descriptor)

    def remove(self) -> None:
        """Let go of it and delete the file; only for a name that nobody takes again."""
        self.give_back()
        self._path.unlink(missing_ok=True)


def try_lock(descriptor: int) -> bool:
    """Lock a file that is open, until it is closed; tell whether it is ours."""
    try:
        _lock(descriptor)
    except OSError:
        return False
    return True


def is_free(path: Path) -> bool:
    """Tell whether whoever held a lock is gone; a lock that never was says nothing."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    if not _is_locked_now(descriptor):
        return False
    _let_go(descriptor)
    return True


def _is_locked_now(descriptor: int) -> bool:
    if try_lock(descriptor):
        return True
    os.close(descriptor)
    return False


def _let_go(descriptor: int) -> None:
    try:
        _unlock(descriptor)
    finally:
        os.close(descriptor)
