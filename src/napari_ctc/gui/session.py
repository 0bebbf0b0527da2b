"""The session: what the classifier in use and the instant head say of the specimens that are open in a viewer.

One for each viewer, shared by the docks. Which specimens are open is in `open_specimens`, what people say of them
in `labelled_specimens`, what is shown of what was said in `shown`. It knows no Qt, reads no file and computes
nothing: classifying in the background is the business of `background`, the instant head that of `instant`.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_ctc.gui.labelled_specimens import LabelledSpecimens
from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.shown import Words, reason_of, words_of_head, words_of_network
from napari_ctc.gui.speakers import HEAD, NETWORK, HeadWords, Speaker

if TYPE_CHECKING:
    import pandas as pd
    from napari.viewer import Viewer

    from napari_ctc.data.stacks import SpecimenStack
    from napari_ctc.learn.classifier import Classifier

_sessions: weakref.WeakKeyDictionary[Viewer, Session] = weakref.WeakKeyDictionary()


def session_of(viewer: Viewer) -> Session:
    """Return the session of a viewer, the same one each time."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # a dock gets the viewer behind a proxy
    if viewer not in _sessions:
        _sessions[viewer] = Session(viewer)
    return _sessions[viewer]


class Session(LabelledSpecimens):
    """The open specimens, with what people and classifiers say of each.

    Parameters
    ----------
    viewer : napari.Viewer
        Kept by a weak reference.

    Attributes
    ----------
    classifier_path : Path or None
        The file of the classifier in use.
    """

    classifier_changed = Signal(object)  # Classifier or None
    speaker_changed = Signal()  # whose predictions are shown, or who there is to choose from
    predictions_changed = Signal(object)  # the indices concerned
    concealed_changed = Signal()  # of which specimens no prediction is shown

    def __init__(self, viewer: Viewer) -> None:
        self._classifier: Classifier | None = None
        self._digests: list[str] = []
        self._heard: HeadWords | None = None
        self._chosen = NETWORK
        self._words: Words | None = None  # worked out when somebody asks
        self._shown: Words | None = None
        self.classifier_path: Path | None = None
        self._asked = 0
        self._concealed: set[int] = set()
        self._all_concealed = False
        super().__init__(viewer)

    def _first_classes(self) -> tuple[str, ...]:
        return () if self._classifier is None else self._classifier.classes

    def _classes_renamed(self) -> None:
        self._words = self._shown = None

    # ------------------------------------------------------------------------------------ who speaks

    @property
    def classifier(self) -> Classifier | None:
        """The classifier in use; None for none. Setting it makes earlier predictions stale."""
        return self._classifier

    @classifier.setter
    def classifier(self, classifier: Classifier | None) -> None:
        self.use(classifier)

    def ask(self) -> int:
        """Register a wish for another classifier, which takes a while to come, and give its number."""
        self._asked += 1
        return self._asked

    def is_newest(self, wish: int) -> bool:
        """Tell whether no other classifier was asked for, or came into use, since a wish."""
        return wish == self._asked

    def use(self, classifier: Classifier | None, path: str | Path | None = None) -> None:
        """Make a classifier the one in use, show what it says, and remember its file."""
        self._asked += 1
        self._classifier = classifier
        self.classifier_path = None if path is None else Path(path)
        self._chosen = NETWORK
        count = 0 if classifier is None else len(classifier.classes)
        old = self.rows.probabilities
        known = self.rows.by == self._by
        self.rows.probabilities = np.full((len(self), count), np.nan, np.float32)
        if old.shape[1] == count:
            self.rows.probabilities[known] = old[known]
        self._rename_classes()
        self.classifier_changed.emit(classifier)
        self.speaker_changed.emit()
        self.predictions_changed.emit(np.arange(len(self)))

    @property
    def _by(self) -> int:
        """The place of the classifier in use in the list of digests; -1 for none."""
        if self._classifier is None:
            return NOT_KNOWN
        if self._classifier.digest not in self._digests:
            self._digests.append(self._classifier.digest)
        return self._digests.index(self._classifier.digest)

    @property
    def speakers(self) -> dict[str, Speaker]:
        """Who there is: the trained network, the instant head, both or none."""
        found: dict[str, Speaker] = {} if self._classifier is None else {NETWORK: self._classifier}
        return found if self._heard is None else found | {HEAD: self._heard.speaker}

    @property
    def speaking(self) -> str:
        """Whose predictions are shown: `NETWORK`, `HEAD`, or nothing where nobody is there."""
        there = self.speakers
        return self._chosen if self._chosen in there else next(iter(there), "")

    def show_speaker(self, kind: str) -> None:
        """Choose whose predictions are shown, `NETWORK` or `HEAD`, until another classifier comes into use."""
        if kind != self.speaking and kind in self.speakers:
            self._chosen = kind
            self._words = self._shown = None
            self.speaker_changed.emit()
            self.predictions_changed.emit(np.arange(len(self)))

    def hear(self, heard: HeadWords | None) -> None:
        """Take in what the instant head says now; None where it cannot say anything any more."""
        before = self.speaking, tuple(self.speakers)
        self._heard = heard
        self._words = self._shown = None
        if (self.speaking, tuple(self.speakers)) != before:
            self.speaker_changed.emit()
        if HEAD in (self.speaking, before[0]):
            self.predictions_changed.emit(np.arange(len(self)))

    # ------------------------------------------------------------------------------------ the predictions

    @property
    def words(self) -> Words:
        """All that is said by whoever is shown, also what is hidden: for the record, not for views."""
        if self._words is None:
            if self.speaking == HEAD and self._heard is not None:
                self._words = words_of_head(self.rows, self._heard, self.classes)
            else:
                self._words = words_of_network(self.rows, self._classifier, self._by)
        return self._words

    @property
    def shown(self) -> Words:
        """What views show as predictions."""
        if self._shown is None:
            self._shown = self.words.without(self.concealed)
        return self._shown

    @property
    def status(self) -> NDArray[np.uint8]:
        """The `Status` of each specimen, of whoever is shown."""
        return self.words.status

    @property
    def classified(self) -> NDArray[np.uint8]:
        """The `Status` of each specimen with the classifier in use, whoever is shown."""
        return words_of_network(self.rows, self._classifier, self._by).status

    @property
    def by_classifier(self) -> NDArray[np.bool_]:
        """Which specimens the classifier in use looked at last, whatever came of it."""
        return (self.rows.by == self._by) & (self._by != NOT_KNOWN)

    def reason(self, index: int, status: int | None = None) -> str:
        """Say in a sentence why a specimen has the status it has (worked out anew where it is not given)."""
        status = Status(self.status[index] if status is None else status)
        return reason_of(self.rows, index, status, self.words.speaker, self._digests)

    def accept(self, ids: NDArray[np.int64], table: pd.DataFrame) -> None:
        """Take in what the classifier in use said of specimens.

        Words of another classifier are dropped, and those on specimens that were closed meanwhile.

        Parameters
        ----------
        ids : (n,) int64
            From `rows.ids` when the job began.
        table : pandas.DataFrame
            n rows with the columns of `Predictions`.
        """
        if self._classifier is None:
            return
        here, kept = self.places_of(ids)
        own = table["classifier"].to_numpy(dtype=object)[kept] == self._classifier.digest
        here, kept = here[own], kept[own]
        if len(kept):
            self.rows.take_in(here, table.iloc[kept], self.classes, self._classifier.classes, self._by)
            self._words = self._shown = None
            self.predictions_changed.emit(here)

    def attach(self, stack: SpecimenStack, table: pd.DataFrame) -> None:
        """Take in predictions that were made before the specimens were opened, a row for each of the stack."""
        first = self.first_of(stack)
        self.accept(self.rows.ids[first : first + len(stack.manifest)], table)

    def mark_changed(self, ids: NDArray[np.int64]) -> None:
        """Note that the files of specimens are no longer those that were classified."""
        index = np.flatnonzero(np.isin(self.rows.ids, ids) & ~self.rows.changed)
        if len(index):
            self.rows.changed[index] = True
            self._words = self._shown = None
            self.predictions_changed.emit(index)

    def note_read(self, ids: NDArray[np.int64], reasons: Sequence[str]) -> None:
        """Note which specimens could not be read when something else than a classifier tried, and why.

        Parameters
        ----------
        ids : (n,) int64
            From `rows.ids`.
        reasons : n texts
            Empty for those that were read.
        """
        here, kept = self.places_of(ids)
        now = np.array(reasons, dtype=object)[kept]
        news = self.rows.unreadable[here] != now
        if news.any():
            self.rows.unreadable[here[news]] = now[news]
            self._words = self._shown = None
            self.predictions_changed.emit(here[news])
            if self.current in here[news & (now == "")]:  # the canvas has shown nothing until now
                self.show_anew(self.current)

    def conceal(self, ids: Collection[int]) -> None:
        """Show no prediction of these specimens, as `rows.ids` calls them, and show those of all others."""
        if set(ids) != self._concealed:
            self._concealed, self._shown = set(ids), None
            self.concealed_changed.emit()

    def conceal_all(self, on: bool) -> None:
        """Show no prediction at all, or show them again."""
        if on != self._all_concealed:
            self._all_concealed, self._shown = on, None
            self.concealed_changed.emit()

    @property
    def all_concealed(self) -> bool:
        """Whether no prediction at all is shown."""
        return self._all_concealed

    @property
    def concealed(self) -> NDArray[np.bool_]:
        """Of which specimens no prediction is shown now, so that a person judges them blind."""
        if self._all_concealed:
            return np.ones(len(self), bool)
        return np.isin(self.rows.ids, list(self._concealed))

    def each_once(self, indices: NDArray[np.integer]) -> NDArray[np.integer]:
        """Keep one specimen of each file, in order: a current one where there is one, then a labelled one."""
        if len(self.stacks) < 2:
            return indices
        better = np.lexsort((self.rows.label[indices] == NOT_KNOWN, self.status[indices] != Status.CURRENT))
        first = np.unique(self.files[indices[better]], return_index=True)[1]
        return indices[np.sort(better[first])]
