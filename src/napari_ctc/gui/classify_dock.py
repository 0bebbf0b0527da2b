"""The dock "Classify folder": classify what is on disk, write a table, and open it in the order worth looking at.

The counts are in `classify_counts`; what the viewer then shows is in `predicted_dock`.
"""

from __future__ import annotations

import time
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
    QVBoxLayout,
    QWidget,
)

from napari_ctc.data.predictions import Predictions
from napari_ctc.events import Classified, Event, Said, Saved, Skipped
from napari_ctc.gui.classify_counts import CountsTable
from napari_ctc.gui.classify_form import ClassifyForm
from napari_ctc.gui.classify_jobs import Result, classify_path
from napari_ctc.gui.classify_skipped import SkippedFiles
from napari_ctc.gui.jobs import close_with_dock, start
from napari_ctc.gui.layers import preferred_layout, preferred_names, stack_of
from napari_ctc.gui.open_jobs import Opening
from napari_ctc.gui.session import session_of

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QCloseEvent

    from napari_ctc.data.specimens import Layout
    from napari_ctc.data.stacks import SpecimenStack
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
        self._by = ""  # the digest of the classifier that the last run was with
        self._opened: SpecimenStack | None = None
        self._result: Result | None = None  # that is being opened
        self._problem = ""
        self._notice = ""  # said last, and still so
        self._written: Path | None = None
        self._began = 0.0
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
        self.open_button = QPushButton("Open in viewer", self)
        self.open_button.setObjectName("openInViewer")
        self.open_button.setToolTip(
            "Opens the classified specimens: the rarest predicted class first, the least certain of it first"
        )
        self.open_button.setEnabled(False)
        self.open_button.clicked.connect(self.open_in_viewer)
        for widget in (self.progress, self.missing, self.state, self.counts, self.skipped, self.open_button):
            layout.addWidget(widget)
        layout.addStretch(1)
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
        self._stopping, self._began = False, time.monotonic()
        self._problem = self._notice = ""
        self._written = None
        self.counts.begin(classifier.classes)
        self.counts.show()
        self.skipped.begin()
        self.progress.setRange(0, 0)
        self.state.setText("Listing the specimens…")
        path = Path(self.form.input.text().strip())
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
            self._notice = ""
        elif isinstance(event, Skipped):
            self.skipped.add(event)
        elif isinstance(event, Saved):
            self._written = event.path
        elif isinstance(event, Said):
            self._notice = event.text
            if event.warning:
                self.state.setToolTip(event.text)
        if event.total and not isinstance(event, Saved):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
        if not self._stopping and not isinstance(event, Saved):
            self._show_state(event)

    def _show_state(self, event: Event) -> None:
        """Show how far it is, and what was said since the last rows came."""
        left = "" if self._notice else _time_left(self._began, event.done, event.total)
        so_far = f"{event.done:,} of {event.total:,}{left}" if event.total else ""
        if so_far or self._notice:
            self.state.setText(". ".join(filter(None, (so_far, self._notice))))

    def _take(self, predictions: Predictions | None) -> None:
        self.predictions = predictions

    def _show_problem(self, problem: Exception) -> None:
        self._problem = str(problem)
        self.state.setText(self._problem)

    def _end(self) -> None:
        self.running = None
        self.counts.flush()
        done = self.predictions
        if self.progress.maximum() == 0:
            self.progress.setRange(0, 1)
        if done is not None and (len(done) or not done.stopped):
            seconds = time.monotonic() - self._began
            verb = "Stopped:" if done.stopped else "Done:"
            where = f" Written to {self._written.name}." if self._written is not None else ""
            again = " Classify goes on from there." if done.stopped and self._written is not None else ""
            count = len(done) - done.failed
            words = f"{count:,} specimen{'s' * (count != 1)}"
            self.state.setText(f"{verb} {words} in {_clock(seconds)}.{where}{again}")
        elif not self._problem:
            self.state.setText("Stopped before the first specimen.")
        self._show_ready()

    # -------------------------------------------------------------------------------------- what is possible

    def _show_ready(self) -> None:
        reason = "Specimens are being classified." if self.running is not None else self.form.missing()
        self.missing.setText("" if self.running is not None else reason or self._out_of_date())
        self.missing.setVisible(bool(self.missing.text()))
        self.go.setEnabled(not reason)
        self.go.setToolTip(reason or "Classifies every specimen and writes the table")
        self.stop.setEnabled(self.running is not None and not self._stopping)
        idle = self.running is None and self._result is None
        done = self.predictions
        self.open_button.setEnabled(idle and done is not None and len(done) > done.failed)

    def _out_of_date(self) -> str:
        """Say whether what was counted is by another classifier than the one in use."""
        now = self.session.classifier
        if self.predictions is None or now is None or now.digest == self._by:
            return ""
        return f"What is shown below is by another classifier ({self._by[:8]}). Classify anew with this one."

    def open_in_viewer(self) -> None:
        """Show the classified specimens, those worth looking at first, with their predictions."""
        if self.predictions is None or self._layout is None or self._result is not None:
            return
        classifier = self.session.classifier
        names = classifier.channels if classifier else preferred_names()
        self._result = Result(self.predictions, self._layout, self.session.stacks, names)
        name = f"Opening {len(self.predictions):,} specimens"
        opening = Opening(self._viewer, self._result.read, name)
        opening.opened.connect(self._show_result)
        opening.failed.connect(self._show_unopened)
        self._show_ready()

    def _show_result(self) -> None:
        result, self._result = self._result, None
        self._close_layers([*result.replaced, *(one for one in self.session.stacks if one is self._opened)])
        self._opened = result.stack
        self.session.attach(result.stack, result.table)
        self._viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")
        self.session.go_to(self.session.first_of(result.stack))
        self._show_ready()

    def _show_unopened(self, problem: str) -> None:
        self._result = None
        self.state.setText(problem)
        self._show_ready()

    def _close_layers(self, stacks: list[SpecimenStack]) -> None:
        """Close what the opened result takes the place of, so that no specimen is there twice; and say so."""
        closed = {id(stack) for stack in stacks}
        for layer in list(self._viewer.layers):
            found = stack_of(layer)
            if found is not None and id(found[0]) in closed:
                self._viewer.layers.remove(layer)
        if closed:
            self.state.setText("Opened in place of the same specimens and of what was opened from here before.")

    # ------------------------------------------------------------------------------------------ in the window

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(340, 420)

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


def _time_left(began: float, done: int, total: int) -> str:
    passed = time.monotonic() - began
    return f", {_clock(passed * (total - done) / done)} left" if done and passed > 1 else ""


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
