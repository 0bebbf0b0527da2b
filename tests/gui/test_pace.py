"""A window that takes long to be drawn is told less often how far a job is."""

import time

import pytest

pytest.importorskip("qtpy")
from qtpy.QtCore import QObject, QTimer

from napari_ctc.gui.pace import Pace


def test_the_longer_the_window_takes_the_longer_the_next_word_waits(qtbot):
    owner = QObject()
    pace = Pace(owner)
    QTimer.singleShot(0, lambda: time.sleep(0.5))  # a window that is busy drawing itself
    pace.told()
    qtbot.waitUntil(lambda: pace.seconds != 1.0)
    assert pace.seconds == 3.0
    pace.told()
    qtbot.waitUntil(lambda: pace.seconds < 3.0)
    assert pace.seconds >= 0.25
