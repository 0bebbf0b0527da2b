"""The upper part of the dock "Train classifier": the specimens, their classes, the settings, where to save.

Shows before a run what it would do, by a survey that reads no pixel; the run itself is the dock's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_ctc.data.files import is_folder
from napari_ctc.errors import SettingsError
from napari_ctc.gui import train_jobs as jobs
from napari_ctc.gui.forms import align_labels, form_of, keep_wheel_away, read_forms
from napari_ctc.gui.jobs import RunningJob, start
from napari_ctc.gui.places import labels_place
from napari_ctc.gui.preferences import preferred_layout, preferred_names
from napari_ctc.gui.train_advanced import AdvancedBox, let_follow
from napari_ctc.gui.train_controls import MessageLine
from napari_ctc.gui.train_parts import FILES, ClassTable, SourceBox, wrapped
from napari_ctc.settings import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QShowEvent

    from napari_ctc.data.manifest import Manifest
    from napari_ctc.events import EpochDone, Event, Planned
    from napari_ctc.gui.session import Session
    from napari_ctc.learn.classifier import Classifier

UP_FRONT = ("minutes", "network", "weighting")
"""The settings that are seen at once; all others are under "Advanced"."""

_REST = 250  # milliseconds without a change before the specimens are surveyed anew


class TrainSetup(QWidget):
    """Choose what to train on, how, and where to save.

    Parameters
    ----------
    session : Session
        Its labelled specimens are the default to train on.
    """

    taken_back = Signal(str)  # a sentence that no longer holds

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._survey: RunningJob | None = None
        self._survey_due = self._frozen = False
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self._begin_survey)
        self._make_parts()
        self._lay_out()
        self.source.changed.connect(self._follow_source)
        self.form.changed.connect(self._follow_settings)
        self.advanced.changed.connect(self._follow_advanced)
        self.browse.clicked.connect(self._ask_out)
        self.follow_specimens()

    # ---------------------------------------------------------------------------------- what was chosen

    def settings(self) -> TrainSettings:
        """Return the settings that the form shows.

        Raises
        ------
        SettingsError
        """
        return read_forms(TrainSettings, self.form, self.advanced_form)

    def what(self) -> jobs.Source:
        """Return what to train on."""
        if self.source.path is not None:
            return jobs.Source(path=self.source.path, channel_names=preferred_names())
        if not len(self.session):
            return jobs.Source()
        labelled = partial(_with_journal, self.session.labelled_later())
        return jobs.Source(labelled, channel_names=self.session.locate(0)[0].channel_names)

    def start(self) -> Classifier | None:
        """Return the classifier to start from; None for new weights."""
        return self.session.classifier if self.advanced.continues else None

    def out_path(self) -> Path:
        """Return where to save the classifier.

        Raises
        ------
        SettingsError
        """
        return jobs.checked_path(self.out.text())

    def freeze(self, frozen: bool) -> None:
        """Hold still while a run shows its own plan and scores here, and look at later changes afterwards."""
        self._frozen = frozen
        if frozen:
            self._rest.stop()
        elif self._survey_due:
            self._rest.start()
        for part in (self.source, self.form.native, self.advanced.content(), self.out, self.browse):
            part.setEnabled(not frozen)

    def _follow_layout(self) -> None:
        """Let the layout of specimens be chosen only where it counts: open ones have theirs."""
        why = "This comes from the open specimens that are trained on."
        for widget in (self.advanced_form.channels, self.advanced_form.channel_axis):
            told = TrainSettings.model_fields[widget.name].description
            let_follow(widget, self.source.path is None, why, told)

    def _follow_advanced(self) -> None:
        """Let network and size be chosen only for new weights."""
        why = "This comes from the classifier to start from."
        for widget in (self.form.network, self.advanced_form.size):
            told = TrainSettings.model_fields[widget.name].description
            let_follow(widget, self.advanced.continues, why, told)
        self._follow_settings()

    def follow_labels(self) -> None:
        """Count the labelled specimens anew, and survey them once the person rests."""
        self._count_labelled()
        if self.source.path is None:
            self._rest.start()

    def follow_specimens(self) -> None:
        """Count the labelled specimens that are open here."""
        self._count_labelled()
        if self.source.path is None:
            self._follow_source()

    def _count_labelled(self) -> None:
        """Say how many of the open specimens have a label; each counts once, as in training."""
        session = self.session
        once = session.each_once(np.arange(len(session)))
        self.source.set_labelled(int((session.rows.label[once] >= 0).sum()), len(once))

    def show_plan(self, planned: Planned) -> None:
        """Show the split and the weights, before a run or at its start."""
        self.table.show_plan(planned)
        self.caption.hide()

    def show_scores(self, epoch: EpochDone) -> None:
        """Show what an epoch finds among the specimens held out."""
        self.table.show_scores(epoch.scores)
        self.caption.setText(
            f"found: by epoch {epoch.epoch}, on the specimens held out. Expect less on other slides."
        )
        self.caption.show()

    # ---------------------------------------------------------------------------------- what it is made of

    def _make_parts(self) -> None:
        layout = preferred_layout()
        self.source = SourceBox()
        keep_wheel_away(self.source)
        self.summary = wrapped("summary")
        self.table = ClassTable(self.session.palette)
        self.caption = wrapped("caption")
        self.caption.hide()
        self.form = form_of(TrainSettings, UP_FRONT)
        self.form.minutes.label = "time budget"
        self.form.minutes.native.setSuffix(" min")
        self.form.margins = (0, 0, 0, 0)
        self.advanced = AdvancedBox(TrainSettings, [n for n in TrainSettings.model_fields if n not in UP_FRONT])
        self.advanced_form = self.advanced.form
        self.advanced_form.channels.value = layout.channels
        self.advanced_form.channel_axis.value = layout.axis
        self.out = QLineEdit()
        self.out.setObjectName("out")
        self.out.setToolTip("The file that the classifier is saved to; that of a stopped run, too.")
        self.browse = QPushButton("Browse…")
        self.browse.setObjectName("browse")
        self.browse.setToolTip("Choose where to save the classifier.")
        self.message = MessageLine("setup_message")
        self.message.hide()

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(_row("Train on", self.source))
        for part in (self.summary, self.table, self.caption, self.form.native, self.advanced):
            column.addWidget(part)
        column.addLayout(_row("Save to", self.out, self.browse))
        column.addWidget(self.message)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def showEvent(self, event: QShowEvent) -> None:
        """Align the two forms, now that the theme has given them their font."""
        super().showEvent(event)
        align_labels(self.form.native, self.advanced.content())

    # -------------------------------------------------------------------------------------------- surveys

    def _follow_source(self) -> None:
        """Suggest where to save, next to the data, and survey what was chosen."""
        self._follow_layout()
        folder = self._folder()
        if folder is not None and not self.out.isModified():
            self.out.setText(str(folder / f"classifier{jobs.SUFFIX}"))
        self._rest.start()

    def _follow_settings(self) -> None:
        self._rest.start()

    def _folder(self) -> Path | None:
        path = self.source.path
        if path is not None:
            return path if is_folder(path) else path.parent
        return self.session.locate(0)[0].manifest.root if len(self.session) else None

    def _begin_survey(self) -> None:
        """Look at the classes, split and weights; one survey at a time, the last change wins."""
        self._survey_due = self._frozen or self._survey is not None
        if self._survey_due:
            return
        try:
            settings = self.settings()
        except SettingsError as problem:
            self._say(str(problem), wrong=True)
            return
        if self.source.path is None and not (self.session.rows.label >= 0).any():
            self.table.show_counts((), ())
            self._say("")  # what was said is of the specimens before
            some = "Label some of the open specimens" if len(self.session) else "Open specimens and label some"
            self.summary.setText(f"{some}, or choose a manifest or a folder to train on.")
            return
        self._survey = start(
            jobs.survey(self.what(), settings),
            parent=self,
            name="Look at the specimens",
            on_event=self._show_counts,
            on_result=self._show_survey,
            on_finished=self._end_survey,
            quiet=True,
        )

    def _show_counts(self, event: Event) -> None:
        if not isinstance(event, jobs.Counted) or self._frozen:
            return
        self.table.show_counts(event.classes, event.counts)
        self.caption.hide()
        self.summary.setText(event.sentence)

    def _show_survey(self, found: jobs.Survey) -> None:
        if self._frozen:
            return
        if found.planned is not None:
            self.show_plan(found.planned)
        self._say(found.refusal or " ".join(found.notes), wrong=bool(found.refusal))

    def _end_survey(self) -> None:
        self._survey = None
        if self._survey_due:
            self._begin_survey()

    def _say(self, sentence: str, wrong: bool = False) -> None:
        """Say why a run could not start, or what else was found; in a line of its own, for a run has its news."""
        before = self.message.text()
        self.message.say(sentence, wrong)
        self.message.setVisible(bool(sentence))
        if before != sentence:
            self.taken_back.emit(before)

    def _ask_out(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Save the classifier to",
            self.out.text(),
            FILES,
            options=QFileDialog.Option.DontConfirmOverwrite,  # asked when a run starts
        )
        if chosen:
            self.out.setText(chosen)
            self.out.setModified(True)


def _with_journal(labelled: Callable[[], Manifest]) -> Manifest:
    """Name the table that labels are kept in, and so the journal that knows how they came about."""
    found = labelled()
    return replace(found, file=labels_place(found))


def _row(words: str, *parts: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.addWidget(QLabel(words))
    for part in parts:
        row.addWidget(part, 0 if isinstance(part, QPushButton) else 1)
    return row
