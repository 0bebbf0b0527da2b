"""The rows of the open specimens as a Qt model that sorts and filters numpy arrays, shared by table and gallery.

Rows are places in an array of specimen indices; what stands in a cell is looked up in the session when it is
painted, so 100,000 rows cost no more than those in sight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QFont

from napari_ctc.gui.calibrated import heading, number, why
from napari_ctc.gui.predicted_filter import Filter
from napari_ctc.gui.predicted_order import (
    BY_PREDICTION,
    GROUPED,
    LIKENESS,
    OPENED,
    Order,
    group_starts,
    group_title,
    sort_key,
)
from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.speakers import is_instant, named
from napari_ctc.review.space import unlikeness

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

    from napari_ctc.gui.session import Session

NAME, PREDICTED, PROBABILITY, LABEL, SOURCE, STATUS = range(6)
UNSURE = "unsure"
HEADERS = ("name", "predicted", "probability", "label", "source", "status")
TIPS = (
    "The specimen's file",
    "The class that the {who} gives it; blank where it has not spoken yet, or where its word is hidden",
    "How sure the {who} is of that class, from 0 to 1. What is no more than a score puts specimens in order, "
    "and is no probability",
    "What a person said it is; blank where nobody did",
    "The slide, patient or run it is from",
    "Whether the prediction is by the {who} as it is now",
)


class PredictedModel(QAbstractTableModel):
    """The specimens of a session, sorted and filtered."""

    rearranged = Signal()  # which specimens are shown, or their order, changed

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._filter = Filter()
        self.order = Order()
        self.features_of: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None  # by ids
        self._keys: dict[str, NDArray[np.float64]] = {}  # of names and sources, which take long to rank
        self._italic = QFont()
        self._italic.setItalic(True)
        self.indices = np.zeros(0, np.intp)
        self._places = np.zeros(0, np.intp)
        self._shown = session.shown
        self._group_starts = np.zeros(0, np.intp)
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
            return self._heading(section)
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.ToolTipRole:
            who = named(self._shown.speaker)
            return f"{TIPS[section].format(who=who)}. Click to sort."
        return None

    def _heading(self, section: int) -> str:
        speaker = self._shown.speaker
        if section == PREDICTED and is_instant(speaker):
            return f"{HEADERS[PREDICTED]} (instant)"
        return heading(speaker) if section == PROBABILITY else HEADERS[section]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        if not index.isValid() or index.row() >= len(self.indices):
            return None
        specimen, column = int(self.indices[index.row()]), index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(specimen, column)
        if role == Qt.ItemDataRole.DecorationRole and column in (PREDICTED, LABEL):
            code = (self._shown.predicted if column == PREDICTED else self._session.rows.label)[specimen]
            return QColor(self._session.colour(self._session.classes[code])) if code != NOT_KNOWN else None
        if role == Qt.ItemDataRole.FontRole and self._shown.status[specimen] == Status.STALE:
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
            status = Status(self._shown.status[specimen])
            why = status in (Status.STALE, Status.FAILED)
            return f"{status.word}: {self._session.reason(specimen, status)}" if why else status.word
        if column == PROBABILITY:
            code = self._shown.predicted[specimen]
            if code == NOT_KNOWN:
                return ""
            return number(self._shown.speaker, self._session.classes[code], self._shown.probability[specimen])
        if column == PREDICTED and self._shown.status[specimen] == Status.FAILED:
            return "not classified"
        if column == LABEL and rows.unsure[specimen]:
            return UNSURE
        code = (self._shown.predicted if column == PREDICTED else rows.label)[specimen]
        stale = " (stale)" if column == PREDICTED and self._shown.status[specimen] == Status.STALE else ""
        return self._session.classes[code] + stale if code != NOT_KNOWN else ""

    def _tip(self, specimen: int, column: int) -> str:
        session = self._session
        if column == NAME:
            return str(session.rows.name[specimen])
        if (
            column == PROBABILITY
            and self._shown.predicted[specimen] != NOT_KNOWN
            and self._shown.status[specimen] == Status.CURRENT
        ):
            return why(self._shown.speaker, session.classes[self._shown.predicted[specimen]])
        return session.reason(specimen)

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; blanks come last either way. Column -1 is the order of the layers."""
        by = HEADERS[column] if column >= 0 else OPENED
        self.set_order(Order(by, column >= 0 and order == Qt.SortOrder.DescendingOrder))

    def set_order(self, order: Order) -> None:
        """Show the specimens in another order."""
        if order != self.order:
            self.order = order
            self.rearrange()

    # ------------------------------------------------------------------------------- following the session

    def reload(self) -> None:
        """Take up the specimens that are open now."""
        self._keys.clear()
        self.beginResetModel()  # what was selected is gone
        self.indices = self._places = self._group_starts = np.zeros(0, np.intp)
        self.endResetModel()
        if self.order.by == LIKENESS:
            self.order = Order()
        self.rearrange()

    def refresh(self) -> None:
        """Paint again what is in sight; nothing moves."""
        self._shown = self._session.shown
        self._show_anew()

    def _show_anew(self) -> None:
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, PREDICTED, PROBABILITY)
        if len(self.indices):
            self.dataChanged.emit(self.index(0, 0), self.index(len(self.indices) - 1, len(HEADERS) - 1))

    def set_filter(self, chosen: Filter) -> None:
        """Show only what passes."""
        if chosen != self._filter:
            self._filter = chosen
            self.rearrange()

    def rearrange(self) -> None:
        """Sort and filter anew."""
        self._shown = self._session.shown
        indices = self._arranged()
        if len(self._places) == len(self._session) and np.array_equal(indices, self.indices):
            self._show_anew()
        else:
            same = len(indices) == len(self.indices)  # keeps the table where it is scrolled to
            (self.layoutAboutToBeChanged.emit if same else self.beginResetModel)()
            self.indices = indices
            self._places = np.full(len(self._session), NOT_KNOWN, np.intp)
            self._places[indices] = np.arange(len(indices))
            (self.layoutChanged.emit if same else self.endResetModel)()
        self.rearranged.emit()

    @property
    def by_prediction(self) -> bool:
        """Whether predictions have a say in which specimens are shown, or in their order."""
        by = self.order.by
        predicted = by in BY_PREDICTION and not (by == LIKENESS and self.measured(self.order.anchor))
        return self._filter.by_prediction or predicted

    def measured(self, specimen: int) -> bool:
        """Tell whether a specimen can be compared with others by what was measured of it."""
        if self.features_of is None or not 0 <= specimen < len(self._session):
            return False
        features = self.features_of(self._session.rows.ids[[specimen]])
        return features.shape[1] > 0 and bool(np.isfinite(features).all())

    def predicted(self, specimen: int) -> int:
        """Give the class that is shown as a specimen's prediction; -1 for none."""
        return int(self._shown.predicted[specimen])

    def status(self, specimen: int) -> Status:
        """Give the status that is shown for a specimen."""
        return Status(self._shown.status[specimen])

    def row_of(self, specimen: int) -> int:
        """Give the row that shows a specimen; -1 where the filter leaves it out."""
        return int(self._places[specimen]) if 0 <= specimen < len(self._places) else NOT_KNOWN

    def groups(self) -> list[tuple[int, str]]:
        """Give the first row of each group of like specimens, and its title; none where the order makes none."""
        rows, classes, by = self._session.rows, self._session.classes, self.order.by
        firsts = [(int(start), int(self.indices[start])) for start in self._group_starts]
        return [
            (start, group_title(by, rows, specimen, int(self._shown.predicted[specimen]), classes))
            for start, specimen in firsts
        ]

    def _arranged(self) -> NDArray[np.intp]:
        passing = self._filter.passing(self._session.rows, self._session.classes, self._shown)
        key = self._key()
        order = np.argsort(-key if self.order.descending else key, kind="stable")  # NaN comes last in both
        indices = order[passing[order]]
        grouped = self.order.by in GROUPED
        self._group_starts = group_starts(key[indices]) if grouped else np.zeros(0, np.intp)
        return indices

    def _key(self) -> NDArray[np.float64]:
        by = self.order.by
        if by in self._keys:
            return self._keys[by]
        rows = self._session.rows
        anchor = self.order.anchor
        if by == LIKENESS and self.features_of is not None and self.measured(anchor):
            key = unlikeness(self.features_of(rows.ids), anchor)
        else:
            key = sort_key(self.order, rows, self._shown)
        if by == LIKENESS and 0 <= anchor < len(key):
            key[anchor] = -np.inf  # before its duplicates, and whatever a rounding makes nearer than itself
        if by in (HEADERS[NAME], HEADERS[SOURCE]):
            self._keys[by] = key
        return key
