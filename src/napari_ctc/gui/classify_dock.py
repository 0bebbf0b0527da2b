"""The dock "Classify folder": classify what is on disk, write a table, and open it in the order worth looking at.

What is chosen is in `classify_form`, what is said of a run in `classify_words`, the counts are in
`classify_counts`, and how the result is opened is in `classify_opened`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from napari_ctc.data.predictions import Predictions
from napari_ctc.events import Classified, Event, Saved, Skipped
from napari_ctc.gui.classify_counts import CountsTable
from napari_ctc.gui.classify_form import ClassifyForm
from napari_ctc.gui.classify_jobs import classify_path
from napari_ctc.gui.classify_opened import OpenResultButton
from napari_ctc.gui.classify_skipped import SkippedFiles
from napari_ctc.gui.classify_words import RunWords
from napari_ctc.gui.jobs import close_with_dock, start
from napari_ctc.gui.preferences import preferred_layout
from napari_ctc.gui.session import session_of

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QCloseEvent

    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.classifier import Classifier

_LEAST_HEIGHT = 220  # pixels, so that a neighbour in the same column leaves it some


class ClassifyDock(QWidget):
    """Classify a folder, a manifest or a stack with the session's classifier.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.setObjectName("classifyDock")
        self._viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.session = session_of(self._viewer)
        self.predictions: Predictions | None = None
        self.running = None
        self._layout: Layout | None = None
        self._path: Path | None = None
        self._by = ""  # the digest of the classifier that the last run was with
        self._words = RunWords()
        self._problem = ""
        self._stopping = False
        self._build()
        self._show_ready()

    # ------------------------------------------------------------------------------------------- building

    def _build(self) -> None:
        inside = QWidget()
        layout = QVBoxLayout(inside)
        self.form = ClassifyForm(self.session, self)
        self.form.changed.connect(self._show_ready)
        self.form.said.connect(self._say)
        layout.addWidget(self.form)
        layout.addLayout(self._build_buttons())
        self.progress = QProgressBar(self)
        self.progress.setObjectName("classifyProgress")
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(10)
        self.missing = self._label("classifyMissing", "Why nothing can be classified yet, or what no longer holds")
        self.state = self._label("classifyState", "What is going on")
        self.counts = CountsTable(self)
        self.skipped = SkippedFiles(self)
        self.open_button = OpenResultButton(self._viewer, self.session, self)
        self.open_button.told.connect(self._say)
        for widget in (self.progress, self.missing, self.state, self.counts, self.skipped, self.open_button):
            layout.addWidget(widget)
        layout.addStretch(1)
        self._inside = inside
        area = QScrollArea(self)  # a dock that grew with its parts would make the window grow
        area.setWidget(inside)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(area)
        self.setMinimumHeight(_LEAST_HEIGHT)
        self.counts.hide()

    def _build_buttons(self) -> QHBoxLayout:
        self.go = QPushButton("Classify", self)
        self.go.setObjectName("classifyButton")
        self.go.clicked.connect(self.classify)
        self.stop = QPushButton("Stop", self)
        self.stop.setObjectName("classifyStop")
        self.stop.setToolTip("Stops after the specimens at work, and keeps what is done")
        self.stop.setEnabled(False)
        self.stop.clicked.connect(self._stop)
        row = QHBoxLayout()
        row.addWidget(self.go, 1)
        row.addWidget(self.stop, 1)
        return row

    def _label(self, name: str, tip: str) -> QLabel:
        label = QLabel(self)
        label.setObjectName(name)
        label.setToolTip(tip)
        label.setWordWrap(True)
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        return label

    # ------------------------------------------------------------------------------------------ classifying

    def classify(self) -> None:
        """Begin."""
        classifier = self.session.classifier
        if self.running is not None or classifier is None:
            return
        refusal = self.form.refusal()
        if refusal or not self.form.may_replace():
            self.state.setText(refusal or "Nothing was started. Choose another file under 'Write to'.")
            return
        out = self.form.output.text().strip()
        self.predictions, self._layout, self._by = None, _layout_for(classifier), classifier.digest
        self._words, self._problem, self._stopping = RunWords(), "", False
        self.counts.begin(classifier.classes)
        self.counts.show()
        self.skipped.begin()
        self.progress.setRange(0, 0)
        self.state.setText("Listing the specimens…")
        self._path = path = Path(self.form.input.text().strip())
        self.running = start(
            classify_path(path, self._layout, classifier, Path(out) if out else None, self.form.place.text),
            parent=self,
            name=f"Classifying {path.name}",
            on_event=self._hear,
            on_result=self._take,
            on_error=self._show_problem,
            on_finished=self._end,
            quiet=True,
        )
        self._show_ready()

    def _say(self, sentence: str) -> None:
        self.state.setText(sentence)

    def _stop(self) -> None:
        if self.running is not None:
            self._stopping = True
            self.state.setText("Stopping…")
            self.running.stop()
            self._show_ready()

    def _hear(self, event: Event) -> None:
        if isinstance(event, Classified):
            self.counts.add(event.rows)
        elif isinstance(event, Skipped):
            self.skipped.add(event)
        if event.total and not isinstance(event, Saved):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
        words = self._words.hear(event)
        if words and not self._stopping:
            self.state.setText(words)

    def _take(self, predictions: Predictions | None) -> None:
        self.predictions = predictions

    def _show_problem(self, problem: Exception) -> None:
        self._problem = str(problem)
        self.state.setText(self._problem)

    def _end(self) -> None:
        self.running = None
        self.counts.flush()
        if self.progress.maximum() == 0:
            self.progress.setRange(0, 1)
        if not self._problem:
            self.state.setText(self._words.ended(self.predictions))
        self._show_ready()

    # -------------------------------------------------------------------------------------- what is possible

    def _show_ready(self) -> None:
        reason = "Specimens are being classified." if self.running is not None else self.form.missing()
        self.missing.setText("" if self.running is not None else reason or self._out_of_date())
        self.missing.setVisible(bool(self.missing.text()))
        self.go.setEnabled(not reason)
        self.go.setToolTip(reason or "Classifies every specimen and writes the table")
        self.stop.setEnabled(self.running is not None and not self._stopping)
        self.open_button.offer(self.predictions if self.running is None else None, self._layout, self._path)

    def _out_of_date(self) -> str:
        """Say whether what was counted is by another classifier than the one in use."""
        now = self.session.classifier
        if self.predictions is None or now is None or now.digest == self._by:
            return ""
        return f"What is shown below is by another classifier ({self._by[:8]}). Classify anew with this one."

    # ------------------------------------------------------------------------------------------ in the window

    def sizeHint(self) -> QSize:
        """Ask for room in which nothing is scrolled sideways."""
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        return QSize(max(340, self._inside.minimumSizeHint().width() + bar), 420)

    def event(self, event: QEvent) -> bool:
        """End with the dock."""
        if event.type() == event.Type.ParentChange and self.parent() is None:
            self._leave()
        close_with_dock(self, event)
        return super().event(event)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: D102
        self._leave()
        super().closeEvent(event)

    def _leave(self) -> None:
        self.form.leave()
        if self.running is not None:
            self.running.stop()


def _layout_for(classifier: Classifier) -> Layout:
    """Take the channel axis from the preferences where they are of as many channels as the classifier."""
    preferred = preferred_layout()
    return preferred if preferred.channels == classifier.channel_count else classifier.layout
