"""What a person does in the tests of labelling, and what can be seen then."""

import json

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_ctc.data.journal_file import journal_path
from napari_ctc.gui.predicted_model import LABEL

TIME = 20_000
CLASSES = ("debris", "leukocyte", "tumour cell")
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def open_dock(viewer, qtbot, folder):
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    viewer.open(str(folder), plugin="napari-ctc")
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is viewer.window._qt_window, timeout=TIME)
    settled(qtbot, dock)
    return dock


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
    for key in keys:
        qtbot.keyClick(QApplication.focusWidget() or widget, getattr(Qt.Key, f"Key_{key}"), modifier)


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
