"""Jobs in the window's worker threads: results, order, stops, failures, and closed docks and windows."""

import threading
import time

import pytest

pytest.importorskip("napari")
from napari.utils import progress
from napari.utils.notifications import NotificationSeverity, notification_manager
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QWidget

from napari_ctc.errors import SpecimenError, Stopped
from napari_ctc.events import EpochDone, Said, StepDone
from napari_ctc.gui.jobs import RunningJob, close_with_dock, start

TIME = 5000


class Listener(QWidget):
    """A dock's widget that notes what it is told."""

    def __init__(self):
        super().__init__()
        self.heard, self.threads = [], set()
        self.result = self.error = None
        self.usable = True

    def event(self, event):
        close_with_dock(self, event)
        return super().event(event)

    def go(self, job):
        self.usable = False
        self.job = start(
            job,
            parent=self,
            name="A test job",
            on_event=self.hear,
            on_result=self.take,
            on_error=self.fail,
            on_finished=self.end,
        )
        return self.job

    def hear(self, event):
        self.threads.add(threading.current_thread())
        self.heard.append(event)

    def take(self, result):
        self.result = result

    def fail(self, error):
        self.error = error

    def end(self):
        self.usable = True


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")


@pytest.fixture
def listener(make_napari_viewer):
    viewer = make_napari_viewer()
    widget = Listener()
    viewer.window.add_dock_widget(widget, name="listener")
    return widget


@pytest.fixture
def notes():
    notification_manager.records.clear()
    yield notification_manager.records
    notification_manager.records.clear()


def count_to(number, pause=0.0):
    for done in range(1, number + 1):
        yield Said(text=str(done), done=done, total=number)
        time.sleep(pause)
    return number


def endless(told, pause=0.01):
    """Count until it is stopped, and return what it has."""
    done = 0
    try:
        while True:
            done += 1
            yield StepDone(done=done, total=0, epoch=1, epochs=1)
            time.sleep(pause)
    except Stopped:
        told.append("stopped")
        return done
    finally:
        told.append(threading.current_thread())


def no_thread_left():
    return QThreadPool.globalInstance().activeThreadCount() == 0


def test_a_job_gives_its_result_and_its_events_in_order_in_the_windows_thread(listener, qtbot):
    job = listener.go(count_to(50))
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert listener.result == 50
    assert [event.done for event in listener.heard] == list(range(1, 51))
    assert listener.threads == {threading.main_thread()}
    assert not job.running
    assert listener.error is None


def test_the_body_of_a_job_runs_outside_the_windows_thread(listener, qtbot):
    told = []
    job = listener.go(endless(told))
    qtbot.waitUntil(lambda: bool(listener.heard), timeout=TIME)
    job.stop()
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert told[0] == "stopped"
    assert told[1] is not threading.main_thread()


def test_a_stopped_job_gives_what_it_has(listener, qtbot):
    job = listener.go(endless([]))
    qtbot.waitUntil(lambda: len(listener.heard) > 2, timeout=TIME)
    job.stop()
    job.stop()
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert listener.result >= len(listener.heard) > 2
    assert job.stopping


def test_a_stopped_job_with_nothing_to_give_ends_without_result_or_error(listener, qtbot, notes):
    job = listener.go(count_to(1000, pause=0.01))
    qtbot.waitUntil(lambda: bool(listener.heard), timeout=TIME)
    job.stop()
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert listener.result is None
    assert listener.error is None
    assert not notes


def test_steps_that_follow_closely_do_not_flood_the_window(listener, qtbot):
    def steps():
        for done in range(5000):
            yield StepDone(done=done, total=5000, epoch=1, epochs=1)
        yield Said(text="the end")
        return True

    listener.go(steps())
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    *_, last, end = listener.heard
    assert end.text == "the end"
    assert last.done == 4999
    assert len(listener.heard) < 100


@pytest.mark.parametrize("ends_with", [None, SpecimenError("a.npy is gone.")])
def test_every_epoch_is_told_in_order_also_those_that_followed_closely(listener, qtbot, ends_with):
    def epochs():
        for epoch in range(1, 41):
            for step in range(3):
                yield StepDone(done=3 * epoch + step, total=130, epoch=epoch, epochs=40)
            yield EpochDone(
                done=3 * epoch + 3,
                total=130,
                epoch=epoch,
                epochs=40,
                training_loss=0.5,
                validation_loss=0.5,
                scores=None,
                kept=True,
            )
        if ends_with is not None:
            raise ends_with
        return True

    listener.go(epochs())
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert [event.epoch for event in listener.heard if isinstance(event, EpochDone)] == list(range(1, 41))
    assert [event.done for event in listener.heard] == sorted(event.done for event in listener.heard)
    assert sum(isinstance(event, StepDone) for event in listener.heard) < 10


def test_an_error_of_ours_is_shown_as_its_one_sentence(listener, qtbot, notes):
    def fails():
        yield Said(text="well")
        raise SpecimenError("a.npy is empty (0 bytes). Copy or save it again.")

    listener.go(fails())
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert isinstance(listener.error, SpecimenError)
    (note,) = notes
    assert note.message == "a.npy is empty (0 bytes). Copy or save it again."
    assert note.severity == NotificationSeverity.ERROR
    assert not hasattr(note, "exception")


def test_a_bug_keeps_its_traceback(listener, qtbot, notes):
    def fails():
        yield Said(text="well")
        raise KeyError("weights")

    listener.go(fails())
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    (note,) = notes
    assert isinstance(note.exception, KeyError)
    assert note.exception.__traceback__ is not None
    assert listener.error is note.exception


@pytest.mark.parametrize("problem", [RuntimeError("CUDA out of memory.\nTried to allocate"), MemoryError()])
def test_a_runtime_error_reaches_the_person_and_leaves_the_dock_usable(listener, qtbot, notes, problem):
    def fails():
        yield Said(text="well")
        raise problem

    listener.go(fails())
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    (note,) = notes
    assert note.message.startswith("The computation failed: ")
    assert "memory." in note.message
    assert str(listener.error) == note.message
    listener.go(count_to(3))
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert listener.result == 3


def test_a_failure_before_the_first_event_reaches_the_person(listener, qtbot, notes):
    def fails():
        raise RuntimeError("no kernel image")
        yield

    listener.go(fails())
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    assert "no kernel image" in notes[0].message


def test_the_activity_area_shows_how_far_a_job_is_and_forgets_it(listener, qtbot):
    before = set(progress._all_instances)
    listener.go(count_to(80, pause=0.02))
    qtbot.waitUntil(lambda: len(listener.heard) > 75, timeout=TIME)
    (bar,) = set(progress._all_instances) - before
    assert bar.total == 80
    assert bar.n > 5
    assert bar.desc.startswith("A test job")
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    qtbot.waitUntil(lambda: set(progress._all_instances) == before, timeout=TIME)


def test_closing_the_dock_stops_its_job_in_the_workers_thread(make_napari_viewer, qtbot):
    viewer, told = make_napari_viewer(), []
    widget = Listener()
    dock = viewer.window.add_dock_widget(widget, name="listener")
    widget.go(endless(told))
    qtbot.waitUntil(lambda: bool(widget.heard), timeout=TIME)
    dock.destroyOnClose()
    qtbot.waitUntil(no_thread_left, timeout=TIME)
    assert told[0] == "stopped"
    assert told[1] is not threading.main_thread()
    qtbot.waitUntil(lambda: len(progress._all_instances) == 0, timeout=TIME)


def test_closing_the_viewer_stops_its_jobs_in_the_workers_thread(make_napari_viewer, qtbot):
    viewer, told = make_napari_viewer(), []
    widget = Listener()
    viewer.window.add_dock_widget(widget, name="listener")
    widget.go(endless(told))
    qtbot.waitUntil(lambda: bool(widget.heard), timeout=TIME)
    viewer.close()
    qtbot.waitUntil(no_thread_left, timeout=TIME)
    assert told[0] == "stopped"
    assert told[1] is not threading.main_thread()


def test_napari_asks_by_the_jobs_name_before_it_closes(listener, qtbot, make_napari_viewer):
    job = listener.go(endless([]))
    qtbot.waitUntil(lambda: bool(listener.heard), timeout=TIME)
    window = listener.window()
    (status,) = window._window._task_status_manager.get_status()
    assert "A test job" in status
    assert "_pump" not in status
    job.stop()
    qtbot.waitUntil(lambda: listener.usable, timeout=TIME)


def test_jobs_that_ended_leave_nothing_behind(listener, qtbot):
    for _ in range(5):
        listener.go(count_to(2))
        qtbot.waitUntil(lambda: listener.usable, timeout=TIME)
    qtbot.waitUntil(lambda: len(listener.findChildren(RunningJob)) == 0, timeout=TIME)
    assert not listener.job.running
    listener.job.stop()  # too late, and harmless
