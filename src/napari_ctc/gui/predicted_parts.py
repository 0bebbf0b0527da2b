"""What the dock "Predicted classes" consists of, and where it stands in the window.

What becomes of what a person does with the parts is the business of `predicted_dock`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.settings import get_settings
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_ctc.gui.exported import predictions_of
from napari_ctc.gui.giving_way import Hands
from napari_ctc.gui.labelling import Labelling
from napari_ctc.gui.opening import OpenButtons
from napari_ctc.gui.predicted_details import Details
from napari_ctc.gui.predicted_export import ExportMenu
from napari_ctc.gui.predicted_filters import FilterBoxes
from napari_ctc.gui.predicted_held_out import HeldOutRow
from napari_ctc.gui.predicted_model import PredictedModel
from napari_ctc.gui.predicted_queue import QueueRow
from napari_ctc.gui.predicted_strip import ClassStrip
from napari_ctc.gui.predicted_views import Views
from napari_ctc.gui.session import session_of

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_ctc.data.predictions import Predictions

HEIGHT = 300  # pixels
_LEAST_LINES = 3  # of text that the table keeps: its head and a row
_ROOMY = 900  # pixels of screen: with all docks, napari's window needs 805 then


class PredictedParts(QWidget):
    """An invitation to open specimens; with some open, their classes, the queue, filters, table and gallery.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.setObjectName("predictedDock")
        self._viewer = viewer
        self.session = session_of(viewer)
        # napari remembers where a person put a dock; only one that it does not know is placed here.
        positions = get_settings().application.plugin_widget_positions
        self._placed = any(name.startswith("Predicted classes") for name in positions)
        self.labelling = Labelling(self.session, self)
        self._build()

    def _build(self) -> None:
        self.model = PredictedModel(self.session, self)
        self.views = Views(self.session, self.model, self)
        self.table, self.gallery = self.views.table, self.views.gallery
        self.details = Details(self.session, self)
        self.held_out = HeldOutRow(self._viewer, self.session, self)  # seen where nothing is open, too
        self._pages = QStackedWidget(self)
        self._pages.setObjectName("pages")
        self._pages.addWidget(self._build_invitation())
        self._pages.addWidget(self._build_content())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 2, 4, 2)
        layout.addWidget(self.held_out)
        self._pages.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout.addWidget(self._pages)  # which wants all the height, so that napari puts no stretch below
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def _build_invitation(self) -> QWidget:
        page = QWidget(self)
        page.setObjectName("invitation")
        text = QLabel("Open specimens to see here what each of them is predicted to be.", page)
        text.setObjectName("invitationText")
        text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        text.setWordWrap(True)
        buttons = OpenButtons(self._viewer, page)
        buttons.setObjectName("openButtons")
        layout = QVBoxLayout(page)
        layout.addStretch(1)
        layout.addWidget(text)
        layout.addWidget(buttons, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        return page

    def _build_content(self) -> QScrollArea:
        page = QWidget(self)
        page.setObjectName("content")
        split = _Split(Qt.Orientation.Horizontal, page)
        split.setObjectName("tableAndDetails")
        split.addWidget(self.views)
        split.addWidget(self.details)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 1)
        split.setChildrenCollapsible(False)
        split.setMinimumHeight(_LEAST_LINES * self.fontMetrics().lineSpacing())
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.strip = ClassStrip(self._viewer, self.session, self.labelling, page)
        layout.addWidget(self.strip)
        self.queue = QueueRow(self.session, self.labelling, page, self._watched_hands())
        self.model.features_of = self.queue.measuring.features_of
        self.queue.measuring.progressed.connect(self.views.refresh)
        layout.addWidget(self.queue)
        layout.addLayout(self._build_filters(page))
        layout.addLayout(self._build_views_row(page))
        layout.addWidget(split, 1)
        return self._scrolled(page)

    def _scrolled(self, page: QWidget) -> QScrollArea:
        """Let a small dock scroll, rather than cut the classes and the rows."""
        area = QScrollArea(self)
        area.setObjectName("contentArea")
        area.setWidget(page)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        return area

    def _watched_hands(self) -> Hands:
        """Note whenever a person scrolls, sorts, filters, labels or looks at another specimen."""
        hands = Hands()
        signals = [view.verticalScrollBar().valueChanged for view in (self.table, self.gallery)]
        for signal in (*signals, self.model.rearranged, self.labelling.asked):
            signal.connect(hands.moved)
        self.session.current_changed.connect(hands.moved)
        return hands

    def _build_filters(self, page: QWidget) -> QHBoxLayout:
        self.filters = FilterBoxes(page)
        self.shown = _label("shownCount", "How many of the open specimens the table shows", page)
        row = QHBoxLayout()
        row.addWidget(self.filters)
        row.addWidget(self.shown)
        row.addStretch(1)
        return row

    def _build_views_row(self, page: QWidget) -> QHBoxLayout:
        self.message = _label("message", "", page)
        self.message.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.export_button = QPushButton("Export", page)
        self.export_button.setObjectName("exportButton")
        self.export_button.setToolTip("Write labels, predictions or files of the specimens that the table shows")
        self.export_menu = ExportMenu(self.shown_predictions, self.labelling.tables, self)
        self.export_menu.said.connect(self._say)
        self.export_button.setMenu(self.export_menu)
        row = QHBoxLayout()
        row.addWidget(self.views.bar)
        row.addWidget(self.message, 1)
        row.addWidget(self.export_button)
        return row

    def _say(self, text: str) -> None:
        self.message.setText(text)
        self.message.setToolTip(text)

    def shown_predictions(self) -> Predictions:
        """Return the predictions that the table shows, in its order: what exports start from."""
        return predictions_of(self.session, self.model.indices)

    # ------------------------------------------------------------------------------------------ in the window

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(900, HEIGHT)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        # Where the screen has room: rows of the table even if the window grew after the dock had its place.
        roomy = self.screen().availableGeometry().height() >= _ROOMY
        return QSize(320, 240 if roomy else 140)

    def place_once(self) -> None:
        """Move below the canvas, the first time that it is seen."""
        if not self._placed:
            self._placed = True
            QTimer.singleShot(0, self._place)

    def _place(self) -> None:
        dock = self.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        window = dock.parentWidget() if dock is not None else None
        if isinstance(window, QMainWindow) and not dock.isFloating():
            area = Qt.DockWidgetArea.BottomDockWidgetArea
            if window.dockWidgetArea(dock) != area:
                window.addDockWidget(area, dock)
            window.resizeDocks([dock], [HEIGHT], Qt.Orientation.Vertical)


class _Split(QSplitter):
    """Takes what height there is, and asks for no more than its least."""

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self.minimumHeight())


def _label(name: str, tip: str, parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setObjectName(name)
    label.setToolTip(tip)
    return label
