"""How does a file of records grow, so that it may be gone on with after any end but is never half.

What is read is appended to FILE.part; beside it FILE.part.json says up to where that is whole, and
which position in the list belongs to it. Whatever was appended after that is cut off again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

import attrs

from exotel_async.journal.locks import try_lock

from .export_columns import Cell, Column, Spelling, json_line
from .whole_file import check_writable

FORMATS = ("csv", "jsonl", "parquet")

_BATCH = 500  # rows that are turned into columns at once
_ROW_GROUP = 10  # batches in one row group of Parquet: memory is counted in these
_OWNER_ONLY = 0o600


@attrs.frozen(kw_only=True)
class Progress:
    """Up to where an export is whole."""

    position: str  # of the list
    rows: int
    size: int  # bytes
    words: Mapping[str, Any]  # the options it was begun with


@attrs.frozen(kw_only=True)
class Target:
    """Where an export goes, and how it is written."""

    path: Path
    format: str
    columns: Sequence[Column]
    spelling: Spelling
    force: bool = False

    @property
    def part(self) -> Path:
        """What is not finished yet."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def notes(self) -> Path:
        """What is known of the part."""
        return self.path.with_name(f"{self.path.name}.part.json")

    def header(self) -> str:
        """Write what stands before the rows."""
        return _csv_line(column.name for column in self.columns) if self.format == "csv" else ""

    def lines(self, rows: Iterable[Sequence[Cell]]) -> str:
        """Write rows as they stand in the part."""
        if self.format == "csv":
            return "".join(_csv_line(self.spelling.csv(row)) for row in rows)
        return "".join(json_line(self.columns, row) for row in rows)


def _csv_line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(list(cells))
    return text.getvalue()


class Part:
    """The file that grows; use it from one thread at a time, not from an event loop."""

    def __init__(self, target: Target, file: IO[bytes], *, rows: int, words: Mapping[str, Any]):
        self._target = target
        self._file = file
        self._words = words
        self.rows: int = rows

    @classmethod
    def begin(cls, target: Target, *, words: Mapping[str, Any]) -> Part:
        """Begin anew; ValueError where something is in the way."""
        check_writable(target.path, force=target.force)
        if target.part.exists() and not target.force:
            raise ValueError(
                f"{str(target.part)!r} is there, an export that did not end: --resume goes on "
                "with it, --force begins anew"
            )
        file = _locked(target.part)
        file.truncate(0)
        file.write(target.header().encode())
        return cls(target, file, rows=0, words=words)

    @classmethod
    def resume(cls, target: Target, *, words: Mapping[str, Any]) -> tuple[Part, str | None]:
        """Go on with what is there, or begin; give the position in the list, too."""
        if not target.part.exists() and not target.notes.exists():
            return cls.begin(target, words=words), None
        try:
            progress = Progress(**json.loads(target.notes.read_text()))
            size = target.part.stat().st_size
        except (OSError, ValueError, TypeError):
            raise ValueError(
                f"nobody can go on without {target.part.name!r} and {target.notes.name!r} as they "
                "were: begin anew (--force)"
            ) from None
        for name in sorted({*words, *progress.words}):
            if words.get(name) != progress.words.get(name):
                was = progress.words.get(name)
                raise ValueError(
                    f"--{name} was {f'{was!r}' if was else 'not given'} when this export was begun"
                )
        if size < progress.size:
            raise ValueError(f"{str(target.part)!r} is shorter than it was: begin anew (--force)")
        check_writable(target.path, force=target.force)
        file = _locked(target.part)
        file.truncate(progress.size)
        file.seek(progress.size)
        return cls(target, file, rows=progress.rows, words=words), progress.position

    def append(self, rows: Sequence[Sequence[Cell]]) -> None:
        """Add rows."""
        self._file.write(self._target.lines(rows).encode("utf-8", "backslashreplace"))
        self.rows += len(rows)

    def save(self, position: str) -> None:
        """Note that all is whole up to a position: whoever goes on begins there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        progress = Progress(
            position=position, rows=self.rows, size=self._file.tell(), words=self._words
        )
        _replace(self._target.notes, json.dumps(attrs.asdict(progress)))

    def close(self) -> None:
        """Leave it as it is."""
        self._file.close()

    def finish(self) -> None:
        """Give the whole file its name; ValueError where it can't be: the part stays."""
        self.close()
        whole = self._target.part
        if self._target.format == "parquet":
            whole = _to_parquet(self._target)
        check_writable(self._target.path, force=self._target.force)  # it may have come meanwhile
        whole.replace(self._target.path)
        for path in (self._target.part, self._target.notes):
            path.unlink(missing_ok=True)


def _locked(part: Path) -> IO[bytes]:
    file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, _OWNER_ONLY), "r+b")
    if try_lock(file.fileno()):
        return file
    file.close()
    raise ValueError(f"another process is writing {str(part)!r}")


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


# Parquet.


def require_pyarrow() -> None:
    """Raise ValueError where Parquet can't be written."""
    try:
        import pyarrow.parquet  # noqa: F401 - heavy, and an extra
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install 'exotel-async[parquet]'") from None


def _to_parquet(target: Target) -> Path:
    """Turn the part into Parquet, batch by batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    zone = _zone_name(target.spelling)
    kinds = {
        "text": pa.string(), "whole": pa.int64(), "decimal": pa.decimal128(38, 9),
        "time": pa.timestamp("s", tz=zone),
    }  # fmt: skip
    schema = pa.schema([(column.name, kinds[column.kind]) for column in target.columns])
    whole = target.part.with_name(f"{target.part.name}.whole")
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                batches = (pa.RecordBatch.from_pylist(rows, schema) for rows in _batches(target))
                while some := list(islice(batches, _ROW_GROUP)):
                    writer.write_table(pa.Table.from_batches(some))
            file.flush()
            os.fsync(file.fileno())
    except (pa.ArrowException, OverflowError) as error:
        whole.unlink()
        raise ValueError(
            f"not all fits into Parquet ({error}); {str(target.part)!r} is whole, as JSON Lines"
        ) from error
    except BaseException:
        with suppress(OSError):
            whole.unlink()
        raise
    return whole


def _zone_name(spelling: Spelling) -> str:
    name = getattr(spelling.zone, "key", None)
    if isinstance(name, str):
        return name
    offset = datetime.now(spelling.zone).strftime("%z")
    return f"{offset[:3]}:{offset[3:5]}"


def _batches(target: Target) -> Iterator[list[dict[str, Any]]]:
    kinds = {column.name: column.kind for column in target.columns}
    with target.part.open(encoding="utf-8", errors="replace", newline="\n") as file:
        while lines := list(islice(file, _BATCH)):
            yield [_typed(json.loads(line), kinds) for line in lines]


def _typed(row: dict[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    readers: dict[str, Callable[[str], object]] = {
        "time": datetime.fromisoformat, "decimal": Decimal,
    }  # fmt: skip
    return {
        name: readers[kinds[name]](value) if value is not None and kinds[name] in readers else value
        for name, value in row.items()
    }
