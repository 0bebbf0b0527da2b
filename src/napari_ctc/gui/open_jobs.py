"""Open specimens without holding the window up: what takes long is read in a thread, then napari gets the layers.

It gets them one by one, with what the window has to do in between: it takes a fifth of a second for each.

The dialogs and buttons that ask what to open are in `opening`. What is opened by napari's own menu, or dropped on
it, is read by `layers` in the window's thread, since napari waits for its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.data.stacks import SpecimenStack
from napari_ctc.events import Event
from napari_ctc.gui.jobs import start
from napari_ctc.gui.layers import (
    PLUGIN,
    LayerData,
    drawn_stack,
    hand_over,
    layers_of,
    open_stack,
    preferred_layout,
    preferred_names,
    read_layers,
    watch,
)
from napari_ctc.gui.stage import arriving

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.data.manifest import Manifest
    from napari_ctc.events import Job


def open_paths(viewer: Viewer, path: str | Path | Sequence[str | Path]) -> Opening:
    """Begin to open a folder, a manifest, a file, or several files as one stack; what is wrong is shown."""
    several = not isinstance(path, (str, Path))
    names = [str(one) for one in path] if several else str(path)

    def add() -> object:
        return viewer.open(names, stack=several, plugin=PLUGIN)

    name = f"Opening {len(names):,} files" if several else f"Opening {Path(names).name}"
    return Opening(viewer, partial(open_stack, names, preferred_layout(), preferred_names()), add, name)


def open_manifest(viewer: Viewer, manifest: Manifest, channel_names: Sequence[str] | None = None) -> Opening:
    """Begin to open specimens that a table in memory names; what is wrong with them is shown."""
    names = channel_names or preferred_names()

    def add() -> object:
        return [viewer.add_layer(Layer.create(*layer)) for layer in read_layers(manifest.root)]

    return Opening(viewer, partial(SpecimenStack, manifest, names), add, f"Opening {len(manifest):,} specimens")


def open_drawn(viewer: Viewer) -> Opening:
    """Begin to open the folder of drawn specimens, drawing it first where it is not there yet."""
    return Opening(viewer, drawn_stack, lambda: viewer.open_sample(PLUGIN, "folder"), "Opening drawn specimens")


class Opening(QWidget):
    """Specimens that are being opened. Invisible; a child of the window that they will be seen in.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    read : callable
        Opens the stack, in a thread of its own.
    add : callable
        Lets napari ask its reader for a layer, which it is handed; once for each.
    name : str
        What napari calls it while it works.
    """

    opened = Signal()
    failed = Signal()

    def __init__(
        self, viewer: Viewer, read: Callable[[], SpecimenStack], add: Callable[[], object], name: str
    ) -> None:
        super().__init__(viewer.window._qt_window)  # noqa: SLF001 - ends with the window
        self.hide()
        watch(viewer)
        self._add = add
        self._stack: SpecimenStack | None = None
        self._layers: list[LayerData] = []
        self._next = QTimer(self)
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._add_next)
        start(_read(read), parent=self, name=name, on_result=self._take, on_error=self._end)

    def _take(self, stack: SpecimenStack | None) -> None:
        if stack is None:  # the window is being closed
            return
        self._stack, self._layers = stack, layers_of(stack)
        arriving.add(stack)
        self._add_next()

    def _add_next(self) -> None:
        layer = self._layers.pop(0)
        if not self._layers:
            arriving.discard(self._stack)
        try:
            with hand_over([layer]):
                self._add()
        except BaseException:
            self._end()
            raise
        if self._layers:
            self._next.start()
            return
        self.opened.emit()
        self.deleteLater()

    def _end(self, _problem: object = None) -> None:
        if self._stack is not None:
            arriving.discard(self._stack)
        self.failed.emit()
        self.deleteLater()


def _read(read: Callable[[], SpecimenStack]) -> Job[SpecimenStack]:
    yield Event()
    stack = read()
    yield Event()
    stack.tones()
    return stack
