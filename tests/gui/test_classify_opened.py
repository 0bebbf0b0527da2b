"""What "Open in viewer" does to labels, in a real window: they stay what they are, and where they are."""

import pytest

pytest.importorskip("napari")
from labelling_steps import CLASSES, TIME, name_classes, open_dock, press, settled, shown
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_ctc.data.manifest import Manifest
from napari_ctc.gui import book as books


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def classify(viewer, tiny_classifier, qtbot):
    """Classifies what is named, and gives the dock."""

    def work(path):
        dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Classify folder")[1]
        dock.session.classifier = tiny_classifier
        dock.form.input.setText(str(path))
        dock.form.output.setText("")
        qtbot.mouseClick(dock.go, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: dock.running is None, timeout=TIME)
        return dock

    return work


def open_result(qtbot, classify_dock, dock):
    qtbot.mouseClick(classify_dock.open_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(classify_dock.open_button.isEnabled, timeout=TIME)
    settled(qtbot, dock)


def kept(viewer, dock, path):
    """The labels in a table, once the dock and the specimens are closed."""
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    books.in_turn(lambda: None).result(timeout=20)
    table = Manifest.read(path).labelled().table
    return dict(zip(table["path"], table["label"], strict=True))


def test_labels_given_and_taken_away_since_are_those_of_the_opened_result(viewer, own_folder, classify, qtbot):
    table = own_folder / "manifest.csv"
    dock = open_dock(viewer, qtbot, own_folder)
    classify_dock = classify(own_folder)
    press(qtbot, dock.table, "1230")
    settled(qtbot, dock)
    expected = shown(dock)
    assert len(expected) == 59
    for _ in range(2):
        open_result(qtbot, classify_dock, dock)
        assert shown(dock) == expected
        assert "specimens/manifest.csv" in dock.strip.place.text()
    dock.table.selectAll()
    press(qtbot, dock.table, "2")
    settled(qtbot, dock)
    assert not (own_folder / "labels.csv").exists()
    assert set(kept(viewer, dock, table).values()) == {CLASSES[1]}


def test_labels_of_a_result_are_kept_in_the_table_that_was_classified(viewer, own_folder, classify, qtbot):
    table = (own_folder / "manifest.csv").rename(own_folder / "mine.csv")
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    open_result(qtbot, classify(table), dock)
    assert "specimens/mine.csv" in dock.strip.place.text()
    assert len(shown(dock)) == 60
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is viewer.window._qt_window, timeout=TIME)
    press(qtbot, dock.table, "0")
    settled(qtbot, dock)
    assert len(shown(dock)) == 59
    assert len(kept(viewer, dock, table)) == 59
    assert not (own_folder / "labels.csv").exists()


def test_labels_stay_in_the_table_that_a_person_opened(viewer, folder, classify, qtbot):
    table = folder / "mine.csv"
    Manifest.open(folder).write(table)
    dock = open_dock(viewer, qtbot, table)
    name_classes(qtbot, dock)
    press(qtbot, dock.table, "12")
    settled(qtbot, dock)
    expected = shown(dock)
    open_result(qtbot, classify(folder), dock)
    assert "specimens/mine.csv" in dock.strip.place.text()
    assert shown(dock) == expected


def test_a_single_open_file_does_not_say_where_the_labels_of_its_folder_belong(
    viewer, own_folder, classify, qtbot
):
    dock = open_dock(viewer, qtbot, sorted(own_folder.glob("slide_1/*.npy"))[0])
    assert "slide_1/labels.csv" in dock.strip.place.text()
    open_result(qtbot, classify(own_folder), dock)
    assert "specimens/manifest.csv" in dock.strip.place.text()
    assert len(shown(dock)) == 60
