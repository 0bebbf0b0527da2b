"""The keys of labelling: 1 to 9, 0, U, undo and redo, N, Space and the arrows.

They are shortcuts of the window, which come before the keys of layers and viewer wherever the focus is; a text
field asks Qt for the keys that it types, and gets them. Deleted with the dock, they give every key back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QApplication, QComboBox, QShortcut, QTabBar, QWidget

from napari_ctc.gui.rows import NOT_KNOWN

if TYPE_CHECKING:
    from napari_ctc.gui.labelling import Labelling
    from napari_ctc.gui.predicted_queue import QueueRow
    from napari_ctc.gui.predicted_table import PredictedView
    from napari_ctc.gui.session import Session

HINT = "1–9 label · 0 none · U unsure · Space skip · N next · ← → walk · Ctrl+Z undo"
"""What the dock says of the keys."""

_HAVE_THEIR_OWN = (QAbstractButton, QAbstractSlider, QComboBox, QTabBar)  # use for Space and the arrows


class LabelKeys(QObject):
    """Labels, walks and undoes by keys.

    Parameters
    ----------
    session : Session
    labelling : Labelling
    table : PredictedView
        Its order is the way that keys walk; what is selected in it is labelled at once.
    queue : QueueRow
        Says what comes after a specimen that it brought.
    window : QWidget
        The window whose keys these are.
    """

    def __init__(
        self, session: Session, labelling: Labelling, table: PredictedView, queue: QueueRow, window: QWidget
    ) -> None:
        super().__init__(table)
        self._session, self._labelling, self._table, self._queue = session, labelling, table, queue
        self._on = False
        acts: dict[str, Callable[[], None]] = {str(place + 1): partial(self._label, place) for place in range(9)}
        acts |= {
            "0": self._clear,
            "U": self._unsure,
            "N": queue.next,
            "Ctrl+Z": self._undo,
            "Ctrl+Shift+Z": self._redo,
        }
        walks: dict[str, Callable[[], None]] = {
            "Space": self._skip,
            "Right": partial(self._walk, 1),
            "Left": partial(self._walk, -1),
        }
        self._acting = [self._shortcut(window, keys, act) for keys, act in acts.items()]
        self._walking = [self._shortcut(window, keys, act) for keys, act in walks.items()]
        for shortcut in self._acting[:12]:
            shortcut.setAutoRepeat(False)  # a key held down is one label
        QApplication.instance().focusChanged.connect(self._follow_focus)

    def _shortcut(self, window: QWidget, keys: str, act: Callable[[], None]) -> QShortcut:
        shortcut = QShortcut(QKeySequence(keys), window)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.activated.connect(partial(self._labelling.do, act))
        shortcut.setEnabled(False)
        return shortcut

    def switch(self, on: bool) -> None:
        """Take the keys, or give them back."""
        self._on = on
        for shortcut in self._acting:
            shortcut.setEnabled(on)
        self._follow_focus(None, QApplication.focusWidget())

    def label(self, name: str) -> None:
        """Label as the key of a class would; those after the ninth have none."""
        self._labelling.do(partial(self._give, name))

    def leave(self) -> None:
        """Give the keys back for good."""
        if not self._acting:
            return
        QApplication.instance().focusChanged.disconnect(self._follow_focus)
        for shortcut in (*self._acting, *self._walking):
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._acting = self._walking = []

    def _follow_focus(self, _before: QWidget | None, now: QWidget | None) -> None:
        for shortcut in self._walking:
            shortcut.setEnabled(self._on and not isinstance(now, _HAVE_THEIR_OWN))

    # --------------------------------------------------------------------------------------- what keys do

    def _label(self, place: int) -> None:
        names = self._session.keyed
        if place >= len(names):
            classes = "1 class" if len(names) == 1 else f"{len(names)} classes"
            told = f"There are {classes}" if names else "No class has a name yet"
            book = self._labelling.book
            refused = book.refusal if book is not None else ""
            self._labelling.refuse(
                refused or f"{told}, so key {place + 1} has none. Name one with + above the table."
            )
        else:
            self._give(names[place])

    def _give(self, name: str) -> None:
        if chosen := self._chosen():
            self._labelling.label(chosen, name, partial(self._go_on, chosen))

    def _clear(self) -> None:
        if chosen := self._chosen():
            self._labelling.clear(chosen, partial(self._go_on, chosen))

    def _unsure(self) -> None:
        if chosen := self._chosen():
            self._labelling.unsure(chosen, partial(self._go_on, chosen))

    def _undo(self) -> None:
        self._labelling.undo(self._session.go_to)

    def _redo(self) -> None:
        self._labelling.redo(self._session.go_to)

    def _chosen(self) -> list[int]:
        """Give the specimens that a key is for: all that are selected, else the one on the canvas."""
        current, selected = self._session.current, self._table.selected()
        if current in selected:
            return selected
        return [current] if current != NOT_KNOWN else []

    def _go_on(self, done: list[int]) -> None:
        """Go to the specimen after those that were labelled: of the queue where it brought them."""
        if self._queue.at_work and done == [self._session.current]:
            self._queue.next()
            return
        rows = [self._table.model().row_of(index) for index in done]
        self._go_to_row(max(rows) + 1)

    def _skip(self) -> None:
        if self._queue.at_work:
            self._queue.skip()
        else:
            self._walk(1)

    def _walk(self, by: int) -> None:
        self._go_to_row(self._table.model().row_of(self._session.current) + by)

    def _go_to_row(self, row: int) -> None:
        indices = self._table.model().indices
        if len(indices):
            self._session.go_to(int(indices[np.clip(row, 0, len(indices) - 1)]))
