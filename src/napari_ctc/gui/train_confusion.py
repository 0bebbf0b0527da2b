"""The confusion matrix in the dock "Train classifier": what a person said against what was called.

Each count is a door to the specimens behind it, by a click, or by the arrows and Enter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

from napari_ctc.gui.held_out import Cell

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

    from napari_ctc.data.calls import Calls
    from napari_ctc.score.metrics import Scores

LEGEND = (
    "Rows are what a person said, columns what it was called. Click a number (or go there by the arrows and press "
    "Enter) to see those specimens:"
)
_ROWS = 7  # it shows so many and scrolls through more
_LEAST = 48  # pixels of a column
_NAME = 120  # pixels of a row's name at most; a longer one is cut, and whole in its tooltip
_ENTER = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
_OWN = (*_ENTER, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down)  # not for walking, here


class ConfusionTable(QTableWidget):
    """A row for each class that a person said, a column for each that was called.

    Parameters
    ----------
    name : str
        Of the widget.
    """

    opened = Signal(object)  # the Cell that was asked for

    def __init__(self, name: str) -> None:
        super().__init__()
        self._calls: Calls | None = None
        self._classes: tuple[str, ...] = ()
        self.setObjectName(name)
        self.setAccessibleName("Confusion matrix")
        self.setToolTip("Rows: what a person said. Columns: what the classifier called it.")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setMouseTracking(True)  # for the hand over what can be clicked
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        columns = self.horizontalHeader()
        columns.setTextElideMode(Qt.TextElideMode.ElideRight)
        columns.setMinimumSectionSize(_LEAST)
        columns.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for header in (columns, self.verticalHeader()):
            header.setSectionsClickable(False)
            header.setHighlightSections(False)
        rows = self.verticalHeader()
        rows.setTextElideMode(Qt.TextElideMode.ElideRight)
        rows.setMaximumWidth(_NAME)
        rows.setDefaultSectionSize(24)
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.horizontalScrollBar().rangeChanged.connect(self._fit)
        self.cellClicked.connect(self._open)
        self.cellEntered.connect(self._point)
        self.hide()

    def show_scores(self, scores: Scores, calls: Calls) -> None:
        """Show the counts, those on the diagonal being right, each a door to its specimens."""
        self._calls, self._classes = calls, scores.classes
        names = scores.classes
        self.clearContents()
        self.setRowCount(len(names))
        self.setColumnCount(len(names))
        for place, name in enumerate(names):
            self.setVerticalHeaderItem(place, _header(name, f"A person said {name}."))
            self.setHorizontalHeaderItem(place, _header(name, f"Called {name} by the classifier."))
        for row, said in enumerate(names):
            for column, called in enumerate(names):
                self.setItem(row, column, _cell(int(scores.confusion[row, column]), said, called))
        self._fit()
        first = next(
            (self.indexFromItem(item) for item in map(self.item, *self._places()) if _is_door(item)), None
        )
        if first is not None:  # where the arrows begin
            self.selectionModel().setCurrentIndex(first, QItemSelectionModel.SelectionFlag.NoUpdate)
        self.show()

    def _fit(self) -> None:
        """Be as high as the rows that it shows, and the scroll bar below them where there is one."""
        height = self.horizontalHeader().sizeHint().height() + 4
        height += min(self.rowCount(), _ROWS) * self.verticalHeader().defaultSectionSize()
        bar = self.horizontalScrollBar()
        self.setFixedHeight(height + (bar.sizeHint().height() if bar.maximum() else 0))

    def _places(self) -> tuple[list[int], list[int]]:
        """Give the rows and columns of the cells, mistakes first."""
        size = range(len(self._classes))
        cells = sorted(((row, column) for row in size for column in size), key=lambda one: one[0] == one[1])
        return [row for row, _ in cells], [column for _, column in cells]

    def _open(self, row: int, column: int) -> None:
        if self._calls is not None and _is_door(self.item(row, column)):
            self.opened.emit(Cell(self._classes[row], self._classes[column], self._calls))

    def _point(self, row: int, column: int) -> None:
        hand, arrow = Qt.CursorShape.PointingHandCursor, Qt.CursorShape.ArrowCursor
        self.viewport().setCursor(hand if _is_door(self.item(row, column)) else arrow)

    def event(self, event: QEvent) -> bool:
        """Keep the arrows, Space and Enter, which walk through the specimens elsewhere."""
        if event.type() == QEvent.Type.ShortcutOverride and _plain(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the current cell at Enter and Space."""
        if _plain(event) and event.key() in _ENTER:
            self._open(self.currentRow(), self.currentColumn())
        else:
            super().keyPressEvent(event)


def _plain(event: QKeyEvent) -> bool:
    bare = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
    return event.key() in _OWN and bare


def _is_door(item: QTableWidgetItem | None) -> bool:
    return item is not None and bool(item.flags() & Qt.ItemFlag.ItemIsEnabled)


def _header(name: str, tip: str) -> QTableWidgetItem:
    item = QTableWidgetItem(name)
    item.setToolTip(tip)
    return item


def _cell(count: int, said: str, called: str) -> QTableWidgetItem:
    item = QTableWidgetItem(f"{count:,}" if count else "·")
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    how = " Click to see them." if count else ""
    item.setToolTip(f"{count:,} that a person said are {said} were called {called}.{how}")
    if not count:
        item.setFlags(Qt.ItemFlag.NoItemFlags)
    if said == called:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    return item
