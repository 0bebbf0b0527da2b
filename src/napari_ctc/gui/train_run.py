"""A training run in the dock "Train classifier": begun or resumed, followed in curves and words, stopped, used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_ctc.data.files import exists
from napari_ctc.errors import CTCError
from napari_ctc.events import EpochDone, Event, HeldOut, Planned, Resumed, Said, Saved, Skipped, StepDone
from napari_ctc.gui import train_jobs as jobs
from napari_ctc.gui.jobs import RunningJob, start
from napari_ctc.gui.train_confusion import LEGEND, ConfusionTable
from napari_ctc.gui.train_controls import MessageLine, RunControls, button, may_replace
from napari_ctc.gui.train_parts import clock, wrapped
from napari_ctc.gui.train_plots import TrainCurves

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_ctc.gui.session import Session
    from napari_ctc.gui.train_setup import TrainSetup
    from napari_ctc.learn.classifier import Classifier


class TrainRun(QWidget):
    """Train, stop, resume; how far it is, what happened, and the curves.

    Parameters
    ----------
    session : Session
        The trained classifier becomes the one in use.
    setup : TrainSetup
        Says what to train on, how, and where to save.
    """

    busy = Signal(bool)
    first_epoch = Signal()

    def __init__(self, session: Session, setup: TrainSetup) -> None:
        super().__init__()
        self._session, self._setup = session, setup
        self._run: RunningJob | None = None
        self._out = Path()
        self._began_from: Classifier | None = None
        self._frozen = self._got = False
        self._skipped: list[str] = []  # why specimens of the run could not be read
        self._warned: list[str] = []  # in the run
        self.last_epoch = 0
        self.train = button(
            "train", "Train", "Start to train with these specimens and settings. napari stays usable meanwhile."
        )
        stop = button("stop", "Stop", "End the run now, and keep what it has learnt up to its last whole epoch.")
        self.resume = button(
            "resume",
            "Resume",
            "Go on with the unfinished run that was to save to this file, from its last epoch and with the "
            "settings that it began with.",
        )
        self.controls = RunControls(self.train, stop, more=self.resume)
        self.message = MessageLine("message")
        self.curves = TrainCurves()
        self.curves.hide()
        self.legend = wrapped("held_out_legend")
        self.legend.hide()
        self.matrix = ConfusionTable("held_out_confusion")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        for part in (self.controls, self.message, self.curves, self.legend, self.matrix):
            column.addWidget(part)
        self.train.clicked.connect(self._begin)
        self.resume.clicked.connect(self._go_on)
        self.controls.stop_asked.connect(self._stop)
        setup.out.textChanged.connect(self._look_for_unfinished)
        self._look_for_unfinished()

    @property
    def running(self) -> bool:
        """Whether a run is at work."""
        return self._run is not None

    def freeze(self, frozen: bool) -> None:
        """Offer nothing while this or another run is at work."""
        self._frozen = frozen
        self.train.setEnabled(not frozen)
        self._look_for_unfinished()

    def showEvent(self, event: QShowEvent) -> None:
        """Notice a run that was killed while the dock was not seen."""
        super().showEvent(event)
        self._look_for_unfinished()

    def _look_for_unfinished(self, _text: str = "") -> None:
        """Offer to resume where there is an unfinished run."""
        self.resume.setVisible(not self._frozen and jobs.unfinished(self._setup.out.text()) is not None)

    # ---------------------------------------------------------------------------------- begin, go on, stop

    def _begin(self) -> None:
        try:
            settings, out = self._setup.settings(), self._setup.out_path()
        except CTCError as problem:
            self.message.say(str(problem), wrong=True)
            return
        begins_from = self._setup.start()
        if self._may_save(out):
            self._began_from = begins_from
            self._start(jobs.fit(self._setup.what(), settings, out, begins_from), out)

    def _go_on(self) -> None:
        try:
            out = self._setup.out_path()
        except CTCError as problem:
            self.message.say(str(problem), wrong=True)
            return
        now = self._session.classifier
        own = now is not None and now.stopped and self._session.classifier_path == out
        if own or self._may_save(out):
            self._start(jobs.resume(self._setup.what(), out, (now, self._began_from)), out)

    def _may_save(self, out: Path) -> bool:
        may = not exists(out) or may_replace(self, out)
        if not may:
            self.message.say("Nothing was started. Choose another file under 'Save to', then train.")
        return may

    def _start(self, job: Any, out: Path) -> None:
        self.message.say("Getting ready…")
        self._out = out
        self._got = False
        self.last_epoch = 0
        self._skipped.clear()
        self._warned.clear()
        self._show_held_out(None)
        self._run = start(
            job,
            parent=self,
            name="Train classifier",
            on_event=self.follow,
            on_result=self._take,
            on_error=self._fail,
            on_finished=self._end,
            quiet=True,
        )
        self.controls.show_running(True)
        self.busy.emit(True)

    def _stop(self) -> None:
        if self._run is not None:
            self._run.stop()

    # ------------------------------------------------------------------------------------------ following

    def follow(self, event: Event) -> None:
        """Show what just happened in a run, or with a file."""
        if isinstance(event, Planned):
            self._setup.show_plan(event)
            self.curves.begin(event.classes, self._session.palette(event.classes))
            self.curves.show()
            self.message.say(f"Training on {event.device}.")
        elif isinstance(event, Resumed):
            self.curves.go_on(event)
        elif isinstance(event, (StepDone, EpochDone)):
            told = f"epoch {event.epoch} of {event.epochs}, {clock(event.seconds_left)} left"
            self.controls.show_step(event, told if event.epoch else "reading specimens…")
            if isinstance(event, EpochDone):
                self._show_epoch(event)
        elif isinstance(event, Said):
            self.message.say(event.text, wrong=event.warning)
            if event.warning:
                self._warned.append(event.text)
        elif isinstance(event, Skipped):
            self._skipped.append(event.reason)
        elif isinstance(event, HeldOut):
            self._show_held_out(event)
        elif isinstance(event, Saved):
            self._out = event.path  # beside the file that was asked for, if an older one stood there at a stop
            self.message.say(f"Saved {event.path}.")

    def _show_epoch(self, event: EpochDone) -> None:
        if not self.last_epoch:
            self.first_epoch.emit()
        self.last_epoch = event.epoch
        self.curves.add(event)
        if event.kept:
            self._setup.show_scores(event)
            self.message.say(
                f"Epoch {event.epoch}: balanced accuracy {event.scores.balanced_accuracy:.2f} on the specimens "
                f"held out."
            )

    def _show_held_out(self, found: HeldOut | None) -> None:
        """Show what the specimens held out were called in the end."""
        for part in (self.legend, self.matrix):
            part.setVisible(found is not None)
        if found is not None:
            self.legend.setText(f"Held out from this training: {len(found.calls):,}. {LEGEND}")
            self.matrix.show_scores(found.scores, found.calls)

    def _take(self, classifier: Any) -> None:
        """Make what a run returned the classifier in use; a run without a result changes nothing."""
        if classifier is None:
            return
        self._got = True
        self._session.use(classifier, self._out)
        kept, last = classifier.metrics["epoch"], classifier.metrics["epochs"]
        ended = f"Stopped at epoch {last}" if classifier.stopped else "Finished"
        earlier = f"; epoch {kept} was the best and is kept" if kept < last else ""
        told = f"{ended}{earlier}. Saved as {self._out.name}, and in use."
        if classifier.stopped:
            told += " 'Resume' goes on with it."
        if self._skipped:
            told += f" Left out, since they could not be read: {len(self._skipped):,}. {self._skipped[0]}"
        # As they were said, which may be with names of files: a classifier keeps none.
        doubts = (
            next((said for said in self._warned if said.startswith(doubt)), doubt)
            for doubt in classifier.metrics["warnings"]
        )
        self.message.say(" ".join([told, *doubts]))

    def show_error(self, error: Exception) -> None:
        """Say what went wrong, and that the classifier in use stays."""
        told = str(error) if isinstance(error, CTCError) else f"Something went wrong: {error!r}."
        kept = "" if self._session.classifier is None else " The classifier in use stays."
        self.message.say(told + kept, wrong=True)

    def _fail(self, error: Exception) -> None:
        """Say what went wrong with a run, and whether it can go on."""
        self.show_error(error)
        if jobs.unfinished(str(self._out)) is not None:
            self.message.say(f"{self.message.text()} 'Resume' goes on after its last whole epoch.", wrong=True)

    def _end(self) -> None:
        """Make the dock usable again, however the run ended."""
        if self._run is not None and self._run.stopping and not self._got:
            self.message.say("Stopped before the first epoch ended: nothing was saved or replaced.")
        self._run = None
        self.controls.show_running(False)
        self.busy.emit(False)
