"""The strip above the table: classes with keys and counts, whose predictions these are, where labels are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_ctc.gui.class_chips import ClassChips
from napari_ctc.gui.keys import HINT
from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.speaker_switch import SpeakerSwitch
from napari_ctc.gui.speakers import is_instant
from napari_ctc.gui.still_needed import needed

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.gui.labelling import Labelling
    from napari_ctc.gui.session import Session


_ORIGIN = 360  # pixels that the origin of predictions gets; a longer name of a classifier is cut


class ClassStrip(QWidget):
    """Classes and the classifier; below, what labelling needs to know.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session
    labelling : Labelling
    parent : QWidget
    """

    def __init__(self, viewer: Viewer, session: Session, labelling: Labelling, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("strip")
        self._viewer, self._session, self._labelling = viewer, session, labelling
        self._told = ""
        self._build()
        labelling.told.connect(self._tell)
        labelling.places_changed.connect(self.show_place)
        self.chips.named.connect(self._name)
        self.chips.renamed.connect(self._rename)
        self.chips.coloured.connect(self._colour)
        self.chips.removed.connect(self._remove)
        self.chips.put_first.connect(self._put_first)

    def _build(self) -> None:
        self.chips = ClassChips(self)
        self.chips.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.state = QLabel(self)
        self.state.setObjectName("predictionState")
        self.state.setToolTip("Specimens without a current prediction")
        self.switch = SpeakerSwitch(self._session, self)
        self.origin = QElidingLabel(self)
        self.origin.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.origin.setObjectName("predictedBy")
        self.train_button = QPushButton("Train or load a classifier…", self)
        self.train_button.setObjectName("openTrainDock")
        self.train_button.setToolTip("Opens the dock where a classifier is trained or loaded")
        self.train_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.train_button.clicked.connect(self._open_train_dock)
        self.hint = QLabel(self)
        self.hint.setObjectName("labellingHint")
        self.hint.setWordWrap(True)
        self.hint.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.place = QLabel(self)
        self.place.setObjectName("labelsPlace")
        self.change = QToolButton(self)
        self.change.setObjectName("changeLabelsPlace")
        self.change.setText("Change…")
        self.change.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.change.setToolTip("Keep the labels in another table")
        self.change.clicked.connect(self._ask_place)
        upper, lower = QHBoxLayout(), QHBoxLayout()
        upper.addWidget(self.chips, 1)
        for part in (self.state, self.switch, self.origin, self.train_button):
            upper.addWidget(part, 0, Qt.AlignmentFlag.AlignTop)
        lower.addWidget(self.hint, 1)
        lower.addWidget(self.place)
        lower.addWidget(self.change)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addLayout(upper)
        column.addLayout(lower)

    # --------------------------------------------------------------------------------------- what is shown

    def refresh(self) -> None:
        """Count anew."""
        session = self._session
        rows, words, places = session.rows, session.words, len(session.classes)
        status = words.status
        once = session.each_once(np.arange(len(rows)))
        # With the one that is judged blind among them: a count that falls when it comes would tell its class.
        current = words.predicted[once][status[once] == Status.CURRENT]
        predicted = np.bincount(current[current != NOT_KNOWN], minlength=places)
        labels = rows.label[session.each_once(np.flatnonzero(rows.label != NOT_KNOWN))]
        labelled = np.bincount(labels, minlength=places)
        names = session.keyed
        self.chips.show_names(names)
        counts: dict[str, int] = {}
        for place, chip in enumerate(self.chips.chips):
            code = session.classes.index(chip.name)
            counts[chip.name] = int(labelled[code])
            said = None if words.speaker is None or session.all_concealed else int(predicted[code])
            key = place + 1 if place < 9 else 0
            kept = self._kept(chip.name, counts[chip.name])
            chip.show_class(key, session.colour(chip.name), counts[chip.name], said, kept)
        self.chips.unsure.setText(f"U  unsure  {int(rows.unsure[once].sum()):,}")
        waiting = (("stale", Status.STALE), ("failed", Status.FAILED), ("waiting", Status.PENDING))
        numbers = [(word, int((status[once] == which).sum())) for word, which in waiting]
        self.state.setText(" · ".join(f"{count:,} {word}" for word, count in numbers if count))
        self._needed = needed(names, counts, self._sources())
        self._show_hint()
        self._show_origin()

    def _kept(self, name: str, labelled: int) -> str:
        """Say why a class would stay although its name is taken away; empty if it would not."""
        session = self._session
        if labelled:
            return "specimens are labelled so"
        if session.classifier is not None and name in session.classifier.classes:
            return "the classifier in use knows it"
        named = (session.rows.predicted == session.classes.index(name)).any()
        return "an earlier prediction names it" if named else ""

    def _sources(self) -> dict[str, set[str]]:
        """Give the sources of the specimens labelled of each class, an empty word where one is not known."""
        session, found = self._session, {}
        for code, name in enumerate(session.classes):
            of = session.source_codes[session.rows.label == code]
            found[name] = {session.sources[one] for one in np.flatnonzero(np.bincount(of))}
        return found

    def _tell(self, sentence: str) -> None:
        self._told = sentence
        self._show_hint()

    def _show_hint(self) -> None:
        """Show what is wrong or new; else what is still needed; and the keys."""
        text = self._told or " ".join(part for part in (self._needed, HINT) if part)
        self.hint.setText(text)
        self.hint.setToolTip(f"{text}\n{HINT}" if self._told else text)

    _needed = ""

    def show_place(self) -> None:
        """Show in which table the labels of the current specimen are."""
        book = self._labelling.book
        self.change.setVisible(book is not None)
        if book is None:
            self.place.setText("")
            return
        closed = book.problem or (book.journal.read_only if book.journal is not None else "")
        kind = "labels, read-only" if closed else "labels"
        self.place.setText(f"{kind}: {book.path.parent.name}/{book.path.name}")
        self.place.setToolTip(f"{closed}\n{book.path}" if closed else f"Labels are kept in {book.path}")

    def _show_origin(self) -> None:
        """Say whose predictions are shown."""
        session = self._session
        speaker, path = session.words.speaker, session.classifier_path
        self.switch.refresh()
        self.train_button.setVisible(session.classifier is None)
        if speaker is None:
            self.origin.setText("No classifier yet: train or load one.")
            self.origin.setToolTip("Without a classifier nothing is predicted before two classes have labels")
        elif is_instant(speaker):
            self.origin.setText(f"by the {speaker.name}")
            self.origin.setToolTip(
                "The predictions are by the instant head: it learns anew from each of your labels, and calls a "
                "class as if all were equally frequent. What it says of specimens that it learnt from flatters it"
            )
        else:
            self.origin.setText(f"by {path.name if path else 'a new classifier'} ({speaker.digest[:8]})")
            self.origin.setToolTip(
                f"The predictions are by the trained network with the digest {speaker.digest}, which knows "
                f"{', '.join(speaker.classes)}.\n{path or 'It has not been saved.'}"
            )
        wanted = self.origin.fontMetrics().horizontalAdvance(self.origin.text()) + 4
        self.origin.setMinimumWidth(min(wanted, _ORIGIN))

    # ------------------------------------------------------------------------------------ what a person does

    # Each in its turn: which classes there are is known once the tables are open, and all before it is done.

    def _name(self, name: str) -> None:
        labelling, session = self._labelling, self._session
        labelling.do(lambda: labelling.name_classes((*session.keyed, name)))

    def _colour(self, name: str, colour: str) -> None:
        labelling, session = self._labelling, self._session
        labelling.do(lambda: labelling.name_classes(session.keyed, {name: colour}))

    def _remove(self, name: str) -> None:
        labelling, session = self._labelling, self._session
        labelling.do(lambda: labelling.name_classes([one for one in session.keyed if one != name]))

    def _put_first(self, name: str) -> None:
        labelling, session = self._labelling, self._session
        labelling.do(lambda: labelling.name_classes(list(dict.fromkeys([name, *session.keyed]))))

    def _rename(self, old: str, new: str) -> None:
        self._labelling.do(lambda: self._labelling.rename(old, new))

    def _ask_place(self) -> None:
        book = self._labelling.book
        if book is None:
            return
        chosen, _ = QFileDialog.getSaveFileName(
            self,
            "Keep the labels in",
            str(book.path),
            "Tables (*.csv)",
            options=QFileDialog.Option.DontConfirmOverwrite,  # a table that is there is gone on with
        )
        if chosen:
            path = Path(chosen)
            path = path if path.suffix.lower() == ".csv" else path.with_name(f"{path.name}.csv")
            self._labelling.do(lambda: self._labelling.move_to(path))

    def _open_train_dock(self) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-ctc", "Train classifier")
