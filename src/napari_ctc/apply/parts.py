"""What is kept of a long classification while it runs, beside its output: so that it can go on after anything.

Beside `predictions.csv` stands the folder `.predictions.csv.parts`: a record of what decides every number, the
listing of the specimens in order, and a file for each chunk of the listing that is done. Each file is written
whole or not at all and waited for, so a killed program or a power cut loses the chunk at work and nothing else.
Size and time of the table are kept as well, so that one that a person has changed is not written over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from napari_ctc.apply.record import RECORD, Record, folder_of, read_record
from napari_ctc.data.files import check_writable, is_folder, replacing, size_and_time, write_whole
from napari_ctc.data.locks import Lock
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import split_key
from napari_ctc.errors import LockedError, PredictionsError

_NAME = re.compile(r"(\d{12})-(\d{12})\.parquet")
_LISTING, _WRITTEN, _LOCK = "listing.parquet", "written.json", "lock"
_OF_FEW = ["label", "source", "split", "by"]  # columns of the listing with few values
ROWS_IN_GROUP = 2**14  # of the listing, that are compressed together


@dataclass
class Parts:
    """The chunks of one output that are done.

    Parameters
    ----------
    folder : Path
    record : Record
    manifest : Manifest
        The specimens in the order of the output: those listed at first, then those added since.
    notes : tuple of str
        What has become of the input since, in words.
    begun : bool
        Whether this goes on with something.
    done : dict of int to range
        The chunks that are on the disk, by their first row.
    """

    folder: Path
    record: Record
    manifest: Manifest
    notes: tuple[str, ...] = ()
    begun: bool = False
    done: dict[int, range] = field(default_factory=dict)
    _lock: Lock | None = None

    @classmethod
    def open(cls, out: Path, record: Record, manifest: Manifest, anew: bool = False) -> Parts:
        """Go on with what was begun for an output, or begin.

        Parameters
        ----------
        out : Path
        record : Record
        manifest : Manifest
        anew : bool
            Give up what was begun with another classifier, other settings or on other specimens.

        Raises
        ------
        PredictionsError
            If that is there, or a file that was not begun here or was changed since, and not to be replaced; or
            if another program is writing this output.
        CTCError
            If the folder cannot be written to.
        """
        folder = folder_of(out)
        check_writable(out)
        check_writable(folder / RECORD)
        parts = cls(folder, record, manifest, _lock=_locked(folder, out))
        try:
            begun = _begun(out, anew)
            if begun is None and not anew and out.exists():
                raise PredictionsError(
                    f"{out} exists already, and is not written over, since nothing tells that a classification "
                    f"made it. Choose another name for the output, or say that it may be replaced (--replace at "
                    f"a terminal)."
                )
            why = begun.differs(record) if begun is not None else ""
            if why and not anew:
                raise PredictionsError(
                    f"{out.name} was begun {why}: one table never holds both. Choose another name for the output, "
                    f"or say that it may be replaced (--replace at a terminal)."
                )
            if anew:
                (folder / _WRITTEN).unlink(missing_ok=True)
            parts.refuse_edited(out)
            parts._clear(all_of_it=begun is None or bool(why))
            if begun is None or why:
                write_whole(folder / RECORD, record.model_dump_json(indent=1).encode())
            else:
                parts.record, parts.begun = begun, True
            parts._list()
            parts._find()
        except BaseException:
            parts.release()
            raise
        return parts

    def _clear(self, all_of_it: bool) -> None:
        """Remove what a killed program left half written, or everything."""
        for entry in self.folder.iterdir():
            kept = entry.name in (RECORD, _LISTING, _WRITTEN) or _NAME.fullmatch(entry.name)
            if entry.name != _LOCK and (all_of_it or not kept):
                entry.unlink()

    def _list(self) -> None:
        """Bring the input into the order of the listing that was begun with; what is new comes last."""
        path, now = self.folder / _LISTING, self.manifest.table
        before = _listed(path)
        if before is not None and not before["path"].equals(now["path"]):
            added = now[~now["path"].isin(before["path"])]
            gone = before[~before["path"].isin(now["path"])]
            order = pd.concat([before["path"], added["path"]])
            table = pd.concat([now, gone]).set_index("path").reindex(order).reset_index()
            self.manifest = replace(self.manifest, table=table[list(now.columns)].astype("str"))
            name = self.folder.name.removeprefix(".").removesuffix(".parts")
            new_ones = f"New since {name} was begun, and last in it: {len(added):,} of {len(order):,}."
            lost = f"No longer in the input, and kept in {name}: {len(gone):,} of {len(order):,}."
            self.notes = (*([new_ones] if len(added) else []), *([lost] if len(gone) else []))
        if before is None or len(before) < len(self.manifest):
            table = pa.Table.from_pandas(self.manifest.table, preserve_index=False)
            with replacing(path) as temporary:
                # Paths are all different: a dictionary of them would only take memory, as would one large group.
                pq.write_table(
                    table, temporary, compression="zstd", use_dictionary=_OF_FEW, row_group_size=ROWS_IN_GROUP
                )

    def _find(self) -> None:
        names = filter(None, map(_NAME.fullmatch, (entry.name for entry in self.folder.iterdir())))
        end = 0
        for start, stop in sorted((int(name[1]), int(name[2])) for name in names):
            if end <= start < stop <= len(self.manifest):
                self.done[start], end = range(start, stop), stop

    def spans(self) -> Iterator[tuple[range, bool]]:
        """Give all rows of the output in order, in spans, and whether each is done; others are cut at chunks."""
        done = [self.done[start] for start in sorted(self.done)]
        at, total, size = 0, len(self.manifest), self.record.chunk
        for span in [*done, range(total, total)]:
            while at < span.start:
                stop = min(span.start, (at // size + 1) * size)
                yield range(at, stop), False
                at = stop
            if len(span):
                yield span, True
            at = span.stop

    def read(self, span: range) -> pa.Table:
        """Read a chunk that is done."""
        return pq.read_table(self._path(span), page_checksum_verification=True)

    def check(self) -> Iterator[int]:
        """Look at each chunk that is done, and forget those that are damaged or of files that have changed since.

        Yields
        ------
        int
            The number of specimens to classify again, of one chunk after the other.
        """
        for span in list(self.done.values()):
            try:
                table = self.read(span)
                good = len(table) == len(span) and not self._changed(span, table)
            except (OSError, pa.ArrowException):
                good = False
            if not good:
                del self.done[span.start]
                self._path(span).unlink(missing_ok=True)
            yield 0 if good else len(span)

    def _changed(self, span: range, table: pa.Table) -> bool:
        keys = self.manifest.table["path"].iloc[span.start : span.stop]
        last, now = "", (-1, "")
        for key, size, modified in zip(
            keys, table["bytes"].to_pylist(), table["modified"].to_pylist(), strict=True
        ):
            name, _ = split_key(key)
            if name != last:
                last = name
                try:
                    now = size_and_time(self.manifest.root / name)
                except OSError:  # gone: what was said of it stays
                    now = (-1, "")
            if now[1] and now != (size, modified):
                return True
        return False

    def keep(self, span: range, table: pa.Table) -> None:
        """Put a chunk on the disk.

        Raises
        ------
        CTCError
            If the disk is full, or the folder is gone.
        """
        if not is_folder(self.folder):
            raise PredictionsError(
                f"The folder {self.folder.parent} has vanished, or {self.folder.name} in it was removed. Bring it "
                f"back, and begin the same job again."
            )
        with replacing(self._path(span)) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        self.done[span.start] = span

    def refuse_edited(self, out: Path) -> None:
        """Refuse an output that somebody has changed since it was written here; asked before a run and at its end.

        Raises
        ------
        PredictionsError
        """
        written = self._written()
        if written and out.exists() and size_and_time(out) not in written:
            raise PredictionsError(
                f"{out} was changed after it was written here, perhaps by labels that somebody gave, and is not "
                f"written over. Choose another name for the output, or say that it may be replaced (--replace at "
                f"a terminal)."
            )

    def will_be(self, table: Path) -> None:
        """Note what the table is that is about to get the output's name.

        Raises
        ------
        OSError, CTCError
            If it is gone, or the disk is full.
        """
        last = [*self._written()[-8:], size_and_time(table)]  # killed programs may have left an earlier one
        write_whole(self.folder / _WRITTEN, json.dumps(last).encode())

    def _written(self) -> list[tuple[int, str]]:
        """Give size and time of the last tables that were written here; none if it is not known."""
        try:
            return [(int(size), str(time)) for size, time in json.loads((self.folder / _WRITTEN).read_bytes())]
        except (OSError, ValueError, TypeError):
            return []

    def _path(self, span: range) -> Path:
        return self.folder / f"{span.start:012}-{span.stop:012}.parquet"

    def release(self) -> None:
        """Let go of the folder; it goes away where nothing in it is done."""
        if self._lock is None:
            return
        nothing = not any(_NAME.fullmatch(entry.name) for entry in self.folder.glob("*"))
        with suppress(OSError):  # from a folder that is gone there is nothing to remove
            if nothing:  # while no other program can be at work in it
                self._clear(all_of_it=True)
        self._lock.release()
        self._lock = None
        if nothing:
            with suppress(OSError):  # by now, another one may be
                self.folder.rmdir()


def _listed(path: Path) -> pd.DataFrame | None:
    """Read the listing that was begun with; None if there is none."""
    try:
        return pq.read_table(path).to_pandas().astype("str") if path.exists() else None
    except (OSError, pa.ArrowException) as problem:
        raise PredictionsError(
            f"{path} is damaged, so what was begun cannot be gone on with. Choose another name for the output, or "
            f"remove the folder {path.parent.name} to begin anew."
        ) from problem


def _begun(out: Path, anew: bool) -> Record | None:
    try:
        if anew:
            _listed(folder_of(out) / _LISTING)  # what is damaged is given up, too
        return read_record(out)
    except PredictionsError:
        if anew:
            return None
        raise


def _locked(folder: Path, out: Path) -> Lock:
    try:
        return Lock.take(folder / _LOCK, "napari-ctc classify")
    except LockedError as problem:
        raise PredictionsError(
            f"{out.name} is being written by {problem}. Wait until it is done, or choose another name."
        ) from None
