"""The dock "Train classifier": train beside the window, watch, stop, keep the result, load another.

What to train on and how is chosen in `train_setup`, a run is followed in `train_run`, a cross-validation in
`train_crossval`; what happens in them is the business of `learn` and `apply`, and the jobs that carry it are in
`train_jobs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QSize
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_ctc.data.files import exists
from napari_ctc.errors import SettingsError
from napari_ctc.gui import train_jobs as jobs
from napari_ctc.gui.jobs import close_with_dock, start
from napari_ctc.gui.loading import Loading
from napari_ctc.gui.session import session_of
from napari_ctc.gui.train_controls import may_replace
from napari_ctc.gui.train_crossval import CrossValidateBox
from napari_ctc.gui.train_parts import ClassifierBox
from napari_ctc.gui.train_preview import PreviewButton
from napari_ctc.gui.train_run import TrainRun
from napari_ctc.gui.train_setup import TrainSetup

if TYPE_CHECKING:
    import napari.viewer

    from napari_ctc.gui.held_out import Cell

_WIDTH = 400  # pixels that the dock asks for
_LEAST_HEIGHT = 220  # pixels, so that a neighbour in the same column leaves it some


class TrainDock(QWidget):
    """Train a classifier on labelled specimens, or load one.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The classifier becomes the one in use in this viewer's session.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.setObjectName("train_classifier")
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self.setup = TrainSetup(self._session)
        self.run = TrainRun(self._session, self.setup)
        self.crossval = CrossValidateBox(self.setup)
        self.preview = PreviewButton(self.setup)
        self.setup.advanced.put_beside("augment", self.preview)
        self.classifier = ClassifierBox()
        self.loading = Loading(self._session, self)
        self._lay_out()
        self._connect()
        self._follow_theme()
        self._show_classifier()

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(6)
        for part in (self.setup, self.run, self.crossval, self.classifier):
            column.addWidget(part)
        column.addStretch()
        self._area = QScrollArea()
        self._area.setWidget(inside)
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self._area)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(_LEAST_HEIGHT)

    def sizeHint(self) -> QSize:
        """Ask for room that leaves the canvas its own."""
        return QSize(_WIDTH, 600)

    def _connect(self) -> None:
        self.setup.taken_back.connect(self._take_back)
        self.preview.told.connect(self._say)
        self.preview.taken_back.connect(self._take_back)
        self.run.busy.connect(self._hold)
        self.run.first_epoch.connect(self._show_curves)
        self.crossval.busy.connect(self._hold)
        for matrix in (self.run.matrix, self.crossval.matrix):
            matrix.opened.connect(self._show_held_out)
        self.classifier.load_asked.connect(self.loading.begin)
        self.loading.said.connect(self._say)
        self.classifier.save_asked.connect(self._save)
        self._session.specimens_changed.connect(self._follow_specimens)
        self._session.current_changed.connect(self._follow_current)
        self._session.labels_changed.connect(self._follow_labels)
        self._session.classifier_changed.connect(self._follow_classifier)
        self._viewer.events.theme.connect(self._follow_theme)

    def event(self, event: QEvent) -> bool:
        """Let go of the session and the viewer when napari closes the dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._session.specimens_changed.disconnect(self._follow_specimens)
            self._session.current_changed.disconnect(self._follow_current)
            self._session.labels_changed.disconnect(self._follow_labels)
            self._session.classifier_changed.disconnect(self._follow_classifier)
            self._viewer.events.theme.disconnect(self._follow_theme)
        close_with_dock(self, event)
        return super().event(event)

    def _follow_specimens(self) -> None:
        self.setup.follow_specimens()
        self.preview.follow_canvas()

    def _follow_current(self, _index: int) -> None:
        self.preview.follow_canvas()

    def _follow_labels(self, _indices: object) -> None:
        self.setup.follow_labels()

    def _hold(self, busy: bool) -> None:
        """Let one thing run at a time: a computer's cores are soon all taken."""
        for part in (self.setup, self.classifier, self.run, self.crossval):
            part.freeze(busy)

    def _show_curves(self) -> None:
        """Let the curves come into view below the buttons, on a small screen."""
        self._area.verticalScrollBar().setValue(self.run.y() - 4)

    # ------------------------------------------------------------------------- the classifier and its file

    def _save(self, path: Path) -> None:
        if self._session.classifier is None:
            return
        try:
            out = jobs.checked_path(str(path))
        except SettingsError as problem:
            self._say(str(problem), wrong=True)
            return
        if out != path and exists(out) and not may_replace(self, out):  # the dialog asked about `path` only
            return
        start(
            jobs.save(self._session.classifier, out),
            parent=self,
            name="Save the classifier",
            on_event=self.run.follow,
            on_result=self._take_saved,
            on_error=self.run.show_error,
        )

    def _take_saved(self, path: Path) -> None:
        self._say(f"Saved as {path}.")

    def _follow_classifier(self, _classifier: Any = None) -> None:
        """Show the classifier in use; what was said of another file or run no longer holds."""
        self._show_classifier()
        if not self.run.running:
            self._say("")

    def _show_classifier(self, _classifier: Any = None) -> None:
        self.classifier.show_classifier(self._session.classifier, self._session.classifier_path)
        self.setup.advanced.show_classifier(self._session.classifier)

    def _show_held_out(self, cell: Cell) -> None:
        """Show the specimens behind a count in the dock below."""
        dock, widget = self._viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")
        dock.show()
        dock.raise_()
        widget.show_held_out(cell)

    # ---------------------------------------------------------------------------------------- its looks

    def _take_back(self, sentence: str) -> None:
        """Say no longer what has been mended or is gone from the canvas; the news of a run stays."""
        if self.run.message.text() == sentence:
            self._say("")

    def _say(self, sentence: str, wrong: bool = False) -> None:
        self.run.message.say(sentence, wrong)

    def _follow_theme(self, _event: Any = None) -> None:
        theme = get_theme(self._viewer.theme)
        self.run.curves.set_colours(theme.background.as_hex(), theme.text.as_hex())
        for message in (self.setup.message, self.run.message, self.crossval.message):
            message.set_theme(theme.type)
