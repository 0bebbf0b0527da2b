"""The dock "Classify folder" in a real window: from a folder with a broken file to a table and to the viewer."""

import threading
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QMessageBox, QPushButton

from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.predictions import Predictions, columns
from napari_ctc.data.specimens import Layout
from napari_ctc.gui.classify_counts import CountsTable
from napari_ctc.gui.classify_jobs import worth_looking_at
from napari_ctc.gui.exported import predictions_of
from napari_ctc.gui.rows import Status

TIME = 60_000


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer):
    return viewer.window.add_plugin_dock_widget("napari-ctc", "Classify folder")[1]


@pytest.fixture
def classifier_file(tiny_classifier, tmp_path):
    path = tmp_path / "tiny.safetensors"
    tiny_classifier.save(path)
    return path


def press(qtbot, dock, name):
    button = dock.findChild(QPushButton, name)
    assert button.isEnabled(), button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def opened(qtbot, dock):
    qtbot.waitUntil(dock.open_button.isEnabled, timeout=TIME)


def finished(qtbot, dock):
    qtbot.waitUntil(lambda: dock.running is None, timeout=TIME)
    qtbot.wait(20)


def broken_one(folder):
    path = sorted((folder / "slide_2").glob("*.npy"))[0]
    path.write_bytes(path.read_bytes()[:300])
    return f"slide_2/{path.name}"


def test_nothing_can_be_classified_before_all_is_chosen(dock, drawn_folder, tiny_classifier, qtbot):
    button = dock.findChild(QPushButton, "classifyButton")
    assert not button.isEnabled()
    assert "Choose what to classify" in button.toolTip() and dock.missing.text() == button.toolTip()
    qtbot.keyClicks(dock.form.input, str(drawn_folder))
    assert "classifier" in button.toolTip()
    dock.session.classifier = tiny_classifier
    assert button.isEnabled() and dock.missing.isHidden()
    dock.state.setText("Done: 5 specimens in 0:01.")  # of a run before
    dock.form.output.setText("table.xlsx")
    assert not button.isEnabled()
    assert ".csv or .parquet" in button.toolTip()
    assert dock.missing.text() == button.toolTip() and not dock.missing.isHidden()


def test_a_folder_with_a_dot_in_its_name_is_no_file_whose_table_lies_beside_it(dock, tmp_path):
    folder = tmp_path / "patient.1"
    folder.mkdir()
    dock.form.ask_folder = lambda: str(folder)
    dock.form.findChild(QPushButton, "classifyFolderButton").click()
    assert dock.form.output.text() == str(folder / "predictions.csv")
    dock.form.input.setText(str(tmp_path / "patient.1.npy"))
    assert dock.form.output.text() == str(tmp_path / "patient.1_predictions.csv")


def test_a_folder_of_which_nothing_can_be_read_has_nothing_to_open(dock, tiny_classifier, qtbot, tmp_path):
    for number in range(2):
        np.save(tmp_path / f"cell_{number}.npy", np.full((8, 8, 4), np.nan))
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(tmp_path))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    assert dock.skipped.count == 2
    assert (
        dock.skipped.files.item(0).text().startswith("cell_0.npy has 256 pixel values in channels 1, 2, 3 and 4")
    )
    assert not dock.open_button.isEnabled()


def test_counts_of_another_classifier_are_called_so(dock, drawn_folder, tiny_classifier, qtbot):
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    assert dock.missing.isHidden()
    other = {name: getattr(tiny_classifier, name) for name in ("classes", "channel_count", "calibrated")}
    dock.session.classifier = Mock(digest="c" * 64, **other)
    assert f"by another classifier ({tiny_classifier.digest[:8]})" in dock.missing.text()
    dock.session.classifier = tiny_classifier
    assert dock.missing.isHidden()


def test_what_a_run_shows_does_not_make_the_window_grow(viewer, dock, own_folder, tiny_classifier, qtbot):
    window = viewer.window._qt_window
    broken_one(own_folder)
    dock.session.classifier = tiny_classifier
    before = window.minimumSizeHint().height()
    dock.form.input.setText(str(own_folder))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    qtbot.wait(50)
    assert window.minimumSizeHint().height() == before


def test_a_folder_with_a_broken_file_is_classified_and_opened(
    viewer, dock, own_folder, classifier_file, tiny_classifier, qtbot
):
    broken = broken_one(own_folder)
    (own_folder / "manifest.csv").unlink()  # the folders are the sources then
    dock.form.ask_folder = lambda: str(own_folder)
    dock.form.ask_classifier = lambda: str(classifier_file)
    press(qtbot, dock, "classifyFolderButton")
    press(qtbot, dock, "classifyLoadButton")
    qtbot.waitUntil(lambda: dock.session.classifier is not None, timeout=TIME)
    qtbot.wait(50)
    assert "tiny.safetensors" in dock.form.classifier.text()
    out = own_folder / "predictions.csv"
    assert dock.form.output.text() == str(out)
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)

    read = Predictions.read(out)
    assert len(read) == 60
    assert list(read.table["path"][read.table["error"] != ""]) == [broken]
    assert "59 specimens" in dock.state.text()
    assert dock.skipped.count == 1
    assert "cut short" in dock.skipped.files.item(0).text()
    counts = dock.counts
    shown = [int(counts.item(0, column).text()) for column in range(3)]
    assert shown == list(read.counts.values())
    assert counts.rowCount() == 9  # all of them, and 8 slides
    by_slide = np.array([[int(counts.item(row, column).text()) for column in range(4)] for row in range(1, 9)])
    assert by_slide.sum() == 60

    press(qtbot, dock, "openInViewer")
    assert len(dock.session) == 0 and not dock.open_button.isEnabled()  # it is read in a thread
    opened(qtbot, dock)
    session = dock.session
    assert len(session) == 60
    said = session.status.copy()
    assert list(said[:-1]) == [Status.CURRENT] * 59
    assert said[-1] == Status.FAILED
    order = worth_looking_at(dock.predictions)
    assert list(session.rows.name) == list(dock.predictions.table["path"].iloc[order])
    assert session.rows.name[-1] == broken
    counted = [read.counts[session.classes[code]] for code in session.rows.predicted[:-1]]
    assert counted == sorted(counted)
    assert viewer.dims.current_step[0] == 0
    assert any("Predicted classes" in name for name in viewer.window.dock_widgets)
    table = next(w for name, w in viewer.window.dock_widgets.items() if "Predicted classes" in name)
    qtbot.wait(300)
    assert table.background._classifying is None  # nothing is classified twice
    exported = predictions_of(session)
    np.testing.assert_allclose(exported.probabilities[:-1], dock.predictions.probabilities[order][:-1], atol=1e-6)
    assert list(exported.table["sha256"][:-1]) == list(read.table["sha256"].iloc[order][:-1])


def test_opening_the_result_takes_the_place_of_the_same_specimens_and_keeps_their_labels(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    viewer.open(str(drawn_folder / "manifest.csv"), plugin="napari-ctc")
    labels = dict(zip(dock.session.manifest().keys, dock.session.manifest().table["label"], strict=True))
    layers = len(viewer.layers)
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    for _ in range(2):
        press(qtbot, dock, "openInViewer")
        opened(qtbot, dock)
        assert len(dock.session) == 60
        assert len(viewer.layers) == layers
        assert "in place of" in dock.state.text()
        assert set(dock.session.status) == {Status.CURRENT}
        table = dock.session.manifest().table
        assert dict(zip(table["path"], table["label"], strict=True)) == labels
        assert viewer.dims.current_step[0] == 0


def test_stopping_mid_run_keeps_what_is_done(dock, drawn_folder, tiny_classifier, qtbot, tmp_path, monkeypatch):
    from napari_ctc.apply import chunks, inference, streams

    read = chunks.read_bulk
    first, ending = Manifest.open(drawn_folder).keys[0], threading.Event()

    def held(_root, keys, *more):
        if keys[0] != first:
            ending.wait(TIME / 1000)  # the second batch is not there before the job has heard of the stop
        return read(_root, keys, *more)

    class Streams(streams.Streams):
        def close(self):
            ending.set()
            super().close()

    monkeypatch.setattr(inference, "batch_of", lambda _: 8)
    monkeypatch.setattr(chunks, "read_bulk", held)
    monkeypatch.setattr(chunks, "Streams", Streams)
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    out = tmp_path / "some.parquet"
    dock.form.output.setText(str(out))
    press(qtbot, dock, "classifyButton")
    qtbot.waitUntil(lambda: sum(dock.counts.counted.values()) > 0, timeout=TIME)
    press(qtbot, dock, "classifyStop")
    finished(qtbot, dock)
    assert dock.state.text().startswith("Stopped:")
    assert not out.exists()
    done = Predictions.read(tmp_path / "some.stopped.parquet")
    assert 0 < len(done) < 60
    assert len(dock.predictions) == len(done)
    assert dock.findChild(QPushButton, "classifyButton").isEnabled()
    press(qtbot, dock, "openInViewer")
    opened(qtbot, dock)
    assert len(dock.session) == len(done)


def test_an_input_that_is_none_is_told_and_leaves_the_dock_usable(dock, tiny_classifier, qtbot, tmp_path):
    from napari.utils.notifications import notification_manager

    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(tmp_path / "nowhere"))
    before = len(notification_manager.records)
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    assert "nowhere" in dock.state.text()
    assert len(notification_manager.records) == before + 1
    assert dock.findChild(QPushButton, "classifyButton").isEnabled()
    assert not dock.open_button.isEnabled()


def test_too_little_memory_is_told_and_leaves_the_dock_usable(
    dock, drawn_folder, tiny_classifier, qtbot, monkeypatch
):
    from napari_ctc.apply.forward import Forward

    def fail(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(Forward, "__call__", fail)
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    assert "out of memory" in dock.state.text()
    assert dock.findChild(QPushButton, "classifyButton").isEnabled()


def test_a_file_that_is_no_classifier_leaves_the_one_in_use(dock, tiny_classifier, qtbot, tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"no classifier")
    dock.session.classifier = tiny_classifier
    dock.form.ask_classifier = lambda: str(path)
    press(qtbot, dock, "classifyLoadButton")
    qtbot.waitUntil(lambda: not dock.form.loading.running, timeout=TIME)
    assert dock.session.classifier is tiny_classifier
    assert tiny_classifier.digest[:8] in dock.form.classifier.text()
    assert "other.safetensors" in dock.state.text()
    assert "The classifier in use stays." in dock.state.text()


def test_a_classifier_of_another_channel_count_is_refused_in_the_dock(viewer, dock, classifier_file, qtbot):
    table = pd.DataFrame(dict.fromkeys(COLUMNS, "") | {"path": ["a.npy"]}, dtype="str")
    stack = Mock(manifest=Manifest(table, ".", Layout(3)))
    viewer.add_image(np.zeros((16, 16), np.uint16), metadata={"napari_ctc": {"stack": stack, "channel": 0}})
    dock.form.ask_classifier = lambda: str(classifier_file)
    press(qtbot, dock, "classifyLoadButton")
    qtbot.waitUntil(lambda: not dock.form.loading.running and dock.state.text() != "", timeout=TIME)
    assert dock.session.classifier is None
    assert "but the open specimens have 3" in dock.state.text()


def test_an_existing_table_is_replaced_only_when_the_person_agrees(
    dock, drawn_folder, tiny_classifier, qtbot, tmp_path, monkeypatch
):
    out = tmp_path / "table.csv"
    out.write_text("mine")
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    dock.form.output.setText(str(out))
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.No)
    press(qtbot, dock, "classifyButton")
    assert dock.running is None
    assert dock.state.text().startswith("Nothing was started.")
    assert out.read_text() == "mine"
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    assert len(Predictions.read(out)) == 60


def test_a_folder_to_write_to_that_is_not_there_is_told_and_not_made(
    dock, drawn_folder, tiny_classifier, qtbot, tmp_path
):
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    dock.form.output.setText(str(tmp_path / "nowhere" / "table.csv"))
    press(qtbot, dock, "classifyButton")
    assert dock.running is None
    assert "nowhere does not exist" in dock.state.text()
    assert not (tmp_path / "nowhere").exists()


def test_specimens_without_a_source_have_a_row_where_others_have_sources(qtbot):
    counts = CountsTable()
    qtbot.addWidget(counts)
    counts.begin(("a", "b"))
    counts.add(pd.DataFrame({"source": ["", ""], "predicted": ["a", ""]}))
    counts.flush()
    assert counts.rowCount() == 1
    counts.add(pd.DataFrame({"source": ["slide_1", ""], "predicted": ["b", ""]}))
    counts.flush()
    titles = [counts.verticalHeaderItem(row).text() for row in range(counts.rowCount())]
    assert titles == ["all", "slide_1", "(no source)"]
    shown = [[counts.item(row, column).text() for column in range(3)] for row in range(3)]
    assert shown == [["1", "1", "2"], ["0", "1", "0"], ["1", "0", "2"]]


def test_names_of_sources_and_classes_never_pass_for_a_sum_or_for_what_is_unreadable(
    viewer, dock, drawn_folder, tiny_classifier, qtbot, tmp_path
):
    first, *files = sorted(drawn_folder.glob("slide_1/*.npy"))[:5]
    for name, of in (("all", files[:3]), ("(no source)", files[3:])):
        (tmp_path / name).mkdir()
        for path in of:
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    (tmp_path / first.name).write_bytes(first.read_bytes()[:300])  # without a source, and unreadable
    classes = ("unreadable", *tiny_classifier.classes[1:])
    dock.session.classifier = replace(tiny_classifier, classes=classes, digest="")
    dock.form.input.setText(str(tmp_path))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    counts = dock.counts
    titles = [counts.verticalHeaderItem(row).text() for row in range(counts.rowCount())]
    assert titles == ["all", "(no source)", "all", "(no source)"]  # the first of all, the last of none
    shown = np.array([[int(counts.item(row, column).text()) for column in range(4)] for row in range(4)])
    assert shown.sum(axis=1).tolist() == [5, 1, 3, 1]
    assert shown[:, 3].tolist() == [1, 0, 0, 1]


def test_closing_the_window_mid_run_leaves_no_worker(make_napari_viewer, drawn_folder, tiny_classifier, qtbot):
    viewer = make_napari_viewer(show=True)
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Classify folder")[1]
    dock.session.classifier = tiny_classifier
    dock.form.input.setText(str(drawn_folder))
    dock.form.output.setText("")
    press(qtbot, dock, "classifyButton")
    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIME)


def test_worth_looking_at_are_rare_classes_first_then_uncertain_ones_and_unreadable_last():
    classes = ("debris", "tumour cell")
    p = np.array([0.1, 0.9, 0.4, np.nan, 0.8, 0.2])  # of tumour cell
    predicted = ["debris", "tumour cell", "debris", "", "tumour cell", "debris"]
    table = pd.DataFrame({"path": list("abcdef"), "predicted": predicted, "p_debris": 1 - p, "p_tumour cell": p})
    table = table.reindex(columns=columns(classes))
    order = worth_looking_at(Predictions(table, ".", classes))
    assert "".join(table["path"].iloc[order]) == "ebcfad"


def test_the_end_still_says_what_was_warned_of(dock, own_folder, tiny_classifier, tmp_path, qtbot):
    for path in own_folder.rglob("*.npy"):
        np.save(path, np.load(path).astype(np.uint16) * 257)
    dock.session.use(tiny_classifier)
    dock.form.input.setText(str(own_folder))
    dock.form.output.setText(str(tmp_path / "out.csv"))
    press(qtbot, dock, "classifyButton")
    finished(qtbot, dock)
    assert dock.state.text().startswith("Done: 60 specimens") and "on the same scale" in dock.state.text()
