"""The journal of labelling: every label is on the disk before `label` returns, and the manifest follows.

The journal lies beside the manifest and is only ever added to. It says when and by whom a specimen got its label,
how it was picked and whether a prediction was visible, and it stays when the labels are in the manifest. How it is
opened, folded into the manifest and closed is in `open_journal`, what its entries add up to in `history`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from napari_ctc.data.history import Change, Pick
from napari_ctc.data.labels import Label
from napari_ctc.data.open_journal import OpenJournal
from napari_ctc.errors import JournalError


class Journal(OpenJournal):
    """The labels of one manifest, open for labelling in this window until `close`.

    Methods that label return once it is on the disk, and give what has changed; if they raise `JournalError`,
    nothing has changed, neither here nor on the disk.

    Parameters
    ----------
    manifest, who
        As in `OpenJournal`.
    """

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
        label = Label(self._class(name), by="person")
        return self._give(dict.fromkeys(keys, label), pick, predicted, digests)

    def unsure(
        self,
        keys: Iterable[str],
        pick: Pick = Pick(),
        predicted: Mapping[str, str] | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> tuple[Change, ...]:
        """Record that a person looked and could not tell; such a specimen is never trained on."""
        return self._give(dict.fromkeys(keys, Label(unsure=True)), pick, predicted, digests)

    def clear(self, keys: Iterable[str], pick: Pick = Pick()) -> tuple[Change, ...]:
        """Take labels away."""
        return self._give(dict.fromkeys(keys, Label()), pick, None, None)

    def take_over(self, labels: Mapping[str, Label]) -> tuple[Change, ...]:
        """Take in what a person said of specimens in another table, all in one step; what stands here gives way.

        Parameters
        ----------
        labels : mapping of keys to Label

        Raises
        ------
        JournalError
            If it could not be put on the disk.
        """
        names = {name: self._class(name) for name in {label.name for label in labels.values()} if name}
        said = {
            key: replace(label, name=names.get(label.name, ""), by="person" if label.name else "")
            for key, label in labels.items()
        }
        news = {key: label for key, label in said.items() if not label.says(self.history.label_of(key))}
        return self._give(news, Pick(), None, None)

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
        labels: Mapping[str, Label],
        pick: Pick,
        predicted: Mapping[str, str] | None,
        digests: Mapping[str, str] | None,
    ) -> tuple[Change, ...]:
        if not labels:
            return ()
        entries: list[dict[str, Any]] = []
        names = {label.name: None for label in labels.values() if label.name}
        if names.keys() - set(self.history.listed):  # from now on the order of classes is fixed
            entries.append({"entry": "classes", "classes": list(dict.fromkeys([*self.history.classes, *names]))})
        for key, label in labels.items():
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
        known = list(dict.fromkeys([*self.history.listed, *self.history.classes]))
        if name in known:
            return name
        for other in known:  # an accent may be a character of its own or not, which nobody can see
            if unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", name):
                return other
        if not name:
            raise JournalError("A class needs a name.")
        if {unicodedata.category(character) for character in name} & {"Cc", "Cs", "Zl", "Zp"}:
            raise JournalError(f"A class cannot be called {name!r}. Use letters, digits and spaces on one line.")
        return name
