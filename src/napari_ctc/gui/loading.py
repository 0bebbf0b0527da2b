"""Load a classifier from its file for the session, in a thread; of several asked for, the last comes into use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.errors import CTCError
from napari_ctc.gui.jobs import RunningJob, start
from napari_ctc.gui.train_jobs import load

if TYPE_CHECKING:
    from napari_ctc.gui.session import Session
    from napari_ctc.learn.classifier import Classifier


class Loading(QWidget):
    """Loads classifiers for one dock. Invisible; a child of it.

    Parameters
    ----------
    session : Session
        The classifier becomes the one that all docks use, unless another was asked for meanwhile, in any of them.
    parent : QWidget
        When it goes, so does the work.
    """

    said = Signal(str, bool)  # a sentence on it, and whether something is wrong
    ended = Signal()  # nothing is being loaded any more

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()
        self._session = session
        self._newest: _One | None = None

    @property
    def running(self) -> bool:
        """Whether something is being loaded."""
        return self._newest is not None

    def begin(self, path: Path) -> None:
        """Begin to load a file; what was being loaded until now is given up."""
        self.leave()
        self._newest = _One(self, self._session, path)
        self.said.emit(f"Loading {path.name}…", False)

    def leave(self) -> None:
        """Give up what is being loaded."""
        if self._newest is not None:
            self._newest.job.stop()

    def is_newest(self, one: _One) -> bool:
        """Tell whether a file is the one that was asked for last here."""
        return one is self._newest

    def end(self, one: _One) -> None:
        """Forget a file that was loaded, or could not be."""
        if self.is_newest(one):
            self._newest = None
            self.ended.emit()
        one.deleteLater()


class _One(QWidget):
    """One file that is being loaded."""

    def __init__(self, loading: Loading, session: Session, path: Path) -> None:
        super().__init__(loading)
        self.hide()
        self._loading, self._session = loading, session
        self._asked = session.ask()
        channels = int(session.rows.channels[0]) if len(session) else None
        self.job: RunningJob = start(
            load(path, channels),
            parent=self,
            name=f"Loading {path.name}",
            on_result=self._use,
            on_error=self._refuse,
            on_finished=self._end,
        )

    def _use(self, result: tuple[Classifier, Path] | None) -> None:
        if result is None or not self._loading.is_newest(self):
            return
        name = result[1].name
        if self._session.is_newest(self._asked):
            self._session.use(*result)
            self._loading.said.emit(f"Loaded {name}; it is in use.", False)
        else:
            told = f"{name} was not taken into use: another classifier was asked for since."
            self._loading.said.emit(told, False)

    def _refuse(self, problem: Exception) -> None:
        if not self._loading.is_newest(self):
            return  # napari tells of it; the line is the newer one's
        told = str(problem) if isinstance(problem, CTCError) else f"Something went wrong: {problem!r}."
        kept = "" if self._session.classifier is None else " The classifier in use stays."
        self._loading.said.emit(told + kept, True)

    def _end(self) -> None:
        self._loading.end(self)
