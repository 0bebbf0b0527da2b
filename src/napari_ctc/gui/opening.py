"""Open specimens by menu and buttons, without napari's chooser of readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer


def open_specimens(viewer: Viewer) -> None:
    """Ask for a folder, files or a manifest, and open it."""


class OpenButtons(QWidget):
    """What an empty dock offers: Open folder, Open labels, Try drawn specimens."""

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        layout = QHBoxLayout(self)
        for text in ("Open folder…", "Open labels…", "Try drawn specimens"):
            layout.addWidget(QPushButton(text, self))
