"""A random walk over the keys of labelling, the model that predicts its end, and a window that is killed after it.

python key_walk.py FOLDER SEED       walks in a real window, then ends without a farewell
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

CLASSES = ("debris", "leukocyte", "tumour cell")
STEPS = 300
SEEN = "seen.json"  # after each step: the specimen on the canvas, and whether the queue brought it


def moves(seed: int) -> list[tuple[str, int]]:
    """What is pressed, and in which of three places the focus is."""
    chance = random.Random(seed)
    kinds = ["1", "2", "3", "0", "U", "undo", "redo", "Space", "Left", "Right", "two", "N"]
    weights = [6, 6, 4, 2, 2, 6, 4, 1, 3, 1, 3, 2]
    return [(kind, chance.randrange(3)) for kind in chance.choices(kinds, weights, k=STEPS)]


def model(seed: int, count: int, seen: list[tuple[int, bool]]) -> dict[int, str]:
    """Say which labels the walk ends with, by the place of the specimen.

    Where the queue leads is not for this model to say: only there it looks up in `seen` which specimen came after
    a step, and whether the queue had brought it.
    """
    labels: dict[int, str] = {}
    done: list[list[tuple[int, str, str]]] = []
    undone: list[list[tuple[int, str, str]]] = []
    at, queued = 0, False
    for (kind, _), (came, by_queue) in zip(moves(seed), seen, strict=True):
        chosen, before = [at], at
        if kind == "two":
            chosen, kind = [at, at + 1] if at + 1 < count else [at], "2"
        if kind in "0123U":
            name = {"0": "", "U": "unsure"}.get(kind) if kind in "0U" else CLASSES[int(kind) - 1]
            done.append([(one, labels.get(one, ""), name) for one in chosen])
            undone.clear()
            labels |= dict.fromkeys(chosen, name)
            at = came if queued and len(chosen) == 1 else min(chosen[-1] + 1, count - 1)
            queued = queued and len(chosen) == 1
        elif kind == "undo" and done:
            undone.append(done.pop())
            labels |= {one: was for one, was, _ in undone[-1]}
            at = undone[-1][0][0]
        elif kind == "redo" and undone:
            done.append(undone.pop())
            labels |= {one: now for one, _, now in done[-1]}
            at = done[-1][0][0]
        elif kind == "N" or (kind == "Space" and queued):
            at, queued = came, by_queue
        elif kind in ("Space", "Right", "Left"):
            at = min(max(at + (-1 if kind == "Left" else 1), 0), count - 1)
        if kind in ("undo", "redo", "Right", "Left"):
            queued = queued and at == before
    return {one: name for one, name in labels.items() if name}


def walk(folder: Path, seed: int) -> None:
    """Press the keys in a window, and kill it once the last one has been shown."""
    os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
    import napari
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    viewer.open(str(folder), plugin="napari-ctc")
    window = viewer.window._qt_window
    window.activateWindow()

    def settle() -> None:
        end = time.monotonic() + 30
        while dock.labelling.busy or QApplication.activeWindow() is not window:
            QApplication.processEvents()
            assert time.monotonic() < end
        QApplication.processEvents()

    def press(key: str, *modifiers: Qt.KeyboardModifier) -> None:
        held = Qt.KeyboardModifier.NoModifier
        for modifier in modifiers:
            held |= modifier
        QTest.keyClick(QApplication.focusWidget(), getattr(Qt.Key, f"Key_{key}"), held)

    settle()
    dock.labelling.name_classes(CLASSES)
    settle()
    end = time.monotonic() + 30
    while dock.queue.measuring.running:
        QApplication.processEvents()
        assert time.monotonic() < end
    places = (viewer.window._qt_viewer.canvas.native, dock.table, viewer.window._qt_viewer.layers)
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    seen = []
    for kind, place in moves(seed):
        places[1 if kind == "two" else place].setFocus()
        if kind == "two":
            press("Down", shift)
            press("2")
        elif kind in ("undo", "redo"):
            press("Z", control, *([shift] if kind == "redo" else []))
        else:
            press(kind)
        settle()
        seen.append((dock.session.current, dock.queue.at_work))
    (folder / SEEN).write_text(json.dumps(seen), "utf-8")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    walk(Path(sys.argv[1]), int(sys.argv[2]))
