"""The journal of labelling: every label is on the disk before `label` returns, and the manifest follows.

The journal lies beside the manifest and is only ever added to. It says when and by whom a specimen got its label,
how it was picked and whether a prediction was visible, and it stays when the labels are in the manifest. What its
entries add up to is in `history`.
"""

from __future__ import annotations

import getpass
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from napari_ctc.data.history import Change, History, Pick
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


class Journal:
    """The labels of one manifest, open for labelling in this window until `close`.

    Where another window has them, or the folder cannot be written to, they open for reading, and `read_only` says
    why. Methods that label return once it is on the disk, and give what has changed; if they raise `JournalError`,
    nothing has changed, neither here nor on the disk. To be used from one thread.

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

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------- labelling

    def label(
        self,
        keys: Iterable[str],
        name: str,
        pick: Pick = Pick(),
        predicted: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> tuple[Change, ...]:
        """Label specimens, all in one step.

        Parameters
        ----------
        keys : iterable of str
        name : str
            The class; a new one joins the others at their end.
        pick : Pick
            How they were picked, and whether a prediction was visible.
        predicted : mapping of keys to str
            What the classifier said, if it was known.
        digests : mapping of keys to str
            `content_digest` of the specimens, if known: they tell later whether one was rewritten.

        Raises
        ------
        JournalError
            If it could not be put on the disk.
        """
        return self._give(keys, Label(self._class(name), by="person"), pick, predicted, digests)

    def unsure(
        self,
        keys: Iterable[str],
        pick: Pick = Pick(),
        predicted: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> tuple[Change, ...]:
        """Record that a person looked and could not tell; such a specimen is never trained on."""
        return self._give(keys, Label(unsure=True), pick, predicted, digests)

    def clear(self, keys: Iterable[str], pick: Pick = Pick()) -> tuple[Change, ...]:
        """Take labels away."""
        return self._give(keys, Label(), pick, None, None)

    def undo(self) -> tuple[Change, ...]:
        """Take the last step back; gives what changed, nothing if there is no step."""
        return self._go("undone", self.history.done)

    def redo(self) -> tuple[Change, ...]:
        """Do the step again that was undone last."""
        return self._go("redone", self.history.undone)

    def rename_class(self, old: str, new: str) -> tuple[Change, ...]:
        """Rename a class, or merge it into another that exists; every specimen of it follows, in one step.

        Raises
        ------
        JournalError
            If there is no class `old`, or it could not be put on the disk.
        """
        new, classes = self._class(new), self.history.classes
        if old not in classes:
            raise JournalError(f"No class is called '{old}'. The classes are: {', '.join(classes) or 'none'}.")
        if old == new:
            return ()
        if new in classes:  # merged: it keeps its own place
            after = [name for name in classes if name != old]
        else:
            after = [new if name == old else name for name in classes]
        keys = [key for key, label in self.history.labels().items() if label.name == old]
        step = {"step": self.history.last + 1, "old": old, "new": new, "keys": keys}
        self._write([{"entry": "renamed", **step, "classes": after, "was_classes": list(classes)}])
        return tuple(self.history.done[-1].changes)

    def set_classes(self, names: Sequence[str], colours: Mapping[str, str] | None = None) -> None:
        """Say which classes there are and in which order; one in use that is left out stays, at the end.

        Parameters
        ----------
        names : sequence of str
        colours : mapping of names to ``#rrggbb``, optional
            What is left out keeps its colour.
        """
        entry: dict[str, Any] = {"entry": "classes", "classes": [self._class(name) for name in names]}
        self._write([entry | ({"colours": dict(colours)} if colours else {})])

    def _give(
        self,
        keys: Iterable[str],
        label: Label,
        pick: Pick,
        predicted: Mapping[str, str] | None,
        digests: Mapping[str, str] | None,
    ) -> tuple[Change, ...]:
        keys = list(dict.fromkeys(keys))
        if not keys:
            return ()
        entries: list[dict[str, Any]] = []
        if label.name and label.name not in self.history.listed:  # from now on the order of classes is fixed
            classes = list(dict.fromkeys([*self.history.classes, label.name]))
            entries.append({"entry": "classes", "classes": classes})
        for key in keys:
            was = self.history.label_of(key)
            entry = {"entry": "labelled", "step": self.history.last + 1, "key": key, "label": label.name}
            entry |= {"picked": pick.how, "prediction": pick.prediction}
            rest = {"unsure": label.unsure, "was": was.name, "was_unsure": was.unsure, "was_by": was.by}
            rest |= {"predicted": (predicted or {}).get(key), "digest": (digests or {}).get(key)}
            rest |= {"round": pick.round}
            entries.append(entry | {name: value for name, value in rest.items() if value})
        self._write(entries)
        return tuple(self.history.done[-1].changes)

    def _go(self, kind: Literal["undone", "redone"], steps: list[Any]) -> tuple[Change, ...]:
        if not steps:
            return ()
        changes = self.history.way(steps[-1], back=kind == "undone")
        self._write([{"entry": kind, "step": steps[-1].number}])
        return changes

    def _class(self, name: str) -> str:
        """Accept the name of a class: one that exists, or text on one line."""
        name = name.strip()
        if name in self.history.listed or name in self.history.classes:
            return name
        if not name:
            raise JournalError("A class needs a name.")
        if {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Zl", "Zp"}:
            raise JournalError(f"A class cannot be called {name!r}. Use letters, digits and spaces on one line.")
        return name

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
