"""What stands under "Advanced" in the dock "Train classifier": all other settings, and what to start from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QWidget
from superqt import QCollapsible

from napari_ctc.gui.forms import form_of, keep_wheel_away

if TYPE_CHECKING:
    from magicgui.widgets import Widget
    from pydantic import BaseModel

    from napari_ctc.learn.classifier import Classifier

NEW, IN_USE = range(2)


class AdvancedBox(QCollapsible):
    """Settings that are not seen at once.

    Parameters
    ----------
    model : type of pydantic.BaseModel
    names : iterable of str
        The fields to show.
    """

    changed = Signal()

    def __init__(self, model: type[BaseModel], names: Iterable[str]) -> None:
        super().__init__("Advanced", expandedIcon="▾", collapsedIcon="▸")
        self.setObjectName("advanced")
        self.form = form_of(model, names)
        self.form.margins = (0, 0, 0, 0)
        self.form.changed.connect(self._follow_form)
        self.start_from = QComboBox()
        self.start_from.setObjectName("start_from")
        self.start_from.setToolTip(
            "New weights: learn from these specimens alone. The classifier in use: go on from what it knows, with "
            "its network and size; the specimens need every class that it knows, and may have more. Those that it "
            "was trained on are not held out, wherever there are others; the run shows how many are."
        )
        self.start_from.addItems(["new weights", ""])
        self.start_from.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.start_from.currentIndexChanged.connect(self._follow_start)
        keep_wheel_away(self.start_from)
        self._first = QWidget()
        row = QFormLayout(self._first)
        row.setContentsMargins(0, 0, 0, 0)
        row.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.start_label = QLabel("start from")
        row.addRow(self.start_label, self.start_from)
        self.addWidget(self._first)
        self.addWidget(self.form.native)
        self.show_classifier(None)

    def put_beside(self, name: str, button: QPushButton) -> None:
        """Put a button to the right of a check box, and let it be pressed only while that is ticked."""
        box = self.form[name].native
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        self.form.native.layout().replaceWidget(box, line)
        row.addWidget(box)
        row.addStretch()
        row.addWidget(button)
        box.toggled.connect(button.setEnabled)

    @property
    def continues(self) -> bool:
        """Whether to start from the classifier in use."""
        return self.start_from.currentIndex() == IN_USE

    def show_classifier(self, classifier: Classifier | None) -> None:
        """Offer the classifier in use to start from, if there is one."""
        if classifier is None:
            self.start_from.setCurrentIndex(NEW)
        words = "no classifier yet" if classifier is None else f"classifier {classifier.short}"
        self.start_from.setItemText(IN_USE, words)
        self.start_from.model().item(IN_USE).setEnabled(classifier is not None)

    def _follow_start(self, _index: int) -> None:
        self.changed.emit()

    def _follow_form(self, _value: Any) -> None:
        self.changed.emit()


def let_follow(widget: Widget, follows: bool, why: str, told: str) -> None:
    """Let a box be changed only where it counts; else its tooltip says what it follows."""
    widget.native.setEnabled(not follows)
    widget.tooltip = why if follows else told
