"""Run a job of the core in a thread beside the window: the one bridge between generators and Qt.

A job (see `napari_ctc.events`) is driven by hand inside a napari worker, so that the end, a stop, a failure and
a closed window all arrive in one place, in the worker's thread. What a job does is the business of `learn` and
`apply`; what a dock makes of its events is the dock's.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.qt.threading import GeneratorWorker, create_worker
from napari.utils import progress
from napari.utils.notifications import notification_manager, show_error
from qtpy.QtCore import QEvent, QObject, QThreadPool
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_ctc.errors import CTCError, JobError, Stopped
from napari_ctc.events import EpochDone, Event, StepDone
from napari_ctc.gui.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_ctc.events import Job

_JOBS_AT_ONCE = 8  # a short one, as of thumbnails, does not wait for the end of a training
_HOW_FAR = (StepDone, EpochDone)
_SECONDS_BETWEEN_REPAINTS = 1.0  # of the activity area, which takes the window more time than a dock's own bar


def start(
    job: Job[Any],
    *,
    parent: QWidget,
    name: str,
    on_event: Callable[[Event], object] | None = None,
    on_result: Callable[[Any], object] | None = None,
    on_error: Callable[[Exception], object] | None = None,
    on_finished: Callable[[], object] | None = None,
    quiet: bool = False,
) -> RunningJob:
    """Start a job in a thread of its own; it is stopped when its widget goes.

    Parameters
    ----------
    job : Job
        A generator that has not begun. Its body runs in the worker's thread, imports included.
    parent : QWidget
        The widget that the job works for. When it, its dock or the window is closed, the job is stopped.
    name : str
        What the job is called in napari's activity area and in its question before closing.
    on_event, on_result, on_error, on_finished : bound methods of `parent` or of another QWidget
        Called in the window's thread: with each event in order (of steps that follow closely only the last, and
        epochs some seconds late where the window takes long to be drawn), with the result, with the exception,
        and last, whatever happened, with nothing. A stopped job has a result, too, unless it had nothing to give.
    quiet : bool
        Whether the job goes without a bar in napari's activity area, as one should that runs every few seconds,
        or whose dock has a bar. A wheel turns in that area meanwhile, and each of its 29 pictures a second has
        the whole window drawn anew: without a graphics card, half of a training's rate.

    Returns
    -------
    RunningJob
        With `stop()` and `running`.

    Notes
    -----
    An error is shown to the person whether or not there is an `on_error`: one of the project's own as its
    sentence, any other with its traceback. A `RuntimeError`, as of torch for too little memory, arrives as a
    `JobError`.
    """
    pool = QThreadPool.globalInstance()
    pool.setMaxThreadCount(max(_JOBS_AT_ONCE, pool.maxThreadCount()))  # Qt's own bound is the number of cores
    running = RunningJob(job, parent, name, quiet)
    for signal, slot in (
        (running.worker.yielded, on_event),
        (running.worker.returned, on_result),
        (running.worker.errored, on_error),
    ):
        if slot is not None:
            signal.connect(slot)
    running.listen()
    if on_finished is not None:
        running.worker.finished.connect(on_finished)
    running.worker.start()
    return running


class RunningJob(QObject):
    """A job at work: stop it, or ask whether it still runs. Made by `start`."""

    def __init__(self, job: Job[Any], parent: QWidget, name: str, quiet: bool = False) -> None:
        super().__init__(parent)
        self.running = True
        self._pace = Pace(self)
        self.worker = create_worker(
            _Named(_pump, name),
            job,
            _Stop(),
            self._pace,
            _start_thread=False,
            _worker_class=JobWorker,
            _ignore_errors=True,  # else superqt raises them again, inside a Qt slot
        )
        self._progress = None if quiet else progress(total=0, desc=name)
        self._painted = 0.0
        self._painting = False
        self._owners = [owner for owner in (parent, _dock_of(parent)) if owner is not None]
        for owner in self._owners:
            owner.destroyed.connect(self.worker.stop_request.set)

    def stop(self) -> None:
        """Ask the job to end at its next event with what it has."""
        self.worker.quit()

    @property
    def stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self.worker.stop_request.is_set()

    def listen(self) -> None:
        """Follow the worker; called once, after the dock's own slots are connected, so that those go first."""
        self.worker.yielded.connect(self._pace.told)
        self.worker.errored.connect(self._show_error)
        self.worker.finished.connect(self._end)
        if self._progress is not None:
            self.worker.yielded.connect(self._show_progress)
            self.worker.finished.connect(self._progress.close)  # also where this object is gone by then

    def _show_progress(self, event: Event) -> None:
        """Move the bar in the activity area, which repaints the window and so lets other events in."""
        now = time.monotonic()
        if self._painting or (now - self._painted < _SECONDS_BETWEEN_REPAINTS and event.done < event.total):
            return
        self._painting, self._painted = True, now
        try:
            if event.total != self._progress.total:
                self._progress.total = event.total
            if event.done != self._progress.n and not self._progress.disable:
                self._progress.update(event.done - self._progress.n)
        finally:
            self._painting = False

    def _show_error(self, error: Exception) -> None:
        if isinstance(error, CTCError):
            show_error(str(error))
        else:
            notification_manager.receive_error(type(error), error, error.__traceback__)

    def _end(self) -> None:
        """Leave nothing behind: a dock may start thousands of jobs."""
        self.running = False
        for owner in self._owners:
            with suppress(RuntimeError):  # it is gone already
                owner.destroyed.disconnect(self.worker.stop_request.set)
        self._owners.clear()
        self.deleteLater()


class JobWorker(GeneratorWorker):
    """A worker that ends its generator in its own thread, and loses no error."""

    def __init__(self, func: Callable[..., Any], job: Job[Any], stop: _Stop, pace: Pace) -> None:
        self.stop_request = stop
        super().__init__(func, job, stop, pace)

    def quit(self) -> None:
        """Stop the job with what it has, instead of abandoning it: napari calls this when the window closes."""
        self.stop_request.set()

    def work(self) -> Any:
        """Drive the job to its end."""
        try:
            result = super().work()
        except Stopped:  # the job had nothing to give
            super().quit()
            return None
        except MemoryError as problem:
            result = problem
        finally:
            self._gen.close()
        if isinstance(result, (RuntimeError, MemoryError)):  # superqt would swallow the former
            logging.getLogger(__name__).error("A job failed.", exc_info=result)
            traceback.clear_frames(result.__traceback__)  # they may hold the memory that ran out
            reason = str(result).strip().split("\n")[0] or "there is too little memory."
            raise JobError(f"The computation failed: {reason}") from result
        return result


def close_with_dock(widget: QWidget, event: QEvent) -> None:
    """Delete a dock's widget once napari has taken it out of its dock; call it from the widget's `event`.

    Left to Python, it would be collected later, perhaps in a worker's thread, which Qt does not survive.
    """
    if event.type() == QEvent.Type.ParentChange and widget.parent() is None:
        widget.deleteLater()


def _pump(job: Job[Any], stop: _Stop, pace: Pace) -> Generator[Event, None, Any]:
    """Hand on the events of a job, throw `Stopped` into it once when asked to, and return its result.

    Those that only say how far it is wait for each other, so that the window is drawn once for all of them.
    """
    waiting: list[Event] = []
    sent = 0.0
    try:
        event = next(job)
        while True:
            if waiting and isinstance(waiting[-1], StepDone) and isinstance(event, _HOW_FAR):
                waiting.pop()  # the old one says nothing any more
            waiting.append(event)
            now = time.monotonic()
            if now - sent > pace.seconds or not isinstance(event, _HOW_FAR):
                yield from waiting
                waiting.clear()
                sent = now
            event = job.throw(Stopped()) if stop.take() else next(job)
    except StopIteration as end:
        yield from waiting
        return end.value
    except Exception:
        yield from waiting
        raise
    finally:
        job.close()


class _Stop:
    """A request that any thread may make and the job's thread answers once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._answered = False

    def set(self, _sender: object = None) -> None:
        self._asked.set()

    def is_set(self) -> bool:
        return self._asked.is_set()

    def take(self) -> bool:
        if self._answered or not self._asked.is_set():
            return False
        self._answered = True
        return True


class _Named(partial):  # type: ignore[type-arg]
    """A generator function that napari's questions call by a name that a person knows."""

    def __new__(cls, function: Callable[..., Any], name: str) -> _Named:
        self = super().__new__(cls, function)
        self.name = name
        return self

    def __str__(self) -> str:
        return self.name

    def __format__(self, _spec: str) -> str:
        return self.name


def _dock_of(widget: QWidget) -> QDockWidget | None:
    while widget is not None and not isinstance(widget, QDockWidget):
        widget = widget.parentWidget()
    return widget
