"""Take the pictures of docs/find_the_rare_class.md: python docs/hunt_pictures.py.

A person's way through 3,000 drawn specimens of which 1 % are tumour cells. The person is simulated: they press the
keys that the page tells of, and are always right. What the page says of this run is printed. Needs a screen, as
make_screenshots.py does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from make_screenshots import IMAGES, docked, settle, take, wait_until, window_on
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QComboBox, QPushButton, QTabBar

from napari_ctc import run
from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.gui.arrange import classify_specimens
from napari_ctc.gui.predicted_model import LABEL
from napari_ctc.gui.rows import Status

SPECIMENS, SIZE = 3000, 96
CLASSES = ("leukocyte", "debris", "tumour cell")
RARE = CLASSES[-1]
TURNS = 310  # of the queue: 62 of them drawn at random


def pictures_of_hunt(place: Path) -> None:
    """Go the way of the page, and take a picture at each step."""
    folder = place / "hunt"
    shutil.rmtree(folder, ignore_errors=True)
    table = Manifest.read(run(write_drawn(folder, SPECIMENS, size=SIZE))).table
    truth = dict(zip(table["path"], table["label"], strict=True))
    (folder / "manifest.csv").unlink()
    print(f"{list(truth.values()).count(RARE)} of {SPECIMENS} are tumour cells")

    viewer = window_on(folder)
    classify_specimens(viewer)
    dock = docked(viewer, "Predicted classes")
    train = docked(viewer, "Train classifier")
    session, strip = dock.session, dock.strip

    def done() -> bool:
        return not dock.labelling.busy

    window = viewer.window._qt_window  # noqa: SLF001
    window.activateWindow()  # the keys are those of the window in front
    wait_until(window.isActiveWindow)
    wait_until(lambda: dock.labelling.book is not None and not dock.labelling.book.refusal and done())
    for name in CLASSES:
        QTest.mouseClick(strip.chips.add, Qt.MouseButton.LeftButton)
        QTest.keyClicks(strip.chips.editor, name)
        QTest.keyClick(strip.chips.editor, Qt.Key.Key_Return)
        wait_until(done)
    take(viewer, IMAGES / "hunt_1_named.png")

    def key(which: Qt.Key) -> None:
        QTest.keyClick(dock.table, which)
        wait_until(done)

    def label() -> str:
        name = truth[str(session.rows.name[session.current])]
        key(getattr(Qt.Key, f"Key_{1 + CLASSES.index(name)}"))
        return name

    wait_until(lambda: not dock.queue.measuring.running)
    key(Qt.Key.Key_N)
    said = []
    for turn in range(1, TURNS + 1):
        said.append(label())
        if said.count(RARE) == 1 and said[-1] == RARE:
            print(f"first tumour cell after {turn} labels")
        if turn == 40:
            take(viewer, IMAGES / "hunt_2_labelled.png")
            print(f"after 40: {strip.hint.text()}")
        if turn % 50 == 0:
            print(f"after {turn}: {[said.count(name) for name in CLASSES]}; {dock.queue.text.text()}", flush=True)
    print(f"in the end: {[said.count(name) for name in CLASSES]}; {dock.queue.text.toolTip()}")
    take(viewer, IMAGES / "hunt_3_bound.png")

    train.setup.form.minutes.value = 2.0
    train.findChild(QPushButton, "train").click()
    wait_until(lambda: session.classifier is not None and not train.run.running)
    wait_until(lambda: bool((session.status == Status.CURRENT).all()) and not dock.background.busy)
    docked(viewer, "Train classifier")
    train._area.ensureWidgetVisible(train.run.matrix)  # noqa: SLF001
    take(viewer, IMAGES / "hunt_4_trained.png")
    for row in range(train.setup.table.rowCount()):
        print("held out:", [train.setup.table.item(row, column).text() for column in range(5)])

    unlabelled = dock.findChild(QComboBox, "filterLabel")
    unlabelled.setCurrentIndex(unlabelled.findText("(not labelled)"))
    predicted = dock.findChild(QComboBox, "filterClass")
    predicted.setCurrentIndex(predicted.findText(RARE))
    order = dock.views.order
    order.setCurrentIndex(order.findData("probability"))
    order.activated.emit(order.currentIndex())
    tabs = dock.findChild(QTabBar, "viewTabs")
    QTest.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    names = [str(session.rows.name[index]) for index in dock.model.indices]
    print(f"{len(names)} unlabelled called tumour cell, {sum(truth[name] == RARE for name in names)} of them are")
    viewer.window._qt_window.resizeDocks([docked_in(viewer, dock)], [420], Qt.Orientation.Vertical)  # noqa: SLF001
    settle(1.0)
    wait_until(lambda: not dock.gallery.thumbnails.busy)
    take(viewer, IMAGES / "hunt_5_review.png")
    labelled = {name for name, index in zip(session.rows.name, range(len(session)), strict=True)
                if dock.model.text(index, LABEL) == RARE}  # fmt: skip
    left = [name for name, is_ in truth.items() if is_ == RARE and name not in labelled]
    print(f"labelled tumour cells: {len(labelled)}; still unlabelled: {len(left)}, of which called so: "
          f"{len(set(left) & set(names))}")  # fmt: skip


def docked_in(viewer: object, widget: object) -> object:
    """Give the dock that a widget is in."""
    from qtpy.QtWidgets import QDockWidget

    dock = widget.parentWidget()
    while not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    return dock


if __name__ == "__main__":
    pictures_of_hunt(Path(tempfile.mkdtemp(prefix="napari-ctc-hunt-")))
    os._exit(0)  # a window that was never shown to a person need not be taken down
