"""The main job in one window, by clicks: open, train, see predictions, classify a folder, export."""

import csv

import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QPushButton

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions
from napari_ctc.gui import opening
from napari_ctc.gui.arrange import classify_specimens
from napari_ctc.gui.predicted_model import LABEL, NAME, PREDICTED, PROBABILITY
from napari_ctc.gui.rows import Status
from napari_ctc.learn.loading import load_classifier

TIME = 120_000


def click(qtbot, dock, name="", text=""):
    for button in dock.findChildren(QPushButton):
        if (name and button.objectName() == name) or (text and button.text() == text):
            assert button.isEnabled(), button.toolTip()
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
            return
    raise AssertionError(f"there is no button {name or text}")


def cells(dock, column):
    model = dock.table.model()
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def export(qtbot, dock, name, path):
    dock.export_menu.ask_path = lambda title, suggestion, kind: str(path)
    next(action for action in dock.export_menu.actions() if action.objectName() == name).trigger()
    qtbot.waitUntil(lambda: dock.export_menu.running is None, timeout=TIME)


def test_from_a_folder_to_exported_labels_and_predictions(
    make_napari_viewer, own_folder, tmp_path, qtbot, monkeypatch
):
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")
    viewer = make_napari_viewer(show=True)
    classify_specimens(viewer)
    names = ("Predicted classes", "Train classifier", "Classify folder")
    predicted, train, folder = (viewer.window.add_plugin_dock_widget("napari-ctc", name)[1] for name in names)
    qtbot.wait(50)

    monkeypatch.setattr(opening, "ask_folder", lambda *_: str(own_folder))
    click(qtbot, predicted, text="Open folder…")
    assert predicted.model.rowCount() == 60
    assert set(cells(predicted, PREDICTED)) == {""}

    model_file = tmp_path / "mine.safetensors"
    train.setup.out.setText(str(model_file))
    train.setup.out.setModified(True)
    choices = {
        "size": 32,
        "epochs": 2,
        "batch_size": 16,
        "augment": False,
        "device": "cpu",
        "precision": "float32",
    }
    for name, value in choices.items():
        for form in (train.setup.form, train.setup.advanced_form):
            if name in [widget.name for widget in form]:
                form[name].value = value
    click(qtbot, train, "train")
    session = predicted.session
    qtbot.waitUntil(lambda: session.classifier is not None, timeout=TIME)
    qtbot.waitUntil(lambda: list(session.status) == [Status.CURRENT] * 60, timeout=TIME)
    qtbot.waitUntil(lambda: not predicted.background.busy, timeout=TIME)
    assert load_classifier(model_file).digest == session.classifier.digest

    header = predicted.table.horizontalHeader()
    header.sectionClicked.emit(PROBABILITY)
    predicted.table.setFocus()
    qtbot.keyClick(predicted.table, Qt.Key.Key_Home, Qt.KeyboardModifier.ControlModifier)
    assert viewer.dims.current_step[0] == predicted.model.indices[0]
    least_certain = cells(predicted, PREDICTED)[0]
    assert viewer.canvas.overlays.text.text.startswith(least_certain)

    export(qtbot, predicted, "exportPredictionsCSV", tmp_path / "predictions.csv")
    export(qtbot, predicted, "exportLabels", tmp_path / "labels.csv")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == cells(predicted, PREDICTED)
    assert [row["label"] for row in rows] == cells(predicted, LABEL)
    assert [f"{float(row['probability']):.3f}" for row in rows] == cells(predicted, PROBABILITY)
    assert [row["path"].rpartition("specimens/")[2] for row in rows] == cells(predicted, NAME)
    labels = Manifest.read(tmp_path / "labels.csv").table
    assert sorted(labels["label"]) == sorted(cells(predicted, LABEL))

    folder.form.input.setText(str(own_folder))
    folder.form.output.setText(str(tmp_path / "folder.parquet"))
    click(qtbot, folder, "classifyButton")
    qtbot.waitUntil(lambda: folder.running is None, timeout=TIME)
    classified = Predictions.read(tmp_path / "folder.parquet").table
    shown = dict(zip(cells(predicted, NAME), cells(predicted, PREDICTED), strict=True))
    names = classified["path"].str.rpartition("specimens/")[2]
    assert dict(zip(names, classified["predicted"], strict=True)) == shown

    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIME)
