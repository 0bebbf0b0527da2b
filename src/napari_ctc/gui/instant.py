"""Instant learning: after each label the head is fitted anew in its own thread, and its predictions are shown.

The arithmetic of it is in `review.loop`, what it goes by in `measuring`, what is shown of it in `shown`.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.gui.giving_way import import_quietly
from napari_ctc.gui.rows import NOT_KNOWN
from napari_ctc.gui.speakers import HeadWords, InstantHead
from napari_ctc.review.loop import Learnt, learn
from napari_ctc.review.space import Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_ctc.gui.feature_table import FeatureTable
    from napari_ctc.gui.measuring import Measuring
    from napari_ctc.gui.session import Session

_RENEW = 2.0  # seconds: while specimens are being measured, those that came meanwhile are taken in this often
_BY_CLASSIFIER = "classifier"  # who gave a label that is no person's


@dataclass(frozen=True, eq=False)
class Lesson:
    """What was learnt, and of which specimens.

    Parameters
    ----------
    classes : tuple of str
        In the order of their keys.
    ids : (n,) int64
        Of the specimens, from `Rows.ids`, rising.
    learnt : Learnt
        Of these.
    words : HeadWords or None
        What the head says; None before two classes have labels.
    """

    classes: tuple[str, ...]
    ids: NDArray[np.int64] = field(repr=False)
    learnt: Learnt
    words: HeadWords | None

    def of(self, ids: NDArray[np.int64]) -> Learnt:
        """Give what was learnt of some specimens, in this order."""
        learnt = self.learnt
        if np.array_equal(ids, self.ids):
            return learnt
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        rows = np.where(self.ids[places] == ids, places, NOT_KNOWN)
        said = None if learnt.probabilities is None else learnt.probabilities[rows]
        return Learnt(learnt.space.part(rows), learnt.head, said, learnt.labels)


class Instant(QWidget):
    """Learns from each label, and lets the session hear what the head says now. Invisible.

    Parameters
    ----------
    session : Session
    measuring : Measuring
    parent : QWidget
        When it goes, so does the work.
    """

    _came = Signal(int, object, object)  # the number of a request, its lesson, what went wrong

    def __init__(self, session: Session, measuring: Measuring, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()
        self._session, self._measuring = session, measuring
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-ctc instant head")
        self._newest: Future[Lesson] | None = None
        self._number = self._first_wanted = 0
        self._asked: tuple[Any, ...] = ()
        self._mark: tuple[FeatureTable, int] | None = None  # which state of the features is gone by
        self._marked_ids, self._marked_at = np.zeros(0, np.int64), 0.0
        self._warm = False
        self._space: tuple[Any, Space] | None = None  # and what it was made of; of the thread
        self._last: Learnt | None = None  # of the thread
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.setInterval(int(1000 * _RENEW))
        self._later.timeout.connect(self._follow)
        self._came.connect(self._show)
        session.labels_changed.connect(self._follow)
        session.specimens_changed.connect(self._follow)
        measuring.progressed.connect(self._follow_measuring)
        self._follow()

    # ------------------------------------------------------------------------------------------- asking

    def _follow(self, _changed: object = None) -> None:
        """Learn anew where anything to learn from has changed; unlearn where two classes have no labels."""
        known = np.unique(self._session.rows.label)
        known = known[known != NOT_KNOWN]
        if len(known) >= 2:
            self.ask()
            return
        if len(known) and not self._warm:
            self._warm = True
            self._pool.submit(import_quietly, "sklearn.linear_model")  # which takes a second the first time
        self._first_wanted = self._number + 1
        self._asked = ()  # its answer is gone: the same labels may come back
        self._session.hear(None)

    def _follow_measuring(self) -> None:
        if not self._measuring.running or self._mark is None:
            self._follow()
        elif not self._later.isActive():
            self._later.start()

    def ask(self) -> None:
        """Learn from what is known now, in the background; of all that is asked, the newest wins."""
        table, classes = self._measuring.table, self._session.keyed
        if not table.values.shape[1]:
            return
        mark, truth = self._go_by(table), self._truth(table.ids, classes)
        asked = (mark, classes, truth.tobytes())
        if asked == self._asked:
            return
        self._asked = asked
        self._number += 1
        work = partial(self._learn, self._number, mark, table.ids, table.values, table.channels, classes, truth)
        before, self._newest = self._newest, self._pool.submit(work)
        if before is not None:
            before.cancel()

    def _go_by(self, table: FeatureTable) -> tuple[FeatureTable, int]:
        """Say which state of the features to go by: the newest, but while many come, not each of them."""
        known = self._mark is not None and self._mark[0] is table and self._marked_ids is table.ids
        if not (known and self._measuring.running and monotonic() - self._marked_at < _RENEW):
            self._mark, self._marked_ids, self._marked_at = (table, table.version), table.ids, monotonic()
        return self._mark

    def _truth(self, ids: NDArray[np.int64], classes: tuple[str, ...]) -> NDArray[np.int64]:
        """Give each specimen's class as a person said it, by its place in `classes`; -1 for none."""
        session, truth = self._session, np.full(len(ids), NOT_KNOWN, np.int64)
        places = np.array([*(classes.index(name) for name in session.classes), NOT_KNOWN], np.int64)
        here, kept = session.places_of(ids)
        by_person = session.rows.author[here] != _BY_CLASSIFIER
        truth[kept] = np.where(by_person, places[session.rows.label[here]], NOT_KNOWN)
        return truth

    def newest(self) -> Lesson | None:
        """Wait for what was asked last, in another thread than the window's; None once the dock is gone."""
        while (future := self._newest) is not None:
            try:
                return future.result()
            except CancelledError:  # something newer was asked
                continue
        return None

    # ------------------------------------------------------------------------------- in the head's thread

    def _learn(
        self,
        number: int,
        mark: tuple[FeatureTable, int],
        ids: NDArray[np.int64],
        values: NDArray[np.float32],
        channels: int,
        classes: tuple[str, ...],
        truth: NDArray[np.int64],
    ) -> Lesson:
        lesson = problem = None
        try:
            if self._space is None or self._space[0] != mark:
                self._space = mark, Space.of(values)
            learnt = learn(self._space[1], truth, len(classes), self._last.head if self._last else None)
            self._last = learnt
            words = None
            if learnt.head is not None:
                digest = blake2b(learnt.head.weights.tobytes() + learnt.head.offsets.tobytes(), digest_size=8)
                head = InstantHead(
                    digest.hexdigest(),
                    classes,
                    channels,
                    learnt.labels,
                    values.shape[1],
                    mark[0].network,
                    tuple(learnt.head.places.tolist()),
                )
                words = HeadWords(head, ids, learnt.probabilities)
            lesson = Lesson(classes, ids, learnt, words)
        except Exception as error:
            problem = error
            raise
        finally:
            try:
                self._came.emit(number, lesson, problem)
            except RuntimeError:  # the dock is gone
                pass
        return lesson

    # ------------------------------------------------------------------------------------- in the window

    def _show(self, number: int, lesson: Lesson | None, problem: Exception | None) -> None:
        if problem is not None:
            notification_manager.receive_error(type(problem), problem, problem.__traceback__)
        elif number >= self._first_wanted:
            self._session.hear(lesson.words)

    def leave(self) -> None:
        """Stop the work and let go of the session, which forgets what the head said."""
        self._session.labels_changed.disconnect(self._follow, missing_ok=True)
        self._session.specimens_changed.disconnect(self._follow, missing_ok=True)
        self._later.stop()
        self._newest, self._first_wanted = None, self._number + 1
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._session.hear(None)
