"""Formats of tables of predictions. `WRITERS` is the one place to add one.

Rows are appended as they come, so a writer never holds them all.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from napari_ctc.data.files import replacing

if TYPE_CHECKING:
    import pandas as pd

ROW_GROUP = 2**15  # rows that a reader of Parquet takes at once
_OF_FEW = (
    "source",
    "predicted",
    "label",
    "split",
    "classifier",
    "precision",
    "decision",
    "proportions",
    "calibrated",
)


class Writer(Protocol):
    """What a format offers: rows are appended as they come; the file gets its name when it is closed."""

    def __init__(self, path: Path) -> None:
        """Begin a file under a temporary name beside `path`."""

    def append(self, rows: pd.DataFrame) -> None:
        """Write rows, paths relative to the file's folder where possible."""

    def close(self) -> None:
        """Finish the file and give it its name."""

    def discard(self) -> None:
        """Leave no trace."""


class _Temporary:
    """A file that gets its name when it is finished."""

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        self.path: Path = self._stack.enter_context(replacing(path))

    def finish(self) -> None:
        self._stack.close()

    def discard(self) -> None:
        class Discarded(Exception):
            pass

        try:
            with self._stack:
                raise Discarded
        except Discarded:
            pass


class CSVWriter:
    """Comma-separated text with a header, probabilities with six decimals."""

    def __init__(self, path: Path) -> None:
        self._temporary = _Temporary(path)
        self._file: BinaryIO = self._temporary.path.open("wb")
        self._begun = False

    def append(self, rows: pd.DataFrame) -> None:
        """Write rows."""
        if not self._begun:
            self._file.write(rows[:0].to_csv(index=False, lineterminator="\n").encode())
            self._begun = True
        if len(rows):
            self._file.write(csv_lines(pa.Table.from_pandas(rows, preserve_index=False)))

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._file.close()
        self._temporary.finish()

    def discard(self) -> None:
        """Leave no trace."""
        with suppress(OSError):  # what waits to be written has no room on a full disk
            self._file.close()
        self._temporary.discard()


def csv_lines(table: pa.Table) -> bytes:
    """Write rows as CSV without a header: ten times as fast as pandas, which makes an object of each cell."""
    cells = [_cells(column.combine_chunks()) for column in table.columns]
    lines = pc.binary_join_element_wise(*cells, ",")
    text: str = pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "\n")[0].as_py()
    return text.encode() + b"\n"


def _cells(column: pa.Array) -> pa.Array:
    """Write values as they stand between commas: nothing for those that are missing."""
    kind = column.type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, None)
        column = pc.round(column.cast(pa.float64()), 6).cast(pa.decimal128(38, 6))
    text = pc.fill_null(column.cast(pa.string()), "")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(text, '"', '""'), '"', "")
        text = pc.if_else(pc.match_substring_regex(text, '[,"\r\n]'), quoted, text)
    return text


class ParquetWriter:
    """Apache Parquet, through pyarrow: row groups of `ROW_GROUP`, columns of few values as dictionaries."""

    def __init__(self, path: Path) -> None:
        self._temporary = _Temporary(path)
        self._writer: Any = None
        self._waiting: list[pa.Table] = []

    def append(self, rows: pd.DataFrame) -> None:
        """Write rows, as soon as there are enough of them."""
        table = pa.Table.from_pandas(rows, preserve_index=False)
        if self._writer is None:
            few = [name for name in _OF_FEW if name in table.column_names]
            self._writer = pq.ParquetWriter(
                self._temporary.path, table.schema, compression="zstd", use_dictionary=few
            )
        self._waiting.append(table.cast(self._writer.schema))
        if sum(map(len, self._waiting)) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=2 * ROW_GROUP)
        self._waiting = []

    def close(self) -> None:
        """Finish the file and give it its name."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
        self._temporary.finish()

    def discard(self) -> None:
        """Leave no trace."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
        self._temporary.discard()


WRITERS: dict[str, type[Writer]] = {".csv": CSVWriter, ".parquet": ParquetWriter}
"""Formats of predictions: suffix in lower case -> a class with `append`, `close` and `discard`."""
