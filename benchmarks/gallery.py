"""The gallery beside a plain grid of icons, in real windows: `python benchmarks/gallery.py --json FILE`.

Measured in a window of 1400 x 800 pixels, each in a process of its own:

- a folder of 10,000 specimens of 64 pixels: seconds from the click on "Gallery" to the first paint, and until
  every thumbnail in sight is there; then the milliseconds of each of 300 frames while a person scrolls, a third of
  a row a frame, 60 frames a second (paint, and all that the window does until it is ready for the next one);
- a stack of 100,000 specimens of 32 pixels: the same;
- the peer, a `QListWidget` in icon mode that is given an icon for each of the same 10,000 thumbnails at once, as
  simple viewers do: seconds until it is painted, and the milliseconds of a frame. Of 100,000 it would hold 2 GB.

Memory is what the process gained by it. Without a screen it starts itself anew under xvfb-run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CASES = ("gallery", "peer", "many")
WIDTH, HEIGHT = 1400, 800  # pixels
FRAMES = 300
FRAME = 1 / 60  # seconds
PATIENCE = 300  # seconds
DRAWN = 500  # different specimens; the rest are copies of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to draw the specimens, or where they were drawn before")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        in_window(arguments)
        return
    need_screen()
    with tempfile.TemporaryDirectory(prefix="napari-ctc-gallery-") as place:
        folder = arguments.folder or Path(place)
        draw(folder, arguments.specimens, arguments.many)
        rounds: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
        for _ in range(arguments.rounds):
            for case in CASES:  # in turns
                rounds[case].append(in_process(case, folder))
                print(case, rounds[case][-1], flush=True)
    found = {case: median_of(several) for case, several in rounds.items()}
    found["ratio"] = {
        "first_paint": found["peer"]["first_paint_s"] / found["gallery"]["first_paint_s"],
        "all_in_sight": found["peer"]["in_sight_s"] / found["gallery"]["in_sight_s"],
        "memory": found["peer"]["memory_mb"] / found["gallery"]["memory_mb"],
    }
    print(json.dumps(found, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(found | {"rounds": rounds}, indent=2) + "\n")


def need_screen() -> None:
    """Start anew under xvfb-run where there is no screen."""
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    os.environ["LIBGL_ALWAYS_SOFTWARE"] = "1"
    command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", sys.executable, *sys.argv]
    os.execvp(command[0], command)


def draw(folder: Path, specimens: int, many: int) -> None:
    """Draw a folder of files and a stack; specimens beyond the first few are copies."""
    from napari_ctc import run
    from napari_ctc.data.drawn import write_drawn

    files, stack = folder / "files", folder / "many.npy"
    if not files.exists():
        drawn = folder / "drawn"
        run(write_drawn(drawn, DRAWN, size=64))
        known = [np.load(path) for path in sorted(drawn.rglob("*.npy"))]
        files.mkdir()
        for place in range(specimens):
            np.save(files / f"{place:05}.npy", known[place % DRAWN])
    if not stack.exists():
        small = np.stack([np.load(path)[::2, ::2] for path in sorted(files.glob("*.npy"))[:DRAWN]])
        whole = np.lib.format.open_memmap(stack, "w+", small.dtype, (many, *small.shape[1:]))
        for start in range(0, many, DRAWN):
            whole[start : start + DRAWN] = small[: many - start]
        whole.flush()


def in_process(case: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise SystemExit(f"The case '{case}' ended with {ended.returncode}.")
    return json.loads(ended.stdout.splitlines()[-1])


def median_of(several: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.median([one[name] for one in several])) for name in several[0]}


# ----------------------------------------------------------------------------------------- the windows


def in_window(arguments: argparse.Namespace) -> None:
    """Measure one case, and print its figures."""
    os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="napari-ctc-")) / "settings.yaml")
    import napari
    from qtpy.QtWidgets import QApplication

    path = arguments.folder / ("many.npy" if arguments.case == "many" else "files")
    viewer = napari.Viewer()
    dock, widget = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")
    viewer.open(str(path), plugin="napari-ctc")
    widget.queue.measuring.leave()  # what else works in the background is no part of this
    until(lambda: not widget.queue.measuring.running and not widget.labelling.busy, rest=0.5)
    dock.setFloating(True)
    dock.resize(WIDTH, HEIGHT)
    until(lambda: dock.width() == WIDTH, rest=0.5)
    before = memory()
    figures = {"specimens": len(widget.session)}
    figures |= peer(widget) if arguments.case == "peer" else gallery(widget)
    figures["memory_mb"] = round(memory() - before, 1)
    print(json.dumps(figures), flush=True)
    QApplication.processEvents()
    os._exit(0)  # a window that was never shown to a person need not be taken down


def gallery(widget) -> dict[str, float]:
    """Click on "Gallery", wait for what is in sight, and scroll."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication, QTabBar

    view = widget.gallery
    painted: list[float] = []
    paint = view.paintEvent

    def painting(event) -> None:
        paint(event)
        painted.append(time.perf_counter())

    view.paintEvent = painting
    tabs = widget.findChild(QTabBar, "viewTabs")
    start = time.perf_counter()
    QTest.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    while not painted:
        QApplication.processEvents()
    first = painted[0] - start
    until(lambda: not view.thumbnails.busy)
    whole = painted[-1] - start
    return {"first_paint_s": first, "in_sight_s": whole, **scrolled(view, view.grid.height // 3)}


def peer(widget) -> dict[str, float]:
    """Give a plain list an icon for each specimen at once, and scroll."""
    from qtpy.QtCore import QSize
    from qtpy.QtGui import QIcon, QPixmap
    from qtpy.QtWidgets import QApplication, QListWidget, QListWidgetItem

    from napari_ctc.gui.gallery_thumbnails import Request, thumbnail

    session, view = widget.session, widget.gallery
    size = view.grid.width, view.grid.height
    start = time.perf_counter()
    plain = QListWidget()
    plain.setViewMode(QListWidget.ViewMode.IconMode)
    plain.setUniformItemSizes(True)
    plain.setResizeMode(QListWidget.ResizeMode.Adjust)
    plain.setIconSize(QSize(72, 72))
    plain.setGridSize(QSize(*size))
    for specimen in range(len(session)):
        stack, place = session.locate(specimen)
        look = view.thumbnails._looks.of(stack)  # noqa: SLF001 - the same thumbnails
        image = thumbnail(Request(specimen, 0, stack, place, look, False))
        plain.addItem(QListWidgetItem(QIcon(QPixmap.fromImage(image)), str(session.rows.name[specimen])))
    plain.resize(WIDTH, HEIGHT)
    plain.show()
    while not plain.isVisible():
        QApplication.processEvents()
    plain.viewport().repaint()
    until(lambda: True)
    whole = time.perf_counter() - start
    return {"first_paint_s": whole, "in_sight_s": whole, **scrolled(plain, size[1] // 3)}


def scrolled(view, step: int) -> dict[str, float]:
    """Scroll from the top, a step a frame, and give the milliseconds that the frames took."""
    from qtpy.QtWidgets import QApplication

    bar, took = view.verticalScrollBar(), []
    for frame in range(1, FRAMES + 1):
        start = time.perf_counter()
        bar.setValue(frame * step)
        view.viewport().repaint()
        QApplication.processEvents()
        took.append(1000 * (time.perf_counter() - start))
        while time.perf_counter() < start + FRAME:
            QApplication.processEvents()
            time.sleep(0.001)
    return {
        "frame_ms_median": float(np.median(took)),
        "frame_ms_p95": float(np.percentile(took, 95)),
        "frame_ms_most": max(took),
        "scrolled_px": float(bar.value()),
    }


def until(is_so: Callable[[], bool], rest: float = 0.0) -> None:
    """Let the window live until something has been so for some seconds."""
    from qtpy.QtWidgets import QApplication

    since, end = time.monotonic(), time.monotonic() + PATIENCE
    while True:
        QApplication.processEvents()
        now = time.monotonic()
        if now > end:
            raise SystemExit(f"napari did not get there within {PATIENCE} s.")
        if not is_so():
            since = now
        elif now - since >= rest:
            return
        time.sleep(0.001)


def memory() -> float:
    """Give the memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
