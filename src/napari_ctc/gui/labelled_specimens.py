"""What people say of the open specimens: the classes, their colours, and each specimen's label.

It is told what stands in the tables of labels; keeping these is the business of `open_books`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_ctc.data.labels import Label
from napari_ctc.gui.colours import class_colour
from napari_ctc.gui.open_specimens import OpenSpecimens
from napari_ctc.gui.rows import NOT_KNOWN

if TYPE_CHECKING:
    from napari.viewer import Viewer


class LabelledSpecimens(OpenSpecimens):
    """The open specimens, and what people say of each.

    Parameters
    ----------
    viewer : napari.Viewer
        Kept by a weak reference.

    Attributes
    ----------
    classes : tuple of str
        The class names that `rows` refers to: the classifier's first, then others that are named or occur.
    listed : tuple of str
        The classes that a person named, in the order of their keys.
    colours : dict of str to str
        The colours of classes that have one of their own.
    """

    labels_changed = Signal(object)  # the indices concerned; none where only names or colours changed

    def __init__(self, viewer: Viewer) -> None:
        self.listed: tuple[str, ...] = ()
        self.colours: dict[str, str] = {}
        super().__init__(viewer)

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
        here, kept = self.places_of(ids)
        labels = labels if len(kept) == len(labels) else [labels[place] for place in kept.tolist()]
        # Of 100,000 labels of a table, most are one and the same few objects.
        numbers = np.fromiter(map(id, labels), np.int64, len(labels))
        _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
        once = [labels[place] for place in first]
        named = [labels[place].name for place in np.sort(first)]
        self.classes = tuple(dict.fromkeys([*self.classes, *filter(None, named)]))
        codes = {name: code for code, name in enumerate(self.classes)}
        self.rows.label[here] = np.array([codes.get(one.name, NOT_KNOWN) for one in once], np.int16)[which]
        self.rows.unsure[here] = np.array([one.unsure for one in once], bool)[which]
        self.rows.author[here] = np.array([one.by for one in once], object)[which]
        self._rename_classes()
        self.labels_changed.emit(here)

    def _rename_classes(self) -> None:
        """Put the classifier's classes first, then others that are named or occur, in the order they had."""
        first = (*self._first_classes(), *self.listed)
        used = np.unique(np.concatenate([self.rows.predicted, self.rows.label]))
        names = tuple(dict.fromkeys([*first, *(self.classes[code] for code in used if code >= 0)]))
        self.rows.rename(self.classes, names)
        self.classes = names
        self._classes_renamed()

    def _first_classes(self) -> tuple[str, ...]:
        """Give the classes that come first whoever named them: the classifier's."""
        return ()

    def _classes_renamed(self) -> None:
        """Bring up to date what depends on the names, before anybody hears of it."""

    def _rows_replaced(self) -> None:
        self._rename_classes()
