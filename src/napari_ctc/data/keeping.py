"""The manifest on the disk while labels are given: has another program changed it, and how it is replaced.

What is written into it is decided in `journal`, its form is the business of `labels`.
"""

from __future__ import annotations

import hashlib
from itertools import count
from pathlib import Path

from napari_ctc.data.files import write_whole
from napari_ctc.data.labels import LabelTable
from napari_ctc.data.tables import read_content
from napari_ctc.errors import JournalError


class KeptTable:
    """A manifest, as it was last read or written from here.

    Parameters
    ----------
    path : Path
        It need not exist.

    Attributes
    ----------
    table : LabelTable

    Raises
    ------
    ManifestError
        If it is there and cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table = LabelTable()
        self.reread()

    @property
    def gone(self) -> bool:
        """Whether somebody deleted it."""
        return bool(self.table.content) and not self.path.exists()

    def reread(self) -> bool:
        """Read it again if it holds something else by now, and tell whether it did.

        Raises
        ------
        ManifestError
            If it cannot be used any more.
        """
        if not self.path.exists():
            return False
        content = read_content(self.path)
        if content == self.table.content:
            return False
        self.table = LabelTable.of(self.path, content)
        return True

    def replace(self, content: bytes) -> None:
        """Write it, the whole file or none: where it lies if its name is a link, with the rights that it has.

        Raises
        ------
        CTCError
            If that is not possible; it is as it was then.
        """
        target = self.path.resolve()
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not mode & 0o222:
            raise JournalError(
                f"{self.path.name} is write-protected, so the labels stay in their journal beside it, where "
                f"none is lost. Allow writing: the next label brings it up to date."
            )
        write_whole(target, content)
        if mode is not None:
            target.chmod(mode)
        self.table = LabelTable.of(self.path, content)

    def keep_backup(self) -> Path:
        """Keep it as ``NAME.backup.csv``, ``NAME.backup-2.csv`` and so on, each form once.

        Raises
        ------
        CTCError
            If that is not possible.
        """
        for number in count(1):
            mark = "" if number == 1 else f"-{number}"
            path = self.path.with_name(f"{self.path.stem}.backup{mark}{self.path.suffix}")
            if not path.exists():
                write_whole(path, self.table.content)
                break
            if read_content(path) == self.table.content:
                break
        return path


def sha256(content: bytes) -> str:
    """Digest a table's bytes."""
    return hashlib.sha256(content).hexdigest()
