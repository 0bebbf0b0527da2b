"""The switch between the two that may predict: the trained network and the instant head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QSizePolicy, QWidget

from napari_ctc.gui.speakers import HEAD, NETWORK

if TYPE_CHECKING:
    from qtpy.QtWidgets import QAbstractButton

    from napari_ctc.gui.session import Session

_WORDS = (
    (NETWORK, "trained network", "Show what the trained network predicts"),
    (HEAD, "instant head", "Show what the instant head predicts, which learns anew from each label"),
)


class SpeakerSwitch(QWidget):
    """Two buttons, one of them pressed; hidden where there is no choice.

    Parameters
    ----------
    session : Session
    parent : QWidget
    """

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("speakerSwitch")
        self._session = session
        self._group = QButtonGroup(self)  # which lets one be pressed at a time
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.buttons: dict[str, QPushButton] = {}
        for kind, words, tip in _WORDS:
            button = self.buttons[kind] = QPushButton(words, self)
            button.setObjectName(f"show_{kind}")
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys where they are
            button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
            button.setToolTip(tip)
            self._group.addButton(button)
            row.addWidget(button)
        self._group.buttonClicked.connect(self._choose)
        self.refresh()

    def refresh(self) -> None:
        """Show who speaks, where there are two."""
        self.setVisible(len(self._session.speakers) > 1)
        if speaking := self._session.speaking:
            self.buttons[speaking].setChecked(True)

    def _choose(self, button: QAbstractButton) -> None:
        self._session.show_speaker(next(kind for kind, one in self.buttons.items() if one is button))
