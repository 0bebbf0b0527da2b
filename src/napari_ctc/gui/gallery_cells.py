"""How a specimen looks in the gallery: its thumbnail in a frame, with what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QRect, QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPen

from napari_ctc.gui.predicted_model import LABEL, NAME, PREDICTED, PredictedModel
from napari_ctc.gui.rows import NOT_KNOWN, Status

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_ctc.gui.session import Session

SIDES = (48, 72, 160)
"""Pixels: the smallest, first and largest size of a thumbnail."""

_FRAME, _MARGIN = 3, 3  # pixels around a thumbnail: of its class's colour, and of nothing
_BADGE = 12  # pixels: the square in the colour of a label
_FAINT = 45  # of 255: how much of the text's colour an empty frame has


class Cells:
    """Paints cells, all of one size.

    The frame has the colour of the predicted class, dashed where the prediction is stale; the square in the corner
    has that of the label, or a question mark.

    Parameters
    ----------
    session : Session
    model : PredictedModel
    view : QWidget
        Whose font and colours are used.
    """

    def __init__(self, session: Session, model: PredictedModel, view: QWidget) -> None:
        self._session, self._model, self._view = session, model, view
        self.side, self.apart = SIDES[1], False

    def size(self) -> tuple[int, int]:
        """Give the width and height of a cell, in pixels."""
        width, height = self._picture_size()
        edge = 2 * (_FRAME + _MARGIN)
        return width + edge, height + edge + 2 * self._view.fontMetrics().height()

    def _picture_size(self) -> tuple[int, int]:
        channels = max((stack.channels for stack in self._session.stacks), default=1)
        return self.side * (channels if self.apart else 1), self.side

    def paint(
        self, painter: QPainter, cell: QRect, specimen: int, image: QImage | None, *, chosen: bool, current: bool
    ) -> None:
        """Paint a specimen's cell.

        Parameters
        ----------
        painter : QPainter
        cell : QRect
        specimen : int
            Its index in the session.
        image : QImage or None
            Its thumbnail; a null one where it cannot be read, None where it is still to be made.
        chosen, current : bool
            Whether it is selected, and whether it stands on the canvas.
        """
        palette = self._view.palette()
        if chosen:
            painter.fillRect(cell.adjusted(1, 1, -1, -1), palette.highlight())
        if current:
            painter.setPen(QPen(palette.text().color(), 1, Qt.PenStyle.DotLine))
            painter.drawRect(cell.adjusted(0, 0, -1, -1))
        width, height = self._picture_size()
        edge = _FRAME + _MARGIN
        room = QRectF(cell.x() + edge, cell.y() + edge, width, height)
        self._paint_picture(painter, room, image)
        self._paint_classes(painter, room, specimen)
        painter.setPen((palette.highlightedText() if chosen else palette.text()).color())
        below = QRect(cell.x() + _MARGIN, cell.y() + edge + height + _FRAME, cell.width() - 2 * _MARGIN, 0)
        self._paint_caption(painter, below, specimen)

    def _paint_picture(self, painter: QPainter, room: QRectF, image: QImage | None) -> None:
        if image is None:
            painter.fillRect(room, self._faint())
            return
        painter.fillRect(room, Qt.GlobalColor.black)
        if image.isNull():
            painter.setPen(Qt.GlobalColor.white)
            how = Qt.AlignmentFlag.AlignCenter.value | Qt.TextFlag.TextWordWrap.value
            painter.drawText(room, how, "cannot be read")
            return
        scale = min(room.width() / image.width(), room.height() / image.height())
        shown = QRectF(0, 0, image.width() * scale, image.height() * scale)
        shown.moveCenter(room.center())
        painter.drawImage(shown, image)

    def _paint_classes(self, painter: QPainter, room: QRectF, specimen: int) -> None:
        predicted, label = self._model.predicted(specimen), int(self._session.rows.label[specimen])
        colour = QColor(self._colour(predicted)) if predicted != NOT_KNOWN else self._faint()
        stale = self._model.status(specimen) == Status.STALE
        pen = QPen(colour, _FRAME, Qt.PenStyle.DashLine if stale else Qt.PenStyle.SolidLine)
        pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        painter.setPen(pen)
        half = _FRAME / 2
        painter.drawRect(room.adjusted(-half, -half, half, half))
        unsure = bool(self._session.rows.unsure[specimen])
        if label != NOT_KNOWN or unsure:
            badge = QRectF(room.x(), room.y(), _BADGE, _BADGE)
            painter.fillRect(badge.adjusted(0, 0, 2, 2), Qt.GlobalColor.black)
            painter.fillRect(badge, QColor(Qt.GlobalColor.white if unsure else self._colour(label)))
        if unsure:
            painter.setPen(Qt.GlobalColor.black)
            painter.drawText(badge, Qt.AlignmentFlag.AlignCenter, "?")

    def _paint_caption(self, painter: QPainter, below: QRect, specimen: int) -> None:
        """Write what it is, the classifier's word first, and its name."""
        model, metrics = self._model, self._view.fontMetrics()
        said = model.text(specimen, PREDICTED)
        if model.predicted(specimen) != NOT_KNOWN:
            said = f"{self._session.shown.probability[specimen]:.2f} {said}"
        lines = (
            (said or model.text(specimen, LABEL), Qt.TextElideMode.ElideRight),
            (model.text(specimen, NAME).rpartition("/")[2], Qt.TextElideMode.ElideLeft),
        )
        high = metrics.height()
        for line, (words, elide) in enumerate(lines):
            room = QRect(below.x(), below.y() + line * high, below.width(), high)
            painter.drawText(room, Qt.AlignmentFlag.AlignHCenter, metrics.elidedText(words, elide, room.width()))

    def _colour(self, code: int) -> str:
        return self._session.colour(self._session.classes[code])

    def _faint(self) -> QColor:
        faint = self._view.palette().text().color()
        faint.setAlpha(_FAINT)
        return faint
