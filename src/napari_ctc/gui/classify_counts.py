"""How many specimens of each source are of each class, counted as predictions come."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_ctc.gui.colours import class_colour

if TYPE_CHECKING:
    import pandas as pd

ALL = None  # what no source and no class can be called: their names are text, and never empty
NO_SOURCE = ""
UNREADABLE = ""
_TITLES = {ALL: "all", NO_SOURCE: "(no source)"}
_PAINT_MS = 200
_ROWS_SHOWN = 8
_ROWS_NEEDED = 3


class CountsTable(QTableWidget):
    """A row for all specimens and one for each source; a column for each class."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("classifyCounts")
        self.setToolTip("How many specimens of each source are predicted to be of each class")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setIconSize(QSize(11, 11))
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.classes: tuple[str, ...] = ()
        self.counted: Counter[tuple[str | None, str]] = Counter()
        self._paint = QTimer(self)
        self._paint.setSingleShot(True)
        self._paint.setInterval(_PAINT_MS)
        self._paint.timeout.connect(self.flush)

    def begin(self, classes: tuple[str, ...]) -> None:
        """Count anew."""
        self.classes = classes
        self.counted.clear()
        self.setRowCount(0)
        self.setColumnCount(len(classes) + 1)
        for column, name in enumerate((*classes, UNREADABLE)):
            item = QTableWidgetItem(name or "unreadable")
            if column < len(classes):
                item.setData(Qt.ItemDataRole.DecorationRole, QColor(class_colour(column)))
            self.setHorizontalHeaderItem(column, item)
        self.flush()

    def add(self, rows: pd.DataFrame) -> None:
        """Count rows of predictions; shown soon."""
        for source, predicted in zip(rows["source"], rows["predicted"], strict=True):
            self.counted[ALL, predicted] += 1
            self.counted[source, predicted] += 1
        if not self._paint.isActive():
            self._paint.start()

    def flush(self) -> None:
        """Show the counts as they are."""
        self._paint.stop()
        sources = [ALL, *dict.fromkeys(source for source, _ in self.counted if source not in (ALL, NO_SOURCE))]
        if len(sources) > 1 and any(source == NO_SOURCE for source, _ in self.counted):
            sources.append(NO_SOURCE)
        if self.rowCount() != len(sources):
            self.setRowCount(len(sources))
            self.setVerticalHeaderLabels([_TITLES.get(source, source) for source in sources])
        for row, source in enumerate(sources):
            for column, name in enumerate((*self.classes, UNREADABLE)):
                item = self.item(row, column)
                if item is None:
                    item = QTableWidgetItem()
                    item.setTextAlignment(int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter))
                    self.setItem(row, column, item)
                item.setText(f"{self.counted[source, name]:,}")
        self.setColumnHidden(len(self.classes), not any(name == UNREADABLE for _, name in self.counted))
        shown = min(len(sources), _ROWS_SHOWN)
        around = self.horizontalHeader().height() + self.horizontalScrollBar().sizeHint().height() + 6
        row = self.verticalHeader().defaultSectionSize()
        self.setMinimumHeight(around + min(shown, _ROWS_NEEDED) * row)  # it scrolls before anything else is cut
        self.setMaximumHeight(around + shown * row)
        self.updateGeometry()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(super().sizeHint().width(), self.maximumHeight())
