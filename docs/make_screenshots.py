"""Take the pictures of the docs in real napari windows: python docs/make_screenshots.py.

    python docs/make_screenshots.py                                  the pictures in docs/images
    python docs/make_screenshots.py --result DEMO --out FILE.png     one picture of what `make demo` made

Needs a screen; without one, put xvfb-run -a -s "-screen 0 1600x1000x24" before it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# The pictures show napari as it comes, whatever the person who takes them has set.
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="napari-ctc-")) / "settings.yaml")

import napari
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_ctc import hold_out, load_classifier, run
from napari_ctc.data.drawn import CHANNELS, write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.gui.arrange import classify_specimens
from napari_ctc.gui.place_choice import PROCESSES
from napari_ctc.gui.preferences import set_preferences
from napari_ctc.gui.rows import Status
from napari_ctc.gui.session import session_of

IMAGES = Path(__file__).resolve().parent / "images"
PATIENCE = 300  # seconds


def main() -> None:
    """Take the pictures that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, help="a folder that the demo made")
    parser.add_argument("--out", type=Path, default=Path("window.png"))
    arguments = parser.parse_args()
    if arguments.result:
        picture_of_result(arguments.result, arguments.out)
    else:
        pictures_of_docs()
    QApplication.processEvents()
    os._exit(0)  # a window that was never shown to a person need not be taken down


def picture_of_result(folder: Path, out: Path) -> None:
    """Open a demo's specimens with its classifier, and picture the window when all are classified."""
    viewer = window_on(folder / "specimens")
    classify_specimens(viewer)
    show_result(viewer, folder / "classifier.safetensors")
    take(viewer, out)


def pictures_of_docs() -> None:
    """Go the way of the tutorial, and take a picture at each step."""
    place = Path(tempfile.mkdtemp(prefix="napari-ctc-pictures-"))
    os.chdir(place)  # the pictures show short paths, and nobody's folders
    folder = place / "specimens"
    table = run(write_drawn(folder, 600))
    hold_out(Manifest.read(table), 0.2).write(table)
    IMAGES.mkdir(exist_ok=True)

    viewer = window_on(folder)
    viewer.dims.set_current_step(0, 16)
    take(viewer, IMAGES / "opened.png")

    classify_specimens(viewer)
    wait_until(lambda: not QThreadPool.globalInstance().activeThreadCount())
    dock = docked(viewer, "Train classifier")
    dock.setup.out.setText("classifier.safetensors")
    dock.setup.form.minutes.value = 1.0
    dock.findChild(QPushButton, "train").click()
    session = session_of(viewer)
    wait_until(lambda: dock.run.last_epoch >= 10 or session.classifier is not None)
    take(viewer, IMAGES / "train.png")
    wait_until(lambda: session.classifier is not None)
    show_result(viewer, None)
    take(viewer, IMAGES / "window.png")
    docked(viewer, "Predicted classes").grab().save(str(IMAGES / "predicted.png"))

    bad = folder / "slide_1" / "cut_short.npy"
    bad.write_bytes(next(folder.rglob("*.npy")).read_bytes()[:5000])
    dock = docked(viewer, "Classify folder")
    dock.form.input.setText("specimens")
    dock.form.output.setText("predictions.csv")
    dock.findChild(QPushButton, "classifyButton").click()
    wait_until(lambda: (place / "predictions.csv").exists())
    take(viewer, IMAGES / "classify.png")

    dock.form.advanced.expand(animate=False)
    dock.form.place.kind.setCurrentIndex(PROCESSES)
    dock.form.output.setText("again.csv")
    dock.findChild(QPushButton, "classifyButton").click()
    wait_until(lambda: sum(dock.counts.counted.values()) > 0)
    settle(0.3)
    dock.grab().save(str(IMAGES / "classify_place.png"))
    wait_until(lambda: dock.running is None)


def window_on(folder: Path) -> napari.Viewer:
    """Open a folder of drawn specimens in a new window."""
    manifest = Manifest.from_folder(folder)
    set_preferences(manifest.layout, CHANNELS)
    viewer = napari.Viewer()
    viewer.window.resize(1600, 1000)
    viewer.open(folder, plugin="napari-ctc")
    settle()
    return viewer


def show_result(viewer: napari.Viewer, classifier: Path | None) -> None:
    """Wait until every open specimen has its prediction, and go to one of the rarest class."""
    session = session_of(viewer)
    if classifier is not None:
        session.use(load_classifier(classifier), classifier)
    wait_until(lambda: bool((session.status == Status.CURRENT).all()))
    predicted = session.rows.predicted
    rarest = min(set(predicted.tolist()), key=predicted.tolist().count)
    session.go_to(predicted.tolist().index(rarest))
    settle()


def docked(viewer: napari.Viewer, name: str) -> QWidget:
    """Give the widget of one of our docks, its tab in front."""
    dock, widget = viewer.window.add_plugin_dock_widget("napari-ctc", name)
    dock.raise_()
    return widget


def wait_until(is_so: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end:
            raise SystemExit(f"napari did not get there within {PATIENCE} s.")
        QApplication.processEvents()
        time.sleep(0.01)


def settle(seconds: float = 1.0) -> None:
    """Let the window draw what it has to draw."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)


def take(viewer: napari.Viewer, path: Path) -> None:
    """Save a picture of the whole window."""
    settle()
    viewer.window.screenshot(str(path), canvas_only=False, flash=False)


if __name__ == "__main__":
    main()
