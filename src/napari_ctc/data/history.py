"""What the entries of a journal add up to: the labels that stand, the classes, and what can be undone.

Pure replay: an entry read from the disk and one written a moment ago go the same way, so that what a window shows
is what the next one will read. No file is touched here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from napari_ctc.data.labels import Label, LabelTable

Entry = Mapping[str, Any]

_COLOUR = re.compile("#[0-9A-Fa-f]{6}")
_NOTHING = Label()  # one for all: 10,000 new ones a turn would bring on a full garbage collection


@dataclass(frozen=True)
class Pick:
    """How a specimen came before the eyes of the person who judged it.

    Parameters
    ----------
    how : "chosen", "random", "uncertain", "rare", "unlike" or "review"
        By the person's own choice, by chance, or out of a queue.
    prediction : "visible", "hidden" or "none"
        Whether a prediction could be seen; none where there was no prediction.
    round : int
        Of a random audit; 0 for none.
    """

    how: Literal["chosen", "random", "uncertain", "rare", "unlike", "review"] = "chosen"
    prediction: Literal["visible", "hidden", "none"] = "none"
    round: int = 0

    @property
    def fair(self) -> bool:
        """Whether a label may count towards rates: picked by chance, and judged blind."""
        return self.how == "random" and self.prediction in ("hidden", "none")


@dataclass(frozen=True)
class Change:
    """What a step did to one specimen: its key, what was said before, and what is said now."""

    key: str
    was: Label
    now: Label

    @property
    def reverse(self) -> Change:
        """The way back."""
        return Change(self.key, self.now, self.was)


@dataclass(frozen=True)
class Step:
    """What is undone at once: specimens labelled together, or a class renamed.

    Parameters
    ----------
    number : int
        From 1, in the order of labelling.
    changes : list of Change
        Added to while the lines of the step are read.
    pick : Pick
    renamed : (old, new) or None
    classes, was_classes : tuple of str
        After and before a class was renamed.
    """

    number: int
    changes: list[Change]
    pick: Pick = Pick()
    renamed: tuple[str, str] | None = None
    classes: tuple[str, ...] = ()
    was_classes: tuple[str, ...] = ()


class History:
    """The state that entries lead to.

    Parameters
    ----------
    table : LabelTable
        What the manifest says; entries go before it.

    Attributes
    ----------
    given : dict of str to Label
        What entries say, by key.
    base : dict of str to Label
        What the manifest said of these keys when journal and manifest last agreed.
    digests : dict of str to str
        Of the specimens' pixels when they were labelled, where known.
    folded : str
        SHA-256 of the manifest as it was last written from here; empty if it never was.
    last : int
        The highest number of a step.
    listed : tuple of str
        The classes in the order that a person gave them.
    colours : dict of str to str
        The colours of classes, as ``#rrggbb``, where somebody chose them.
    done, undone : list of Step
        What can be undone and redone, the next one last.
    """

    def __init__(self, table: LabelTable) -> None:
        self.read(table)
        self.given: dict[str, Label] = {}
        self.base: dict[str, Label] = {}
        self.digests: dict[str, str] = {}
        self.folded = ""
        self.last = 0
        self.listed: tuple[str, ...] = ()
        self.colours: dict[str, str] = {}
        self.done: list[Step] = []
        self.undone: list[Step] = []

    # ------------------------------------------------------------------------------------ asking it

    def label_of(self, key: str) -> Label:
        """Say what stands for a specimen."""
        return self.given.get(key) or self.table.get(key) or _NOTHING

    def labels(self) -> dict[str, Label]:
        """Give every label that stands, by key; *unsure* is among them."""
        found = self.table | self.given
        return {key: label for key, label in found.items() if label.name or label.unsure}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of their keys 1 to 9: as a person listed them, then others in use."""
        used = {label.name for label in self.labels().values()}
        later = [name for name in self.table_classes if name in used]
        later += [label.name for label in self.given.values() if label.name]
        return tuple(dict.fromkeys([*self.listed, *later]))

    @property
    def pending(self) -> dict[str, Label]:
        """The labels that the manifest does not have yet, by key."""
        return {key: label for key, label in self.given.items() if label != self.base.get(key)}

    def random_labels(self) -> dict[int, dict[str, Label]]:
        """Give the labels of specimens that were picked at random and judged blind, by round.

        Only they are a fair sample: rates, calibration and promises may use no others. A specimen counts as it
        was judged blind; a correction made with the prediction in view does not reach it, a renamed class does.
        *Unsure* is among them, for leaving it out would bend the rates.

        Returns
        -------
        dict of round to dict of key to Label
        """
        rounds: dict[int, dict[str, Label]] = {}
        for step in self.steps_as_named_now():
            if step.pick.fair:
                rounds.setdefault(step.pick.round, {}).update({one.key: one.now for one in step.changes})
        return {
            number: {key: label for key, label in labels.items() if label.name or label.unsure}
            for number, labels in rounds.items()
        }

    def steps_as_named_now(self) -> list[Step]:
        """Give the steps of `done` with each class called as it is now, whatever it was called then."""
        names: dict[str, str] = {}  # from what a class was called when a step was done
        steps = []
        for step in reversed(self.done):
            if step.renamed:
                old, new = step.renamed
                names[old] = names.get(new, new)
            steps.append(_as_named(step, names) if names else step)
        return steps[::-1]

    # ----------------------------------------------------------------------------------- adding to it

    def read(self, table: LabelTable) -> None:
        """Take in what the manifest says now."""
        self.table = table.labels
        self.table_classes = table.classes

    def apply(self, entry: Entry) -> None:
        """Take one entry in. Kinds of entries that a newer version may write are passed over.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it makes no sense; nothing has changed then.
        """
        take = getattr(self, f"_take_{entry['entry']}", None)
        if take is not None:
            take(entry)

    def _take_labelled(self, entry: Entry) -> None:
        number = _number(entry["step"])
        now = Label(_text(entry["label"]), entry.get("unsure") is True, "person")
        if not now.name:
            now = replace(now, by="")
        was = Label(_text(entry.get("was", "")), entry.get("was_unsure") is True, _text(entry.get("was_by", "")))
        change = Change(_text(entry["key"]), was, now)
        pick = Pick(
            entry.get("picked", "chosen"), entry.get("prediction", "visible"), _number(entry.get("round", 0))
        )
        if self.done and self.done[-1].number == number:
            self.done[-1].changes.append(change)
        else:
            self._begin(Step(number, [change], pick))
        self._set(change)
        if digest := entry.get("digest"):
            self.digests[change.key] = str(digest)

    def _take_renamed(self, entry: Entry) -> None:
        old, new = _text(entry["old"]), _text(entry["new"])
        changes = []
        for key in entry["keys"]:
            by = self.label_of(_text(key)).by
            changes.append(Change(key, Label(old, by=by), Label(new, by=by)))
        classes, was = _texts(entry["classes"]), _texts(entry["was_classes"])
        step = Step(_number(entry["step"]), changes, renamed=(old, new), classes=classes, was_classes=was)
        self._begin(step)
        self.listed = classes
        if old in self.colours:
            self.colours.setdefault(new, self.colours[old])
        for change in changes:
            self._set(change)

    def _take_undone(self, entry: Entry) -> None:
        self._move(_number(entry["step"]), self.done, self.undone)

    def _take_redone(self, entry: Entry) -> None:
        self._move(_number(entry["step"]), self.undone, self.done)

    def _take_classes(self, entry: Entry) -> None:
        self.listed = _texts(entry["classes"])
        self.colours |= {
            name: colour
            for name, colour in dict(entry.get("colours", {})).items()
            if _COLOUR.fullmatch(_text(colour))
        }

    def _take_folded(self, entry: Entry) -> None:
        self.folded = _text(entry["sha256"])
        self.base = dict(self.given)

    def _take_merged(self, entry: Entry) -> None:
        key, theirs = _text(entry["key"]), Label(_text(entry["theirs"]))
        if entry["kept"] == "theirs":
            self.given[key] = theirs
        self.base[key] = theirs

    def _begin(self, step: Step) -> None:
        self.done.append(step)
        self.undone.clear()
        self.last = max(self.last, step.number)

    def _move(self, number: int, source: list[Step], target: list[Step]) -> None:
        if not source or source[-1].number != number:
            raise ValueError(f"step {number} is not the one that comes next")
        step = source.pop()
        for change in self.way(step, back=target is self.undone):
            self._set(change)
        if step.renamed:
            self.listed = step.was_classes if target is self.undone else step.classes
        target.append(step)

    def way(self, step: Step, back: bool) -> tuple[Change, ...]:
        """Give what undoing (or redoing) a step changes: only what still stands as the step left it."""
        changes = [change.reverse for change in reversed(step.changes)] if back else step.changes
        return tuple(change for change in changes if self.label_of(change.key).says(change.was))

    def _set(self, change: Change) -> None:
        self.base.setdefault(change.key, change.was)
        self.given[change.key] = change.now


def _as_named(step: Step, names: Mapping[str, str]) -> Step:
    if not any(one.was.name in names or one.now.name in names for one in step.changes):
        return step  # as most are: tens of thousands of new ones a turn would be felt
    changes = [Change(one.key, _called(one.was, names), _called(one.now, names)) for one in step.changes]
    return replace(step, changes=changes)


def _called(label: Label, names: Mapping[str, str]) -> Label:
    return replace(label, name=names[label.name]) if label.name in names else label


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{values!r} is no list")
    return tuple(_text(value) for value in values)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value
