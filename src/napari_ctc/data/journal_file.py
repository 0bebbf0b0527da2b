"""The file of a journal: one window at a time writes to it, and what a crash left of a line is set aside.

What its entries mean is the business of `journal` and `history`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_ctc.data.lines import Lines, read_lines
from napari_ctc.data.locks import Lock
from napari_ctc.errors import JournalError, LockedError

VERSION = 1
CLOSED = "These labels were closed. Open them again to go on."


def journal_path(manifest: Path) -> Path:
    """Give the place of a manifest's journal: ``labels.journal.jsonl`` beside ``labels.csv``."""
    stem = manifest.stem if manifest.suffix.lower() == ".csv" else manifest.name
    return manifest.with_name(f"{stem}.journal.jsonl")


class JournalFile:
    """A manifest's journal on the disk, locked for this window until `close`.

    Parameters
    ----------
    manifest : Path
        The table that it lies beside; it need not exist.
    who : str
        Who labels.

    Attributes
    ----------
    path : Path
    read_only : str
        Why nothing can be written: another window has it, or the disk does not let us. Empty if it can.
    notes : tuple of str
        Sentences worth telling the person who opened it.

    Raises
    ------
    JournalError
        If the manifest's folder is not there.
    """

    def __init__(self, manifest: Path, who: str) -> None:
        self.path = journal_path(manifest)
        self.read_only = ""
        self.notes: tuple[str, ...] = ()
        self._manifest = manifest
        self._who = who
        self._new = True
        self._lines = Lines(self.path)
        self._lock = self._take_lock()

    def replay(self, apply: Callable[[Mapping[str, Any]], object]) -> None:
        """Hand every entry to `apply`, oldest first; those that it refuses are passed over, with a note.

        Parameters
        ----------
        apply : callable
            Takes an entry; raises KeyError, TypeError or ValueError for one that makes no sense.

        Raises
        ------
        JournalError
            If the file is there and cannot be read.
        """
        read = read_lines(self.path)
        self._new = not (read.entries or read.damaged)
        damaged = list(read.damaged)
        for number, entry in read.entries:
            try:
                apply(entry)
            except (KeyError, TypeError, ValueError):
                damaged.append(number)
        if damaged:
            lines = ", ".join(map(str, sorted(damaged)[:10])) + (" and others" if len(damaged) > 10 else "")
            self.notes += (f"{self.path.name}: damaged lines are passed over (line {lines}). All others count.",)
        if not self.read_only:
            self._set_aside(read.torn, apply)

    def write(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add entries, each with the time and who labels; they are on the disk when this returns.

        Raises
        ------
        JournalError
            If that is not possible; the file is then as it was before.
        """
        if self.read_only:
            raise JournalError(self.read_only)
        if self._new:
            entries = [{"entry": "journal", "version": VERSION, "manifest": self._manifest.name}, *entries]
        mark = {"when": datetime.now(UTC).isoformat(timespec="milliseconds"), "who": self._who}
        self._lines.append([{"entry": entry["entry"], **mark, **entry} for entry in entries])
        self._new = False

    def close(self) -> None:
        """Let other windows have it; nothing is written from here any more."""
        self.read_only = self.read_only or CLOSED
        self._lines.close()
        if self._lock is not None:
            self._lock.release()

    def _set_aside(self, torn: bytes, apply: Callable[[Mapping[str, Any]], object]) -> None:
        """See whether the file can be written to, and keep what a crash left of a line as an entry of its own."""
        try:
            self._lines.check()
            if torn:
                entry = self._lines.set_aside(torn)
                self.write([entry])
                apply(entry)
        except (OSError, JournalError) as problem:
            why = getattr(problem, "strerror", None) or problem
            self.read_only = f"{self.path.name} cannot be written: {why}. It is open for reading only."

    def _take_lock(self) -> Lock | None:
        place, name = self.path.with_name(f".{self.path.name}.lock"), self._manifest.name
        try:
            lock = Lock.take(place, self._who)
        except LockedError as problem:
            self.read_only = f"{name} is being labelled by {problem}. Here it is open for reading only."
            return None
        except FileNotFoundError:
            raise JournalError(
                f"{self._manifest.parent} is not a folder. Choose another for the labels."
            ) from None
        except OSError as problem:
            self.read_only = (
                f"{place.parent} cannot be written: {problem.strerror}. {name} is open for reading only: to "
                f"label, choose another place for the labels."
            )
            return None
        if not lock.sure:
            self.notes += (f"{place.parent} is on a disk without locks: label {name} in one window only.",)
        return lock
