"""The button of the dock "Classify folder" that opens what was classified, in the order worth looking at.

That order is in `classify_jobs`; what the viewer then shows is in `predicted_dock`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_ctc.gui.classify_jobs import Result
from napari_ctc.gui.layers import stack_of
from napari_ctc.gui.open_jobs import Opening
from napari_ctc.gui.preferences import preferred_names

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_ctc.data.predictions import Predictions
    from napari_ctc.data.specimens import Layout
    from napari_ctc.data.stacks import SpecimenStack
    from napari_ctc.gui.session import Session


class OpenResultButton(QPushButton):
    """Opens classified specimens, those worth looking at first, with their predictions.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    session : Session
    parent : QWidget
    """

    told = Signal(str)  # what came of it

    def __init__(self, viewer: napari.viewer.Viewer, session: Session, parent: QWidget) -> None:
        super().__init__("Open in viewer", parent)
        self.setObjectName("openInViewer")
        self.setToolTip(
            "Opens the classified specimens: the rarest predicted class first, the least certain of it first"
        )
        self._viewer, self._session = viewer, session
        self._offered: tuple[Predictions, Layout, Path] | None = None
        self._coming: Result | None = None
        self._opened: SpecimenStack | None = None
        self.clicked.connect(self._open)
        self.offer(None, None, None)

    def offer(self, predictions: Predictions | None, layout: Layout | None, path: Path | None) -> None:
        """Offer to open a result, with what was classified; None for nothing."""
        any_read = predictions is not None and len(predictions) > predictions.failed
        self._offered = (predictions, layout, path) if any_read and layout is not None else None
        self.setEnabled(self._offered is not None and self._coming is None)

    def _open(self) -> None:
        if self._offered is None or self._coming is not None:
            return
        predictions, layout, path = self._offered
        session, classifier = self._session, self._session.classifier
        names = classifier.channels if classifier else preferred_names()
        rows = [session.first_of(stack) + np.arange(len(stack.manifest)) for stack in session.stacks]
        now = [(stack, session.manifest_later(own)) for stack, own in zip(session.stacks, rows, strict=True)]
        self._coming = Result(predictions, path, layout, now, names)
        opening = Opening(self._viewer, self._coming.read, f"Opening {len(predictions):,} specimens")
        opening.opened.connect(self._show)
        opening.failed.connect(self._tell)
        self.setEnabled(False)

    def _show(self) -> None:
        result = self._coming
        self._close_layers([*result.replaced, *(one for one in self._session.stacks if one is self._opened)])
        self._opened = result.stack
        self._session.attach(result.stack, result.table)
        self._viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")
        self._session.go_to(self._session.first_of(result.stack))
        self._end()

    def _tell(self, problem: str) -> None:
        self.told.emit(problem)
        self._end()

    def _end(self) -> None:
        self._coming = None
        self.setEnabled(self._offered is not None)

    def _close_layers(self, stacks: list[SpecimenStack]) -> None:
        """Close what the opened result takes the place of, so that no specimen is there twice; and say so."""
        closed = {id(stack) for stack in stacks}
        for layer in list(self._viewer.layers):
            found = stack_of(layer)
            if found is not None and id(found[0]) in closed:
                self._viewer.layers.remove(layer)
        if closed:
            self.told.emit("Opened in place of the same specimens and of what was opened from here before.")
