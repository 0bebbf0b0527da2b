"""Classify in the background what is open and has no current prediction, and notice files that change.

Works for one dock and ends with it. What is known of each specimen is kept by the session.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.events import Classified, Event, Said
from napari_ctc.gui.file_changes import FilesChanged, look_for_changes
from napari_ctc.gui.jobs import start
from napari_ctc.gui.rows import NOT_KNOWN, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.predictions import Predictions
    from napari_ctc.events import Job
    from napari_ctc.gui.file_changes import Facts
    from napari_ctc.gui.session import Session
    from napari_ctc.learn.classifier import Classifier

_GATHER_MS = 60  # layers come and go one by one; wait until they have
_LOOK_MS = 10_000  # between two looks at the files
_PATIENCE = 20  # times as long as the last look took: a slow drive is not kept busy with looking
_SOON_MS = 250  # after the slider came to rest


class Background(QWidget):
    """Keeps a session's predictions current. Invisible; a child of the dock that shows them.

    Parameters
    ----------
    session : Session
    parent : QWidget
        When it goes, so does the work.

    Attributes
    ----------
    measured : callable
        Gives, of specimens by their ids, what is known of the files that others than a classifier read.
    """

    measured: Callable[[NDArray[np.int64]], Sequence[Facts]] = staticmethod(lambda _ids: ())
    progressed = Signal(int, int)  # specimens done and to do; 0, 0 when there is nothing to do
    said = Signal(str)  # why nothing is classified until something changes, or what to know of what was
    files_changed = Signal(object, object, object)  # ids of specimens, and size and time of their files now

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("background")
        self.hide()
        self._session = session
        self._classifying = self._looking = None
        self._ids = self._looked_at = np.zeros(0, np.int64)
        self._progress_made, self._problem = True, ""
        self._warnings: dict[str, None] = {}  # of what is open now, in order and each once
        self._left = False
        self._gather = self._timer(_GATHER_MS, self._begin)
        self._look_again = self._timer(_LOOK_MS, self._look_at_all)
        self._look_soon = self._timer(_SOON_MS, self._look_at_current)
        session.classifier_changed.connect(self._ask)
        session.specimens_changed.connect(self._ask)
        session.current_changed.connect(self._current_changed)
        self._ask()
        self._look_again.start()

    def _timer(self, milliseconds: int, slot: object) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.timeout.connect(slot)
        return timer

    @property
    def busy(self) -> bool:
        """Whether something is being classified or about to be."""
        return self._classifying is not None or self._gather.isActive()

    # ---------------------------------------------------------------------------------------- classifying

    def _ask(self, _changed: object = None) -> None:
        """Begin anew with what is open now: the newest request wins."""
        self._progress_made, self._problem = True, ""
        self._warnings.clear()
        if self._classifying is not None:
            self._classifying.stop()
        self._gather.start()

    def _begin(self) -> None:
        if self._classifying is not None:
            return  # `_end` begins again
        session, classifier = self._session, self._session.classifier
        todo = self._todo()
        if classifier is None or not len(todo) or not self._progress_made:
            self.progressed.emit(0, 0)
            if told := " ".join([*self._warnings, self._problem]).strip():
                self.said.emit(told)
            return
        self._problem = ""
        self._ids = session.rows.ids[todo]
        self._progress_made = False
        self.progressed.emit(0, len(todo))
        self._classifying = start(
            _classify(session.manifest_later(todo), classifier),
            parent=self,
            name=f"Classifying {len(todo):,} specimens",
            on_event=self._hear,
            on_error=self._fail,
            on_finished=self._end,
            quiet=True,
        )

    def _todo(self) -> NDArray[np.intp]:
        """Return what is to be classified, from the current specimen on; all of one layout."""
        session = self._session
        status = session.classified
        todo = np.flatnonzero((status == Status.PENDING) | (status == Status.STALE))
        todo = np.roll(todo, -int(np.searchsorted(todo, max(session.current, 0))))
        return session.of_one_layout(todo) if len(todo) else todo

    def _hear(self, event: Event) -> None:
        if self._left:
            return
        if isinstance(event, Classified):
            self._progress_made = True
            self._session.accept(self._ids[list(event.indices)], event.rows)
        elif isinstance(event, Said) and event.warning:
            self._warnings[event.text] = None
        if event.total:
            self.progressed.emit(event.done, event.total)

    def _fail(self, problem: Exception) -> None:
        self._problem = str(problem)
        self._progress_made = False

    def _end(self) -> None:
        """Go on with what came up meanwhile; a job that got nowhere is not tried again until asked."""
        self._classifying = None
        if not self._left:
            self._gather.start()

    def leave(self) -> None:
        """Stop all work and let go of the session."""
        session = self._session
        session.classifier_changed.disconnect(self._ask, missing_ok=True)
        session.specimens_changed.disconnect(self._ask, missing_ok=True)
        session.current_changed.disconnect(self._current_changed, missing_ok=True)
        for timer in (self._gather, self._look_again, self._look_soon):
            timer.stop()
        self._left = True
        for job in (self._classifying, self._looking):
            if job is not None:
                job.stop()

    # -------------------------------------------------------------------------------- looking at the files

    def look(self) -> None:
        """Look at the files now, as when the window gets the focus."""
        self._look_again.start(0)

    def _current_changed(self, _index: int) -> None:
        self._look_soon.start()

    def _look_at_current(self) -> None:
        current = self._session.current
        if 0 <= current < len(self._session):
            self._note_canvas(current)
            self._look_at(np.array([current]))

    def _note_canvas(self, current: int) -> None:
        """Note whether the specimen on the canvas could be read."""
        stack, place = self._session.locate(current)
        problem = stack.problem(place)
        if problem is not None:
            self._session.note_read(self._session.rows.ids[[current]], [problem])

    def _look_at_all(self) -> None:
        if not self._look_at(np.arange(len(self._session))):
            self._look_again.start(_LOOK_MS)

    def _look_at(self, indices: NDArray[np.intp]) -> bool:
        """Begin to look at the files of specimens that were classified or measured; tells whether it did."""
        if self._looking is not None:
            return False
        rows = self._session.rows
        classified = (rows.by[indices] != NOT_KNOWN) & ~rows.changed[indices]
        facts = [(rows.bytes[indices], np.where(classified, rows.modified[indices], ""))]
        facts += self.measured(rows.ids[indices])
        known = np.any([modified != "" for _, modified in facts], axis=0)
        indices = indices[known]
        if not len(indices):
            return False
        self._looked_at = rows.ids[indices]
        self._look_again.stop()
        self._began = time.monotonic()
        self._looking = start(
            look_for_changes(
                self._session.paths_later(indices), [(sizes[known], modified[known]) for sizes, modified in facts]
            ),
            parent=self,
            name="Looking for changed files",
            on_event=self._hear_changes,
            on_finished=self._end_look,
            quiet=True,
        )
        return True

    def _hear_changes(self, event: Event) -> None:
        if isinstance(event, FilesChanged) and not self._left:
            ids = self._looked_at[list(event.rows)]
            sizes, modified = np.array(event.sizes, np.int64), np.array(event.modified, object)
            here, kept = self._session.places_of(ids)
            rows = self._session.rows
            other = (rows.bytes[here] != sizes[kept]) | (rows.modified[here] != modified[kept])
            other &= rows.modified[here] != ""
            self._session.mark_changed(rows.ids[here[other]])
            self.files_changed.emit(ids, sizes, modified)
            current = self._session.current
            if 0 <= current < len(self._session) and self._session.rows.ids[current] in ids:
                self._session.show_anew(current)
            if other.any():
                self._ask()

    def _end_look(self) -> None:
        self._looking = None
        if self._left:
            return
        took = 1000 * (time.monotonic() - self._began)
        self._look_again.start(int(max(_LOOK_MS, _PATIENCE * took)))


# ------------------------------------------------------------------------------------------------ the jobs


def _classify(manifest: Callable[[], Manifest], classifier: Classifier) -> Job[Predictions]:
    """Import torch in the worker's thread."""
    from napari_ctc.apply.inference import classify

    yield Event()
    return (yield from classify(manifest(), classifier))
