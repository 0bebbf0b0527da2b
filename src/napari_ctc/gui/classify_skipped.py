"""The files that the dock "Classify folder" could not read, each with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QListWidget, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_ctc.events import Skipped

_SHOWN = 500


class SkippedFiles(QWidget):
    """A list that is seen as soon as something is in it.

    Parameters
    ----------
    parent : QWidget
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.count = 0
        self.title = QLabel(self)
        self.title.setObjectName("skippedTitle")
        self.title.setWordWrap(True)
        self.files = QListWidget(self)
        self.files.setObjectName("skippedFiles")
        self.files.setToolTip("Files that could not be read, each with the reason")
        self.files.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.files.setWordWrap(True)
        self.files.setMaximumHeight(120)
        self.files.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustToContents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.files)
        self.begin()

    def begin(self) -> None:
        """Begin with none."""
        self.count = 0
        self.files.clear()
        self.hide()

    def add(self, event: Skipped) -> None:
        """Add a file; beyond the first 500 they are counted only."""
        self.count += 1
        if self.count <= _SHOWN:
            folder, slash, name = event.path.rpartition("/")
            named = event.reason.startswith(name)  # the reason itself begins with the file's name
            self.files.addItem(f"{folder}{slash}{event.reason}" if named else f"{event.path}: {event.reason}")
        more = "" if self.count <= _SHOWN else f" (the first {_SHOWN} are listed)"
        self.title.setText(f"{self.count:,} could not be read{more}:")
        self.show()
