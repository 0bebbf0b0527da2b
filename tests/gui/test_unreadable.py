"""A specimen that cannot be read is called so as soon as it is known, with or without a classifier."""

import pytest

pytest.importorskip("napari")
from labelling_steps import name_classes, open_dock, press, settled
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QLabel

from napari_ctc.gui.canvas_text import caption
from napari_ctc.gui.predicted_model import STATUS
from napari_ctc.gui.rows import Status

TIME = 60_000


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def broken_one(folder):
    """Cut a file short; gives its path and what it was."""
    path = sorted((folder / "slide_2").glob("*.npy"))[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    return path, whole


def opened(viewer, folder):
    viewer.open(str(folder), plugin="napari-ctc")
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    return dock


def index_of(dock, path):
    return next(row for row, name in enumerate(dock.session.rows.name) if name.endswith(path.name))


def status(dock, path):
    return Status(dock.session.status[index_of(dock, path)])


def test_without_a_classifier_it_is_marked_once_measured_and_no_longer_once_mended(viewer, folder, qtbot):
    path, whole = broken_one(folder)
    dock = opened(viewer, folder)
    qtbot.waitUntil(lambda: status(dock, path) is Status.FAILED, timeout=TIME)
    row = dock.model.row_of(index_of(dock, path))
    said = dock.model.data(dock.model.index(row, STATUS))
    assert said.startswith(f"failed: {path.name} is cut short")
    assert (dock.session.status == Status.FAILED).sum() == 1
    dock.session.go_to(index_of(dock, path))
    qtbot.wait(50)
    assert "cannot be read" in caption(dock.session, dock.session.current)
    assert "is cut short" in dock.findChild(QLabel, "detailsFacts").text()
    path.write_bytes(whole)
    qtbot.waitUntil(lambda: not dock.queue.measuring.running, timeout=TIME)
    QApplication.sendEvent(dock, QEvent(QEvent.Type.WindowActivate))
    qtbot.waitUntil(lambda: status(dock, path) is Status.NONE, timeout=TIME)
    stack, place = dock.session.locate(index_of(dock, path))
    assert stack.problem(place) == "" and stack.frame(place).any()  # and the canvas shows it


def test_it_is_marked_when_the_canvas_shows_it_although_nothing_is_measured(viewer, folder, qtbot, monkeypatch):
    from napari_ctc.gui import measuring

    monkeypatch.setattr(measuring, "MOST", 0)
    path, _ = broken_one(folder)
    dock = opened(viewer, folder)
    qtbot.wait(50)
    assert status(dock, path) is Status.NONE
    dock.session.go_to(index_of(dock, path))
    qtbot.waitUntil(lambda: status(dock, path) is Status.FAILED, timeout=TIME)


def test_the_instant_head_calls_it_failed_and_not_waiting(viewer, folder, qtbot):
    path, _ = broken_one(folder)
    dock = open_dock(viewer, qtbot, folder)
    session = dock.session
    name_classes(qtbot, dock, ("a", "b"))
    session.go_to(0)
    for key in "1122":
        press(qtbot, dock.table, key)
        settled(qtbot, dock)
    qtbot.waitUntil(lambda: session.speaking == "head", timeout=TIME)
    qtbot.waitUntil(lambda: Status.PENDING not in session.status, timeout=TIME)
    assert status(dock, path) is Status.FAILED
    assert session.reason(index_of(dock, path)).startswith(f"{path.name} is cut short")
