"""The instant head in a real window: its predictions follow each label, and say whose they are."""

import os
import time

import numpy as np
import pytest

pytest.importorskip("napari")
from labelling_steps import CTRL, SHIFT, TIME, name_classes, open_dock, press, settled
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_ctc.data.manifest import Manifest
from napari_ctc.gui.exported import predictions_of
from napari_ctc.gui.predicted_model import HEADERS, PREDICTED, PROBABILITY, STATUS
from napari_ctc.gui.rows import Status
from napari_ctc.gui.speakers import HEAD

SOME = ("leukocyte", "debris")  # classes to begin with; the third has no label yet


@pytest.fixture
def truth(own_folder):
    """The true classes by name; afterwards the folder is unlabelled."""
    manifest = Manifest.open(own_folder / "manifest.csv")
    (own_folder / "manifest.csv").unlink()
    return dict(zip(manifest.keys, manifest.table["label"], strict=True)), list(manifest.classes)


@pytest.fixture
def dock(make_napari_viewer, own_folder, truth, qtbot):
    viewer = make_napari_viewer(show=True)
    dock = open_dock(viewer, qtbot, own_folder)
    name_classes(qtbot, dock, truth[1])
    qtbot.waitUntil(lambda: dock.queue.measuring.done == 60 and not dock.queue.measuring.running, timeout=TIME)
    return dock


def label(qtbot, dock, truth, indices):
    """Label specimens by their true classes, with keys."""
    labels, classes = truth
    for index in indices:
        dock.session.go_to(index)
        press(qtbot, dock.table, str(classes.index(labels[dock.session.rows.name[index]]) + 1))
        settled(qtbot, dock)


def learnt(qtbot, dock, count):
    """Wait until what is shown was learnt from so many labels."""

    def now():
        speaker = dock.session.shown.speaker
        return getattr(speaker, "labels", 0) == count

    qtbot.waitUntil(now, timeout=TIME)


def cells(dock, column):
    return [dock.model.text(index, column) for index in range(len(dock.session))]


def header(dock, column, role=Qt.ItemDataRole.DisplayRole):
    return dock.model.headerData(column, Qt.Orientation.Horizontal, role)


def test_predictions_follow_each_label_and_say_whose_they_are(dock, truth, qtbot):
    labels, _ = truth
    names = [str(name) for name in dock.session.rows.name]
    firsts = [next(i for i, name in enumerate(names) if labels[name] == one) for one in SOME]
    label(qtbot, dock, truth, firsts[:1])
    assert not any(cells(dock, PREDICTED))  # one class teaches nothing
    label(qtbot, dock, truth, firsts[1:])
    learnt(qtbot, dock, 2)
    assert set(cells(dock, PREDICTED)) == {"leukocyte", "debris"}
    assert set(cells(dock, STATUS)) == {"current"}
    assert dock.strip.origin.text() == "by the instant head (2 labels, 254 measurements)"
    assert header(dock, PREDICTED) == "predicted (instant)"
    assert header(dock, PROBABILITY) == "score"
    assert "instant head" in header(dock, PREDICTED, Qt.ItemDataRole.ToolTipRole)
    qtbot.waitUntil(lambda: "(instant)" in dock._canvas_text._overlay().text)
    assert not dock.strip.switch.isVisible()  # there is no choice
    exported = predictions_of(dock.session)
    assert set(exported.table["classifier"]) == {"instant head (2 labels, 254 measurements)"}
    assert "leukocyte" in dock.strip.chips.chips[0].toolTip() + dock.strip.chips.chips[1].toolTip()

    rest = [index for index in range(60) if index not in firsts]
    before = dock.session.shown.probability.copy()
    label(qtbot, dock, truth, rest[:28])
    learnt(qtbot, dock, 30)
    assert not np.array_equal(before, dock.session.shown.probability)
    unseen = rest[28:]
    right = [dock.session.classes[dock.session.shown.predicted[one]] == labels[names[one]] for one in unseen]
    assert np.mean(right) > 0.8  # what it never saw

    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    learnt(qtbot, dock, 29)
    old = "leukocyte"
    dock.labelling.rename(old, "white cell")
    settled(qtbot, dock)
    qtbot.waitUntil(lambda: "white cell" in cells(dock, PREDICTED), timeout=TIME)
    assert old not in cells(dock, PREDICTED)
    for name in ("white cell", "tumour cell"):
        dock.labelling.rename(name, "debris")
    settled(qtbot, dock)
    qtbot.waitUntil(lambda: not any(cells(dock, PREDICTED)), timeout=TIME)  # one class is left
    assert dock.strip.origin.text() == "No classifier yet: train or load one."


def test_the_head_speaks_again_when_a_label_that_was_taken_back_comes_back(dock, truth, qtbot):
    labels, _ = truth
    names = [str(name) for name in dock.session.rows.name]
    label(qtbot, dock, truth, [next(i for i, n in enumerate(names) if labels[n] == one) for one in SOME])
    learnt(qtbot, dock, 2)
    said = cells(dock, PROBABILITY)
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    qtbot.waitUntil(lambda: not any(cells(dock, PREDICTED)), timeout=TIME)
    press(qtbot, dock.table, "Z", CTRL | SHIFT)
    settled(qtbot, dock)
    learnt(qtbot, dock, 2)
    assert cells(dock, PROBABILITY) == said


def test_an_export_says_that_a_class_without_labels_has_no_share(dock, truth, qtbot):
    labels, classes = truth
    names = [str(name) for name in dock.session.rows.name]
    label(qtbot, dock, truth, [next(i for i, n in enumerate(names) if labels[n] == one) for one in SOME])
    learnt(qtbot, dock, 2)
    table = predictions_of(dock.session).table
    assert not table["p_tumour cell"].any()
    shares = ", ".join(f"{name}={0.5 if name in SOME else 0:.3g}" for name in classes)
    assert set(table["proportions"]) == {shares}


def exchange(folder, dock, first, second):
    """Exchange the files of two specimens, as an export made anew may."""
    one, two = (folder / dock.session.rows.name[index] for index in (first, second))
    pixels = np.load(one), np.load(two)
    for path, specimen in zip((one, two), reversed(pixels), strict=True):
        np.save(path, specimen)
        os.utime(path, (time.time() + 5, time.time() + 5))


@pytest.mark.parametrize("with_network", [False, True], ids=["measurements", "features"])
def test_a_rewritten_file_is_measured_again_before_the_head_speaks_of_it(
    dock, truth, own_folder, tiny_classifier, qtbot, with_network
):
    measuring, session = dock.queue.measuring, dock.session
    label(qtbot, dock, truth, range(12))
    learnt(qtbot, dock, 12)
    if with_network:
        session.use(tiny_classifier, "tiny.safetensors")
        qtbot.waitUntil(lambda: measuring.table.network == tiny_classifier.digest, timeout=TIME)
        qtbot.waitUntil(lambda: set(session.classified) == {Status.CURRENT}, timeout=TIME)
        session.show_speaker(HEAD)
    qtbot.waitUntil(lambda: not measuring.running and not dock.background.busy, timeout=TIME)
    ids, table = session.rows.ids, measuring.table
    before, statuses, told = table.of(ids), [], []

    def note(_changed):
        statuses.append(session.shown.status[[3, 30]].tolist())

    session.predictions_changed.connect(note)
    dock.background.files_changed.connect(lambda ids, *_: told.extend(ids))
    exchange(own_folder, dock, 3, 30)
    dock.background.look()
    qtbot.waitUntil(lambda: len(told) == 2 and not measuring.running, timeout=TIME)
    now = table.of(ids)
    assert table is measuring.table
    np.testing.assert_allclose(now[[3, 30]], before[[30, 3]], rtol=1e-4, atol=1e-4)
    assert np.array_equal(np.delete(now, [3, 30], 0), np.delete(before, [3, 30], 0))
    qtbot.waitUntil(lambda: statuses[-1] == [Status.CURRENT] * 2, timeout=TIME)
    assert [Status.PENDING] * 2 in statuses
    learnt(qtbot, dock, 12)
    dock.background.look()  # nothing is different any more
    qtbot.waitUntil(lambda: dock.background._look_again.remainingTime() > 1000, timeout=TIME)
    assert len(told) == 2 and not measuring.running
    session.predictions_changed.disconnect(note)


def test_what_is_hidden_is_hidden_where_the_table_is_sorted_by_it(dock, truth, qtbot):
    label(qtbot, dock, truth, range(12))
    learnt(qtbot, dock, 12)
    dock.table.horizontalHeader().sectionClicked.emit(HEADERS.index("probability"))
    dock.table.horizontalHeader().sectionClicked.emit(HEADERS.index("probability"))
    order = dock.model.indices.copy()
    assert (np.diff(dock.session.shown.probability[order]) <= 0).all()
    press(qtbot, dock.table, "N")
    settled(qtbot, dock)
    while dock.queue.pick_of(dock.queue._shown_id)[0] != "random":
        press(qtbot, dock.table, "U")
        settled(qtbot, dock)
    drawn = dock.session.current
    assert dock.model.indices[-1] == drawn  # after all others, whatever it is
    assert dock.model.text(drawn, PREDICTED) == dock.model.text(drawn, PROBABILITY) == ""
    qtbot.waitUntil(lambda: dock._canvas_text._overlay().text == "prediction hidden")
    assert not dock.details._bars.classes
    assert "hidden" in dock.details.findChild(QLabel, "detailsFacts").text()

    qtbot.mouseClick(dock.queue.hidden, Qt.MouseButton.LeftButton)
    assert not any(cells(dock, PREDICTED)) and not any(cells(dock, PROBABILITY))
    assert dock.model.indices.tolist() == list(range(60))  # as opened: the order tells nothing
    assert "predicted" not in dock.strip.chips.chips[0].toolTip()
    qtbot.mouseClick(dock.queue.hidden, Qt.MouseButton.LeftButton)
    assert sum(map(bool, cells(dock, PREDICTED))) == 59

    # Rows keep their places while the head learns on, until they are asked to be sorted again.
    press(qtbot, dock.table, "U")
    settled(qtbot, dock)
    dock.session.go_to(40)
    order = dock.model.indices.copy()
    label(qtbot, dock, truth, [40])
    learnt(qtbot, dock, 13)
    assert np.array_equal(order, dock.model.indices)
    assert dock.views.again.isVisible()
    qtbot.mouseClick(dock.views.again, Qt.MouseButton.LeftButton)
    assert (np.diff(dock.session.shown.probability[dock.model.indices]) <= 0).all()
    assert not dock.views.again.isVisible()


def test_a_switch_chooses_between_the_network_and_the_head_which_goes_by_its_features(
    dock, truth, tiny_classifier, qtbot
):
    session = dock.session
    label(qtbot, dock, truth, range(12))
    learnt(qtbot, dock, 12)
    session.use(tiny_classifier, "tiny.safetensors")
    assert session.speaking == "network"
    assert dock.strip.switch.isVisible()
    assert dock.strip.origin.text().startswith("by tiny.safetensors")
    qtbot.waitUntil(lambda: set(session.classified) == {Status.CURRENT}, timeout=TIME)
    assert header(dock, PREDICTED) == "predicted"
    said = cells(dock, PROBABILITY)
    qtbot.mouseClick(dock.strip.switch.buttons["head"], Qt.MouseButton.LeftButton)
    assert "instant head (12 labels, " in dock.strip.origin.text()
    assert header(dock, PREDICTED) == "predicted (instant)"
    assert cells(dock, PROBABILITY) != said
    features = f"features of network {tiny_classifier.digest[:8]})"
    qtbot.waitUntil(lambda: features in dock.strip.origin.text(), timeout=TIME)
    assert set(cells(dock, STATUS)) == {"current"}

    label(qtbot, dock, truth, [20])  # the head learns on, shown or not
    learnt(qtbot, dock, 13)
    qtbot.mouseClick(dock.strip.switch.buttons["network"], Qt.MouseButton.LeftButton)
    assert cells(dock, PROBABILITY) == said
    assert set(predictions_of(session).table["classifier"]) == {tiny_classifier.digest}
    session.use(None)
    assert session.speaking == "head"  # by itself
    assert not dock.strip.switch.isVisible()
    qtbot.waitUntil(lambda: "measurements)" in dock.strip.origin.text(), timeout=TIME)
