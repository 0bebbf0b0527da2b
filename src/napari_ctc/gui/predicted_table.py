"""The table of predicted classes: a Qt model that sorts and filters numpy arrays, and its view.

Rows of the table are places in an array of specimen indices; what stands in a cell is looked up in the session
when it is painted, so 100,000 rows cost no more than those in sight.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QFont
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from napari_ctc.gui.calibrated import heading, number, why
from napari_ctc.gui.predicted_filter import Filter
from napari_ctc.gui.rows import NOT_KNOWN, Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.session import Session

NAME, PREDICTED, PROBABILITY, LABEL, SOURCE, STATUS = range(6)
UNSURE = "unsure"
HEADERS = ("name", "predicted", "probability", "label", "source", "status")
TIPS = (
    "The specimen's file",
    "The class that the classifier gives it; blank where it has not been classified",
    "How sure the classifier is of that class, from 0 to 1. A class of which too few specimens were held out in "
    "training has a score, not a probability: it puts specimens in order and promises no more",
    "What a person said it is; blank where nobody did",
    "The slide, patient or run it is from",
    "Whether the prediction is by the classifier in use, of the file as it is now",
)


class PredictedModel(QAbstractTableModel):
    """The specimens of a session, sorted and filtered."""

    rearranged = Signal()  # which specimens are shown, or their order, changed

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._filter = Filter()
        self._column, self._descending = -1, False
        self._ranks: dict[int, NDArray[np.float64]] = {}
        self._italic = QFont()
        self._italic.setItalic(True)
        self.indices = np.zeros(0, np.intp)
        self._places = np.zeros(0, np.intp)
        self._status = np.zeros(0, np.uint8)
        self._predicted = np.zeros(0, np.int16)
        self.reload()

    # --------------------------------------------------------------------------------- what Qt asks for

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008, D102
        return 0 if parent.isValid() else len(self.indices)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008, D102
        return 0 if parent.isValid() else len(HEADERS)

    def headerData(  # noqa: D102
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return heading(self._session.classifier) if section == PROBABILITY else HEADERS[section]
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            return f"{TIPS[section]}. Click to sort."
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        if not index.isValid() or index.row() >= len(self.indices):
            return None
        specimen, column = int(self.indices[index.row()]), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(specimen, column)
        if role == Qt.ItemDataRole.DecorationRole and column in (PREDICTED, LABEL):
            code = (self._predicted if column == PREDICTED else self._session.rows.label)[specimen]
            return QColor(self._session.colour(self._session.classes[code])) if code != NOT_KNOWN else None
        if role == Qt.ItemDataRole.FontRole and self._status[specimen] == Status.STALE:
            return self._italic if column in (PREDICTED, PROBABILITY, STATUS) else None
        if role == Qt.ItemDataRole.TextAlignmentRole and column == PROBABILITY:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tip(specimen, column)
        return None

    def text(self, specimen: int, column: int) -> str:
        """Say what stands in a column for a specimen."""
        rows = self._session.rows
        if column == NAME:
            return str(rows.name[specimen])
        if column == SOURCE:
            return str(rows.source[specimen])
        if column == STATUS:
            status = Status(self._status[specimen])
            why = status in (Status.STALE, Status.FAILED)
            return f"{status.word}: {self._session.reason(specimen, status)}" if why else status.word
        if column == PROBABILITY:
            code = self._predicted[specimen]
            if code == NOT_KNOWN:
                return ""
            return number(self._session.classifier, self._session.classes[code], rows.probability[specimen])
        if column == PREDICTED and self._status[specimen] == Status.FAILED:
            return "not classified"
        if column == LABEL and rows.unsure[specimen]:
            return UNSURE
        code = (self._predicted if column == PREDICTED else rows.label)[specimen]
        stale = " (stale)" if column == PREDICTED and self._status[specimen] == Status.STALE else ""
        return self._session.classes[code] + stale if code != NOT_KNOWN else ""

    def _tip(self, specimen: int, column: int) -> str:
        session = self._session
        if column == NAME:
            return str(session.rows.name[specimen])
        if column == PROBABILITY and self._status[specimen] == Status.CURRENT:
            return why(session.classifier, session.classes[self._predicted[specimen]])
        return session.reason(specimen)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; blanks come last either way. Column -1 is the order of the layers."""
        self._column, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.rearrange()

    # ------------------------------------------------------------------------------- following the session

    def reload(self) -> None:
        """Take up the specimens that are open now."""
        self._ranks.clear()
        self.rearrange()

    def refresh(self) -> None:
        """Paint again what is in sight; nothing moves."""
        self._take_status()
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, PROBABILITY, PROBABILITY)
        if len(self.indices):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.indices) - 1, len(HEADERS) - 1))

    def set_filter(self, chosen: Filter) -> None:
        """Show only what passes."""
        if chosen != self._filter:
            self._filter = chosen
            self.rearrange()

    def rearrange(self) -> None:
        """Sort and filter anew."""
        self._take_status()
        indices = self._arranged()
        same = len(indices) == len(self.indices)
        if same:  # keeps the table where it is scrolled to
            self.layoutAboutToBeChanged.emit()
        else:
            self.beginResetModel()
        self.indices = indices
        self._places = np.full(len(self._session), NOT_KNOWN, np.intp)
        self._places[indices] = np.arange(len(indices))
        if same:
            self.layoutChanged.emit()
        else:
            self.endResetModel()
        self.rearranged.emit()

    def _take_status(self) -> None:
        """Work out the status anew; of a specimen that the classifier failed on, no older word is shown."""
        self._status = self._session.status
        self._predicted = np.where(self._status == Status.FAILED, NOT_KNOWN, self._session.rows.predicted)

    def row_of(self, specimen: int) -> int:
        """Give the row that shows a specimen; -1 where the filter leaves it out."""
        return int(self._places[specimen]) if 0 <= specimen < len(self._places) else NOT_KNOWN

    def _arranged(self) -> NDArray[np.intp]:
        passing = self._filter.passing(self._session.rows, self._session.classes, self._predicted)
        if self._column < 0:
            return np.flatnonzero(passing)
        key = self._key(self._column)
        order = np.argsort(-key if self._descending else key, kind="stable")  # NaN comes last in both
        return order[passing[order]]

    def _key(self, column: int) -> NDArray[np.float64]:
        """Return numbers that sort as a column does; NaN for blanks."""
        rows = self._session.rows
        if column in (NAME, SOURCE):
            if column not in self._ranks:
                self._ranks[column] = _natural_ranks(rows.name if column == NAME else rows.source)
            return self._ranks[column]
        if column == STATUS:
            return self._status.astype(float)
        if column == PROBABILITY:
            return np.where(self._predicted == NOT_KNOWN, np.nan, rows.probability)
        codes = self._predicted if column == PREDICTED else np.where(rows.unsure, 2**14, rows.label)
        return np.where(codes == NOT_KNOWN, np.nan, codes.astype(float))


def _natural_ranks(names: NDArray[np.object_]) -> NDArray[np.float64]:
    """Rank names so that "2" comes before "10"; NaN for blanks."""
    digits = re.compile(r"\d+")
    padded = np.array([digits.sub(_pad, name.casefold()) for name in names], dtype=str)
    ranks = np.unique(padded, return_inverse=True)[1].astype(float)
    return np.where(padded == "", np.nan, ranks) if len(padded) else ranks


def _pad(digits: re.Match[str]) -> str:
    return digits[0].zfill(12)


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
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setAlternatingRowColors(False)
        self.setWordWrap(False)
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
        for column, characters in enumerate((32, 18, 13, 18, 14, 10)):
            self.setColumnWidth(column, unit * characters)
        self.setSortingEnabled(False)
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.sectionClicked.connect(self._sort)
        self._sorted, self._descending = -1, False
        self.selectionModel().currentRowChanged.connect(self._choose)
        self.activated.connect(self._open)
        self._reveal = QTimer(self)  # once Qt has laid the table out, it knows where to scroll to
        self._reveal.setSingleShot(True)
        self._reveal.timeout.connect(self._scroll_to_current)
        model.layoutChanged.connect(self._forget)

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

    def selected(self) -> list[int]:
        """Give the selected specimens in the table's order, as indices of the session."""
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [int(self.model().indices[row]) for row in rows]

    def _sort(self, column: int) -> None:
        """Sort by a column: upwards, downwards, and at the third click as the layers have it."""
        if self._sorted != column:
            self._sorted, self._descending = column, False
        elif not self._descending:
            self._descending = True
        else:
            self._sorted, self._descending = -1, False
        order = Qt.SortOrder.DescendingOrder if self._descending else Qt.SortOrder.AscendingOrder
        self.horizontalHeader().setSortIndicator(self._sorted, order)
        self.model().sort(self._sorted, order)

    def _choose(self, now: QModelIndex, _before: QModelIndex) -> None:
        if not self._following and now.isValid():
            self._choosing = True
            try:
                self.specimen_chosen.emit(int(self.model().indices[now.row()]))
            finally:
                self._choosing = False

    def _forget(self) -> None:
        """After rows moved, the selection would stand on another specimen."""
        self._following = True
        try:
            self.setCurrentIndex(QModelIndex())
        finally:
            self._following = False

    def _scroll_to_current(self) -> None:
        if self.currentIndex().isValid():
            self.scrollTo(self.currentIndex())

    def _open(self, _index: QModelIndex) -> None:
        self.opened.emit()
