"""What stands under "Advanced" in the dock "Classify folder": where it is computed.

Makes the text that `--on` takes at a terminal. What the text means, and whether it can be, is said in one place:
`napari_ctc.apply.executors.Place`.
"""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QSpinBox, QWidget
from superqt import QCollapsible

from napari_ctc.apply.executors import MOST_PROCESSES, Place
from napari_ctc.apply.workers import cores
from napari_ctc.errors import PlaceError
from napari_ctc.gui.forms import keep_wheel_away

HERE, PROCESSES, CLUSTER = range(3)


class PlaceBox(QCollapsible):
    """Choose whether to compute in napari itself, in processes beside it, or on a Dask cluster."""

    changed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__("Advanced", parent, expandedIcon="▾", collapsedIcon="▸")
        self.setObjectName("classifyAdvanced")
        self.toggleButton().setToolTip("Choose where to compute: here, in several processes, or on a cluster.")
        self.kind = QComboBox()
        self.kind.setObjectName("classifyPlace")
        self.kind.addItems(["here", "in several processes", "on a Dask cluster"])
        self.kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.kind.setToolTip(
            "Here: in napari itself, which is right for most folders. In processes: beside napari, which stays "
            "quicker to respond. On a Dask cluster: on other machines, which must see the images under the same "
            "path. The table is the same, and what was begun in one place can go on in another."
        )
        self.processes = QSpinBox()
        self.processes.setObjectName("classifyProcesses")
        self.processes.setRange(1, MOST_PROCESSES)
        self.processes.setValue(min(cores(), MOST_PROCESSES))
        self.processes.setToolTip(
            "How many specimens are computed at once. One process for each processor core is most often the "
            "fastest; fewer take less memory (some 400 MB each)."
        )
        self.address = QLineEdit()
        self.address.setObjectName("classifyScheduler")
        self.address.setPlaceholderText("tcp://HOST:PORT")
        self.address.setToolTip(
            "The address that 'dask scheduler' prints when it starts, for instance tcp://192.168.1.7:8786. Ask "
            "whoever runs your cluster. The page 'From laptop to cluster' says how to start one."
        )
        for box in (self.kind, self.processes):
            keep_wheel_away(box)
        self.addWidget(self._laid_out())
        self.kind.currentIndexChanged.connect(self._follow_kind)
        self.processes.valueChanged.connect(self._change)
        self.address.textChanged.connect(self._change)
        self._follow_kind()

    def _laid_out(self) -> QWidget:
        inside = QWidget()
        form = QFormLayout(inside)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._words = {PROCESSES: QLabel("processes"), CLUSTER: QLabel("scheduler")}
        form.addRow("compute", self.kind)
        form.addRow(self._words[PROCESSES], self.processes)
        form.addRow(self._words[CLUSTER], self.address)
        return inside

    @property
    def text(self) -> str:
        """What `--on` would be told."""
        kind = self.kind.currentIndex()
        if kind == HERE:
            return "here"
        if kind == PROCESSES:
            return f"processes:{self.processes.value()}"
        address = self.address.text().strip()
        return address if "://" in address else f"tcp://{address}"

    def refusal(self) -> str:
        """Say why nothing can be computed there, as far as its name tells; empty if it may be."""
        try:
            Place.parse(self.text)
        except PlaceError as problem:
            return str(problem)
        return ""

    def _follow_kind(self, _index: int = 0) -> None:
        """Show what the chosen place needs to be told."""
        for kind, field in ((PROCESSES, self.processes), (CLUSTER, self.address)):
            for widget in (self._words[kind], field):
                widget.setVisible(self.kind.currentIndex() == kind)
        self._change()

    def _change(self, _value: object = None) -> None:
        self.changed.emit()
