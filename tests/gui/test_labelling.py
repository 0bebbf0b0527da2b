"""Labelling in a real window, by keys: with the focus anywhere, on the disk at once, there again tomorrow."""

import json

import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_ctc.data.journal import journal_path
from napari_ctc.data.manifest import Manifest
from napari_ctc.gui.predicted_table import LABEL

TIME = 20_000
CLASSES = ("debris", "leukocyte", "tumour cell")


@pytest.fixture
def folder(own_folder):
    """60 drawn specimens that nobody has labelled."""
    (own_folder / "manifest.csv").unlink()
    return own_folder


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


def open_dock(viewer, qtbot, folder):
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    viewer.open(str(folder), plugin="napari-ctc")
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is viewer.window._qt_window, timeout=TIME)
    settled(qtbot, dock)
    return dock


@pytest.fixture
def dock(viewer, qtbot, folder):
    return open_dock(viewer, qtbot, folder)


def settled(qtbot, dock):
    qtbot.waitUntil(lambda: not dock.labelling.busy, timeout=TIME)


def name_classes(qtbot, dock, names=CLASSES):
    for name in names:
        qtbot.mouseClick(dock.strip.chips.add, Qt.MouseButton.LeftButton)
        qtbot.keyClicks(dock.strip.chips.editor, name)
        qtbot.keyClick(dock.strip.chips.editor, Qt.Key.Key_Return)
        settled(qtbot, dock)


def press(qtbot, widget, keys, modifier=Qt.KeyboardModifier.NoModifier):
    """Press keys with the focus in a widget."""
    widget.setFocus()
    for key in keys if isinstance(keys, str) else [keys]:
        code = getattr(Qt.Key, f"Key_{key}") if isinstance(key, str) else key
        qtbot.keyClick(QApplication.focusWidget() or widget, code, modifier)


def places(viewer, dock):
    """Where the focus may be: in the canvas, the table, the layer list."""
    window = viewer.window._qt_viewer
    return window.canvas.native, dock.table, window.layers


def shown(dock):
    model = dock.model
    return {dock.session.rows.name[i]: text for i in range(len(dock.session)) if (text := model.text(i, LABEL))}


def on_disk(path):
    """What stands in the journal, read as another program would."""
    labels = {}
    for line in journal_path(path).read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["entry"] == "labelled":
            labels[entry["key"]] = "unsure" if entry.get("unsure") else entry["label"]
    return labels


CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def test_keys_label_wherever_the_focus_is_and_everything_is_there_again(viewer, dock, folder, qtbot):
    name_classes(qtbot, dock)
    names = [chip.text.text() for chip in dock.strip.chips.chips]
    assert names == ["1  debris  0", "2  leukocyte  0", "3  tumour cell  0"]
    keys = list(dock.session.rows.name)
    expected = {}
    for number, place in enumerate(places(viewer, dock)):
        at = 4 * number
        assert dock.session.current == at
        press(qtbot, place, "13U0")
        settled(qtbot, dock)
        assert dock.session.current == at + 4, place
        expected |= {keys[at]: "debris", keys[at + 1]: "tumour cell", keys[at + 2]: "unsure"}
        assert shown(dock) == expected
    assert {key: name for key, name in on_disk(folder / "labels.csv").items() if name} == expected
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    assert dock.session.current == 11  # the last step took nothing away, and back it goes
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    assert dock.session.current == 10
    assert keys[10] not in shown(dock)
    press(qtbot, dock.table, "Z", CTRL | SHIFT)
    settled(qtbot, dock)
    assert shown(dock) == expected
    assert next(chip.text.text() for chip in dock.strip.chips.chips) == "1  debris  3"
    assert dock.strip.chips.unsure.text() == "U  unsure  3"

    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    again = open_dock(viewer, qtbot, folder)
    assert shown(again) == expected
    assert not again.labelling.book.refusal
    table = Manifest.open(folder).labelled()
    assert dict(zip(table.keys, table.table["label"], strict=True)) == {
        key: name for key, name in expected.items() if name != "unsure"
    }
    press(qtbot, again.table, "Z", CTRL)  # without end: over the closing, too
    settled(qtbot, again)
    assert keys[11] not in shown(again)
