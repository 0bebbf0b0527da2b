"""The gallery: the specimens that the table shows as a grid of thumbnails, with the same order and selection.

Nothing is laid out or made for specimens that are out of sight, so 100,000 open as fast as 100. Where cells lie is
worked out in `gallery_layout`, thumbnails are made in `gallery_thumbnails`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QItemSelection, QItemSelectionModel, QModelIndex, QPoint, QRect, Qt
from qtpy.QtGui import QHelpEvent, QPainter, QPaintEvent, QRegion
from qtpy.QtWidgets import QAbstractItemView, QToolTip, QWidget

from napari_ctc.gui.gallery_cells import Cells
from napari_ctc.gui.gallery_layout import Grid
from napari_ctc.gui.gallery_thumbnails import Thumbnails
from napari_ctc.gui.predicted_model import LABEL, NAME, PREDICTED, PROBABILITY, PredictedModel

if TYPE_CHECKING:
    from napari_ctc.gui.session import Session

_INDENT = 6  # pixels before a heading


class GalleryView(QAbstractItemView):
    """Thumbnails of the rows of a model, in its order.

    Parameters
    ----------
    session : Session
    model : PredictedModel
    selection : QItemSelectionModel
        Shared with the table.
    parent : QWidget
    """

    def __init__(
        self, session: Session, model: PredictedModel, selection: QItemSelectionModel, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self.setObjectName("gallery")
        self.setAccessibleName("Gallery")
        self._session = session
        self._cells = Cells(session, model, self.viewport())
        self._grid: Grid | None = None
        self._titles: list[str] = []
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)  # else it would move the columns
        self.setTabKeyNavigation(False)
        self.thumbnails = Thumbnails(session, self)
        self.thumbnails.arrived.connect(self.viewport().update)
        self.setModel(model)
        own = self.selectionModel()
        self.setSelectionModel(selection)
        own.deleteLater()
        for moved in (model.layoutChanged, model.modelReset, model.rearranged):
            moved.connect(self._lay_out)

    def model(self) -> PredictedModel:  # noqa: D102
        return super().model()

    def set_side(self, side: int) -> None:
        """Show thumbnails as large as this, in pixels."""
        self._cells.side = side
        self._lay_out()

    def set_apart(self, apart: bool) -> None:
        """Show the channels side by side, or added up."""
        self.thumbnails.apart = self._cells.apart = apart
        self._lay_out()

    # ------------------------------------------------------------------------------------- where cells lie

    @property
    def grid(self) -> Grid:
        """Where the cells lie now."""
        if self._grid is None:
            groups = self.model().groups()
            self._titles = [title for _, title in groups]
            width, height = self._cells.size()
            self._grid = Grid.of(
                len(self.model().indices),
                self.viewport().width(),
                width,
                height,
                [start for start, _ in groups],
                self.viewport().fontMetrics().height() + 8,
            )
        return self._grid

    def _lay_out(self) -> None:
        """Work out anew where cells lie, and keep the first one in sight where it is."""
        first = next(iter(self._rows_in_sight()), None) if self._grid is not None and self._grid.count else None
        self._grid = None
        self.updateGeometries()
        if first is not None and first < self.grid.count:
            self.verticalScrollBar().setValue(self.grid.place(first)[1] - self.grid.heading)
        self.viewport().update()

    def _rows_in_sight(self) -> list[int]:
        top = self.verticalOffset()
        return self.grid.between(top, top + self.viewport().height() - 1)

    def updateGeometries(self) -> None:  # noqa: D102
        if self._grid is not None and self._grid.columns != max(1, self.viewport().width() // self._grid.width):
            return self._lay_out()
        page, bar = self.viewport().height(), self.verticalScrollBar()
        bar.setPageStep(page)
        bar.setSingleStep(max(self.grid.height // 3, 16))
        bar.setRange(0, max(0, self.grid.total_height - page))
        super().updateGeometries()
        return None

    def doItemsLayout(self) -> None:  # noqa: D102
        self._grid = None
        super().doItemsLayout()

    def visualRect(self, index: QModelIndex) -> QRect:  # noqa: D102
        if not index.isValid() or index.row() >= self.grid.count:
            return QRect()
        x, y = self.grid.place(index.row())
        return QRect(x, y - self.verticalOffset(), self.grid.width, self.grid.height)

    def indexAt(self, point: QPoint) -> QModelIndex:  # noqa: D102
        row = self.grid.cell_at(point.x(), point.y() + self.verticalOffset())
        return self.model().index(row, 0) if row >= 0 else QModelIndex()

    def scrollTo(  # noqa: D102
        self, index: QModelIndex, hint: QAbstractItemView.ScrollHint = QAbstractItemView.ScrollHint.EnsureVisible
    ) -> None:
        where, page = self.visualRect(index), self.viewport().height()
        if where.isNull():
            return
        bar = self.verticalScrollBar()
        if hint == QAbstractItemView.ScrollHint.PositionAtCenter:
            bar.setValue(bar.value() + where.center().y() - page // 2)
        elif where.top() < 0:
            bar.setValue(bar.value() + where.top())
        elif where.bottom() >= page:
            bar.setValue(bar.value() + min(where.bottom() - page + 1, where.top()))

    def horizontalOffset(self) -> int:  # noqa: D102
        return 0

    def verticalOffset(self) -> int:  # noqa: D102
        return self.verticalScrollBar().value()

    def isIndexHidden(self, index: QModelIndex) -> bool:  # noqa: D102
        return False

    # -------------------------------------------------------------------------------- choosing specimens

    def moveCursor(  # noqa: D102
        self, action: QAbstractItemView.CursorAction, modifiers: Qt.KeyboardModifier
    ) -> QModelIndex:
        if not self.grid.count:
            return QModelIndex()
        act, row = QAbstractItemView.CursorAction, max(self.currentIndex().row(), 0)
        lines = max(1, self.viewport().height() // self.grid.height)
        if action in (act.MoveUp, act.MoveDown, act.MovePageUp, act.MovePageDown):
            far = lines if action in (act.MovePageUp, act.MovePageDown) else 1
            row = self.grid.vertical_step(row, -far if action in (act.MoveUp, act.MovePageUp) else far)
        elif action in (act.MoveHome, act.MoveEnd):
            row = 0 if action == act.MoveHome else self.grid.count - 1
        else:
            row += -1 if action in (act.MoveLeft, act.MovePrevious) else 1
        return self.model().index(min(max(row, 0), self.grid.count - 1), 0)

    def setSelection(self, rect: QRect, command: QItemSelectionModel.SelectionFlag) -> None:
        """Select what a rectangle touches while it is drawn, else all from its first to its last cell."""
        model, selection = self.model(), QItemSelection()
        if self.state() == QAbstractItemView.State.DragSelectingState:
            rect = rect.normalized()
            seen = self.grid.between(rect.top() + self.verticalOffset(), rect.bottom() + self.verticalOffset())
            rows = [row for row in seen if self.visualRect(model.index(row, 0)).intersects(rect)]
            for row in rows:
                selection.select(model.index(row, 0), model.index(row, 0))
        else:
            # Not by its edges, which Qt takes for the last pixel inside.
            ends = (rect.topLeft(), QPoint(rect.x() + rect.width() - 1, rect.y() + rect.height() - 1))
            first, last = sorted(self.indexAt(end).row() for end in ends)
            if last >= 0:
                selection.select(model.index(max(first, 0), 0), model.index(last, 0))
        self.selectionModel().select(selection, command)

    def visualRegionForSelection(self, selection: QItemSelection) -> QRegion:  # noqa: D102
        return QRegion(self.viewport().rect())  # all that is in sight is painted in a few milliseconds

    def keyboardSearch(self, search: str) -> None:
        """Leave letters and numbers to those who have a use for them."""

    def viewportEvent(self, event: QEvent) -> bool:
        """Say all of a specimen when the mouse rests on it."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self.indexAt(event.pos())
            QToolTip.showText(event.globalPos(), self._describe(index) if index.isValid() else "", self)
            return True
        return super().viewportEvent(event)

    def _describe(self, index: QModelIndex) -> str:
        model = self.model()
        specimen = int(model.indices[index.row()])
        texts = {column: model.text(specimen, column) for column in (NAME, PREDICTED, PROBABILITY, LABEL)}
        lines = [texts[NAME]]
        if texts[PREDICTED]:
            lines.append(f"predicted: {texts[PREDICTED]} {texts[PROBABILITY]}")
        lines.append(f"label: {texts[LABEL] or 'none'}")
        return "\n".join([*lines, self._session.reason(specimen)])

    # --------------------------------------------------------------------------------------- painting

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        top, rows = self.verticalOffset(), self._rows_in_sight()
        specimens = self.model().indices[rows].tolist()
        images = self.thumbnails.in_sight(specimens)
        selection, current = self.selectionModel(), self.currentIndex().row()
        for row, specimen, image in zip(rows, specimens, images, strict=True):
            x, y = self.grid.place(row)
            cell = QRect(x, y - top, self.grid.width, self.grid.height)
            chosen = selection.isRowSelected(row, QModelIndex())
            self._cells.paint(painter, cell, specimen, image, chosen=chosen, current=row == current)
        painter.setPen(self.palette().text().color())
        for group in self.grid.headings_between(top, top + self.viewport().height()):
            self._paint_heading(painter, group, int(self.grid.tops[group]) - top)
        painter.end()

    def _paint_heading(self, painter: QPainter, group: int, y: int) -> None:
        grid = self.grid
        count = grid.end_of(group) - int(grid.starts[group])
        where = QRect(_INDENT, y, self.viewport().width() - _INDENT, grid.heading)
        painter.drawText(where, Qt.AlignmentFlag.AlignVCenter, f"{self._titles[group]}  ({count:,})")
