"""Measure the open specimens in the background, once each, for the queue to go by.

What is measured is in `review.features`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.events import Event, Measured
from napari_ctc.gui.jobs import start
from napari_ctc.review.features import feature_count, measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.session import Session

MOST = 100_000  # specimens, whose 254 numbers each are 100 MB
_FIRST_SHOW_MS = 500  # specimens come on the screen before they are measured


class Measuring(QWidget):
    """Keeps a row of features for each open specimen. Invisible; a child of the dock that it works for.

    Parameters
    ----------
    session : Session
    parent : QWidget
        When it goes, so does the work.
    """

    progressed = Signal()

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()
        self._session = session
        self._job = None
        self._of_job = np.zeros(0, np.intp)
        self.ids = np.zeros(0, np.int64)
        self.values = np.zeros((0, 0), np.float32)
        self.done = 0
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_FIRST_SHOW_MS)
        self._soon.timeout.connect(self._begin)
        session.specimens_changed.connect(self._follow)
        self._follow()

    @property
    def running(self) -> bool:
        """Whether there are specimens that will be measured."""
        return self._soon.isActive() or self._job is not None

    def features_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the features of specimens by their ids; rows of NaN where there are none yet."""
        values = np.full((len(ids), self.values.shape[1]), np.nan, np.float32)
        if len(self.ids):
            places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            known = self.ids[places] == ids
            values[known] = self.values[places[known]]
        return values

    def _follow(self) -> None:
        if self._job is not None:
            self._job.stop()
        self._soon.start()

    def _begin(self) -> None:
        """Measure what is open, except what has been measured."""
        if self._job is not None:  # it was asked to stop, and ends soon
            self._soon.start()
            return
        rows = self._session.rows
        fitting = np.flatnonzero(rows.channels == rows.channels[:1])
        if not 0 < len(fitting) <= MOST:
            self.ids, self.values, self.done = np.zeros(0, np.int64), np.zeros((0, 0), np.float32), 0
            self.progressed.emit()
            return
        ids = np.sort(rows.ids[fitting])
        count = feature_count(int(rows.channels[fitting[0]]))
        same = self.values.shape[1] == count
        values = self.features_of(ids) if same else np.full((len(ids), count), np.nan, np.float32)
        self.ids, self.values = ids, values
        left = fitting[np.isnan(values[np.searchsorted(ids, rows.ids[fitting])]).any(axis=1)]
        self.done = len(ids) - len(left)
        self._of_job = np.searchsorted(ids, rows.ids[left])
        if len(left):
            self._job = start(
                measure(self._session.manifest(left)),
                parent=self,
                name="Measuring specimens",
                on_event=self._hear,
                on_finished=self._end,
                quiet=True,
            )
        self.progressed.emit()

    def _hear(self, event: Event) -> None:
        if isinstance(event, Measured):
            self.values[self._of_job[list(event.rows)]] = event.values
            self.done += len(event.rows)
            self.progressed.emit()

    def _end(self) -> None:
        self._job = None
        self.progressed.emit()

    def leave(self) -> None:
        """Stop the work and let go of the session."""
        self._session.specimens_changed.disconnect(self._follow, missing_ok=True)
        self._soon.stop()
        if self._job is not None:
            self._job.stop()
