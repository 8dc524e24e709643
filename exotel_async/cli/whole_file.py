"""How does a file appear under its name: only when it is whole, and not in the place of another."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp


def check_writable(path: Path, *, force: bool) -> None:
    """Raise ValueError where no file can appear, before anything is worked for."""
    if not path.parent.is_dir():
        raise ValueError(f"{str(path.parent)!r} is no directory")
    if path.exists() and not path.is_file():
        raise ValueError(f"{str(path)!r} is there, and no file")
    if path.exists() and not force:
        raise ValueError(f"{str(path)!r} is there already; --force replaces it")
    if not os.access(path.parent, os.W_OK):
        raise ValueError(f"no file may be made in {str(path.parent)!r}")


def write_whole(path: Path, text: str, *, force: bool) -> None:
    """Write a file that only its owner may read; ValueError as above, OSError from the disk."""
    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        check_writable(path, force=force)  # it may have come meanwhile
        if force:
            part.replace(path)
        else:
            _rename_if_free(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _rename_if_free(part: Path, path: Path) -> None:
    try:
        os.link(part, path)  # unlike a rename, it never replaces
    except FileExistsError as error:
        raise ValueError(f"{str(path)!r} is there already; --force replaces it") from error
    except OSError:  # a file system without links
        part.replace(path)
