import time
from contextlib import suppress
from threading import current_thread, main_thread

import numpy as np
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import Qt

from napari_ctc.data.specimens import Layout
from napari_ctc.gui import jobs, layers, open_jobs, preferences

TIME = 60_000


@pytest.fixture
def opening():
    from napari_ctc.gui import opening

    return opening


@pytest.fixture
def buttons(make_napari_viewer, opening):
    viewer = make_napari_viewer()
    widget = opening.OpenButtons(viewer)
    viewer.window.add_dock_widget(widget)
    return viewer, widget


def wait_for_layers(qtbot, viewer, count=4):
    qtbot.waitUntil(lambda: len(viewer.layers) == count, timeout=TIME)


def test_open_folder_opens_it_without_asking_for_a_reader(buttons, opening, monkeypatch, drawn_folder, qtbot):
    viewer, widget = buttons
    monkeypatch.setattr(opening, "ask_folder", lambda parent: str(drawn_folder))
    read = []
    stack_of = open_jobs.open_stack
    monkeypatch.setattr(open_jobs, "open_stack", lambda *any: read.append(current_thread()) or stack_of(*any))
    monkeypatch.setattr(layers, "open_stack", lambda *_: pytest.fail("read in the window's thread"))
    widget.folder.click()
    wait_for_layers(qtbot, viewer)
    assert len(read) == 1 and read[0] is not main_thread()
    assert viewer.layers[0].source.path == str(drawn_folder)
    assert viewer.layers[0].data.shape == (60, 64, 64)
    assert viewer.dims.current_step[0] == 0  # napari itself would begin in the middle


def test_specimens_are_open_once_all_channels_are_there(buttons, opening, monkeypatch, drawn_folder, qtbot):
    from napari_ctc.gui.session import session_of

    viewer, widget = buttons
    monkeypatch.setattr(opening, "ask_folder", lambda parent: str(drawn_folder))
    session, seen = session_of(viewer), []
    session.specimens_changed.connect(lambda: seen.append((len(session), len(viewer.layers))))
    widget.folder.click()
    qtbot.waitUntil(lambda: bool(seen), timeout=TIME)
    assert seen == [(60, 4)] and session.current == 0


def test_open_labels_opens_the_specimens_of_a_table(buttons, opening, monkeypatch, drawn_folder, qtbot):
    viewer, widget = buttons
    monkeypatch.setattr(opening, "ask_table", lambda parent: str(drawn_folder / "manifest.csv"))
    widget.labels.click()
    wait_for_layers(qtbot, viewer)
    stack, _ = layers.stack_of(viewer.layers[0])
    assert stack.manifest.counts().sum() == 60


def test_try_drawn_specimens_opens_300(buttons, qtbot):
    viewer, widget = buttons
    widget.drawn.click()
    wait_for_layers(qtbot, viewer)
    assert viewer.layers["DAPI"].data.shape == (300, 224, 224)


def test_a_cancelled_choice_opens_nothing(buttons, opening, monkeypatch):
    viewer, widget = buttons
    monkeypatch.setattr(opening, "ask_folder", lambda parent: "")
    widget.folder.click()
    assert len(viewer.layers) == 0


def test_a_wrong_folder_is_told_in_one_sentence(buttons, opening, monkeypatch, tmp_path, qtbot):
    from napari.utils.notifications import notification_manager

    viewer, widget = buttons
    monkeypatch.setattr(opening, "ask_folder", lambda parent: str(tmp_path))
    notification_manager.records.clear()
    widget.folder.click()
    qtbot.waitUntil(lambda: len(notification_manager.records) > 0, timeout=TIME)
    assert len(viewer.layers) == 0
    (record,) = notification_manager.records
    assert "hold no specimen file (.npy)" in record.message


def test_what_is_wrong_is_told_however_late_the_thread_comes_to_it(buttons, opening, monkeypatch, tmp_path, qtbot):
    from napari.utils.notifications import notification_manager

    listen = jobs.RunningJob.listen

    def listen_late(self):
        # In the job's thread, between what the widget hears of the error and what shows it.
        self.worker.errored.connect(lambda _: time.sleep(0.3), Qt.ConnectionType.DirectConnection)
        listen(self)

    monkeypatch.setattr(jobs.RunningJob, "listen", listen_late)
    monkeypatch.setattr(opening, "ask_folder", lambda parent: str(tmp_path))
    notification_manager.records.clear()
    viewer, widget = buttons
    widget.folder.click()
    qtbot.waitUntil(lambda: len(notification_manager.records) > 0, timeout=5_000)
    assert "hold no specimen file (.npy)" in notification_manager.records[0].message
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: not window.findChildren(open_jobs.Opening), timeout=5_000)


def test_ticking_the_box_makes_ours_the_reader_and_unticking_undoes_it(buttons, opening, tmp_path):
    from napari.settings import get_settings

    viewer, widget = buttons
    get_settings().plugins.extension2reader = {"*.tif": "napari"}
    assert not widget.always.isChecked()
    widget.always.click()
    assert get_settings().plugins.extension2reader == {"*.tif": "napari", "*.npy": "napari-ctc"}
    np.save(tmp_path / "a.npy", np.ones((8, 9, 4)))
    viewer.open(tmp_path / "a.npy", plugin=None)  # as napari opens a dropped file: it would ask
    assert len(viewer.layers) == 4
    assert opening.OpenButtons(viewer, widget).always.isChecked()
    widget.always.click()
    assert get_settings().plugins.extension2reader == {"*.tif": "napari"}


@pytest.fixture
def dialog(make_napari_viewer, opening, qtbot):
    viewer = make_napari_viewer()
    from napari._app_model import get_app_model

    dialog = get_app_model().commands.execute_command("napari-ctc.open_specimens").result()
    assert isinstance(dialog, opening.OpenDialog)
    yield viewer, dialog
    with suppress(RuntimeError):  # one that has opened something is gone already
        dialog.close()
    qtbot.wait(10)


def test_the_menu_opens_a_dialog_that_opens_files_and_keeps_the_layout(
    dialog, opening, monkeypatch, tmp_path, qtbot
):
    viewer, dialog = dialog
    files = [tmp_path / f"{name}.npy" for name in "ab"]
    for file in files:
        np.save(file, np.ones((2, 9, 8), np.uint8))
    monkeypatch.setattr(opening, "ask_files", lambda parent: [str(file) for file in files])
    dialog.channels.setValue(2)
    dialog.axis.setCurrentIndex(1)
    dialog.names.setText("DNA, actin")
    with qtbot.waitSignal(dialog.accepted, timeout=TIME):
        dialog.files.click()
    assert [layer.name for layer in viewer.layers] == ["actin", "DNA"]
    assert viewer.layers[0].data.shape == (2, 9, 8)
    assert preferences.preferred_layout() == Layout(2, "first") and preferences.preferred_names() == (
        "DNA",
        "actin",
    )


def test_the_dialog_says_what_is_wrong_with_the_names_and_stays(dialog, opening, monkeypatch):
    _, dialog = dialog
    monkeypatch.setattr(opening, "ask_folder", lambda parent: pytest.fail("asked for a folder"))
    dialog.names.setText("DNA, actin")
    dialog.folder.click()
    assert "2 channel names for 4 channels" in dialog.problem.text()
    assert not dialog.isHidden()


def test_the_dialog_stays_when_nothing_could_be_opened(dialog, opening, monkeypatch, tmp_path, qtbot):
    _, dialog = dialog
    (tmp_path / "x.csv").write_text("a,b\n")
    monkeypatch.setattr(opening, "ask_table", lambda parent: str(tmp_path / "x.csv"))
    dialog.table.click()
    assert not dialog.table.isEnabled()  # no second one while this one is being read
    qtbot.waitUntil(dialog.table.isEnabled, timeout=TIME)
    assert not dialog.isHidden()
    assert "no column is called 'path'" in dialog.problem.text()  # napari shows a line of it, behind the dialog
    assert dialog.problem.isVisibleTo(dialog)
