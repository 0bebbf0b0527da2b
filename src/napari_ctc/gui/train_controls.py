"""Parts that every run in the dock "Train classifier" has: its buttons, how far it is, and the line that tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_ctc.gui.train_parts import let_wrap, wrapped

if TYPE_CHECKING:
    from pathlib import Path

    from napari_ctc.events import Event

_WRONG = {"dark": "#ffab85", "light": "#9c1c00"}  # napari's own red is hardly read on its dark background


class RunControls(QWidget):
    """Begin a run, stop it, and see how far it is.

    Parameters
    ----------
    begin, stop : QPushButton
        With their words; what they begin and stop is their owner's.
    prefix : str
        Of the names of the other parts.
    more : QPushButton
        Stands beside them, at the end, so that it may come and go.
    """

    stop_asked = Signal()

    def __init__(
        self, begin: QPushButton, stop: QPushButton, prefix: str = "", more: QPushButton | None = None
    ) -> None:
        super().__init__()
        self.begin, self.stop = begin, stop
        self.time_left = wrapped(f"{prefix}time_left")
        self.bar = QProgressBar()
        self.bar.setObjectName(f"{prefix}progress")
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(12)
        row = QHBoxLayout()
        row.addWidget(begin)
        row.addWidget(stop)
        if more is not None:
            row.addWidget(more)
        row.addWidget(self.time_left, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(row)
        column.addWidget(self.bar)
        stop.clicked.connect(self._stop)
        self.show_running(False)

    def show_running(self, running: bool) -> None:
        """Offer to stop while something runs."""
        self.stop.setEnabled(running)
        self.time_left.setText("")
        self.bar.setRange(0, 0)  # a busy bar until the first step
        self.bar.setVisible(running)

    def show_step(self, event: Event, words: str = "") -> None:
        """Show how far a run is, and say it in words if there are new ones, unless it is about to stop."""
        if event.total:
            self.bar.setRange(0, event.total)
            self.bar.setValue(event.done)
        if words and self.stop.isEnabled():
            self.time_left.setText(words)

    def _stop(self) -> None:
        self.stop.setEnabled(False)
        self.time_left.setText("stopping…")
        self.stop_asked.emit()


class MessageLine(QLabel):
    """A line of text that tells what happened, in another colour if something is wrong."""

    def __init__(self, name: str) -> None:
        super().__init__()
        let_wrap(self, name)
        self._wrong, self._theme = False, "dark"

    def say(self, sentence: str, wrong: bool = False) -> None:
        """Show a sentence, or none."""
        self._wrong = wrong
        self.setText(sentence)
        self._colour()

    def set_theme(self, theme: str) -> None:
        """Take on the colours of a "dark" or a "light" theme."""
        self._theme = theme
        self._colour()

    def _colour(self) -> None:
        style = f"color: {_WRONG[self._theme]};" if self._wrong else ""
        if style != self.styleSheet():  # a new one has the widget polished and laid out anew
            self.setStyleSheet(style)


def button(name: str, words: str, tip: str) -> QPushButton:
    """Make a button."""
    made = QPushButton(words)
    made.setObjectName(name)
    made.setToolTip(tip)
    return made


def may_replace(parent: QWidget, path: Path) -> bool:
    """Ask whether a file may be replaced."""
    asked = f"{path.name} exists already. Replace it? It stays as it is until the new one is complete."
    answer = QMessageBox.question(parent, "Replace the file?", asked)
    return bool(answer == QMessageBox.StandardButton.Yes)
