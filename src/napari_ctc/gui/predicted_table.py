"""The table of predicted classes: how the rows of the model are shown, sorted and selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_ctc.gui.predicted_model import HEADERS
from napari_ctc.gui.rows import NOT_KNOWN

if TYPE_CHECKING:
    from napari_ctc.gui.predicted_model import PredictedModel


class PredictedView(QTableView):
    """The table; the row of the current specimen is selected, and others if a person selects them, too."""

    specimen_chosen = Signal(int)  # its index in the session
    opened = Signal()  # a double click or Enter on a row

    def __init__(self, model: PredictedModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("predictedTable")
        self.setAccessibleName("Predicted classes")
        self.setModel(model)
        self._following = self._choosing = False
        self._chosen: list[int] = []
        self._at = NOT_KNOWN
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setAlternatingRowColors(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # the end of a name is what tells it from others
        self.setTabKeyNavigation(False)
        self.setIconSize(QSize(11, 11))
        rows = self.verticalHeader()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setMinimumSectionSize(12)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        rows.hide()
        header = self.horizontalHeader()
        header.setObjectName("predictedHeader")
        header.setHighlightSections(False)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        header.setStretchLastSection(True)
        unit = self.fontMetrics().averageCharWidth()
        for column, characters in enumerate((32, 23, 13, 18, 14, 10)):
            self.setColumnWidth(column, unit * characters)
        self.setSortingEnabled(False)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.sectionClicked.connect(self._sort)
        self.selectionModel().currentRowChanged.connect(self._choose)
        self.activated.connect(self._open)
        self._reveal = QTimer(self)  # once Qt has laid the table out, it knows where to scroll to
        self._reveal.setSingleShot(True)
        self._reveal.timeout.connect(self._scroll_to_current)
        model.layoutAboutToBeChanged.connect(self._remember)
        model.modelAboutToBeReset.connect(self._remember)
        model.rearranged.connect(self._restore)
        model.rearranged.connect(self._show_order)

    def model(self) -> PredictedModel:  # noqa: D102
        return super().model()

    def follow(self, specimen: int) -> None:
        """Select a specimen's row without going to it."""
        if self._choosing:
            return
        model, row = self.model(), self.model().row_of(specimen)
        self._following = True
        try:
            if row == NOT_KNOWN:
                self.clearSelection()
                self.setCurrentIndex(QModelIndex())
            elif row != self.currentIndex().row() or not self.selectionModel().hasSelection():
                # Not by the view, which would add to the selection while a key such as Ctrl is held.
                flags = QItemSelectionModel.SelectionFlag
                index = model.index(row, max(self.currentIndex().column(), 0))
                self.selectionModel().setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
                self._reveal.start(0)
        finally:
            self._following = False

    def keyboardSearch(self, search: str) -> None:
        """Leave letters and numbers to those who have a use for them: Qt would ask each of 100,000 rows."""

    def selected(self) -> list[int]:
        """Give the selected specimens in the table's order, as indices of the session."""
        rows = np.zeros(len(self.model().indices), bool)
        for part in self.selectionModel().selection():
            rows[part.top() : part.bottom() + 1] = True
        return self.model().indices[rows].tolist()

    def _sort(self, column: int) -> None:
        """Sort by a column: upwards, downwards, and at the third click as the layers have it."""
        order = self.model().order
        if order.by != HEADERS[column]:
            self.model().sort(column)
        else:
            self.model().sort(-1 if order.descending else column, Qt.SortOrder.DescendingOrder)

    def _show_order(self) -> None:
        order = self.model().order
        column = HEADERS.index(order.by) if order.by in HEADERS else -1
        down = Qt.SortOrder.DescendingOrder if order.descending else Qt.SortOrder.AscendingOrder
        self.horizontalHeader().setSortIndicator(column, down)

    def _choose(self, now: QModelIndex, _before: QModelIndex) -> None:
        if not self._following and now.isValid():
            self._choosing = True
            try:
                self.specimen_chosen.emit(self._specimen_at(now))
            finally:
                self._choosing = False

    def _remember(self) -> None:
        """Keep which specimens are selected while the rows move."""
        self._chosen, self._at = self.selected(), self._specimen_at(self.currentIndex())

    def _restore(self) -> None:
        """Select the same specimens again, in the rows that show them now."""
        model, flags = self.model(), QItemSelectionModel.SelectionFlag
        rows = sorted(row for row in map(model.row_of, self._chosen) if row != NOT_KNOWN)
        at, self._chosen, self._at = model.row_of(self._at), [], NOT_KNOWN
        if not rows:
            return
        selection = QItemSelection()
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            selection.select(model.index(int(run[0]), 0), model.index(int(run[-1]), len(HEADERS) - 1))
        self._following = True
        try:
            index = model.index(at, 0) if at != NOT_KNOWN else QModelIndex()
            self.selectionModel().setCurrentIndex(index, flags.NoUpdate)
            self.selectionModel().select(selection, flags.ClearAndSelect)
        finally:
            self._following = False
        self._reveal.start(0)

    def _specimen_at(self, index: QModelIndex) -> int:
        return int(self.model().indices[index.row()]) if index.isValid() else NOT_KNOWN

    def _scroll_to_current(self) -> None:
        if self.currentIndex().isValid():
            self.scrollTo(self.currentIndex())

    def _open(self, _index: QModelIndex) -> None:
        self.opened.emit()
