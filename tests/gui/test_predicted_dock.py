"""The dock "Predicted classes" in a real window, driven by clicks and keys."""

import csv
import os
import shutil
import time
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtWidgets import QComboBox, QDockWidget, QDoubleSpinBox, QLabel, QLineEdit, QPushButton

from napari_ctc.data.channels import ChannelView
from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.predictions import Predictions
from napari_ctc.data.specimens import Layout
from napari_ctc.gui.canvas_text import beginning, caption
from napari_ctc.gui.exported import predictions_of
from napari_ctc.gui.layers import add_stack
from napari_ctc.gui.predicted_filter import AT_ODDS, LABELLED, NOT_PREDICTED, UNLABELLED, UNSURE, Filter
from napari_ctc.gui.predicted_model import LABEL, NAME, PREDICTED, PROBABILITY, SOURCE, STATUS, PredictedModel
from napari_ctc.gui.predicted_order import LIKENESS, Order
from napari_ctc.gui.predicted_table import PredictedView
from napari_ctc.gui.rows import Status
from napari_ctc.gui.session import session_of

TIME = 60_000


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer, qtbot):
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    qtbot.wait(50)
    return dock


def open_folder(viewer, folder):
    viewer.open(str(folder), plugin="napari-ctc")


def predicted(qtbot, dock):
    """Wait until nothing waits to be classified."""
    qtbot.waitUntil(lambda: not dock.background.busy and Status.PENDING not in dock.session.status, timeout=TIME)
    qtbot.wait(20)


def cells(dock, column):
    model = dock.table.model()
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def click_row(qtbot, dock, row):
    table = dock.table
    table.scrollTo(table.model().index(row, 0))
    where = table.visualRect(table.model().index(row, PREDICTED)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=where)


def click_header(qtbot, dock, column):
    header = dock.table.horizontalHeader()
    where = QPoint(header.sectionViewportPosition(column) + 20, header.height() // 2)
    qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)


def test_a_window_that_grows_late_still_shows_rows_of_the_table(viewer, dock, own_folder, qtbot):
    if dock.screen().availableGeometry().height() < 900:
        pytest.skip("the screen has no room")
    open_folder(viewer, own_folder)
    for width in (1500, 1000):
        viewer.window._qt_window.resize(width, 900)
        qtbot.wait(100)
        table = dock.table
        assert table.viewport().height() >= 3 * table.verticalHeader().defaultSectionSize()


def test_the_empty_dock_invites_to_open_specimens(dock):
    assert not dock.table.isVisible()
    texts = {button.text() for button in dock.findChildren(QPushButton) if button.isVisible()}
    assert {"Open folder…", "Open labels…", "Try drawn specimens"} <= texts


def test_the_dock_lies_below_the_canvas_and_leaves_it_room(viewer, dock, drawn_folder, qtbot):
    open_folder(viewer, drawn_folder)
    qtbot.wait(100)
    holder = dock.parentWidget()
    while not isinstance(holder, QDockWidget):
        holder = holder.parentWidget()
    assert holder.parentWidget().dockWidgetArea(holder) == Qt.DockWidgetArea.BottomDockWidgetArea
    assert dock.height() < 330


def test_without_a_classifier_the_table_shows_labels_and_leads_to_the_train_dock(
    viewer, dock, drawn_folder, qtbot
):
    open_folder(viewer, drawn_folder)
    assert dock.model.rowCount() == 60
    assert set(cells(dock, PREDICTED)) == {""}
    assert set(cells(dock, LABEL)) == {"leukocyte", "debris", "tumour cell"}
    assert "train or load" in dock.findChild(QLabel, "predictedBy").text()
    qtbot.mouseClick(dock.findChild(QPushButton, "openTrainDock"), Qt.MouseButton.LeftButton)
    assert any("Train classifier" in name for name in viewer.window.dock_widgets)


def test_opening_a_folder_with_a_classifier_at_hand_predicts_each_specimen(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    dock.session.classifier = tiny_classifier
    open_folder(viewer, drawn_folder)
    predicted(qtbot, dock)
    assert set(cells(dock, STATUS)) == {"current"}
    assert set(cells(dock, PREDICTED)) <= set(tiny_classifier.classes)
    assert tiny_classifier.digest[:8] in dock.findChild(QLabel, "predictedBy").text()
    assert "60" in dock.shown.text()


def test_selecting_a_row_moves_the_slider_and_the_slider_selects_the_row(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    click_row(qtbot, dock, 7)
    assert viewer.dims.current_step[0] == 7
    qtbot.keyClick(dock.table, Qt.Key.Key_Down)
    assert viewer.dims.current_step[0] == 8
    viewer.dims.set_current_step(0, 41)
    assert dock.table.currentIndex().row() == 41
    qtbot.waitUntil(lambda: dock.table.visualRect(dock.table.currentIndex()).top() >= 0)
    row = dock.session.rows
    overlay = viewer.canvas.overlays.text
    caption = f"{dock.session.classes[row.predicted[41]]}  {row.probability[41]:.2f}"
    qtbot.waitUntil(lambda: overlay.text.startswith(caption))  # it grows by a few new letters at a time
    assert overlay.visible
    assert dock.details.findChild(QLabel, "detailsTitle").text() == row.name[41]
    bars = dock.details._bars
    np.testing.assert_allclose(bars.probabilities, row.probabilities[41])
    assert bars.classes == tiny_classifier.classes


def test_a_selected_row_stays_with_its_specimen_when_the_table_is_sorted(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    click_row(qtbot, dock, 3)
    click_header(qtbot, dock, PROBABILITY)
    shown = [float(text) for text in cells(dock, PROBABILITY)]
    assert shown == sorted(shown)
    assert viewer.dims.current_step[0] == 3
    assert dock.model.indices[dock.table.currentIndex().row()] == 3
    click_header(qtbot, dock, PROBABILITY)
    shown = [float(text) for text in cells(dock, PROBABILITY)]
    assert shown == sorted(shown, reverse=True)
    click_header(qtbot, dock, PROBABILITY)
    assert list(dock.model.indices) == list(range(60))


def test_the_filters_leave_what_they_name(viewer, dock, drawn_folder, tiny_classifier, qtbot):
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    qtbot.keyClicks(dock.findChild(QLineEdit, "filterText"), "SLIDE_3")
    assert {name.split("/")[0] for name in cells(dock, NAME)} == {"slide_3"}
    dock.findChild(QLineEdit, "filterText").clear()
    name = cells(dock, PREDICTED)[0]
    classes = dock.findChild(QComboBox, "filterClass")
    classes.setCurrentIndex(classes.findText(name))
    assert set(cells(dock, PREDICTED)) == {name}
    least = float(np.median([float(text) for text in cells(dock, PROBABILITY)]))
    dock.findChild(QDoubleSpinBox, "filterLeast").setValue(least)
    assert all(float(text) >= round(least, 2) for text in cells(dock, PROBABILITY))
    assert "of 60" in dock.shown.text()
    classes.setCurrentIndex(classes.findData(NOT_PREDICTED))
    dock.findChild(QDoubleSpinBox, "filterLeast").setValue(0)
    assert dock.model.rowCount() == 0


def test_enter_shows_the_probabilities_of_all_classes(viewer, dock, drawn_folder, tiny_classifier, qtbot):
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    dock.details.hide()
    click_row(qtbot, dock, 2)
    qtbot.keyClick(dock.table, Qt.Key.Key_Return)
    assert dock.details.isVisible()
    assert dock.details._bars.accessibleDescription().startswith(tiny_classifier.classes[0])


@pytest.mark.parametrize("calibrated", ["none", "all", "but the first"])
def test_a_class_that_is_not_calibrated_has_a_score(
    viewer, dock, drawn_folder, tiny_classifier, qtbot, calibrated
):
    from dataclasses import replace

    names = {"none": (), "all": tiny_classifier.classes, "but the first": tiny_classifier.classes[1:]}[calibrated]
    open_folder(viewer, drawn_folder)
    dock.session.classifier = replace(tiny_classifier, calibrated=names, digest="")
    predicted(qtbot, dock)
    model = dock.table.model()
    heading = model.headerData(PROBABILITY, Qt.Orientation.Horizontal)
    assert heading == ("score" if calibrated == "none" else "probability")
    said = zip(cells(dock, PREDICTED), cells(dock, PROBABILITY), strict=True)
    for row, (name, number) in enumerate(said):
        assert number.startswith("score ") == (
            calibrated == "but the first" and name == tiny_classifier.classes[0]
        )
        tip = model.data(model.index(row, PROBABILITY), Qt.ItemDataRole.ToolTipRole)
        assert ("not a calibrated probability" in tip) == (name not in names)


def test_a_new_classifier_makes_predictions_stale_until_it_has_spoken(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    from dataclasses import replace

    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    other = replace(tiny_classifier, digest="b" * 64)
    dock.session.classifier = other
    assert all(text.startswith("stale: An earlier classifier") for text in cells(dock, STATUS))
    model = dock.table.model()
    assert model.data(model.index(0, PREDICTED), Qt.ItemDataRole.FontRole).italic()
    assert all(text.endswith(" (stale)") for text in cells(dock, PREDICTED))
    assert not dock.details._bars.classes
    assert "Stale: it was called" in dock.details.findChild(QLabel, "detailsFacts").text()
    assert "(stale)" in caption(dock.session, dock.session.current)
    qtbot.waitUntil(lambda: set(cells(dock, STATUS)) == {"current"}, timeout=TIME)
    assert predictions_of(dock.session).table["classifier"].unique().tolist() == [other.digest]


def test_a_classifier_that_comes_back_at_once_gives_each_class_its_probability_again(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    from dataclasses import replace

    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    dock.session.classifier = replace(tiny_classifier, digest="b" * 64)
    dock.session.classifier = tiny_classifier
    assert all("it will be classified again" in text for text in cells(dock, STATUS))
    qtbot.waitUntil(lambda: set(cells(dock, STATUS)) == {"current"}, timeout=TIME)
    table = predictions_of(dock.session).table
    assert table[[f"p_{name}" for name in tiny_classifier.classes]].notna().all(axis=None)
    assert dock.details._bars.classes


def test_an_old_prediction_does_not_pass_for_one_of_a_classifier_that_does_not_fit(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    from types import SimpleNamespace

    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    classes = tiny_classifier.classes
    three = {"channel_count": 3, "channels": ("a", "b", "c")}
    dock.session.use(SimpleNamespace(digest="c" * 64, classes=classes, calibrated=(), **three))
    assert set(dock.session.status) == {Status.FAILED}
    assert set(cells(dock, PREDICTED)) == {"not classified"}
    assert set(cells(dock, PROBABILITY)) == {""}
    model = dock.table.model()
    assert model.data(model.index(0, PREDICTED), Qt.ItemDataRole.DecorationRole) is None
    qtbot.waitUntil(lambda: viewer.canvas.overlays.text.text.startswith("not classified"))
    facts = dock.details.findChild(QLabel, "detailsFacts").text()
    assert facts.startswith("Not classified. The classifier needs 3 channels")
    assert not dock.details._bars.classes and "was called" not in facts
    for name in classes:
        model.set_filter(Filter(predicted=f"class:{name}"))
        assert not model.rowCount()
    assert not dock.export_button.isEnabled()  # with no row there is nothing to export
    model.set_filter(Filter(least=0.01))
    assert not model.rowCount()
    model.set_filter(Filter(predicted=NOT_PREDICTED))
    assert model.rowCount() == 60
    assert dock.export_button.isEnabled()


def test_a_rewritten_file_is_stale_and_classified_again(viewer, dock, own_folder, tiny_classifier, qtbot):
    open_folder(viewer, own_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    seen = []
    dock.session.predictions_changed.connect(lambda index: seen.append(dock.session.status[4]))
    path = own_folder / dock.session.rows.name[4]
    specimen = np.load(path)
    np.save(path, specimen[::-1])
    os.utime(path, (time.time() + 5, time.time() + 5))
    before = dock.session.rows.modified[4]
    viewer.dims.set_current_step(0, 4)  # the specimen that becomes current is looked at
    qtbot.waitUntil(lambda: dock.session.rows.modified[4] != before, timeout=TIME)
    assert (np.asarray(viewer.layers[-1].data[4]) == specimen[::-1, :, 0]).all()
    assert seen[0] == Status.STALE
    assert seen[-1] == Status.CURRENT


def test_a_broken_file_fails_in_words_and_is_tried_again_when_mended(
    viewer, dock, own_folder, tiny_classifier, qtbot
):
    broken = own_folder / "slide_1" / sorted(path.name for path in (own_folder / "slide_1").iterdir())[0]
    good = broken.read_bytes()
    broken.write_bytes(good[:500])
    open_folder(viewer, own_folder)
    dock.session.classifier = tiny_classifier
    qtbot.waitUntil(lambda: Status.FAILED in dock.session.status and not dock.background.busy, timeout=TIME)
    index = int(np.flatnonzero(dock.session.status == Status.FAILED)[0])
    assert "cut short" in cells(dock, STATUS)[index]
    assert list(dock.session.status).count(Status.CURRENT) == 59
    broken.write_bytes(good)
    dock.background.look()
    qtbot.waitUntil(lambda: dock.session.status[index] == Status.CURRENT, timeout=TIME)


def test_a_failing_network_is_told_once_and_the_next_classifier_is_tried(
    viewer, dock, drawn_folder, tiny_classifier, qtbot, monkeypatch
):
    from dataclasses import replace

    from napari.utils.notifications import notification_manager

    from napari_ctc.apply.forward import Forward

    def fail(*_):
        raise RuntimeError("CUDA out of memory")

    open_folder(viewer, drawn_folder)
    qtbot.waitUntil(lambda: dock.labelling.book is not None and dock.labelling.book.journal is not None)
    before = len(notification_manager.records)
    with monkeypatch.context() as patch:
        patch.setattr(Forward, "__call__", fail)
        dock.session.classifier = tiny_classifier
        qtbot.waitUntil(lambda: "out of memory" in dock.message.text(), timeout=TIME)
        qtbot.wait(200)
    assert not dock.background.busy
    assert len(notification_manager.records) == before + 1
    dock.session.classifier = replace(tiny_classifier, digest="b" * 64)
    predicted(qtbot, dock)
    assert set(cells(dock, STATUS)) == {"current"}
    assert dock.message.text() == ""


def test_removing_the_layers_removes_the_rows(viewer, dock, drawn_folder, tiny_classifier, qtbot):
    dock.session.classifier = tiny_classifier
    open_folder(viewer, drawn_folder)
    first = next(drawn_folder.glob("slide_1/*.npy"))
    viewer.open(str(first), plugin="napari-ctc")
    predicted(qtbot, dock)
    assert dock.model.rowCount() == 61
    for layer in list(viewer.layers)[:4]:
        viewer.layers.remove(layer)
    assert dock.model.rowCount() == 1
    assert cells(dock, STATUS) == ["current"]
    viewer.layers.clear()
    assert dock.model.rowCount() == 0
    assert not dock.table.isVisible()
    qtbot.waitUntil(lambda: not viewer.canvas.overlays.text.visible)


def test_selecting_a_single_file_shows_its_layers_alone(viewer, dock, drawn_folder, qtbot):
    for path in sorted(drawn_folder.glob("slide_2/*.npy"))[:2]:
        viewer.open(str(path), plugin="napari-ctc")
    qtbot.wait(20)
    click_row(qtbot, dock, 0)
    assert [layer.visible for layer in viewer.layers][4:] == [False] * 4
    assert any(layer.visible for layer in list(viewer.layers)[:4])
    click_row(qtbot, dock, 1)
    assert [layer.visible for layer in viewer.layers][:4] == [False] * 4
    assert viewer.layers.selection.active in list(viewer.layers)[4:]


def test_long_names_of_classes_leave_the_other_boxes_their_room(viewer, dock, own_folder, qtbot):
    open_folder(viewer, own_folder)
    rows = [dock.filters, dock.queue]
    before = [row.sizeHint().width() for row in rows]
    dock.labelling.do(lambda: dock.labelling.name_classes(("debris", "a cell of a name " + 80 * "m")))
    qtbot.waitUntil(lambda: len(dock.session.classes) > 3, timeout=TIME)
    qtbot.wait(50)
    assert [row.sizeHint().width() for row in rows] == before


def test_a_small_dock_scrolls_and_cuts_no_class_and_no_row(viewer, dock, own_folder, qtbot):
    open_folder(viewer, own_folder)
    names = ("lymphocyte", "monocyte", "neutrophil", "eosinophil", "tumour cluster", "apoptotic cell", "other")
    dock.labelling.do(lambda: dock.labelling.name_classes(names))
    qtbot.waitUntil(lambda: "other" in dock.session.classes, timeout=TIME)
    float_it = dock.parentWidget()
    while not isinstance(float_it, QDockWidget):
        float_it = float_it.parentWidget()
    float_it.setFloating(True)
    for size in ((700, 260), (1000, 260), (500, 500)):
        float_it.resize(*size)
        qtbot.wait(100)
        chips = dock.strip.chips
        assert all(chips.rect().contains(part.geometry()) for part in chips.findChildren(QLabel, "unsureCount"))
        table = dock.table
        assert table.viewport().height() >= table.verticalHeader().defaultSectionSize()


def test_of_two_folders_the_dock_names_the_table_of_the_specimen_shown(
    viewer, dock, drawn_folder, tiny_classifier, qtbot, tmp_path
):
    dock.session.classifier = tiny_classifier
    for number in range(2):
        folder = tmp_path / f"folder_{number}"
        folder.mkdir()
        for path in sorted(drawn_folder.glob("slide_2/*.npy"))[:3]:
            (folder / path.name).write_bytes(path.read_bytes())
        open_folder(viewer, folder)
    qtbot.waitUntil(lambda: "folder_1/labels.csv" in dock.strip.place.text(), timeout=TIME)
    predicted(qtbot, dock)
    click_row(qtbot, dock, 0)
    assert "folder_0/labels.csv" in dock.strip.place.text()
    click_row(qtbot, dock, 4)
    assert "folder_1/labels.csv" in dock.strip.place.text()


def export(dock, qtbot, name, path):
    dock.export_menu.ask_path = lambda title, suggestion, kind: str(path)
    action = next(action for action in dock.export_menu.actions() if action.objectName() == name)
    action.trigger()
    qtbot.waitUntil(lambda: dock.export_menu.running is None, timeout=TIME)
    qtbot.wait(20)


def test_exported_predictions_are_the_rows_that_the_table_shows(
    viewer, dock, drawn_folder, tiny_classifier, qtbot, tmp_path
):
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    click_header(qtbot, dock, PROBABILITY)
    qtbot.keyClicks(dock.findChild(QLineEdit, "filterText"), "slide_1")
    qtbot.mouseClick(dock.findChild(QPushButton, "exportButton"), Qt.MouseButton.NoButton)
    for suffix, name in ((".csv", "exportPredictionsCSV"), (".parquet", "exportPredictionsParquet")):
        out = tmp_path / f"predictions{suffix}"
        export(dock, qtbot, name, out)
        read = Predictions.read(out)
        assert [path.rsplit("/", 1)[1] for path in read.table["path"]] == [
            name.rsplit("/", 1)[1] for name in cells(dock, NAME)
        ]
        assert list(read.table["predicted"]) == cells(dock, PREDICTED)
        assert list(read.table["label"]) == cells(dock, LABEL)
        assert [f"{p:.3f}" for p in read.table["probability"]] == cells(dock, PROBABILITY)
    assert f"{dock.model.rowCount()} rows" in dock.message.text()


def test_labels_go_out_with_a_header_or_in_two_columns(viewer, dock, drawn_folder, qtbot, tmp_path):
    open_folder(viewer, drawn_folder)
    export(dock, qtbot, "exportLabels", tmp_path / "labels.csv")
    export(dock, qtbot, "exportLabelsOriginal", tmp_path / "original")
    assert len(Manifest.read(tmp_path / "labels.csv").labelled()) == 60
    with (tmp_path / "original.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 60
    assert {len(row) for row in rows} == {2}


@pytest.mark.parametrize("name", ["exportLabels", "exportLabelsOriginal", "exportLabelsBoth"])
def test_no_export_is_written_over_labels_or_read_in_their_place(viewer, dock, own_folder, qtbot, tmp_path, name):
    from napari.utils.notifications import notification_manager

    place = tmp_path / "place.csv"
    open_folder(viewer, own_folder)
    dock.labelling.do(lambda: dock.labelling.move_to(place))
    qtbot.waitUntil(lambda: "place.csv" in dock.strip.place.text() and not dock.labelling.busy, timeout=TIME)
    before = {path: path.read_bytes() for path in (place, own_folder / "manifest.csv")}
    for path in (*before, own_folder / "labels.csv", own_folder / "slide_1" / ".." / "labels"):
        warnings = len(notification_manager.records)
        export(dock, qtbot, name, path)
        assert dock.message.text().startswith("Not exported.") and "another name" in dock.message.text()
        assert len(notification_manager.records) == warnings + 1
    assert not (own_folder / "labels.csv").exists()
    assert {path: path.read_bytes() for path in before} == before
    suggested = []
    dock.export_menu.ask_path = lambda title, suggestion, kind: suggested.append(suggestion) or suggestion
    next(action for action in dock.export_menu.actions() if action.objectName() == name).trigger()
    qtbot.waitUntil(lambda: dock.export_menu.running is None, timeout=TIME)
    assert suggested == [str(own_folder / "exported_labels.csv")]
    assert len(Manifest.open(own_folder).labelled()) == len(Manifest.read(suggested[0]).labelled()) == 60


def test_copies_go_into_one_folder_a_class(viewer, dock, drawn_folder, qtbot, tmp_path):
    open_folder(viewer, drawn_folder)
    export(dock, qtbot, "exportCopiesByLabel", tmp_path / "classes")
    assert {folder.name for folder in (tmp_path / "classes").iterdir()} == {
        "leukocyte", "debris", "tumour cell",
    }  # fmt: skip
    assert len(list((tmp_path / "classes").rglob("*.npy"))) == 60


def test_what_could_not_be_copied_is_told_with_the_reason(viewer, dock, own_folder, qtbot, tmp_path, monkeypatch):
    open_folder(viewer, own_folder)
    gone, full = sorted(own_folder.glob("slide_1/*.npy"))[0], OSError(28, os.strerror(28))
    gone.unlink()
    export(dock, qtbot, "exportCopiesByLabel", tmp_path / "classes")
    assert dock.message.text() == (
        f"Copied 59 specimens into classes. 1 could not be put there. "
        f"The first: slide_1/{gone.name} does not exist any more."
    )
    gone.write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", Mock(side_effect=full))
        export(dock, qtbot, "exportCopiesByLabel", tmp_path / "again")
    told = dock.message.text()
    assert told.startswith("Copied 0 specimens into again. 60 could not be put there. The first: ")
    assert "cannot be written: No space left on device." in told


def test_an_export_says_how_many_specimens_are_left_out_and_why(viewer, dock, drawn_folder, qtbot, tmp_path):
    open_folder(viewer, drawn_folder)
    np.save(tmp_path / "stack.npy", np.random.default_rng(0).random((5, 32, 32, 7)))
    add_stack(viewer, Manifest.open(tmp_path / "stack.npy", Layout(7)))
    qtbot.waitUntil(lambda: dock.model.rowCount() == 65, timeout=TIME)
    left_out = "Left out: 5 with another number of channels than the first. Show them alone to export them."
    export(dock, qtbot, "exportPredictionsCSV", tmp_path / "predictions.csv")
    assert dock.message.text() == f"Wrote 60 rows to predictions.csv. {left_out}"
    export(dock, qtbot, "exportCopiesByLabel", tmp_path / "copies")
    assert dock.message.text() == f"Copied 60 specimens into copies. {left_out}"
    qtbot.keyClicks(dock.findChild(QLineEdit, "filterText"), "stack.npy")
    export(dock, qtbot, "exportPredictionsCSV", tmp_path / "others.csv")
    assert dock.message.text() == "Wrote 5 rows to others.csv."


def test_an_export_that_cannot_be_is_told_and_leaves_the_dock_usable(viewer, dock, drawn_folder, qtbot, tmp_path):
    from napari.utils.notifications import notification_manager

    viewer.open(str(next(drawn_folder.glob("slide_1/*.npy"))), plugin="napari-ctc")
    before = len(notification_manager.records)
    export(dock, qtbot, "exportLabels", tmp_path / "labels.csv")
    assert "No specimen has a label" in dock.message.text()
    assert len(notification_manager.records) == before + 1
    assert not (tmp_path / "labels.csv").exists()


def test_closing_the_dock_mid_run_leaves_no_worker_and_gives_the_canvas_back(
    viewer, drawn_folder, tiny_classifier, qtbot
):
    overlay = viewer.canvas.overlays.text
    overlay.text, overlay.visible = "mine", True
    holder, dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    qtbot.waitUntil(lambda: dock.background._classifying is not None, timeout=TIME)
    holder.destroyOnClose()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIME)
    assert (overlay.text, overlay.visible) == ("mine", True)
    viewer.dims.set_current_step(0, 3)
    assert overlay.text == "mine"


def test_closing_the_viewer_mid_run_leaves_no_worker(make_napari_viewer, drawn_folder, tiny_classifier, qtbot):
    viewer = make_napari_viewer(show=True)
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    qtbot.waitUntil(lambda: dock.background._classifying is not None, timeout=TIME)
    viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIME)


def test_a_dock_opened_again_takes_up_where_the_first_left_off(viewer, dock, drawn_folder, tiny_classifier, qtbot):
    open_folder(viewer, drawn_folder)
    dock.session.classifier = tiny_classifier
    predicted(qtbot, dock)
    viewer.window.remove_dock_widget(dock)
    qtbot.wait(50)
    again = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    assert set(cells(again, STATUS)) == {"current"}


# --------------------------------------------------------------------------------------- without a window


class Stack:
    shape, dtype = (2, 4, 4), np.dtype(np.uint8)  # of what is shown; of the rest, the manifest is enough

    def __init__(self, manifest):
        self.manifest = manifest

    def frame(self, row):
        return np.zeros((1, 4, 4), self.dtype)


@pytest.fixture
def large(qapp):
    """A session of 100,000 specimens, predicted at random."""
    from napari.components import ViewerModel

    count = 100_000
    blank = [""] * count
    names = [f"slide_{row % 50}/specimen_{row}.npy" for row in range(count)]
    table = pd.DataFrame(dict.fromkeys(COLUMNS, blank) | {"path": names}, dtype="str")
    viewer = ViewerModel()
    session = session_of(viewer)
    session.viewer_kept = viewer
    stack = Stack(Manifest(table, ".", notes=()))
    viewer.add_image(ChannelView(stack, 0), metadata={"napari_ctc": {"stack": stack, "channel": 0}})
    session.classes = ("debris", "tumour cell")
    session._digests = ["a" * 16]
    session.rows.by[:] = 0
    rng = np.random.default_rng(0)
    session.rows.predicted[:] = rng.integers(-1, 2, count)
    session.rows.probability[:] = rng.random(count)
    return session


def test_100_000_rows_sort_and_filter_at_once(large):
    model = PredictedModel(large)
    assert model.rowCount() == 100_000
    start = time.perf_counter()
    model.sort(PROBABILITY, Qt.SortOrder.DescendingOrder)
    sorting = time.perf_counter() - start
    start = time.perf_counter()
    model.set_filter(Filter("slide_7/", "class:tumour cell", 0.5))
    filtering = time.perf_counter() - start
    assert sorting < 0.3  # 15 ms when measured
    assert filtering < 0.5  # 40 ms when measured
    shown = model.indices
    assert (large.rows.predicted[shown] == 1).all()
    assert (np.diff(large.rows.probability[shown]) <= 0).all()


def test_100_000_rows_show_at_once(large, qtbot):
    start = time.perf_counter()
    view = PredictedView(PredictedModel(large))
    qtbot.addWidget(view)
    view.resize(800, 300)
    view.show()
    view.follow(99_999)
    qtbot.wait(1)
    assert time.perf_counter() - start < 2  # 0.2 s when measured
    assert view.currentIndex().row() == 99_999


def test_names_sort_as_a_person_counts_and_blanks_come_last(large):
    model = PredictedModel(large)
    model.sort(NAME)
    first = [large.rows.name[index] for index in model.indices[:3]]
    assert first == ["slide_0/specimen_0.npy", "slide_0/specimen_50.npy", "slide_0/specimen_100.npy"]
    for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
        model.sort(PREDICTED, order)
        assert large.rows.predicted[model.indices[0]] != -1
        assert large.rows.predicted[model.indices[-1]] == -1


def test_the_one_compared_with_comes_before_its_equals(large):
    large.rows.probabilities = np.tile(np.float32([0.25, 0.75]), (len(large), 1))  # all alike to the last digit
    large.rows.predicted[:] = 1
    model = PredictedModel(large)
    model.set_order(Order(LIKENESS, False, 20))
    assert model.indices[0] == 20
    model.set_order(Order(LIKENESS, True, 20))
    assert model.indices[-1] == 20


def test_the_filter_finds_what_is_unlike_the_label(large):
    large.rows.label[:3] = (0, 1, 1)
    large.rows.predicted[:3] = (1, 1, -1)
    model = PredictedModel(large)
    model.set_filter(Filter(predicted=AT_ODDS))
    assert list(model.indices) == [0]


def test_the_filter_tells_labelled_unlabelled_and_unsure_apart(large):
    large.rows.label[:] = -1
    large.rows.label[:4] = (0, 1, 1, -1)
    large.rows.unsure[3] = True
    model = PredictedModel(large)
    for chosen, expected in (
        (LABELLED, [0, 1, 2]),
        (UNSURE, [3]),
        (f"class:{large.classes[1]}", [1, 2]),
        ("class:renamed since", []),
    ):
        model.set_filter(Filter(label=chosen))
        assert list(model.indices) == expected
    model.set_filter(Filter(label=UNLABELLED))
    assert len(model.indices) == len(large) - 4


def test_a_person_chooses_labels_and_sources_to_see(viewer, dock, own_folder, qtbot):
    open_folder(viewer, own_folder)
    labels = dock.findChild(QComboBox, "filterLabel")
    labels.setCurrentIndex(labels.findText("label: tumour cell"))
    assert set(cells(dock, LABEL)) == {"tumour cell"}
    labels.setCurrentIndex(labels.findData(UNLABELLED))
    assert dock.model.rowCount() == 0  # the folder came with labels
    labels.setCurrentIndex(0)
    assert dock.model.rowCount() == 60
    sources = dock.findChild(QComboBox, "filterSource")
    assert sources.isVisibleTo(dock)
    offered = [sources.itemText(place) for place in range(sources.count())]
    assert offered == ["any source", *sorted(set(dock.session.rows.source))]
    sources.setCurrentIndex(2)
    assert set(cells(dock, SOURCE)) == {offered[2]}
    table = own_folder / "manifest.csv"
    lines = [line.split(",")[:2] for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join(line) for line in lines))
    viewer.layers.clear()
    viewer.open(str(table), plugin="napari-ctc")  # now without a source
    assert dock.model.rowCount() == 60
    assert not sources.isVisibleTo(dock)


def test_a_caption_grows_by_a_few_letters_that_the_canvas_has_not_drawn_yet():
    assert beginning("debris  0.93", set()) == ""
    assert beginning("debris  0.93", set("debris ")) == "debris  "
    assert beginning("debris  0.93", set("debris  0.93")) == "debris  0.93"


def test_specimens_on_another_scale_than_the_classifier_are_told_of(
    viewer, dock, own_folder, tiny_classifier, qtbot
):
    for path in own_folder.rglob("*.npy"):
        np.save(path, np.load(path).astype(np.uint16) * 257)
    open_folder(viewer, own_folder)
    dock.session.use(tiny_classifier)
    told = "What the classifier says of these specimens"
    qtbot.waitUntil(lambda: dock.message.text().startswith(told), timeout=TIME)
    assert "Save them on the same scale" in dock.message.toolTip()
