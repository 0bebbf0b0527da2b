"""Choose where something is computed: in napari itself, in processes beside it, or on a Dask cluster.

Makes the text that `--on` takes at a terminal. What the text means, and whether it can be, is said in one place:
`napari_ctc.apply.executors.Place`.
"""

from __future__ import annotations

from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QLineEdit, QSpinBox, QWidget

from napari_ctc.apply.executors import MOST_PROCESSES, Place
from napari_ctc.apply.workers import cores
from napari_ctc.errors import PlaceError
from napari_ctc.gui.forms import keep_wheel_away

HERE, PROCESSES, CLUSTER = range(3)


class PlaceChoice(QWidget):
    """A box for the kind of place, and a line for what that kind needs to be told.

    Parameters
    ----------
    prefix : str
        Of the parts' names.
    kinds : str
        What the kinds mean for the work at hand, for the tooltip.
    processes : str
        What the number of processes means for it.
    """

    def __init__(self, prefix: str, kinds: str, processes: str) -> None:
        super().__init__()
        self.kind = QComboBox()
        self.kind.setObjectName(f"{prefix}Place")
        self.kind.addItems(["here", "in several processes", "on a Dask cluster"])
        self.kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.kind.setToolTip(kinds)
        self.processes = QSpinBox()
        self.processes.setObjectName(f"{prefix}Processes")
        self.processes.setRange(1, MOST_PROCESSES)
        self.processes.setValue(min(cores(), MOST_PROCESSES))
        self.processes.setToolTip(processes)
        self.address = QLineEdit()
        self.address.setObjectName(f"{prefix}Scheduler")
        self.address.setPlaceholderText("tcp://HOST:PORT")
        self.address.setToolTip(
            "The address that 'dask scheduler' prints when it starts, for instance tcp://192.168.1.7:8786. Ask "
            "whoever runs your cluster. The page 'From laptop to cluster' says how to start one."
        )
        for box in (self.kind, self.processes):
            keep_wheel_away(box)
        self._words = {PROCESSES: QLabel("processes"), CLUSTER: QLabel("scheduler")}
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("compute", self.kind)
        form.addRow(self._words[PROCESSES], self.processes)
        form.addRow(self._words[CLUSTER], self.address)
        self.kind.currentIndexChanged.connect(self._follow_kind)
        self._follow_kind()

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
