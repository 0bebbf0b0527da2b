"""Parts of the dock "Train classifier": what to train on, the table of classes, the file of the classifier.

Each shows one thing and says by a signal what was asked of it; the dock decides what follows.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_ctc.data.files import is_folder
from napari_ctc.gui.calibrated import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_ctc.events import Planned
    from napari_ctc.learn.classifier import Classifier
    from napari_ctc.score.metrics import Scores

HERE, MANIFEST, FOLDER = range(3)
FILES = "Classifiers (*.safetensors)"
_ROWS = 7  # the table of classes shows so many and scrolls through more


class SourceBox(QComboBox):
    """Where the specimens to train on come from."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("train_on")
        self.setToolTip(
            "The specimens to learn from: those labelled in this window, a table of specimens and labels (.csv), "
            "or a folder that has a subfolder for each class."
        )
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.addItems(["labelled here: 0 of 0", "a manifest…", "a folder whose subfolders are the classes…"])
        self.path: Path | None = None
        self._kind = HERE
        self.activated.connect(self._choose)

    def set_labelled(self, labelled: int, specimens: int) -> None:
        """Show how many of the open specimens have a label."""
        self.setItemText(HERE, f"labelled here: {labelled:,} of {specimens:,}")

    def set_path(self, path: Path) -> None:
        """Train on a manifest, or on a folder."""
        self._kind, self.path = (FOLDER if is_folder(path) else MANIFEST), path
        self.setItemText(MANIFEST, "a manifest…")
        self.setItemText(FOLDER, "a folder whose subfolders are the classes…")
        self.setItemText(self._kind, f"{path.name} (in {path.parent})")
        self.setCurrentIndex(self._kind)
        self.changed.emit()

    def _choose(self, kind: int) -> None:
        if kind == HERE:
            self._kind, self.path = HERE, None
            self.changed.emit()
            return
        if kind == MANIFEST:
            chosen, _ = QFileDialog.getOpenFileName(self, "Train on a manifest", "", "Tables (*.csv)")
        else:
            chosen = QFileDialog.getExistingDirectory(self, "Train on a folder whose subfolders are the classes")
        if chosen:
            self.set_path(Path(chosen))
        else:
            self.setCurrentIndex(self._kind)


class ClassTable(QTableWidget):
    """A row a class: specimens on both sides of the split, weight, and how many are found.

    Parameters
    ----------
    palette : callable
        Gives classes their colours.
    """

    HEADERS = ("class", "training", "validation", "weight", "found")
    TIPS = (
        "The classes, in the colours of the curves.",
        "Specimens that the network learns from.",
        "Specimens held out: nothing is learnt from them.",
        "How much one specimen of the class counts in learning.",
        "How many of the validation specimens are found, with the weights that are kept so far. Expect somewhat "
        "less on slides that are not among them.",
    )

    def __init__(self, palette: Callable[[Sequence[str]], Sequence[str]]) -> None:
        super().__init__(0, len(self.HEADERS))
        self._palette = palette
        self.setObjectName("classes")
        self.setHorizontalHeaderLabels(self.HEADERS)
        for place, tip in enumerate(self.TIPS):
            self.horizontalHeaderItem(place).setToolTip(tip)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setIconSize(QSize(10, 10))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        header = self.horizontalHeader()
        header.setMinimumSectionSize(40)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.verticalHeader().setDefaultSectionSize(24)
        self.hide()

    def show_counts(self, classes: Sequence[str], counts: Sequence[int]) -> None:
        """Show the classes before their split is known."""
        self.setRowCount(len(classes))
        colours = self._palette(classes)
        for row, (name, number) in enumerate(zip(classes, counts, strict=True)):
            self._put(row, 0, name, f"{name}: {number:,} specimens")
            for column in range(1, 5):
                self._put(row, column, "")
            colour = QPixmap(10, 10)
            colour.fill(QColor(colours[row]))
            self.item(row, 0).setIcon(QIcon(colour))
        self._fit()

    def show_plan(self, planned: Planned) -> None:
        """Show the split and the weights."""
        totals = [sum(sides) for sides in zip(planned.training, planned.validation, strict=True)]
        self.show_counts(planned.classes, totals)
        for row, weight in enumerate(planned.weights):
            self._put(row, 1, f"{planned.training[row]:,}")
            self._put(row, 2, f"{planned.validation[row]:,}")
            self._put(row, 3, f"{weight:.3g}")

    def show_scores(self, scores: Scores) -> None:
        """Show how many of each class are found."""
        for row, (found, number) in enumerate(zip(scores.found, scores.counts, strict=True)):
            tip = f"{scores.sentence(row)}, as if specimens were independent."
            self._put(row, 4, f"{found:,} of {number:,}" if number else "none to find", tip)

    def _put(self, row: int, column: int, text: str, tip: str = "") -> None:
        item = QTableWidgetItem(text)
        item.setToolTip(tip or self.TIPS[column])
        if column:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)

    def _fit(self) -> None:
        """Be as high as the rows, up to a limit."""
        rows = min(self.rowCount(), _ROWS)
        height = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(height + rows * self.verticalHeader().defaultSectionSize() + 4)
        self.setVisible(self.rowCount() > 0)


class ClassifierBox(QWidget):
    """The classifier in use: load one, save it, and what it is."""

    load_asked = Signal(Path)
    save_asked = Signal(Path)

    def __init__(self) -> None:
        super().__init__()
        self._any = False
        self.load = QPushButton("Load…")
        self.load.setObjectName("load")
        self.load.setToolTip("Use a classifier that was trained before, from its .safetensors file.")
        self.save_as = QPushButton("Save as…")
        self.save_as.setObjectName("save_as")
        self.save_as.setToolTip("Save the classifier in use under another name. The file holds no image or path.")
        self.line = wrapped("classifier")
        buttons = QHBoxLayout()
        buttons.addWidget(self.load)
        buttons.addWidget(self.save_as)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addLayout(buttons)
        self.load.clicked.connect(self._ask_load)
        self.save_as.clicked.connect(self._ask_save)

    def show_classifier(self, classifier: Classifier | None, path: Path | None) -> None:
        """Describe the classifier in use."""
        self._any = classifier is not None
        self.freeze(False)
        self.line.setText(
            "In use: no classifier yet." if classifier is None else f"In use: {describe(classifier)}"
        )
        told = [summary(classifier)] if classifier is not None else []
        self.line.setToolTip("\n".join([*([str(path)] if path is not None else []), *told]))

    def freeze(self, frozen: bool) -> None:
        """Offer nothing while a run is about to bring another classifier."""
        self.load.setEnabled(not frozen)
        self.save_as.setEnabled(self._any and not frozen)

    def _ask_load(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Load a classifier", "", FILES)
        if chosen:
            self.load_asked.emit(Path(chosen))

    def _ask_save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the classifier as", "classifier.safetensors", FILES)
        if chosen:
            self.save_asked.emit(Path(chosen))


def describe(classifier: Classifier) -> str:
    """Say in a line which classifier this is."""
    names = ", ".join(classifier.classes)
    return (
        f"{classifier.settings.network}, {len(classifier.classes)} classes ({names}), {classifier.size} px, "
        f"trained {_when(classifier.created)}, {classifier.short}"
    )


def _when(created: str) -> str:
    """Say when: the time today, else the day."""
    try:
        moment = datetime.fromisoformat(created).astimezone()
    except ValueError:
        return created
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if today else f"{moment:%Y-%m-%d}"


def wrapped(name: str) -> QLabel:
    """Make a line of text that wraps instead of widening the dock."""
    label = QLabel()
    let_wrap(label, name)
    return label


def let_wrap(label: QLabel, name: str) -> None:
    """Let a label wrap its text, and a person select it."""
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)


def clock(seconds: float) -> str:
    """Write seconds as 0:41 or 1:02:03; "some time" while there is no estimate."""
    if not math.isfinite(seconds):
        return "some time"
    whole = max(0, round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
