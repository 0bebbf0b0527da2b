"""Where something is computed: the choice is that of `--on`, and each refusal is a sentence in the dock."""

import sys
import time

import numpy as np
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QPushButton, QScrollArea

from napari_ctc.apply.executors import Place
from napari_ctc.apply.inference import classify
from napari_ctc.apply.workers import cores
from napari_ctc.data.predictions import Predictions
from napari_ctc.events import run
from napari_ctc.gui.place_choice import CLUSTER, HERE, PROCESSES

TIME = 60_000


@pytest.fixture
def dock(make_napari_viewer, drawn_folder, tiny_classifier):
    viewer = make_napari_viewer(show=True)
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Classify folder")[1]
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder / "manifest.csv"))
    dock.form.output.setText("")
    dock.form.advanced.expand(animate=False)
    return dock


class Pulse(QObject):
    """Beats in the window's thread, and keeps the longest time between two beats, in seconds."""

    def __init__(self, parent):
        super().__init__(parent)
        self.longest, self._last = 0.0, time.perf_counter()
        timer = QTimer(self)
        timer.timeout.connect(self._beat)
        timer.start(10)

    def _beat(self):
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, now - self._last), now


def press(qtbot, dock, name="classifyButton"):
    button = dock.findChild(QPushButton, name)
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def opened(qtbot, dock):
    qtbot.waitUntil(dock.open_button.isEnabled, timeout=TIME)


def finished(qtbot, dock):
    qtbot.waitUntil(lambda: dock.running is None, timeout=TIME)


def test_the_choice_is_the_text_that_a_terminal_takes_and_shows_only_what_it_needs(dock, qtbot):
    place = dock.form.place
    assert place.text == "here"
    assert not place.processes.isVisible()
    assert not place.address.isVisible()
    place.kind.setCurrentIndex(PROCESSES)
    assert place.processes.isVisible()
    assert Place.parse(place.text) == Place("processes", cores())
    place.kind.setCurrentIndex(CLUSTER)
    assert place.address.isVisible()
    assert not place.processes.isVisible()
    qtbot.keyClicks(place.address, "10.0.0.7:8786")  # as people say it
    assert Place.parse(place.text) == Place("cluster", address="tcp://10.0.0.7:8786")
    place.address.setText(" tls://node:1 ")
    assert Place.parse(place.text) == Place("cluster", address="tls://node:1")


def test_an_address_that_cannot_be_one_and_a_scheduler_that_is_not_there_are_told(dock, qtbot, monkeypatch):
    place = dock.form.place
    place.kind.setCurrentIndex(CLUSTER)
    for wrong in ("", "nowhere", "http://host:80"):
        place.address.setText(wrong)
        press(qtbot, dock)
        assert dock.running is None
        assert "tcp://HOST:PORT" in dock.state.text()
    from napari_ctc.apply import cluster

    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    place.address.setText("127.0.0.1:9")
    press(qtbot, dock)
    finished(qtbot, dock)
    assert dock.state.text().startswith("No Dask scheduler answers at tcp://127.0.0.1:9. Start one")
    assert dock.go.isEnabled()
    monkeypatch.setitem(sys.modules, "distributed", None)  # as where the extra is not installed
    monkeypatch.delitem(sys.modules, "napari_ctc.apply.cluster")
    press(qtbot, dock)
    finished(qtbot, dock)
    assert "pip install 'napari-ctc[cluster]'" in dock.state.text()
    place.kind.setCurrentIndex(HERE)
    press(qtbot, dock)
    finished(qtbot, dock)
    assert dock.state.text().startswith("Done: 60 specimens")


def test_processes_are_stopped_within_a_second_and_the_window_lives_on(
    dock, drawn_folder, tiny_classifier, qtbot, tmp_path
):
    place = dock.form.place
    place.kind.setCurrentIndex(PROCESSES)
    place.processes.setValue(2)
    pulse = Pulse(dock)
    press(qtbot, dock)
    qtbot.waitUntil(lambda: "in 2 processes" in dock.state.text(), timeout=TIME)
    start = time.perf_counter()
    press(qtbot, dock, "classifyStop")
    finished(qtbot, dock)
    assert time.perf_counter() - start < 2  # a second, and what a busy machine adds
    out = tmp_path / "out.csv"
    dock.form.output.setText(str(out))
    press(qtbot, dock)
    finished(qtbot, dock)
    assert dock.state.text().startswith("Done: 60 specimens")
    assert pulse.longest < 1
    expected = run(classify(drawn_folder / "manifest.csv", tiny_classifier, precision="float32"))
    found = Predictions.read(out)
    assert list(found.table["sha256"]) == list(expected.table["sha256"])
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.005)
    assert dock.counts.item(0, 2).text() == str(expected.counts["tumour cell"])


def test_a_cluster_classifies_for_the_window(dock, cluster, qtbot):
    dock.form.place.kind.setCurrentIndex(CLUSTER)
    dock.form.place.address.setText(cluster.address)
    press(qtbot, dock)
    finished(qtbot, dock)
    assert dock.state.text().startswith("Done: 60 specimens")
    press(qtbot, dock, "openInViewer")
    opened(qtbot, dock)
    assert len(dock.session) == 60


def test_why_a_cluster_was_lost_stays_to_be_read_where_nothing_is_written(dock, tmp_path, qtbot, monkeypatch):
    from clusters import LocalCluster
    from napari_ctc.apply import elsewhere, inference

    monkeypatch.setattr(elsewhere, "BATCHES_IN_PIECE", 1)
    monkeypatch.setattr(inference, "batch_of", lambda _: 1)
    running = LocalCluster(tmp_path, workers=1, nanny=False)
    try:
        running.wait(1)
        dock.form.place.kind.setCurrentIndex(CLUSTER)
        dock.form.place.address.setText(running.address)
        press(qtbot, dock)
        qtbot.waitUntil(lambda: sum(dock.counts.counted.values()) > 0, timeout=TIME)
        running.scheduler.kill()
        finished(qtbot, dock)
    finally:
        running.end()
    assert dock.state.text().startswith("Stopped: ")
    assert f"Not written to a file. The scheduler at {running.address} no longer answers" in dock.state.text()


def test_nothing_is_scrolled_sideways_at_the_width_that_the_dock_asks_for(dock, qtbot):
    dock.form.place.kind.setCurrentIndex(CLUSTER)
    qtbot.wait(50)
    dock.resize(dock.sizeHint())
    qtbot.wait(50)
    assert not dock.findChild(QScrollArea).horizontalScrollBar().isVisible()
