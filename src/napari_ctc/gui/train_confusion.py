"""The confusion matrix in the dock "Train classifier": what a person said against what was called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from napari_ctc.score.metrics import Scores

_ROWS = 7  # it shows so many and scrolls through more
_LEAST = 48  # pixels of a column


class ConfusionTable(QTableWidget):
    """A row for each class that a person said, a column for each that was called."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("confusion")
        self.setToolTip("Rows: what a person said. Columns: what the classifier called it.")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        columns = self.horizontalHeader()
        columns.setTextElideMode(Qt.TextElideMode.ElideRight)
        columns.setMinimumSectionSize(_LEAST)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.verticalHeader().setDefaultSectionSize(24)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.hide()

    def show_scores(self, scores: Scores) -> None:
        """Show the counts; those on the diagonal are right."""
        names = scores.classes
        self.setRowCount(len(names))
        self.setColumnCount(len(names))
        for place, name in enumerate(names):
            self.setVerticalHeaderItem(place, _header(name, f"A person said {name}."))
            self.setHorizontalHeaderItem(place, _header(name, f"Called {name} by the classifier."))
        for row, said in enumerate(names):
            for column, called in enumerate(names):
                self.setItem(row, column, _cell(int(scores.confusion[row, column]), said, called))
        height = self.horizontalHeader().sizeHint().height() + 4
        self.setFixedHeight(height + min(len(names), _ROWS) * self.verticalHeader().defaultSectionSize())
        self.show()


def _header(name: str, tip: str) -> QTableWidgetItem:
    item = QTableWidgetItem(name)
    item.setToolTip(tip)
    return item


def _cell(count: int, said: str, called: str) -> QTableWidgetItem:
    item = QTableWidgetItem(f"{count:,}" if count else "·")
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    item.setToolTip(f"{count:,} that a person said are {said} were called {called}.")
    if said == called:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item
