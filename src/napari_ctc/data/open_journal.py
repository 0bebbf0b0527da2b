"""A journal with the table that it is folded into: opened and locked together, merged, written and closed.

What is said in it, and how it is taken back, is in `journal`; what its entries add up to is in `history`.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from napari_ctc.data.history import Change, History
from napari_ctc.data.journal_file import JournalFile
from napari_ctc.data.keeping import KeptTable, sha256
from napari_ctc.data.labels import Label
from napari_ctc.data.merging import merge
from napari_ctc.errors import JournalError, ManifestError


@dataclass(frozen=True)
class Folded:
    """What became of the manifest.

    Parameters
    ----------
    written : int
        Labels that it did not have before.
    changes : tuple of Change
        Labels that somebody else changed in it meanwhile.
    notes : tuple of str
        Sentences to show: what was merged, and where the older form is kept.
    """

    written: int = 0
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


class OpenJournal:
    """The labels of one manifest, open in this window until `close`.

    Where another window has them, or the folder cannot be written to, they open for reading, and `read_only` says
    why. To be used from one thread.

    Parameters
    ----------
    manifest : Path
        The table that labels are folded into; it need not exist yet. Keys of specimens are as it has them.
    who : str
        Who labels; by default the name that the person has on this computer.

    Attributes
    ----------
    history : History
        The labels, the classes and the steps. To be read; written to by the journal alone.
    notes : tuple of str
        Sentences worth telling the person who opened it.

    Raises
    ------
    ManifestError, JournalError
        If manifest or journal are there and cannot be read.
    """

    def __init__(self, manifest: str | Path, who: str = "") -> None:
        self.manifest = Path(manifest).absolute()
        self._on_disk = JournalFile(self.manifest, who or _user())
        try:
            self._kept = KeptTable(self.manifest)
            self.history = History(self._kept.table)
            self._on_disk.replay(self.history.apply)
            self.notes = self._on_disk.notes
            self._merge()
        except BaseException:
            self._on_disk.close()
            raise

    @property
    def file(self) -> Path:
        """The journal."""
        return self._on_disk.path

    @property
    def read_only(self) -> str:
        """Why nothing can be labelled; empty if it can."""
        return self._on_disk.read_only

    def close(self) -> Folded:
        """Fold the labels into the manifest and let others label.

        Raises
        ------
        CTCError
            If the manifest cannot be written; the labels are in the journal, and others can label all the same.
        """
        try:
            return Folded() if self.read_only else self.fold()
        finally:
            self._on_disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --------------------------------------------------------------------------------- the manifest

    def look(self) -> Folded:
        """See whether another program changed the manifest, and merge that in.

        Raises
        ------
        ManifestError
            If it is no manifest any more.
        """
        before = self.history.labels()
        try:
            changed = self._kept.reread()
        except ManifestError as problem:
            raise ManifestError(f"{problem} Until then the labels stay in {self.file.name}.") from problem
        if not changed:
            return Folded()
        notes = (
            f"{self.manifest.name} was changed by another program meanwhile; both versions are merged.",
            *self._merge(),
        )
        after = self.history.labels()
        changes = (
            Change(key, before.get(key, Label()), after.get(key, Label()))
            for key in dict.fromkeys([*before, *after])
        )
        return Folded(0, tuple(change for change in changes if not change.was.says(change.now)), notes)

    def fold(self, sources: Mapping[str, str] | None = None) -> Folded:
        """Write the labels into the manifest, the whole file or none; its form, order and columns stay.

        What another program wrote into it is merged first. A form of it that was not written from here is kept as
        ``NAME.backup.csv`` (then ``NAME.backup-2.csv`` and so on) before it is replaced.

        Parameters
        ----------
        sources : mapping of keys to str
            Slide, patient or run of specimens that get a row of their own, if the table has that column.

        Raises
        ------
        CTCError
            If it cannot be written or read; the labels are in the journal all the same.
        """
        if self.read_only:
            raise JournalError(self.read_only)
        seen = self.look()
        notes: tuple[str, ...] = ()
        old, pending = self._kept.table.content, self.history.pending
        new = self._kept.table.with_labels(pending, sources or {})
        if self._kept.gone:
            notes = (f"{self.manifest.name} was deleted by another program; it is written again.",)
        elif new == old:
            return seen
        elif old and sha256(old) != self.history.folded:
            notes = (f"{self.manifest.name} as it was before is kept as {self._kept.keep_backup().name}.",)
        self._kept.replace(new)
        self._write([{"entry": "folded", "sha256": sha256(new), "labels": len(pending)}])
        self.history.read(self._kept.table)
        return Folded(len(pending), seen.changes, (*seen.notes, *notes))

    def _merge(self) -> tuple[str, ...]:
        """Bring the journal and the manifest as it is now together."""
        table = self._kept.table
        entries, notes = merge(self.history, table, self.manifest)
        self.history.read(table)
        if self.read_only:  # a reader sees the same, and leaves it to whoever writes to record it
            for entry in entries:
                self.history.apply(entry)
        elif entries:
            self._write(entries)
        self.notes += notes
        return notes

    # ---------------------------------------------------------------------------------- the journal

    def _write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Put entries on the disk, then count them."""
        self._on_disk.write(entries)
        for entry in entries:
            self.history.apply(entry)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, ImportError, KeyError):  # a computer that does not know who sits there
        return "unknown"
