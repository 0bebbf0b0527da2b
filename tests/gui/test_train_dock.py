"""The dock "Train classifier" in a real window, driven by clicks, and the forms that it is made of."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.utils import progress
from pydantic import Field
from qtpy.QtCore import QThreadPool, QTimer
from qtpy.QtWidgets import QFileDialog, QMessageBox
from train_driver import TrainDriver

from napari_ctc.data.drawn import CHANNELS
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SettingsError
from napari_ctc.events import StepDone
from napari_ctc.gui import train_setup
from napari_ctc.gui.forms import fill_form, form_of, read_forms
from napari_ctc.gui.layers import add_stack
from napari_ctc.gui.train_parts import clock
from napari_ctc.settings import TrainSettings

TIME = 60_000


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setenv("NAPARI_STRICT_QT", "1")


def no_thread_left():
    return QThreadPool.globalInstance().activeThreadCount() == 0


# ------------------------------------------------------------------------------------- before a run


def test_classes_weights_and_the_majority_guess_stand_there_before_training(driver):
    driver.set(weighting="balanced")
    driver.until(lambda: len(set(driver.cells(3))) == 3)
    assert driver.part("train_on").currentText() == "labelled here: 40 of 40"
    assert "leukocyte 20" in driver.part("summary").text()
    assert "always saying leukocyte: accuracy 0.50, balanced accuracy 0.33" in driver.part("summary").text()
    assert driver.cells(0) == ["debris", "leukocyte", "tumour cell"]
    parts = [int(a) + int(b) for a, b in zip(driver.cells(1), driver.cells(2), strict=True)]
    assert parts == [12, 20, 8]
    weights = [float(text) for text in driver.cells(3)]
    assert weights[2] > weights[0] > weights[1]
    assert driver.cells(4) == ["", "", ""]
    assert not driver.part("stop").isEnabled()


def test_without_specimens_the_dock_says_what_to_do(make_napari_viewer, qtbot, tmp_path):
    driver = TrainDriver(make_napari_viewer(), qtbot, tmp_path / "c.safetensors")
    driver.until(lambda: driver.part("summary").text())
    assert "Open specimens" in driver.part("summary").text()
    driver.click("train")
    driver.until_idle()
    driver.until(lambda: "nothing to train on" in driver.message)
    assert not driver.out.exists()


def test_the_count_of_labelled_specimens_follows_the_layers(driver):
    driver.viewer.layers.clear()
    assert driver.part("train_on").currentText() == "labelled here: 0 of 0"


def test_a_manifest_and_a_folder_of_classes_can_be_chosen(driver, drawn, manifest, tmp_path, monkeypatch):
    folder = tmp_path / "classes"
    for row, (key, label) in enumerate(zip(manifest.keys, manifest.table["label"], strict=True)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{row}.npy").write_bytes((drawn / key).read_bytes())
    source = driver.part("train_on")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    driver.part("out").setModified(False)
    source.setCurrentIndex(2)
    source.activated.emit(2)
    assert driver.part("out").text() == str(folder / "classifier.safetensors")
    driver.viewer.layers.clear()  # so that what is shown can only come from the folder
    driver.until(lambda: driver.cells(3) and all(driver.cells(3)))
    assert driver.cells(0) == ["debris", "leukocyte", "tumour cell"]
    source.setCurrentIndex(1)
    source.activated.emit(1)  # the dialog is cancelled
    assert source.currentIndex() == 2
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(drawn / "manifest.csv"), ""))
    source.activated.emit(1)
    assert source.currentText().startswith("manifest.csv")
    assert driver.widget.setup.what().path == drawn / "manifest.csv"


def test_refused_settings_are_said_in_words_and_nothing_starts(driver):
    driver.set(batch_size=4000)
    found = driver.part("setup_message")
    driver.until(lambda: "batch of 4000" in found.text())
    driver.click("train")
    driver.until_idle()
    driver.until(lambda: "batch of 4000" in driver.message)
    for line in (found, driver.part("message")):
        assert line.text().endswith("to have it chosen.")
        assert "color" in line.styleSheet()
    assert not driver.out.exists()
    driver.set(batch_size=16)
    driver.until(lambda: "batch" not in found.text())
    assert "batch" not in driver.message


def test_a_place_that_cannot_be_saved_to_is_refused_before_the_run(driver, tmp_path):
    driver.part("out").setText(str(tmp_path / "nowhere" / "c.safetensors"))
    driver.click("train")
    assert "does not exist" in driver.message
    assert driver.part("train").isEnabled()


def test_an_existing_file_is_replaced_only_when_the_person_agrees(driver, monkeypatch):
    driver.out.write_bytes(b"precious")
    asked = []

    def answer(*args):
        asked.append(args[2])
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", answer)
    driver.click("train")
    assert "trained.safetensors exists already" in asked[0]
    assert driver.part("train").isEnabled()
    assert driver.out.read_bytes() == b"precious"


# ------------------------------------------------------------------------------------------- a run


def test_training_by_clicks_ends_in_a_saved_classifier_that_is_in_use(driver):
    ticks = []
    timer = QTimer(driver.widget)
    timer.timeout.connect(lambda: ticks.append(1))
    timer.start(10)
    driver.set(epochs=60)
    driver.click("train")
    assert driver.part("stop").isEnabled()
    assert not driver.part("train").isEnabled()
    driver.until(lambda: " of 60, " in driver.part("time_left").text())
    driver.until_idle()
    timer.stop()
    assert len(ticks) > 20
    classifier = driver.session.classifier
    assert classifier.classes == ("debris", "leukocyte", "tumour cell")
    assert classifier.channels == CHANNELS
    assert driver.session.classifier_path == driver.out
    assert driver.message.startswith("Finished. Saved as")
    assert f"24 px, trained {classifier.created[11:13]}"[:14] in driver.part("classifier").text()
    assert classifier.short in driver.part("classifier").text()
    assert all(" of " in text for text in driver.cells(4))
    assert "held out" in driver.part("caption").text()
    curves = driver.part("curves")
    assert [len(line.getData()[0]) for line in curves.loss.listDataItems()] == [60, 60]
    assert [line.name() for line in curves.recall.listDataItems()] == list(classifier.classes)
    from napari_ctc.learn.loading import load_classifier

    assert load_classifier(driver.out).digest == classifier.digest


def test_specimens_that_cannot_be_read_are_left_out_and_told(make_napari_viewer, qtbot, drawn, tmp_path):
    folder = tmp_path / "torn"
    shutil.copytree(drawn, folder)
    driver = TrainDriver(make_napari_viewer(), qtbot, tmp_path / "c.safetensors")
    Path(folder / Manifest.open(folder / "manifest.csv").keys[0]).write_bytes(b"")
    driver.train_on(folder / "manifest.csv")
    assert driver.message.startswith("Finished")
    assert "could not be read: 1." in driver.message
    assert "is empty (0 bytes)" in driver.message


def test_the_end_of_a_run_still_says_what_was_warned_of(make_napari_viewer, qtbot, drawn, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(drawn, folder)
    manifest = Manifest.open(folder / "manifest.csv")
    one, *others = (folder / key for key in manifest.keys)
    np.save(one, np.load(one).astype(np.uint16))
    labels = manifest.table["label"].tolist()
    other = labels[1:].index(next(label for label in labels[1:] if label != labels[1]))
    shutil.copy(others[0], others[other])
    driver = TrainDriver(make_napari_viewer(), qtbot, tmp_path / "c.safetensors")
    driver.train_on(folder / "manifest.csv")
    assert driver.message.startswith("Finished")
    assert "several number types: 39 of uint8, 1 of uint16" in driver.message
    assert "2 specimens have the same pixels as one of another label" in driver.message
    assert f"{others[0].name} is called '{labels[1]}'" in driver.message  # a classifier keeps no name of a file


def test_what_cannot_be_trained_on_now_displaces_no_news_of_the_run(make_napari_viewer, qtbot, drawn, tmp_path):
    folder = shutil.copytree(drawn, tmp_path / "own")
    viewer = make_napari_viewer()
    add_stack(viewer, Manifest.open(folder / "manifest.csv"), CHANNELS)
    driver = TrainDriver(viewer, qtbot, tmp_path / "c.safetensors")
    labels = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1].labelling
    driver.until(lambda: not labels.busy)
    driver.set(epochs=40)
    driver.click("train")
    driver.until(lambda: "balanced accuracy" in driver.message)
    labels.do(lambda: labels.label([0], "apoptotic", lambda: None))
    driver.until_idle()
    driver.until(lambda: "'apoptotic' has one labelled specimen" in driver.part("setup_message").text())
    assert driver.message.startswith("Finished") and "Saved as c.safetensors, and in use." in driver.message
    assert "color" not in driver.part("message").styleSheet()


def test_stop_keeps_what_was_learnt(driver):
    driver.set(epochs=5000)
    driver.click("train")
    driver.until(lambda: "balanced accuracy" in driver.message)
    driver.click("stop")
    driver.until_idle()
    assert driver.session.classifier.stopped
    assert driver.message.startswith("Stopped at epoch ")
    assert driver.out.exists()


def test_a_run_shows_its_own_bar_and_turns_no_wheel_in_the_activity_area(driver):
    driver.set(epochs=5000)
    driver.click("train")
    driver.until(lambda: 0 < driver.part("progress").value() < driver.part("progress").maximum())
    assert not progress._all_instances
    driver.click("stop")
    driver.until_idle()


def test_a_run_stopped_before_its_first_epoch_changes_nothing(driver, small_classifier):
    from napari_ctc.learn.loading import load_classifier

    driver.session.use(load_classifier(small_classifier), small_classifier)
    before = driver.session.classifier
    driver.set(epochs=5000)
    driver.click("train")
    driver.click("stop")
    driver.until_idle()
    assert driver.session.classifier is before
    assert driver.message == "Stopped before the first epoch ended: nothing was saved or replaced."
    assert not driver.out.exists()


def test_too_little_memory_is_said_and_leaves_the_dock_and_the_classifier_as_they_were(
    driver, small_classifier, monkeypatch
):
    import torch

    from napari_ctc.learn.loading import load_classifier

    driver.session.use(load_classifier(small_classifier), small_classifier)
    before = driver.session.classifier

    def runs_out(*_, **__):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "cross_entropy", runs_out)
        driver.click("train")
        driver.until_idle()
    assert "out of memory" in driver.message
    assert "The classifier in use stays." in driver.message
    assert driver.session.classifier is before
    assert not driver.out.exists()
    driver.click("train")
    driver.until_idle()
    assert driver.message.startswith("Finished")
    assert driver.session.classifier is not before


@pytest.mark.parametrize("what", ["dock", "viewer"])
def test_closing_mid_run_leaves_no_running_worker(driver, what, qtbot):
    driver.set(epochs=5000)
    driver.click("train")
    driver.until(lambda: "epoch" in driver.part("time_left").text())
    if what == "dock":
        driver.dock.destroyOnClose()
    else:
        driver.viewer.close()
    qtbot.waitUntil(no_thread_left, timeout=TIME)


# ------------------------------------------------------------------------------ the classifier's file


def test_a_classifier_is_loaded_and_saved_under_another_name(driver, small_classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(small_classifier), ""))
    driver.click("load")
    driver.until(lambda: driver.session.classifier is not None)
    assert "Loaded small.safetensors" in driver.message
    assert driver.part("classifier").text().startswith("In use: compact, 3 classes")
    other = tmp_path / "other"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(other), ""))
    driver.click("save_as")
    driver.until(lambda: "Saved as" in driver.message)
    assert other.with_suffix(".safetensors").read_bytes() == small_classifier.read_bytes()


def test_a_file_of_another_kind_is_refused_in_words(driver, tmp_path, monkeypatch):
    wrong = tmp_path / "notes.safetensors"
    wrong.write_text("no classifier")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(wrong), ""))
    driver.click("load")
    driver.until(lambda: "notes.safetensors" in driver.message and "not a classifier" in driver.message)
    assert driver.session.classifier is None


def test_a_classifier_of_another_channel_count_is_refused_in_words(driver, small_classifier, monkeypatch):
    driver.session.rows.channels[:] = 2
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(small_classifier), ""))
    driver.click("load")
    driver.until(lambda: "is a classifier of 4 channels" in driver.message)
    assert driver.session.classifier is None


# ------------------------------------------------------------------------------------------- its looks


def test_a_message_goes_when_another_dock_changes_the_classifier(driver, small_classifier, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(small_classifier), ""))
    driver.click("load")
    driver.until(lambda: "in use" in driver.message)
    driver.session.use(driver.session.classifier, "elsewhere.safetensors")
    assert "small" not in driver.message


def test_specimens_being_read_before_the_first_epoch_are_said_to_be(driver):
    follow = driver.widget.run.follow
    driver.part("stop").setEnabled(True)  # as while a run is at work
    follow(StepDone(epoch=0, epochs=0, done=3, total=40))
    assert driver.part("time_left").text() == "reading specimens…"
    follow(StepDone(epoch=1, epochs=2, done=3, total=40, seconds_left=5.0))
    assert driver.part("time_left").text().startswith("epoch 1 of 2")


def test_the_dock_leaves_room_for_the_canvas_and_follows_the_theme(driver):
    assert driver.widget.sizeHint().width() <= 420
    assert driver.widget.setup.parentWidget().minimumSizeHint().width() <= 420
    backgrounds = set()
    for theme in ("dark", "light"):
        driver.viewer.theme = theme
        backgrounds.add(driver.part("curves").loss.backgroundBrush().color().name())
    assert len(backgrounds) == 2


def test_each_button_and_box_has_a_tooltip(driver):
    for name in ("train", "stop", "load", "save_as", "browse", "train_on", "out", *TrainSettings.model_fields):
        assert driver.part(name).toolTip(), name


def test_importing_the_dock_loads_no_torch():
    code = "import sys, napari_ctc.gui.train_dock; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_time_left_is_written_as_on_a_clock():
    assert clock(41.2) == "0:41"
    assert clock(3723) == "1:02:03"
    assert clock(float("nan")) == "some time"


# ------------------------------------------------------------------------------------------- the forms


class MoreSettings(TrainSettings):
    sharpness: float = Field(0.25, ge=0.0, le=2.0, description="How sharp.")


def test_a_new_setting_appears_in_the_dock_by_itself(make_napari_viewer, qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(train_setup, "TrainSettings", MoreSettings)
    driver = TrainDriver(make_napari_viewer(), qtbot, tmp_path / "c.safetensors")
    driver.set(sharpness=0.75)
    assert driver.part("sharpness").toolTip() == "How sharp."
    assert driver.widget.setup.settings().sharpness == 0.75


def test_the_form_gives_back_the_settings_that_it_was_given(qapp):
    settings = TrainSettings(
        network="seed", epochs=7000, seed=2**31 - 1, learning_rate=2e-6, minutes=2.5, augment=False, channels=3
    )
    form = form_of(TrainSettings)
    assert read_forms(TrainSettings, form) == TrainSettings()
    fill_form(form, settings)
    assert read_forms(TrainSettings, form) == settings


def test_the_form_shows_a_word_for_a_zero_that_chooses(qapp):
    form = form_of(TrainSettings, ["epochs", "minutes", "seed"])
    assert form.epochs.native.text() == "automatic"
    assert form.minutes.native.text() == "no limit"
    assert form.seed.native.text() == "0"


def test_a_setting_out_of_bounds_is_refused_in_words(qapp):
    form = form_of(TrainSettings, ["learning_rate"])
    form.learning_rate.value = "7"
    with pytest.raises(SettingsError, match=r"'learning rate' cannot be '7': input should be less than or equal"):
        read_forms(TrainSettings, form)


def test_a_number_without_bounds_is_a_mistake_of_the_programmer(qapp):
    class Loose(TrainSettings):
        many: int = 3

    with pytest.raises(TypeError, match="needs both bounds"):
        form_of(Loose)


def test_the_suffix_of_a_classifier_file_is_added(tmp_path):
    from napari_ctc.gui.train_jobs import checked_path

    assert checked_path(f" {tmp_path / 'mine.v2'} ") == Path(tmp_path / "mine.v2.safetensors")


def test_a_note_goes_with_the_specimens_that_it_is_about(driver):
    found = driver.part("setup_message")
    driver.until(lambda: "has only 8 labelled" in found.text())
    driver.viewer.layers.clear()
    driver.until(lambda: found.isHidden() and not found.text())


def test_open_specimens_have_their_own_channels_and_others_are_asked_for(driver, drawn):
    form = driver.widget.setup.advanced_form
    for name in ("channels", "channel_axis"):
        assert not form[name].native.isEnabled() and "open specimens" in form[name].tooltip
    driver.widget.setup.source.set_path(drawn / "manifest.csv")
    for name in ("channels", "channel_axis"):
        assert form[name].native.isEnabled() and "open specimens" not in form[name].tooltip
