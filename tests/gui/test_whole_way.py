"""The whole way in one window, by keys and clicks alone: unlabelled folder, labels, training, review, export."""

import csv
from collections import Counter

import pytest

pytest.importorskip("napari")
from labelling_steps import name_classes, settled
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QPushButton

from napari_ctc import load_classifier
from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions
from napari_ctc.events import run
from napari_ctc.gui import opening
from napari_ctc.gui.arrange import classify_specimens
from napari_ctc.gui.predicted_model import LABEL, NAME, PREDICTED, PROBABILITY
from napari_ctc.gui.rows import Status

TIME = 240_000
NAMES = ("leukocyte", "debris", "tumour cell")
CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def unlabelled(tmp_path):
    """A folder of 300 drawn specimens, and what each of them is, which the window does not know."""
    folder = tmp_path / "specimens"
    run(write_drawn(folder, 300, seed=4, size=32, shares=(0.5, 0.4, 0.1)))
    table = Manifest.open(folder / "manifest.csv").table
    (folder / "manifest.csv").unlink()
    return folder, dict(zip(table["path"], table["label"], strict=True))


def written(path):
    table = Manifest.read(path).table
    return dict(zip(table["path"], table["label"], strict=True))


def click(qtbot, dock, name="", text=""):
    for button in dock.findChildren(QPushButton):
        if (name and button.objectName() == name) or (text and button.text() == text):
            assert button.isEnabled(), button.toolTip()
            qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
            return
    raise AssertionError(f"there is no button {name or text}")


def press(qtbot, *keys):
    """Press keys where the focus is, wherever that may be."""
    for key in keys:
        qtbot.keyClick(QApplication.focusWidget(), getattr(Qt.Key, f"Key_{key}"))


def type_into(qtbot, widget, text):
    box = widget.findChild(QAbstractSpinBox) or widget if not isinstance(widget, QAbstractSpinBox) else widget
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, text)
    qtbot.keyClick(box, Qt.Key.Key_Return)


def choose(qtbot, box, text):
    """Choose an entry of a box by the arrows."""
    place = box.findText(text)
    assert place >= 0, [box.itemText(one) for one in range(box.count())]
    box.setFocus()
    for _ in range(place - box.currentIndex()):
        qtbot.keyClick(box, Qt.Key.Key_Down)
    for _ in range(box.currentIndex() - place):
        qtbot.keyClick(box, Qt.Key.Key_Up)
    assert box.currentText() == text


def cells(dock, column):
    model = dock.table.model()
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def export(qtbot, dock, name, path):
    """Choose from the export menu; only the dialog of the system is answered for the person."""
    dock.export_menu.ask_path = lambda title, suggestion, kind: str(path)
    menu = dock.export_menu
    menu.popup(dock.export_button.mapToGlobal(dock.export_button.rect().bottomLeft()))
    action = next(action for action in menu.actions() if action.objectName() == name)
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center())
    qtbot.waitUntil(lambda: menu.running is None and path.exists(), timeout=TIME)


def test_from_an_unlabelled_folder_to_an_exported_table(
    make_napari_viewer, unlabelled, tmp_path, qtbot, monkeypatch
):
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")
    folder, truth = unlabelled
    viewer = make_napari_viewer(show=True)
    classify_specimens(viewer)
    titles = ("Predicted classes", "Train classifier", "Classify folder")
    predicted, train, whole = (viewer.window.add_plugin_dock_widget("napari-ctc", one)[1] for one in titles)
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is viewer.window._qt_window, timeout=TIME)
    session = predicted.session

    # open
    monkeypatch.setattr(opening, "ask_folder", lambda *_: str(folder))
    click(qtbot, predicted, text="Open folder…")
    qtbot.waitUntil(lambda: predicted.model.rowCount() == 300, timeout=TIME)
    assert set(cells(predicted, LABEL)) == set(cells(predicted, PREDICTED)) == {""}
    settled(qtbot, predicted)
    assert "Name a class" in predicted.strip.chips.add.text()
    name_classes(qtbot, predicted, NAMES)

    # label, until the dock needs nothing more
    def current():
        return truth[str(session.rows.name[session.current])]

    qtbot.waitUntil(lambda: not predicted.queue.measuring.running, timeout=TIME)
    predicted.table.setFocus()
    press(qtbot, "N")
    settled(qtbot, predicted)
    presses = 0
    while "before training can hold" in predicted.strip.hint.text() or not presses:
        press(qtbot, 1 + NAMES.index(current()))
        settled(qtbot, predicted)
        presses += 1
        assert presses < 150, predicted.strip.hint.text()
    assert NOT_A_RATE in predicted.queue.text.text()
    wrong = session.current
    press(qtbot, 1 + (NAMES.index(current()) + 1) % 3)
    settled(qtbot, predicted)
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Z, CTRL)
    settled(qtbot, predicted)
    assert session.current == wrong
    assert predicted.model.text(wrong, LABEL) == ""
    labelled = Counter(text for text in cells(predicted, LABEL) if text)
    assert sum(labelled.values()) == presses
    assert min(labelled[name] for name in NAMES) >= 8

    # train
    qtbot.waitUntil(lambda: f"labelled here: {presses} of 300" in train.setup.source.currentText(), timeout=TIME)
    qtbot.waitUntil(lambda: NOT_A_RATE in train.setup.message.text(), timeout=TIME)
    type_into(qtbot, train.setup.form.minutes.native, "0.1")
    click(qtbot, train, "train")
    qtbot.waitUntil(lambda: session.classifier is not None and not train.run.running, timeout=TIME)
    assert load_classifier(folder / "classifier.safetensors").digest == session.classifier.digest
    held = sum(int(train.setup.table.item(row, 2).text()) for row in range(3))
    assert f"Held out from this training: {held}." in train.run.legend.text()
    assert NOT_A_RATE in train.classifier.line.toolTip()
    qtbot.waitUntil(lambda: list(session.status) == [Status.CURRENT] * 300, timeout=TIME)
    qtbot.waitUntil(lambda: not predicted.background.busy, timeout=TIME)

    # review: a count of the confusion matrix, then the surest of the rare class that nobody has labelled
    matrix = train.run.matrix
    train._area.ensureWidgetVisible(matrix)
    cell = next(matrix.item(one // 3, one % 3) for one in range(9) if matrix.item(one // 3, one % 3).text() != "·")
    count, where = int(cell.text()), matrix.visualItemRect(cell).center()
    qtbot.mouseClick(matrix.viewport(), Qt.MouseButton.LeftButton, pos=where)
    qtbot.waitUntil(lambda: predicted.model.rowCount() == count, timeout=TIME)
    assert {truth[name] for name in cells(predicted, NAME)} == {matrix.verticalHeaderItem(cell.row()).text()}
    qtbot.mouseClick(predicted.held_out.chip, Qt.MouseButton.LeftButton)
    assert predicted.model.rowCount() == 300

    choose(qtbot, predicted.findChild(QComboBox, "filterLabel"), "(not labelled)")
    assert predicted.model.rowCount() == 300 - presses
    header = predicted.table.horizontalHeader()
    for _ in range(2):
        at = QPoint(header.sectionViewportPosition(PROBABILITY) + 20, header.height() // 2)
        qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=at)
    predicted.table.setFocus()
    qtbot.keyClick(predicted.table, Qt.Key.Key_Home, CTRL)
    surest = session.current
    called = cells(predicted, PREDICTED)[0]
    qtbot.waitUntil(lambda: viewer.canvas.overlays.text.text.startswith(called), timeout=TIME)
    press(qtbot, 1 + NAMES.index(current()))
    settled(qtbot, predicted)
    assert predicted.model.text(surest, LABEL) == truth[str(session.rows.name[surest])]
    choose(qtbot, predicted.findChild(QComboBox, "filterLabel"), "any label")

    # take it away
    export(qtbot, predicted, "exportPredictionsCSV", tmp_path / "predictions.csv")
    export(qtbot, predicted, "exportLabels", tmp_path / "labels.csv")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = cells(predicted, PREDICTED)
    assert [row["predicted"] for row, word in zip(rows, shown, strict=True) if word] == list(filter(None, shown))
    assert shown.count("") == session.concealed.sum() <= 1  # drawn at random, and not judged since its undo
    assert [row["label"] for row in rows] == cells(predicted, LABEL)
    assert [row["path"].rpartition("specimens/")[2] for row in rows] == cells(predicted, NAME)
    given = Manifest.read(tmp_path / "labels.csv").table
    assert len(given) == presses + 1
    for path, label in zip(given["path"], given["label"], strict=True):
        assert truth[path.rpartition("specimens/")[2]] == label

    # classify the folder by the same classifier, as one would classify others
    whole.form.input.setFocus()
    qtbot.keyClicks(whole.form.input, str(folder))
    whole.form.output.setFocus()
    whole.form.output.selectAll()
    qtbot.keyClicks(whole.form.output, str(tmp_path / "folder.parquet"))
    click(qtbot, whole, "classifyButton")
    qtbot.waitUntil(lambda: whole.running is None, timeout=TIME)
    classified = Predictions.read(tmp_path / "folder.parquet").table
    words = dict(zip(cells(predicted, NAME), cells(predicted, PREDICTED), strict=True))
    names = classified["path"].str.rpartition("specimens/")[2]
    assert set(names) == set(words)
    said = zip(names, classified["predicted"], strict=True)
    assert {name: word for name, word in said if words[name]} == {
        name: word for name, word in words.items() if word
    }

    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIME)
    wanted = {
        path.rpartition("specimens/")[2]: label for path, label in zip(given["path"], given["label"], strict=True)
    }
    qtbot.waitUntil(lambda: written(folder / "labels.csv") == wanted, timeout=TIME)  # by the closed window
