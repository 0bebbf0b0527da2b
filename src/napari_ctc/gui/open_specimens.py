"""What is open in a viewer, as one list of specimens that follows the viewer's layers and slider.

What people and classifiers say of them is the business of `session`. No Qt, and no file is read.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from psygnal import Signal

from napari_ctc.gui.rows import NOT_KNOWN, Rows
from napari_ctc.gui.session_parts import Specimens, file_codes, joined_manifest, paths_of
from napari_ctc.gui.stage import Stage, arrivals

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.stacks import SpecimenStack


class OpenSpecimens:
    """The open specimens of a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Kept by a weak reference.

    Attributes
    ----------
    rows : Rows
        A row a specimen, in the order of the layers. To be read; written to by the session alone.
    classes : tuple of str
        The class names that `rows` refers to.
    current : int
        The specimen on the canvas; -1 for none.
    stage : Stage
        The layers that show specimens.
    """

    specimens_changed = Signal()
    current_changed = Signal(int)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._stacks: list[SpecimenStack] = []
        self._starts = np.zeros(1, np.int64)  # where each stack's rows begin; at the end, their number
        self._order: NDArray[np.intp] | None = None  # of the rows by their ids; None where these rise
        self._ids_given = 0
        self._going = False
        self.stage = Stage(viewer)
        self.classes: tuple[str, ...] = ()
        self.rows = Rows.blank(0, 0, 0)
        self.files = np.zeros(0, np.int64)  # alike for rows of one file
        self.sources: tuple[str, ...] = ()  # each once
        self.source_codes = np.zeros(0, np.int64)  # of each row, its place among them
        self.current = -1
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._follow_layers)
        viewer.layers.events.reordered.connect(self._follow_layers)
        arrivals.ended.connect(self._follow_layers)
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

    # ------------------------------------------------------------------------------------- the specimens

    @property
    def specimens(self) -> Sequence[tuple[SpecimenStack, int]]:
        """The open specimens in order, each as its stack and its place therein."""
        return Specimens(len(self), self.locate)

    @property
    def stacks(self) -> tuple[SpecimenStack, ...]:
        """The open stacks, in the order of their rows."""
        return tuple(self._stacks)

    def locate(self, index: int) -> tuple[SpecimenStack, int]:
        """Give the stack of a specimen and its place therein."""
        stack = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._stacks[stack], int(index - self._starts[stack])

    def first_of(self, stack: SpecimenStack) -> int:
        """Give the index of a stack's first specimen."""
        return next(int(start) for one, start in zip(self._stacks, self._starts, strict=False) if one is stack)

    def index_of(self, identity: int) -> int:
        """Give the index of a specimen by its place in `rows.ids`; -1 once it is closed."""
        here, _ = self.places_of(np.array([identity]))
        return int(here[0]) if len(here) else NOT_KNOWN

    def places_of(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give the indices of those specimens that are still open, and which of `ids` they are."""
        if not len(self):
            return np.zeros(0, np.intp), np.zeros(0, np.intp)
        here = np.minimum(np.searchsorted(self.rows.ids, ids, sorter=self._order), len(self) - 1)
        here = here if self._order is None else self._order[here]
        kept = np.flatnonzero(self.rows.ids[here] == ids)
        return here[kept], kept

    def of_one_layout(self, indices: NDArray[np.integer]) -> NDArray[np.integer]:
        """Keep those specimens whose channels are laid out like the first one's."""
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        first = [stack.manifest.layout == self._stacks[owner[0]].manifest.layout for stack in self._stacks]
        return indices[np.array(first)[owner]]

    def fits_first(self, indices: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which specimens have as many channels as the first: a table of specimens has one layout."""
        channels = self.rows.channels[indices]
        return channels == channels[:1]

    def manifest(self, indices: NDArray[np.integer] | None = None) -> Manifest:
        """Return the manifest of the open specimens, or of some, as one table with the labels as they are now.

        Paths are whole where the open sets lie in different folders. Specimens with another number of
        channels than the first are left out, with a note.
        """
        return self.manifest_later(indices)()

    def manifest_later(self, indices: NDArray[np.integer] | None = None) -> Callable[[], Manifest]:
        """Note what `manifest` needs, for it to be made in another thread: of 100,000 it takes 0.2 s."""
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices)
        left_out = ~self.fits_first(wanted)
        told = f"{left_out.sum():,} specimens with another number of channels are left out."
        wanted = wanted[~left_out]
        owner = np.searchsorted(self._starts, wanted, side="right") - 1
        return partial(
            joined_manifest,
            [stack.manifest for stack in self._stacks],
            owner,
            wanted - self._starts[owner],
            np.array([*self.classes, ""], dtype=object),
            self.rows.label[wanted],
            self.rows.author[wanted],
            (told,) if left_out.any() else (),
        )

    def paths_later(self, indices: NDArray[np.integer]) -> Callable[[], list[str]]:
        """Note what is needed to name the files of specimens, of whatever layout, in another thread."""
        owner = np.searchsorted(self._starts, indices, side="right") - 1
        manifests = [stack.manifest for stack in self._stacks]
        return partial(paths_of, manifests, owner, indices - self._starts[owner])

    def labelled_later(self) -> Callable[[], Manifest]:
        """Note what is needed for the manifest of the specimens that have a label, each file once."""
        return partial(_each_file_once, self.manifest_later(np.flatnonzero(self.rows.label != NOT_KNOWN)))

    # ----------------------------------------------------------------------------- following the viewer

    def go_to(self, index: int) -> None:
        """Show a specimen on the canvas."""
        self._going = True
        try:
            self.stage.show(*self.locate(index))
        finally:
            self._going = False
        self._follow_slider()

    def show_anew(self, index: int) -> None:
        """Let the layers of a specimen whose file changed show the file as it is."""
        self.stage.show_anew(*self.locate(index))

    def _follow_layers(self, event: Any = None) -> None:
        """Let the rows follow the layers; what is known of a set goes with it."""
        stacks = self.stage.stacks
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
        count = self.rows.probabilities.shape[1]
        parts = []
        for stack in stacks:
            part = known.get(id(stack))
            if part is None:
                part = Rows.of(stack.manifest, self._ids_given, self.classes, count)
                self._ids_given += len(part)
            parts.append(part)
        self.rows = Rows.joined(parts) if parts else Rows.blank(0, 0, count)
        self._stacks = stacks
        self.files = file_codes([stack.manifest for stack in stacks])
        self.source_codes, once = pd.factorize(self.rows.source)
        self.sources = tuple(once)
        self._starts = np.cumsum([0, *map(len, parts)])
        rise = bool((np.diff(self.rows.ids) > 0).all())
        self._order = None if rise else np.argsort(self.rows.ids)
        self.current = NOT_KNOWN
        self._rows_replaced()

    def _rows_replaced(self) -> None:
        """Bring up to date what depends on the rows, before anybody hears of it."""

    def _follow_slider(self, event: Any = None) -> None:
        if self._going:  # on the way into another set stands one that nobody asked for
            return
        shown = self.stage.on_canvas()
        if shown is not None:
            self.stage.give_canvas(shown[0])
        current = NOT_KNOWN if shown is None else self._place_of(*shown)
        if current != self.current:
            self.current = current
            self.current_changed.emit(current)

    def _place_of(self, stack: SpecimenStack, place: int) -> int:
        if not any(one is stack for one in self._stacks):
            return self.current  # selected before the list of layers says that it is inserted
        return self.first_of(stack) + place if 0 <= place < len(stack.manifest) else NOT_KNOWN


def _each_file_once(manifest: Callable[[], Manifest]) -> Manifest:
    found = manifest()
    return found.rows(np.flatnonzero(~found.table["path"].duplicated()))
