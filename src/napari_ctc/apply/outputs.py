"""Where the rows of a classification go: into memory, or into a file that survives any interruption."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa

from napari_ctc.apply.parts import Parts
from napari_ctc.apply.record import Record
from napari_ctc.data.files import beside
from napari_ctc.data.kept import KeptPredictions
from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.predictions import Predictions, empty
from napari_ctc.data.writers import WRITERS, Writer
from napari_ctc.errors import CTCError, PredictionsError
from napari_ctc.events import Event, Job, Said

Found = Generator[tuple[range, pa.Table] | Event]
"""Columns of some rows, in order, and signs of life."""
Compute = Callable[[Iterable[range]], Found]
"""Computes the rows of each chunk it is given: in one piece or in several, in their order."""

ROWS_AT_ONCE = 1000  # that are written together: twenty cost nearly as much


class ToMemory:
    """Keeps the rows in memory."""

    def __init__(self, manifest: Manifest, classes: tuple[str, ...]) -> None:
        self.manifest = manifest
        self.saved: Path | None = None
        self._classes = classes
        self._tables: list[pd.DataFrame] = []

    @property
    def begun(self) -> bool:
        """Whether there are rows, which an end before the last specimen leaves."""
        return bool(self._tables)

    def check(self) -> Job[None]:
        """Look at what is there already: nothing."""
        yield from ()

    def found(self, compute: Compute) -> Found:
        """Compute everything."""
        return compute([range(len(self.manifest))])

    def append(self, rows: pd.DataFrame) -> None:
        """Take rows."""
        self._tables.append(rows)

    def keep(self) -> None:
        """Keep what is computed, as it is."""

    def finish(self, stopped: bool) -> Predictions:
        """Put the rows together."""
        table = pd.concat(self._tables, ignore_index=True) if self._tables else empty(self._classes)
        return Predictions(table, self.manifest.root, self._classes, stopped)

    def release(self) -> None:
        """Leave nothing behind."""


class ToFile:
    """Writes the rows into a file as they come, and keeps each chunk of them beside it until the file is whole.

    Parameters
    ----------
    out : Path
    classes : tuple of str
    record : Record
    manifest : Manifest
    anew : bool
        Give up what was begun with another classifier or otherwise.

    Raises
    ------
    PredictionsError, CTCError
        As `Parts.open`.
    """

    def __init__(
        self, out: Path, classes: tuple[str, ...], record: Record, manifest: Manifest, anew: bool
    ) -> None:
        self.out = out
        self.saved: Path | None = None
        self._classes = classes
        self._parts = Parts.open(out, record, manifest, anew)
        self.manifest, self.record = self._parts.manifest, self._parts.record
        self._writer: Writer | None = None
        self._waiting: list[tuple[range, pa.Table]] = []  # computed, and not on the disk
        self._rows: list[pd.DataFrame] = []  # to be written
        self._counts = dict.fromkeys(classes, 0)
        self._failed = 0
        self._total = len(self.manifest)

    def check(self) -> Job[None]:
        """Look at what is there already, and say how the job goes on."""
        again = done = 0
        for note in self._parts.notes:
            yield Said(text=note, warning=True)
        for lost in self._parts.check():
            again += lost
            yield Event(done=0, total=self._total)
        done = sum(map(len, self._parts.done.values()))
        if again:
            why = "files have changed or could not be read"
            yield Said(text=f"Classified again, since {why}: {again:,} of {self._total:,} specimens.")
        if done:
            yield Said(text=f"Classified before, and not again: {done:,} of {self._total:,} specimens.")

    def found(self, compute: Compute) -> Found:
        """Give all rows in order: from the disk what is done, and the others as they are computed."""
        spans = list(self._parts.spans())
        with closing(compute([span for span, done in spans if not done])) as computed:
            for span, done in spans:
                if done:
                    yield span, self._parts.read(span)
                    continue
                at = span.start
                while at < span.stop:
                    one = next(computed)
                    if not isinstance(one, Event):
                        at = one[0].stop
                        self._waiting.append(one)
                        if at == span.stop:
                            self.keep()
                    yield one

    def keep(self) -> None:
        """Put what is computed on the disk, as one chunk."""
        if self._waiting:
            span = range(self._waiting[0][0].start, self._waiting[-1][0].stop)
            try:
                self._parts.keep(span, pa.concat_tables([table for _, table in self._waiting]))
            except CTCError as problem:
                raise self._going_on(str(problem)) from problem
        self._waiting = []

    def append(self, rows: pd.DataFrame) -> None:
        """Take rows, and write them when there are enough."""
        self._rows.append(rows)
        if sum(map(len, self._rows)) >= ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if not self._rows:
            return
        rows = pd.concat(self._rows, ignore_index=True)
        self._rows = []
        for name, count in rows["predicted"].value_counts().items():
            if name:
                self._counts[str(name)] += int(count)
        self._failed += int((rows["error"] != "").sum())
        paths = rebase(rows["path"], self.manifest.root, self.out.parent)
        try:
            if self._writer is None:
                self._writer = WRITERS[self.out.suffix.lower()](self._parts.folder / f"table{self.out.suffix}")
            self._writer.append(rows.assign(path=pd.array(paths, dtype="str")))
        except OSError as problem:
            raise self._going_on(f"{self.out} cannot be written: {problem.strerror or problem}.") from problem

    def _going_on(self, sentence: str) -> PredictionsError:
        done = sum(map(len, self._parts.done.values()))
        return PredictionsError(
            f"{sentence} {done:,} of {self._total:,} specimens are done and kept: once that is mended, the same "
            f"job goes on from there."
        )

    def finish(self, stopped: bool) -> Predictions:
        """Give the file its name: its own if it is whole, else one beside it; none where a stop came too soon."""
        if stopped:
            self.keep()
        if self._writer is None and not self._rows:
            if stopped:
                return Predictions(empty(self._classes), self.manifest.root, self._classes, stopped)
            self._rows = [empty(self._classes)]
        self._write()
        saved = beside(self.out) if stopped else self.out
        try:
            assert self._writer is not None
            self._writer.close()
            self._writer = None
            table = self._parts.folder / f"table{self.out.suffix}"
            if not stopped:
                self._parts.refuse_edited(self.out)  # again: it may have been filled in while this ran
                self._parts.will_be(table)
            table.replace(saved)
        except PredictionsError:
            raise
        except CTCError as problem:
            raise self._going_on(str(problem)) from problem
        except OSError as problem:
            raise self._going_on(f"{saved} cannot be written: {problem.strerror or problem}.") from problem
        if not stopped and self._parts.begun:
            beside(self.out).unlink(missing_ok=True)  # what an earlier, stopped run had
        self.saved = saved
        return KeptPredictions(saved, self.manifest.root, self._classes, stopped, self._counts, self._failed)

    def release(self) -> None:
        """Let go, whatever has happened: chunks that are done stay, and nothing else."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.discard()
        self._parts.release()
