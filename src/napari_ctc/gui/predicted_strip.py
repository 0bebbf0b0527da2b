"""The strip above the table: the classes with their counts, and whose predictions these are."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_ctc.gui.colours import class_colour
from napari_ctc.gui.rows import NOT_KNOWN, Status

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.gui.session import Session


class ClassStrip(QWidget):
    """Class names in their colours, with counts; then the classifier, or how to come by one.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session
    parent : QWidget
    """

    def __init__(self, viewer: Viewer, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("strip")
        self._viewer, self._session = viewer, session
        self.classes = QLabel(self)
        self.classes.setObjectName("classStrip")
        self.classes.setToolTip("The classes, and how many specimens are in each")
        self.classes.setTextFormat(Qt.TextFormat.RichText)
        self.classes.setWordWrap(True)
        self.classes.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.origin = QLabel(self)
        self.origin.setObjectName("predictedBy")
        self.train_button = QPushButton("Train or load a classifier…", self)
        self.train_button.setObjectName("openTrainDock")
        self.train_button.setToolTip("Opens the dock where a classifier is trained or loaded")
        self.train_button.clicked.connect(self._open_train_dock)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.classes, 1)
        row.addWidget(self.origin)
        row.addWidget(self.train_button)

    def refresh(self) -> None:
        """Count anew."""
        session = self._session
        rows, status, places = session.rows, session.status, len(session.classes)
        once = session.each_once(np.arange(len(rows)))
        current = rows.predicted[once][status[once] == Status.CURRENT]
        predicted = np.bincount(current[current != NOT_KNOWN], minlength=places)
        labels = rows.label[session.each_once(np.flatnonzero(rows.label != NOT_KNOWN))]
        labelled = np.bincount(labels, minlength=places)
        chips = []
        for place, name in enumerate(session.classes):
            square = f'<span style="color:{class_colour(place)}">■</span>'
            said = "" if session.classifier is None else f" {predicted[place]:,} predicted,"
            counts = f"{said} {labelled[place]:,} labelled".replace(" ", "&nbsp;")
            chips.append(f"{square}&nbsp;<b>{escape(name).replace(' ', '&nbsp;')}</b>{counts}")
        for word, which in (("stale", Status.STALE), ("failed", Status.FAILED), ("waiting", Status.PENDING)):
            if count := int((status[once] == which).sum()):
                chips.append(f"{count:,}&nbsp;{word}")
        self.classes.setText(" &nbsp; ".join(chips) or "No classes yet.")
        self._show_origin()

    def _show_origin(self) -> None:
        classifier, path = self._session.classifier, self._session.classifier_path
        self.train_button.setVisible(classifier is None)
        if classifier is None:
            self.origin.setText("No classifier yet: train or load one.")
            self.origin.setToolTip("Without a classifier nothing is predicted")
            return
        self.origin.setText(f"by {path.name if path else 'a new classifier'} ({classifier.digest[:8]})")
        self.origin.setToolTip(
            f"The predictions are by the classifier with the digest {classifier.digest}, which knows "
            f"{', '.join(classifier.classes)}.\n{path or 'It has not been saved.'}"
        )

    def _open_train_dock(self) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-ctc", "Train classifier")
