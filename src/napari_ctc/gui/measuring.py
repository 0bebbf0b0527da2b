"""Measure the open specimens in the background, for the instant head and the queue to go by.

Each is measured once, and again when its file has changed: with a classifier in use, by its network's own
features; else, and until these are there, by fixed measurements. What is measured is in `review.features` and
`review.embedding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.events import Event, Measured
from napari_ctc.gui.feature_table import FeatureTable
from napari_ctc.gui.giving_way import Hands, giving_way, import_quietly
from napari_ctc.gui.jobs import start
from napari_ctc.review.embedding import embed
from napari_ctc.review.features import feature_count, measure_each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_ctc.data.manifest import Manifest
    from napari_ctc.events import Job
    from napari_ctc.gui.file_changes import Facts
    from napari_ctc.gui.session import Session
    from napari_ctc.learn.classifier import Classifier

MOST = 100_000  # specimens, whose 254 numbers each are 100 MB
_FIRST_SHOW_MS = 500  # specimens come on the screen before they are measured


class Measuring(QWidget):
    """Keeps a row of features for each open specimen. Invisible; a child of the dock that it works for.

    Parameters
    ----------
    session : Session
    parent : QWidget
        When it goes, so does the work.
    hands : Hands, optional
        Of the person who must not be held up by this.

    Attributes
    ----------
    held : callable
        Whether a network is at work that must not be held up by this.
    """

    progressed = Signal()
    held: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(self, session: Session, parent: QWidget, hands: Hands | None = None) -> None:
        super().__init__(parent)
        self.hide()
        self._session, self._hands = session, hands or Hands()
        self._job = None
        self._fixed, self._network = FeatureTable(), FeatureTable("none")
        self._unfit = ""  # the network whose features cannot be had
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_FIRST_SHOW_MS)
        self._soon.timeout.connect(self._begin)
        session.specimens_changed.connect(self._follow)
        session.classifier_changed.connect(self._follow)
        self._follow()

    @property
    def running(self) -> bool:
        """Whether there are specimens that will be measured."""
        return self._soon.isActive() or self._job is not None

    @property
    def table(self) -> FeatureTable:
        """The features to go by: the network's, once it has seen as many specimens as were measured."""
        return self._network if self._network.done and self._network.done >= self._fixed.done else self._fixed

    @property
    def done(self) -> int:
        """How many specimens can be gone by."""
        return self.table.done

    def features_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Give the features to go by of specimens, by their ids; rows of NaN where there are none yet."""
        return self.table.of(ids)

    def facts_of(self, ids: NDArray[np.int64]) -> Sequence[Facts]:
        """Give what is known of the files that specimens were measured from, once for each way of measuring."""
        return [table.facts_of(ids) for table in (self._fixed, self._network)]

    def forget(self, ids: NDArray[np.int64], sizes: NDArray[np.int64], modified: NDArray[np.object_]) -> None:
        """Measure again those specimens whose files were others: `sizes` and `modified` are of those there now."""
        of_fixed = self._fixed.forget(ids, sizes, modified)
        of_network = self._network.forget(ids, sizes, modified)
        if of_fixed or of_network:
            self.progressed.emit()  # until then, nobody goes by them
            self._follow()

    def _follow(self, _changed: object = None) -> None:
        if self._job is not None:
            self._job.stop()
        self._soon.start()

    def _begin(self) -> None:
        """Measure what is open, except what has been measured."""
        if self._job is not None:  # it was asked to stop, and ends soon
            self._soon.start()
            return
        rows, classifier = self._session.rows, self._session.classifier
        fitting = np.flatnonzero(rows.channels == rows.channels[:1])
        if len(fitting) > MOST:
            fitting = fitting[:0]
        ids, channels = rows.ids[fitting], int(rows.channels[0]) if len(fitting) else 0
        if classifier is None or classifier.digest != self._network.network:
            self._network = FeatureTable("none" if classifier is None else classifier.digest)
        left, left_of_network = self._fixed.follow(ids, channels), self._network.follow(ids, channels)
        by_network = (
            classifier is not None and classifier.channel_count == channels and classifier.digest != self._unfit
        )
        if by_network and len(left_of_network) and self.held():
            self._soon.start()
        elif by_network and len(left_of_network):
            manifest = self._session.manifest_later(fitting[left_of_network])
            self._start(_embed(manifest, classifier), self._network)
        elif not by_network and len(left):
            manifest = self._session.manifest_later(fitting[left])
            self._start(_measure(manifest, self._fixed), self._fixed)
        self.progressed.emit()

    def _start(self, job: object, table: FeatureTable) -> None:
        self._filling = table
        self._job = start(
            giving_way(job, self._hands),
            parent=self,
            name="Measuring specimens",
            on_event=self._hear,
            on_error=self._fail,
            on_finished=self._end,
            quiet=True,
        )

    def _hear(self, event: Event) -> None:
        if isinstance(event, Measured):
            ids = self._filling.take(event.rows, event.values, event.files)
            self._session.note_read(ids, event.reasons)
            self.progressed.emit()

    def _fail(self, _problem: Exception) -> None:
        """Do with fixed measurements where a network gives no features."""
        if self._filling is self._network:
            self._unfit = self._network.network
            self._soon.start()

    def _end(self) -> None:
        self._job = None
        self.progressed.emit()

    def look(self) -> None:
        """Try again what could not be read: a person may have mended it, and comes back to the window."""
        if not self.running and (self._session.rows.unreadable != "").any():
            self._soon.start()

    def leave(self) -> None:
        """Stop the work and let go of the session."""
        self._session.specimens_changed.disconnect(self._follow, missing_ok=True)
        self._session.classifier_changed.disconnect(self._follow, missing_ok=True)
        self._soon.stop()
        if self._job is not None:
            self._job.stop()


def _embed(manifest: Callable[[], Manifest], classifier: Classifier) -> Job[NDArray[np.float32]]:
    yield Event()
    return (yield from embed(manifest(), classifier))


def _measure(manifest: Callable[[], Manifest], table: FeatureTable) -> Job[None]:
    yield Event()
    import_quietly("sklearn.linear_model")  # which takes a second the first time, and is wanted at the first label
    yield Event()
    specimens = manifest()
    table.make_room(feature_count(specimens.layout.channels))
    yield from measure_each(specimens)
