"""The dock "Train classifier": train beside the window, watch, stop, keep the result, load another.

What to train on and how is chosen in `train_setup`; what happens in a run is the business of `learn`, and the
jobs that carry it are in `train_jobs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QSize
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QMessageBox,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_ctc.errors import CTCError, SettingsError
from napari_ctc.events import EpochDone, Event, Planned, Said, Saved, Skipped, StepDone
from napari_ctc.gui import train_jobs as jobs
from napari_ctc.gui.jobs import RunningJob, close_with_dock, start
from napari_ctc.gui.session import session_of
from napari_ctc.gui.train_parts import ClassifierBox, clock, wrapped
from napari_ctc.gui.train_plots import TrainCurves
from napari_ctc.gui.train_setup import TrainSetup

if TYPE_CHECKING:
    import napari.viewer

_WIDTH = 400  # pixels that the dock asks for
_LEAST_HEIGHT = 220  # pixels, so that a neighbour in the same column leaves it some
_WRONG = {"dark": "#ffab85", "light": "#9c1c00"}  # napari's own red is hardly read on its dark background


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
        self._run: RunningJob | None = None
        self._out = Path()
        self._kept_epoch = self._last_epoch = 0
        self._of_setup = ""  # what the message line says of the setup, if anything
        self._skipped: list[str] = []  # why specimens of the run could not be read
        self._make_parts()
        self._lay_out()
        self._connect()
        self._follow_theme()
        self._show_classifier()
        self._show_running(False)

    # ---------------------------------------------------------------------------------- what it is made of

    def _make_parts(self) -> None:
        self.setup = TrainSetup(self._session)
        self.train = QPushButton("Train")
        self.train.setObjectName("train")
        self.train.setToolTip("Start to train with these specimens and settings. napari stays usable meanwhile.")
        self.stop = QPushButton("Stop")
        self.stop.setObjectName("stop")
        self.stop.setToolTip("End the run now, and keep what it has learnt up to its last whole epoch.")
        self.time_left = wrapped("time_left")
        self.bar = QProgressBar()
        self.bar.setObjectName("progress")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(12)
        self.message = wrapped("message")
        self.curves = TrainCurves()
        self.curves.hide()
        self.classifier = ClassifierBox()

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(6)
        row = QHBoxLayout()
        row.addWidget(self.train)
        row.addWidget(self.stop)
        row.addWidget(self.time_left, 1)
        column.addWidget(self.setup)
        column.addLayout(row)
        for part in (self.bar, self.message, self.curves, self.classifier):
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
        self.setup.told.connect(self._say_of_setup)
        self.train.clicked.connect(self._begin_run)
        self.stop.clicked.connect(self._stop_run)
        self.classifier.load_asked.connect(self._load)
        self.classifier.save_asked.connect(self._save)
        self._session.specimens_changed.connect(self._follow_specimens)
        self._session.labels_changed.connect(self._follow_labels)
        self._session.classifier_changed.connect(self._follow_classifier)
        self._viewer.events.theme.connect(self._follow_theme)

    def event(self, event: QEvent) -> bool:
        """Let go of the session and the viewer when napari closes the dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._session.specimens_changed.disconnect(self._follow_specimens)
            self._session.labels_changed.disconnect(self._follow_labels)
            self._session.classifier_changed.disconnect(self._follow_classifier)
            self._viewer.events.theme.disconnect(self._follow_theme)
        close_with_dock(self, event)
        return super().event(event)

    def _follow_specimens(self) -> None:
        self.setup.follow_specimens()

    def _follow_labels(self, _indices: object) -> None:
        self.setup.follow_labels()

    # ----------------------------------------------------------------------------------------- a run

    def _begin_run(self) -> None:
        try:
            settings, out = self.setup.settings(), self.setup.out_path()
        except CTCError as problem:
            self._say(str(problem), wrong=True)
            return
        if out.exists() and not self._may_replace(out):
            self._say("Nothing was started. Choose another file under 'Save to', then train.")
            return
        self._say("Getting ready…")
        self._out = out
        self._kept_epoch = self._last_epoch = 0
        self._skipped.clear()
        self._run = start(
            jobs.fit(self.setup.what(), settings, out),
            parent=self,
            name="Train classifier",
            on_event=self._follow_run,
            on_result=self._take_trained,
            on_error=self._show_error,
            on_finished=self._end_run,
        )
        self._show_running(True)

    def _may_replace(self, out: Path) -> bool:
        asked = f"{out.name} exists already. Replace it? It stays as it is until the new one is complete."
        answer = QMessageBox.question(self, "Replace the classifier?", asked)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _stop_run(self) -> None:
        if self._run is not None:
            self._run.stop()
            self.stop.setEnabled(False)
            self.time_left.setText("stopping…")

    def _follow_run(self, event: Event) -> None:
        """Show what just happened in a run."""
        if isinstance(event, Planned):
            self.setup.show_plan(event)
            self.curves.begin(event.classes)
            self.curves.show()
            self._say(f"Training on {event.device} in {event.precision}.")
        elif isinstance(event, (StepDone, EpochDone)):
            self._show_step(event)
            if isinstance(event, EpochDone):
                self._show_epoch(event)
        elif isinstance(event, Said):
            self._say(event.text, wrong=event.warning)
        elif isinstance(event, Skipped):
            self._skipped.append(event.reason)
        elif isinstance(event, Saved):
            self._out = event.path  # beside the file that was asked for, if an older one stood there at a stop
            self._say(f"Saved {event.path}.")

    def _show_step(self, event: StepDone | EpochDone) -> None:
        self.bar.setRange(0, event.total)
        self.bar.setValue(event.done)
        if self._run is not None and not self._run.stopping:
            told = f"epoch {event.epoch} of {event.epochs}, {clock(event.seconds_left)} left"
            self.time_left.setText(told if event.epoch else "reading specimens…")

    def _show_epoch(self, event: EpochDone) -> None:
        if not self._last_epoch:  # on a small screen, let the curves come into view below the buttons
            self._area.verticalScrollBar().setValue(self.train.y() - 4)
        self._last_epoch = event.epoch
        self.curves.add(event)
        if event.kept:
            self._kept_epoch = event.epoch
            self.setup.show_scores(event)
            self._say(
                f"Epoch {event.epoch}: balanced accuracy {event.scores.balanced_accuracy:.2f} on the specimens "
                f"held out."
            )

    def _take_trained(self, classifier: Any) -> None:
        """Make what a run returned the classifier in use; a run without a result changes nothing."""
        if classifier is None:
            return
        self._session.use(classifier, self._out)
        ended = f"Stopped at epoch {self._last_epoch}" if classifier.stopped else "Finished"
        earlier = (
            f"; epoch {self._kept_epoch} was the best and is kept" if self._kept_epoch < self._last_epoch else ""
        )
        told = f"{ended}{earlier}. Saved as {self._out.name}, and in use."
        if self._skipped:
            told += f" Left out, since they could not be read: {len(self._skipped):,}. {self._skipped[0]}"
        self._say(told)

    def _show_error(self, error: Exception) -> None:
        told = str(error) if isinstance(error, CTCError) else f"Something went wrong: {error!r}."
        kept = "" if self._session.classifier is None else " The classifier in use stays."
        self._say(told + kept, wrong=True)

    def _end_run(self) -> None:
        """Make the dock usable again, however the run ended."""
        if self._run is not None and self._run.stopping and not self._kept_epoch:
            self._say("Stopped before the first epoch ended: nothing was saved or replaced.")
        self._run = None
        self._show_running(False)

    def _show_running(self, running: bool) -> None:
        self.setup.freeze(running)
        self.train.setEnabled(not running)
        self.stop.setEnabled(running)
        self.classifier.freeze(running)
        self.time_left.setText("")
        self.bar.setRange(0, 0)  # a busy bar until the first step
        self.bar.setVisible(running)

    # ------------------------------------------------------------------------- the classifier and its file

    def _load(self, path: Path) -> None:
        channels = int(self._session.rows.channels[0]) if len(self._session) else None
        self._begin_file_job(jobs.load(path, channels), "Load a classifier", self._take_loaded)

    def _save(self, path: Path) -> None:
        if self._session.classifier is None:
            return
        try:
            out = jobs.checked_path(str(path))
        except SettingsError as problem:
            self._say(str(problem), wrong=True)
            return
        if out != path and out.exists() and not self._may_replace(out):  # the dialog asked about `path` only
            return
        self._begin_file_job(jobs.save(self._session.classifier, out), "Save the classifier", self._take_saved)

    def _begin_file_job(self, job: Any, name: str, on_result: Any) -> None:
        shown = {"on_event": self._follow_run, "on_error": self._show_error}
        start(job, parent=self, name=name, on_result=on_result, **shown)

    def _take_loaded(self, result: Any) -> None:
        classifier, path = result
        self._session.use(classifier, path)
        self._say(f"Loaded {path.name}; it is in use.")

    def _take_saved(self, path: Path) -> None:
        self._say(f"Saved as {path}.")

    def _follow_classifier(self, _classifier: Any = None) -> None:
        """Show the classifier in use; what was said of another file or run no longer holds."""
        self._show_classifier()
        if self._run is None and self.message.text() != self._of_setup:
            self._say("")

    def _show_classifier(self, _classifier: Any = None) -> None:
        self.classifier.show_classifier(self._session.classifier, self._session.classifier_path)

    # ---------------------------------------------------------------------------------------- its looks

    def _say_of_setup(self, sentence: str, wrong: bool) -> None:
        """Show what a survey found; unless it is a refusal, it displaces no news of a run or a file."""
        if (wrong and sentence) or self.message.text() in ("", self._of_setup):
            self._say(sentence, wrong)
            self._of_setup = sentence

    def _say(self, sentence: str, wrong: bool = False) -> None:
        self.message.setProperty("wrong", wrong)
        self.message.setText(sentence)
        self._colour_message()

    def _colour_message(self) -> None:
        colour = _WRONG[get_theme(self._viewer.theme).type]
        self.message.setStyleSheet(f"color: {colour};" if self.message.property("wrong") else "")

    def _follow_theme(self, _event: Any = None) -> None:
        theme = get_theme(self._viewer.theme)
        self.curves.set_colours(theme.background.as_hex(), theme.text.as_hex())
        self._colour_message()
