"""The dock "Train classifier": start from a classifier, resume a run, cross-validate; by clicks."""

import csv
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QMessageBox

from napari_ctc.data.files import checkpoint_path
from napari_ctc.data.predictions import Predictions
from napari_ctc.errors import CTCError
from napari_ctc.gui.place_choice import CLUSTER, PROCESSES
from napari_ctc.learn import checkpoints
from napari_ctc.learn.loading import load_classifier


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")
    monkeypatch.setattr(checkpoints, "REST", 0.0)  # tiny epochs, and each has its checkpoint


def seen(driver, name):
    return driver.part(name).isVisibleTo(driver.widget)


def stop_after_an_epoch(driver):
    driver.until(lambda: driver.widget.run.last_epoch)
    driver.click("stop")
    driver.until_idle()


# ------------------------------------------------------------------------------------------- start from


def test_a_run_starts_from_the_classifier_in_use(driver, small_classifier):
    start = driver.part("start_from")
    assert start.currentText() == "new weights"
    assert not start.model().item(1).isEnabled()
    before = load_classifier(small_classifier)
    driver.session.use(before, small_classifier)
    assert start.model().item(1).isEnabled() and before.short in start.itemText(1)
    start.setCurrentIndex(1)
    assert not driver.part("network").isEnabled() and not driver.part("size").isEnabled()
    driver.set(epochs=1, size=48)  # passed over: the size is the classifier's
    driver.click("train")
    driver.until_idle()
    after = driver.session.classifier
    assert driver.message.startswith("Finished")
    assert after.parent == before.digest
    assert after.size == before.size == 24
    assert before.short not in start.itemText(1) and after.short in start.itemText(1)


def test_without_a_classifier_in_use_new_weights_are_chosen_again(driver, small_classifier):
    driver.session.use(load_classifier(small_classifier), small_classifier)
    driver.part("start_from").setCurrentIndex(1)
    driver.session.use(None)
    assert driver.part("start_from").currentText() == "new weights"
    assert driver.part("network").isEnabled()


# ---------------------------------------------------------------------------------------------- resume


def test_a_stopped_run_is_resumed_to_the_classifier_that_it_would_have_given(driver, tmp_path):
    driver.set(epochs=12, threads=1)
    driver.part("out").setText(str(tmp_path / "whole.safetensors"))
    driver.click("train")
    driver.until_idle()
    whole = driver.session.classifier
    assert not seen(driver, "resume")
    driver.part("out").setText(str(driver.out))
    driver.click("train")
    stop_after_an_epoch(driver)
    assert driver.session.classifier.stopped and "'Resume' goes on with it." in driver.message
    assert seen(driver, "resume")
    driver.set(epochs=3, learning_rate=0.1)  # passed over: the run has its own
    curves = driver.part("curves")
    before = [line.getData() for line in curves.loss.listDataItems()]
    driver.click("resume")
    assert not seen(driver, "resume")
    driver.until_idle()
    assert driver.message.startswith("Finished")
    assert driver.session.classifier.digest == whole.digest
    for (epochs, losses), line in zip(before, curves.loss.listDataItems(), strict=True):
        np.testing.assert_array_equal(line.getData()[0], range(1, 13))
        np.testing.assert_array_equal(line.getData()[1][: len(epochs)], losses)
    for line in curves.recall.listDataItems():
        np.testing.assert_array_equal(line.getData()[0], range(len(before[0][0]) + 1, 13))
    assert not seen(driver, "resume") and not checkpoint_path(driver.out).exists()


def test_resume_appears_where_an_unfinished_run_is(driver, tmp_path):
    checkpoint = checkpoint_path(tmp_path / "killed.safetensors")
    checkpoint.write_bytes(b"torn")
    assert not seen(driver, "resume")
    driver.part("out").setText(str(tmp_path / "killed"))
    assert seen(driver, "resume")
    driver.click("resume")
    driver.until_idle()
    assert "killed.checkpoint.safetensors is damaged" in driver.message
    checkpoint.unlink()
    driver.part("out").setText("")
    assert not seen(driver, "resume")


def test_a_run_that_started_from_a_classifier_is_resumed_from_it(driver, small_classifier):
    before = load_classifier(small_classifier)
    driver.session.use(before, small_classifier)
    driver.part("start_from").setCurrentIndex(1)
    driver.set(epochs=12)
    driver.click("train")
    stop_after_an_epoch(driver)
    driver.click("resume")
    driver.until_idle()
    assert driver.message.startswith("Finished")
    assert driver.session.classifier.parent == before.digest


def test_the_classifier_that_an_unfinished_run_needs_is_named(driver, small_classifier):
    before = load_classifier(small_classifier)
    driver.session.use(before, small_classifier)
    driver.part("start_from").setCurrentIndex(1)
    driver.set(epochs=12)
    driver.click("train")
    stop_after_an_epoch(driver)
    driver.widget.run._began_from = None  # as in a new window
    driver.click("resume")
    driver.until_idle()
    assert f"began from the classifier {before.short}, which is not in use. Load that one" in driver.message


# -------------------------------------------------------------------------------------- cross-validation


@pytest.fixture
def folds(driver):
    """Set the dock to cross-validate twofold."""
    driver.set(epochs=2)
    driver.part("crossval").expand(animate=False)
    driver.part("folds").setValue(2)
    return driver


def told(driver):
    return driver.part("crossval_message").text()


def test_cross_validation_shows_its_figures_and_writes_its_table(folds, manifest):
    table = folds.out.with_name("cross_validation.csv")
    assert folds.part("crossval_out").text() == str(table)
    folds.click("cross_validate")
    assert folds.part("crossval_stop").isEnabled() and not folds.part("train").isEnabled()
    folds.until(lambda: "of 2 folds" in folds.part("crossval_found").text())
    folds.until_idle()
    assert told(folds) == (
        "Finished: 40 specimens, each called by a classifier that never saw it. Saved as cross_validation.csv."
    )
    found = folds.part("crossval_found").text()
    assert "tumour cell: " in found and "95 % interval" in found
    assert "Balanced accuracy" in found and "of the 2 folds" in found
    matrix = folds.part("confusion")
    cells = [[matrix.item(row, column).text() for column in range(3)] for row in range(3)]
    counts = [sum(int(text.replace("·", "0")) for text in row) for row in cells]
    assert counts == [12, 20, 8]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [Path(row["path"]).name for row in rows] == [Path(key).name for key in manifest.keys]
    assert folds.session.classifier is None  # it keeps none


def test_a_stopped_cross_validation_shows_the_folds_that_are_done(folds):
    folds.set(epochs=40)
    folds.part("folds").setValue(4)
    folds.click("cross_validate")
    folds.until(lambda: "1 of 4 folds" in folds.part("crossval_found").text())
    folds.click("crossval_stop")
    folds.until_idle()
    assert told(folds).startswith("Stopped: ")
    assert "of the 1 of 4 folds" in folds.part("crossval_found").text()
    assert seen(folds, "confusion")
    assert QThreadPool.globalInstance().activeThreadCount() == 0


def test_a_cross_validation_stopped_at_once_says_so(folds):
    folds.set(epochs=400)
    folds.click("cross_validate")
    folds.click("crossval_stop")
    folds.until_idle()
    assert told(folds) == "Stopped before the first fold ended: there is nothing to tell."
    assert not seen(folds, "confusion")


def test_what_cannot_be_cross_validated_is_said_in_words(folds):
    folds.part("crossval_out").setText(str(folds.out.with_name("table.txt")))
    folds.click("cross_validate")
    folds.until_idle()
    assert "table.txt ends in neither" in told(folds)


def test_an_older_table_is_replaced_only_when_the_person_agrees(folds, monkeypatch):
    table = folds.out.with_name("cross_validation.csv")
    table.write_text("precious")
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.No)
    folds.click("cross_validate")
    assert "Nothing was started" in told(folds)
    assert table.read_text() == "precious"


def test_while_one_thing_runs_no_other_is_begun(folds):
    folds.set(epochs=5000)
    folds.click("train")
    assert not folds.part("cross_validate").isEnabled()
    folds.click("stop")
    folds.until_idle()
    assert folds.part("cross_validate").isEnabled()


def test_each_new_button_and_box_has_a_tooltip(driver):
    names = "start_from resume cross_validate crossval_stop crossval_out crossval_browse folds confusion"
    names = [*names.split(), "crossvalPlace", "crossvalProcesses", "crossvalScheduler"]
    for name in names:
        assert driver.part(name).toolTip(), name


def test_folds_are_trained_in_processes_as_chosen_by_clicks(folds, qtbot):
    box = folds.part("crossvalPlace")
    assert not seen(folds, "crossvalProcesses") and not seen(folds, "crossvalScheduler")
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Down)
    assert box.currentText() == "in several processes" and seen(folds, "crossvalProcesses")
    folds.part("crossvalProcesses").setValue(2)
    folds.click("cross_validate")
    assert not box.isEnabled()
    folds.until(lambda: "Training 2 folds in 2 processes" in told(folds))
    folds.until_idle()
    assert told(folds).startswith("Finished: 40 specimens") and box.isEnabled()
    assert "of the 2 folds" in folds.part("crossval_found").text()
    assert not multiprocessing.active_children()


def test_an_address_of_no_scheduler_starts_no_folds(folds):
    folds.part("crossvalPlace").setCurrentIndex(CLUSTER)
    assert seen(folds, "crossvalScheduler")
    folds.part("crossvalScheduler").setText("nowhere")
    folds.click("cross_validate")
    assert "tcp://HOST:PORT" in told(folds) and folds.part("cross_validate").isEnabled()


def test_folds_are_trained_on_a_cluster(folds, cluster):
    folds.part("crossvalPlace").setCurrentIndex(CLUSTER)
    folds.part("crossvalScheduler").setText(cluster.address)
    folds.click("cross_validate")
    folds.until(lambda: "of 2 folds" in folds.part("crossval_found").text())
    folds.until_idle()
    assert told(folds).startswith("Finished: 40 specimens")


def test_a_run_that_a_full_disk_ended_says_that_it_can_go_on(driver, monkeypatch):
    driver.set(epochs=12)
    keep, full = checkpoints.Keeper.keep, []

    def kept(keeper, run):
        if run.ended == 3 and not full:
            full.append(True)
            raise CTCError("There is no space left on the disk.")
        keep(keeper, run)

    monkeypatch.setattr(checkpoints.Keeper, "keep", kept)
    driver.click("train")
    driver.until_idle()
    assert driver.message.endswith("'Resume' goes on after its last whole epoch.")
    driver.click("resume")
    driver.until_idle()
    assert driver.message.startswith("Finished")


def test_figures_are_shown_although_their_table_cannot_be_written(folds, monkeypatch):
    def full(_self, path):
        raise CTCError(f"{path} cannot be written: No space left on device.")

    monkeypatch.setattr(Predictions, "write", full)
    folds.click("cross_validate")
    folds.until(lambda: "of the 2 folds" in folds.part("crossval_found").text())
    folds.until_idle()
    assert told(folds).startswith("Finished: 40 specimens") and told(folds).endswith("No space left on device.")
    assert seen(folds, "confusion")


def test_closing_the_window_ends_the_processes_that_train_folds(folds, qtbot):
    folds.part("crossvalPlace").setCurrentIndex(PROCESSES)
    folds.part("crossvalProcesses").setValue(2)
    folds.set(epochs=5000)
    folds.click("cross_validate")
    folds.until(multiprocessing.active_children)
    folds.viewer.close()
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=60_000)
    assert not multiprocessing.active_children()
