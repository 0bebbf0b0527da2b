"""The session: which specimens are open in a viewer, which classifier is in use, and what it said of them.

One for each viewer, shared by the docks. It follows the viewer's layers and slider, knows no Qt, reads no file and
computes nothing: classifying in the background is the business of `background`.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psygnal import Signal

from napari_ctc.data.labels import Label
from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.predictions import Predictions, typed
from napari_ctc.data.specimens import Layout
from napari_ctc.gui.colours import class_colour
from napari_ctc.gui.rows import NOT_KNOWN, Rows, Status
from napari_ctc.gui.session_parts import Specimens, file_codes, joined_table, labels_by_file, reason_of
from napari_ctc.gui.stage import Stage

if TYPE_CHECKING:
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


class Session:
    """The open specimens of a viewer as one list, and what is known of each.

    Parameters
    ----------
    viewer : napari.Viewer
        Kept by a weak reference.

    Attributes
    ----------
    rows : Rows
        A row a specimen, in the order of the layers. To be read; written to by the session alone.
    classes : tuple of str
        The class names that `rows` refers to: the classifier's first, then others that are named or occur.
    listed : tuple of str
        The classes that a person named, in the order of their keys.
    colours : dict of str to str
        The colours of classes that have one of their own.
    current : int
        The specimen on the canvas; -1 for none.
    """

    classifier_changed = Signal(object)  # Classifier or None
    specimens_changed = Signal()
    predictions_changed = Signal(object)  # the indices concerned
    labels_changed = Signal(object)  # the indices concerned; none where only names or colours changed
    current_changed = Signal(int)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._stacks: list[SpecimenStack] = []
        self._starts = np.zeros(1, np.int64)  # where each stack's rows begin; at the end, their number
        self._files = np.zeros(0, np.int64)  # alike for rows of one file
        self._ids_given = 0
        self._classifier: Classifier | None = None
        self._digests: list[str] = []
        self._stage = Stage(viewer)
        self.classifier_path: Path | None = None
        self.classes: tuple[str, ...] = ()
        self.listed: tuple[str, ...] = ()
        self.colours: dict[str, str] = {}
        self.rows = Rows.blank(0, 0, 0)
        self.current = -1
        self._concealed, self._all_concealed = NOT_KNOWN, False
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._follow_layers)
        viewer.layers.events.reordered.connect(self._follow_layers)
        viewer.layers.selection.events.active.connect(self._follow_slider)
        viewer.dims.events.current_step.connect(self._follow_slider)
        self._follow_layers()

    def __len__(self) -> int:
        """Return the number of open specimens."""
        return len(self.rows)

    @property
    def viewer(self) -> Viewer:
        """The viewer; a RuntimeError once it is gone."""
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("The viewer of this session is gone.")
        return viewer

    # ------------------------------------------------------------------------------------ the classifier

    @property
    def classifier(self) -> Classifier | None:
        """The classifier in use; None for none. Setting it makes earlier predictions stale."""
        return self._classifier

    @classifier.setter
    def classifier(self, classifier: Classifier | None) -> None:
        self.use(classifier)

    def use(self, classifier: Classifier | None, path: str | Path | None = None) -> None:
        """Make a classifier the one in use, and remember its file."""
        self._classifier = classifier
        self.classifier_path = None if path is None else Path(path)
        count = 0 if classifier is None else len(classifier.classes)
        old = self.rows.probabilities
        known = self.rows.by == self._by
        self._rename_classes()
        self.rows.probabilities = np.full((len(self), count), np.nan, np.float32)
        if old.shape[1] == count:
            self.rows.probabilities[known] = old[known]
        self.classifier_changed.emit(classifier)
        self.predictions_changed.emit(np.arange(len(self)))

    @property
    def _by(self) -> int:
        """The place of the classifier in use in the list of digests; -1 for none."""
        if self._classifier is None:
            return NOT_KNOWN
        if self._classifier.digest not in self._digests:
            self._digests.append(self._classifier.digest)
        return self._digests.index(self._classifier.digest)

    def _rename_classes(self) -> None:
        """Put the classifier's classes first, then others that are named or occur, in the order they had."""
        first = (*(() if self._classifier is None else self._classifier.classes), *self.listed)
        used = np.unique(np.concatenate([self.rows.predicted, self.rows.label]))
        names = tuple(dict.fromkeys([*first, *(self.classes[code] for code in used if code >= 0)]))
        self.rows.rename(self.classes, names)
        self.classes = names

    # ------------------------------------------------------------------------------------- the specimens

    @property
    def specimens(self) -> Sequence[tuple[SpecimenStack, int]]:
        """The open specimens in order, each as its stack and its place therein."""
        return Specimens(len(self), self.locate)

    def locate(self, index: int) -> tuple[SpecimenStack, int]:
        """Give the stack of a specimen and its place therein."""
        stack = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._stacks[stack], int(index - self._starts[stack])

    def of_one_layout(self, indices: NDArray[np.integer]) -> NDArray[np.integer]:
        """Keep those specimens whose channels are laid out like the first one's."""
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        first = [stack.manifest.layout == self._stacks[owner[0]].manifest.layout for stack in self._stacks]
        return indices[np.array(first)[owner]]

    def manifest(self, indices: NDArray[np.integer] | None = None) -> Manifest:
        """Return the manifest of the open specimens, or of some, as one table with the labels as they are now.

        Paths are whole where the open sets lie in different folders. Specimens with another number of
        channels than the first are left out, with a note.
        """
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices)
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        used = [self._stacks[place] for place in dict.fromkeys(owner.tolist())]
        if not used:
            return Manifest(pd.DataFrame({name: [] for name in COLUMNS}, dtype="str"), Path.cwd())
        layout = used[0].manifest.layout
        left_out = ~self._fits_first(wanted)
        told = f"{left_out.sum()} specimens with another number of channels are left out."
        notes = (told,) if left_out.any() else ()
        wanted, owner = wanted[~left_out], owner[~left_out]
        table = joined_table([stack.manifest for stack in self._stacks], owner, wanted - self._starts[owner])
        names = np.array([*self.classes, ""], dtype=object)[self.rows.label[wanted]]
        table = table.assign(label=names, by=self.rows.author[wanted]).astype("str")
        axes = {self._stacks[place].manifest.layout.axis for place in np.unique(owner)}
        layout = layout if len(axes) == 1 else Layout(layout.channels, "auto")
        return Manifest(table, used[0].manifest.root, layout, notes)

    def _fits_first(self, indices: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which specimens have as many channels as the first: a table of specimens has one layout."""
        channels = self.rows.channels[indices]
        return channels == channels[:1]

    def labelled(self) -> Manifest:
        """Return the manifest of the open specimens that have a label, each file once."""
        manifest = self.manifest(np.flatnonzero(self.rows.label != NOT_KNOWN))
        return replace(manifest, table=manifest.table.drop_duplicates("path", ignore_index=True))

    # ----------------------------------------------------------------------------------------- the labels

    @property
    def keyed(self) -> tuple[str, ...]:
        """The classes in the order of their keys 1 to 9: as a person named them, then the others."""
        return tuple(dict.fromkeys([*self.listed, *self.classes]))

    def colour(self, name: str) -> str:
        """Give the colour of a class, as ``#rrggbb``."""
        return self.palette((name,))[0]

    def palette(self, names: Sequence[str]) -> list[str]:
        """Give the colours of classes, those of the open specimens as everywhere in the window."""
        order = list(dict.fromkeys([*self.keyed, *names]))
        return [self.colours.get(name) or class_colour(order.index(name)) for name in names]

    def name_classes(self, names: Sequence[str], colours: Mapping[str, str]) -> None:
        """Take in how a person named, ordered and coloured the classes."""
        self.listed, self.colours = tuple(names), dict(colours)
        self._rename_classes()
        self.labels_changed.emit(np.zeros(0, np.intp))

    def take_labels(self, ids: NDArray[np.int64], labels: Sequence[Label]) -> None:
        """Take in what a person said of specimens; those that were closed meanwhile are passed over.

        Parameters
        ----------
        ids : (n,) int64
            From `rows.ids`.
        labels : sequence of n Label
        """
        here, kept = self._places_of(ids)
        labels = [labels[place] for place in kept]
        self.classes = tuple(dict.fromkeys([*self.classes, *(label.name for label in labels if label.name)]))
        codes = {name: code for code, name in enumerate(self.classes)}
        self.rows.label[here] = [codes.get(label.name, NOT_KNOWN) for label in labels]
        self.rows.unsure[here] = [label.unsure for label in labels]
        self.rows.author[here] = [label.by for label in labels]
        self._rename_classes()
        self.labels_changed.emit(here)

    def index_of(self, identity: int) -> int:
        """Give the index of a specimen by its place in `rows.ids`; -1 once it is closed."""
        here, _ = self._places_of(np.array([identity]))
        return int(here[0]) if len(here) else NOT_KNOWN

    def _places_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give the indices of those specimens that are still open, and which of `ids` they are."""
        if not len(self):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        order = np.argsort(self.rows.ids)
        here = order[np.minimum(np.searchsorted(self.rows.ids, ids, sorter=order), len(self) - 1)]
        kept = np.flatnonzero(self.rows.ids[here] == ids)
        return here[kept], kept

    # ------------------------------------------------------------------------------------ the predictions

    @property
    def status(self) -> NDArray[np.uint8]:
        """The `Status` of each specimen."""
        channels = None if self._classifier is None else self._classifier.channel_count
        return self.rows.status(self._by, channels)

    def reason(self, index: int, status: int | None = None) -> str:
        """Say in a sentence why a specimen has the status it has (worked out anew where it is not given)."""
        status = Status(self.status[index] if status is None else status)
        return reason_of(self.rows, index, status, self._classifier, self._digests)

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
        here, kept = self._places_of(ids)
        own = table["classifier"].to_numpy(dtype=object)[kept] == self._classifier.digest
        here, kept = here[own], kept[own]
        if len(kept):
            self.rows.take_in(here, table.iloc[kept], self.classes, self._classifier.classes, self._by)
            self.predictions_changed.emit(here)

    def conceal(self, identity: int) -> None:
        """Show no prediction of one specimen, by its place in `rows.ids`; of none, with -1."""
        if identity != self._concealed:
            self._concealed = identity
            self.labels_changed.emit(np.zeros(0, np.intp))

    def conceal_all(self, on: bool) -> None:
        """Show no prediction at all, or show them again."""
        if on != self._all_concealed:
            self._all_concealed = on
            self.labels_changed.emit(np.zeros(0, np.intp))

    @property
    def concealed(self) -> NDArray[np.bool_]:
        """Of which specimens no prediction is shown now, so that a person judges them blind."""
        if self._all_concealed:
            return np.ones(len(self), bool)
        return self.rows.ids == self._concealed

    def mark_changed(self, ids: NDArray[np.int64]) -> None:
        """Note that the files of specimens are no longer those that were classified."""
        index = np.flatnonzero(np.isin(self.rows.ids, ids) & ~self.rows.changed)
        if len(index):
            self.rows.changed[index] = True
            self.predictions_changed.emit(index)

    def attach(self, stack: SpecimenStack, table: pd.DataFrame) -> None:
        """Take in predictions that were made before the specimens were opened, a row for each of the stack."""
        first = self.first_of(stack)
        self.accept(self.rows.ids[first : first + len(stack.manifest)], table)

    def first_of(self, stack: SpecimenStack) -> int:
        """Give the index of a stack's first specimen."""
        return next(int(start) for one, start in zip(self._stacks, self._starts, strict=False) if one is stack)

    def each_once(self, indices: NDArray[np.integer]) -> NDArray[np.integer]:
        """Keep one specimen of each file, in order: a current one where there is one, then a labelled one."""
        if len(self._stacks) < 2:
            return indices
        better = np.lexsort((self.rows.label[indices] == NOT_KNOWN, self.status[indices] != Status.CURRENT))
        first = np.unique(self._files[indices[better]], return_index=True)[1]
        return indices[np.sort(better[first])]

    def export_predictions(self, indices: NDArray[np.integer] | None = None) -> Predictions:
        """Return what the table shows, all or some, as the object that every export starts from; a file once.

        A stale prediction goes out as none, with the reason as its error: it is no word of this classifier.
        """
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices)
        shown = wanted[self._fits_first(wanted)]
        wanted = self.each_once(shown)
        manifest, status = self.manifest(wanted), self.status
        classes = self._classifier.classes if self._classifier else ()
        reasons = np.full(len(self), "", dtype=object)
        told = np.flatnonzero((status == Status.STALE) | (status == Status.FAILED))
        reasons[told] = [self.reason(index, status[index]) for index in told]
        read_as = self._classifier.described() if self._classifier else {}
        table = self.rows.as_table(status, reasons, self.classes, classes, self._digests, self._by, read_as)
        table = table.iloc[wanted].assign(path=manifest.keys)
        if len(wanted) < len(shown):  # what a person said of a file may stand in another of its rows
            codes = labels_by_file(self._files, self.rows.label, shown)[wanted]
            table["label"] = np.array([*self.classes, ""], dtype=object)[codes]
        return Predictions(typed(table, classes), manifest.root, classes)

    @property
    def stacks(self) -> tuple[SpecimenStack, ...]:
        """The open stacks, in the order of their rows."""
        return tuple(self._stacks)

    # ----------------------------------------------------------------------------- following the viewer

    def go_to(self, index: int) -> None:
        """Show a specimen on the canvas."""
        self._stage.show(*self.locate(index))
        self._follow_slider()

    def show_anew(self, index: int) -> None:
        """Let the layers of a specimen whose file changed show the file as it is."""
        self._stage.show_anew(*self.locate(index))

    def _follow_layers(self, event: Any = None) -> None:
        """Let the rows follow the layers; what is known of a set goes with it."""
        stacks = self._stage.stacks
        if [id(stack) for stack in stacks] != [id(stack) for stack in self._stacks]:
            self._replace_stacks(stacks)
            self.specimens_changed.emit()
        self._follow_slider()

    def _replace_stacks(self, stacks: list[SpecimenStack]) -> None:
        known = {
            id(stack): self.rows.part(slice(start, end))
            for stack, start, end in zip(self._stacks, self._starts[:-1], self._starts[1:], strict=True)
        }
        self.classes = tuple(
            dict.fromkeys([*self.classes, *(name for stack in stacks for name in stack.manifest.classes)])
        )
        count = 0 if self._classifier is None else len(self._classifier.classes)
        parts = []
        for stack in stacks:
            part = known.get(id(stack))
            if part is None:
                part = Rows.of(stack.manifest, self._ids_given, self.classes, count)
                self._ids_given += len(part)
            parts.append(part)
        self.rows = Rows.joined(parts) if parts else Rows.blank(0, 0, count)
        self._stacks = stacks
        self._files = file_codes([stack.manifest for stack in stacks])
        self._starts = np.cumsum([0, *map(len, parts)])
        self._rename_classes()
        self.current = NOT_KNOWN

    def _follow_slider(self, event: Any = None) -> None:
        current = self._find_current()
        if current != self.current:
            self.current = current
            self.current_changed.emit(current)

    def _find_current(self) -> int:
        shown = self._stage.on_canvas()
        if shown is None:
            return NOT_KNOWN
        stack, place = shown
        if not any(one is stack for one in self._stacks):
            return self.current  # selected before the list of layers says that it is inserted
        return self.first_of(stack) + place if 0 <= place < len(stack.manifest) else NOT_KNOWN
