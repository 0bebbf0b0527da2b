"""Several classifiers asked for at once, in one dock or in two: the one that was asked for last comes into use."""

import shutil
import threading

import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_ctc.learn import loading

TIME = 60_000


@pytest.fixture
def slow(small_classifier, monkeypatch):
    """A copy of a classifier on a slow drive, and the event that ends the slowness."""
    path = small_classifier.with_name("slow.safetensors")
    shutil.copy(small_classifier, path)
    load, go = loading.load_classifier, threading.Event()

    def loaded(asked):
        if asked == path:
            go.wait(TIME / 1000)
        return load(asked)

    monkeypatch.setattr(loading, "load_classifier", loaded)
    yield path, go
    go.set()


def choose(driver, monkeypatch, path):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))


def no_thread_left():
    return QThreadPool.globalInstance().activeThreadCount() == 0


def test_the_last_asked_for_is_in_use_although_the_first_comes_later(driver, slow, small_classifier, monkeypatch):
    path, go = slow
    choose(driver, monkeypatch, path)
    driver.click("load")
    assert driver.message == "Loading slow.safetensors…"
    choose(driver, monkeypatch, small_classifier)
    driver.click("load")
    driver.until(lambda: driver.session.classifier_path == small_classifier)
    go.set()
    driver.until(no_thread_left)
    driver.qtbot.wait(50)
    assert driver.session.classifier_path == small_classifier
    assert driver.message == "Loaded small.safetensors; it is in use."


def test_so_it_is_between_two_docks(driver, slow, small_classifier, monkeypatch):
    path, go = slow
    dock = driver.viewer.window.add_plugin_dock_widget("napari-ctc", "Classify folder")[1]
    dock.form.ask_classifier = lambda: str(path)
    driver.qtbot.mouseClick(dock.findChild(QPushButton, "classifyLoadButton"), Qt.MouseButton.LeftButton)
    assert dock.state.text() == "Loading slow.safetensors…"
    choose(driver, monkeypatch, small_classifier)
    driver.click("load")
    driver.until(lambda: driver.session.classifier_path == small_classifier)
    go.set()
    driver.until(no_thread_left)
    driver.qtbot.wait(50)
    assert driver.session.classifier_path == small_classifier
    assert dock.form.classifier.text().startswith("small.safetensors")
    assert dock.state.text().startswith("slow.safetensors was not taken into use: another classifier")


def test_another_file_chosen_while_one_is_loaded_is_loaded_too(driver, slow, small_classifier):
    path, go = slow
    dock = driver.viewer.window.add_plugin_dock_widget("napari-ctc", "Classify folder")[1]
    for one in (path, small_classifier):
        dock.form.ask_classifier = lambda one=one: str(one)
        driver.qtbot.mouseClick(dock.findChild(QPushButton, "classifyLoadButton"), Qt.MouseButton.LeftButton)
    go.set()
    driver.until(lambda: not dock.form.loading.running and no_thread_left())
    assert driver.session.classifier_path == small_classifier
