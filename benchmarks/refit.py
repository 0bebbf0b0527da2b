"""Key press to all predictions, in a real window: `python benchmarks/refit.py`.

Drawn specimens of 64 pixels and 4 channels are opened in a folder whose `labels.csv` has 2,000 labels. Measured
are the seconds from opening until the first specimens and until all are measured; and, for each of 60 labels given
by a key in the queue, the milliseconds until the label is on the disk and in the table, the head has been fitted
anew to all labels, its predictions of all specimens are what table, counts and canvas show, painted, and the next
specimen is chosen by them and stands on the canvas.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--specimens", type=int, default=10_000)
    parser.add_argument("--labels", type=int, default=2_000)
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--folder", type=Path, help="drawn before; else they are drawn and deleted")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp()) / "specimens"
    try:
        if not folder.exists():
            run(write_drawn(folder, arguments.specimens, seed=1, size=64, shares=(0.6, 0.37, 0.03)))
            manifest = Manifest.open(folder / "manifest.csv")
            manifest.table.to_csv(folder.parent / "truth.csv", index=False)
            (folder / "manifest.csv").unlink()
        figures = measured(folder, Manifest.open(folder.parent / "truth.csv"), arguments.labels, arguments.presses)
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder.parent)
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


def measured(folder: Path, truth: Manifest, labels: int, presses: int) -> dict[str, float]:
    """Open the folder in a window, wait for the features, and label by keys."""
    os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp()) / "settings.yaml")
    import napari
    from qtpy.QtCore import QEvent, QObject, Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    from napari_ctc.gui.rows import Status

    names, classes = dict(zip(truth.keys, truth.table["label"], strict=True)), list(truth.classes)
    known = np.random.default_rng(0).permutation(len(truth))[:labels]
    truth.table.iloc[known].to_csv(folder / "labels.csv", index=False)
    viewer = napari.Viewer()
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]

    class Painted(QObject):
        """Whether a part of the window was painted since `since` was set."""

        def __init__(self, part: object) -> None:
            super().__init__()
            self.part, self.since = part, False
            part.installEventFilter(self)

        def eventFilter(self, watched: object, event: QEvent) -> bool:
            self.since |= event.type() == QEvent.Type.Paint
            return False

    def until(done: Callable[[], bool]) -> float:
        start = time.perf_counter()
        while not done():
            QApplication.processEvents()
            time.sleep(0.002)  # an idle window leaves the processor to others
        return time.perf_counter() - start

    start = time.perf_counter()
    viewer.open(str(folder), plugin="napari-ctc")
    viewer.window._qt_window.activateWindow()  # noqa: SLF001
    until(lambda: dock.queue.measuring.done > 0)
    first = time.perf_counter() - start
    until(lambda: dock.queue.measuring.done == len(truth) and not dock.queue.measuring.running)
    every = time.perf_counter() - start
    until(lambda: not dock.labelling.busy)
    QTest.keyClick(dock.table, Qt.Key.Key_N)
    until(lambda: not dock.labelling.busy)
    waits = []
    session = dock.session
    parts = [Painted(dock.table.viewport()), Painted(viewer.window._qt_viewer.canvas.native)]  # noqa: SLF001

    def came(_index: int) -> None:
        for part in parts:
            part.since = False

    session.current_changed.connect(came)
    for _ in range(presses):
        before, labels = dock.session.current, int((session.rows.label >= 0).sum())
        name = names[str(dock.session.rows.name[before])]
        place = dock.session.keyed.index(name)
        start = time.perf_counter()
        QTest.keyClick(dock.table, getattr(Qt.Key, f"Key_{place + 1}"))
        wanted = labels + 1
        until(lambda wanted=wanted: not dock.labelling.busy and session.words.speaker.labels == wanted)
        until(lambda: all(part.since for part in parts))
        waits.append(1000 * (time.perf_counter() - start))
        assert dock.session.current != before
        assert session.classes[session.rows.label[before]] == name
        assert (session.status == Status.CURRENT).all()
    figures = {
        "specimens": len(truth),
        "classes": len(classes),
        "features": dock.queue.measuring.table.values.shape[1],
        "labels": int((dock.session.rows.label >= 0).sum()),
        "first_measured_s": round(first, 2),
        "all_measured_s": round(every, 1),
        "key_to_shown_ms_median": round(float(np.median(waits)), 1),
        "key_to_shown_ms_p95": round(float(np.percentile(waits, 95)), 1),
        "key_to_shown_ms_max": round(max(waits), 1),
    }
    viewer.close()
    return figures


if __name__ == "__main__":
    main()
