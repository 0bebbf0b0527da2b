"""Table | Gallery: two views of the same rows, and what they are sorted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QTabBar,
    QWidget,
)

from napari_ctc.gui import predicted_order as orders
from napari_ctc.gui.calibrated import heading
from napari_ctc.gui.gallery import GalleryView
from napari_ctc.gui.gallery_cells import SIDES
from napari_ctc.gui.predicted_order import Order
from napari_ctc.gui.predicted_table import PredictedView
from napari_ctc.gui.rows import NOT_KNOWN, Status

if TYPE_CHECKING:
    from napari_ctc.gui.predicted_model import PredictedModel
    from napari_ctc.gui.session import Session

_ORDERS = (
    (orders.OPENED, "as opened"),
    (orders.NAME, "name"),
    (orders.LABEL, "label"),
    (orders.PREDICTED, "predicted class"),
    (orders.PROBABILITY, "probability, highest first"),
    (orders.MARGIN, "margin, most uncertain first"),
    (orders.DISAGREEMENT, "label and prediction differ"),
    (orders.LIKENESS, "most like the selected one"),
    (orders.SOURCE, "source"),
    (orders.STATUS, "status"),
)


class Views(QStackedWidget):
    """The table and the gallery, and the `bar` that chooses between them.

    Parameters
    ----------
    session : Session
    model : PredictedModel
    parent : QWidget
    """

    opened = Signal()  # a double click or Enter on a specimen

    def __init__(self, session: Session, model: PredictedModel, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("views")
        self._session, self._model = session, model
        self.table = PredictedView(model, self)
        self.table.opened.connect(self.opened)
        self.gallery = GalleryView(session, model, self.table.selectionModel(), self)
        self.gallery.activated.connect(self._open)
        self.addWidget(self.table)
        self.addWidget(self.gallery)
        self._build_bar(parent)
        model.rearranged.connect(self._show_order)

    def _build_bar(self, parent: QWidget) -> None:
        self.bar = QWidget(parent)
        self.tabs = QTabBar(self.bar)
        self.tabs.setObjectName("viewTabs")
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.addTab("Table")
        self.tabs.addTab("Gallery")
        self.order = QComboBox(self.bar)
        self.order.setObjectName("order")
        self.order.setToolTip("What the specimens are sorted by, in the table and the gallery")
        for by, words in _ORDERS:
            self.order.addItem(words, by)
        self.order.activated.connect(self._sort)
        self.reverse = _button("reverse", "reverse", "Begin with the other end", self.bar)
        self.reverse.toggled.connect(self._reverse)
        self.again = _button("sortAgain", "sort again", "Predictions have changed since this was sorted", self.bar)
        self.again.setCheckable(False)
        self.again.clicked.connect(self._model.rearrange)
        self.again.hide()
        self.apart = _button("apart", "side by side", "Show the channels side by side, not added up", self.bar)
        self.apart.toggled.connect(self.gallery.set_apart)
        self.size = QSlider(Qt.Orientation.Horizontal, self.bar)
        self.size.setObjectName("thumbnailSize")
        self.size.setToolTip("How large the thumbnails are")
        self.size.setRange(SIDES[0], SIDES[-1])
        self.size.setValue(SIDES[1])
        self.size.setFixedWidth(80)
        self.size.valueChanged.connect(self.gallery.set_side)
        row = QHBoxLayout(self.bar)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.tabs, self.order, self.reverse, self.again, self.apart, self.size):
            row.addWidget(widget)
        self.tabs.currentChanged.connect(self.show_view)
        self.show_view(0)

    def show_view(self, place: int) -> None:
        """Show the table (0) or the gallery (1)."""
        self.tabs.setCurrentIndex(place)
        self.setCurrentIndex(place)
        for widget in (self.apart, self.size):
            widget.setVisible(self.currentWidget() is self.gallery)
        self.currentWidget().scrollTo(self.table.currentIndex())

    def refresh(self) -> None:
        """Offer the order by likeness only where the specimen to compare with is measured, or has a prediction."""
        current, model = self._session.current, self._model
        known = 0 <= current < len(self._session) and model.status(current) == Status.CURRENT
        known = (known and model.predicted(current) != NOT_KNOWN) or model.measured(current)
        self.order.model().item(self.order.findData(orders.LIKENESS)).setEnabled(known)
        number = heading(self._session.shown.speaker)
        self.order.setItemText(self.order.findData(orders.PROBABILITY), f"{number}, highest first")

    def offer_sorting(self, on: bool) -> None:
        """Offer to sort anew, where rows kept their places while predictions changed."""
        self.again.setVisible(on)

    def _sort(self, _place: int) -> None:
        by = self.order.currentData()
        anchor = self._session.current if by == orders.LIKENESS else NOT_KNOWN
        self._model.set_order(Order(by, by in orders.DESCENDING, anchor))
        self.gallery.scrollToTop()

    def _reverse(self, reverse: bool) -> None:
        order = self._model.order
        self._model.set_order(Order(order.by, reverse != (order.by in orders.DESCENDING), order.anchor))
        self.gallery.scrollToTop()

    def _show_order(self) -> None:
        order = self._model.order
        self.again.hide()
        self.order.setCurrentIndex(self.order.findData(order.by))
        self.reverse.blockSignals(True)
        self.reverse.setChecked(order.descending != (order.by in orders.DESCENDING))
        self.reverse.blockSignals(False)

    def _open(self, _index: object) -> None:
        self.opened.emit()

    def leave(self) -> None:
        """Stop the work and let go of the session."""
        self.gallery.thumbnails.leave()


def _button(name: str, text: str, tip: str, parent: QWidget) -> QPushButton:
    button = QPushButton(parent)
    button.setObjectName(name)
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(True)
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
    return button
