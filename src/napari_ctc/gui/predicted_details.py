"""All that is known of one specimen: a bar for each class, and where the prediction is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_ctc.gui.calibrated import is_score
from napari_ctc.gui.rows import NOT_KNOWN, Status
from napari_ctc.gui.speakers import is_instant

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.session import Session

_INDENT = 5  # pixels by which napari's theme indents the labels above and below


class ProbabilityBars(QWidget):
    """A bar for each class, in its colour, with its name and probability."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("probabilityBars")
        self.setToolTip("How probable each class is found for the selected specimen, by whoever is shown")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.classes: tuple[str, ...] = ()
        self.probabilities: NDArray[np.float32] = np.zeros(0, np.float32)
        self.colours: tuple[str, ...] = ()

    def show_probabilities(
        self, classes: tuple[str, ...], probabilities: NDArray[np.float32], colours: tuple[str, ...]
    ) -> None:
        """Show what is given; nothing where there are no numbers."""
        known = len(probabilities) > 0 and bool(np.isfinite(probabilities).all())
        self.classes = classes if known else ()
        self.colours = colours
        self.probabilities = probabilities if known else probabilities[:0]
        self.setAccessibleDescription(
            ", ".join(f"{name} {p:.3f}" for name, p in zip(self.classes, self.probabilities, strict=True))
        )
        self.updateGeometry()
        self.update()

    @property
    def _row(self) -> int:
        return self.fontMetrics().height() + 5

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(200, self._row * len(self.classes))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(120, self._row * len(self.classes))

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        text, metrics, height = self.palette().text().color(), painter.fontMetrics(), self._row
        name_width = min(
            max((metrics.horizontalAdvance(name) for name in self.classes), default=0), self.width() // 2
        )
        number_width = metrics.horizontalAdvance("0.000")
        start = _INDENT + name_width + 8
        room = self.width() - start - number_width - 10
        trough = QColor(text)
        trough.setAlpha(35)
        for place, (name, p) in enumerate(zip(self.classes, self.probabilities.tolist(), strict=True)):
            top = place * height
            painter.setPen(text)
            fits = metrics.horizontalAdvance(name) <= name_width
            shown = name if fits else metrics.elidedText(name, Qt.TextElideMode.ElideRight, name_width)
            painter.drawText(QRectF(_INDENT, top, name_width, height), Qt.AlignmentFlag.AlignVCenter, shown)
            painter.fillRect(QRectF(start, top + 4, room, height - 8), trough)
            painter.fillRect(QRectF(start, top + 4, room * p, height - 8), QColor(self.colours[place]))
            where = QRectF(start + room + 4, top, number_width + 6, height)
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, f"{p:.3f}")
        painter.end()


class Details(QScrollArea):
    """What the dock tells of the selected specimen."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("details")
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._session = session
        inside = QWidget(self)
        inside.setObjectName("detailsInside")
        self._title, self._bars, self._facts = QLabel(inside), ProbabilityBars(inside), QLabel(inside)
        for label, name in ((self._title, "detailsTitle"), (self._facts, "detailsFacts")):
            label.setObjectName(name)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        layout = QVBoxLayout(inside)
        layout.setContentsMargins(6, 2, 6, 2)
        layout.setSpacing(4)
        for widget in (self._title, self._bars, self._facts):
            layout.addWidget(widget)
        layout.addStretch(1)
        self.setWidget(inside)

    def show_specimen(self, index: int) -> None:
        """Show a specimen of the session; -1 for none."""
        session = self._session
        if not 0 <= index < len(session):
            self._title.setText("Select a specimen to see the probability of each class.")
            self._bars.show_probabilities((), np.zeros(0, np.float32), ())
            self._facts.setText("")
            return
        rows, shown = session.rows, session.shown
        self._title.setText(str(rows.name[index]))
        status = Status(shown.status[index])
        hidden = bool(session.concealed[index])
        numbers = shown.probabilities[index] if status is Status.CURRENT else np.zeros(0, np.float32)
        self._bars.show_probabilities(shown.classes, numbers, tuple(session.palette(shown.classes)))
        reason = session.reason(index, status)
        facts = [f"Not classified. {reason}" if status is Status.FAILED else reason]
        if rows.unsure[index]:
            facts.append("A person looked at it and was unsure.")
        elif rows.label[index] != NOT_KNOWN:
            facts.append(f"A person labelled it {session.classes[rows.label[index]]}.")
        if hidden and status in (Status.CURRENT, Status.STALE):
            facts.append("Its prediction is hidden, so that you judge for yourself.")
        elif status is Status.STALE:
            said, p = session.classes[shown.predicted[index]], shown.probability[index]
            facts.append(f"Stale: it was called {said} ({p:.3f}) before.")
        scores = [name for name in shown.classes if is_score(shown.speaker, name)]
        if is_instant(shown.speaker):
            facts.append("Scores as if all classes were equally frequent: no probabilities.")
        elif status is Status.CURRENT and scores:
            facts.append(f"A score, not a calibrated probability, for: {', '.join(scores)}.")
        if rows.source[index]:
            facts.append(f"Source: {rows.source[index]}")
        self._facts.setText("\n".join(facts))
