"""Cross-validation in the dock "Train classifier": how good a classifier trained so may be expected to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QSpinBox, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_ctc.data.files import is_file
from napari_ctc.errors import CTCError
from napari_ctc.events import EpochDone, Event, FoldDone, Said, Saved, StepDone
from napari_ctc.gui import train_jobs as jobs
from napari_ctc.gui.forms import align_labels, keep_wheel_away
from napari_ctc.gui.jobs import RunningJob, start
from napari_ctc.gui.place_choice import PlaceChoice
from napari_ctc.gui.train_confusion import LEGEND, ConfusionTable
from napari_ctc.gui.train_controls import MessageLine, RunControls, button, may_replace
from napari_ctc.gui.train_parts import clock, wrapped

if TYPE_CHECKING:
    from qtpy.QtGui import QShowEvent

    from napari_ctc.apply.crossval_result import CrossValidation
    from napari_ctc.gui.train_setup import TrainSetup

_TABLE = "cross_validation.csv"
_PLACES = (
    "Where the folds are trained. Here: one after the other, in napari itself, which is right for most "
    "computers. In processes: several at once, each in a program of its own beside napari, which pays on a "
    "computer with many cores. On a Dask cluster: several at once on other machines, which must see the images "
    "under the same path. What is found is the same, up to rounding."
)
_PROCESSES = (
    "How many folds are trained at once, each with its share of the processor cores and its own specimens in "
    "memory. More than there are folds bring nothing."
)


class CrossValidateBox(QWidget):
    """Hold every labelled specimen out once, and say what was found.

    Parameters
    ----------
    setup : TrainSetup
        Says what to train on, and how.
    """

    busy = Signal(bool)

    def __init__(self, setup: TrainSetup) -> None:
        super().__init__()
        self._setup = setup
        self._run: RunningJob | None = None
        self._done: list[float] = []  # balanced accuracy of the folds so far
        self._saved, self._got = "", False
        self._make_parts()
        self._lay_out()
        self.begin.clicked.connect(self._begin)
        self.controls.stop_asked.connect(self._stop)
        self.browse.clicked.connect(self._ask_out)
        setup.out.textChanged.connect(self._suggest)
        self.section.toggled.connect(self._below.setVisible)
        self._suggest()

    def _make_parts(self) -> None:
        self.folds = QSpinBox()
        self.folds.setObjectName("folds")
        self.folds.setRange(2, 20)
        self.folds.setValue(5)
        self.folds.setToolTip("How many times to train: each time, one part in so many is held out.")
        keep_wheel_away(self.folds)
        self.place = PlaceChoice("crossval", _PLACES, _PROCESSES)
        self.out = QLineEdit()
        self.out.setObjectName("crossval_out")
        self.out.setPlaceholderText("not written unless named here")
        self.out.setToolTip(
            "The table of what each specimen was called by a classifier that never saw it (.csv or .parquet). "
            "Empty: none is written."
        )
        self.browse = button("crossval_browse", "Browse…", "Choose where to write the table.")
        self.begin = button(
            "cross_validate",
            "Cross-validate",
            "Train several times with the settings above and new weights, each time with another part of the "
            "specimens held out. A time budget is for each time. No classifier is kept: this says how good one "
            "may be expected to be.",
        )
        end = button("crossval_stop", "Stop", "End now, and show what the folds that are done have found.")
        self.controls = RunControls(self.begin, end, "crossval_")
        self.message = MessageLine("crossval_message")
        self.found = wrapped("crossval_found")
        self.matrix = ConfusionTable("confusion")

    def _lay_out(self) -> None:
        table = QHBoxLayout()
        table.addWidget(self.out, 1)
        table.addWidget(self.browse)
        self._choices = QWidget()
        form = QFormLayout(self._choices)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("folds", self.folds)
        form.addRow("write to", table)
        form.addRow(self.place)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._choices)
        column.addWidget(self.controls)
        self.section = QCollapsible("Cross-validate", expandedIcon="▾", collapsedIcon="▸")
        self.section.setObjectName("crossval")
        self.section.toggleButton().setToolTip("Find out how good a classifier trained so may be expected to be.")
        self.section.addWidget(inside)
        self._below = QWidget()  # beside the section, which measures text that wraps wrongly
        below = QVBoxLayout(self._below)
        below.setContentsMargins(0, 0, 0, 0)
        for part in (self.message, self.found, self.matrix):
            below.addWidget(part)
        self._below.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.section)
        column.addWidget(self._below)

    def showEvent(self, event: QShowEvent) -> None:
        """Align the words before the boxes, now that the theme has given them their font."""
        super().showEvent(event)
        align_labels(self._choices)

    def freeze(self, frozen: bool) -> None:
        """Offer nothing while this or a training run is at work."""
        for part in (self.begin, self._choices):
            part.setEnabled(not frozen)

    def _suggest(self, _text: str = "") -> None:
        """Suggest to write the table next to the classifier."""
        text = self._setup.out.text().strip()
        if text and not self.out.isModified():
            self.out.setText(str(Path(text).parent / _TABLE))

    def _ask_out(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Write the table to",
            self.out.text(),
            "Tables (*.csv *.parquet)",
            options=QFileDialog.Option.DontConfirmOverwrite,  # asked when it starts
        )
        if chosen:
            self.out.setText(chosen)
            self.out.setModified(True)

    # ------------------------------------------------------------------------------------------- the run

    def _begin(self) -> None:
        try:
            settings = self._setup.settings()
        except CTCError as problem:
            self.message.say(str(problem), wrong=True)
            return
        if refusal := self.place.refusal():
            self.message.say(refusal, wrong=True)
            return
        text = self.out.text().strip()
        out = Path(text).expanduser() if text else None
        if out is not None and is_file(out) and not may_replace(self, out):
            self.message.say("Nothing was started. Choose another file under 'write to'.")
            return
        self.message.say("Getting ready…")
        self.found.setText("")
        self.matrix.hide()
        self._done.clear()
        self._saved, self._got = "", False
        self._run = start(
            jobs.cross_validate(self._setup.what(), settings, out, self.folds.value(), self.place.text),
            parent=self,
            name="Cross-validate",
            on_event=self._follow,
            on_result=self._take,
            on_error=self._show_error,
            on_finished=self._end,
            quiet=True,
        )
        self.controls.show_running(True)
        self.busy.emit(True)

    def _stop(self) -> None:
        if self._run is not None:
            self._run.stop()

    def _follow(self, event: Event) -> None:
        """Show how far it is, and each fold that is done."""
        if isinstance(event, FoldDone):
            self._done.append(event.scores.balanced_accuracy)
            so_far = ", ".join(f"{one:.2f}" for one in self._done)
            self.found.setText(f"Balanced accuracy of {len(self._done)} of {event.folds} folds: {so_far}")
        elif isinstance(event, Said):
            self.message.say(event.text, wrong=event.warning)
        elif isinstance(event, Saved):
            self._saved = f" Saved as {event.path.name}."
        timed = isinstance(event, (StepDone, EpochDone))
        self.controls.show_step(event, f"{clock(event.seconds_left)} left" if timed else "")

    def _take(self, found: CrossValidation | None) -> None:
        """Show what was found, over the folds that ended."""
        if found is None:
            return
        self._got = True
        whole = len(found.folds) == found.planned
        ended = "Stopped" if found.stopped else "Finished" if whole else "Ended early"
        told = f"{ended}: {len(found.predictions):,} specimens, each called by a classifier that never saw it."
        self.message.say(" ".join([told + self._saved, *found.failures]), wrong=bool(found.failures))
        notes = [f"{found.predictions.failed:,} could not be read."] if found.predictions.failed else []
        self.found.setText("\n".join([*found.sentences(), *notes, *found.notes, LEGEND]))
        self.matrix.show_scores(found.scores, found.calls)

    def _show_error(self, error: Exception) -> None:
        self.message.say(str(error) if isinstance(error, CTCError) else f"Something went wrong: {error!r}.", True)

    def _end(self) -> None:
        if self._run is not None and self._run.stopping and not self._got:
            self.message.say("Stopped before the first fold ended: there is nothing to tell.")
        self._run = None
        self.controls.show_running(False)
        self.busy.emit(False)
