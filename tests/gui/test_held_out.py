"""The confusion matrix as a door: from a count to the specimens behind it, in a real window."""

import csv

import numpy as np
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from train_driver import TrainDriver

from napari_ctc.data.calls import Calls
from napari_ctc.data.drawn import CHANNELS
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import content_digest
from napari_ctc.events import run
from napari_ctc.gui.held_out import Cell, find
from napari_ctc.gui.layers import add_stack
from napari_ctc.gui.predicted_held_out import sentence
from napari_ctc.gui.predicted_model import LABEL, NAME
from napari_ctc.score.metrics import Scores

TIME = 240_000


@pytest.fixture
def driver(make_napari_viewer, qtbot, manifest, tmp_path):
    viewer = make_napari_viewer(show=True)
    add_stack(viewer, manifest, CHANNELS)
    return TrainDriver(viewer, qtbot, tmp_path / "trained.safetensors")


@pytest.fixture
def below(driver):
    """The dock "Predicted classes", in a window that has the focus."""
    dock = driver.viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    driver.viewer.window._qt_window.activateWindow()
    driver.qtbot.waitUntil(lambda: QApplication.activeWindow() is not None, timeout=TIME)
    return dock


def counts(matrix):
    """The cells that can be clicked, with their counts."""
    size = range(matrix.rowCount())
    cells = {(row, column): matrix.item(row, column) for row in size for column in size}
    return {place: int(item.text()) for place, item in cells.items() if item.text() != "·"}


def click(driver, matrix, row, column):
    driver.widget._area.ensureWidgetVisible(matrix)
    where = matrix.visualItemRect(matrix.item(row, column)).center()
    driver.qtbot.mouseClick(matrix.viewport(), Qt.MouseButton.LeftButton, pos=where)


def names(matrix):
    return [matrix.verticalHeaderItem(row).text() for row in range(matrix.rowCount())]


def shown(dock, column):
    return [dock.model.text(int(index), column) for index in dock.model.indices]


def test_a_count_of_a_training_leads_to_its_specimens_and_back(driver, below):
    driver.set(validation_fraction=0.4)
    driver.click("train")
    driver.until_idle()
    matrix = driver.part("held_out_confusion")
    driver.until(matrix.isVisible)
    doors = counts(matrix)
    assert sum(doors.values()) == sum(int(text) for text in driver.cells(2)) == 16  # the specimens held out
    below.filters.text.setText("nothing is called so")
    assert not len(below.model.indices)

    seen = set()
    for (row, column), count in doors.items():
        click(driver, matrix, row, column)
        driver.until(lambda count=count: len(below.model.indices) == count)
        assert set(shown(below, LABEL)) == {names(matrix)[row]}
        assert below.session.current == below.model.indices[0]
        seen |= set(shown(below, NAME))
    assert len(seen) == 16  # no specimen behind two counts
    said, called = names(matrix)[row], names(matrix)[column]
    assert below.held_out.chip.text() == f"held out: {said} called {called}, {count}  ✕"

    empty = next(place for place in np.ndindex(matrix.rowCount(), matrix.columnCount()) if place not in doors)
    click(driver, matrix, *empty)
    driver.qtbot.wait(50)
    assert below.held_out.chip.text() == f"held out: {said} called {called}, {count}  ✕"

    below.held_out.chip.setFocus()
    driver.qtbot.keyClick(below.held_out.chip, Qt.Key.Key_Space)
    assert len(below.model.indices) == 40
    assert not below.held_out.isVisible()

    matrix.setFocus()  # the arrows and Enter do what the mouse does, and label or walk nothing
    before = below.session.current
    for key in (Qt.Key.Key_Up,) * 3 + (Qt.Key.Key_Left,) * 3 + (Qt.Key.Key_Right, Qt.Key.Key_Down):
        driver.qtbot.keyClick(matrix, key)
    assert below.session.current == before
    place = matrix.currentRow(), matrix.currentColumn()
    assert place in doors
    driver.qtbot.keyClick(matrix, Qt.Key.Key_Return)
    driver.until(lambda: len(below.model.indices) == doors[place])
    assert QApplication.focusWidget() is below.table


def test_long_names_and_many_classes_leave_the_counts_their_room(driver):
    matrix = driver.part("held_out_confusion")
    long = "circulating tumour cell, cytokeratin positive and CD45 negative, vimentin weak"
    classes = (long, *(f"class {number}" for number in range(2, 31)))
    for count in (3, 7, 30, 7):
        matrix.show_scores(Scores(classes[:count], np.ones((count, count), np.int64)), None)
        driver.widget._area.ensureWidgetVisible(matrix)
        driver.qtbot.waitUntil(matrix.isVisible)
        driver.qtbot.wait(100)
        assert matrix.viewport().width() > matrix.width() * 0.6
        assert matrix.verticalScrollBar().isVisible() == (count > 7)
        row = matrix.verticalHeader().defaultSectionSize()
        assert min(count, 7) * row <= matrix.viewport().height() < min(count, 7) * row + 8
        assert long in matrix.verticalHeaderItem(0).toolTip()


def test_a_count_of_a_cross_validation_leads_to_specimens_that_were_closed(driver, below, tmp_path):
    driver.set(epochs=1)
    out = tmp_path / "called.csv"
    box = driver.widget.crossval
    box.section.expand(animate=False)
    box.folds.setValue(2)
    box.out.setText(str(out))
    driver.click("cross_validate")
    driver.until_idle()
    matrix = driver.part("confusion")
    driver.until(matrix.isVisible)
    driver.viewer.layers.clear()
    (row, column), count = max(counts(matrix).items(), key=lambda one: one[1])
    click(driver, matrix, row, column)
    text, offer = below.held_out.text, below.held_out.open
    driver.until(lambda: text.text() == f"None of the {count} is open here.")
    driver.until(offer.isVisible)
    driver.qtbot.mouseClick(offer, Qt.MouseButton.LeftButton)
    driver.until(lambda: len(below.session) == 40 and len(below.model.indices) == count)
    assert text.text() == ""
    assert not offer.isVisible()
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    said, called = names(matrix)[row], names(matrix)[column]
    wanted = {one["path"].rpartition("/")[2] for one in rows if (one["label"], one["predicted"]) == (said, called)}
    assert {name.rpartition("/")[2] for name in shown(below, NAME)} == wanted


def test_a_specimen_is_shown_only_as_it_was_judged(own_folder):
    manifest = Manifest.open(own_folder / "manifest.csv").rows(range(5))
    digests = tuple(content_digest(manifest.specimen(row)) for row in range(5))
    labels = manifest.table["label"]
    calls = Calls(manifest.with_column("label", ["a"] * 4 + ["b"]), ("c",) * 5, digests)
    np.save(own_folder / manifest.keys[1], manifest.specimen(1) + 1)
    (own_folder / manifest.keys[2]).unlink()
    elsewhere = Manifest.open(own_folder / "manifest.csv").rows([2, 1, 0])  # under other ids, in another order
    found = run(find(Cell("a", "c", calls), [(elsewhere, [12, 11, 10])]))
    assert found.ids == {10}
    assert (found.missing, found.changed, found.unreadable) == (1, 1, 1)
    assert found.not_open.keys == [manifest.keys[3], manifest.keys[4]]
    assert sentence(4, found) == (
        "1 of the 4 is not open here. Left out, since the file holds another image by now: 1. "
        "Left out, since the file is gone or cannot be read: 1."
    )
    assert len(labels) == 5
