"""The filters above the table and the gallery, as a row of boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLineEdit, QWidget

from napari_ctc.gui.predicted_filter import (
    ANY,
    AT_ODDS,
    LABELLED,
    NOT_PREDICTED,
    UNLABELLED,
    UNSURE,
    Filter,
)
from napari_ctc.gui.predicted_order import natural_ranks

_LETTERS = 10  # of a box's names that have room in any case


class FilterBoxes(QWidget):
    """Text, predicted class, label, source and least probability; what passes all of them is shown."""

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.text = QLineEdit(self)
        self.text.setObjectName("filterText")
        self.text.setPlaceholderText("filter by name or source")
        self.text.setToolTip("Show only specimens whose name or source contains this")
        self.text.setClearButtonEnabled(True)
        self.text.setMinimumWidth(110)
        self.predicted = self._box("filterClass", "Show only specimens predicted to be of this class")
        self.label = self._box(
            "filterLabel", "Show only specimens that a person gave this label, or none, or called unsure"
        )
        self.source = self._box("filterSource", "Show only specimens of this slide, patient or run")
        self.source.hide()
        self.least = QDoubleSpinBox(self)
        self.least.setObjectName("filterLeast")
        self.least.setRange(0.0, 1.0)
        self.least.setSingleStep(0.05)
        self.least.setPrefix("probability ≥ ")
        self.least.setToolTip("Show only predictions of at least this probability; 0 shows all")
        words = self.least.fontMetrics().horizontalAdvance("probability ≥ 0.00")
        self.least.setStyleSheet(f"QDoubleSpinBox {{ min-width: {words + 46}px; }}")  # napari's own cuts it
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for box in (self.text, self.predicted, self.label, self.source, self.least):
            row.addWidget(box)
        self.text.textChanged.connect(self.changed)
        self.predicted.currentIndexChanged.connect(self.changed)
        self.label.currentIndexChanged.connect(self.changed)
        self.source.currentIndexChanged.connect(self.changed)
        self.least.valueChanged.connect(self.changed)

    def _box(self, name: str, tip: str) -> QComboBox:
        box = QComboBox(self)
        box.setObjectName(name)
        box.setToolTip(tip)
        keep_narrow(box)
        return box

    def offer(self, classes: Sequence[str]) -> None:
        """Offer these classes; what was chosen stays where it still can be."""
        named = [(name, f"class:{name}") for name in classes]
        others = [("(not predicted)", NOT_PREDICTED), ("(unlike the label)", AT_ODDS)]
        _fill(self.predicted, [("any class", ANY), *named, *others])
        kinds = [("(labelled)", LABELLED), ("(not labelled)", UNLABELLED), ("(unsure)", UNSURE)]
        labels = [(f"label: {name}", data) for name, data in named]  # beside a box with the same names
        _fill(self.label, [("any label", ANY), *labels, *kinds])
        self.changed.emit()

    def offer_sources(self, sources: Sequence[str]) -> None:
        """Offer these sources, each once; the box is there only if one of them is known."""
        names = np.array(sources, dtype=object)
        named = names[names != ""]
        named = named[np.argsort(natural_ranks(named), kind="stable")]
        none = [("(no source)", "source:")] if len(named) < len(names) else []
        _fill(self.source, [("any source", ANY), *((name, f"source:{name}") for name in named), *none])
        self.source.setVisible(len(named) > 0)

    def clear(self) -> None:
        """Let everything pass."""
        self.text.clear()
        for box in (self.predicted, self.label, self.source):
            box.setCurrentIndex(0)
        self.least.setValue(0)

    def chosen(self) -> Filter:
        """Give what is chosen."""
        return Filter(
            self.text.text().strip(),
            self.predicted.currentData() or ANY,
            self.least.value(),
            self.label.currentData() or ANY,
            self.source.currentData() or ANY,
        )


def keep_narrow(box: QComboBox) -> None:
    """Let a box not grow with its names, which may be long, at the cost of its neighbours."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(_LETTERS)


def _fill(box: QComboBox, entries: Sequence[tuple[str, str]]) -> None:
    chosen = box.currentData()
    box.blockSignals(True)
    box.clear()
    for text, data in entries:
        box.addItem(text, data)
    box.setCurrentIndex(max(box.findData(chosen), 0))
    box.blockSignals(False)
