"""Open specimens without holding the window up: what takes long is read in a thread, then napari gets the layers.

It gets them one by one, with what the window has to do in between: it takes a tenth of a second for each. Not by
`viewer.open`, whose bar in the activity area draws the window again for each of them.

The dialogs and buttons that ask what to open are in `opening`. What is opened by napari's own menu, or dropped on
it, is read by `layers` in the window's thread, since napari waits for its readers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer
from napari.layers._source import layer_source
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.data.stacks import SpecimenStack
from napari_ctc.events import Event
from napari_ctc.gui.jobs import start
from napari_ctc.gui.layers import LayerData, drawn_stack, layers_of, open_stack, watch
from napari_ctc.gui.preferences import PLUGIN, preferred_layout, preferred_names
from napari_ctc.gui.stage import arrivals

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.data.manifest import Manifest
    from napari_ctc.events import Job

_FIRST_PICTURE_MS = 50  # that the window gets to draw it before any work begins that open specimens bring


def open_paths(viewer: Viewer, path: str | Path | Sequence[str | Path]) -> Opening:
    """Begin to open a folder, a manifest, a file, or several files as one stack; what is wrong is shown."""
    several = not isinstance(path, (str, Path))
    names = [str(one) for one in path] if several else str(path)
    name = f"Opening {len(names):,} files" if several else f"Opening {Path(names).name}"
    read = partial(open_stack, names, preferred_layout(), preferred_names())
    return Opening(viewer, read, name, path=names[0] if several else names, reader_plugin=PLUGIN)


def open_manifest(viewer: Viewer, manifest: Manifest, channel_names: Sequence[str] | None = None) -> Opening:
    """Begin to open specimens that a table in memory names; what is wrong with them is shown."""
    read = partial(SpecimenStack, manifest, channel_names or preferred_names())
    return Opening(viewer, read, f"Opening {len(manifest):,} specimens")


def open_drawn(viewer: Viewer) -> Opening:
    """Begin to open the folder of drawn specimens, drawing it first where it is not there yet."""
    return Opening(viewer, drawn_stack, "Opening drawn specimens", sample=(PLUGIN, "folder"))


class Opening(QWidget):
    """Specimens that are being opened. Invisible; a child of the window that they will be seen in.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    read : callable
        Opens the stack, in a thread of its own.
    name : str
        What napari calls it while it works.
    **source
        Where the layers are from, as napari notes it.
    """

    opened = Signal()
    failed = Signal(str)  # why, in a sentence; napari shows it, too

    def __init__(self, viewer: Viewer, read: Callable[[], SpecimenStack], name: str, **source: object) -> None:
        super().__init__(viewer.window._qt_window)  # noqa: SLF001 - ends with the window
        self.hide()
        watch(viewer)
        self._viewer, self._source = viewer, source
        self._stack: SpecimenStack | None = None
        self._layers: list[LayerData] = []
        self._next = QTimer(self)
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._add_next)
        start(
            _read(read),
            parent=self,
            name=name,
            on_result=self._take,
            on_error=self._tell,
            on_finished=self._leave_without,
        )

    def _tell(self, problem: BaseException) -> None:
        self.failed.emit(str(problem))

    def _leave_without(self) -> None:
        """Go where nothing was opened. Not sooner: what shows the error goes with this, shown or not."""
        if self._stack is None:
            self.deleteLater()

    def _take(self, stack: SpecimenStack | None) -> None:
        if stack is None:  # the window is being closed
            return
        self._stack, self._layers = stack, layers_of(stack)
        arrivals.begin(stack)
        self._next.start()

    def _add_next(self) -> None:
        if not self._layers:
            arrivals.end(self._stack)
            self.opened.emit()
            self.deleteLater()
            return
        try:
            with layer_source(**self._source):
                self._viewer.add_layer(Layer.create(*self._layers.pop(0)))
        except BaseException as problem:
            self._end(problem)
            raise
        self._next.start(0 if self._layers else _FIRST_PICTURE_MS)

    def _end(self, problem: BaseException) -> None:
        arrivals.end(self._stack)
        self._tell(problem)
        self.deleteLater()


def _read(read: Callable[[], SpecimenStack]) -> Job[SpecimenStack]:
    yield Event()
    stack = read()
    yield Event()
    stack.tones()
    return stack
