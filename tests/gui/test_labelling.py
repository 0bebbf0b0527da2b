"""Labelling in a real window, by keys: with the focus anywhere, on the disk at once, there again tomorrow."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest

pytest.importorskip("napari")
import key_walk
import numpy as np
from labelling_steps import (
    CLASSES,
    CTRL,
    SHIFT,
    TIME,
    name_classes,
    on_disk,
    open_dock,
    places,
    press,
    settled,
    shown,
)
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QContextMenuEvent, QKeyEvent
from qtpy.QtWidgets import QApplication, QLineEdit, QMenu

from napari_ctc.data.manifest import Manifest
from napari_ctc.gui.book import in_turn
from napari_ctc.gui.keys import HINT
from napari_ctc.learn.loading import load_classifier


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer, qtbot, folder):
    return open_dock(viewer, qtbot, folder)


def test_classes_named_while_the_table_of_labels_opens_are_all_kept(viewer, folder, qtbot):
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    disk = Event()
    in_turn(lambda: disk.wait(TIME / 1000))  # a slow one
    viewer.open(str(folder), plugin="napari-ctc")
    for name in CLASSES:
        qtbot.mouseClick(dock.strip.chips.add, Qt.MouseButton.LeftButton)
        qtbot.keyClicks(dock.strip.chips.editor, name)
        qtbot.keyClick(dock.strip.chips.editor, Qt.Key.Key_Return)
    disk.set()
    settled(qtbot, dock)
    assert [chip.text.text() for chip in dock.strip.chips.chips] == [
        f"{number}  {name}  0" for number, name in enumerate(CLASSES, 1)
    ]


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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.timeout(400)
def test_a_walk_over_the_keys_killed_and_reopened_ends_as_a_model_predicts(viewer, folder, qtbot):
    script = Path(__file__).with_name("key_walk.py")
    done = subprocess.run([sys.executable, str(script), str(folder), "7"], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    dock = open_dock(viewer, qtbot, folder)
    names = dock.session.rows.name
    seen = json.loads((folder / key_walk.SEEN).read_text("utf-8"))
    assert sum(by_queue for _, by_queue in seen) > 20
    expected = {names[place]: name for place, name in key_walk.model(7, len(names), seen).items()}
    assert len(expected) > 20
    assert shown(dock) == expected


def test_a_text_field_gets_the_keys_that_are_typed_into_it(dock, folder, qtbot):
    name_classes(qtbot, dock, ("1 cell", "2 cells"))
    assert dock.session.keyed == ("1 cell", "2 cells")
    field = dock.findChild(QLineEdit, "filterText")
    field.setFocus()
    qtbot.keyClicks(field, "1u 20")
    qtbot.keyClick(field, Qt.Key.Key_Left)
    qtbot.keyClick(field, Qt.Key.Key_Z, CTRL)
    field.clear()
    settled(qtbot, dock)
    assert not shown(dock)
    assert dock.session.current == 0


def test_several_selected_specimens_are_labelled_in_one_step(dock, qtbot):
    name_classes(qtbot, dock)
    press(qtbot, dock.table, ["Down"] * 3, SHIFT)
    assert dock.table.selected() == [0, 1, 2, 3]
    press(qtbot, dock.table, "2")
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["leukocyte"] * 4
    assert dock.session.current == 4
    assert dock.table.selected() == [4]
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    assert not shown(dock)
    assert dock.table.selected() == [0]


def open_two(viewer, qtbot, folder, count=60):
    """Two folders of specimens that nobody has labelled, each with its own table."""
    other = folder.with_name("others")
    shutil.copytree(folder, other)
    dock = open_dock(viewer, qtbot, folder)
    viewer.open(str(other), plugin="napari-ctc")
    qtbot.waitUntil(lambda: len(dock.session) == 2 * count, timeout=TIME)
    settled(qtbot, dock)
    name_classes(qtbot, dock)
    return dock


def test_what_two_folders_share_is_undone_and_redone_in_both(viewer, folder, qtbot):
    dock = open_two(viewer, qtbot, folder)
    chips = dock.strip.chips

    def counts():
        settled(qtbot, dock)
        return [int((rows >= 0).sum()) for rows in np.split(dock.session.rows.label, 2)]

    dock.session.go_to(0)
    press(qtbot, dock.table, "12")
    assert counts() == [2, 0]
    dock.session.go_to(60)
    press(qtbot, dock.table, "12")
    assert counts() == [2, 2]
    chips.renamed.emit("leukocyte", "debris")
    settled(qtbot, dock)
    assert dock.session.keyed == ("debris", "tumour cell")
    assert set(shown(dock).values()) == {"debris"}
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    assert dock.session.keyed == CLASSES
    assert (np.bincount(dock.session.rows.label + 1) == [116, 2, 2]).all()
    dock.table.selectAll()
    press(qtbot, dock.table, "3")
    assert counts() == [60, 60]
    press(qtbot, dock.table, "Z", CTRL)
    assert counts() == [2, 2]
    press(qtbot, dock.table, "Z", CTRL | SHIFT)
    assert counts() == [60, 60]
    press(qtbot, dock.table, "ZZ", CTRL)  # the selection, then the last single label, wherever the canvas is now
    assert counts() == [2, 1]
    press(qtbot, dock.table, "ZZZ", CTRL)
    assert counts() == [0, 0]
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    assert dock.strip.hint.text() == "There is nothing to undo."


def test_the_keys_are_given_back_when_the_dock_closes_or_is_hidden(viewer, dock, qtbot):
    name_classes(qtbot, dock)
    seen = []
    viewer.layers.selection.active.bind_key("1", lambda layer: seen.append(layer))
    canvas = viewer.window._qt_viewer.canvas.native
    press(qtbot, canvas, "1")
    settled(qtbot, dock)
    assert not seen
    assert len(shown(dock)) == 1
    dock.parentWidget().hide()
    press(qtbot, canvas, "1")
    assert len(seen) == 1
    dock.parentWidget().show()
    press(qtbot, canvas, "1")
    settled(qtbot, dock)
    assert len(seen) == 1
    assert len(shown(dock)) == 2
    viewer.window.remove_dock_widget(dock)
    press(qtbot, canvas, "1")
    assert len(seen) == 2


def test_holding_a_key_down_gives_one_label(dock, qtbot):
    name_classes(qtbot, dock)
    dock.table.setFocus()
    for repeat in (False, True, True):
        event = QKeyEvent(QKeyEvent.Type.KeyPress, Qt.Key.Key_1, Qt.KeyboardModifier.NoModifier, "1", repeat)
        QApplication.sendEvent(dock.table.window().windowHandle(), event)
    settled(qtbot, dock)
    assert len(shown(dock)) == 1


# ------------------------------------------------------------------------------------------ the classes


def test_classes_are_renamed_merged_coloured_and_removed(viewer, dock, folder, qtbot):
    name_classes(qtbot, dock)
    press(qtbot, dock.table, "123")
    settled(qtbot, dock)
    chips = dock.strip.chips
    qtbot.mouseDClick(chips.chips[1].text, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(chips.editor, "white cell")
    qtbot.keyClick(chips.editor, Qt.Key.Key_Return)
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["debris", "white cell", "tumour cell"]
    assert dock.session.keyed == ("debris", "white cell", "tumour cell")
    third = dock.session.colour("tumour cell")
    chips.coloured.emit("debris", "#123456")
    settled(qtbot, dock)
    chips.renamed.emit("white cell", "debris")
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["debris", "debris", "tumour cell"]
    assert [chip.text.text() for chip in chips.chips] == ["1  debris  2", "2  tumour cell  1"]
    assert dock.session.colour("tumour cell") == third
    name_classes(qtbot, dock, ("odd",))
    chips.removed.emit("odd")
    settled(qtbot, dock)
    assert "odd" not in dock.session.keyed
    press(qtbot, dock.table, ["Z"], CTRL)
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["debris", "white cell", "tumour cell"]
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    again = open_dock(viewer, qtbot, folder)
    assert again.session.keyed == ("debris", "white cell", "tumour cell")
    assert again.session.colour("debris") == "#123456"


def menu_of(chip):
    """What a right click on a class offers, by its words."""
    QApplication.sendEvent(chip, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, QPoint(5, 5)))
    menu = chip.findChildren(QMenu)[-1]
    found = {action.text(): action for action in menu.actions() if action.text()}
    menu.hide()
    return found


def test_a_class_without_a_key_labels_by_its_menu_and_can_be_given_one(viewer, dock, folder, qtbot):
    names = [f"class {letter}" for letter in "abcdefghijk"]
    dock.labelling.name_classes(names)
    settled(qtbot, dock)
    last = dock.strip.chips.chips[-1]
    assert last.text.text() == "class k  0"
    dock.table.setFocus()
    menu_of(last)["Label the selected so"].trigger()
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["class k"]
    assert dock.session.current == 1
    press(qtbot, dock.table, ["Down"] * 2, SHIFT)
    menu_of(dock.strip.chips.chips[-1])["Label the selected so"].trigger()
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["class k"] * 4
    assert dock.session.current == 4
    colours = {name: dock.session.colour(name) for name in names}

    menu_of(dock.strip.chips.chips[-1])["Give it key 1"].trigger()
    settled(qtbot, dock)
    assert dock.session.keyed == (names[-1], *names[:-1])
    assert {name: dock.session.colour(name) for name in names} == colours
    assert not menu_of(dock.strip.chips.chips[0])["Give it key 1"].isEnabled()
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    assert list(shown(dock).values()) == ["class k"] * 5
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    assert open_dock(viewer, qtbot, folder).session.keyed == (names[-1], *names[:-1])


def test_a_class_that_cannot_be_removed_says_why(dock, small_classifier, qtbot):
    session = dock.session
    name_classes(qtbot, dock, ("leukocyte", "odd", "even"))
    press(qtbot, dock.table, "2")
    settled(qtbot, dock)

    def removal(name):
        chip = next(chip for chip in dock.strip.chips.chips if chip.name == name)
        return next(action for text, action in menu_of(chip).items() if text.startswith("Remove"))

    assert removal("odd").text() == "Remove (specimens are labelled so)"
    assert removal("leukocyte").text() == "Remove"
    session.use(load_classifier(small_classifier), small_classifier)
    qtbot.waitUntil(lambda: (session.status == 2).all(), timeout=TIME)
    assert removal("leukocyte").text() == "Remove (the classifier in use knows it)"
    assert not removal("leukocyte").isEnabled() and not removal("odd").isEnabled()
    session.use(None)
    seen = next(name for code, name in enumerate(session.classes) if (session.rows.predicted == code).any())
    assert removal(seen).text() == "Remove (an earlier prediction names it)"
    assert removal("even").isEnabled()
    removal("even").trigger()
    settled(qtbot, dock)
    assert "even" not in session.keyed


def test_a_name_that_is_not_accepted_changes_nothing(dock, qtbot):
    name_classes(qtbot, dock)
    qtbot.mouseDClick(dock.strip.chips.chips[0].text, Qt.MouseButton.LeftButton)
    qtbot.keyClicks(dock.strip.chips.editor, "something else")
    qtbot.keyClick(dock.strip.chips.editor, Qt.Key.Key_Escape)
    assert dock.strip.chips.editor.isHidden()
    assert dock.session.keyed == CLASSES
    press(qtbot, dock.table, "9")
    assert "3 classes, so key 9 has none" in dock.strip.hint.text()


def test_the_strip_says_what_training_still_needs(dock, qtbot):
    assert dock.strip.hint.text().startswith("Name two classes or more")
    name_classes(qtbot, dock)
    press(qtbot, dock.table, "123" * 5 + "12" * 3)  # of each class on several slides
    settled(qtbot, dock)
    assert dock.strip.hint.text().startswith("3 more of class 3 before training can hold two out.")
    press(qtbot, dock.table, "3" * 3)
    settled(qtbot, dock)
    assert dock.strip.hint.text() == HINT


def test_training_on_the_labels_is_one_click_away(viewer, dock, folder, qtbot):
    train = viewer.window.add_plugin_dock_widget("napari-ctc", "Train classifier")[1]
    name_classes(qtbot, dock, CLASSES[:2])
    for name, value in {"epochs": 1, "size": 32, "augment": False, "precision": "float32"}.items():
        for form in (train.setup.form, train.setup.advanced_form):
            if name in [widget.name for widget in form]:
                form[name].value = value
    press(qtbot, dock.table, "121212U1212")
    settled(qtbot, dock)
    assert train.setup.source.itemText(0) == "labelled here: 10 of 60"
    qtbot.mouseClick(train.run.train, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dock.session.classifier is not None, timeout=100_000)
    assert dock.session.classifier.classes == CLASSES[:2]
    qtbot.waitUntil(lambda: train.run._run is None, timeout=TIME)


def test_a_folder_open_twice_counts_once(viewer, dock, folder, qtbot):
    train = viewer.window.add_plugin_dock_widget("napari-ctc", "Train classifier")[1]
    name_classes(qtbot, dock)
    press(qtbot, dock.table, "UU112")
    settled(qtbot, dock)
    viewer.open(str(folder), plugin="napari-ctc")
    qtbot.waitUntil(lambda: len(dock.session) == 120, timeout=TIME)
    settled(qtbot, dock)
    press(qtbot, dock.table, "U3")
    settled(qtbot, dock)
    chips = dock.strip.chips
    assert dock.session.rows.unsure.sum() == 6 and (dock.session.rows.label >= 0).sum() == 8  # both rows of each
    assert chips.unsure.text() == "U  unsure  3"
    assert [chip.text.text() for chip in chips.chips] == ["1  debris  2", "2  leukocyte  1", "3  tumour cell  1"]
    assert train.setup.source.itemText(0) == "labelled here: 4 of 60"


def test_classes_named_at_once_have_colours_of_their_own(dock, qtbot):
    dock.labelling.name_classes(CLASSES)
    settled(qtbot, dock)
    assert len({dock.session.colour(name) for name in CLASSES}) == len(CLASSES)
