"""Live curves of a training run: the loss on both parts of the split, and the recall of each class.

Only drawing: what an epoch is and whether it is kept is said by the events of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_ctc.events import EpochDone, Resumed

_HEIGHT = 170  # pixels of each plot
_MARKED = 30  # up to so many epochs each has its dot


class TrainCurves(QWidget):
    """Two plots, one above the other."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("curves")
        self.loss = _plot("loss", "loss", legend_at=(-8, 4))
        self.recall = _plot("recall", "recall on the specimens held out", legend_at=(-8, -8))
        self.recall.setYRange(0, 1, padding=0.06)
        self.recall.getAxis("left").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")]])
        self.recall.setXLink(self.loss)
        self.loss.setToolTip(
            "How wrong the network is: on the specimens it learns from (training) and on specimens held out "
            "(validation). Where validation rises while training falls, it learns by heart. A dotted line "
            "marks the epoch that is kept, if it is not the last."
        )
        self.recall.setToolTip(
            "The share of each class that is found among the specimens held out. A class with few specimens moves "
            "in large steps. Of a run that was resumed, it begins there: what was found before is not kept."
        )
        self.recall.getAxis("bottom").setLabel("epoch")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.loss)
        layout.addWidget(self.recall)
        self._epochs: list[int] = []
        self._losses: tuple[list[float], list[float]] = ([], [])
        self._recalls: list[list[float]] = []
        self._classes: tuple[str, ...] = ()
        self._colours: tuple[str, ...] = ()
        self._text = QColor("gray")
        self._kept: list[pg.InfiniteLine] = []
        self._training = self._validation = pg.PlotDataItem()
        self._lines: list[pg.PlotDataItem] = []
        self.begin((), ())

    def begin(self, classes: Sequence[str], colours: Sequence[str]) -> None:
        """Clear the plots for a run with these classes, in these colours."""
        self._classes, self._colours = tuple(classes), tuple(colours)
        self._epochs, self._losses = [], ([], [])
        self._recalls = [[] for _ in classes]
        for plot in (self.loss, self.recall):
            plot.clear()
            plot.plotItem.legend.clear()
        self._kept = [_marker(self.loss), _marker(self.recall)]
        self._training = self.loss.plot(name="training")
        self._validation = self.loss.plot(name="validation")
        self._lines = [self.recall.plot(name=_short(name)) for name in classes]
        self.loss.setXRange(0.5, 5.5, padding=0)
        self._dress()

    def go_on(self, earlier: Resumed) -> None:
        """Draw the losses of the epochs before a run was resumed."""
        first = earlier.epoch - len(earlier.losses) + 1
        self._epochs = list(range(first, earlier.epoch + 1))
        self._losses = tuple(map(list, zip(*earlier.losses, strict=True))) if earlier.losses else ([], [])
        for marker in self._kept:
            marker.setPos(earlier.kept)
            marker.setVisible(0 < earlier.kept < earlier.epoch)
        self._draw_losses(earlier.epoch)
        self._dress()

    def add(self, epoch: EpochDone) -> None:
        """Draw one more epoch."""
        self._epochs.append(epoch.epoch)
        self._losses[0].append(epoch.training_loss)
        self._losses[1].append(epoch.validation_loss)
        for line, history, recall in zip(self._lines, self._recalls, epoch.scores.recall, strict=True):
            history.append(float(recall))
            line.setData(self._epochs[-len(history) :], history)
        for marker in self._kept:
            if epoch.kept:
                marker.setPos(epoch.epoch)
            marker.setVisible(not epoch.kept)
        self._draw_losses(epoch.epoch)
        if len(self._epochs) == _MARKED + 1:
            self._dress()

    def _draw_losses(self, last: int) -> None:
        self._training.setData(self._epochs, self._losses[0])
        self._validation.setData(self._epochs, self._losses[1])
        self.loss.setXRange(0.5, max(5.5, last + 0.5), padding=0)

    def set_colours(self, background: str, text: str) -> None:
        """Take on the colours of napari's theme."""
        self._text = QColor(text)
        for plot in (self.loss, self.recall):
            plot.setBackground(background)
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(self._text)
                axis.setTextPen(self._text)
            plot.plotItem.setTitle(plot.plotItem.titleLabel.text, color=self._text, size="9pt")
            plot.plotItem.legend.setLabelTextColor(self._text)
        self._dress()

    def _dress(self) -> None:
        """Give every curve its pen, and its dots while there are few."""
        dots = len(self._epochs) <= _MARKED
        _draw(self._training, self._text, dots, dashed=True)
        _draw(self._validation, self._text, dots)
        for colour, line in zip(self._colours, self._lines, strict=True):
            _draw(line, QColor(colour), dots)
        for marker in self._kept:
            marker.setPen(pg.mkPen(self._text, width=1, style=Qt.PenStyle.DotLine))
        for plot in (self.loss, self.recall):
            for _, label in plot.plotItem.legend.items:
                label.setText(label.text, color=self._text)


def _plot(name: str, title: str, legend_at: tuple[int, int]) -> pg.PlotWidget:
    """Make one plot that neither zooms nor squeezes its neighbours."""
    plot = pg.PlotWidget()
    plot.setObjectName(name)
    item = plot.plotItem
    for menu in (item.ctrlMenu, item.vb.menu):  # else they outlive the window, as windows of their own
        menu.setParent(plot, menu.windowFlags())
    item.setTitle(title, size="9pt")
    item.setMenuEnabled(False)
    item.hideButtons()
    item.setMouseEnabled(x=False, y=False)
    item.addLegend(offset=legend_at, labelTextSize="8pt", verSpacing=-6, pen=None, brush=None)
    item.getAxis("left").setWidth(40)
    item.getAxis("bottom").enableAutoSIPrefix(False)
    item.getAxis("left").enableAutoSIPrefix(False)
    plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    plot.setFixedHeight(_HEIGHT)
    plot.wheelEvent = lambda event: event.ignore()  # the wheel scrolls the dock
    return plot


def _marker(plot: pg.PlotWidget) -> pg.InfiniteLine:
    """Make the line that stands at the epoch that is kept."""
    line = pg.InfiniteLine(angle=90)
    line.hide()
    plot.addItem(line)
    return line


def _draw(line: pg.PlotDataItem, colour: QColor, dots: bool, dashed: bool = False) -> None:
    line.setPen(pg.mkPen(colour, width=2, style=Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine))
    line.setSymbol("o" if dots and not dashed else None)
    line.setSymbolSize(5)
    line.setSymbolBrush(colour)
    line.setSymbolPen(None)


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:22]}…"
